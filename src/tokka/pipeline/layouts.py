"""Proof on this machine that layouts train alike: each against one process, on ranks started here."""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from tokka.pipeline.shrink import check_size, shrinking
from tokka.recipe.layout_words import parse_layouts
from tokka.recipe.load import RecipeError, load_recipe
from tokka.recipe.recipe import Recipe
from tokka.recipe.training import Layout
from tokka.workspace.files import read_json, write_json
from tokka.workspace.machine import usable_cores

if TYPE_CHECKING:
    from tokka.training.equality import Measured

_PRELOAD = ["tokka.training.equality"]
"""What new ranks need, imported once in the server that they are forked from."""

_PATIENCE = timedelta(minutes=10)

_WHATEVER_THE_LAYOUT = ("training.layout={}", "training.compile=false", "model.base=null")
"""Overrides: equality is of steps, so new weights do as well as a base's, and nothing is generated."""


@dataclass(frozen=True)
class Compared:
    """How far a layout is from one process.

    Attributes:
        layout: as it was written.
        ranks: that it took.
        micro_batch: sequences of one pass; at most the recipe's, and as few as the layout needs.
        loss, norm: largest relative difference of the loss and of the gradient norm over the steps.
        equal: whether both are within the tolerance.
        seconds: that its ranks took, from start to end.
    """

    layout: str
    ranks: int
    micro_batch: int
    loss: float
    norm: float
    equal: bool
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """What is to be compared, and on what.

    Attributes:
        recipes: for each layout, as it is written, the recipe with it.
        single: the recipe on one process.
        device: ``cuda`` where there is a GPU for each rank of every layout, else ``cpu``.
        shrunk: overrides that made the recipe small; none where it was taken as it is.
    """

    recipes: dict[str, Recipe]
    single: Recipe
    device: str
    shrunk: Sequence[str]

    def run(self, steps: int, tolerance: float) -> Iterator[Compared]:
        """Yield each layout's differences over ``steps`` steps in fp32, when they are known.

        Raises RuntimeError with the calls of the rank that failed, where one does.
        """
        from tokka.training.equality import difference

        expected, _ = _curve(self.single, steps, self.device)
        for words, recipe in self.recipes.items():
            curve, seconds = _curve(recipe, steps, self.device)
            loss, norm = difference(curve, expected)
            equal = isfinite(loss) and isfinite(norm) and max(loss, norm) <= tolerance
            training = recipe.training
            yield Compared(words, training.layout.ranks, training.micro_batch, loss, norm, equal, seconds)


def compare_layouts(
    path: Path, layouts: str, overrides: Sequence[str] = (), *, steps: int, shrink: bool = False
) -> Comparison:
    """Make ready to compare ``layouts`` of the recipe at ``path``, such as ``dp2; tp2; pp2 dp2``.

    Args:
        path: of the recipe; its data is not needed.
        layouts: in the words of :mod:`tokka.recipe.layout_words`.
        overrides: of the recipe.
        steps: that each is to take.
        shrink: make the model small, as :func:`tokka.pipeline.shrink.shrinking` does.

    Raises:
        RecipeError: the recipe is not valid, or a layout does not fit it.
        ValueError: a layout is written wrongly, or the recipe is too large for this machine.
    """
    import torch

    parsed = parse_layouts(layouts)
    single = load_recipe(path, [*overrides, *_WHATEVER_THE_LAYOUT])
    shrunk = shrinking(single, list(parsed.values())) if shrink else []
    stated = [*overrides, *_WHATEVER_THE_LAYOUT, *shrunk]
    single = load_recipe(path, stated)
    check_size(single, list(parsed.values()), steps)
    recipes = {words: _with_layout(path, layout, stated, single) for words, layout in parsed.items()}
    most = max(layout.ranks for layout in parsed.values())
    device = "cuda" if torch.cuda.device_count() >= most else "cpu"
    return Comparison(recipes, single, device, shrunk)


def _with_layout(path: Path, layout: Layout, stated: Sequence[str], single: Recipe) -> Recipe:
    """Return the recipe with ``layout``, and with the largest micro batch up to its own that this allows.

    A micro batch changes what memory a pass takes, not what a step computes.
    """
    training = single.training
    wanted = f"training.layout={json.dumps(layout.model_dump())}"
    for micro_batch in range(training.micro_batch, 1, -1):
        if training.batch_sequences % (micro_batch * layout.data) == 0:
            try:
                return load_recipe(path, [*stated, wanted, f"training.micro_batch={micro_batch}"])
            except RecipeError:
                continue
    return load_recipe(path, [*stated, wanted, "training.micro_batch=1"])


def _curve(recipe: Recipe, steps: int, device: str) -> "tuple[list[Measured], float]":
    """Return the curve of ``recipe`` on the ranks of its layout, new processes, and the seconds they took."""
    from torch.multiprocessing.spawn import start_processes

    from tokka.training.equality import Measured

    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    begun = time.monotonic()
    ranks = recipe.training.layout.ranks
    with tempfile.TemporaryDirectory() as folder:
        arguments = (ranks, recipe.model_dump_json(), steps, device, folder)
        start_processes(_measure, arguments, ranks, start_method="forkserver")
        curve = [Measured(*step) for step in read_json(Path(folder) / "curve.json")]
    return curve, time.monotonic() - begun


def _measure(rank: int, ranks: int, recipe: str, steps: int, device: str, folder: str) -> None:
    """Do one rank's part, in a process of its own; the first writes the curve to ``folder``."""
    import torch
    import torch.distributed as dist

    from tokka.training.equality import measure

    torch.set_num_threads(max(1, usable_cores() // ranks))
    if device == "cuda":
        torch.cuda.set_device(rank)
    if ranks > 1:
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        meeting = f"file://{folder}/store"
        dist.init_process_group(backend, meeting, rank=rank, world_size=ranks, timeout=_PATIENCE)
    curve = measure(Recipe.model_validate_json(recipe), steps, device)
    if rank == 0:
        write_json(Path(folder) / "curve.json", curve)
    if ranks > 1:
        dist.barrier()
        dist.destroy_process_group()
