"""The small job on several ranks; functions of a module, so that other processes find them."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch.distributed as dist
from small_job import make_job, make_recipe

from tokka.training.faults import VARIABLE
from tokka.training.run import run

LAYOUTS: dict[str, dict[str, Any]] = {
    "one": {},
    "dp2": {"data": 2},
    "tp2": {"tensor": 2},
    "pp2": {"pipeline": 2},
    "dp2 tp2": {"data": 2, "tensor": 2},
    "pp2 dp2": {"pipeline": 2, "data": 2, "schedule": "1f1b"},
}


def recipe_of(layout: str, **more: Any) -> Any:
    """Return the small job's recipe in fp32, so that layouts differ by rounding in the last bits only."""
    settings: dict[str, Any] = {"layout": LAYOUTS[layout], "precision": "fp32", "micro_batch": 1}
    return make_recipe(**settings | more)


def train(
    folder: Path, layout: str, faults: str = "", more: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Train as one rank of ``layout``, in the process group that is there; ``more`` is of the recipe."""
    os.environ[VARIABLE] = faults
    recipe = recipe_of(layout, **more)
    english = recipe.training.tokens // 4
    return run(make_job(folder, recipe, {"finnish": 3 * english, "english": english}))


def outcome(
    folder: Path, layout: str, faults: str = "", more: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """Train as :func:`train` does; return the kind of error it ends with and its message, or nothing."""
    try:
        train(folder, layout, faults, more)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def train_and_be_killed(
    folder: Path, layout: str, victim: int, seconds: float, more: Mapping[str, Any]
) -> None:
    """Train; ``seconds`` after a checkpoint is there, rank ``victim`` is killed."""
    if dist.get_rank() == victim:
        threading.Thread(target=_die, args=(folder / "checkpoints", seconds), daemon=True).start()
    train(folder, layout, "", more)


def _die(checkpoints: Path, seconds: float) -> None:
    while not list(checkpoints.glob("step-*")):
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def train_until_ended(folder: Path, layout: str, faults: str, minutes: float) -> None:
    """Train where a rank hangs; the reason that ends this rank goes to ``error-RANK.json``."""
    folder.mkdir(exist_ok=True)
    os.environ["TORCHELASTIC_ERROR_FILE"] = str(folder / f"error-{dist.get_rank()}.json")
    train(folder, layout, faults, {"limits": {"hang_minutes": minutes}})
