"""Benchmarks hidden in documents are found; what only shares a phrase with them is left alone."""

import gzip
import json
import random
import unicodedata

import pyarrow.parquet as pq
import pytest
from dedup_corpora import digests, write_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from tokka.data import shards
from tokka.data.dedup import decontaminate
from tokka.data.dedup.benchmark import Index, Item, letters_of, read_items, write_items
from tokka.data.dedup.decontaminate import find_contamination, search

QUESTION = "Kuinka monta poroa jää tunturiin, jos kolme niistä karkaa metsään ennen juhannusta?"
FILLER = "Lumi peitti vaaran ja suon. Järven jää oli paksua, ja kodassa paloi tuli."


def held(text, *texts):
    """Return the share of the item with ``texts`` that ``text`` holds; None where it does not."""
    found = list(search([text], Index([Item("task", 0, texts)])))
    return found[0].share if found else None


def mangled(text, draw):
    """Change white space, punctuation, case and form of a text, and leave its letters."""
    spaces = [" ", "  ", "\n", "\t", "\u00a0", "\r\n", " - ", "", "\u2009", "*"]
    marks = ["", "", ".", "!", "…", " ,", "’", "»", "\u200b"]
    parts = []
    for character in text:
        if character.isspace():
            parts.append(draw.choice(spaces))
        elif len(letters_of(character)):
            other = character.swapcase()
            same = len(other) == 1 and other.casefold() == character.casefold()
            parts.append(other if same and draw.random() < 0.1 else character)
        else:
            parts.append(draw.choice(marks))
    return unicodedata.normalize(draw.choice(["NFC", "NFD"]), "".join(parts))


@pytest.fixture(scope="module")
def benchmarks(shared_data):
    """Real items: multiple choice, arithmetic, short questions."""
    items = []
    for name, file, field in (
        ("arc", "arc/arc_challenge_mosaic.jsonl.gz", "query"),
        ("gsm8k", "gsm8k/test.jsonl.gz", "question"),
    ):
        with gzip.open(shared_data / "eval" / file, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)[field] for line in lines][:600]
        items += [Item(name, number, (text,)) for number, text in enumerate(texts)]
    return items


@pytest.fixture(scope="module")
def real_texts(shared_data):
    texts = []
    for file, field in (
        ("text/fi/wikipedia_fi_train.jsonl.gz", "text"),
        ("text/en/gutenberg_books.jsonl.gz", "text"),
        ("math/gsm8k_train.jsonl.gz", "question"),
    ):
        with gzip.open(shared_data / file, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)[field] for line in lines][:1500]
    return texts


def test_every_real_item_is_found_within_a_document_and_as_one(benchmarks, real_texts):
    draw = random.Random(0)
    index = Index(benchmarks)
    alone = [mangled(item.texts[0], draw) for item in benchmarks]
    within = [
        f"{real_texts[number % 900][:400]}\n{text}\n{real_texts[(number + 1) % 900][:300]}"
        for number, text in enumerate(alone)
    ]
    for documents in (alone, within):
        found = {(find.text, find.item) for find in search(documents, index)}
        assert found.issuperset((number, number) for number in range(len(benchmarks)))


def test_real_documents_of_the_same_kind_are_left_alone(benchmarks, real_texts):
    found = list(search(real_texts, Index(benchmarks)))
    assert len({find.text for find in found}) <= len(real_texts) / 1000


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**9),
    st.text(st.characters(exclude_categories=("Cs", "Cf", "Mn", "Mc", "Me")), min_size=1, max_size=400),
)
def test_no_change_of_white_space_punctuation_or_case_hides_any_text(seed, text):
    draw = random.Random(seed)
    if len(letters_of(text)):
        assert held(mangled(text, draw), text) == 1
    if len(letters_of(text)) >= 25:
        assert held(f"{FILLER} {mangled(text, draw)} {FILLER}", text) == 1


def test_a_shared_phrase_holds_no_item():
    assert held(f"{FILLER} {QUESTION[:50]} {FILLER}", QUESTION + " " + FILLER) is None
    assert held(f"{FILLER} Kuinka monta poroa jää tunturiin, jos? {FILLER}", QUESTION) is None


