"""Locks of folders: one process at a time works where two would write the same files."""

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokka.workspace.progress import say

_LOOK_EVERY_SECONDS = 0.2


class InUseError(ValueError):
    """Another process holds the lock."""


@contextmanager
def alone_in(folder: Path, lock: str = ".lock", *, patience: float = 1.0) -> Iterator[None]:
    """Hold the file ``lock`` of ``folder`` while the block runs; it goes with the process, however that ends.

    Args:
        folder: made if it is not there.
        lock: path below it; never removed. While it is held it names its holder.
        patience: seconds to wait for another holder.

    Raises:
        InUseError: another process still holds it then; the message names it.
        NotADirectoryError: ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; name a folder for the run's results")
    path = folder / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + patience
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise InUseError(
                    f"another tokka works in {folder} ({_holder(path)}); wait for it or choose another --out"
                )
            time.sleep(_LOOK_EVERY_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(path: Path) -> str | None:
    """Return who holds the lock file ``path``, such as ``process 123 on node7``; None where nobody does."""
    try:
        with path.open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    except OSError:  # no such file, or a file system without locks
        return None
    return None


def _locked(descriptor: int) -> bool:
    """Take the lock; return False where another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # Lustre mounted without `flock`, for one
        say(f"warning: this file system has no locks ({error.strerror}); see to it that only one tokka runs")
    return True


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8") or "a process"
