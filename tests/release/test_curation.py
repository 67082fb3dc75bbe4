"""Card and report show what curation took, from the facts of the run alone."""

from dataclasses import replace

import pytest
from release_runs import make_run

from tokka.recipe.evaluation import Task
from tokka.release.card import render_card
from tokka.release.curation import contamination_table, curation_table
from tokka.release.record import RunRecord
from tokka.release.report import write_report
from tokka.workspace.manifest import Manifest

CURATION = {
    "documents": 2000,
    "bytes": 900_000,
    "steps": {
        "language": {"documents": 200, "bytes": 80_000, "changed": 0, "reasons": {"other_language": 200}},
        "mask": {"documents": 0, "bytes": 400, "changed": 30, "reasons": {}},
    },
}


@pytest.fixture
def run(tmp_path):
    """A run whose first source was curated."""
    recipe = make_run(tmp_path)
    folder = tmp_path / "corpus" / next(iter(recipe.sources))
    manifest = Manifest.read(folder)
    replace(manifest, facts=manifest.facts | {"curation": CURATION}).write(folder)
    return tmp_path, recipe


def test_every_step_of_a_curated_source_is_a_row(run):
    folder, recipe = run
    name = next(iter(recipe.sources))
    record = RunRecord.read(folder, recipe)
    rows = curation_table(record).rows
    assert [row[:4] for row in rows] == [
        (name, "language", "200", "10.00%"),
        (name, "mask", "0", "0.00%"),
        (name, "all", "200", "10.00%"),
    ]
    tokens = record.facts(f"tokens/{name}")
    expected = f"{round(80_000 / tokens['bytes_per_token']):,}" if "bytes_per_token" in tokens else ""
    assert rows[0][4:] == ("80,000", expected, "other language")


def test_card_and_report_show_the_table(run, tmp_path):
    folder, recipe = run
    record = RunRecord.read(folder, recipe)
    assert "| other language |" in render_card(folder, recipe, record.revisions[-1])
    write_report(folder, tmp_path / "report.html")
    assert "What each step of curation took" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_curation_nothing_is_said_of_it(tmp_path):
    recipe = make_run(tmp_path)
    assert curation_table(RunRecord.read(tmp_path, recipe)) is None
    write_report(tmp_path, tmp_path / "report.html")
    assert "curation" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_deduplication_is_a_step_and_every_benchmark_a_row(run, tmp_path):
    folder, recipe = run
    name, *others = recipe.sources
    toll = {"documents": 300, "bytes": 90_000, "reasons": {"near_duplicate": 300}}
    tasks = [{"name": "arc"}, {"name": "piqa"}]
    evaluation = recipe.evaluation.model_copy(update={"tasks": [Task(**task) for task in tasks]})
    recipe = recipe.model_copy(update={"evaluation": evaluation})
    facts = {
        "benchmarks": {"items": {"arc": 1172, "piqa": 9}},
        f"documents/{name}": {"removed": {"steps": {"deduplicate": toll}}, "heldout": {"documents": 4}},
        f"contamination/{name}": {"tasks": {"arc": {"items": [3, 5], "documents": 4}}},
        f"contamination/{others[0]}": {"tasks": {"arc": {"items": [5, 6], "documents": 1}}},
    }
    for stage, content in facts.items():
        Manifest(stage, "key", {}, {}, {}, content).write(folder / stage)
    record = RunRecord.read(folder, recipe)
    assert [row[1:3] for row in curation_table(record).rows] == [
        ("language", "200"),
        ("mask", "0"),
        ("deduplicate", "300"),
        ("all", "500"),
    ]
    assert contamination_table(record).rows == [("arc", "1,172", "3", "5"), ("piqa", "9", "0", "0")]
    card = render_card(folder, recipe, record.revisions[-1])
    assert "those that held one were taken out before training" in card
    assert "| arc | 1,172 | 3 | 5 |" in card
