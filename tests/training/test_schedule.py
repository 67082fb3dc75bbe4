import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.recipe.training import Schedule
from tokka.training.schedule import check_schedule, learning_rate

PEAK, LEAST, BUDGET = 1.5e-4, 2e-5, 1_000_000


def schedule(shape: str, **more: int) -> Schedule:
    return Schedule.model_validate({"shape": shape, "min_lr": LEAST, "warmup": 10_000} | more)


@given(tokens=st.integers(0, BUDGET))
def test_cosine_is_the_published_formula(tokens: int):
    if tokens < 10_000:
        expected = PEAK * tokens / 10_000
    else:
        part = float(Fraction(tokens - 10_000, BUDGET - 10_000))
        expected = LEAST + 0.5 * (PEAK - LEAST) * (1 + math.cos(math.pi * part))
    assert learning_rate(schedule("cosine"), PEAK, tokens, BUDGET) == pytest.approx(expected, rel=1e-12)


@given(tokens=st.integers(10_000, BUDGET))
def test_linear_is_a_straight_line_from_peak_to_least(tokens: int):
    part = Fraction(tokens - 10_000, BUDGET - 10_000)
    expected = float((1 - part) * Fraction(PEAK) + part * Fraction(LEAST))
    assert learning_rate(schedule("linear"), PEAK, tokens, BUDGET) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tokens", [10_000, 500_000, BUDGET])
def test_constant_stays_at_the_peak(tokens: int):
    assert learning_rate(schedule("constant"), PEAK, tokens, BUDGET) == PEAK


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (5_000, PEAK / 2),
        (10_000, PEAK),
        (800_000, PEAK),
        (900_000, (PEAK + LEAST) / 2),
        (BUDGET, LEAST),
    ],
)
def test_wsd_warms_up_stays_and_falls_over_its_last_tokens(tokens: int, expected: float):
    found = learning_rate(schedule("wsd", decay=200_000), PEAK, tokens, BUDGET)
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_cosine_that_ends_early_stays_at_its_least():
    early = schedule("cosine", decay=400_000)
    assert learning_rate(early, PEAK, 205_000, BUDGET) == pytest.approx((PEAK + LEAST) / 2)
    assert learning_rate(early, PEAK, 400_000, BUDGET) == pytest.approx(LEAST)
    assert learning_rate(early, PEAK, BUDGET, BUDGET) == pytest.approx(LEAST)


def test_without_warmup_training_begins_at_the_peak():
    assert learning_rate(schedule("cosine", warmup=0), PEAK, 0, BUDGET) == PEAK


@pytest.mark.parametrize(
    "bad",
    [
        schedule("cosine", warmup=BUDGET),
        schedule("cosine", decay=10_000),
        schedule("linear", decay=BUDGET + 1),
        schedule("wsd", decay=BUDGET - 9_999),
        schedule("constant", warmup=BUDGET),
    ],
)
def test_a_schedule_that_does_not_fit_the_budget_is_refused(bad: Schedule):
    with pytest.raises(ValueError, match=r"training\.schedule.*budget of 1000000 tokens"):
        check_schedule(bad, BUDGET)


def test_a_schedule_that_fits_exactly_is_accepted():
    check_schedule(schedule("wsd", decay=BUDGET - 10_000), BUDGET)
    check_schedule(schedule("cosine"), BUDGET)
