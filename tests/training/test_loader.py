import threading
import time
from typing import Any

import numpy as np
import pytest

from tokka.data.sampler import Batch
from tokka.training.loader import Loader


class Counting:
    """A sampler whose batches count up; it may be slow, and may fail."""

    def __init__(self, *, seconds: float = 0.0, fails_at: int | None = None) -> None:
        self.given, self._seconds, self._fails_at = 0, seconds, fails_at

    @property
    def tokens(self) -> dict[str, int]:
        return {"only": 4 * self.given}

    def next_batch(self, sequences: int, rows: slice = slice(None)) -> Batch:
        time.sleep(self._seconds)
        if self.given == self._fails_at:
            raise OSError("the disk is gone")
        self.given += 1
        tokens = np.full((sequences, 5), self.given, dtype=np.int64)[rows]
        return Batch(tokens, np.zeros((len(tokens), 4), dtype=np.int32), ())

    def state(self) -> dict[str, Any]:
        return {"only": {"given": self.given}}

    def load_state(self, state: dict[str, Any]) -> None:
        self.given = state["only"]["given"]


def test_each_batch_comes_with_the_state_right_after_it():
    sampler = Counting()
    with Loader(sampler, 2, batches=5) as loader:
        for number in range(1, 6):
            time.sleep(0.01)  # let it run ahead
            loaded = loader.next()
            assert loaded.batch.tokens[0, 0] == number
            assert loaded.state == {"only": {"given": number}}
            assert loaded.tokens == {"only": 4 * number}


def test_only_the_rows_asked_for_are_read():
    with Loader(Counting(), 6, batches=1, rows=slice(2, 4)) as loader:
        assert len(loader.next().batch.tokens) == 2


def test_it_draws_no_more_than_asked():
    sampler = Counting()
    with Loader(sampler, 1, batches=3) as loader:
        for _ in range(3):
            loader.next()
    assert sampler.given == 3


def test_waiting_is_measured():
    with Loader(Counting(seconds=0.2), 1, batches=2) as loader:
        assert loader.next().seconds > 0.1
        time.sleep(0.5)
        assert loader.next().seconds < 0.1


def test_an_error_arrives_when_its_batch_is_asked_for():
    with Loader(Counting(fails_at=2), 1, batches=9) as loader:
        loader.next()
        loader.next()
        with pytest.raises(OSError, match="the disk is gone"):
            loader.next()


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    with Loader(Counting(), 1, batches=10**9) as loader:
        loader.next()
    assert threading.active_count() == before
