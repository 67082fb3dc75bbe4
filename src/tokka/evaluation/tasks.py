"""Tasks of lm-evaluation-harness: finding them, refusing what would run foreign code, running them.

A task that cannot be had or fails is reported by name and recorded; the others still run.
"""

import contextlib
import difflib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tokka.recipe.evaluation import Task
from tokka.workspace.files import digest_file, digest_json
from tokka.workspace.progress import say

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

FEWSHOT_SEED = 1234
"""Decides which examples a prompt shows; lm-evaluation-harness' own default."""


@dataclass(frozen=True)
class LoadedTask:
    """A task or group with its data, ready to run; or, in ``error``, why it is not."""

    task: Task
    loaded: Mapping[str, Any]
    error: str = ""


class RefusedError(ValueError):
    """A task would run code that nobody here has read."""


def require_harness() -> None:
    """Raise ImportError, naming the extra, where lm-evaluation-harness is not installed."""
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        raise ImportError(
            "tasks need lm-evaluation-harness, which is not installed: pip install 'tokka[eval]'"
        ) from None


def load_tasks(tasks: Sequence[Task], root: Path) -> list[LoadedTask]:
    """Load ``tasks`` and their data sets; one that fails has its reason in ``error``, which is printed too.

    Args:
        tasks: names, and where they are found.
        root: where relative task folders begin.

    Raises:
        ImportError: lm-evaluation-harness is not installed.
    """
    require_harness()
    return [_load(task, root) for task in tasks]


def digest_task_folders(tasks: Sequence[Task], root: Path) -> dict[str, str]:
    """Return the SHA-256 of all that the tasks' own folders hold, by folder as stated."""
    folders = {task.path: root / task.path for task in tasks if task.path}
    return {
        stated: digest_json(
            {
                path.relative_to(folder).as_posix(): digest_file(path)
                for path in folder.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            }
        )
        for stated, folder in folders.items()
    }


def run_task(loaded: LoadedTask, model: "LM") -> dict[str, Any]:
    """Run one task; return its figures as JSON, or ``{"error": reason}``.

    Returns:
        ``name``, ``language``, ``limit``, and in ``results`` for the task, or for each member of a group and
        the group itself: ``metrics`` (by name ``value``, ``stderr`` and ``higher_is_better``; a filter other
        than the default follows the name: ``exact_match,strict-match``), ``shots``, ``version`` and
        ``documents``.
    """
    from lm_eval.evaluator import evaluate

    about = {"name": loaded.task.name, "language": loaded.task.language, "limit": loaded.task.limit}
    if loaded.error:
        return about | {"error": loaded.error}
    _seed()
    try:
        for task in loaded.loaded["tasks"].values():
            _set_shots(task, loaded.task.shots)
        found = evaluate(model, loaded.loaded, limit=loaded.task.limit, log_samples=False)
    except Exception as error:  # foreign code: whatever it raises is this task's failure and no other's
        return about | {"error": _report(loaded.task, error)}
    rows = found["results"] | found.get("groups", {})
    return about | {"results": {name: _result(name, row, found) for name, row in rows.items()}}


def _load(task: Task, root: Path) -> LoadedTask:
    folder = (root / task.path).resolve() if task.path else None
    _seed()
    try:
        if folder is not None and not folder.is_dir():
            raise ValueError(f"there is no folder {task.path}")
        manager = _tasks_in(folder) if folder else _harness_tasks()
        if task.name not in manager.task_index:
            raise ValueError(f"no task or group has this name {_where(manager, task)}")
        _refuse_foreign_code(manager, task.name)
        # Data files of a task are named relative to its folder, as everything in a recipe is to the recipe.
        with contextlib.chdir(folder) if folder else contextlib.nullcontext():
            return LoadedTask(task, manager.load([task.name]))
    except Exception as error:  # a data set may fail in any way there is
        return LoadedTask(task, {}, _report(task, error))


def _tasks_in(folder: Path) -> "TaskManager":
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder), include_defaults=False)


@cache
def _harness_tasks() -> "TaskManager":
    """Index the tasks that come with the harness: fourteen thousand files, some seconds, once a process."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _where(manager: "TaskManager", task: Task) -> str:
    if task.path:
        return f"in {task.path}; there are {', '.join(manager.all_tasks) or 'no task files'}"
    close = difflib.get_close_matches(task.name, manager.all_tasks, n=1)
    return f"in lm-evaluation-harness{f'; did you mean {close[0]}?' if close else ''}"


def _refuse_foreign_code(manager: "TaskManager", name: str) -> None:
    """Raise RefusedError where a task runs generated code, or a metric that is fetched as code."""
    import lm_eval.api.metrics  # noqa: F401  (fills the registry)
    from lm_eval.api.registry import metric_registry

    for config in _configurations(manager, name):
        if config.get("unsafe_code"):
            raise RefusedError(f"{config.get('task', name)} runs code that the model wrote; tokka does not")
        for metric in config.get("metric_list") or []:
            known = metric["metric"] in metric_registry or "/" in str(metric["metric"])
            if metric.get("hf_evaluate") or not (known or config.get("process_results")):
                raise RefusedError(
                    f"the metric {metric['metric']} of {config.get('task', name)} would be fetched as code"
                )


def _configurations(manager: "TaskManager", member: str | Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of a task, or of a group and all its members, as the YAML files state them."""
    if isinstance(member, str):
        entry = manager.task_index.get(member)
        if entry is None:
            return
        config = entry.cfg or {"task": sorted(entry.tags)}
    else:
        config = member
        for name in (member.get("task"), member.get("group")):
            if isinstance(name, str):
                yield from _configurations(manager, name)
    yield config
    if isinstance(config.get("task"), list):
        for each in config["task"]:
            yield from _configurations(manager, each)


def _seed() -> None:
    """Seed what a task may draw from, to choose or to shuffle; the harness's own seeds."""
    random.seed(0)
    np.random.seed(1234)
    torch.manual_seed(1234)


def _set_shots(task: Any, shots: int | None) -> None:
    """Set the examples of the prompt; a task's own number yields even where it is zero."""
    if shots is not None:
        task.set_config(key="num_fewshot", value=shots)
    elif task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)


def _result(name: str, row: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {}
    for key, value in row.items():
        metric, comma, choice = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            metrics[key.removesuffix(",none")] = {
                "value": _number(value),
                "stderr": _number(row.get(f"{metric}_stderr,{choice}")),
                "higher_is_better": found["higher_is_better"].get(name, {}).get(metric),
            }
    return {
        "metrics": metrics,
        "shots": found["n-shot"].get(name),
        "version": found["versions"].get(name),
        "documents": found["n-samples"].get(name, {}).get("effective"),
    }


def _number(value: Any) -> float | None:
    """Return a finite number, which JSON can hold; the harness writes N/A for a standard error it lacks."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _report(task: Task, error: Exception) -> str:
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    say(f"task {task.name}: {reason}")
    return reason
