import xml.etree.ElementTree as ET
from dataclasses import asdict
from io import StringIO

import pytest
from rich.console import Console

from tokka.tokenizer.fertility import fertility, fertility_plot, fertility_table
from tokka.tokenizer.load import load_tokenizer

ENGLISH = ["The reindeer sleep.", "It is a cold night, and the lake is frozen."]
FINNISH = ["Porot nukkuvat.", "On kylmä yö, ja järvi on jäässä."]


@pytest.fixture
def tokenizers(trained):
    return {"Poro": load_tokenizer(trained("bloom")), "Llama": load_tokenizer(trained("llama3"))}


def by_source(rows, tokenizer="Poro"):
    return {row.source: row for row in rows if row.tokenizer == tokenizer}


def test_words_are_counted_by_the_papers_pattern(tokenizers):
    row = by_source(fertility(tokenizers, {"x": ("fi", ["Yö 12-a_b, (ß)!\n\tx²…  अंत"])}))["x"]
    words = ["Yö", "12", "-", "a", "_", "b", ",", "(", "ß", ")", "!", "x", "²", "…", "अंत"]
    assert row.words == len(words)


def test_figures_are_those_of_all_texts_together(tokenizers):
    row = by_source(fertility(tokenizers, {"fi": ("fi", FINNISH)}))["fi"]
    tokens = sum(len(tokenizers["Poro"].encode(text)) for text in FINNISH)
    assert (row.texts, row.tokens, row.words) == (2, tokens, 12)
    assert row.bytes == sum(len(text.encode()) for text in FINNISH)
    assert row.tokens_per_word == tokens / 12
    assert row.bytes_per_token == row.bytes / tokens


def test_translations_are_compared_by_tokens_for_the_same_content(tokenizers):
    texts = {"pud-en": ("en", ENGLISH), "pud-fi": ("fi", FINNISH), "news": ("fi", FINNISH[:1])}
    rows = by_source(fertility(tokenizers, texts, [("pud-en", "pud-fi")]))
    assert rows["pud-en"].cost == 1.0
    assert rows["pud-fi"].cost == rows["pud-fi"].tokens / rows["pud-en"].tokens
    assert rows["pud-fi"].cost_basis == "translation"
    assert rows["news"].cost == rows["news"].tokens_per_word / rows["pud-en"].tokens_per_word
    assert rows["news"].cost_basis == "words"


def test_without_english_there_is_no_cost(tokenizers):
    (row,) = by_source(fertility(tokenizers, {"x": ("fi", FINNISH)})).values()
    assert (row.cost, row.cost_basis) == (None, None)


def test_sides_of_different_length_are_no_translations(tokenizers):
    texts = {"a": ("en", ENGLISH), "b": ("fi", FINNISH[:1])}
    with pytest.raises(ValueError, match="the same number of texts, but there are: a 2, b 1"):
        fertility(tokenizers, texts, [("a", "b")])


def test_a_source_without_words_is_refused(tokenizers):
    with pytest.raises(ValueError, match="b: no word to measure"):
        fertility(tokenizers, {"a": ("fi", FINNISH), "b": ("fi", [" \n"])})


def test_the_table_shows_every_row_and_marks_what_is_only_a_hint(tokenizers):
    rows = fertility(tokenizers, {"en": ("en", ENGLISH), "fi": ("fi", FINNISH)})
    console = Console(width=120, record=True, file=StringIO())
    console.print(fertility_table(rows))
    shown = console.export_text()
    for row in rows:
        assert f"{row.tokens_per_word:.2f}" in shown
        assert f"{row.cost:.2f}*" in shown
    assert "a hint only" in shown


def test_the_plot_names_every_source_and_tokenizer(tokenizers, tmp_path):
    rows = fertility(tokenizers, {"en": ("en", ENGLISH), "fi": ("fi", FINNISH)})
    fertility_plot(rows, tmp_path / "plot.svg")
    drawing = (tmp_path / "plot.svg").read_text()
    assert ET.fromstring(drawing).tag.endswith("svg")
    for name in ("en (en)", "fi (fi)", "Poro", "Llama", "tokens per word"):
        assert f"<!-- {name}" in drawing
    fertility_plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_another_kind_is_refused(tokenizers, tmp_path):
    with pytest.raises(ValueError, match=r"plot\.gif: a plot is written as \.png or \.svg"):
        fertility_plot(fertility(tokenizers, {"fi": ("fi", FINNISH)}), tmp_path / "plot.gif")


def test_a_row_is_plain_data(tokenizers):
    row = asdict(fertility(tokenizers, {"fi": ("fi", FINNISH)})[0])
    assert row["tokenizer"] == "Poro"
    assert row["tokens_per_word"] > 1
