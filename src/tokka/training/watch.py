"""Noticing that a rank hangs, and which: all others only wait for it, in silence, for ever."""

import itertools
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from tokka.training.world import SAVING, World
from tokka.workspace.progress import say

_PACKAGE = str(Path(__file__).parents[1])
_watches = itertools.count()


class HungError(RuntimeError):
    """A rank does not get on, and no rank can without it."""


@dataclass(frozen=True)
class _Doing:
    step: int
    what: str
    since: float
    limited: bool


class Watch:
    """Ends all ranks when one of them hangs, and tells which, in what step and in which collective.

    Each rank's main thread says what it begins to do. A thread of each rank reports that through the store of
    the process group, which needs neither the main threads nor the network that training uses. When a rank
    has done the same thing for longer than the limit, it compares the reports: who hangs gives none, or waits
    in no collective while others do, by PyTorch's flight recorder. The verdict goes to all ranks, which end;
    torchrun's agent then starts them again from the last checkpoint.
    """

    def __init__(self, world: World, *, minutes: float) -> None:
        """Watch the ranks of ``world``; nothing that is limited takes longer than ``minutes``.

        Starting is not: it reads weights and checkpoints.
        """
        self._rank, self._size, self._limit = world.rank, world.size, 60 * minutes
        self._interval = min(max(self._limit / 30, 0.1), 5.0)
        self._doing = _Doing(0, "starting", time.monotonic(), limited=False)
        self._beats = itertools.count()
        self._main = threading.get_ident()
        self._number = next(_watches)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tokka-watch", daemon=True)

    def begin(self, step: int, what: str, *, limited: bool = True) -> None:
        """Say what the main thread does from now on; what only waits for a disk is not limited."""
        self._doing = _Doing(step, what, time.monotonic(), limited)

    def __enter__(self) -> Self:
        if self._size > 1:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()

    def _work(self) -> None:
        try:
            # A connection of its own: the main thread may wait in the store, and waiting locks it.
            store = dist.distributed_c10d._get_default_store().clone()  # type: ignore[attr-defined]
            reports = PrefixStore(f"tokka/watch/{self._number}", store)
            while not self._stopped.wait(self._interval):
                self._report(reports)
                if reports.check(["verdict"]):
                    self._end(reports.get("verdict").decode())
                if self._is_over_limit():
                    self._end(self._judge(reports))
        except RuntimeError:  # the store is gone, and with it the run
            return

    def _is_over_limit(self) -> bool:
        return self._doing.limited and time.monotonic() - self._doing.since > self._limit

    def _report(self, reports: Store) -> None:
        doing = self._doing
        seconds = time.monotonic() - doing.since
        report = {
            "beat": next(self._beats),
            "step": doing.step,
            "what": doing.what,
            "seconds": round(seconds),
        }
        if seconds > self._limit / 2:
            report |= {"waits": _unfinished_collectives(), "at": self._place()}
        reports.set(str(self._rank), json.dumps(report))

    def _judge(self, reports: Store) -> str:
        """Return what is to be said, which is the same on all ranks: the first to judge decides."""
        before = self._read(reports)
        for _ in range(4):
            time.sleep(self._interval)
            self._report(reports)
        verdict = _verdict(before, self._read(reports), self._size)
        return reports.compare_set("verdict", "", verdict).decode()

    def _read(self, reports: Store) -> dict[int, dict[str, Any]]:
        ranks = [rank for rank in range(self._size) if reports.check([str(rank)])]
        return {rank: json.loads(reports.get(str(rank))) for rank in ranks}

    def _place(self) -> str:
        """Return the innermost line of tokka that the main thread is in."""
        frame = sys._current_frames().get(self._main)
        stack = traceback.extract_stack(frame) if frame else []
        ours = [line for line in stack if line.filename.startswith(_PACKAGE)]
        if not ours:
            return "unknown"
        return f"{ours[-1].name} ({Path(ours[-1].filename).name}:{ours[-1].lineno})"

    def _end(self, verdict: str) -> NoReturn:
        time.sleep(2 * self._interval)  # all ranks have read the verdict before the first one ends
        if not self._stopped.is_set():
            say(f"training: {verdict}")
            get_error_handler().record_exception(HungError(verdict))
            os._exit(1)  # the main thread waits in a collective, and nothing but this ends that
        raise RuntimeError


def _verdict(before: Mapping[int, Mapping[str, Any]], now: Mapping[int, Mapping[str, Any]], size: int) -> str:
    """Return who hangs and what the others wait in, from reports given some time apart."""
    silent = [rank for rank in range(size) if rank not in now or before.get(rank) == now[rank]]
    idle = [rank for rank in now if not now[rank].get("waits")]
    waiting = [rank for rank in now if now[rank].get("waits") and rank not in silent]
    parts = [f"rank {rank} hangs: {_silence(now.get(rank))}" for rank in silent]
    if not silent and waiting:
        parts = [f"rank {rank} hangs: {_activity(now[rank])}" for rank in idle]
    if not parts:
        parts = ["no rank gets on, and all wait for each other" if waiting else "no rank gets on"]
        waiting = sorted(now)
    parts += [f"rank {rank} waits: {_activity(now[rank])}" for rank in waiting]
    return "; ".join(parts)


def _silence(last: Mapping[str, Any] | None) -> str:
    if last is None:
        return "it has given no sign of life"
    return f"it gives no sign of life any more, last in step {last['step']}, {last['what']}"


def _activity(report: Mapping[str, Any]) -> str:
    waits = report.get("waits") or ["in no collective"]
    return (
        f"step {report['step']}, {report['what']} for {report['seconds']} s, {', '.join(waits)}, "
        f"in {report.get('at', 'unknown')}"
    )


def _unfinished_collectives() -> list[str]:
    """Return the collectives that this rank takes part in just now, by PyTorch's flight recorder."""
    recorded = json.loads(torch._C._distributed_c10d._dump_fr_trace_json())  # type: ignore[attr-defined]
    return [
        f"in {entry['profiling_name'].partition(':')[2]} {entry['collective_seq_id']} of group "
        f"{entry['process_group'][1] or entry['process_group'][0]}"
        for entry in recorded.get("entries", [])
        if not entry["retired"] and entry["process_group"][1] != SAVING
    ]
