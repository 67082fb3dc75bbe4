"""How much of their time the ranks of a pipeline wait for each other."""

from collections.abc import Mapping, Sequence
from typing import Any

_COSTS = {"F": 1, "I": 1, "W": 1, "B": 2}
"""Forward pass, gradients of inputs, of weights, of both: a matrix product each (arXiv 2401.10241)."""


def one_forward_one_backward(ranks: int, batches: int) -> float:
    """Return the same of ``ranks`` that take ``batches`` micro batches one forward, one backward.

    The pipeline fills and drains once a step, whatever a pass costs (arXiv 2104.04473, section 2.2.1).
    """
    return (ranks - 1) / (batches + ranks - 1)


def bubble(order: Mapping[int, Sequence[Any]], *, recomputed: bool) -> float:
    """Return the share of time in which a rank waits, on average over the ranks.

    Args:
        order: for each rank what it does, in order: PyTorch's schedule actions; None is no action.
        recomputed: whether a backward pass does the forward pass again.
    """
    costs = {name: cost + (recomputed and name in "IB") for name, cost in _COSTS.items()}
    work = {
        rank: [action for action in actions if action is not None and action.computation_type.value in costs]
        for rank, actions in order.items()
    }
    stages = 1 + max(action.stage_index for actions in work.values() for action in actions)
    done: dict[tuple[str, int, int], float] = {}
    clock = dict.fromkeys(work, 0.0)
    at = dict.fromkeys(work, 0)
    busy = 0.0
    while any(at[rank] < len(work[rank]) for rank in work):
        before = dict(at)
        for rank, actions in work.items():
            while at[rank] < len(actions):
                action = actions[at[rank]]
                kind, stage, batch = (
                    action.computation_type.value,
                    action.stage_index,
                    action.microbatch_index,
                )
                needs = _needed(kind, stage, batch, stages)
                if any(need not in done for need in needs):
                    break
                clock[rank] = max([clock[rank], *(done[need] for need in needs)]) + costs[kind]
                busy += costs[kind]
                done["B" if kind == "I" else kind, stage, batch] = clock[rank]
                at[rank] += 1
        if at == before:
            raise ValueError("the schedule waits for itself: an action needs one that never comes")
    return 1 - busy / (len(work) * max(clock.values()))


def _needed(kind: str, stage: int, batch: int, stages: int) -> list[tuple[str, int, int]]:
    """Return what must be done before: the neighbour's pass, and the own one before it."""
    if kind == "F":
        return [("F", stage - 1, batch)] if stage else []
    if kind == "W":
        return [("B", stage, batch)]
    return [("F", stage, batch), *([("B", stage + 1, batch)] if stage < stages - 1 else [])]
