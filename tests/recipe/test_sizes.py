"""Sizes as people write them."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tokka.recipe.sizes import Bytes, Length, Tokens, TokensOrNone, format_size, parse_size

SIZES = {
    "1T": 10**12,
    "165B": 165 * 10**9,
    "165G": 165 * 10**9,
    "16.5b": 16_500_000_000,
    "8K": 8000,
    "8k": 8000,
    " 2 M ": 2_000_000,
    "1.25M": 1_250_000,
    "49_649_704_835": 49_649_704_835,
    "1e12": 10**12,
    "1.5E+3": 1500,
    "2e3K": 2_000_000,
    4_194_304: 4_194_304,
    1.5e9: 1_500_000_000,
    1e18: 10**18,
    "9223372036854775807": 2**63 - 1,
}


@pytest.mark.parametrize(("written", "count"), SIZES.items(), ids=map(str, SIZES))
def test_a_size_stands_for_its_number(written, count):
    assert parse_size(written) == count


def test_a_suffix_is_a_power_of_1000_for_tokens_and_of_1024_for_lengths_and_bytes():
    assert TypeAdapter(Tokens).validate_python("8K") == 8000
    assert TypeAdapter(Length).validate_python("8K") == 8192
    assert TypeAdapter(Bytes).validate_python("1.5G") == 3 * 2**29


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "is not a size; write for example 4194304, 165B or 1.5M"),
        ("many", "'many' is not a size"),
        ("8KB", "not a size"),
        ("8 K B", "not a size"),
        ("K", "not a size"),
        ("-5", "not a size"),
        (-5, "-5 is not a size"),
        ("0x10", "not a size"),
        ("٣", "not a size"),  # a digit, but not ours
        (True, "True is not a size"),
        (None, "None is not a size"),
        ([8], "not a size"),
        (float("nan"), "nan is not a size"),
        (float("inf"), "inf is not a size"),
        ("1.5", "'1.5' is not a whole number"),
        (1.5, "1.5 is not a whole number"),
        ("1.0000000001K", "not a whole number"),
        ("0", "'0' is out of range; write 1 or more"),
        (0, "out of range"),
        ("9223372036854775808", "out of range"),
        ("9e99T", "out of range"),
        ("1e999999999", "not a size"),
        ("9" * 10_000, r"'9{36}\.\.\. is not a size"),
    ],
)
def test_what_is_no_size_is_refused_with_the_reason(written, why):
    with pytest.raises(ValueError, match=why):
        parse_size(written)


def test_nothing_is_a_size_where_it_is_allowed():
    assert TypeAdapter(TokensOrNone).validate_python(0) == 0
    with pytest.raises(ValidationError, match="out of range; write 1 or more"):
        TypeAdapter(Tokens).validate_python(0)


@given(st.integers(1, 2**63 - 1), st.sampled_from(["", "_", "K", "M", "B", "T"]))
def test_a_whole_number_with_any_suffix_is_exact(number, suffix):
    unit = 1000 ** ("_KMBT".index(suffix) if suffix else 0)
    written = f"{number:_}" if suffix == "_" else f"{number}{suffix}"
    if number * unit < 2**63:
        assert parse_size(written) == number * unit
    else:
        with pytest.raises(ValueError, match="out of range"):
            parse_size(written)


@given(st.integers(0, 10**18))
def test_a_formatted_size_is_short_and_reads_back_to_three_decimals(count):
    written = format_size(count)
    assert len(written) <= 12
    assert re.fullmatch(r"\d{1,3}(\.\d{1,3})?[KMB]?|\d{1,7}(\.\d{1,3})?T", written)
    assert parse_size(written, least=0) == pytest.approx(count, abs=0, rel=0.5e-3)


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1K"),
        (16_384, "16.384K"),
        (200_000, "200K"),
        (999_999, "999.999K"),
        (1_250_000, "1.25M"),
        (999_999_999, "1B"),
        (541_700_000_000, "541.7B"),
        (1_000_001_765_376, "1T"),
        (12_345 * 10**12, "12345T"),
    ],
)
def test_sizes_are_formatted_as_the_cards_write_them(count, written):
    assert format_size(count) == written


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.binary(), st.lists(st.integers())))
def test_anything_else_is_a_value_error_and_nothing_worse(written):
    try:
        size = parse_size(written)
    except ValueError:
        return
    assert 1 <= size < 2**63


@given(st.from_regex(r"\s?[0-9_.eE+]{1,9}\s?[KMBGTkmbgtx]?\s?", fullmatch=True))
def test_the_schema_for_editors_accepts_exactly_the_strings_that_have_the_form_of_a_size(written):
    """Whether it is whole and in range is more than a pattern can say."""
    schema = next(part for part in get_args(Tokens) if hasattr(part, "json_schema")).json_schema
    pattern = next(kind["pattern"] for kind in schema["anyOf"] if kind["type"] == "string")
    try:
        parse_size(written)
    except ValueError as error:
        of_the_form = "not a size" not in str(error)
    else:
        of_the_form = True
    assert bool(re.search(pattern, written)) == of_the_form
