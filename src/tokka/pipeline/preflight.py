"""What only this machine can tell of a recipe, before anything starts: whether all that it needs is here."""

import re
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from tokka.pipeline.base import base_recipe, check_base_recipe
from tokka.pipeline.preflight_sources import check_source
from tokka.recipe.load import Problem
from tokka.recipe.model import Bloom, Llama, is_recipe
from tokka.recipe.recipe import Recipe
from tokka.workspace.hub import Hub, local_folder
from tokka.workspace.machine import describe, disk_free, format_bytes, install_hint, missing_modules

_CPU_RANKS = 8
"""Ranks that are let share a CPU of fewer cores: enough to try any kind of layout."""


def check(
    recipe: Recipe, root: Path, *, folder: Path = Path(), stages: Collection[str] | None = None
) -> list[Problem]:
    """Return all that keeps ``recipe`` from running on this machine, each with a remedy.

    Args:
        recipe: a valid recipe.
        root: where its relative paths begin.
        folder: where results are to go.
        stages: names of the stages to be run; None for all. What only other stages need is not asked for, so
            a corpus can be made where its model could not be trained, and trained on where its texts are not.
    """
    wanted = _all_stages(recipe) if stages is None else stages
    if not wanted:
        return []
    hub = Hub()
    problems: list[Problem] = []
    for name, source in recipe.sources.items():
        if f"corpus/{name}" in wanted:
            problems += check_source(f"sources.{name}", source, root, hub)
    if "tokenizer" in wanted:
        problems += _tokenizer(recipe, root, hub)
    if any(f"tokens/{name}" in wanted for name in recipe.sources) and "mixture" in wanted:
        problems += _mixture(recipe)
    if "training" in wanted or "base" in wanted:
        problems += _base(recipe, root, hub)
    if "training" in wanted:
        problems += [*_layout(recipe), *_memory(recipe)]
    if "evaluation" in wanted or "benchmarks" in wanted:
        problems += _tasks(recipe, root)
    return [*problems, *_disk(recipe, folder, wanted)]


def _all_stages(recipe: Recipe) -> list[str]:
    return [
        *(f"{group}/{name}" for group in ("corpus", "tokens") for name in recipe.sources),
        *("tokenizer", "mixture", "training", "evaluation"),
    ]


def _tokenizer(recipe: Recipe, root: Path, hub: Hub) -> Iterator[Problem]:
    """Find a tokenizer that cannot be had, or whose ids do not fit the model or its base."""
    from tokka.tokenizer.load import load_tokenizer

    name, revision, base = recipe.tokenizer.load, recipe.tokenizer.revision, recipe.model.base
    if name is None:
        if base is not None:
            yield Problem(
                "tokenizer.train",
                f"the weights of model.base know the ids of their own tokenizer, no others; "
                f"write `tokenizer: {{load: {base}}}`",
            )
        return
    if is_recipe(name):
        made = None if check_base_recipe(recipe, root) else base_recipe(recipe, root)
        if made is not None and made.recipe.tokenizer.train is not None:
            yield from _rows(recipe, made.recipe.tokenizer.train.vocab_size)
        return
    found = local_folder(name, "tokenizer.json", root, revision)
    if found is None:
        why_not = hub.why_not("model", name, revision)
        if why_not:
            yield Problem("tokenizer.load", why_not)
        return
    try:
        tokenizer = load_tokenizer(str(found))
    except (OSError, ValueError) as error:
        yield Problem("tokenizer.load", str(error))
        return
    yield from _rows(recipe, tokenizer.size)
    theirs = None if base is None else local_folder(base, "tokenizer.json", root)
    if theirs is not None and (theirs / "tokenizer.json").is_file():
        yield from _moved_ids(found / "tokenizer.json", theirs / "tokenizer.json", str(base))


