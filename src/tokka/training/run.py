"""A training run: the loop over steps, and all that it reads and writes around the engine."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokka.data.sampler import Piece
from tokka.models.hugging_face import SpecialTokens
from tokka.models.spec import spec_for
from tokka.models.weights import save_hf
from tokka.recipe.recipe import Recipe
from tokka.training.checkpoint import load_newest, save
from tokka.training.device import Numerics, keep_freed_memory, peak_memory
from tokka.training.engine import Engine, Outcome
from tokka.training.facts import summarise
from tokka.training.guard import TrainingStoppedError
from tokka.training.interrupt import Interrupted, stop_on_signal
from tokka.training.loader import BatchSampler, Loaded, Loader
from tokka.training.metrics import Metrics
from tokka.training.objectives import LanguageModelling
from tokka.training.plan import Plan
from tokka.workspace.progress import progress, say


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what, and where results go.

    Attributes:
        recipe: decides everything.
        budgets: tokens that each source gives.
        sampler: gives the batches.
        special_tokens: named in the published revisions.
        locate: tells where a piece of a skipped batch comes from, as JSON content.
        folder: gets the metrics, checkpoints and revisions.
    """

    recipe: Recipe
    budgets: Mapping[str, int]
    sampler: BatchSampler
    special_tokens: SpecialTokens
    locate: Callable[[Piece], dict[str, Any]]
    folder: Path


def run(job: Job) -> dict[str, Any]:
    """Do ``job``, from its newest checkpoint if there is one; return the facts of the whole run.

    Raises what :func:`tokka.training.train.train` does.
    """
    return _Run(job).finish()


