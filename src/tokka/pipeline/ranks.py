"""Doing a stage on several ranks of this machine: torchrun's elastic agent starts and watches them."""

import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.training.interrupt import Interrupted
from tokka.workspace.manifest import Manifest
from tokka.workspace.progress import say

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

RESTARTS = 3
"""How often all ranks start again from the last checkpoint after one failed."""

FINAL = 78
"""Exit status of a rank that found something only a user can mend (EX_CONFIG of sysexits.h)."""

_SECONDS_MORE = 60
"""After SIGTERM and ``limits.stop_minutes``, before a rank that still runs is killed."""


class RanksFailedError(ChildProcessError):
    """A rank failed, and starting all of them again did not help or would not have."""


def perform_on_ranks(stage: Stage, run: Run) -> Manifest:
    """Have ``stage.ranks`` processes of this machine do ``stage``, which is training; return its manifest.

    Each runs ``tokka train`` on the run's folder. When one dies, all start again from the last checkpoint.
    SIGTERM and SIGINT are passed on: the ranks save and end. What they print goes to ``logs/`` of the run,
    but for the first one, which speaks to the user.

    Raises:
        RanksFailedError: with the message of the rank that failed first.
        Interrupted: SIGTERM or SIGINT came.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    seconds = round(60 * run.recipe.training.limits.stop_minutes) + _SECONDS_MORE
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(seconds)
    for restarts_left in reversed(range(RESTARTS + 1)):
        try:
            with _own_signal_handlers():
                _start(stage.ranks, run.folder.resolve())
            break
        except SignalException as stopped:
            raise Interrupted(128 + stopped.sigval) from None
        except ChildFailedError as failed:
            rank, failure = _first(failed)
            reason = f"rank {rank} failed: {_reason(failure)}"
            if not restarts_left or failure.exitcode == FINAL:
                raise RanksFailedError(
                    f"{reason}\nWhat each rank printed is in {run.folder / 'logs'}"
                ) from None
            say(f"{stage.name}: {reason}; all start again from the last checkpoint")
    manifest = Manifest.read(run.of(stage.name))
    assert manifest is not None
    return manifest


def _start(ranks: int, folder: Path) -> None:
    """Run ``tokka train`` on so many ranks until all are done or one failed."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    kept = {rank: Std.NONE if rank == 0 else Std.ALL for rank in range(ranks)}
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=uuid.uuid4().hex[:8],
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,  # the agent's own would repeat what cannot succeed, and tell nobody why
        logs_specs=DefaultLogsSpecs(str(folder / "logs"), redirects=kept),
    )
    elastic_launch(config, sys.executable)("-m", "tokka", "train", str(folder))


def _first(failed: "ChildFailedError") -> tuple[int, "ProcessFailure"]:
    """Return the rank that failed first; others fail after it because they miss it."""

    def moment(rank: int) -> float:
        failure = failed.failures[rank]
        file = Path(failure.error_file)
        if file.is_file():
            return file.stat().st_mtime
        # A killed rank writes nothing: the agent noticed it, in whole seconds and maybe after its neighbours.
        return failure.timestamp - 2 * (failure.exitcode != -signal.SIGTERM)

    first = min(failed.failures, key=moment)
    return first, failed.failures[first]


def _reason(failure: "ProcessFailure") -> str:
    message: Any = failure.message
    if isinstance(message, dict):  # what `record` wrote
        return str(message["message"])
    killed = failure.exitcode < 0
    return f"it was killed by {failure.signal_name()}" if killed else f"exit status {failure.exitcode}"


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Give the signals back that the agent takes; in another thread than the main one it takes none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
