"""Several ranks in a test: processes joined by gloo, forked from a server that has imported torch."""

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "torch",
        "torch.distributed",
        "torch.distributed.checkpoint",
        "torch.distributed.fsdp",
        "torch.distributed.tensor.parallel",
        "tokka.training.engine",
        "ranks",
    ]
)


def on_ranks(count: int, program: Callable[..., Any], *arguments: Any, seconds: float = 120) -> list[Any]:
    """Return what ``program(*arguments)`` returns on each of ``count`` ranks of one process group.

    Args:
        count: number of ranks, each a process with one thread.
        program: a function of an importable module (of ``tokka`` or of a folder on pytest's pythonpath).
        arguments: and results are pickled.
        seconds: after which the ranks that are left are killed.

    Raises:
        AssertionError: a rank raised (with its traceback), died, or was not done in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        ends = [_context.Pipe(duplex=False) for _ in range(count)]
        ranks = [
            _context.Process(
                target=_run, args=(sending, rank, count, folder, program, arguments), daemon=True
            )
            for rank, (_, sending) in enumerate(ends)
        ]
        for rank, (_, sending) in zip(ranks, ends, strict=True):
            rank.start()
            sending.close()
        try:
            return _collect([receiving for receiving, _ in ends], time.monotonic() + seconds)
        finally:
            for rank in ranks:
                rank.kill()
                rank.join()


def alone(program: Callable[..., Any], *arguments: Any) -> Any:
    """Return what ``program(*arguments)`` returns in a process of its own, which joins no group."""
    with _context.Pool(1) as pool:
        return pool.apply(program, arguments)


def _collect(receiving: list[Connection], deadline: float) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(receiving):
        waiting = {end: rank for rank, end in enumerate(receiving) if rank not in results}
        ready = wait(list(waiting), timeout=deadline - time.monotonic())
        assert ready, f"ranks {sorted(waiting.values())} were not done in time"
        for end in ready:
            rank = waiting[end]
            try:
                failure, results[rank] = end.recv()
            except EOFError:
                raise AssertionError(f"rank {rank} died") from None
            assert failure is None, f"rank {rank} raised:\n{failure}"
    return [results[rank] for rank in range(len(receiving))]


def _run(
    sending: Connection, rank: int, count: int, folder: str, program: Callable[..., Any], arguments: Any
) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    try:
        dist.init_process_group(
            "gloo",
            store=dist.FileStore(str(Path(folder) / "store"), count),
            rank=rank,
            world_size=count,
            timeout=timedelta(seconds=60),
        )
        result = program(*arguments)
        dist.barrier()
        dist.destroy_process_group()
        sending.send((None, result))
    except BaseException:
        sending.send((traceback.format_exc(), None))
