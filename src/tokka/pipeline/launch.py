"""Jobs on a cluster: a batch script of Slurm that raises a model on many nodes."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tokka.pipeline.ranks import RESTARTS
from tokka.recipe.load import load_recipe
from tokka.recipe.recipe import Recipe
from tokka.workspace.files import write_text


@dataclass(frozen=True)
class SlurmJob:
    """What a job asks of Slurm.

    Attributes:
        nodes: how many.
        gpus_per_node: ranks on each node, each with a GPU; 0 for ranks on CPUs.
        cpu_ranks_per_node: ranks on each node without GPUs.
        cpus_per_node: cores to take of each node; None takes whole nodes.
        partition, account, time: as sbatch has them; None leaves them to the cluster.
        stop_ahead: minutes before the time limit at which training saves and the job is queued again.
        sbatch: further options, such as ``--qos=high``.
        setup: lines of shell before anything starts, such as ``module load cray-python``.
    """

    nodes: int
    gpus_per_node: int = 0
    cpu_ranks_per_node: int = 0
    cpus_per_node: int | None = None
    partition: str | None = None
    account: str | None = None
    time: str | None = None
    stop_ahead: int = 10
    sbatch: Sequence[str] = ()
    setup: Sequence[str] = ()

    @property
    def ranks_per_node(self) -> int:
        return self.gpus_per_node or self.cpu_ranks_per_node


def batch_script(job: SlurmJob, recipe: Path, run: Path, overrides: Sequence[str] = ()) -> str:
    """Return the batch script that runs the whole line of ``recipe`` in ``run``, its training on all nodes.

    Raises:
        RecipeError: the recipe is not valid.
        ValueError: the job has another number of ranks than the recipe's layout, or too little time to save.
    """
    loaded = load_recipe(recipe, overrides)
    _check_ranks(job, loaded)
    _check_time(job, loaded)
    environment = Environment(
        loader=PackageLoader("tokka.pipeline", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quote"] = shlex.quote
    return environment.get_template("slurm.sh.jinja").render(
        job=job,
        name=loaded.name,
        recipe=str(recipe.resolve()),
        run=str(run.resolve()),
        overrides=overrides,
        python=sys.executable,
        restarts=RESTARTS,
    )


def submit(script: str, run: Path) -> str:
    """Write ``script`` to ``job.sh`` of the run's folder, hand it to Slurm and return the id of the job.

    Raises OSError where there is no Slurm, or it refuses the job.
    """
    if shutil.which("sbatch") is None:
        raise OSError("there is no sbatch here; submit from a login node of the cluster, or add --print")
    (run / "logs").mkdir(parents=True, exist_ok=True)
    path = run / "job.sh"
    write_text(path, script)
    done = subprocess.run(["sbatch", "--parsable", path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"sbatch refused {path}: {done.stderr.strip()}")
    return done.stdout.strip().split(";")[0]


def _check_time(job: SlurmJob, recipe: Recipe) -> None:
    minutes = recipe.training.limits.stop_minutes
    if job.stop_ahead <= minutes:
        raise ValueError(
            f"--stop-ahead {job.stop_ahead} leaves no more than training.limits.stop_minutes, {minutes:g}, "
            f"in which ranks may save; make it larger"
        )


def _check_ranks(job: SlurmJob, recipe: Recipe) -> None:
    layout = recipe.training.layout
    ranks = job.nodes * job.ranks_per_node
    if ranks == layout.ranks:
        return
    others = layout.ranks // layout.data
    fitting = (
        f"--set training.layout.data={ranks // others}"
        if ranks % others == 0
        else f"a number of ranks that {others} (all axes but data) divides"
    )
    nodes, left = divmod(layout.ranks, job.ranks_per_node)
    either = f"--nodes {nodes}" if nodes and not left else "another number of ranks a node"
    raise ValueError(
        f"{job.nodes} nodes of {job.ranks_per_node} are {ranks:,} ranks, and training.layout states "
        f"{layout.ranks:,}; take {either}, or {fitting}"
    )
