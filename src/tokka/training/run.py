"""A training run: the loop over steps, and all that it reads and writes around the engine."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokka.data.trace import Locate, trace_batch, trace_lines
from tokka.models.identity import Identity
from tokka.models.spec import spec_for
from tokka.parallel.weights import save_hf
from tokka.recipe.recipe import Recipe
from tokka.training.checkpoint.saved import load_newest
from tokka.training.checkpoint.saver import Saver
from tokka.training.continued import LookedAt
from tokka.training.device import Numerics, keep_freed_memory, peak_memory
from tokka.training.engine import Engine, Outcome
from tokka.training.facts import INITIAL, summarise
from tokka.training.faults import Faults
from tokka.training.guard import TrainingStoppedError
from tokka.training.heldout import Heldout
from tokka.training.identity import why_untrained
from tokka.training.interrupt import Interrupted, StopRequest, stop_on_signal
from tokka.training.loader import BatchSampler, Loaded, Loader
from tokka.training.metrics import Metrics
from tokka.training.objectives import LanguageModelling
from tokka.training.plan import Plan
from tokka.training.watch import Watch
from tokka.training.world import World
from tokka.workspace.files import write_json
from tokka.workspace.progress import Progress, progress, say

_SHOWN_DOCUMENTS = 8
"""Of a skipped step so many are printed; ``skipped.jsonl`` has all."""


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what, and where results go.

    Attributes:
        recipe: decides everything.
        tokens: the budget, a whole number of batches.
        sampler: gives the batches.
        identity: what the published revisions state beside their weights.
        base: of the model that is continued; None for one from scratch.
        sizes: tokens of one epoch of each source.
        locate: tells where a piece of a skipped batch comes from.
        folder: gets the metrics, checkpoints and revisions.
        heldout: measured every ``evaluation.during`` tokens; None for never.
    """

    recipe: Recipe
    tokens: int
    sampler: BatchSampler
    identity: Identity
    base: LookedAt | None
    sizes: Mapping[str, int]
    locate: Locate
    folder: Path
    heldout: Heldout | None = None


def run(job: Job) -> dict[str, Any]:
    """Do ``job``, from its newest checkpoint if there is one; return the facts of the whole run.

    Raises what :func:`tokka.training.train.train` does.
    """
    world = World()
    with Watch(world, minutes=job.recipe.training.limits.hang_minutes) as watch:
        return _Run(job, world, watch).finish()


