"""Characters: the same whatever their case, form or composition."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.data.dedup.folding import SOLO, character_codes, is_letter, normalised

SAME = [
    ("KISSA", "kissa"),
    ("Ääni", unicodedata.normalize("NFD", "ääni")),
    ("kis\u00adsa", "kissa"),  # soft hyphen
    ("ｆｕｌｌ", "full"),
    ("Straße", "STRASSE"),
    ("ﬁ", "fi"),
    ("x²", "x2"),
    ("한글", unicodedata.normalize("NFD", "한글")),
    ("किताब", unicodedata.normalize("NFD", "किताब")),
    ("don´t", "don’t"),
    ("Οδυσσεύς", "ΟΔΥΣΣΕΎΣ"),
]


def letters(text):
    codes, _ = character_codes([text])
    return codes[codes != 0].tolist()


@pytest.mark.parametrize(("one", "other"), SAME)
def test_forms_of_one_text_have_the_same_codes(one, other):
    assert letters(one) == letters(other) != []


@pytest.mark.parametrize("separator", " \t\n.,;:!?-–—_\"'»()…/\u00a0\u2028€+=|")
def test_white_space_punctuation_and_symbols_are_separators(separator):
    codes, begins = character_codes([f"a{separator}b"])
    assert (codes != 0).tolist() == [True, False, True, False]
    assert begins.tolist() == [0, 4]


def test_a_character_of_a_script_without_spaces_stands_alone():
    codes, _ = character_codes(["漢字かな ไทย a"])
    assert (codes & SOLO != 0).tolist() == [True] * 4 + [False] + [True] * 3 + [False] * 3


@given(st.lists(st.text(max_size=20), max_size=8))
def test_texts_lie_end_to_end_and_only_letters_digits_and_marks_count(texts):
    codes, begins = character_codes(texts)
    assert len(begins) == len(texts) + 1
    for index, text in enumerate(texts):
        own = codes[begins[index] : begins[index + 1]]
        expected = [character for character in normalised(text) if is_letter(character)]
        assert np.count_nonzero(own) == len(expected)
        assert own[-1] == 0


@given(st.text(max_size=30), st.text(max_size=30))
def test_texts_have_equal_codes_only_if_they_are_normalised_to_equal_letters(one, other):
    def spelled(text):
        return [character for character in normalised(text) if is_letter(character)]

    assert (letters(one) == letters(other)) == (spelled(one) == spelled(other))
