"""The printed mixture, and how far the tables of two published model cards follow from declared sizes.

A printed cell stands for an interval of numbers, so exact fractions tell what a table allows.
"""

import io
from fractions import Fraction
from itertools import pairwise

import pytest
from rich.console import Console
from workshop import REPOSITORY

from tokka.data.mixture import MixtureRow, solve, wanted_until
from tokka.data.mixture_table import mixture_tables, planned_mixture, printed_rows
from tokka.data.order import Order, Part
from tokka.data.shares import MixtureError
from tokka.recipe.load import load_recipe
from tokka.recipe.sources import Share

PORO_34B = {
    "slimpajama": ("54.16%", "1x", "541.7B"),
    "finnish": ("13.05%", "4x", "131.5B"),
    "tatoeba": ("0.81%", "1x", "8.0B"),
    "starcoder": ("31.53%", "1.52x", "315.4B"),
    "gutenberg": ("0.46%", "1x", "4.5B"),
}
"""Model card of LumiOpen/Poro-34B, table "Dataset"."""

PORO_2 = {
    "finnish": ("30%", "50B"),
    "english": ("30%", "50B"),
    "code": ("30%", "50B"),
    "math": ("10%", "16B"),
    "Total": ("100%", "165B"),
}
"""Model card of LumiOpen/Llama-Poro-2-70B-base, table "Dataset"."""

AS_PORO_34B_STATES_IT = (
    "training.tokens=null",
    "sources.finnish.size=32.625B",
    "mixture={slimpajama: {epochs: 1}, finnish: {epochs: 4}, tatoeba: {epochs: 1}, "
    "starcoder: {epochs: 1.52}, gutenberg: {epochs: 1}}",
)
"""The card's column of epochs; four epochs of Finnish that make the 130.5B which 13.05% of 1T are."""

AS_PORO_2_STATES_IT = (
    "training.tokens=165B",
    "mixture={finnish: {epochs: 1}, english: {percent: 30}, code: {percent: 30}, math: {rest: true}}",
)
"""165B tokens, one epoch of Finnish."""


def _planned(name, *overrides):
    return planned_mixture(load_recipe(REPOSITORY / "recipes" / f"{name}.yaml", overrides))


# What a printed table allows


def _stands_for(cell):
    """Return the smallest and the largest number, in billions or percent, that round to the printed cell."""
    number = cell.rstrip("%xB")
    half = Fraction(1, 2 * 10 ** len(number.partition(".")[2]))
    return Fraction(number) - half, Fraction(number) + half


def _totals(percent, tokens):
    """Return the smallest and the largest total, in billions of tokens, of which both cells can be true."""
    (least_share, most_share), (least, most) = _stands_for(percent), _stands_for(tokens)
    return least / most_share * 100, most / least_share * 100


def test_the_finnish_row_of_the_poro_34b_card_contradicts_every_other_row():
    totals = {source: _totals(percent, tokens) for source, (percent, _, tokens) in PORO_34B.items()}
    finnish_least, _ = totals.pop("finnish")
    assert finnish_least > 1006
    assert all(most < 1001 for _, most in totals.values())


def test_without_its_finnish_tokens_the_poro_34b_card_still_fits_no_total():
    """Four rows meet in the single total 1000B, where all eight cells lie exactly between two roundings."""
    rows = {name: (percent, tokens) for name, (percent, _, tokens) in PORO_34B.items() if name != "finnish"}
    totals = [_totals(*cells) for cells in rows.values()]
    assert max(least for least, _ in totals) == min(most for _, most in totals) == 1000
    # There 54.165% is to print as 54.16 and 541.65B as 541.7, and the shares exceed the whole.
    shares = [max(_stands_for(percent)[0], _stands_for(tokens)[0] / 10) for percent, tokens in rows.values()]
    assert sum(shares) + _stands_for(PORO_34B["finnish"][0])[0] > 100


def test_at_most_seven_of_the_ten_percentages_and_token_counts_on_the_poro_34b_card_can_be_true_at_once():
    totals = [_totals(percent, tokens) for percent, _, tokens in PORO_34B.values()]
    ends = sorted({end for interval in totals for end in interval})
    between = [(low + high) / 2 for low, high in pairwise(ends)]
    both_true = max(sum(low < total < high for low, high in totals) for total in between)
    assert len(PORO_34B) + both_true == 7


def test_exactly_30_30_30_and_10_percent_do_not_make_the_poro_2_card():
    """30% are 50B from a total of 165B on, 10% are 16B up to it, and no number of whole steps is 165B."""
    assert _stands_for("50B")[0] / Fraction(30, 100) == 165
    assert _stands_for("16B")[1] / Fraction(10, 100) == 165
    assert 165 * 10**9 % 4_194_304


