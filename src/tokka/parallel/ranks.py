"""Joining the ranks that torchrun started into one process group, and leaving it."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from tokka.workspace.machine import usable_cores


@dataclass(frozen=True)
class Place:
    """Where this process stands among all ranks; torchrun tells it by the environment.

    Attributes:
        rank: of all, from 0.
        size: number of all ranks.
        local: rank among those of this machine, which is also the number of its GPU.
        local_size: ranks on this machine.
    """

    rank: int
    size: int
    local: int
    local_size: int

    @classmethod
    def of_this_process(cls) -> "Place":
        """Return the place that torchrun gave this process; a process of its own is the only rank."""
        read = os.environ.get
        return cls(
            rank=int(read("RANK", "0")),
            size=int(read("WORLD_SIZE", "1")),
            local=int(read("LOCAL_RANK", "0")),
            local_size=int(read("LOCAL_WORLD_SIZE", "1")),
        )


@contextmanager
def joined(place: Place, *, minutes: float) -> Iterator[None]:
    """Join the process group of all ranks while the block runs: NCCL between GPUs, gloo between CPUs.

    The rank takes its GPU, or its share of the machine's cores unless ``OMP_NUM_THREADS`` says otherwise, and
    is told by SIGTERM when the agent that started it dies. One rank alone joins nothing.

    Args:
        place: of this process.
        minutes: for the slowest rank's start, and for one collective.
    """
    if place.size == 1:
        yield
        return
    _end_with_parent()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(place.local)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // place.local_size))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=timedelta(minutes=minutes))
    yield
    dist.destroy_process_group()  # not after an error: others would hear of it before it is recorded


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent dies, so that no rank trains on unwatched (Linux)."""
    if sys.platform.startswith("linux"):
        set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)
