"""Which source gives which sequence: a pure function of the mixture and the position in the run."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

_ONE = 1 << 64
"""Due times are whole numbers of this fraction; exact for budgets below 2**32 sequences, and always whole."""


@dataclass(frozen=True)
class Part:
    """A stretch of training with one mixture.

    Attributes:
        budgets: tokens of each source that the mixture was solved to; whole sequences.
        tokens: that the part lasts; fewer than the budgets make where a change cut it short.
    """

    budgets: Mapping[str, int]
    tokens: int

    @classmethod
    def whole(cls, budgets: Mapping[str, int]) -> "Part":
        """Return the part in which every source gives its budget."""
        return cls(budgets, sum(budgets.values()))


class Order:
    """The sources of all sequences of a run.

    Within a part the sequences of a source are spread evenly: its k-th of n (from 0) is due when
    (2k + 1) / 2n of the part is over; what is due first comes first, of several the first by name. So each
    source ends on its exact budget, and is about a sequence from its share at every moment before. Any
    position can be computed without those before it.
    """

    def __init__(self, parts: Sequence[Part], sequence_length: int) -> None:
        """Set up the order; the last part goes on beyond its end.

        Raises ValueError where a budget or the length of a part is not a multiple of ``sequence_length``.
        """
        self._spreads: list[_Spread] = []
        self._lengths: list[int] = []
        for part in parts:
            for name, tokens in [*part.budgets.items(), ("a part", part.tokens)]:
                if tokens % sequence_length:
                    raise ValueError(f"budget {tokens} of {name} is not a multiple of {sequence_length}")
            budgets = {name: tokens // sequence_length for name, tokens in part.budgets.items() if tokens}
            self._spreads.append(_Spread(budgets))
            self._lengths.append(part.tokens // sequence_length)
        self.names = list(dict.fromkeys(name for part in parts for name in part.budgets))

    def given(self, position: int) -> dict[str, int]:
        """Return how many of the first ``position`` sequences each source gives."""
        given = dict.fromkeys(self.names, 0)
        for part, within in self._reach(0, position):
            for name, count in self._spreads[part].given(within.stop).items():
                given[name] += count
        return given

    def sources(self, position: int, count: int) -> list[str]:
        """Return the sources of the ``count`` sequences from ``position`` on."""
        return [
            name
            for part, within in self._reach(position, position + count)
            for name in self._spreads[part].sources(within)
        ]

    def _reach(self, start: int, stop: int) -> list[tuple[int, range]]:
        """Return the parts that the positions from ``start`` to ``stop`` lie in, and where within each."""
        reached, begin = [], 0
        for part, length in enumerate(self._lengths):
            is_last = part == len(self._lengths) - 1
            end = stop if is_last else begin + length
            within = range(max(start - begin, 0), min(stop, end) - begin)
            if within:
                reached.append((part, within))
            begin = end
        return reached


@dataclass(frozen=True)
class _Spread:
    """Sequences of several sources spread evenly; after the budgets are given it begins again.

    Attributes:
        budgets: sequences by source.
    """

    budgets: Mapping[str, int]

    @cached_property
    def _sources(self) -> list[tuple[str, int]]:
        return sorted(self.budgets.items())

    @cached_property
    def _total(self) -> int:
        return sum(self.budgets.values())

    def given(self, position: int) -> dict[str, int]:
        """Return how many of the first ``position`` sequences each source gives."""
        rounds, position = divmod(position, self._total)
        low, high = -1, 2 * _ONE  # at `low` fewer than `position` were due, at `high` as many or more
        while high - low > 1:
            middle = (low + high) // 2
            if sum(_due_until(middle, budget) for _, budget in self._sources) < position:
                low = middle
            else:
                high = middle
        before = {name: _due_until(low, budget) for name, budget in self._sources}
        left = position - sum(before.values())
        for name, budget in self._sources:  # of those due at once, the first by name
            if left and _due_until(high, budget) > before[name]:
                before[name] += 1
                left -= 1
        return {name: count + rounds * self.budgets[name] for name, count in before.items()}

    def sources(self, within: range) -> list[str]:
        """Return the sources of the sequences at the positions ``within``."""
        given = self.given(within.start)
        waiting = [(_due(given[name], budget), name, given[name], budget) for name, budget in self._sources]
        heapq.heapify(waiting)
        found = []
        for _ in within:
            _, name, number, budget = waiting[0]
            found.append(name)
            heapq.heapreplace(waiting, (_due(number + 1, budget), name, number + 1, budget))
        return found


def _due(number: int, budget: int) -> int:
    """Return when the ``number``-th sequence of a source is due."""
    return (2 * number + 1) * _ONE // budget


def _due_until(time: int, budget: int) -> int:
    """Return how many sequences of a source are due until ``time``."""
    return (((time + 1) * budget - 1) // _ONE + 1) // 2
