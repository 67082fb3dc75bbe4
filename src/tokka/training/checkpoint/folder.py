"""The names of checkpoints in their folder, and which of them stay."""

import re
import shutil
from pathlib import Path

_NAME = re.compile(r"step-(\d{8,})(-milestone)?")


def saved(folder: Path) -> list[Path]:
    """Return the checkpoints below ``folder``, oldest first."""
    found = [(match, path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0][1]))]


def prune(folder: Path, *, keep: int) -> None:
    """Remove all checkpoints but the last ``keep`` and the milestones.

    What cannot be removed, such as files on a network disk that an export reads, waits for the next time.
    """
    for path in saved(folder)[:-keep]:
        if not path.name.endswith("-milestone"):
            shutil.rmtree(path, ignore_errors=True)


def aside_of(path: Path) -> Path:
    """Return where the checkpoint ``path`` is written before it gets its name."""
    return path.with_name(f".{path.name}.part")


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written."""
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover)


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint so that it is not taken for one; return its new name."""
    damaged = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(damaged, ignore_errors=True)
    path.rename(damaged)
    return damaged