def _rows(recipe: Recipe, size: int) -> Iterator[Problem]:
    """Find fewer rows of the embedding than a tokenizer of ``size`` entries and what it adds need."""
    extend = recipe.tokenizer.extend
    needed, multiple = size + (extend.added if extend else 0), extend.multiple if extend else 128
    if needed > recipe.model.vocab_size:
        more = f" and {extend.added} are added" if extend else ""
        yield Problem(
            "model.vocab_size",
            f"{recipe.model.vocab_size}, but the tokenizer {recipe.tokenizer.load} has {size} entries{more}; "
            f"make it at least {needed}, best {-(-needed // multiple) * multiple}, a multiple of {multiple}",
        )


def _moved_ids(stated: Path, theirs: Path, base: str) -> Iterator[Problem]:
    """Find a token with another id than the base model learned it by; more tokens are no harm."""
    from tokenizers import Tokenizer

    if stated.samefile(theirs):
        return
    ids = Tokenizer.from_file(str(stated)).get_vocab()
    for token, known in Tokenizer.from_file(str(theirs)).get_vocab().items():
        if ids.get(token) != known:
            yield Problem(
                "tokenizer.load",
                f"gives {token!r} the id {ids.get(token)}, and the weights of model.base know it as {known}; "
                f"write `tokenizer: {{load: {base}}}`",
            )
            return


def _mixture(recipe: Recipe) -> Iterator[Problem]:
    """Find shares without a solution, unless they count epochs of a source that declares no size.

    Where they have one, find revisions and schedules that do not fit into the budget.
    """
    from tokka.data.mixture_table import counted_in_epochs, planned_mixture
    from tokka.data.shares import MixtureError
    from tokka.training.plan import Plan

    if not all(recipe.sources[name].size for name in counted_in_epochs(recipe)):
        return
    try:
        tokens = planned_mixture(recipe).tokens
    except MixtureError as error:
        yield Problem("mixture", str(error))
        return
    try:
        Plan.of(recipe.training, tokens)
    except ValueError as error:
        key, _, message = str(error).partition(": ")
        yield Problem(key, message)


def _base(recipe: Recipe, root: Path, hub: Hub) -> Iterator[Problem]:
    """Find a base model that cannot be had, or whose shape is not the recipe's."""
    from tokka.models.spec import config_from_hf
    from tokka.workspace.files import read_json

    base = recipe.model.base
    if base is None:
        return
    if is_recipe(base):
        problems = check_base_recipe(recipe, root)
        made = None if problems else base_recipe(recipe, root)
        yield from problems if made is None else _differences(recipe, made.recipe.model)
        return
    found = local_folder(base, "config.json", root)
    if found is None:
        why_not = hub.why_not("model", base)
        if why_not:
            yield Problem("model.base", why_not)
        return
    path = found / "config.json"
    try:
        config = config_from_hf(read_json(path))
    except (OSError, ValueError) as error:
        yield Problem("model.base", f"{path}: {str(error).removeprefix('config.json: ')}")
        return
    yield from _differences(recipe, config)


def _differences(recipe: Recipe, base: Llama | Bloom) -> Iterator[Problem]:
    """Find keys of the ``model`` section that disagree with the weights it continues from."""
    stated = recipe.model
    if stated.architecture != base.architecture:
        yield Problem("model.architecture", f"{stated.architecture}, but the base is {base.architecture}")
        return
    wanted, there = stated.model_dump(), base.model_dump()
    # The base brings its own weights, and may be continued on shorter sequences than it could read.
    for key in (key for key in wanted if key not in ("architecture", "base", "init_std")):
        shorter = key == "max_sequence_length" and wanted[key] <= there[key]
        extended = key == "vocab_size" and recipe.tokenizer.extend and wanted[key] >= there[key]
        if wanted[key] != there[key] and not shorter and not extended:
            message = f"{_yaml(wanted[key])}, but the base has {_yaml(there[key])}; write that"
            yield Problem(f"model.{key}", message)


