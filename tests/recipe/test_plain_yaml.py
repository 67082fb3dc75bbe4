"""YAML without surprises."""

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tokka.recipe.plain_yaml import YamlError, format_yaml, parse_yaml


def _parse(text):
    content, _ = parse_yaml(text)
    return content


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),  # the language, not false
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("3e-4", 3e-4),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-7", -7),
        ("010", 10),
        ("49_649_704_835", 49_649_704_835),
        ("1:30", "1:30"),  # not ninety
        ("2024-01-01", "2024-01-01"),
        ("0x1F", "0x1F"),
        (".inf", ".inf"),
        ("<<", "<<"),
        ("165B", "165B"),
        ("'5'", "5"),
        ('"ä\\n\\u00e4"', "ä\nä"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_a_value_is_what_its_writer_means(written, value):
    content = _parse(f"key: {written}")["key"]
    assert content == value
    assert type(content) is type(value)


def test_keys_and_items_know_their_lines():
    text = "# comment\na:\n  b: 1\n  c:\n    - x\n    -\n      d: 2\n"
    assert parse_yaml(text)[1] == {
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 7,
        ("a", "c", 1, "d"): 7,
    }


@pytest.mark.parametrize(
    ("text", "at", "message", "line"),
    [
        ("a: 1\nb: [2", (), "expected ',' or ']', but got '<stream end>'", 2),
        ("a: 1\n\tb: 2", (), "found character '\\t' that cannot start any token", 2),
        ("a: 1\n---\nb: 2", (), "but found another document", 2),
        ("a: &x 1\nb: *x", (), "aliases (*name) are not used in recipes; write the value out", 2),
        ("a: 1\nb: !!python/name:os.system ''", (), "are not used in recipes; remove it", 2),
        ("a: ! x", (), "tags (!) are not used in recipes", 1),
        ("a:\n  b: 1\n  b: 2", ("a", "b"), "stated twice; remove one", 3),
        ("- a: 1\n  a: 1", (0, "a"), "stated twice", 2),
        ("a:\n  2024: 1", ("a",), 'the key 2024 is no text; write it in quotes: "2024"', 2),
        ("? [a]\n: 1", (), "the key [...] is no text", 1),
        ("a: 1\nb: \x07", (), "a character that text files do not hold, U+0007", 2),
        ("a: \x00", (), "U+0000", 1),
        ('a: "\\ud800"', ("a",), "holds half a character (a lone surrogate); remove it", 1),
        ('"\\udfff": 1', (), "half a character", 1),
        ('a: 1\nb: "\\U00110000"', (), "an escape that stands for no character", 2),
        ("a: 1e999", (), "1e999 is too large a number", 1),
        ("a: " + "[" * 60, (), "nested too deeply to be a recipe", 1),
        ("a: " + "{b: " * 100_000, (), "nested too deeply", 1),
    ],
)
def test_a_flaw_is_named_with_its_place(text, at, message, line):
    with pytest.raises(YamlError) as raised:
        parse_yaml(text)
    (flaw,) = raised.value.flaws
    assert (flaw.at, flaw.line) == (at, line)
    assert message in flaw.message


def test_every_key_stated_twice_is_named_at_once():
    with pytest.raises(YamlError) as raised:
        parse_yaml("a: 1\nb: 1\na: 2\nb: 2\n")
    assert [flaw.at for flaw in raised.value.flaws] == [("a",), ("b",)]


def test_aliases_within_aliases_do_not_expand():
    bomb = "a: &a [x, x]\n" + "".join(
        f"{after}: &{after} [*{before}, *{before}, *{before}]\n"
        for before, after in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    with pytest.raises(YamlError, match="aliases"):
        parse_yaml(bomb)


# Neither PyYAML's reader joins escaped surrogates, nor does its writer escape every line break.
_TEXT = st.text(
    st.characters(max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs", "Zl", "Zp"]) | st.just("\n")
)
_KEY = _TEXT.filter(lambda text: len(text) <= 100)  # YAML looks for a key's colon in 1,024 characters
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(_KEY, inside, max_size=4),
    max_leaves=20,
)


@given(_PLAIN)
def test_what_json_writes_is_read_as_it_was(content):
    assert _parse(json.dumps(content)) == content


@given(_PLAIN)
def test_what_is_written_is_read_as_it_was_by_this_reader_and_by_others(content):
    """A run keeps its recipe this way."""
    written = format_yaml(content)
    assert _parse(written) == content
    assert yaml.safe_load(written) == content


@pytest.mark.parametrize(
    "text", ["12e4567", "1_000", "no", "0x10", "1:30", "2024-01-01", "", "~", "~x", "=", "<<"]
)
def test_a_text_that_looks_like_something_else_is_written_as_text(text):
    assert _parse(format_yaml({"revision": text, text: 1})) == {"revision": text, text: 1}


@given(st.text(alphabet=st.characters() | st.sampled_from("\n\t :-[]{}#&*!|>'\"%@`\\,?~<=")))
def test_any_text_is_read_or_refused_as_yaml(text):
    try:
        content, lines = parse_yaml(text)
    except YamlError as error:
        flaws = error.flaws
    else:
        flaws = []
        assert not isinstance(content, float) or math.isfinite(content)
        assert all(line >= 1 for line in lines.values())
    assert all(flaw.line is None or 1 <= flaw.line <= text.count("\n") + 2 for flaw in flaws)
