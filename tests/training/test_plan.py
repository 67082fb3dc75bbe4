from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.recipe.training import Training
from tokka.training.plan import Plan


def training(batch: int = 100, **more: Any) -> Training:
    settings = {"sequence_length": 50, "batch_tokens": batch, "optimizer": {"lr": 1e-3}}
    return Training.model_validate(settings | more)


def test_steps_and_revisions_of_a_stated_distance():
    plan = Plan.of(training(checkpoints={"revisions": 2_000, "every": 500}), 10_000)
    assert plan.steps == 100
    assert plan.revisions == {20: "2K", 40: "4K", 60: "6K", 80: "8K", 100: "10K"}
    assert plan.checkpoints == frozenset(range(5, 101, 5))


def test_milestones_are_checkpoints_at_the_steps_nearest_to_their_multiples():
    plan = Plan.of(training(checkpoints={"revisions": 10_000, "milestones": 3_333}), 10_000)
    assert plan.milestones == {33, 67, 100}
    assert plan.checkpoints == {33, 67, 100}


def test_a_revision_is_named_by_the_multiple_it_comes_nearest_to():
    plan = Plan.of(training(batch=16_400, tokens="2M", checkpoints={"revisions": "500K"}), 16_400 * 122)
    assert plan.revisions == {30: "500K", 61: "1M", 91: "1.5M", 122: "2M"}


def test_a_tenth_of_the_stated_budget_by_default():
    plan = Plan.of(training(tokens=10_000), 9_900)
    assert list(plan.revisions.values()) == [f"{k}K" for k in range(1, 11)]
    assert list(plan.revisions) == [*range(10, 91, 10), 99]
    assert plan.checkpoints == frozenset(plan.revisions)


def test_the_last_step_always_gives_a_revision():
    plan = Plan.of(training(checkpoints={"revisions": 4_000}), 10_000)
    assert plan.revisions == {40: "4K", 80: "8K", 100: "10K"}


def test_a_distance_shorter_than_a_step_publishes_each_step():
    plan = Plan.of(training(checkpoints={"revisions": 30}), 300)
    assert list(plan.revisions) == [1, 2, 3]


def test_a_budget_of_a_few_steps_has_a_revision_each():
    assert list(Plan.of(training(), 400).revisions) == [1, 2, 3, 4]


def test_the_last_revision_has_the_name_of_the_stated_budget_however_it_was_rounded():
    plan = Plan.of(training(batch=16_400, tokens="2M", checkpoints={"revisions": "1M"}), 16_400 * 123)
    assert plan.revisions == {61: "1M", 123: "2M"}


@given(
    steps=st.integers(1, 400),
    batch=st.integers(1, 50).map(lambda n: 50 * n),
    revisions=st.integers(1, 30_000),
    every=st.integers(1, 30_000),
)
def test_step_zero_is_never_published_and_each_revision_is_saved_first(
    steps: int, batch: int, revisions: int, every: int
):
    plan = Plan.of(training(batch=batch, checkpoints={"revisions": revisions, "every": every}), steps * batch)
    assert 0 not in plan.revisions
    assert steps in plan.revisions
    assert set(plan.revisions) <= plan.checkpoints <= set(range(1, steps + 1))
    assert len(set(plan.revisions.values())) == len(plan.revisions)


def test_a_budget_of_part_of_a_batch_is_refused():
    with pytest.raises(ValueError, match="450 tokens is not a multiple of batch_tokens 100"):
        Plan.of(training(), 450)


def test_an_empty_budget_is_refused():
    with pytest.raises(ValueError, match="budget of 0 tokens"):
        Plan.of(training(), 0)


def test_revisions_that_would_share_a_name_are_refused():
    with pytest.raises(ValueError, match=r"checkpoints\.revisions.*same name"):
        Plan.of(training(checkpoints={"revisions": 100}), 1_001_000)


def test_a_schedule_longer_than_the_solved_budget_is_refused():
    with pytest.raises(ValueError, match=r"training\.schedule"):
        Plan.of(training(schedule={"warmup": 500}), 400)
