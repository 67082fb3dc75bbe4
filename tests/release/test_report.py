"""Reports, read back by a strict HTML parser."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from release_runs import MIX, MODELS, SOURCES, make_recipe, make_run, metrics_row

from tokka.release.report import write_report

VOID = {"meta", "br", "hr", "img", "link", "input", "col"}
SECTIONS = ["Evaluation", "Training", "Samples", "Data", "Tokenizer", "Provenance"]
NASTY = "\"'> </script><script>alert(1)</script> <img src=https://evil.example/x> {{ 7*7 }} &amp; |\n\x1b[31m"


class Page(HTMLParser):
    """A page whose every element is closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if "style" not in self.open:
            self.text += data

    @property
    def charts(self) -> int:
        return sum(tag == "svg" and attrs.get("class") == "chart" for tag, attrs in self.elements)


def report_of(run: Path) -> Page:
    path = run / "report" / "report.html"
    write_report(run, path)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


def test_it_shows_every_section_with_its_charts(run: Path) -> None:
    page = report_of(run)
    assert page.headings == SECTIONS
    assert page.charts >= 7  # bits per byte, loss, four of the step, mixture
    for shown in (
        "75.2K",
        "1.333",
        "the loss is nan",
        "broken json",
        "luminen 3",
        "Finnish",
        "arc, 25 shots",
    ):
        assert shown in page.text
    assert "no task or group has this name" in page.text


def test_it_loads_nothing_from_anywhere(run: Path) -> None:
    page = report_of(run)
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    html = (run / "report" / "report.html").read_text()
    assert not re.search(r"@import|url\(", html)


def test_the_same_run_gives_the_same_report(run: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.html", tmp_path / "2.html"
    facts = write_report(run, first)
    write_report(run, second)
    assert first.read_bytes() == second.read_bytes()
    assert facts == {"bytes": first.stat().st_size, "missing": ["release"]}


@pytest.mark.parametrize("until", [None, "corpus", "tokenizer", "tokens", "mixture", "training"])
def test_of_an_unfinished_run_it_shows_what_is_there_and_says_what_is_missing(
    tmp_path: Path, until: str | None
) -> None:
    if until is None:
        make_recipe(tmp_path)
    else:
        make_run(tmp_path, until=until)
    page = report_of(tmp_path)
    assert page.headings == SECTIONS
    assert "This run is not finished" in page.text
    assert "No revision has been evaluated yet" in page.text
    assert ("Training has not begun" in page.text) == (until != "training")
    assert ("No source has been read yet" in page.text) == (until is None)


def test_training_under_way_is_shown(tmp_path: Path) -> None:
    make_run(tmp_path, until="mixture")
    (tmp_path / "training").mkdir()
    lines = [json.dumps(metrics_row(step, 96, dict.fromkeys(MIX, 1000))) for step in range(1, 20)]
    half = lines[-1][:40]
    (tmp_path / "training" / "metrics.jsonl").write_text("\n".join(lines) + "\n" + half)
    page = report_of(tmp_path)
    assert "Loss, nats per token" in page.text
    assert "of 196.608K" in page.text


def test_one_step_is_enough_and_none_is_not_too_few(tmp_path: Path) -> None:
    make_run(tmp_path, until="mixture")
    (tmp_path / "training").mkdir()
    record = tmp_path / "training" / "metrics.jsonl"
    record.write_text("")
    assert "Training has not begun" in report_of(tmp_path).text
    row = metrics_row(1, 96, dict.fromkeys(MIX, 1000))
    record.write_text(json.dumps(row) + "\n")
    assert report_of(tmp_path).charts
    record.write_text(
        json.dumps(row | {"loss": None, "grad_norm": None, "skipped": "the loss is nan"}) + "\n"
    )
    assert "the loss is nan" in report_of(tmp_path).text


def test_a_damaged_record_is_named_with_its_line(tmp_path: Path) -> None:
    make_run(tmp_path)
    record = tmp_path / "training" / "metrics.jsonl"
    record.write_text(record.read_text().replace('{"step": 3,', '{"step": 3', 1))
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3"):
        write_report(tmp_path, tmp_path / "report.html")


def test_hostile_strings_are_shown_as_text(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "sources": SOURCES | {"finnish": SOURCES["finnish"] | {"notes": NASTY, "language": "<b>"}},
        "release": {"repo": "herd/Tiny-1", "title": NASTY, "summary": NASTY},
        "evaluation": {"prompts": [NASTY]},
        "model": MODELS["bloom"] | {"base": f"/{NASTY}"},
    }
    make_run(tmp_path, **changes)
    record = tmp_path / "training" / "metrics.jsonl"
    record.write_text(record.read_text().replace("the loss is nan", json.dumps(NASTY)[1:-1]))
    page = report_of(tmp_path)
    assert page.headings == SECTIONS
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert "<script>alert(1)</script>" in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no run in .*recipe\.yaml"):
        write_report(tmp_path, tmp_path / "report.html")


def test_a_long_run_makes_a_small_report(tmp_path: Path) -> None:
    make_run(tmp_path)
    steps = 20_000
    budgets = dict.fromkeys(MIX, steps * 1000)
    lines = (json.dumps(metrics_row(step, steps, budgets)) for step in range(1, steps + 1))
    (tmp_path / "training" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert write_report(tmp_path, tmp_path / "report.html")["bytes"] < 300_000
