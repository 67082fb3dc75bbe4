"""Writing checkpoints while training goes on: copied first, then written by a thread of every rank."""

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokka.training.checkpoint.folder import aside_of, prune, saved
from tokka.training.checkpoint.index import Index
from tokka.training.checkpoint.pieces import describe, holds, write_pieces
from tokka.training.checkpoint.snapshot import CheckpointError, Snapshot
from tokka.training.checkpoint.staging import Staging
from tokka.training.world import SAVING, World
from tokka.workspace.files import sync_folder, write_text


def _do_nothing(step: int) -> None:
    pass


@dataclass(frozen=True)
class _Task:
    """What this rank writes of one snapshot: tensors that are still to be copied, and finished texts."""

    step: int
    target: Path
    tensors: Mapping[str, Tensor]
    ready: torch.cuda.Event | None
    texts: Mapping[str, str]


class Saver:
    """Saves snapshots below a folder that all ranks share.

    A save does not stall its caller: a thread copies this rank's pieces to buffers on the host, for which
    training waits only where it would change a weight before that is done. Then it writes them aside, reads
    them back and compares. When all ranks have, the first writes the index and gives the checkpoint its name,
    so it is whole or not there. There is one save at a time.
    """

    def __init__(self, folder: Path, *, keep: int, before_write: Callable[[int], None] = _do_nothing) -> None:
        """Save below ``folder``; the last ``keep`` stay, and all milestones.

        ``before_write`` is called with the step by every rank's thread before it writes, and may raise.
        """
        self._folder, self._keep, self._before_write = folder, keep, before_write
        self._world = World(SAVING)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokka-checkpoint")
        self._staging: Staging | None = None
        self._writing: Future[None] | None = None
        self._copied = threading.Event()
        self._copied.set()

    def save(self, snapshot: Snapshot, *, milestone: bool = False) -> None:
        """Begin to copy and write ``snapshot``; a milestone is never removed to make room.

        Its tensors may change again when :meth:`wait_for_copy` returns. Waits for the save before, where that
        is not done; raises what that did. To be called by all ranks.
        """
        self.wait()
        tensors = snapshot.tensors
        if self._staging is None:
            self._staging = Staging(tensors, self._world)
        state = {"step": snapshot.step, **snapshot.state}
        texts = {f"rank-{self._world.rank:05}.json": _to_text(snapshot.own)}
        if self._world.is_first:
            texts["state.json"] = _to_text(state)
        name = f"step-{snapshot.step:08}{'-milestone' if milestone else ''}"
        ready = torch.cuda.current_stream().record_event() if torch.cuda.is_available() else None
        self._copied.clear()
        task = _Task(snapshot.step, self._folder / name, tensors, ready, texts)
        self._writing = self._thread.submit(self._write, task)

    def wait_for_copy(self) -> None:
        """Return when the tensors of the snapshot that was saved last may change."""
        self._copied.wait()

    @property
    def failed(self) -> bool:
        """Whether the save that was begun last is known here to have failed; :meth:`wait` tells how."""
        return self._writing is not None and self._writing.done() and self._writing.exception() is not None

    def wait(self) -> None:
        """Return when nothing is being written any more.

        Raises:
            CheckpointError: what was begun last could not be written, on whichever rank; checkpoints made
                before stay. All ranks are told the same, once.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Let a write that has begun come to its end, well or not, and end the thread."""
        self._thread.shutdown(wait=True)

    def _write(self, task: _Task) -> None:
        aside = aside_of(task.target)
        files, problem = self._write_own_files(aside, task)
        reports = self._world.collect((files, problem))
        outcome = None
        if self._world.is_first:
            problem = _first_problem(aside, reports) or self._complete(aside, task, reports)
            if problem:
                shutil.rmtree(aside, ignore_errors=True)
                outcome = self._explain(task, problem)
        outcome = self._world.broadcast(outcome)
        if outcome:
            raise CheckpointError(outcome)

    def _write_own_files(self, aside: Path, task: _Task) -> tuple[dict[str, Any], str]:
        """Write what is this rank's; return sizes and hashes of its files, and what went wrong or nothing."""
        files: dict[str, Any] = {}
        try:
            pieces = self._copy(task)
            self._before_write(task.step)
            aside.mkdir(parents=True, exist_ok=True)
            for name, text in task.texts.items():
                write_text(aside / name, text)
                files[name] = describe(aside / name)
            if pieces:
                name = f"rank-{self._world.rank:05}.safetensors"
                files[name] = write_pieces(aside / name, pieces)
                if not holds(aside / name, pieces):
                    raise OSError(f"{name} read back from the disk differs from what was written")
        except Exception as error:  # whatever it is, the other ranks wait to be told
            where = f"rank {self._world.rank}: " if self._world.size > 1 else ""
            return files, f"{where}{error or type(error).__name__}"
        return files, ""

    def _copy(self, task: _Task) -> Mapping[str, Tensor]:
        assert self._staging is not None
        try:
            return self._staging.copy(task.tensors, task.ready)
        finally:
            self._copied.set()

    def _complete(self, aside: Path, task: _Task, reports: list[tuple[dict[str, Any], str]]) -> str:
        """Make what all ranks have written a checkpoint; return what went wrong, or nothing."""
        assert self._staging is not None
        files = {name: described for own, _ in reports for name, described in own.items()}
        try:
            Index.of(task.step, self._staging.plans, self._staging.metadata, files).write(aside)
            shutil.rmtree(task.target, ignore_errors=True)
            aside.rename(task.target)
            sync_folder(self._folder)
            prune(self._folder, keep=self._keep)
        except OSError as error:
            return str(error)
        return ""

    def _explain(self, task: _Task, problem: str) -> str:
        before = saved(self._folder)
        free = shutil.disk_usage(self._folder).free if self._folder.exists() else 0
        assert self._staging is not None
        size = self._staging.total_bytes
        return (
            f"{task.target} could not be written ({problem}); it needs {size / 1e9:.2f} GB and "
            f"{free / 1e9:.2f} GB are free. {f'{before[-1].name} stays whole. ' if before else ''}Make room, "
            f"then give the same command again"
        )


def _first_problem(aside: Path, reports: list[tuple[dict[str, Any], str]]) -> str:
    """Return what went wrong on the first rank where something did, or nothing."""
    for rank, (files, problem) in enumerate(reports):
        if problem:
            return problem
        for name in files:
            if not (aside / name).exists():
                return f"{name} of rank {rank} is not where rank 0 looks; all ranks must share one disk"
    return ""


def _to_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"
