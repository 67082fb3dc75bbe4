"""What PyTorch's own allocator counts while ranks do the step that a rehearsal only pretends to do."""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from tokka.models.spec import Config
from tokka.recipe.training import Training
from tokka.training.rehearsal.role import do_step, make_parallel, prepared


def measured_peak(config: Config, training: Training) -> int:
    """Return the most bytes that this rank's allocator had given out during a step."""
    warnings.simplefilter("ignore")
    parallel = make_parallel(config, training)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            optimizer = prepared(parallel, training)
            for parameter in parallel.parameters.values():
                torch.nn.init.normal_(parameter.detach(), std=0.02)
            do_step(parallel, optimizer, training)
        record.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return _peak([event for event in events if "ts" in event])


def _peak(events: list[dict[str, Any]]) -> int:
    """Return the most bytes held, but for those that gloo copies inside a collective, as NCCL does not."""
    inside = [(event["ts"], event["ts"] + event["dur"]) for event in events if _is_collective(event)]
    held: dict[int, int] = {}
    most = 0
    for event in sorted((event for event in events if event["name"] == "[memory]"), key=lambda e: e["ts"]):
        address, size = event["args"]["Addr"], event["args"]["Bytes"]
        if size < 0:
            held.pop(address, None)
        elif not any(begin <= event["ts"] <= end for begin, end in inside):
            held[address] = size
            most = max(most, sum(held.values()))
    return most


def _is_collective(event: dict[str, Any]) -> bool:
    return event["name"].startswith("c10d::") and "dur" in event
