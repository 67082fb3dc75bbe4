"""Results side by side."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from tokka.evaluation.compare import compare, evaluation_table, read_results, results_table


def result(
    name: str, fi: float, en: float | None = None, tasks: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    languages = {"fi": {"bits_per_byte": fi}} | ({} if en is None else {"en": {"bits_per_byte": en}})
    return {"name": name, "languages": languages, "tasks": list(tasks)}


def task(name: str, shots: int | None, **values: float | None) -> dict[str, Any]:
    metrics = {
        metric: {"value": value, "stderr": 0.1, "higher_is_better": metric != "word_perplexity"}
        for metric, value in values.items()
    }
    return {"name": name, "limit": None, "results": {name: {"metrics": metrics, "shots": shots}}}


def printed(table: Any) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text(styles=True)


def write(folder: Path, *results: dict[str, Any]) -> None:
    for each in results:
        (folder / f"{each['name']}.json").write_text(json.dumps(each))


def test_revisions_come_in_the_order_of_their_tokens(tmp_path):
    write(tmp_path, result("1M", 2.0), result("200K", 3.0), result("1.5M", 1.9))
    (tmp_path / "manifest.json").write_text("{}")
    assert [each["name"] for each in read_results(tmp_path)] == ["200K", "1M", "1.5M"]


def test_the_best_of_each_row_is_bold_and_nothing_else_is(tmp_path):
    write(tmp_path, result("200K", 3.0, 2.5), result("1M", 2.0, 2.75))
    lines = printed(evaluation_table(tmp_path)).splitlines()
    fi = next(line for line in lines if "fi" in line)
    en = next(line for line in lines if "en" in line)
    assert "\x1b[1m2.000" in fi
    assert "\x1b[1m3.000" not in fi
    assert "\x1b[1m2.500" in en
    assert "\x1b[1m2.750" not in en


def test_a_language_that_a_model_was_not_measured_on_has_a_dash():
    rows = compare([result("a", 3.0), result("b", 2.0, 2.5)])
    assert [(row.name, row.values, row.best) for row in rows] == [
        ("fi", (3.0, 2.0), 2.0),
        ("en", (None, 2.5), None),
    ]
    lines = printed(results_table([result("a", 3.0), result("b", 2.0, 2.5)])).splitlines()
    assert any("en" in line and " - " in line for line in lines)


def test_tasks_have_a_row_a_metric_and_their_own_direction():
    first = result(
        "a", 3.0, tasks=(task("arc", 5, acc=0.3, acc_norm=0.4), task("pages", None, word_perplexity=30.0))
    )
    second = result(
        "b", 2.0, tasks=(task("arc", 5, acc=0.2, acc_norm=0.5), task("pages", None, word_perplexity=9.0))
    )
    rows = {(row.name, row.measure): row for row in compare([first, second])}
    assert rows["arc, 5 shots", "acc"].best == 0.3
    assert rows["arc, 5 shots", "acc_norm"].best == 0.5
    assert rows["pages", "word_perplexity"].best == 9.0
    assert json.loads(json.dumps([row.as_json() for row in rows.values()]))[0]["best"] == 2.0


def test_a_failed_task_has_no_row_of_its_own():
    failed = {"name": "arc", "limit": None, "error": "no such data"}
    rows = compare([result("a", 3.0, tasks=(failed,)), result("b", 2.0, tasks=(task("arc", 5, acc=0.2),))])
    assert rows[-1].values == (None, 0.2)
    assert [row.name for row in compare([result("a", 3.0, tasks=(failed,))])] == ["fi"]


def test_of_a_group_with_a_figure_only_that_is_shown():
    grouped = task("sums", 0, acc=0.5)
    grouped["results"]["sums_choice"] = task("sums_choice", 0, acc=0.7)["results"]["sums_choice"]
    assert [row.name for row in compare([result("a", 3.0, tasks=(grouped,))])] == ["fi", "sums, 0 shots"]