def _layout(recipe: Recipe) -> Iterator[Problem]:
    """Find a layout of more ranks than this machine has room for: one a GPU, or a few on its CPU."""
    layout = recipe.training.layout
    if layout.ranks == 1:
        return
    machine = describe(accelerators=True)
    room = len(machine.accelerators or ()) or max(machine.cores, _CPU_RANKS)
    if layout.ranks > room:
        larger = [axis for axis in ("data", "tensor", "pipeline", "context") if getattr(layout, axis) > 1]
        remedy = " ".join(f"--set training.layout.{axis}=1" for axis in larger)
        place = f"{room} GPUs" if machine.accelerators else f"{machine.cores} cores, enough for {room}"
        yield Problem(
            "training.layout",
            f"asks for {layout.ranks:,} ranks, and this machine has {place}; `tokka launch` runs it on many "
            f"machines, and here it runs with: {remedy}",
        )


def _memory(recipe: Recipe) -> Iterator[Problem]:
    """Find a model that cannot fit the memory, even with nothing else in it."""
    from tokka.pipeline.needs import TRAINING_BYTES, needs_of

    needs, machine = needs_of(recipe), describe(accelerators=True)
    device = machine.accelerators[0] if machine.accelerators else None
    ranks = recipe.training.layout.ranks
    memory = device.memory * ranks if device else machine.memory
    owner = f"{ranks} x {device.name}" if device else "this machine"
    if needs.memory > memory:
        yield Problem(
            "model",
            f"{needs.parameters:,} parameters need {format_bytes(needs.memory)}, {TRAINING_BYTES} bytes each "
            f"(weight, gradient, two moments), and {owner} has {format_bytes(memory)}; take a machine with "
            f"more, or make n_layers and d_model smaller",
        )


def _disk(recipe: Recipe, folder: Path, stages: Collection[str]) -> Iterator[Problem]:
    """Find a disk that cannot hold tokens and checkpoints, even with nothing else."""
    from tokka.pipeline.needs import needs_of

    needed, free = needs_of(recipe).disk(stages), disk_free(folder)
    if needed > free:
        yield Problem(
            "",
            f"tokens, revisions and checkpoints need {format_bytes(needed)} of disk, and {folder.absolute()} "
            f"has {format_bytes(free)} free; choose another place with --out, or publish fewer revisions",
        )


def _tasks(recipe: Recipe, root: Path) -> Iterator[Problem]:
    """Find benchmarks that are not installed or that nobody knows."""
    tasks = recipe.evaluation.tasks
    missing = missing_modules("eval") if tasks else ()
    if missing:
        yield Problem("evaluation.tasks", f"needs {install_hint(missing, 'eval')}")
        return
    for index, task in enumerate(tasks):
        key = f"evaluation.tasks.{index}"
        folder = None if task.path is None else root / task.path
        if folder is not None and not folder.is_dir():
            yield Problem(f"{key}.path", f"there is no folder {folder}; paths begin at the recipe's folder")
        elif not _is_task(task.name, folder):
            place = folder or "lm-evaluation-harness; `lm_eval ls tasks` lists them"
            yield Problem(f"{key}.name", f"no task or group is called {task.name!r} in {place}")


def _is_task(name: str, folder: Path | None) -> bool:
    """Tell whether a task has this name; the harness itself, which reads 14,000 files, is asked last."""
    stated = re.compile(rf"^(task|group):\s*[\"']?{re.escape(name)}[\"']?\s*$", re.MULTILINE)
    harness = find_spec("lm_eval")
    shipped = Path(harness.origin).parent / "tasks" if harness and harness.origin else Path()
    files = (folder or shipped).rglob("*.yaml")
    if any(stated.search(path.read_text(encoding="utf-8", errors="replace")) for path in files):
        return True
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=None if folder is None else str(folder), include_defaults=folder is None
    )
    return name in manager.task_index


def _yaml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(part)}" for key, part in value.items()) + "}"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()