class _Run:
    """The run at a moment: its engine, and what of its data was consumed."""

    def __init__(self, job: Job, world: World, watch: Watch) -> None:
        recipe, training = job.recipe, job.recipe.training
        self.job, self.world, self.watch = job, world, watch
        during = recipe.evaluation.during if job.heldout else None
        self.plan = Plan.of(training, job.tokens, during=during)
        keep_freed_memory()
        found = load_newest(job.folder / "checkpoints")
        if found is not None:
            _check_settings(found.state["settings"], _settings(job), job.folder)
            job.sampler.load_state(found.state["sampler"])
            self._say(f"training: goes on after step {found.step} of {self.plan.steps}")
        self.flops_per_token = spec_for(recipe.model).flops_per_token(recipe.model, training.sequence_length)
        self.numerics = Numerics.choose(training, found.state["machine"] if found else None)
        objective = LanguageModelling(within_document=training.within_document)
        self.engine = Engine(
            recipe.model, training, self.plan, self.numerics, objective, seed=recipe.seed, saved=found
        )
        self.faults = Faults.of(job.folder, world.rank)
        self.saver = Saver(
            job.folder / "checkpoints",
            keep=training.checkpoints.keep,
            before_write=self._before_write,
        )
        self.consumed = job.sampler.state()
        self.saved_at = time.monotonic()
        self.loss: float | None = None
        self.metrics: Metrics | None = None
        self.bar: Progress | None = None

    def finish(self) -> dict[str, Any]:
        """Do the steps that are left; return the facts of all."""
        left = self.plan.steps - self.engine.step
        if self.engine.step == 0 and self.job.base is not None and not self.job.recipe.tokenizer.extend:
            self._compare_with(self.job.base)  # rows of new tokens would take part of the probability
        if self.engine.step in self.plan.revisions and not self.world.broadcast(self._revision().exists()):
            self._publish()
        with ExitStack() as stack:
            if self.world.is_first:
                self.metrics = stack.enter_context(Metrics(self.job.folder, last_step=self.engine.step))
                self.bar = stack.enter_context(progress("training", left * self.plan.batch_tokens, "tokens"))
            stack.callback(self.saver.close)  # what it writes needs the metrics open
            sequences, rows = self.job.recipe.training.batch_sequences, self.engine.rows
            loader = stack.enter_context(Loader(self.job.sampler, sequences, batches=left, rows=rows))
            stop = stack.enter_context(stop_on_signal(minutes=self.job.recipe.training.limits.stop_minutes))
            self._measure()
            for _ in range(left):
                self._step(loader)
                self._keep(stop)
            self.watch.begin(self.engine.step, "finishing", limited=False)
            self.saver.wait()
        return self.world.broadcast(self._facts() if self.world.is_first else {})

    def _compare_with(self, base: LookedAt) -> None:
        training = self.job.recipe.training
        found = base.compare(self.engine, sequences=training.batch_sequences, length=training.sequence_length)
        self._say(f"training: begins with loss {found['loss']:.4f}; the base had {found['base_loss']:.4f}")
        if self.world.is_first:
            write_json(self.job.folder / INITIAL, {"step": 0} | found)

    def _step(self, loader: Loader) -> None:
        begun, step = time.perf_counter(), self.engine.step + 1
        self.watch.begin(step, "waiting for data")
        loaded = loader.next()
        self.watch.begin(step, "computing")
        with self.faults.in_step(step, self.engine.model):
            outcome = self.engine.advance(loaded.batch, before_update=self.saver.wait_for_copy)
        self.consumed = loaded.state
        self._record(loaded, outcome, time.perf_counter() - begun)
        if self.engine.guard.gives_up:
            steps, skipped = self.job.recipe.training.guard.max_bad_steps, self.job.folder / "skipped.jsonl"
            raise TrainingStoppedError(
                f"stopped at step {self.engine.step}: {steps} steps in a row were skipped, this one because "
                f"{outcome.skipped}. The weights are as before. Look at the documents in {skipped}, raise "
                f"training.guard.max_bad_steps, or lower training.optimizer.lr, which begins anew"
            )

    def _keep(self, stop: StopRequest) -> None:
        """Save and publish what is due after a step; all ranks decide together what that is."""
        self.watch.begin(self.engine.step, "deciding")
        signal, late, failed = self.world.largest([stop.signal, self._is_late(), self.saver.failed])
        if signal:
            stop.note(signal)
        self.watch.begin(self.engine.step, "saving and publishing", limited=False)
        if failed:
            self.saver.wait()
        if signal or late or self.engine.step in self.plan.checkpoints:
            self._save()
        if signal or self.engine.step in self.plan.revisions:
            self.saver.wait()
        if self.engine.step in self.plan.revisions:
            self._publish()
        if signal:
            self._say(f"training: stopped and saved after step {self.engine.step}; the same command goes on")
            raise Interrupted(128 + signal)
        self._measure()

    def _measure(self) -> None:
        """Measure held-out text if that is due after this step and was not done: all was saved before."""
        step, heldout = self.engine.step, self.job.heldout
        if heldout is None or step not in self.plan.measured:
            return
        if self.world.broadcast(self.metrics is not None and self.metrics.has_measured(step)):
            return
        languages = heldout.bits_per_byte(self.engine.measure, self.engine.rows)
        if self.metrics is not None:
            tokens = step * self.plan.batch_tokens
            self.metrics.record_heldout({"step": step, "tokens": tokens, "languages": languages})

    def _record(self, loaded: Loaded, outcome: Outcome, seconds: float) -> None:
        self.loss = outcome.loss
        if self.bar is not None:
            self.bar.advance(self.plan.batch_tokens, f"loss {outcome.loss:.3f}")
        if self.metrics is not None:
            self.metrics.record(self._row(loaded, outcome, seconds))
            if outcome.skipped is not None:
                self._report_skipped(loaded, outcome, self.metrics)

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
            "epochs": {name: round(given / self.job.sizes[name], 6) for name, given in loaded.tokens.items()},
            "tokens_per_second": round(self.plan.batch_tokens / seconds, 1),
            "step_seconds": round(seconds, 6),
            "data_seconds": round(loaded.seconds, 6),
            "peak_memory": peak_memory(torch.device(self.numerics.device)),
        }

    def _report_skipped(self, loaded: Loaded, outcome: Outcome, metrics: Metrics) -> None:
        step = self.engine.step
        documents = trace_batch(loaded.batch, self.job.locate)
        say(f"warning: step {step} skipped: {outcome.skipped}")
        for line in trace_lines(documents[:_SHOWN_DOCUMENTS]):
            say(line)
        if len(documents) > _SHOWN_DOCUMENTS:
            say(f"and more: `tokka corpus trace {self.job.folder.parent} --step {step}`")
        metrics.record_skipped(
            {
                "step": step,
                "reason": outcome.skipped,
                "loss": _finite(outcome.loss),
                "grad_norm": _finite(outcome.norm),
                "documents": documents,
            }
        )

    def _is_late(self) -> bool:
        minutes = self.job.recipe.training.checkpoints.minutes
        return minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes

    def _save(self) -> None:
        snapshot = self.engine.snapshot(
            sampler=self.consumed, machine=self.numerics.as_json(), settings=_settings(self.job)
        )
        self.saver.save(snapshot, milestone=self.engine.step in self.plan.milestones)
        self.saved_at = time.monotonic()

    def _before_write(self, step: int) -> None:
        """Make the record of the steps as durable as the checkpoint that goes on from them."""
        if self.metrics is not None:
            self.metrics.sync()
        self.faults.before_write(step)

    def _facts(self) -> dict[str, Any]:
        config = self.job.recipe.model
        shapes = spec_for(config).build_meta(config).parameters()
        return summarise(self.job.folder, self.plan, self.numerics, self.flops_per_token) | {
            "parameters": sum(parameter.numel() for parameter in shapes)
        }

    def _say(self, message: str) -> None:
        if self.world.is_first:
            say(message)

    def _revision(self) -> Path:
        return self.job.folder / "revisions" / self.plan.revisions[self.engine.step]

    def _publish(self) -> None:
        config = self.job.recipe.model
        warning = why_untrained(self.loss, config.vocab_size)
        if warning:
            self._say(f"warning: the model after step {self.engine.step} is published, and {warning}")
        save_hf(self.engine.optimizer.masters, config, self._revision(), identity=self.job.identity)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _settings(job: Job) -> dict[str, Any]:
    """Return what must not change while a run goes on; how it is computed and saved may."""
    how = {"micro_batch", "activation_checkpointing", "compile", "layout", "checkpoints", "guard", "limits"}
    return {
        "seed": job.recipe.seed,
        "model": job.recipe.model.model_dump(mode="json", exclude={"base"}),
        "training": job.recipe.training.model_dump(mode="json", exclude=how | {"tokens"}),
        "tokens": job.tokens,
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
