"""A checkpoint of a run as a Hugging Face folder, also while the run goes on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokka.models.spec import spec_for
from tokka.parallel.weights import save_hf
from tokka.recipe.recipe import Recipe
from tokka.tokenizer.load import load_tokenizer
from tokka.training.checkpoint.folder import saved
from tokka.training.checkpoint.saved import Saved, look_at
from tokka.training.checkpoint.snapshot import DamagedError
from tokka.training.continued import LookedAt
from tokka.training.identity import identity_of, why_untrained
from tokka.training.metrics import read_steps


class ExportError(ValueError):
    """A checkpoint that cannot be exported."""


def export(recipe: Recipe, run: Path, folder: Path, *, step: int | None = None) -> dict[str, Any]:
    """Write the model of a checkpoint to ``folder``, which is replaced as a whole or left as it was.

    Nothing in the run is changed or waited for. A tensor at a time is in memory, whatever the layout that
    wrote the checkpoint, and the checkpoint is compared with what was written first.

    Args:
        recipe: of the run.
        run: its folder.
        folder: gets weights, configuration and tokenizer.
        step: of the checkpoint; None for the newest.

    Returns:
        ``step``, ``parameters``, the ``loss`` of that step as the run recorded it, and ``warning`` (empty
        unless the model is untrained).

    Raises:
        ExportError: there is no such checkpoint, it is damaged, or the run removed it meanwhile.
        OSError: it cannot be written.
    """
    path = _checkpoint(run / "training" / "checkpoints", step)
    tokenizer = load_tokenizer(run / "tokenizer")
    base = LookedAt.read(run / "base").identity if recipe.model.base else None
    try:
        found = look_at(path)
        weights = _Weights(found, recipe)
        save_hf(
            weights,
            recipe.model,
            folder,
            identity=identity_of(recipe, tokenizer, base),
            beside=tokenizer.files,
        )
    except DamagedError as error:
        others = _steps(path.parent)
        raise ExportError(f"{path} is damaged ({error}); name another step of {others}") from error
    except OSError as error:
        if path.is_dir():
            raise
        raise ExportError(
            f"the run removed {path.name} while it was read; name a newer step, or have more of them kept "
            f"(training.checkpoints.keep, or milestones)"
        ) from error
    rows = read_steps(run / "training" / "metrics.jsonl")
    loss = next((row["loss"] for row in rows if row["step"] == found.step), None)
    return {
        "step": found.step,
        "parameters": spec_for(recipe.model).count_parameters(recipe.model),
        "loss": loss,
        "warning": why_untrained(loss, tokenizer.size),
    }


class _Weights(Mapping[str, Tensor]):
    """The weights in a checkpoint, each read when it is asked for."""

    def __init__(self, found: Saved, recipe: Recipe) -> None:
        self._found = found
        model = spec_for(recipe.model).build_meta(recipe.model)
        self._shapes = {name: parameter.shape for name, parameter in model.named_parameters()}

    def __getitem__(self, name: str) -> Tensor:
        tensor = torch.empty(self._shapes[name])
        self._found.load({name: tensor})
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _checkpoint(folder: Path, step: int | None) -> Path:
    """Return the folder of the checkpoint after ``step`` steps."""
    there = {_step_of(path): path for path in saved(folder)}
    if not there:
        raise ExportError(f"there is no checkpoint in {folder} yet; `tokka run` writes them as it trains")
    if step is None:
        return there[max(there)]
    if step not in there:
        raise ExportError(f"there is no checkpoint of step {step} in {folder}; there are {_steps(folder)}")
    return there[step]


def _steps(folder: Path) -> str:
    return ", ".join(str(_step_of(path)) for path in saved(folder))


def _step_of(path: Path) -> int:
    return int(path.name.split("-")[1])
