import math

from tokka.recipe.training import Guard as Settings
from tokka.training.guard import Guard


def test_finite_steps_are_good():
    guard = Guard(Settings())
    assert guard.judge(2.5, 1.0) is None
    assert guard.judge(2.5, 1e6) is None


def test_what_is_not_finite_is_bad_and_named():
    guard = Guard(Settings())
    assert guard.judge(math.nan, 1.0) == "the loss is nan"
    assert guard.judge(math.inf, 1.0) == "the loss is inf"
    assert guard.judge(2.5, math.inf) == "the gradient norm is inf"


def test_it_gives_up_after_bad_steps_in_a_row_only():
    guard = Guard(Settings(max_bad_steps=3))
    for loss in (math.nan, math.nan, 2.0, math.nan, math.nan):
        guard.judge(loss, 1.0)
    assert not guard.gives_up
    guard.judge(math.nan, 1.0)
    assert guard.gives_up


def test_a_spike_is_measured_against_the_running_median():
    guard = Guard(Settings(spike=4.0))
    for number in range(20):
        assert guard.judge(2.0, 1.0 + number % 3) is None
    assert guard.judge(2.0, 7.9) is None
    reason = guard.judge(2.0, 8.1)
    assert reason is not None
    assert "8.1 is 4.0 times its running median 2" in reason


def test_a_spike_is_not_called_before_there_is_something_to_compare_with():
    guard = Guard(Settings(spike=2.0))
    assert guard.judge(2.0, 1.0) is None
    assert guard.judge(2.0, 100.0) is None


def test_norms_of_bad_steps_do_not_move_the_median():
    guard = Guard(Settings(spike=2.0))
    for _ in range(20):
        guard.judge(2.0, 1.0)
    for _ in range(200):
        assert guard.judge(2.0, 5.0) is not None


def test_a_loaded_guard_judges_as_the_one_saved():
    guard = Guard(Settings(spike=2.0, max_bad_steps=2))
    for _ in range(20):
        guard.judge(2.0, 1.0)
    guard.judge(math.nan, 1.0)
    again = Guard(Settings(spike=2.0, max_bad_steps=2))
    again.load(guard.state())
    assert again.judge(2.0, 3.0) is not None
    assert again.gives_up
