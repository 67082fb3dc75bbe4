"""Training a prepared run on many ranks: what each of them does."""

import os
import signal
import time
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from tokka.parallel.ranks import Place, joined
from tokka.pipeline.agreement import check_same, what_decides
from tokka.pipeline.folder import Run, noted_run
from tokka.pipeline.ranks import FINAL
from tokka.pipeline.stage import Status, begin, finish, standing
from tokka.pipeline.stages.model import training_stage
from tokka.recipe.training import Layout
from tokka.training.world import World
from tokka.workspace.lock import alone_in
from tokka.workspace.progress import say

_PATIENCE = 2
"""Times ``limits.hang_minutes`` until a collective fails by itself: who hangs is told before that."""

_PATIENCE_SECONDS = 120.0
"""For the ranks of a run that was just killed to notice that, save and end."""


def train_run(folder: Path) -> None:
    """Train the model of the run in ``folder``, whose mixture is ready; this process is one of its ranks.

    The ranks are started by torchrun, or by ``tokka run``; one process alone is the only rank. The first one
    keeps the stage's folder and writes its manifest. After an interruption the same call goes on.

    Raises:
        ValueError: there is no run, its mixture is not ready, the ranks are not as many as its layout needs,
            or they have different packages, recipes or data.
        and what :func:`tokka.training.train.train` does.
    """
    try:
        record(_train)(folder)
    except Exception as error:
        if "TORCHELASTIC_RUN_ID" not in os.environ or "TOKKA_TRACEBACK" in os.environ:
            raise
        say(f"rank {Place.of_this_process().rank} failed: {error}")  # `record` wrote all calls to a file
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the agent's, or the exit status would be lost
        final = isinstance(error, ValueError | ImportError)
        raise SystemExit(FINAL if final else 1) from None


def _train(folder: Path) -> None:
    run, place = noted_run(folder), Place.of_this_process()
    _check_count(run.recipe.training.layout, place, folder)
    with joined(place, minutes=_PATIENCE * run.recipe.training.limits.hang_minutes):
        world = World()
        check_same(world, what_decides(run))
        if world.is_first:
            with alone_in(folder, ".locks/training", patience=_PATIENCE_SECONDS):
                _lead(world, run)
        else:
            _follow(world, run)


def _lead(world: World, run: Run) -> None:
    """Do the first rank's part of the stage: it alone writes the stage's own files."""
    stage = training_stage(run.recipe)
    found = standing(stage, run)
    if found.status is Status.NEW and not found.key:
        raise ValueError(
            f"{run.folder} is not ready to train: it waits for {found.why.removeprefix('after ')}; "
            f"`tokka run RECIPE --out {run.folder} --to ready` does what comes before"
        )
    done = found.status is Status.DONE or begin(stage, run, found) is not None
    world.broadcast(done)
    if done:
        say(f"training: done before in {run.folder}")
        return
    begun = time.monotonic()
    facts = stage.work(run)
    finish(stage, run, found, facts, time.monotonic() - begun)
    say(f"training: all {facts['steps']:,} steps are done")


def _follow(world: World, run: Run) -> None:
    if not world.broadcast(False):
        training_stage(run.recipe).work(run)


def _check_count(layout: Layout, place: Place, folder: Path) -> None:
    """Refuse to start with another number of ranks than the layout's."""
    if place.size == layout.ranks:
        return
    if place.size == 1:
        remedy = "`tokka run` starts them on one machine, `tokka launch` on several"
    else:
        remedy = "start that many, or run `tokka run` with another training.layout first"
    raise ValueError(
        f"training.layout in {folder / 'recipe.yaml'} needs {layout.ranks} ranks, not {place.size}; {remedy}"
    )