# What follows from the declared sizes


def _missed(mixture):
    """Return the cells of the Poro 34B card that the mixture does not print."""
    headings = ("percent", "epochs", "tokens")
    return {
        (row.source, heading)
        for row in printed_rows(mixture.rows)[:-1]
        for heading, printed, on_card in zip(headings, row[1:], PORO_34B[row.source], strict=True)
        if printed != on_card
    }


def _rounded(mixture):
    """Return the mixture as the Poro 2 card prints it."""
    rows = {row.source: (f"{row.percent:.0f}%", f"{row.tokens / 1e9:.0f}B") for row in mixture.rows}
    return rows | {"Total": ("100%", f"{mixture.tokens / 1e9:.0f}B")}


def test_sizes_and_epochs_of_poro_34b_give_all_of_its_card_that_can_be_true_at_once():
    missed = _missed(_planned("poro-34b", *AS_PORO_34B_STATES_IT))
    assert missed == {("finnish", "tokens"), ("tatoeba", "percent"), ("gutenberg", "percent")}


def test_the_poro_34b_recipe_prints_its_card_within_one_unit_of_the_last_digit():
    rows = {row.source: row for row in _planned("poro-34b").rows}
    assert list(rows) == list(PORO_34B)
    for source, (percent, epochs, tokens) in PORO_34B.items():
        row = rows[source]
        assert row.percent == pytest.approx(float(percent.rstrip("%")), abs=0.015)
        assert f"{row.epochs:.2f}".rstrip("0").rstrip(".") + "x" == epochs
        if source != "finnish":
            assert row.tokens / 1e9 == pytest.approx(float(tokens.rstrip("B")), abs=0.15)
    assert rows["finnish"].tokens / 1e9 == pytest.approx(
        130.5, abs=0.05
    )  # on the card 131.5: a digit mistaken


def test_the_launch_weights_of_poro_34b_round_to_two_of_the_five_percentages_on_its_card():
    """So the card was not made from them, and both cannot be reproduced."""
    weights = {
        "slimpajama": 0.5415810341,
        "finnish": 0.1304808053,
        "tatoeba": 0.004023063515 + 0.004016818638,
        "starcoder": 0.3153543717,
        "gutenberg": 0.004543906834,
    }
    assert sum(weights.values()) == pytest.approx(1, abs=1e-9)
    as_on_card = {source for source, weight in weights.items() if f"{weight:.2%}" == PORO_34B[source][0]}
    assert as_on_card == {"slimpajama", "finnish"}


def test_one_epoch_of_finnish_in_165b_tokens_is_the_poro_2_card_cell_by_cell():
    for name in ("poro2-8b", "poro2-70b"):
        assert _rounded(_planned(name, *AS_PORO_2_STATES_IT)) == PORO_2


def test_the_poro_2_recipes_print_their_card_within_one_unit_of_the_last_digit():
    for name in ("poro2-8b", "poro2-70b"):
        rows = _rounded(_planned(name))
        assert {source: cells for source, cells in rows.items() if source != "math"} == {
            source: cells for source, cells in PORO_2.items() if source != "math"
        }
        assert rows["math"] in (("10%", "16B"), ("10%", "17B"))


def test_one_epoch_of_finnish_at_30_percent_is_the_published_number_of_steps():
    shares = "finnish: {epochs: 1}, english: {percent: 30}, code: {percent: 30}, math: {percent: 10}"
    assert _planned("poro2-70b", "training.tokens=null", f"mixture={{{shares}}}").steps == 39_458


# Printing and planning


def test_rows_are_printed_as_cards_print_them():
    rows = [
        MixtureRow("a", 54.158103, 0.99978, 541_581_989_888),
        MixtureRow("b", 0.803988, 1.5198, 8_039_897_088),
        MixtureRow("c", 13.0, 4.0, 999_960_000),
        MixtureRow("d", 0.004, 0.0049, 999),
        MixtureRow("e", 1.0, None, 1_000),
        MixtureRow("f", 10.0, 20.0, 5_000 * 10**12),
    ]
    assert [tuple(row) for row in printed_rows(rows)] == [
        ("a", "54.16%", "1x", "541.6B"),
        ("b", "0.80%", "1.52x", "8.0B"),
        ("c", "13.00%", "4x", "1.0B"),
        ("d", "0.00%", "<0.01x", "999"),
        ("e", "1.00%", "?", "1.0K"),
        ("f", "10.00%", "20x", "5000.0T"),
        ("Total", "100%", "", "5000.6T"),
    ]


