"""From the shares of one mixture (percent, epochs, tokens, the rest) to whole sequences of each source."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil, floor

from tokka.recipe.sizes import format_size
from tokka.recipe.sources import Share

_ROUNDING = Fraction(5, 100_000)
"""Percentages are written rounded; they may miss 100 by so much of the total and are then scaled."""


class MixtureError(ValueError):
    """A mixture with no solution, or with more than one; the message says which and what to change."""


def solve_part(
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
            f"impossible: the shares make {size_of(total)} tokens, less than one step of "
            f"{size_of(batch_tokens)}; lower `training.batch_tokens`, or ask for more"
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
                f"{size_of(total - left)} of {size_of(total)} tokens"
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
            f"mixture.{source}: {size_of(amount)} tokens are asked for, {size_of(given)} were given before; "
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
            f"{size_of(amount)} tokens in `tokens` and `epochs`" if amount else "",
        )
        if part
    )
    word = "missing" if left > 0 else "too much"
    remedy = "make one source `rest: true`"
    if amount:
        remedy += ", or leave out `training.tokens`, which then follows from the shares"
    found = f"{size_of(total - left)} of {size_of(total)} tokens, {size_of(abs(left))} {word}"
    return f"over-determined: {stated} make {found}; {remedy}"


def _apportion(
    shares: Mapping[str, Share], wanted: Mapping[str, Fraction], total: int, sequence_length: int
) -> dict[str, int]:
    """Return whole sequences per source, ``total`` in all.

    Sources stated in tokens or epochs get what was stated, to the sequence; the flexible ones (percent,
    rest) share what remains by largest remainders. Where all are fixed, the largest takes the rounding.
    """
    flexible = [s for s in shares if shares[s].percent or shares[s].rest]
    only_measured = [s for s in shares if shares[s].percent == 0]
    fixed = [s for s in shares if s not in flexible and s not in only_measured]
    given = dict.fromkeys(only_measured, 0) | {s: round(wanted[s] / sequence_length) for s in fixed}
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
    starved = [source for source in shares if given[source] < 1 and source not in only_measured]
    if starved:
        raise MixtureError(
            f"impossible: {_names(starved)} would get less than one sequence of {sequence_length} tokens "
            f"out of {size_of(total * sequence_length)}; raise the share or the total, or remove the source"
        )
    return {source: given[source] for source in shares}


def size_of(tokens: Fraction | float) -> str:
    """Return a count of tokens as people write it."""
    return format_size(round(tokens))


def _percent(proportion: Fraction) -> str:
    return f"{float(100 * proportion):.4f}".rstrip("0").rstrip(".") + "%"


def _names(sources: Iterable[str]) -> str:
    return ", ".join(sources)
