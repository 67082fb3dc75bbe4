"""The small job on several ranks; functions of a module, so that other processes find them."""

import os
from pathlib import Path
from typing import Any

from small_job import make_job, make_recipe

from tokka.training.faults import VARIABLE
from tokka.training.run import run

LAYOUTS: dict[str, dict[str, Any]] = {
    "one": {},
    "dp2": {"data": 2},
    "tp2": {"tensor": 2},
    "dp2 tp2": {"data": 2, "tensor": 2},
    "pp2 dp2": {"pipeline": 2, "data": 2, "schedule": "1f1b"},
}


def recipe_of(layout: str, **more: Any) -> Any:
    """Return the small job's recipe in fp32, so that layouts differ by rounding in the last bits only."""
    settings: dict[str, Any] = {"layout": LAYOUTS[layout], "precision": "fp32", "micro_batch": 1}
    return make_recipe(**settings | more)


def train(folder: Path, layout: str, faults: str = "", **more: Any) -> dict[str, Any]:
    """Train as one rank of ``layout``, in the process group that is there."""
    os.environ[VARIABLE] = faults
    return run(make_job(folder, recipe_of(layout, **more)))


def outcome(folder: Path, layout: str, faults: str = "", more: dict[str, Any] | None = None) -> str:
    """Train as :func:`train` does; return the kind of error it ends with and its message, or nothing."""
    try:
        train(folder, layout, faults, **(more or {}))
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return ""