class _Run:
    """The run at a moment: its engine, and what of its data was consumed."""

    def __init__(self, job: Job) -> None:
        recipe, training = job.recipe, job.recipe.training
        if training.layout.ranks > 1:
            raise ValueError(
                f"training.layout asks for {training.layout.ranks} ranks, and training runs on one device so "
                f"far: leave the layout out"
            )
        self.job = job
        self.plan = Plan.of(training, job.budgets)
        keep_freed_memory()
        found = load_newest(job.folder / "checkpoints")
        if found is not None:
            _check_settings(found.state["settings"], _settings(job), job.folder)
            job.sampler.load_state(found.state["sampler"])
            say(f"training: goes on after step {found.step} of {self.plan.steps}")
        self.flops_per_token = spec_for(recipe.model).flops_per_token(recipe.model, training.sequence_length)
        self.numerics = Numerics.choose(training, found.state["machine"] if found else None)
        objective = LanguageModelling(within_document=training.within_document)
        self.engine = Engine(
            recipe.model, training, self.plan, self.numerics, objective, seed=recipe.seed, snapshot=found
        )
        self.consumed = job.sampler.state()
        self.saved_at = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Do the steps that are left; return the facts of all."""
        left = self.plan.steps - self.engine.step
        if self.engine.step in self.plan.revisions and not self._revision().exists():
            self._publish()
        with (
            Metrics(self.job.folder, last_step=self.engine.step) as metrics,
            Loader(self.job.sampler, self.job.recipe.training.batch_sequences, batches=left) as loader,
            progress("training", left * self.plan.batch_tokens, "tokens") as bar,
            stop_on_signal() as stop,
        ):
            for _ in range(left):
                outcome = self._step(loader, metrics)
                bar.advance(self.plan.batch_tokens, f"loss {outcome.loss:.3f}")
                if self._save_is_due() or stop.signal:
                    metrics.sync()
                    self._save()
                if self.engine.step in self.plan.revisions:
                    self._publish()
                if stop.signal:
                    say(
                        f"training: stopped and saved after step {self.engine.step}; the same command goes on"
                    )
                    raise Interrupted(128 + stop.signal)
        return summarise(self.job.folder, self.plan, self.numerics, self.flops_per_token) | {
            "parameters": sum(master.numel() for master in self.engine.optimizer.masters.values())
        }

    def _step(self, loader: Loader, metrics: Metrics) -> Outcome:
        begun = time.perf_counter()
        loaded = loader.next()
        outcome = self.engine.advance(loaded.batch)
        self.consumed = loaded.state
        metrics.record(self._row(loaded, outcome, time.perf_counter() - begun))
        if outcome.skipped is not None:
            self._report_skipped(loaded, outcome, metrics)
        return outcome

    def _row(self, loaded: Loaded, outcome: Outcome, seconds: float) -> dict[str, Any]:
        """Return the line of metrics.jsonl; a number that is not finite is null, as JSON has none."""
        return {
            "step": self.engine.step,
            "tokens": self.engine.step * self.plan.batch_tokens,
            "loss": _finite(outcome.loss),
            "lr": outcome.lr,
            "grad_norm": _finite(outcome.norm),
            "skipped": outcome.skipped,
            "sources": loaded.tokens,
            "tokens_per_second": round(self.plan.batch_tokens / seconds, 1),
            "step_seconds": round(seconds, 6),
            "data_seconds": round(loaded.seconds, 6),
            "peak_memory": peak_memory(torch.device(self.numerics.device)),
        }

    def _report_skipped(self, loaded: Loaded, outcome: Outcome, metrics: Metrics) -> None:
        step = self.engine.step
        say(f"warning: step {step} skipped: {outcome.skipped}")
        metrics.record_skipped(
            {
                "step": step,
                "reason": outcome.skipped,
                "loss": _finite(outcome.loss),
                "grad_norm": _finite(outcome.norm),
                "documents": [self.job.locate(piece) for row in loaded.batch.origins for piece in row],
            }
        )
        if self.engine.guard.gives_up:
            raise TrainingStoppedError(
                f"stopped at step {step}: {self.job.recipe.training.guard.max_bad_steps} steps in a row were "
                f"skipped, this one because {outcome.skipped}. The weights are as before. Look at the "
                f"documents in {self.job.folder / 'skipped.jsonl'}, lower training.optimizer.lr, or raise "
                f"training.guard.max_bad_steps"
            )

    def _save_is_due(self) -> bool:
        minutes = self.job.recipe.training.checkpoints.minutes
        late = minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
        return late or self.engine.step in self.plan.checkpoints

    def _save(self) -> None:
        snapshot = self.engine.snapshot(
            sampler=self.consumed, machine=self.numerics.as_json(), settings=_settings(self.job)
        )
        save(self.job.folder / "checkpoints", snapshot, keep=self.job.recipe.training.checkpoints.keep)
        self.saved_at = time.monotonic()

    def _revision(self) -> Path:
        return self.job.folder / "revisions" / self.plan.revisions[self.engine.step]

    def _publish(self) -> None:
        recipe = self.job.recipe
        save_hf(
            self.engine.model,
            recipe.model,
            self._revision(),
            special_tokens=self.job.special_tokens,
            dtype=torch.bfloat16 if recipe.training.precision == "bf16" else torch.float32,
        )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _settings(job: Job) -> dict[str, Any]:
    """Return what must not change while a run goes on; how it is computed and saved may."""
    how = {"micro_batch", "activation_checkpointing", "compile", "layout", "checkpoints", "guard"}
    return {
        "seed": job.recipe.seed,
        "model": job.recipe.model.model_dump(mode="json", exclude={"base"}),
        "training": job.recipe.training.model_dump(mode="json", exclude=how),
        "budgets": dict(job.budgets),
    }


def _check_settings(before: Any, now: Any, folder: Path) -> None:
    changed = list(_differences("", before, now))
    if changed:
        raise ValueError(
            f"{folder / 'checkpoints'} was made with other settings: {'; '.join(changed)}. Set them back to "
            f"go on, or remove {folder} to begin again"
        )


def _differences(key: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in before | now:
            yield from _differences(f"{key}.{name}" if key else name, before.get(name), now.get(name))
    elif before != now:
        yield f"{key} was {before} and is {now}"
