"""Reading ``metrics.jsonl``: any length in one pass, then as few points as an eye can tell apart."""

import warnings
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.lib.stride_tricks import sliding_window_view

from tokka.release.axis import Floats

KEYS = ("step", "tokens", "loss", "lr", "grad_norm", "tokens_per_second", "step_seconds", "data_seconds")


@dataclass(frozen=True)
class Metrics:
    """The record of training, a row a step.

    Attributes:
        columns: float64 [steps] for each of :data:`KEYS`; NaN where a row has no number.
        sources: float64 [steps] for each source: tokens it has given so far.
        skipped: rows whose step was skipped, as (step, tokens, reason).
    """

    columns: dict[str, Floats]
    sources: dict[str, Floats]
    skipped: list[tuple[int, int, str]]

    def __len__(self) -> int:
        return len(self.columns["step"])

    def __getitem__(self, key: str) -> Floats:
        return self.columns[key]


def read_metrics(path: Path, sources: Sequence[str]) -> Metrics:
    """Read ``metrics.jsonl`` at ``path``, also while a run writes to it; a row takes 8 bytes a column.

    Raises ValueError, naming the line, for one that is no JSON object.
    """
    columns = {key: array("d") for key in KEYS}
    given = {source: array("d") for source in sources}
    skipped = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break  # being written now
            row = _parse(line, path, number)
            for key, column in columns.items():
                column.append(_number(row.get(key)))
            amounts = row.get("sources") or {}
            for source, column in given.items():
                column.append(_number(amounts.get(source)))
            if row.get("skipped"):
                skipped.append((row["step"], row["tokens"], row["skipped"]))
    return Metrics(
        columns={key: np.frombuffer(column, dtype=np.float64) for key, column in columns.items()},
        sources={source: np.frombuffer(column, dtype=np.float64) for source, column in given.items()},
        skipped=skipped,
    )


def read_heldout(path: Path) -> list[dict[str, Any]]:
    """Read ``heldout.jsonl`` at ``path``: ``tokens``, and bits per byte by language; none where it is not."""
    if not path.is_file():
        return []
    with path.open("rb") as lines:
        whole = [line for line in lines if line.endswith(b"\n")]
    return [_parse(line, path, number) for number, line in enumerate(whole, start=1)]


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: {error}; remove the line") from None
    if not isinstance(row, dict):
        raise ValueError(f"{path}, line {number}: no JSON object; remove the line")
    return row


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def thin(x: Floats, y: Floats, points: int) -> tuple[Floats, Floats]:
    """Return the means of ``points`` runs of neighbours, fewer if there are fewer; NaN is no value."""
    edges = np.linspace(0, len(y), min(points, len(y)) + 1).astype(int)
    known = np.isfinite(y)
    counts = np.add.reduceat(known, edges[:-1], dtype=np.float64)
    sums = np.add.reduceat(np.where(known, y, 0.0), edges[:-1])
    means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return np.add.reduceat(x, edges[:-1]) / np.diff(edges), means


def envelope(x: Floats, y: Floats, points: int) -> tuple[Floats, Floats]:
    """Return at most ``points`` of the points, all extremes among them: of each run lowest and highest."""
    if len(y) <= points:
        return x, y
    edges = np.linspace(0, len(y), points // 2 + 1).astype(int)[:-1]
    low = np.minimum.reduceat(np.where(np.isfinite(y), y, np.inf), edges)
    high = np.maximum.reduceat(np.where(np.isfinite(y), y, -np.inf), edges)
    pairs = np.stack([low, high], axis=1).ravel()
    return np.repeat(x[edges], 2), np.where(np.isfinite(pairs), pairs, np.nan)


def smooth(y: Floats, window: int) -> Floats:
    """Return the running median of ``window`` neighbours, averaged over half as many; NaN is no value.

    The median keeps a spike from spreading; the ends are smoothed over the neighbours that are there.
    """
    return _running(np.nanmean, _running(np.nanmedian, y, window), window // 2)


def _running(reduce: Callable[..., Floats], y: Floats, window: int) -> Floats:
    before = max(0, window // 2)
    padded = np.pad(y, before, constant_values=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without a value is NaN, as it should be
        return reduce(sliding_window_view(padded, 2 * before + 1), axis=1)
