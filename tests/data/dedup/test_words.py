"""Hashes of words and runs, against sets of strings."""

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.data.dedup import words
from tokka.data.dedup.folding import character_codes
from tokka.data.dedup.words import run_hashes, shingles, word_hashes

SENTENCES = st.lists(st.sampled_from(["ja", "on", "poro", "hanki", "yö"]), max_size=12).map(" ".join)


def reference(text, width=3):
    """Return the runs of words of a text in plain letters as a set of strings."""
    found = re.findall(r"[^\W_]+", text.lower())
    return {" ".join(found[i : i + width]) for i in range(max(1, len(found) - width + 1))} if found else set()


def sets_of(texts, width=3):
    found = shingles(texts, width)
    return [set(found.hashes[a:b].tolist()) for a, b in zip(found.begins, found.begins[1:], strict=False)]


@given(st.lists(SENTENCES, min_size=1, max_size=6), st.integers(1, 5))
def test_sets_are_those_of_strings(texts, width):
    expected, found = [reference(text, width) for text in texts], sets_of(texts, width)
    for one, ours in zip(expected, found, strict=True):
        assert len(ours) == len(one)
        for other, theirs in zip(expected, found, strict=True):
            assert len(ours & theirs) == len(one & other)


@given(st.lists(SENTENCES, min_size=1, max_size=6))
def test_a_text_has_the_same_set_alone_and_among_others(texts):
    assert sets_of(texts) == [each for text in texts for each in sets_of([text])]


def test_hashes_are_ascending_and_distinct_within_a_text():
    found = shingles(["poro on poro on poro on poro", "", "!?", "hanki"], 3)
    assert np.diff(found.begins).tolist() == [2, 0, 0, 1]
    assert found.hashes[0] < found.hashes[1]


@pytest.mark.parametrize("script", ["漢字仮名交じり文", "ภาษาไทย"])
def test_scripts_without_spaces_are_cut_into_characters(script):
    assert len(sets_of([script])[0]) == len(script) - 2


def test_long_texts_are_the_same_in_blocks_of_any_size(monkeypatch):
    draw = random.Random(0)
    text = " ".join("".join(draw.choices("aeikosä", k=draw.randint(1, 9))) for _ in range(3000))
    expected = sets_of([text, "loppu tuli nyt"])
    codes, _ = character_codes([text])
    runs = run_hashes(codes, 50)
    monkeypatch.setattr(words, "_BLOCK", 256)
    words._powers.cache_clear(), words._inverse_powers.cache_clear()
    try:
        assert sets_of([text, "loppu tuli nyt"]) == expected
        assert np.array_equal(run_hashes(codes, 50), runs)
    finally:
        words._powers.cache_clear(), words._inverse_powers.cache_clear()
    assert len(expected[0]) == len(reference(text))


def test_a_word_longer_than_a_block_is_cut_and_nothing_is_lost(monkeypatch):
    hashes, begins = word_hashes(["a" * (3 * words._BLOCK) + " b"])
    assert len(hashes) == begins[-1] >= 3


@given(st.text("ab", min_size=0, max_size=40), st.integers(1, 10))
def test_equal_runs_have_equal_hashes_and_others_do_not(text, length):
    codes, _ = character_codes([text])
    hashes = run_hashes(codes[codes != 0], length)
    runs = [text[i : i + length] for i in range(len(text) - length + 1)]
    assert len(hashes) == len(runs)
    assert len(set(hashes.tolist())) == len(set(runs))
