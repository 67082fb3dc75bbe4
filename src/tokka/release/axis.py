"""Scales of charts: where a value lies, and which round values are written beside it."""

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LOG_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
"""Multiples of powers of ten that are written on a logarithmic axis, the sparsest that suffice."""


@dataclass(frozen=True)
class Axis:
    """A scale from the values ``low`` to ``high`` to the pixels ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: Floats, start: float, end: float, *, from_zero: bool = False) -> Self:
        """Return a scale with a little room around ``values``, of which at least one is finite.

        It is logarithmic where they span more than a factor of four and are positive, unless ``from_zero``.
        """
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        if not from_zero and 0 < 4 * low < high:
            return cls(low / 1.05, high * 1.05, start, end, log=True)
        largest = max(abs(low), abs(high))
        room = 0.06 * (high - low) if high - low > 1e-9 * largest else 0.1 * largest or 1.0
        return cls(0.0 if from_zero else low - room, high + room, start, end)

    @classmethod
    def along(cls, values: Floats, start: float, end: float) -> Self:
        """Return a scale from the least to the greatest of ``values``."""
        low, high = float(values.min()), float(values.max())
        return cls(low, high, start, end) if low < high else cls(low - 1, high + 1, start, end)

    def place(self, values: Floats | float) -> Floats:
        """Return the pixels of ``values``."""
        low, high = (log10(self.low), log10(self.high)) if self.log else (self.low, self.high)
        at = np.log10(values) if self.log else np.asarray(values, dtype=np.float64)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def at(self, value: float) -> float:
        """Return the pixel of one value."""
        return float(self.place(value))

    def ticks(self, count: int = 5) -> list[float]:
        """Return about ``count`` round values on the axis, at least two."""
        if self.log:
            powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            for steps in _LOG_STEPS:
                values = [step * 10.0**power for power in powers for step in steps]
                found = [value for value in values if self.low <= value <= self.high]
                if len(found) >= 3:
                    return found
        step = _round_up((self.high - self.low) / count)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _round_up(step: float) -> float:
    """Return the next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** floor(log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
