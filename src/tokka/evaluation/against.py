"""A continued model against its base: what it gained, and what it forgot."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokka.evaluation.compare import BITS_PER_BYTE, Row, compare, read_result, read_results

if TYPE_CHECKING:
    from rich.table import Table

BASE, MERGED = "base", "merged"
"""Names of the results of the base, and of the merge of base and trained; revisions have names of tokens."""

_SHARE = re.compile(r"(acc|exact_match|f1|mc[12]|pass@|prompt_level|inst_level)")
"""Metrics between 0 and 1 that people read as percentages."""


@dataclass(frozen=True)
class Against:
    """Figures of a language or domain, each of the continued models and, last, of the base.

    Attributes:
        models: names, in the order of the values.
        bits: bits per byte, a row a language.
        tasks: benchmarks by their language, None where the recipe states none.
    """

    models: tuple[str, ...]
    bits: tuple[Row, ...]
    tasks: Mapping[str | None, tuple[Row, ...]]


def against_base(result: Mapping[str, Any], base: Mapping[str, Any], *others: Mapping[str, Any]) -> Against:
    """Compare ``result`` and ``others`` with ``base``, by figures that result and base both have.

    Args:
        result: of the continued model, as :func:`tokka.evaluation.measure.measure` describes it.
        base: of its base, on the same texts and tasks.
        others: further models, such as the merge of the two.
    """
    results = [result, *others, base]
    rows = [row for row in compare(results) if row.values[0] is not None and row.values[-1] is not None]
    tasks: dict[str | None, tuple[Row, ...]] = {}
    for row in rows:
        if row.measure != BITS_PER_BYTE:
            tasks[row.language] = (*tasks.get(row.language, ()), _in_percent(row))
    bits = tuple(row for row in rows if row.measure == BITS_PER_BYTE)
    return Against(tuple(str(each["name"]) for each in results), bits, tasks)


def read_against(folder: Path) -> Against | None:
    """Return the latest revision in ``folder`` against the base; None where no base was measured."""
    results, base = read_results(folder), read_result(folder / f"{BASE}.json")
    if not results or base is None:
        return None
    merged = read_result(folder / f"{MERGED}.json")
    return against_base(results[-1], base, *([merged] if merged else []))


def change(row: Row) -> float:
    """Return by how many percent the first model's figure differs from the base's.

    Of bits per byte this is what was forgotten where it is positive, and what was learned where it is not.
    """
    mine, base = row.values[0], row.values[-1]
    return 100 * (mine / base - 1) if mine is not None and base else 0.0


def average_gain(rows: Sequence[Row]) -> float | None:
    """Return by how many percentage points the first model is better than the base on average.

    The mean over the metrics that are percentages and better when higher, as the cards of Poro 2 give it;
    None where there is none.
    """
    gains = [
        row.values[0] - row.values[-1]
        for row in rows
        if is_percentage(row) and row.values[0] is not None and row.values[-1] is not None
    ]
    return sum(gains) / len(gains) if gains else None


def is_percentage(row: Row) -> bool:
    """Tell a share of right answers, shown in percent, from scores on other scales."""
    return bool(_SHARE.match(row.measure)) and row.lower_is_better is False


def against_table(against: Against) -> "Table":
    """Return the comparison for the terminal, before and after, the better figure of each row in bold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Before and after")
    for heading in ("", "measure"):
        table.add_column(heading)
    *after, before = against.models
    for heading in (before, *after, "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in [*against.bits, *_all(against)]:
        *now, base = (_cell(value, row.best) for value in row.values)
        difference = f"{change(row):+.1f}%" if row.measure == BITS_PER_BYTE else ""
        table.add_row(Text(row.name), Text(row.measure), base, *now, difference)
    return table


def _all(against: Against) -> Iterator[Row]:
    for rows in against.tasks.values():
        yield from rows


def _cell(value: float | None, best: float | None) -> Any:
    from rich.text import Text

    return Text("-" if value is None else f"{value:.3f}", style="bold" if value == best else "")


def _in_percent(row: Row) -> Row:
    if not is_percentage(row):
        return row
    values = tuple(None if value is None else 100 * value for value in row.values)
    return Row(row.measure, row.name, values, row.lower_is_better, row.language)