def test_the_table_on_a_terminal_holds_every_row_and_the_steps():
    mixture = _planned("poro2-70b", *AS_PORO_2_STATES_IT)
    screen = io.StringIO()
    Console(width=100, file=screen).print(*mixture_tables(mixture))
    printed = screen.getvalue()
    for row in printed_rows(mixture.rows):
        assert all(cell in printed for cell in row)
    assert "39,340 steps" in printed


def test_sources_whose_size_is_needed_and_not_known_are_all_named():
    path = REPOSITORY / "recipes" / "poro-34b.yaml"
    without = ["sources.finnish.size=null", "sources.tatoeba.size=null", "sources.starcoder.size=null"]
    shares = ["mixture.tatoeba={percent: 0.8, max_epochs: 1}", "mixture.starcoder={percent: 31}"]
    recipe = load_recipe(path, [*without, *shares])
    with pytest.raises(MixtureError, match="the size of finnish, tatoeba is not known") as raised:
        planned_mixture(recipe)
    assert "state `sources.NAME.size`" in str(raised.value)
    counted = {"finnish": 33 * 10**9, "tatoeba": 9 * 10**9}
    rows = {row.source: row for row in planned_mixture(recipe, counted).rows}
    assert rows["finnish"].tokens == pytest.approx(4 * 33e9, abs=2048)
    assert rows["starcoder"].epochs is None


def test_counted_sizes_replace_declared_ones():
    recipe = load_recipe(REPOSITORY / "recipes" / "poro2-70b.yaml", AS_PORO_2_STATES_IT)
    rows = {row.source: row for row in planned_mixture(recipe, {"finnish": 40 * 10**9}).rows}
    assert rows["finnish"].tokens == pytest.approx(40e9, abs=8192)
    assert rows["english"].epochs == pytest.approx(0.3 * 165 / 1300, rel=1e-3)


# docs/mixture.md

PAGE = " ".join((REPOSITORY / "docs" / "mixture.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("shares", "tokens"),
    [
        ({"finnish": {"percent": 60}, "english": {"percent": 30}}, 10_000),
        ({"finnish": {"percent": 60}, "english": {"rest": True}}, None),
        ({"finnish": {"tokens": 20_000}, "english": {"rest": True}}, 10_000),
        ({"finnish": {"percent": 50, "max_epochs": 4}, "english": {"rest": True}}, 1_000_000),
    ],
    ids=["over-determined", "under-determined", "impossible", "too many epochs"],
)
def test_the_page_shows_messages_as_they_are(shares, tokens):
    shares = {name: Share(**share) for name, share in shares.items()}
    with pytest.raises(MixtureError) as raised:
        solve(shares, {"finnish": 10_000}, tokens=tokens, batch_tokens=1_000, sequence_length=100)
    assert str(raised.value) in PAGE


def test_the_page_shows_a_table_as_it_is():
    for row in printed_rows(_planned("poro2-70b", *AS_PORO_2_STATES_IT).rows):
        cells = " │ ".join(cell for cell in row if cell)
        assert cells in PAGE.replace("│ │", "│"), cells


IN_PERCENT = (
    "training.tokens=1T",
    "mixture={slimpajama: {rest: true}, finnish: {percent: 13}, tatoeba: {percent: 0.8}, "
    "starcoder: {percent: 31.5}, gutenberg: {percent: 0.46}}",
)
BETTER = "{at: 850B, mixture: {finnish: {epochs: 4.5}, gutenberg: {epochs: 2}, starcoder: {rest: true}}}"


@pytest.mark.parametrize("overrides", [(), (*IN_PERCENT, f"mixture_changes=[{BETTER}]")])
def test_every_revision_of_poro_34b_is_within_a_thousandth_of_its_mix(overrides):
    recipe = load_recipe(REPOSITORY / "recipes" / "poro-34b.yaml", overrides)
    mixture = planned_mixture(recipe)
    length = recipe.training.sequence_length
    order = Order([Part(part.budgets, part.tokens) for part in mixture.parts], length)
    for tokens in range(100 * 10**9, 1000 * 10**9, 100 * 10**9):  # its branches but for the last
        trained = round(tokens / recipe.training.batch_tokens) * recipe.training.batch_tokens
        wanted = wanted_until(mixture.as_json()["parts"], trained)
        given = order.given(trained // length)
        assert sum(given.values()) * length == trained
        for name, amount in wanted.items():
            assert abs(given[name] * length - amount) <= 0.001 * amount + 1e-6
    assert {name: n * length for name, n in order.given(mixture.tokens // length).items()} == mixture.budgets
