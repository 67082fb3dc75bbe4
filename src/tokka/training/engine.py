"""One run's training state on one device, moved on a step at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from tokka.data.sampler import Batch
from tokka.models.model import LanguageModel
from tokka.models.spec import Config, spec_for
from tokka.parallel.model import TrainingModel
from tokka.recipe.training import Training
from tokka.training.build import begin
from tokka.training.checkpoint.saved import Saved
from tokka.training.checkpoint.snapshot import Snapshot
from tokka.training.cross_entropy import IGNORED
from tokka.training.device import Numerics
from tokka.training.guard import Guard
from tokka.training.objectives import Inputs, Objective
from tokka.training.optimizer import Optimizer
from tokka.training.plan import Plan
from tokka.training.random_state import random_state, seed_all, seed_joined, set_random_state
from tokka.training.schedule import learning_rate


@dataclass(frozen=True)
class Outcome:
    """What a step came to.

    Attributes:
        loss: mean over the valid targets of the batch, in nats.
        norm: Euclidean norm of the gradient of that mean, before clipping.
        lr: learning rate.
        skipped: why no weight was changed; None where all were.
    """

    loss: float
    norm: float
    lr: float
    skipped: str | None


def _nothing() -> None:
    pass


class Engine:
    """Model, optimizer and guard after ``step`` steps.

    It knows nothing of files, and of its objective only that it turns a batch into a loss. On one process it
    has the whole model. As one rank of a layout it has its part, and comes to the same outcome as the others.

    Attributes:
        parallel: the model, as far as this rank has it.
        step: steps done.
    """

    def __init__(
        self,
        config: Config,
        training: Training,
        plan: Plan,
        numerics: Numerics,
        objective: Objective,
        *,
        seed: int,
        saved: Saved | None,
    ) -> None:
        """Begin with the weights that ``config`` states, or go on from what was saved.

        Where ``training.layout`` has several ranks, all of them call this, in their process group.
        """
        self.step = 0
        self._training, self._plan, self._objective = training, plan, objective
        self._seed = seed
        seed_all(seed)
        self.parallel = TrainingModel(
            config,
            training,
            objective.loss,
            device=torch.device(numerics.device),
            dtype=numerics.compute_dtype,
            compiled=numerics.compiled,
        )
        self.parallel.place()
        if saved is None:
            begin(self.parallel.parameters, config, seed)
        waiting = _all_but_embeddings(config, self.parallel.parameters) if training.embeddings_first else ()
        self.optimizer = Optimizer(
            self.parallel.parameters, training.optimizer, numerics.compute_dtype, waiting
        )
        self._first = [name for name in self.parallel.counted if name not in waiting]
        self.guard = Guard(training.guard)
        if saved is not None:
            self._restore(saved)

    @property
    def model(self) -> LanguageModel:
        """The model; on a pipeline the first stretch of it that this rank runs."""
        return self.parallel.stages[0].model

    @property
    def rows(self) -> slice:
        """The rows of a batch that :meth:`advance` takes on this rank."""
        return self.parallel.rows

    def advance(self, batch: Batch, *, before_update: Callable[[], None] = _nothing) -> Outcome:
        """Train on a batch, of which this rank is given its rows.

        Where that goes wrong, all weights and moments stay as they are, on every rank. ``before_update`` is
        called before the first of them changes.
        """
        inputs = self._objective.inputs(batch)
        before = self.step * self._plan.batch_tokens
        embeddings_only = before < self._training.embeddings_first
        if before - self._plan.batch_tokens < self._training.embeddings_first <= before:
            self.guard.forget_norms()  # from here on the norm is that of all weights
        share = self.parallel.accumulate(inputs.tokens, inputs.targets, inputs.documents)
        total, targets, norm = self.parallel.total(
            share,
            int((inputs.targets != IGNORED).sum()),
            self.optimizer.gradient_norm(self._first if embeddings_only else self.parallel.counted),
        )
        loss = total / targets if targets else float("nan")
        norm /= max(targets, 1)
        skipped = self.guard.judge(loss, norm)
        middle = (self.step + 0.5) * self._plan.batch_tokens
        lr = learning_rate(self._training.schedule, self._training.optimizer.lr, middle, self._plan.tokens)
        if skipped is None:
            before_update()
            self.optimizer.step(lr, divisor=targets, norm=norm, without_waiting=embeddings_only)
        else:
            self.optimizer.forget_gradients()
        self.step += 1
        return Outcome(loss, norm, lr, skipped)

    def measure(self, inputs: Inputs) -> float:
        """Return the loss, summed over all valid targets, of a batch of which this rank is given its rows.

        Nothing is changed. It costs what a step does: a pipeline's schedule has no forward pass alone.
        """
        share = self.parallel.accumulate(inputs.tokens, inputs.targets, inputs.documents)
        self.optimizer.forget_gradients()
        total, _, _ = self.parallel.total(share, 0, self.optimizer.gradient_norm(()))
        return total

    def snapshot(self, **more: Any) -> Snapshot:
        """Return everything that the next step depends on; ``more`` is kept with it, as JSON content."""
        return Snapshot(
            step=self.step,
            model=self.optimizer.masters,
            optimizer=self.optimizer.state(),
            state={
                "updates": self.optimizer.updates,
                "updates_without_waiting": self.optimizer.updates_without_waiting,
                "guard": self.guard.state(),
                **more,
            },
            own={"random": random_state()},
        )

    def _restore(self, saved: Saved) -> None:
        self.step = saved.step
        saved.load({**self.optimizer.masters, **self.optimizer.state()})
        self.optimizer.go_on(saved.state["updates"], saved.state.get("updates_without_waiting", 0))
        self.guard.load(saved.state["guard"])
        if saved.own is not None:
            set_random_state(saved.own["random"])
        else:
            seed_joined(self._seed, step=saved.step, rank=dist.get_rank())


def _all_but_embeddings(config: Config, names: Iterable[str]) -> set[str]:
    return set(names) - spec_for(config).token_rows
