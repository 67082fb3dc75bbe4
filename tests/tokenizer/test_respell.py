"""GPT-2's pattern must cut respelled text where BLOOM's cuts the text; ``tokenizers`` tells both cuts."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from tokka.tokenizer.patterns import PATTERNS
from tokka.tokenizer.respell import respell

BLOOM = pre_tokenizers.Split(Regex(PATTERNS["bloom"]), behavior="isolated")
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
SOME_STOPS = " .,!?()|\t\n\u00a0\u2003…。"


def words(text):
    """Return how many bytes each of BLOOM's words has."""
    return [len(word.encode()) for word, _ in BLOOM.pre_tokenize_str(text)]


def respelled_words(text):
    """Return how many bytes of the text each of GPT-2's words stands for."""
    spelled = respell([text])[0].decode()
    return [end - start for _, (start, end) in GPT2.pre_tokenize_str(spelled)]


@settings(deadline=None)
@given(st.text(st.sampled_from(SOME_STOPS + "ab'9äéß漢😀\u0301\x00")))
@example("a. (b, c )  d…")
@example("don't 'll 's ' s")
def test_words_are_cut_in_the_same_places(text):
    assert respelled_words(text) == words(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_cut_in_the_same_places(text):
    assert respelled_words(text) == words(text)


@pytest.mark.slow
def test_every_code_point_is_a_stop_or_none_as_in_the_pattern():
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for start in range(0, len(points), 2000):
        text = "".join(f"a{point}b {point} {point}." for point in points[start : start + 2000])
        assert respelled_words(text) == words(text), hex(ord(points[start]))


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from(SOME_STOPS + "abä漢😀"), max_size=8), max_size=8))
def test_texts_do_not_run_into_one_another(texts):
    assert respell(texts) == [respell([text])[0] for text in texts]


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match=r"text 1 has the lone surrogate U\+D83D at character 3, half of"):
        respell(["fine", "ab \ud83d"])
