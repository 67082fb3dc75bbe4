"""The mixture of a whole training: exact token budgets, part by part."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from tokka.data.order import Order, Part
from tokka.data.shares import MixtureError, size_of, solve_part
from tokka.recipe.mixture import MixtureChange
from tokka.recipe.sources import Share


@dataclass(frozen=True)
class MixtureRow:
    """What one source gives.

    Attributes:
        source: its name.
        percent: share of all training tokens, or of those of a part.
        epochs: how many times it is read; None where its size is unknown.
        tokens: its budget, a multiple of the sequence length.
    """

    source: str
    percent: float
    epochs: float | None
    tokens: int


@dataclass(frozen=True)
class MixturePart:
    """A stretch of training with one mixture.

    Attributes:
        begin: tokens trained before it.
        tokens: that it lasts, a whole number of steps.
        rows: what each source gives in it.
        budgets: tokens that the mixture was solved to; more than the rows give where a change cut it short.
    """

    begin: int
    tokens: int
    rows: tuple[MixtureRow, ...]
    budgets: dict[str, int]


@dataclass(frozen=True)
class Mixture:
    """A solved mixture: budgets in whole sequences that add up to whole steps.

    Attributes:
        rows: what each source gives in all.
        tokens, steps: of the whole training.
        parts: the stretches of it that have a mixture of their own; one, where it never changes.
    """

    rows: tuple[MixtureRow, ...]
    tokens: int
    steps: int
    parts: tuple[MixturePart, ...]

    @property
    def budgets(self) -> dict[str, int]:
        """Tokens per source."""
        return {row.source: row.tokens for row in self.rows}

    def as_json(self) -> dict[str, Any]:
        """Return the mixture as JSON content."""
        return asdict(self)


def solve(
    shares: Mapping[str, Share],
    sizes: Mapping[str, int],
    *,
    tokens: int | None,
    batch_tokens: int,
    sequence_length: int,
    changes: Sequence[MixtureChange] = (),
) -> Mixture:
    """Solve ``shares`` to exact budgets.

    A stated total is rounded up to whole batches. A total that follows from the shares is rounded down,
    so that nothing is read more often than was asked for. Percentages are of a part; ``epochs``, ``tokens``
    and ``max_epochs`` count from the beginning of the run to the end of the part.

    Args:
        shares: what each source shall give.
        sizes: tokens of one epoch, where known.
        tokens: total budget in tokens, or None where the shares (those of the last part) determine it.
        batch_tokens: tokens of one step.
        sequence_length: tokens of one sequence; budgets are multiples of it.
        changes: other shares from stated token counts on; each begins at the nearest whole step.

    Raises:
        MixtureError: no solution, more than one, a source repeated beyond its ``max_epochs``, or a size
            that is needed and unknown.
    """
    begins = [0, *(round(change.at / batch_tokens) * batch_tokens for change in changes)]
    lengths = [end - begin for begin, end in pairwise(begins)]
    last = None if tokens is None else tokens - begins[-1]
    cuts = [*(change.cut for change in changes), None]
    given: Counter[str] = Counter()
    parts: list[MixturePart] = []
    for number, mixture in enumerate([shares, *(change.mixture for change in changes)]):
        begin, length = begins[number], [*lengths, last][number]
        try:
            budgets = cuts[number] or solve_part(
                mixture,
                sizes,
                given,
                tokens=length,
                batch_tokens=batch_tokens,
                sequence_length=sequence_length,
            )
            part = _part(begin, budgets, sizes, length if cuts[number] else None, sequence_length)
            given.update({row.source: row.tokens for row in part.rows})
            for source in mixture if cuts[number] is None else ():
                _check_epochs(
                    source, mixture[source], sizes.get(source), given[source], part, sequence_length
                )
        except MixtureError as error:
            if number == 0:
                raise
            raise MixtureError(
                f"from {size_of(begin)} tokens on (mixture_changes.{number - 1}): {error}"
            ) from None
        parts.append(part)
    total = sum(part.tokens for part in parts)
    return Mixture(_rows(given, sizes), total, total // batch_tokens, tuple(parts))


def wanted_until(parts: Iterable[Mapping[str, Any]], tokens: int) -> dict[str, float]:
    """Return the tokens that each source should have given when ``tokens`` are trained.

    Args:
        parts: of a mixture, as JSON content.
        tokens: trained in all.
    """
    wanted: Counter[str] = Counter()
    for part in parts:
        share = min(max(tokens - part["begin"], 0), part["tokens"]) / part["tokens"]
        wanted.update({row["source"]: row["tokens"] * share for row in part["rows"]})
    return dict(wanted)


def _part(
    begin: int, budgets: Mapping[str, int], sizes: Mapping[str, int], length: int | None, sequence_length: int
) -> MixturePart:
    """Return a part that uses its ``budgets`` up, or ends before that after ``length`` tokens."""
    tokens = sum(budgets.values()) if length is None else length
    counts = Order([Part(budgets, tokens)], sequence_length).given(tokens // sequence_length)
    given = {source: count * sequence_length for source, count in counts.items()}
    return MixturePart(begin, tokens, _rows(given, sizes), dict(budgets))


def _rows(given: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[MixtureRow, ...]:
    total = sum(given.values())
    return tuple(
        MixtureRow(
            source, 100 * tokens / total, tokens / sizes[source] if sizes.get(source) else None, tokens
        )
        for source, tokens in given.items()
    )


def _check_epochs(
    source: str, share: Share, size: int | None, given: int, part: MixturePart, sequence_length: int
) -> None:
    """Refuse a source that was read too often when ``part`` is over."""
    if share.max_epochs is None:
        return
    if not size:
        raise MixtureError(
            f"mixture.{source}: `max_epochs` needs the size of the source; state `sources.{source}.size`"
        )
    allowed = share.max_epochs * size
    if given > allowed + sequence_length:
        left = max(allowed - (given - next(row.tokens for row in part.rows if row.source == source)), 0)
        raise MixtureError(
            f"mixture.{source}: {size_of(given)} tokens of a source of {size_of(size)} are "
            f"{given / size:.2f} epochs, more than its `max_epochs` of {share.max_epochs:g}; give it at "
            f"most {size_of(left)} tokens ({100 * left / part.tokens:.2f}%), or lower `training.tokens`"
        )
