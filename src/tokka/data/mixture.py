"""From shares (percent, epochs, tokens, the rest) to exact token budgets, part by part of the training."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any

from tokka.data.order import Order, Part
from tokka.recipe.mixture import MixtureChange
from tokka.recipe.sizes import format_size
from tokka.recipe.sources import Share

_ROUNDING = Fraction(5, 100_000)
"""Percentages are written rounded; they may miss 100 by so much of the total and are then scaled."""


class MixtureError(ValueError):
    """A mixture with no solution, or with more than one; the message says which and what to change."""


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
            budgets = cuts[number] or _solve_part(
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
                f"from {_size(begin)} tokens on (mixture_changes.{number - 1}): {error}"
            ) from None
        parts.append(part)
    total = sum(part.tokens for part in parts)
    return Mixture(_rows(given, sizes), total, total // batch_tokens, tuple(parts))


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


def _solve_part(
    shares: Mapping[str, Share],
    sizes: Mapping[str, int],
    given: Mapping[str, int],
    *,
    tokens: int | None,
    batch_tokens: int,
    sequence_length: int,
) -> dict[str, int]:
    """Return the budgets of a part; ``given`` are the tokens that sources gave before it."""
    total, wanted = _solve_total(shares, sizes, given, tokens)
    steps = ceil(total / batch_tokens) if tokens is not None else floor(total / batch_tokens)
    if steps == 0:
        raise MixtureError(
            f"impossible: the shares make {_size(total)} tokens, less than one step of "
            f"{_size(batch_tokens)}; lower `training.batch_tokens`, or ask for more"
        )
    sequences = _apportion(shares, wanted, steps * batch_tokens // sequence_length, sequence_length)
    return {source: count * sequence_length for source, count in sequences.items()}


def _solve_total(
    shares: Mapping[str, Share], sizes: Mapping[str, int], given: Mapping[str, int], tokens: int | None
) -> tuple[Fraction, dict[str, Fraction]]:
    """Return the total, and the tokens each source shall give, before rounding to sequences."""
    percent = {s: Fraction(str(share.percent)) / 100 for s, share in shares.items() if share.percent}
    fixed = {
        source: _fixed_tokens(source, share, sizes, given.get(source, 0))
        for source, share in shares.items()
        if share.epochs or share.tokens
    }
    rest = [source for source, share in shares.items() if share.rest]
    proportion, amount = sum(percent.values(), Fraction(0)), sum(fixed.values(), Fraction(0))
    if len(rest) > 1:
        raise MixtureError(f"under-determined: {_names(rest)} are all `rest`; state a share for all but one")
    total = Fraction(tokens) if tokens is not None else _derive_total(proportion, amount, rest)
    wanted = {s: share * total for s, share in percent.items()} | fixed
    left = total - sum(wanted.values(), Fraction(0))
    if rest:
        if left <= 0:
            raise MixtureError(
                f"impossible: nothing is left for {rest[0]}; the others ask for "
                f"{_size(total - left)} of {_size(total)} tokens"
            )
        wanted[rest[0]] = left
    elif abs(left) > _ROUNDING * total:
        raise MixtureError(_explain_mismatch(proportion, amount, total, left))
    return total, wanted


def _fixed_tokens(source: str, share: Share, sizes: Mapping[str, int], given: int) -> Fraction:
    """Return what is left of an amount that counts from the beginning of the run."""
    if share.tokens is None and not sizes.get(source):
        raise MixtureError(
            f"mixture.{source}: `epochs` needs the size of the source; state `sources.{source}.size`, "
            f"or run `tokka run RECIPE --to tokens`, which counts it"
        )
    amount = Fraction(share.tokens) if share.tokens else Fraction(str(share.epochs)) * sizes[source]
    if amount <= given:
        raise MixtureError(
            f"mixture.{source}: {_size(amount)} tokens are asked for, and {_size(given)} were given before; "
            f"`epochs` and `tokens` count from the beginning of the run: ask for more, or leave it out"
        )
    return amount - given


def _derive_total(proportion: Fraction, amount: Fraction, rest: list[str]) -> Fraction:
    if rest:
        raise MixtureError(
            f"under-determined: {rest[0]} takes the rest of an unknown total; state `training.tokens`"
        )
    if amount == 0:
        raise MixtureError(
            "under-determined: percentages alone say nothing of the amount; state `training.tokens`"
        )
    if proportion >= 1:
        raise MixtureError(
            f"impossible: the percentages already add up to {_percent(proportion)}, which leaves no room for "
            f"the sources given in tokens or epochs; lower the percentages"
        )
    return amount / (1 - proportion)


def _explain_mismatch(proportion: Fraction, amount: Fraction, total: Fraction, left: Fraction) -> str:
    stated = " plus ".join(
        part
        for part in (
            f"percentages of {_percent(proportion)}" if proportion else "",
            f"{_size(amount)} tokens in `tokens` and `epochs`" if amount else "",
        )
        if part
    )
    word = "missing" if left > 0 else "too much"
    remedy = "make one source `rest: true`"
    if amount:
        remedy += ", or leave out `training.tokens`, which then follows from the shares"
    found = f"{_size(total - left)} of {_size(total)} tokens, {_size(abs(left))} {word}"
    return f"over-determined: {stated} make {found}; {remedy}"


def _apportion(
    shares: Mapping[str, Share], wanted: Mapping[str, Fraction], total: int, sequence_length: int
) -> dict[str, int]:
    """Return whole sequences per source, ``total`` in all.

    Sources stated in tokens or epochs get what was stated, to the sequence; the flexible ones (percent,
    rest) share what remains by largest remainders. Where all are fixed, the largest takes the rounding.
    """
    flexible = [s for s in shares if shares[s].percent is not None or shares[s].rest]
    given = {s: round(wanted[s] / sequence_length) for s in shares if s not in flexible}
    remaining = total - sum(given.values())
    if flexible:
        weight = sum(wanted[s] for s in flexible)
        ideal = {s: wanted[s] * remaining / weight for s in flexible}
        given |= {s: int(share) for s, share in ideal.items()}
        by_remainder = sorted(flexible, key=lambda s: (int(ideal[s]) - ideal[s], s))
        for source in by_remainder[: total - sum(given.values())]:
            given[source] += 1
    else:
        given[max(given, key=lambda s: given[s])] += remaining
    starved = [source for source in shares if given[source] < 1]
    if starved:
        raise MixtureError(
            f"impossible: {_names(starved)} would get less than one sequence of {sequence_length} tokens "
            f"out of {_size(total * sequence_length)}; raise the share or the total, or remove the source"
        )
    return {source: given[source] for source in shares}


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
            f"mixture.{source}: {_size(given)} tokens of a source of {_size(size)} are "
            f"{given / size:.2f} epochs, more than its `max_epochs` of {share.max_epochs:g}; give it at "
            f"most {_size(left)} tokens ({100 * left / part.tokens:.2f}%), or lower `training.tokens`"
        )


def _size(tokens: Fraction | float) -> str:
    return format_size(round(tokens))


def _percent(proportion: Fraction) -> str:
    return f"{float(100 * proportion):.4f}".rstrip("0").rstrip(".") + "%"


def _names(sources: Iterable[str]) -> str:
    return ", ".join(sources)
