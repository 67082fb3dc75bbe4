"""Counts and figures of a run, from its record."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tokka.training.device import Numerics
from tokka.training.metrics import read_steps
from tokka.training.plan import Plan
from tokka.workspace.files import read_json

INITIAL = "initial.json"
"""Of a base that is continued: the loss before the first step."""


def summarise(folder: Path, plan: Plan, numerics: Numerics, flops_per_token: int) -> dict[str, Any]:
    """Return the facts of the finished run in ``folder``, all its attempts together; see docs/training.md.

    Raises ValueError where the record is gone.
    """
    rows = list(read_steps(folder / "metrics.jsonl"))
    if not rows:
        raise ValueError(f"{folder / 'metrics.jsonl'} holds no step; remove {folder} to train again")
    seconds = sum(row["step_seconds"] for row in rows)
    rate = median(row["tokens_per_second"] for row in rows)
    return {
        "tokens": plan.tokens,
        "steps": plan.steps,
        "batch_tokens": plan.batch_tokens,
        "loss": rows[-1]["loss"],
        "initial": read_json(folder / INITIAL) if (folder / INITIAL).is_file() else None,
        "skipped_steps": sum(row["skipped"] is not None for row in rows),
        "sources": realised(rows),
        "seconds": round(seconds, 3),
        "tokens_per_second": rate,
        "data_percent": round(100 * sum(row["data_seconds"] for row in rows) / seconds, 3),
        "flops_per_token": flops_per_token,
        "mfu_percent": numerics.peak_flops and round(100 * rate * flops_per_token / numerics.peak_flops, 2),
        "peak_memory": max(row["peak_memory"] for row in rows),
        "machine": numerics.as_json(),
        "checkpoints": sorted(path.name for path in (folder / "checkpoints").glob("step-*")),
        "revisions": [
            {"name": name, "step": step, "tokens": step * plan.batch_tokens, **_at(step, rows)}
            for step, name in plan.revisions.items()
            if (folder / "revisions" / name).is_dir()
        ],
    }


def _at(step: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the loss of a step, and what the sources gave until then; None and nothing without a record."""
    until = [row for row in rows if row["step"] <= step]
    known = bool(until) and until[-1]["step"] == step
    return {"loss": until[-1]["loss"] if known else None, "sources": realised(until) if known else {}}


def realised(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what each source gave in the steps of ``rows``, also how much in those that were skipped."""
    tokens, epochs = rows[-1]["sources"], rows[-1]["epochs"]
    skipped: Counter[str] = Counter()
    for before, row in pairwise(({"sources": {}}, *rows)):
        if row["skipped"] is not None:
            skipped.update({name: n - before["sources"].get(name, 0) for name, n in row["sources"].items()})
    return {
        name: {
            "tokens": given,
            "percent": 100 * given / sum(tokens.values()),
            "epochs": epochs[name],
            "skipped_tokens": skipped[name],
        }
        for name, given in tokens.items()
    }
