"""``tokka rehearse``: a layout tried without its machines."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokka.cli.options import AsJson, Overrides, RecipePath

if TYPE_CHECKING:
    from rich.table import Table

    from tokka.training.rehearsal.rehearse import Rehearsal


_SHORT = {"parameters": "weights", "gradients": "grads", "activations": "activ.", "temporary": "temp."}
"""Kinds of memory in the heading of a table."""


def rehearse(
    recipe: RecipePath,
    world_size: Annotated[
        int | None, typer.Option(min=1, help="Ranks; default: those of the recipe's layout.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="What each rank runs on: h200, h100, a100, mi250x, mi300x, ...")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Try a layout without its machines: memory, communication and waiting of every role of rank.

    Real steps of the real model under a process group that only pretends. Status 1 where it does not fit.
    """
    from tokka.recipe.load import load_recipe
    from tokka.training.rehearsal.devices import device_called
    from tokka.training.rehearsal.rehearse import rehearse

    chosen = device_called(device) if device else None
    found = rehearse(load_recipe(recipe, overrides or ()), world_size=world_size, device=chosen)
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
    else:
        _show(found)
    if found.fits is False:
        raise typer.Exit(1)


def _show(found: "Rehearsal") -> None:
    from rich.console import Console

    from tokka.workspace.machine import format_bytes

    layout = found.recipe.training.layout
    console = Console()
    console.print(
        f"{layout.ranks:,} ranks: data {layout.data}, tensor {layout.tensor}, pipeline {layout.pipeline}, "
        f"context {layout.context}; {found.recipe.training.accumulation} micro batches a step"
    )
    console.print(_memory(found))
    console.print(_communication(found))
    waits = max(finding.bubble for finding in found.findings.values())
    console.print(f"Pipeline bubble: {100 * waits:.1f}% of the time a rank waits for others.")
    if found.device is None:
        return
    verdict = "It fits" if found.fits else "It does NOT fit"
    console.print(
        f"{verdict} on {found.device.name}: {format_bytes(found.device.usable)} of "
        f"{format_bytes(found.device.memory)} can be planned with."
    )
    if found.remedy:
        settings = " ".join(f"--set {key}={_written(value)}" for key, value in found.remedy.settings.items())
        console.print(f"It would fit with {format_bytes(found.remedy.peak)}: {settings}", soft_wrap=True)
    elif not found.fits:
        console.print("No setting was found that would make it fit; use more ranks, or a smaller model.")


def _memory(found: "Rehearsal") -> "Table":
    from rich.table import Table

    kinds = list(dict.fromkeys(kind for finding in found.findings.values() for kind in finding.memory))
    table = Table(title="Memory at the fullest moment, GB", padding=(0, 0))
    for heading in ("role", "rank", "layers", "M params", *(_SHORT.get(kind, kind) for kind in kinds), "all"):
        table.add_column(heading, justify="left" if heading == "role" else "right", no_wrap=True)
    for role, finding in found.findings.items():
        parts = [f"{finding.memory.get(kind, 0) / 1e9:.2f}" for kind in kinds]
        count = f"{finding.parameters / 1e6:,.1f}"
        table.add_row(role.name, str(role.rank), str(role.layers), count, *parts, f"{finding.peak / 1e9:.2f}")
    return table


def _communication(found: "Rehearsal") -> "Table":
    from rich.table import Table

    table = Table(title="Sent by a rank in a step: calls, GB")
    table.add_column("axis")
    table.add_column("operation")
    for role in found.findings:
        table.add_column(f"{role.name}, rank {role.rank}", justify="right")
    collectives = dict.fromkeys(each for finding in found.findings.values() for each in finding.volumes)
    for each in collectives:
        volumes = [finding.volumes.get(each) for finding in found.findings.values()]
        cells = [f"{volume.calls:,.0f}, {volume.sent / 1e9:,.2f}" if volume else "-" for volume in volumes]
        table.add_row(each.axis, each.operation, *cells)
    return table


def _written(value: Any) -> str:
    return "null" if value is None else str(value)


def _as_json(found: "Rehearsal") -> dict[str, Any]:
    return {
        "layout": found.recipe.training.layout.model_dump(),
        "roles": [
            asdict(role)
            | {
                "parameters": finding.parameters,
                "memory": finding.memory,
                "peak": finding.peak,
                "bubble": finding.bubble,
                "communication": [
                    asdict(each) | {"calls": round(volume.calls), "sent": round(volume.sent)}
                    for each, volume in finding.volumes.items()
                ],
            }
            for role, finding in found.findings.items()
        ],
        "device": found.device and asdict(found.device) | {"usable": found.device.usable},
        "fits": found.fits,
        "remedy": found.remedy and {"settings": dict(found.remedy.settings), "peak": found.remedy.peak},
    }
