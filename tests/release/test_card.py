"""Model cards, read back by huggingface_hub and a Markdown parser."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from release_runs import BATCH, MODELS, SOURCES, STEPS, make_recipe, make_run

from tokka.recipe.training import Schedule
from tokka.release.card import card_header, render_card
from tokka.release.words import schedule_in_words

REVISIONS = ["65.536K", "131.072K", "196.608K"]
SECTIONS = [
    "Model Overview",
    "Checkpoints",
    "Training",
    "Training Hyperparameters",
    "Tokenizer",
    "Dataset",
    "Evaluation Results",
    "Usage",
    "Ethical Considerations and Limitations",
    "License",
]
NASTY = (
    "a | b\n\n# Break **out** </script><script>alert(1)</script> `--- {{ 7 * 7 }}\n---\n- ] ' \" : # &amp;"
)


def sections(card: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(ModelCard(card).text)
    found = pairwise(tokens)
    return [
        inline.content for opening, inline in found if opening.type == "heading_open" and opening.tag == "h2"
    ]


def tables(card: str) -> list[list[list[str]]]:
    """Return the cells of every table of a card, row by row."""
    html = MarkdownIt("commonmark").enable("table").render(ModelCard(card).text)
    rows = [
        re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        for table in re.findall(r"<table>.*?</table>", html, re.DOTALL)
    ]
    return [[re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in table] for table in rows]


def table(card: str, *headings: str) -> dict[str, list[str]]:
    """Return the rows below ``headings`` by their first cell."""
    (found,) = [rows for rows in tables(card) if rows[0] == list(headings)]
    return {row[0]: row[1:] for row in found[1:]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


@pytest.fixture(scope="module")
def card(run: Path) -> str:
    return render_card(run, make_recipe(run), REVISIONS[-1])


def test_the_hub_library_reads_the_header(card: str) -> None:
    data = ModelCard(card).data
    assert data.license == "apache-2.0"
    assert data.language == ["fi", "en"]
    assert data.datasets == ["HuggingFaceFW/fineweb-edu"]
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "text-generation"
    assert data.tags == ["tokka", "bloom"]


def test_it_has_every_section_that_applies(card: str) -> None:
    assert sections(card) == SECTIONS


def test_figures_are_those_of_the_run(card: str) -> None:
    overview = table(card, "Hyperparameter", "Value")
    assert overview["n_layers"] == ["2"]
    assert overview["n_parameters"] == ["75.2K"]
    assert overview["sequence_length"] == ["64"]
    settings = table(card, "Hyperparameter", "Value", "Comment")
    assert settings["Learning rate"] == ["1.5e-4", "20K tokens warm-up, cosine decay to 2e-5"]
    assert settings["Batch size"] == ["32", "32 sequences x 64 tokens = 2048 tokens"]
    assert settings["Total tokens"] == ["196.608K", "96 steps"]
    mixture = table(card, "Dataset", "Notes", "Percentage", "Epochs", "Tokens")
    assert mixture["finnish"] == ["Wikipedia and verse", "50.00%", "0.983x", "98.3K"]
    assert mixture["<strong>Total</strong>"][-1] == "<strong>196.6K</strong>"
    held = table(card, "Dataset", "Language", "Documents", "Held out", "Rejected", "Tokens in an epoch")
    assert held["finnish"] == ["Finnish", "1,000", "10", "4", "100K"]


def test_the_precision_is_the_one_that_was_computed_in(card: str) -> None:
    """The recipe says bf16; this run's machine had to compute in fp32."""
    assert table(card, "Hyperparameter", "Value", "Comment")["Precision"] == ["float32", ""]


def test_the_best_of_each_row_is_bold(card: str) -> None:
    bits, perplexity = [rows for rows in tables(card) if rows[0] == ["Language", *REVISIONS]]
    assert bits[1] == ["Finnish", "4.000", "2.000", "<strong>1.333</strong>"]
    assert perplexity[1] == ["Finnish", "18.51", "4.30", "<strong>2.65</strong>"]
    tasks = table(card, "Task", *REVISIONS)
    assert tasks["arc, 25 shots: acc"] == ["0.2200", "0.2400", "<strong>0.2600</strong>"]


def test_a_card_knows_nothing_of_later_revisions(run: Path) -> None:
    card = render_card(run, make_recipe(run), REVISIONS[0])
    assert "checkpoint on the way" in card
    assert "training has seen 65.536K of 196.608K tokens" in card
    assert "tree/65.536K" in card
    assert not re.search(r"131\.072K|tree/196", card)
    assert sections(card) == SECTIONS
    assert 'revision="65.536K"' in card


def test_the_latest_card_pins_no_revision(card: str) -> None:
    usage = card[card.index("## Usage") : card.index("## Ethical")]
    assert "revision" not in usage
    assert "checkpoint on the way" not in card


