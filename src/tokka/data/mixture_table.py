"""The mixture as model cards print it, source by source, and as a recipe alone plans it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokka.data.mixture import Mixture, MixtureRow, solve
from tokka.data.shares import MixtureError
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import format_size

if TYPE_CHECKING:
    from rich.table import Table


class PrintedRow(NamedTuple):
    """One row of the table, as printed: ``54.16%``, ``1.52x``, ``541.7B``."""

    source: str
    percent: str
    epochs: str
    tokens: str


def planned_mixture(recipe: Recipe, counted: Mapping[str, int] | None = None) -> Mixture:
    """Solve the recipe's mixture from the sizes it declares.

    Args:
        recipe: a validated recipe.
        counted: tokens of one epoch of sources that have been tokenized; they replace declared sizes.

    Raises:
        MixtureError: the mixture has no solution, or sources are needed whose size is neither declared nor
            counted; the message names them all.
    """
    declared = {name: source.size for name, source in recipe.sources.items() if source.size is not None}
    sizes = declared | dict(counted or {})
    unknown = [name for name in counted_in_epochs(recipe) if name not in sizes]
    if unknown:
        raise MixtureError(
            f"the size of {', '.join(unknown)} is not known, and `epochs` or `max_epochs` needs it; state "
            f"`sources.NAME.size`, or run `tokka run RECIPE --to tokens`, which counts it"
        )
    return solve(
        recipe.mixture,
        sizes,
        tokens=recipe.training.tokens,
        batch_tokens=recipe.training.batch_tokens,
        sequence_length=recipe.training.sequence_length,
        changes=recipe.mixture_changes,
    )


def counted_in_epochs(recipe: Recipe) -> list[str]:
    """Return the sources of which a share counts epochs, so that their size must be known."""
    shares = [pair for mixture in recipe.mixtures for pair in mixture.items()]
    return list(
        dict.fromkeys(
            name for name, share in shares if share.epochs is not None or share.max_epochs is not None
        )
    )


def printed_rows(rows: Sequence[MixtureRow]) -> list[PrintedRow]:
    """Return the rows of the table as text, the total last."""
    printed = [
        PrintedRow(row.source, f"{row.percent:.2f}%", _epochs(row.epochs), _tokens(row.tokens))
        for row in rows
    ]
    return [*printed, PrintedRow("Total", "100%", "", _tokens(sum(row.tokens for row in rows)))]


def mixture_tables(mixture: Mixture) -> list["Table"]:
    """Return the tables for a terminal: one a part where the mixture changes, and one in all."""
    whole = _table(mixture.rows, f"{mixture.steps:,} steps")
    if len(mixture.parts) == 1:
        return [whole]
    parts = []
    for part in mixture.parts:
        end = part.begin + part.tokens
        parts.append(_table(part.rows, f"{format_size(part.begin)} to {format_size(end)} tokens"))
    whole.title = "In all"
    return [*parts, whole]


def _table(rows: Sequence[MixtureRow], caption: str) -> "Table":
    from rich.table import Table

    table = Table("Source", caption=caption)
    for heading in ("Percentage", "Epochs", "Tokens"):
        table.add_column(heading, justify="right")
    *sources, total = printed_rows(rows)
    for row in sources:
        table.add_row(*row)
    table.add_section()
    table.add_row(*total)
    return table


def _epochs(epochs: float | None) -> str:
    if epochs is None:
        return "?"
    if 0 < epochs < 0.005:
        return "<0.01x"
    return f"{epochs:.2f}".rstrip("0").rstrip(".") + "x"


def _tokens(count: int) -> str:
    """Return a count to one decimal of its unit, as the cards do: 8.0B, 541.7B."""
    power = 0
    while power < 4 and round(count / 1000**power, 1) >= 1000:
        power += 1
    return f"{count / 1000**power:.1f}{'KMBT'[power - 1]}" if power else str(count)
