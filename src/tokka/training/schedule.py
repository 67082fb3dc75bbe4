"""The learning rate as a pure function of tokens."""

import math

from tokka.recipe.training import Schedule


def learning_rate(schedule: Schedule, peak: float, tokens: float, budget: int) -> float:
    """Return the learning rate when ``tokens`` of ``budget`` have been trained on.

    Linear from zero to ``peak`` over ``schedule.warmup`` tokens, then by ``schedule.shape``:

    - ``cosine``: half a cosine from ``peak`` to ``min_lr`` (Loshchilov and Hutter 2017, arXiv 1608.03983),
      as Poro 34B and Poro 2 were trained; over at ``schedule.decay`` tokens or with the budget.
    - ``linear``: a straight line between the same two points.
    - ``constant``: ``peak``.
    - ``wsd``: ``peak`` until the last ``schedule.decay`` tokens, then a straight line to ``min_lr``
      (warmup-stable-decay, Hu et al. 2024, arXiv 2404.06395; the trapezoid of Poro 2's ablation).

    A step takes the rate at the middle of its own tokens: neither the first nor the last step is wasted on a
    rate of zero, and the sum of all rates hardly depends on the size of the batch.
    """
    if tokens < schedule.warmup:
        return peak * tokens / schedule.warmup
    if schedule.shape == "constant":
        return peak
    begin, end = _decay(schedule, budget)
    progress = min(max((tokens - begin) / (end - begin), 0.0), 1.0)
    left = (1 + math.cos(math.pi * progress)) / 2 if schedule.shape == "cosine" else 1 - progress
    return schedule.min_lr + (peak - schedule.min_lr) * left


def check_schedule(schedule: Schedule, budget: int) -> None:
    """Raise ValueError where warm-up and decay do not fit into ``budget`` tokens one after the other."""
    begin, end = (schedule.warmup, budget) if schedule.shape == "constant" else _decay(schedule, budget)
    if not schedule.warmup <= begin < end <= budget:
        raise ValueError(
            f"training.schedule: a warm-up of {schedule.warmup} tokens and a decay from {begin} to {end} do "
            f"not follow one another within the budget of {budget} tokens; make them shorter"
        )


def _decay(schedule: Schedule, budget: int) -> tuple[int, int]:
    """Return the tokens at which the decay begins and ends."""
    if schedule.shape == "wsd":
        assert schedule.decay is not None
        return budget - schedule.decay, budget
    return schedule.warmup, schedule.decay or budget
