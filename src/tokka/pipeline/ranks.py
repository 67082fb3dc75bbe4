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

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

RESTARTS = 3
"""How often all ranks start again from the last checkpoint after one failed; torchrun's own default is 0."""

_SECONDS_TO_SAVE = 600
"""After SIGTERM, before a rank that still runs is killed."""


class RanksFailedError(ChildProcessError):
    """A rank failed, and so did starting all of them again."""


def perform_on_ranks(stage: Stage, run: Run) -> Manifest:
    """Have ``stage.ranks`` processes of this machine do ``stage``, which is training; return its manifest.

    Each runs ``tokka train`` on the run's folder. When one dies, all start again from the last checkpoint.
    SIGTERM and SIGINT are passed on: the ranks save and end. What they print goes to ``logs/`` of the run,
    but for the first one, which speaks to the user.

    Raises:
        RanksFailedError: with the message of the rank that failed first.
        Interrupted: SIGTERM or SIGINT came.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(_SECONDS_TO_SAVE)
    shown = {rank: Std.NONE if rank == 0 else Std.ALL for rank in range(stage.ranks)}
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=stage.ranks,
        run_id=f"{stage.name}-{uuid.uuid4().hex[:8]}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=RESTARTS,
        logs_specs=DefaultLogsSpecs(str(run.folder / "logs"), redirects=shown),
    )
    with _own_signal_handlers():
        try:
            elastic_launch(config, sys.executable)("-m", "tokka", "train", str(run.folder.resolve()))
        except SignalException as stopped:
            raise Interrupted(128 + stopped.sigval) from None
        except ChildFailedError as failed:
            raise RanksFailedError(_what_failed(failed, run.folder / "logs")) from None
    manifest = Manifest.read(run.of(stage.name))
    assert manifest is not None
    return manifest


def _what_failed(failed: "ChildFailedError", logs: Path) -> str:
    """Say which rank failed first and why; others fail after it because they miss it."""

    def moment(rank: int) -> float:
        file = Path(failed.failures[rank].error_file)
        return file.stat().st_mtime if file.is_file() else failed.failures[rank].timestamp

    rank = min(failed.failures, key=moment)
    message: Any = failed.failures[rank].message  # what `record` wrote, or torch's words for a signal
    reason = message["message"] if isinstance(message, dict) else message
    return f"rank {rank} failed: {reason}\nEach rank's output and calls are in {logs}"


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
