"""Counts and figures of a run, from its record."""

from pathlib import Path
from statistics import median
from typing import Any

from tokka.training.device import Numerics
from tokka.training.metrics import read_steps
from tokka.training.plan import Plan


def summarise(folder: Path, plan: Plan, numerics: Numerics, flops_per_token: int) -> dict[str, Any]:
    """Return the facts of the finished run in ``folder``, all its attempts together; see docs/training.md.

    Raises ValueError where the record is gone.
    """
    rows = list(read_steps(folder / "metrics.jsonl"))
    if not rows:
        raise ValueError(f"{folder / 'metrics.jsonl'} holds no step; remove {folder} to train again")
    losses = {row["step"]: row["loss"] for row in rows}
    seconds = sum(row["step_seconds"] for row in rows)
    rate = median(row["tokens_per_second"] for row in rows)
    sources = rows[-1]["sources"]
    return {
        "tokens": plan.tokens,
        "steps": plan.steps,
        "batch_tokens": plan.batch_tokens,
        "loss": rows[-1]["loss"],
        "skipped_steps": sum(row["skipped"] is not None for row in rows),
        "sources": {
            name: {"tokens": tokens, "percent": 100 * tokens / plan.tokens}
            for name, tokens in sources.items()
        },
        "seconds": round(seconds, 3),
        "tokens_per_second": rate,
        "data_percent": round(100 * sum(row["data_seconds"] for row in rows) / seconds, 3),
        "flops_per_token": flops_per_token,
        "mfu_percent": numerics.peak_flops and round(100 * rate * flops_per_token / numerics.peak_flops, 2),
        "peak_memory": max(row["peak_memory"] for row in rows),
        "machine": numerics.as_json(),
        "checkpoints": sorted(path.name for path in (folder / "checkpoints").glob("step-*")),
        "revisions": [
            {"name": name, "step": step, "tokens": step * plan.batch_tokens, "loss": losses.get(step)}
            for step, name in plan.revisions.items()
            if (folder / "revisions" / name).is_dir()
        ],
    }
