"""The record of a run: one JSON line a step, and the same curves for TensorBoard."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from tokka.workspace.files import whole_file

HELDOUT = "heldout.jsonl"


class StepLog:
    """A file of JSON lines, each with its ``step``, that survives a kill and can be cut back to a step."""

    def __init__(self, path: Path, *, last_step: int) -> None:
        """Open ``path`` to append; what comes after ``last_step``, or is half a line, is cut off."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as aside, aside.open("wb") as kept:
            kept.writelines(line for line, content in _lines(path) if content["step"] <= last_step)
        self._file = path.open("ab")

    def append(self, content: Mapping[str, Any]) -> None:
        """Write one line; when this returns the kernel has it, so killing the process loses nothing."""
        self._file.write(json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Make all lines survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_steps(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a :class:`StepLog` up to the first that was not written whole."""
    for _, content in _lines(path):
        yield content


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                content = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                content = None
            if not isinstance(content, dict):
                return
            yield line, content


class Metrics:
    """``metrics.jsonl``, ``skipped.jsonl``, ``heldout.jsonl`` and ``tensorboard/`` of a training folder."""

    def __init__(self, folder: Path, *, last_step: int) -> None:
        """Continue after ``last_step``; whatever an earlier attempt recorded beyond it is dropped."""
        self._steps = StepLog(folder / "metrics.jsonl", last_step=last_step)
        self._skipped = StepLog(folder / "skipped.jsonl", last_step=last_step)
        self._heldout = StepLog(folder / HELDOUT, last_step=last_step)
        self._measured = {row["step"] for row in read_steps(folder / HELDOUT)}
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=last_step + 1)

    def record(self, step: Mapping[str, Any]) -> None:
        """Record a step; see docs/training.md for its keys."""
        self._steps.append(step)
        for key in ("loss", "lr", "grad_norm", "tokens_per_second"):
            if step[key] is not None:
                self._board.add_scalar(f"training/{key}", step[key], step["step"])

    def record_skipped(self, step: Mapping[str, Any]) -> None:
        """Record why a step was skipped, and the documents of its batch."""
        self._skipped.append(step)

    def has_measured(self, step: int) -> bool:
        """Tell whether held-out text was measured after ``step``."""
        return step in self._measured

    def record_heldout(self, measured: Mapping[str, Any]) -> None:
        """Record bits per byte of held-out text; see docs/training.md for its keys."""
        self._heldout.append(measured)
        for language, bits in measured["languages"].items():
            self._board.add_scalar(f"heldout/{language}", bits, measured["step"])

    def sync(self) -> None:
        """Make everything recorded survive a power cut."""
        self._steps.sync()
        self._skipped.sync()
        self._heldout.sync()
        self._board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._steps.close()
        self._skipped.close()
        self._heldout.close()
        self._board.close()
