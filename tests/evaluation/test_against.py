"""A continued model beside its base."""

import io
import json

import pytest
from rich.console import Console

from tokka.evaluation.against import against_base, against_table, average_gain, change, read_against


def result(name, bits, tasks=()):
    languages = {language: {"bits_per_byte": value} for language, value in bits.items()}
    return {"name": name, "languages": languages, "tasks": list(tasks)}


def task(name, language, **metrics):
    figures = {
        metric: {"value": value, "stderr": 0.01, "higher_is_better": metric != "word_perplexity"}
        for metric, value in metrics.items()
    }
    return {"name": name, "language": language, "results": {name: {"metrics": figures, "shots": 5}}}


LLAMA = result(
    "base",
    {"fi": 2.0, "en": 0.8},
    [
        task("arc_fi", "fi", acc_norm=0.5452),
        task("mmlu_fi", "fi", acc=0.7129),
        task("mmlu", "en", acc=0.7859),
        task("flores", None, chrf=59.16, word_perplexity=9.0),
    ],
)
PORO = result(
    "1M",
    {"fi": 1.4, "en": 0.82},
    [
        task("arc_fi", "fi", acc_norm=0.6101),
        task("mmlu_fi", "fi", acc=0.7376),
        task("mmlu", "en", acc=0.7820),
        task("flores", None, chrf=62.5, word_perplexity=7.0),
    ],
)


def test_what_was_learned_and_what_was_forgotten_is_one_number_per_language():
    against = against_base(PORO, LLAMA)
    assert {row.name: change(row) for row in against.bits} == {
        "fi": pytest.approx(-30.0),
        "en": pytest.approx(2.5),
    }
    assert [row.best for row in against.bits] == [1.4, 0.8]


def test_benchmarks_stand_under_their_language_in_percent_as_in_the_cards_of_poro_2():
    against = against_base(PORO, LLAMA)
    assert list(against.tasks) == ["fi", "en", None]
    assert against.tasks["fi"][0].values == (pytest.approx(61.01), pytest.approx(54.52))
    assert against.tasks[None][0].values == (62.5, 59.16)
    assert against.tasks[None][1].best == 7.0  # of a perplexity the lower


def test_the_average_is_that_of_percentages_alone():
    against = against_base(PORO, LLAMA)
    assert average_gain(against.tasks["fi"]) == pytest.approx((61.01 - 54.52 + 73.76 - 71.29) / 2)
    assert average_gain(against.tasks["en"]) == pytest.approx(-0.39)
    assert average_gain(against.tasks[None]) is None


def test_figures_that_only_one_of_the_two_has_are_left_out():
    against = against_base(result("1M", {"fi": 1.0, "sv": 2.0}, [task("new", "fi", acc=0.5)]), LLAMA)
    assert [row.name for row in against.bits] == ["fi"]
    assert against.tasks == {}


def test_the_merge_stands_between_the_two():
    against = against_base(PORO, LLAMA, result("merged", {"fi": 1.5, "en": 0.79}))
    assert against.models == ("1M", "merged", "base")
    assert against.bits[1].best == 0.79
    assert against.tasks["fi"][0].values[1] is None


def test_the_table_shows_the_latest_revision_and_how_much_it_changed(tmp_path):
    for name, content in {"500K": PORO | {"name": "500K"}, "1M": PORO, "base": LLAMA}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    against = read_against(tmp_path)
    assert against is not None
    assert against.models == ("1M", "base")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(against_table(against))
    shown = console.export_text()
    assert "-30.0%" in shown
    assert "+2.5%" in shown
    assert "61.010" in shown


def test_a_run_from_scratch_is_compared_with_nothing(tmp_path):
    (tmp_path / "1M.json").write_text(json.dumps(PORO))
    assert read_against(tmp_path) is None
