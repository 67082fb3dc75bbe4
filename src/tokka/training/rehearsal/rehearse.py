"""A layout rehearsed without its machines: what each role of rank needs, and what would make it fit."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from tokka.parallel.stage import layers_of
from tokka.recipe.recipe import Recipe
from tokka.training.rehearsal.devices import Device
from tokka.training.rehearsal.role import Finding, rehearse_rank
from tokka.workspace.machine import usable_cores
from tokka.workspace.progress import progress, say

_NODE = 8
"""Tensor ranks talk too much to be spread over nodes, which have so many accelerators."""


@dataclass(frozen=True)
class Role:
    """Ranks that do the same.

    Attributes:
        name: for people.
        rank: the first of them.
        layers: of the model that each has.
    """

    name: str
    rank: int
    layers: int


@dataclass(frozen=True)
class Remedy:
    """Settings under which the fullest role fits.

    Attributes:
        settings: by their key in the recipe.
        peak: bytes that it then holds.
    """

    settings: Mapping[str, Any]
    peak: int


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal found.

    Attributes:
        recipe: that was rehearsed, with the layout it was rehearsed with.
        findings: of each role.
        device: that it shall fit on; None where none was named.
        remedy: what would make it fit, where it does not and something was found.
    """

    recipe: Recipe
    findings: Mapping[Role, Finding]
    device: Device | None
    remedy: Remedy | None

    @property
    def fits(self) -> bool | None:
        """Whether every role fits; None where no device was named."""
        if self.device is None:
            return None
        return all(finding.peak <= self.device.usable for finding in self.findings.values())


def rehearse(recipe: Recipe, *, world_size: int | None = None, device: Device | None = None) -> Rehearsal:
    """Do a step of every distinct role of rank of a layout, without its machines.

    Args:
        recipe: its model, batch and layout.
        world_size: ranks, where it shall be another number than the layout's: more or fewer ``data`` ranks.
        device: on which it shall fit. Where it does not, settings are looked for with which it would.

    Raises ValueError where the layout cannot have ``world_size`` ranks.
    """
    recipe = with_ranks(recipe, world_size) if world_size else recipe
    roles = roles_of(recipe)
    findings = dict(zip(roles, _rehearse_ranks(recipe, [role.rank for role in roles]), strict=True))
    fullest = max(roles, key=lambda role: findings[role].peak)
    remedy = None
    if device is not None and findings[fullest].peak > device.usable:
        remedy = _look_for_remedy(recipe, roles.index(fullest), device)
    return Rehearsal(recipe, findings, device, remedy)


def with_ranks(recipe: Recipe, world_size: int) -> Recipe:
    """Return ``recipe`` with so many ``data`` ranks that there are ``world_size`` in all."""
    layout = recipe.training.layout
    copy_ranks = layout.tensor * layout.pipeline * layout.context
    if world_size % copy_ranks:
        raise ValueError(
            f"--world-size {world_size} is no multiple of the {copy_ranks} ranks that share one copy of the "
            f"model (tensor {layout.tensor} x pipeline {layout.pipeline} x context {layout.context})"
        )
    return _changed(recipe, {"training.layout.data": world_size // copy_ranks})


def roles_of(recipe: Recipe) -> list[Role]:
    """Return the distinct roles of rank: the ends of the pipeline, and between them each number of layers.

    Of stages alike the earliest is taken, which holds the most micro batches at once.
    """
    layout = recipe.training.layout
    stages = layout.pipeline * layout.stages_per_rank
    layers = [
        sum(
            len(layers_of(recipe.model.n_layers, index, stages))
            for index in range(rank, stages, layout.pipeline)
        )
        for rank in range(layout.pipeline)
    ]
    each = layout.ranks // layout.pipeline
    if layout.pipeline == 1:
        return [Role("every rank", 0, layers[0])]
    middle = {count: rank for rank, count in reversed(list(enumerate(layers[1:-1], start=1)))}
    between = [
        Role("middle", rank * each, count) for count, rank in sorted(middle.items(), key=lambda m: m[1])
    ]
    last = layout.pipeline - 1
    return [Role("first", 0, layers[0]), *between, Role("last", last * each, layers[last])]


def _rehearse_ranks(recipe: Recipe, ranks: list[int]) -> list[Finding]:
    """Rehearse each of ``ranks`` in a process of its own, as each has its own pretended process group."""
    workers = min(usable_cores(), len(ranks))
    with (
        progress("rehearsing", len(ranks), "roles") as bar,
        ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        waiting = [pool.submit(rehearse_rank, recipe.model, recipe.training, rank) for rank in ranks]
        findings = []
        for future in waiting:
            findings.append(future.result())
            bar.advance(1)
    return findings


def _look_for_remedy(recipe: Recipe, role: int, device: Device) -> Remedy | None:
    """Try what saves memory, what costs least first, until role number ``role`` fits."""
    for settings in _savings(recipe):
        say(f"it does not fit; trying {', '.join(f'{key}={value}' for key, value in settings.items())}")
        try:
            changed = _changed(recipe, settings)
        except ValueError:  # such a layout is impossible for this model or batch
            continue
        (found,) = _rehearse_ranks(changed, [roles_of(changed)[role].rank])
        if found.peak <= device.usable:
            return Remedy(settings, found.peak)
    return None


def _savings(recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Yield settings that need less memory, from those that cost little to those that cost much."""
    training, layout = recipe.training, recipe.training.layout
    settings: dict[str, Any] = {}
    if layout.shard not in (None, layout.data * layout.context):
        settings["training.layout.shard"] = None
        yield dict(settings)
    if training.activation_checkpointing == "none":
        yield settings | {"training.activation_checkpointing": "selective"}
    if training.activation_checkpointing != "full":
        settings["training.activation_checkpointing"] = "full"
        yield dict(settings)
    if training.micro_batch > 1:
        settings["training.micro_batch"] = 1
        yield dict(settings)
    for tensor, pipeline in ((2, 1), (4, 1), (2, 2), (4, 2), (8, 2), (8, 4), (8, 8)):
        data, rest = divmod(layout.data, tensor * pipeline)
        if not rest and layout.tensor * tensor <= _NODE:
            yield settings | {
                "training.layout.data": data,
                "training.layout.tensor": layout.tensor * tensor,
                "training.layout.pipeline": layout.pipeline * pipeline,
            }


def _changed(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return ``recipe`` with ``settings``, checked like any other."""
    tree = recipe.model_dump(mode="json")
    for key, value in settings.items():
        *sections, last = key.split(".")
        section = tree
        for name in sections:
            section = section[name]
        section[last] = value
    return Recipe.model_validate(tree)
