"""Batches prepared in the background, so that the accelerator never waits for data."""

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from tokka.data.sampler import Batch

_AHEAD = 2
"""Batches that may lie ready."""


class BatchSampler(Protocol):
    """What the loader needs of :class:`tokka.data.sampler.Sampler`."""

    @property
    def tokens(self) -> Mapping[str, int]: ...

    def next_batch(self, sequences: int, rows: slice = ...) -> Batch: ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Loaded:
    """One step's batch.

    Attributes:
        batch: the sequences.
        state: of the sampler after this batch, whatever it prepared since.
        tokens: given so far by each source, this batch included.
        seconds: that the caller waited.
    """

    batch: Batch
    state: dict[str, Any]
    tokens: dict[str, int]
    seconds: float


class Loader:
    """Draws batches in a thread of its own; a context manager that ends the thread."""

    def __init__(
        self, sampler: BatchSampler, sequences: int, *, batches: int, rows: slice = slice(None)
    ) -> None:
        """Prepare ``batches`` batches of ``sequences`` sequences each, of which only ``rows`` are read."""
        self._sampler, self._sequences, self._rows, self._batches = sampler, sequences, rows, batches
        self._ready: queue.Queue[Loaded | BaseException] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tokka-loader", daemon=True)

    def next(self) -> Loaded:
        """Return the next batch; raises whatever drawing it raised."""
        begun = time.perf_counter()
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return Loaded(item.batch, item.state, item.tokens, time.perf_counter() - begun)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            for _ in range(self._batches):
                batch = self._sampler.next_batch(self._sequences, self._rows)
                item = Loaded(batch, self._sampler.state(), dict(self._sampler.tokens), 0.0)
                if not self._offer(item):
                    return
        except BaseException as error:
            self._offer(error)

    def _offer(self, item: Loaded | BaseException) -> bool:
        """Wait until there is room for ``item``; return False where the loader was left before."""
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
