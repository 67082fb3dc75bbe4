"""One run's training state on one device, moved on a step at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tokka.data.sampler import Batch
from tokka.models.spec import Config
from tokka.recipe.training import Training
from tokka.training.build import build_model, compile_blocks, empty_model, recompute_activations
from tokka.training.checkpoint import Snapshot
from tokka.training.device import Numerics
from tokka.training.guard import Guard
from tokka.training.objectives import Objective
from tokka.training.optimizer import Optimizer
from tokka.training.plan import Plan
from tokka.training.random_state import random_state, seed_all, set_random_state
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


class Engine:
    """Model, optimizer and guard after ``step`` steps.

    It knows nothing of files, and of its objective only that it turns a batch into a loss.
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
        snapshot: Snapshot | None,
    ) -> None:
        """Begin with the weights that ``config`` states, or go on from ``snapshot``."""
        self.step = 0
        self._training, self._plan, self._objective = training, plan, objective
        seed_all(seed)
        device = torch.device(numerics.device)
        self.model = empty_model(config, device) if snapshot else build_model(config, seed, device)
        self.optimizer = Optimizer(self.model, training.optimizer, numerics.compute_dtype)
        self.guard = Guard(training.guard)
        if training.activation_checkpointing == "full":
            recompute_activations(self.model)
        if numerics.compiled:
            compile_blocks(self.model)
        if snapshot is not None:
            self._restore(snapshot)

    def advance(self, batch: Batch) -> Outcome:
        """Train on ``batch``; where that goes wrong, leave all weights and moments as they are."""
        total, targets = self._accumulate(batch)
        loss = total / targets if targets else float("nan")
        norm = self.optimizer.gradient_norm() / max(targets, 1)
        skipped = self.guard.judge(loss, norm)
        middle = (self.step + 0.5) * self._plan.batch_tokens
        lr = learning_rate(self._training.schedule, self._training.optimizer.lr, middle, self._plan.tokens)
        if skipped is None:
            self.optimizer.step(lr, divisor=targets, norm=norm)
        else:
            self.optimizer.forget_gradients()
        self.step += 1
        return Outcome(loss, norm, lr, skipped)

    def snapshot(self, **more: Any) -> Snapshot:
        """Return everything that the next step depends on; ``more`` is kept with it, as JSON content."""
        return Snapshot(
            step=self.step,
            model=self.optimizer.masters,
            optimizer=self.optimizer.state(),
            state={
                "updates": self.optimizer.updates,
                "guard": self.guard.state(),
                "random": random_state(),
                **more,
            },
        )

    def _accumulate(self, batch: Batch) -> tuple[float, int]:
        """Sum the gradients of all micro batches; return summed loss and count of valid targets."""
        rows = self._training.micro_batch
        losses = []
        for start in range(0, len(batch.tokens), rows):
            loss = self._objective(self.model, batch, slice(start, start + rows))
            loss.total.backward()
            losses.append((loss.total.detach().double(), loss.targets))
        totals, targets = zip(*losses, strict=True)
        return torch.stack(totals).sum().item(), int(torch.stack(targets).sum().item())

    def _restore(self, snapshot: Snapshot) -> None:
        state: Mapping[str, Any] = snapshot.state
        self.step = snapshot.step
        self.optimizer.load(snapshot.model, snapshot.optimizer, state["updates"])
        self.guard.load(state["guard"])
        set_random_state(state["random"])