def test_half_of_an_item_holds_it_and_the_share_is_told():
    item = " ".join([QUESTION, *(f"Vaihtoehto {number}: {number * 7} poroa." for number in range(20))])
    assert held(item[: len(item) * 3 // 4], item) == pytest.approx(0.7, abs=0.1)
    assert held(item[: len(item) // 3], item) is None


@pytest.mark.parametrize(
    ("item", "document", "expected"),
    [
        (
            "Onko poro nisäkäs vai onko se lintu?",
            f"{FILLER} onko poro nisäkäs, vai onko se lintu {FILLER}",
            1,
        ),  # whole
        ("Onko poro nisäkäs?", f"{FILLER}\n- onko poro\nnisäkäs\n{FILLER}", 1),  # fills lines
        ("Onko poro nisäkäs?", f"{FILLER} Mieti, onko poro nisäkäs. {FILLER}", None),
        ("Onko poro nisäkäs?", "onko PORO... nisäkäs", 1),
        ("2 + 2 =", "2+2", 1),  # nothing else
        ("2 + 2 =", f"{FILLER}\n2+2\n{FILLER}", None),
        ("Onko poro nisäkäs vai onko se lintu?", "onko poro nisäkäs vai onko se", None),
        ("...", "...", None),
    ],
)
def test_the_shorter_a_text_the_more_it_must_stand_alone(item, document, expected):
    assert held(document, item) == expected


def test_an_item_is_not_put_together_from_two_documents():
    half = len(QUESTION) // 2
    index = Index([Item("task", 0, (QUESTION,)), Item("task", 1, ("Onko poro nisäkäs vai lintu?",))])
    assert not list(search([QUESTION[:half], QUESTION[half:], "onko poro nisäkäs", "vai lintu"], index))


def test_one_text_of_several_is_enough_and_the_fullest_item_comes_first():
    items = [Item("task", 0, (QUESTION + " " + FILLER[:12],)), Item("task", 1, ("x" * 80, QUESTION))]
    found = list(search(["", QUESTION], Index(items)))
    assert [(find.text, find.item) for find in found] == [(1, 1), (1, 0)]
    assert found[0].share == 1 > found[1].share


def test_items_read_back_as_they_were_written(tmp_path):
    items = [Item("a", 0, ("ä\n", "b")), Item("b", 7, ())]
    write_items(tmp_path / "items.jsonl", items)
    assert read_items(tmp_path / "items.jsonl") == items


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    """A corpus of several shards with an item in some documents, and the items."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 3000)
    monkeypatch.setattr(shards, "_ROW_GROUP_BYTES", 1000)
    texts = [f"{FILLER} {number}" + (f"\n{QUESTION}" if number % 10 == 3 else "") for number in range(100)]
    write_items(tmp_path / "items.jsonl", [Item("porot", 5, (QUESTION,)), Item("porot", 6, ("y" * 60,))])
    return write_corpus(tmp_path / "corpus", texts, heldout=[QUESTION]), tmp_path / "items.jsonl"


def test_training_documents_that_hold_items_are_listed_with_their_origin(hidden, tmp_path):
    corpus, items = hidden
    facts = find_contamination(corpus, tmp_path / "out", items, workers=1)
    entries = pq.read_table(tmp_path / "out" / "found.parquet").to_pylist()
    assert [entry["record"] for entry in entries] == list(range(4, 101, 10))
    whys = {
        (e["step"], e["reason"], e["detail"], e["task"], e["item"], e["share"], e["file"]) for e in entries
    }
    assert whys == {("decontaminate", "porot", "1.00 of item 5", "porot", 5, 1.0, "corpus.jsonl")}
    assert facts == {
        "documents": 100,
        "contaminated": 10,
        "tasks": {"porot": {"items": [5], "documents": 10}},
    }


def test_stopped_and_called_again_and_with_more_workers_it_ends_with_the_same_bytes(
    hidden, tmp_path, monkeypatch
):
    corpus, items = hidden
    find_contamination(corpus, tmp_path / "whole", items, workers=1)
    calls = []

    def stops(task, advance, search_shard=decontaminate._search_shard):
        calls.append(task)
        if len(calls) == 2:
            raise KeyboardInterrupt
        search_shard(task, advance)

    with monkeypatch.context() as patched:
        patched.setattr(decontaminate, "_search_shard", stops)
        with pytest.raises(KeyboardInterrupt):
            find_contamination(corpus, tmp_path / "stopped", items, workers=1)
    monkeypatch.setattr("tokka.data.dedup.records._WORTH_A_PROCESS", 1)
    find_contamination(corpus, tmp_path / "stopped", items, workers=2)
    found = [digests(tmp_path / name) for name in ("whole", "stopped")]
    assert found[0] == found[1]
