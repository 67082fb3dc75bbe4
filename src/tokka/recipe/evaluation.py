"""The ``evaluation`` and ``release`` sections."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tokka.recipe.section import Count, Section
from tokka.recipe.sizes import Bytes, Tokens


class Task(Section):
    """One task of lm-evaluation-harness."""

    name: str = Field(description="Name of a task or group, as `lm_eval ls tasks` shows it.")
    path: str | None = Field(None, description="Folder of your own task YAML files, relative to the recipe.")
    shots: int | None = Field(None, ge=0, description="Examples in the prompt; default: the task's own.")
    limit: Count | None = Field(None, description="Only the first so many items; for a quick look.")
    language: str | None = Field(
        None, description="The heading under which the card compares it with the base: fi, en, code."
    )


def parse_task(written: str, folder: Path | None, limit: int | None) -> Task:
    """Return the task that ``name`` or ``name:shots`` on the command line stands for.

    Raises ValueError where the shots are no number.
    """
    name, colon, shots = written.partition(":")
    if colon and not shots.isdecimal():
        raise ValueError(f"{written!r} is not a task; write its name, or name:shots")
    return Task(
        name=name, path=str(folder) if folder else None, shots=int(shots) if colon else None, limit=limit
    )


class Evaluation(Section):
    """What every revision is measured on."""

    heldout: float = Field(
        0.001, ge=0, lt=1, description="Share of documents, chosen by content hash, that is never trained on."
    )
    heldout_bytes: Bytes = Field(
        2**20, description="Of each source's held-out text, at most this many bytes are scored."
    )
    during: Tokens | None = Field(
        None, description="Also measure bits per byte while training, every so many tokens; null for never."
    )
    during_bytes: Bytes = Field(
        2**15, description="Of each source's held-out text, at most this many bytes are measured then."
    )
    tasks: list[Task] = Field([], description="Benchmarks of lm-evaluation-harness.")
    decontaminate: bool = Field(
        True, description="Take documents that hold items of the tasks out of what is trained on."
    )
    prompts: list[str] = Field([], description="Continued by every revision; shown in the report.")


class Merge(Section):
    """The merge of the base and the last revision, evaluated and released as the revision `merged`."""

    method: Literal["linear", "slerp"] = Field(
        "linear", description="Along the chord between the two, or the arc."
    )
    weight: float = Field(
        0.5, ge=0, le=1, description="Of the trained model: 0 is the base, 1 the last revision."
    )


class Release(Section):
    """What is published, and what the card says that no measurement can tell."""

    repo: str = Field(
        pattern=r"^\w+(?:[.-]\w+)*/\w+(?:[.-]\w+)*$",
        max_length=96,
        description="Where it is to live on the hub: organisation/name; no two dots or dashes in a row.",
    )
    title: str | None = Field(None, description="Name for people; default: the repository's name.")
    license: str = Field("apache-2.0", description="Hub licence id.")
    merge: Merge | None = Field(
        None, description="Also release the average of the base and what became of it."
    )
    summary: str = Field("", description="First paragraph of the card.")
    limitations: str = Field("", description="Added to the card's limitations.")
    acknowledgements: str = Field("", description="A section of the card.")
    citation: str = Field("", description="BibTeX.")
    metadata: dict[str, Any] = Field({}, description="More keys for the card's YAML header.")
