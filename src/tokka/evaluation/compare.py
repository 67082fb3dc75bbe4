"""Revisions, or models, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokka.recipe.sizes import parse_size
from tokka.workspace.files import read_json

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


BITS_PER_BYTE = "bits per byte"


class _Figure(NamedTuple):
    value: float | None
    lower_is_better: bool | None
    language: str | None


@dataclass(frozen=True)
class Row:
    """One figure of every model.

    Attributes:
        measure: what is measured, with its direction: ``bits per byte`` or the metric of a task.
        name: the language, or the task.
        values: the figure of each model, in their order; None where it has none.
        lower_is_better: direction of the figure, None where it has no better.
        language: what the figure is of; None for a task of which the recipe does not say it.
    """

    measure: str
    name: str
    values: tuple[float | None, ...]
    lower_is_better: bool | None
    language: str | None = None

    @property
    def best(self) -> float | None:
        """The best value, or None where there is no better or nothing to compare."""
        known = [value for value in self.values if value is not None]
        if self.lower_is_better is None or len(known) < 2:
            return None
        return min(known) if self.lower_is_better else max(known)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"best": self.best}


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results that :mod:`tokka.evaluation.evaluate` wrote to ``folder``, fewest tokens first."""
    found = {path: _tokens(path) for path in folder.glob("*.json")}
    ordered = sorted((path for path in found if found[path]), key=lambda path: found[path] or 0)
    results = {path: read_json(path) for path in ordered}
    for path, result in results.items():
        if not isinstance(result, dict) or not {"languages", "tasks"} <= result.keys():
            raise ValueError(f"{path} is no result of an evaluation; remove it and run the recipe again")
    return list(results.values())


def read_result(path: Path) -> dict[str, Any] | None:
    """Return the result of one model in the file ``path``; None where there is none."""
    return read_json(path) if path.is_file() else None


def compare(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each language and for each metric of each task that any of ``results`` has."""
    languages = dict.fromkeys(language for result in results for language in result["languages"])
    rows = [
        Row(
            BITS_PER_BYTE,
            language,
            tuple(result["languages"].get(language, {}).get("bits_per_byte") for result in results),
            lower_is_better=True,
            language=language,
        )
        for language in languages
    ]
    figures = [_task_figures(result["tasks"]) for result in results]
    for key in dict.fromkeys(key for found in figures for key in found):
        task, metric = key
        known = [found[key] for found in figures if key in found]
        rows.append(
            Row(
                metric,
                task,
                tuple(found[key].value if key in found else None for found in figures),
                lower_is_better=known[0].lower_is_better,
                language=known[0].language,
            )
        )
    return rows


def evaluation_table(folder: Path) -> "Table":
    """Return the table of the revisions evaluated in ``folder``."""
    return results_table(read_results(folder))


def results_table(results: Sequence[Mapping[str, Any]]) -> "Table":
    """Return a table of ``results``: a column a model, a row a figure, the best of each row in bold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Evaluation")
    table.add_column("")
    table.add_column("measure")
    for result in results:
        table.add_column(result["name"], justify="right", no_wrap=True)
    previous = None
    for row in compare(results):
        if previous is not None and previous.measure != row.measure:
            table.add_section()
        table.add_row(Text(row.name), Text(row.measure), *(_cell(value, row.best) for value in row.values))
        previous = row
    return table


def _cell(value: float | None, best: float | None) -> "Text":
    from rich.text import Text

    if value is None:
        return Text("-")
    return Text(f"{value:.3f}", style="bold" if value == best else "")


def _task_figures(tasks: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], _Figure]:
    """Return the figures by (task, metric); of a group with a figure of its own only that."""
    figures: dict[tuple[str, str], _Figure] = {}
    for task in tasks:
        found = task.get("results", {})
        for name in [task["name"]] if task["name"] in found else found:
            result = found[name]
            shown = name if result["shots"] is None else f"{name}, {result['shots']} shots"
            for metric, figure in result["metrics"].items():
                higher = figure["higher_is_better"]
                lower = None if higher is None else not higher
                figures[shown, metric] = _Figure(figure["value"], lower, task.get("language"))
    return figures


def _tokens(path: Path) -> int | None:
    """Return the tokens that a result file is named by, None for another file."""
    try:
        return parse_size(path.stem)
    except ValueError:
        return None
