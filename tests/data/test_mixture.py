"""The mixture solver."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.data.mixture import solve
from tokka.data.shares import MixtureError
from tokka.recipe.mixture import MixtureChange
from tokka.recipe.sources import Share


def _solve(shares, sizes=None, tokens=None, batch=1024, length=128, changes=()):
    shares = {name: Share(**share) for name, share in shares.items()}
    changes = [MixtureChange.model_validate(change) for change in changes]
    return solve(
        shares, sizes or {}, tokens=tokens, batch_tokens=batch, sequence_length=length, changes=changes
    )


def test_percentages_of_a_stated_total_become_whole_sequences_that_add_up():
    mixture = _solve({"fi": {"percent": 30}, "en": {"percent": 70}}, tokens=1_000_000)
    assert mixture.tokens == 977 * 1024 == sum(mixture.budgets.values())
    assert mixture.budgets["fi"] == pytest.approx(0.3 * mixture.tokens, abs=128)
    assert all(budget % 128 == 0 for budget in mixture.budgets.values())


def test_epochs_determine_the_total_and_nothing_is_read_more_often_than_asked():
    mixture = _solve({"fi": {"epochs": 4}, "en": {"epochs": 1}}, {"fi": 100_000, "en": 500_000})
    assert mixture.tokens == 900_000 // 1024 * 1024
    assert {row.source: round(row.epochs, 1) for row in mixture.rows} == {"fi": 4.0, "en": 1.0}
    assert all(row.epochs <= {"fi": 4, "en": 1}[row.source] + 0.002 for row in mixture.rows)


def test_a_total_follows_from_percent_and_epochs_together():
    mixture = _solve({"fi": {"percent": 75}, "en": {"epochs": 0.5}}, {"en": 500_000})
    assert mixture.tokens == 1_000_000 // 1024 * 1024
    assert mixture.budgets["en"] == pytest.approx(250_000, abs=128)


def test_the_rest_goes_to_the_source_that_asks_for_it():
    mixture = _solve(
        {"fi": {"epochs": 2}, "en": {"percent": 20}, "code": {"rest": True}}, {"fi": 51_200}, tokens=1_024_000
    )
    assert mixture.budgets == {"fi": 102_400, "en": 204_800, "code": 716_800}


@pytest.mark.parametrize(
    ("shares", "sizes", "tokens", "message"),
    [
        ({"fi": {"percent": 60}, "en": {"percent": 30}}, {}, 10_000, "over-determined: percentages of 90%"),
        ({"fi": {"percent": 60}, "en": {"percent": 60}}, {}, 10_000, "2K too much"),
        ({"fi": {"percent": 50}, "en": {"percent": 50}}, {}, None, "under-determined: percentages alone"),
        ({"fi": {"percent": 50}, "en": {"rest": True}}, {}, None, "unknown total; state `training.tokens`"),
        ({"fi": {"rest": True}, "en": {"rest": True}}, {}, 10_000, "under-determined: fi, en are all `rest`"),
        ({"fi": {"percent": 100}, "en": {"tokens": 5}}, {}, None, "impossible: the percentages already"),
        ({"fi": {"tokens": 20_000}, "en": {"rest": True}}, {}, 10_000, "nothing is left for en"),
        ({"fi": {"epochs": 1}}, {}, 10_000, "`epochs` needs the size of the source; state `sources.fi.size`"),
        ({"fi": {"epochs": 1}}, {"fi": 5_000}, 10_000, "leave out `training.tokens`"),
        ({"fi": {"epochs": 1}}, {"fi": 1_000}, None, "1K tokens, less than one step of 1.024K"),
        ({"fi": {"percent": 0.01}, "en": {"rest": True}}, {}, 10_000, "less than one sequence of 128"),
        (
            {"fi": {"percent": 50, "max_epochs": 4}, "en": {"rest": True}},
            {"fi": 10_000},
            1_000_000,
            "more than its `max_epochs` of 4; give it at most 40K tokens",
        ),
    ],
)
def test_a_mixture_without_one_solution_is_explained(shares, sizes, tokens, message):
    with pytest.raises(MixtureError, match=message.replace("(", r"\(")):
        _solve(shares, sizes, tokens)


def test_every_part_is_solved_by_itself_and_epochs_count_from_the_beginning_of_the_run():
    shares = {"fi": {"percent": 50}, "en": {"rest": True}}
    decay = {"fi": {"epochs": 4}, "code": {"percent": 10}, "en": {"rest": True}}
    changes = [{"at": 800 * 1024 + 400, "mixture": decay}]
    mixture = _solve(shares, {"fi": 128_000}, tokens=1000 * 1024, changes=changes)
    assert [(part.begin, part.tokens) for part in mixture.parts] == [
        (0, 800 * 1024),
        (800 * 1024, 200 * 1024),
    ]
    assert mixture.budgets == {"fi": 512_000, "en": 400 * 1024 + 81_920, "code": 20_480}
    assert mixture.steps == 1000
    assert {row.source: row.epochs for row in mixture.rows}["fi"] == 4


def test_the_last_part_lasts_as_long_as_its_shares_where_no_total_is_stated():
    changes = [{"at": 100 * 1024, "mixture": {"fi": {"epochs": 3}, "en": {"percent": 50}}}]
    mixture = _solve({"fi": {"percent": 100}}, {"fi": 50 * 1024}, changes=changes)
    assert [part.tokens for part in mixture.parts] == [100 * 1024, 100 * 1024]
    assert mixture.budgets == {"fi": 150 * 1024, "en": 50 * 1024}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fi": {"percent": 40}, "en": {"percent": 40}}, "over-determined: percentages of 80% make"),
        (
            {"fi": {"epochs": 3}, "en": {"rest": True}},
            "300K tokens are asked for, 512K were given before",
        ),
        ({"fi": {"percent": 50, "max_epochs": 5}, "en": {"rest": True}}, "more than its `max_epochs` of 5"),
        ({"en": {"epochs": 1}}, "`epochs` needs the size"),
    ],
)
def test_a_part_without_one_solution_is_explained_and_named(changed, message):
    with pytest.raises(MixtureError, match=message) as raised:
        _solve(
            {"fi": {"percent": 50}, "en": {"percent": 50}},
            {"fi": 100_000},
            tokens=2_000 * 1024,
            changes=[{"at": 1_000 * 1024, "mixture": changed}],
        )
    assert str(raised.value).startswith("from 1.024M tokens on (mixture_changes.0): ")


def test_a_part_that_was_cut_short_gives_what_it_had_given_until_then():
    changes = [{"at": 10 * 1024, "mixture": {"fi": {"percent": 100}}, "cut": {"fi": 128_000, "en": 384_000}}]
    mixture = _solve({"fi": {"epochs": 9}, "en": {"rest": True}}, tokens=20 * 1024, changes=changes)
    first = mixture.parts[0]
    assert first.budgets == {"fi": 128_000, "en": 384_000}
    assert {row.source: row.tokens for row in first.rows} == {"fi": 20 * 128, "en": 60 * 128}
    assert mixture.budgets == {"fi": 20 * 128 + 10 * 1024, "en": 60 * 128}


def test_percentages_rounded_for_print_are_scaled_to_the_whole():
    shares = {"a": {"percent": 33.333}, "b": {"percent": 33.333}, "c": {"percent": 33.333}}
    budgets = _solve(shares, tokens=3 * 1024 * 100).budgets
    assert set(budgets.values()) == {102_400}


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=8),
    st.integers(10_000_000, 10**13),
    st.sampled_from([(1024, 128), (4_194_304, 2048), (96, 32)]),
)
def test_budgets_always_add_up_and_miss_the_request_by_less_than_a_sequence(weights, tokens, shape):
    batch, length = shape
    total = sum(weights)
    shares = {f"s{i}": {"percent": 100 * w / total} for i, w in enumerate(weights)}
    if min(weights) / total * tokens < 2 * length:
        return
    mixture = _solve(shares, tokens=tokens, batch=batch, length=length)
    assert sum(mixture.budgets.values()) == mixture.tokens == mixture.steps * batch
    assert tokens <= mixture.tokens < tokens + batch
    for i, weight in enumerate(weights):
        exact = weight / total * mixture.tokens
        assert abs(mixture.budgets[f"s{i}"] - exact) <= length + 1e-6 * exact


def test_a_source_of_zero_percent_is_measured_and_gives_nothing():
    shares = {"finnish": {"rest": True}, "english": {"percent": 0}}
    mixture = _solve(shares, tokens=10_240, batch=1024, length=256)
    assert mixture.budgets == {"finnish": 10_240, "english": 0}
