"""``tokka launch``: the whole line as a job on a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from tokka.cli.options import Overrides, RecipePath


def launch(
    recipe: RecipePath,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of the cluster.")],
    slurm: Annotated[bool, typer.Option("--slurm", help="For Slurm, the only scheduler known so far.")],
    out: Annotated[Path | None, typer.Option(help="Where results go; default: runs/<recipe name>.")] = None,
    gpus_per_node: Annotated[int, typer.Option(min=0, help="Ranks on each node, each with a GPU.")] = 0,
    cpu_ranks_per_node: Annotated[int, typer.Option(min=0, help="Ranks on each node without GPUs.")] = 0,
    cpus_per_node: Annotated[
        int | None, typer.Option(min=1, help="Cores to take of each node; default: whole nodes.")
    ] = None,
    partition: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    account: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    time: Annotated[str | None, typer.Option(help="Time limit, as in sbatch: 2-00:00:00.")] = None,
    stop_ahead: Annotated[
        int, typer.Option(min=1, help="Minutes before the time limit to save and queue the job again.")
    ] = 10,
    sbatch: Annotated[
        list[str] | None, typer.Option(metavar="OPTION", help="Further option of sbatch. Repeatable.")
    ] = None,
    setup: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="Line of shell before the start. Repeatable.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Only show the batch script.")] = False,
    overrides: Overrides = None,
) -> None:
    """Run a recipe as a job on a cluster: one node prepares, all train, one evaluates and releases.

    The job saves and queues itself again before its time is up, and goes on where it was.
    """
    from tokka.pipeline.launch import SlurmJob, batch_script, submit
    from tokka.recipe.load import load_recipe

    if bool(gpus_per_node) == bool(cpu_ranks_per_node):
        raise ValueError("state one of --gpus-per-node and --cpu-ranks-per-node, and not 0")
    job = SlurmJob(
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        cpu_ranks_per_node=cpu_ranks_per_node,
        cpus_per_node=cpus_per_node,
        partition=partition,
        account=account,
        time=time,
        stop_ahead=stop_ahead,
        sbatch=sbatch or (),
        setup=setup or (),
    )
    run = out or Path("runs") / load_recipe(recipe, overrides or ()).name
    script = batch_script(job, recipe, run, overrides or ())
    if show:
        typer.echo(script, nl=False)
    else:
        number = submit(script, run)
        typer.echo(f"job {number}; `tokka status {run}` shows how it goes, {run}/logs what it says")
