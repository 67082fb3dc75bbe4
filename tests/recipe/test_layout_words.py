"""Layouts in a few words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.recipe.layout_words import parse_layout, parse_layouts
from tokka.recipe.training import Layout


def test_words_state_axes_schedule_and_sharding_in_any_order():
    assert parse_layout("dp2 tp4") == parse_layout("tp4 dp2") == Layout(data=2, tensor=4)
    assert parse_layout("dp2·tp2") == parse_layout("dp2 tp2")
    assert parse_layout("pp2 cp2 zero_bubble") == Layout(pipeline=2, context=2, schedule="zero_bubble")
    assert parse_layout("dp4 shard2").sharded == 2
    assert parse_layout("pp2 interleaved") == parse_layout("pp2 virtual2 interleaved")
    assert parse_layout("") == Layout()


def test_several_are_named_as_they_were_written():
    assert list(parse_layouts("dp2; tp2 ;\npp2  dp2;")) == ["dp2", "tp2", "pp2 dp2"]


@given(st.lists(st.sampled_from(["dp", "tp", "pp", "cp"]), unique=True, min_size=1), st.integers(1, 999))
def test_the_number_of_ranks_is_the_product(axes: list[str], size: int):
    assert parse_layout(" ".join(f"{axis}{size}" for axis in axes)).ranks == size ** len(axes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("dp2 xp2", "'xp2' is not known; write dp2 (data)"),
        ("dp", "'dp' needs a number of at least 1, as in dp2"),
        ("tp0", "'tp0' needs a number of at least 1"),
        ("dp-2", "'dp-2' is not known"),
        ("dp2 dp4", "'dp4' states data again"),
        ("pp2 1f1b zero_bubble", "'zero_bubble' states schedule again"),
        ("dp4 shard3", "`shard` 3 does not divide"),
        ("interleaved", "`pipeline` is 1"),
        (" ; ", "names no layout"),
    ],
)
def test_nonsense_is_told_with_what_to_write(words: str, message: str):
    with pytest.raises(ValueError, match="layout") as caught:
        parse_layouts(words)
    assert message in str(caught.value)
