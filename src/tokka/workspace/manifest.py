"""``manifest.json``: what went into a stage's folder, what came out, and with which versions."""

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from tokka.workspace.files import digest_file, digest_json, read_json, write_json

_PACKAGES = (
    "tokka",
    "torch",
    "transformers",
    "tokenizers",
    "gigatoken",
    "datasets",
    "lm-eval",
    "pyarrow",
    "numpy",
)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result, where installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Manifest:
    """The record of one finished stage.

    Attributes:
        stage: name of the stage, such as ``tokens``.
        key: digest of ``inputs`` and ``recipe``; the stage is up to date while it stays the same.
        inputs: content digest of every input, by name.
        recipe: the part of the recipe that decides this stage's result.
        outputs: SHA-256 and size in bytes of the files that later stages read, by path in the folder.
        facts: counts and figures of the stage; what cards and reports are made of.
        versions: Python and package versions.
        seconds: wall-clock seconds the stage worked, all attempts together.
    """

    stage: str
    key: str
    inputs: dict[str, str]
    recipe: Any
    outputs: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    versions: dict[str, str] = field(default_factory=package_versions)
    seconds: float = 0.0

    @property
    def digest(self) -> str:
        """Digest of the outputs: what a later stage records as its input."""
        return digest_json(self.outputs)

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``; its presence says that the stage is finished."""
        write_json(folder / "manifest.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the manifest in ``folder``, or None where the stage is unfinished.

        Raises ValueError where the file is there but is no manifest.
        """
        path = folder / "manifest.json"
        if not path.exists():
            return None
        try:
            manifest = cls(**read_json(path))
            if not all(isinstance(output["bytes"], int) for output in manifest.outputs.values()):
                raise ValueError("the size of an output is no number")
            if not isinstance(manifest.facts, dict) or not isinstance(manifest.inputs, dict):
                raise ValueError("facts and inputs must be mappings")
            return manifest
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a manifest ({error}); remove it to run the stage again"
            ) from error


def describe_outputs(folder: Path, patterns: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return size in bytes and SHA-256 of the files under ``folder`` that match the glob ``patterns``.

    What only says where a stage stands, ``manifest.json`` and ``begun.json``, is no output.
    """
    own = {folder / "manifest.json", folder / "begun.json"}
    matching = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    files = sorted(matching - own)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_file(path)}
        for path in files
    }
