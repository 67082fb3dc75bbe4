"""``tokka verify``: proofs that a recipe computes what it should, on this machine."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from tokka.cli.options import AsJson, Overrides, RecipePath

app = typer.Typer(help="Prove on this machine what a recipe computes.", rich_markup_mode=None)


@app.callback()
def verify() -> None:
    """Prove on this machine what a recipe computes."""


@app.command()
def layouts(
    recipe: RecipePath,
    layouts: Annotated[
        str, typer.Option(help='What to compare: "dp2; tp2; pp2; cp2; pp2 dp2 tp2; pp2 interleaved".')
    ],
    steps: Annotated[int, typer.Option(min=1, help="Steps of training by each layout.")] = 20,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest relative difference allowed.")] = 1e-5,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Make the model small; its kind, heads and proportions stay.")
    ] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train by each layout and on one process, from the same seed in fp32, and compare every step.

    Ranks are processes on this machine; the text is random, so the recipe's data is not needed. Status 1
    where a loss or gradient norm differs by more than the tolerance.
    """
    from tokka.pipeline.layouts import compare_layouts

    comparison = compare_layouts(recipe, layouts, overrides or (), steps=steps, shrink=shrink)
    width = max(len("layout"), *map(len, comparison.recipes))
    if not as_json:
        for override in comparison.shrunk:
            typer.echo(f"shrunk: --set {override}")
        typer.echo(f"{'layout':<{width}}  ranks  micro batch      loss  gradient norm  seconds")
    found = []
    for layout in comparison.run(steps, tolerance):
        found.append(layout)
        if not as_json:
            typer.echo(
                f"{layout.layout:<{width}}  {layout.ranks:>5}  {layout.micro_batch:>11}  {layout.loss:8.1e}  "
                f"{layout.norm:13.1e}  {layout.seconds:7.1f}{'' if layout.equal else '  differs'}"
            )
    if as_json:
        settings = {"steps": steps, "tolerance": tolerance, "device": comparison.device}
        content = settings | {"shrunk": comparison.shrunk, "layouts": [asdict(layout) for layout in found]}
        typer.echo(json.dumps(content, indent=2))
    if not all(layout.equal for layout in found):
        raise typer.Exit(1)
