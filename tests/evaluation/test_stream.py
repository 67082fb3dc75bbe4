"""Streaming text: whole characters only, the same text in the end, and stop strings across pieces."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tokka.evaluation.stream import stream_text, until

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def bytes_tokenizer() -> Tokenizer:
    """A tokenizer without merges: every byte is a token, so every letter beyond ASCII is cut."""
    tokenizer = Tokenizer(models.BPE({character: at for at, character in enumerate(ALPHABET)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


TOKENIZER = bytes_tokenizer()


def decode(ids: Sequence[int]) -> str:
    return TOKENIZER.decode(list(ids))


def pieces_of(text: str) -> list[str]:
    return list(stream_text(TOKENIZER.encode(text).ids, decode))


def test_half_a_character_waits_for_the_other_half() -> None:
    assert pieces_of("yö 🦌!") == ["y", "ö", " ", "🦌", "!"]


@given(st.text())
def test_pieces_make_the_text(text: str) -> None:
    assert "".join(pieces_of(text)) == text


@given(st.lists(st.integers(0, 255), max_size=40))
def test_any_bytes_stream_as_they_decode(ids: list[int]) -> None:
    pieces = list(stream_text(ids, decode))
    assert "".join(pieces) == decode(ids)
    assert all(pieces)


def test_a_piece_comes_before_the_next_token_is_asked_for() -> None:
    asked = []

    def tokens():
        for token in TOKENIZER.encode("yö").ids:
            asked.append(token)
            yield token

    stream = stream_text(tokens(), decode)
    assert next(stream) == "y"
    assert len(asked) == 1


def test_a_decoder_that_trims_the_beginning_streams_the_same() -> None:
    words = Tokenizer(models.BPE({"▁a": 0, "▁b": 1, "▁": 2, "a": 3, "b": 4}, [("▁", "a"), ("▁", "b")]))
    words.decoder = decoders.Metaspace()
    assert list(stream_text([0, 1, 0], words.decode)) == ["a", " b", " a"]


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["one", " two\nth", "ree"], ["\n"], "one two"),
        (["a", "b", "c", "d"], ["bc"], "a"),
        (["a", "b", "x", "d"], ["bc"], "abxd"),
        (["aaab", "c"], ["aab"], "a"),
        (["ab", "a"], ["aba", "b"], "a"),
        (["x<", "|en", "d|> y"], ["<|end|>", "y"], "x"),
        (["x<", "|en"], ["<|end|>"], "x<|en"),
        (["later first"], ["first", "later"], ""),
        (["as it is"], [], "as it is"),
    ],
)
def test_text_ends_before_the_first_stop_string(pieces: list[str], stops: list[str], expected: str) -> None:
    assert "".join(until(pieces, stops)) == expected


@given(st.text("ab"), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), st.integers(1, 4))
def test_stop_strings_are_found_however_the_text_is_cut(text: str, stops: list[str], size: int) -> None:
    cut = [text[at : at + size] for at in range(0, len(text), size)]
    ends = [(end, begin) for end in range(len(text) + 1) for begin in range(end) if text[begin:end] in stops]
    assert "".join(until(cut, stops)) == text[: min(ends, default=(0, len(text)))[1]]


def test_what_cannot_be_a_stop_string_is_not_kept_back() -> None:
    assert next(until(iter(["all of this"]), ["\n"])) == "all of this"
