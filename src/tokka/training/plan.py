"""Which steps there are, and at which of them something is saved or published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tokka.recipe.sizes import format_size
from tokka.recipe.training import Training
from tokka.training.schedule import check_schedule

_REVISIONS = 10
"""Revisions of a run whose recipe does not say how many."""


@dataclass(frozen=True)
class Plan:
    """The steps of a run; a pure function of recipe and budget, so that a resumed run has the same.

    Attributes:
        tokens: the budget.
        steps: optimizer steps that it takes.
        batch_tokens: tokens of one step.
        revisions: the name of each revision, by the step after which it is published.
        checkpoints: steps after which a checkpoint is saved, also those of all revisions and milestones.
        milestones: steps whose checkpoint is never removed.
        measured: steps after which held-out text is measured, 0 among them; none where that is not asked for.
    """

    tokens: int
    steps: int
    batch_tokens: int
    revisions: Mapping[int, str]
    checkpoints: frozenset[int]
    milestones: frozenset[int]
    measured: frozenset[int] = frozenset()

    @classmethod
    def of(cls, training: Training, tokens: int, *, during: int | None = None) -> Self:
        """Make the plan; ``during`` are the tokens between measurements of held-out text.

        A revision is due at the step nearest to each multiple of ``checkpoints.revisions`` tokens, and named
        by that multiple, as Poro's branches are. The last step always gives one, named by the whole budget.

        Raises:
            ValueError: the budget is no whole number of batches, the schedule does not fit into it, or
                revisions are so close together that two would have the same name.
        """
        steps, left = divmod(tokens, training.batch_tokens)
        if left or not steps:
            raise ValueError(
                f"a budget of {tokens} tokens is not a multiple of batch_tokens {training.batch_tokens}"
            )
        check_schedule(training.schedule, tokens)
        stated = training.tokens or tokens
        every = training.checkpoints.revisions or max(stated // _REVISIONS, training.batch_tokens)
        last = format_size(stated)
        names = {
            step: format_size(at) for step, at in _nearest_steps(every, training.batch_tokens, steps).items()
        }
        revisions = {step: name for step, name in names.items() if name != last} | {steps: last}
        if len(set(revisions.values())) < len(revisions):
            raise ValueError(
                f"training.checkpoints.revisions: {every} tokens apart, two revisions would have the same "
                f"name; make it larger"
            )
        saves = _nearest_steps(training.checkpoints.every or every, training.batch_tokens, steps)
        kept = training.checkpoints.milestones
        milestones = _nearest_steps(kept, training.batch_tokens, steps) if kept else {}
        return cls(
            tokens=tokens,
            steps=steps,
            batch_tokens=training.batch_tokens,
            revisions=dict(sorted(revisions.items())),
            checkpoints=frozenset(saves) | frozenset(revisions) | frozenset(milestones),
            milestones=frozenset(milestones),
            measured=frozenset(_nearest_steps(during, training.batch_tokens, steps)) | {0, steps}
            if during
            else frozenset(),
        )


def _nearest_steps(every: int, batch_tokens: int, steps: int) -> dict[int, int]:
    """Return the step nearest to each multiple of ``every`` tokens, and that multiple; at most each step."""
    every = max(every, batch_tokens)
    multiples = range(every, (steps + 1) * batch_tokens, every)
    nearest = {round(multiple / batch_tokens): multiple for multiple in multiples}
    return {step: multiple for step, multiple in nearest.items() if step <= steps}