def test_what_the_recipe_says_for_people_is_there(run: Path) -> None:
    release = {
        "repo": "herd/Tiny-1",
        "license": "llama3.1",
        "limitations": "It knows [little](https://example.org).",
        "citation": "@misc{tiny,\n  title={Tiny}\n}",
        "acknowledgements": "We thank the herd.",
        "metadata": {"datasets": ["wikimedia/wikipedia"], "inference": False},
    }
    card = render_card(run, make_recipe(run, release=release), REVISIONS[-1])
    assert sections(card) == [*SECTIONS, "Citation", "Acknowledgements"]
    assert "```bibtex\n@misc{tiny,\n  title={Tiny}\n}\n```" in card
    assert "[little](https://example.org)" in card
    assert ModelCard(card).data.to_dict()["inference"] is False
    assert ModelCard(card).data.datasets == ["wikimedia/wikipedia"]
    assert card.startswith("---\nlicense: llama3.1\n")
    assert "# Tiny-1 Model Card" in card


def test_hostile_strings_stay_in_their_places(run: Path) -> None:
    sources = SOURCES | {"finnish": SOURCES["finnish"] | {"notes": NASTY}}
    release = {
        "repo": "herd/Tiny-1",
        "title": NASTY,
        "license": "other: [",
        "summary": "</script><script>alert(1)</script>\n```\nnever closed",
        "citation": "```\n# out",
        "metadata": {"model_name": NASTY, "key: [": ["---", "\n---\n"]},
    }
    evaluation = {"prompts": ['"""\n```\n# out', "</script>"]}
    recipe = make_recipe(run, sources=sources, release=release, evaluation=evaluation)
    card = render_card(run, recipe, REVISIONS[-1])
    assert sections(card) == [*SECTIONS, "Citation"]
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(ModelCard(card).text)
    assert "<script" not in html
    data = ModelCard(card).data.to_dict()
    assert data["model_name"] == NASTY
    assert data["key: ["] == ["---", "\n---\n"]
    assert data["license"] == "other: ["
    assert table(card, "Dataset", "Notes", "Percentage", "Epochs", "Tokens")["finnish"][1:] == [
        "50.00%",
        "0.983x",
        "98.3K",
    ]
    usage = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)[-1]
    compile(usage, "card", "exec")


def test_figures_that_no_stage_stated_are_left_out(tmp_path: Path) -> None:
    recipe = make_run(tmp_path, until="training")
    card = render_card(tmp_path, recipe, REVISIONS[-1])
    assert sections(card) == [name for name in SECTIONS if name != "Evaluation Results"]
    assert not re.search(r"\b(None|nan|undefined)\b", card)


def test_a_continued_model_names_its_base_but_no_path(run: Path, tmp_path: Path) -> None:
    def header_and_card(base: str) -> tuple[dict[str, Any], str]:
        recipe = make_recipe(run, model=MODELS["bloom"] | {"base": base})
        return card_header(recipe), render_card(run, recipe, REVISIONS[-1])

    header, card = header_and_card("meta-llama/Llama-3.1-8B")
    assert header["base_model"] == "meta-llama/Llama-3.1-8B"
    assert "continued pretraining of meta-llama/Llama-3.1-8B" in card
    header, card = header_and_card(str(tmp_path / "secret" / "own-base"))
    assert "base_model" not in header
    assert "continued pretraining of own-base" in card
    assert "secret" not in card


def test_each_card_shows_what_its_own_revision_was_trained_on(tmp_path: Path) -> None:
    recipe = make_run(tmp_path)
    headings = ("Dataset", "Wanted", "Realised", "Epochs", "Tokens read", "In skipped steps")
    cards = (render_card(tmp_path, recipe, name) for name in (REVISIONS[0], REVISIONS[-1]))
    first, last = (table(card, *headings) for card in cards)
    assert first["finnish"] == ["50.00%", "50.00%", "0.328x", "32,768", "1,024"]
    assert last["finnish"] == ["50.00%", "50.00%", "0.983x", "98,304", "1,024"]


def test_a_mixture_that_changed_is_shown_part_by_part(tmp_path: Path) -> None:
    change = {"at": BATCH * STEPS // 2, "mixture": {"finnish": {"percent": 75}, "code": {"rest": True}}}
    recipe = make_run(tmp_path, mixture_changes=[change])
    card = render_card(tmp_path, recipe, REVISIONS[-1])
    assert table(card, "Dataset", "from 0 tokens", "from 98.304K tokens") == {
        "finnish": ["50.00%", "75.00%"],
        "english": ["37.50%", ""],
        "code": ["12.50%", "25.00%"],
    }
    realised = table(card, "Dataset", "Wanted", "Realised", "Epochs", "Tokens read", "In skipped steps")
    assert realised["finnish"][:2] == ["62.50%", "50.00%"]  # the record of this run is that of no change


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"warmup": "10B", "min_lr": 2e-5}, "10B tokens warm-up, cosine decay to 2e-5"),
        ({"shape": "linear", "decay": "1M"}, "linear decay to 0 at 1M tokens"),
        ({"shape": "constant", "warmup": "1K"}, "1K tokens warm-up, constant"),
        ({"shape": "wsd", "decay": "5M"}, "constant, linear decay to 0 over the last 5M tokens"),
    ],
)
def test_a_schedule_is_told_as_in_the_seed_cards(schedule: dict[str, Any], words: str) -> None:
    assert schedule_in_words(Schedule.model_validate(schedule)) == words
