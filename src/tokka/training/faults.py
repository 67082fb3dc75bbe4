"""Faults that happen when they are asked for, to prove what follows of them.

``TOKKA_FAULTS="kill rank=1 step=5; nan rank=0 step=9"`` in the environment has rank 1 killed at the beginning
of step 5, and rank 0 compute what is no number in step 9. Each happens once in a run, however often that is
started again: ``faults.jsonl`` in the training folder records what has happened.
"""

import errno
import json
import math
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

from tokka.models.model import LanguageModel
from tokka.workspace.progress import say

VARIABLE = "TOKKA_FAULTS"

Kind = Literal["kill", "hang", "freeze", "nan", "full", "term"]

KINDS: dict[str, str] = {
    "kill": "SIGKILL at the beginning of the step",
    "hang": "the rank sleeps at the beginning of the step, for ever",
    "freeze": "SIGSTOP at the beginning of the step: the whole process stands still",
    "nan": "what the rank's first block computes in the step is no number",
    "full": "the disk is full when the rank writes the checkpoint of the step",
    "term": "SIGTERM at the beginning of the step, as from a scheduler",
}

_FAULT = re.compile(r"(\w+) +rank=(\d+) +step=(\d+)")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: what, on which rank, in which step (the first is 1)."""

    kind: Kind
    rank: int
    step: int


def parse_faults(text: str) -> list[Fault]:
    """Read what :data:`VARIABLE` holds; raises ValueError where it is not ``KIND rank=R step=S; ...``."""
    faults = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        match = _FAULT.fullmatch(part)
        if match is None or match[1] not in KINDS:
            raise ValueError(
                f"{VARIABLE}: {part!r} is no fault; write KIND rank=R step=S, KIND one of {', '.join(KINDS)}"
            )
        faults.append(Fault(cast(Kind, match[1]), int(match[2]), int(match[3])))
    return faults


class Faults:
    """The faults of one rank that are still to happen."""

    def __init__(self, faults: list[Fault], record: Path) -> None:
        """Have ``faults`` happen, but for those in ``record``, which gets those that do."""
        self._record = record
        lines = record.read_text().splitlines() if faults and record.exists() else []
        happened = [Fault(**json.loads(line)) for line in lines]
        self._faults = [fault for fault in faults if fault not in happened]

    @classmethod
    def of(cls, folder: Path, rank: int) -> Self:
        """Return what the environment asks for on ``rank`` of the training in ``folder``; mostly nothing."""
        faults = parse_faults(os.environ.get(VARIABLE, ""))
        return cls([fault for fault in faults if fault.rank == rank], folder / "faults.jsonl")

    @contextmanager
    def in_step(self, step: int, model: LanguageModel) -> Iterator[None]:
        """Do a step, with what goes wrong in it."""
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
            if self._happens(_KIND_OF[number], step):
                os.kill(os.getpid(), number)
        if self._happens("hang", step):
            _sleep_for_ever()
        if not self._happens("nan", step):
            yield
            return
        block = next(iter(model.blocks.values()))
        hook = block.register_forward_hook(lambda block, inputs, hidden: hidden * math.nan)
        try:
            yield
        finally:
            hook.remove()

    def before_write(self, step: int) -> None:
        """Raise OSError where the disk is to be full for the checkpoint after ``step``."""
        if self._happens("full", step):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _happens(self, kind: Kind, step: int) -> bool:
        due = [fault for fault in self._faults if fault.kind == kind and fault.step == step]
        for fault in due:
            self._faults.remove(fault)
            say(f"{VARIABLE}: {kind} on rank {fault.rank} in step {step}: {KINDS[kind]}")
            with self._record.open("a") as record:
                record.write(json.dumps(asdict(fault)) + "\n")
        return bool(due)


_KIND_OF: dict[Any, Kind] = {signal.SIGKILL: "kill", signal.SIGSTOP: "freeze", signal.SIGTERM: "term"}


def _sleep_for_ever() -> None:
    while True:
        time.sleep(3600)
