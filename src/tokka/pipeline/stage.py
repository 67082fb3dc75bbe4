"""A stage: one piece of work with a folder of its own, done once for given inputs."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from tokka.pipeline.folder import Run
from tokka.workspace.files import digest_json, read_json, write_json
from tokka.workspace.lock import alone_in
from tokka.workspace.manifest import Manifest, describe_outputs


@dataclass(frozen=True)
class Stage:
    """One piece of the line.

    Attributes:
        name: its name, and its folder below the run: ``corpus/finnish``.
        needs: stages that must be finished before it; their outputs are its inputs.
        decided_by: the part of the recipe that decides its result, as JSON content.
        work: does it: writes into ``run.of(name)`` and returns facts. After a kill it is called again with
            its folder as it was left, and goes on.
        outputs: globs of the files that later stages read, below its folder.
        outside: digests of inputs that no stage made, such as source files.
        ranks: processes that do the work together, joined by torch.distributed.
        goes_on: tells whether work that was begun with other inputs or another recipe goes on with these.
    """

    name: str
    needs: tuple[str, ...]
    decided_by: Any
    work: Callable[[Run], dict[str, Any]]
    outputs: tuple[str, ...]
    outside: Callable[[Run], Mapping[str, str]] = lambda run: {}
    ranks: int = 1
    goes_on: "Callable[[Begun, Begun], bool]" = lambda before, now: False


class Begun(NamedTuple):
    """What a stage was begun with: digests of its inputs by name, and its part of the recipe."""

    inputs: Mapping[str, str]
    recipe: Any

    @property
    def key(self) -> str:
        return digest_json(self._asdict())


class Status(Enum):
    """Where a stage stands."""

    DONE = "done"
    RESUME = "goes on where it was stopped"
    NEW = "to run"
    CHANGED = "to run again"


@dataclass(frozen=True)
class Standing:
    """Where a stage stands, with the key it must have, its inputs, and why it must run again."""

    status: Status
    key: str
    inputs: dict[str, str]
    why: str = ""


def standing(stage: Stage, run: Run) -> Standing:
    """Compare what is in the stage's folder with what should be; needs the stages before it finished."""
    inputs = dict(stage.outside(run))
    for name in stage.needs:
        manifest = Manifest.read(run.of(name))
        if manifest is None:
            return Standing(Status.NEW, "", {}, f"after {name}")
        inputs[name] = manifest.digest
    now = Begun(inputs, stage.decided_by)
    key, folder = now.key, run.of(stage.name)
    manifest = Manifest.read(folder)
    if manifest is not None:
        if manifest.key != key:
            return Standing(Status.CHANGED, key, inputs, _what_changed(manifest, inputs, stage.decided_by))
        damaged = _damaged_output(folder, manifest)
        if damaged:
            return Standing(Status.CHANGED, key, inputs, f"{damaged} is missing or has another size")
        return Standing(Status.DONE, key, inputs)
    if not (folder / "begun.json").exists():
        return Standing(Status.NEW, key, inputs)
    before = _begun(folder)
    if before is not None and (before.key == key or stage.goes_on(before, now)):
        return Standing(Status.RESUME, key, inputs)
    return Standing(Status.CHANGED, key, inputs, "its inputs changed while it was stopped")


def perform(stage: Stage, run: Run, found: Standing) -> Manifest:
    """Do the stage's work in this process and write its manifest."""
    with alone_in(run.folder, f".locks/{stage.name}"):
        manifest = begin(stage, run, found)
        if manifest is None:
            begun = time.monotonic()
            facts = stage.work(run)
            manifest = finish(stage, run, found, facts, time.monotonic() - begun)
    return manifest


def begin(stage: Stage, run: Run, found: Standing) -> Manifest | None:
    """Make the stage's folder ready for its work; what lies there from other inputs is set aside.

    Returns the manifest where the stage was done with these inputs before, and nothing is left to do.
    """
    folder = run.of(stage.name)
    if found.status is Status.CHANGED:
        _set_aside(stage, run, found.key)
        if standing(stage, run).status is Status.DONE:
            return Manifest.read(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "begun.json", Begun(found.inputs, stage.decided_by)._asdict())
    return None


def finish(stage: Stage, run: Run, found: Standing, facts: dict[str, Any], seconds: float) -> Manifest:
    """Write the manifest of a stage whose work is done: it gave ``facts`` and took ``seconds``."""
    folder = run.of(stage.name)
    manifest = Manifest(
        stage=stage.name,
        key=found.key,
        inputs=found.inputs,
        recipe=stage.decided_by,
        outputs=describe_outputs(folder, stage.outputs),
        facts=facts,
        seconds=round(seconds, 3),
    )
    manifest.write(folder)
    (folder / "begun.json").unlink()
    return manifest


def _set_aside(stage: Stage, run: Run, key: str) -> None:
    """Move the stage's folder to ``stale/``, and back from there what was made with ``key`` before.

    Hours of training are never deleted because a recipe changed; ``stale/`` may be removed by hand.
    """
    folder, stale = run.of(stage.name), run.folder / "stale"
    manifest = Manifest.read(folder)
    begun = _begun(folder)
    old_key = manifest.key if manifest else begun.key if begun else "unreadable"
    if old_key == key:
        _move(folder, stale / f"{stage.name}.damaged")
        return
    _move(folder, stale / f"{stage.name}.{old_key[:12]}")
    earlier = stale / f"{stage.name}.{key[:12]}"
    if earlier.exists():
        _move(earlier, folder)


def _begun(folder: Path) -> Begun | None:
    """Return what unfinished work in ``folder`` was begun with; None where that cannot be read."""
    try:
        return Begun(**read_json(folder / "begun.json"))
    except (OSError, TypeError, ValueError):
        return None


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)


def _damaged_output(folder: Path, manifest: Manifest) -> str:
    for name, described in manifest.outputs.items():
        path = folder / name
        if not path.exists() or path.stat().st_size != described["bytes"]:
            return name
    return ""


def _what_changed(manifest: Manifest, inputs: Mapping[str, str], decided_by: Any) -> str:
    changed = sorted(
        name
        for name in inputs.keys() | manifest.inputs.keys()
        if inputs.get(name) != manifest.inputs.get(name)
    )
    parts = [f"{', '.join(changed[:3])}{' and more' if len(changed) > 3 else ''} changed"] if changed else []
    if digest_json(manifest.recipe) != digest_json(decided_by):
        parts.append("its part of the recipe changed")
    return " and ".join(parts)
