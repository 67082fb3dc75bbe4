"""How long a save stalls training, against the same save waited for.

    python benchmarks/checkpoint.py --folder runs

Saves the state of a model (weights and two moments, fp32) in turns: once waited for until it is a checkpoint,
once written while steps of arithmetic go on, of which the first must wait at its end, where the optimizer
would change the weights, until they are copied. Prints the time of both, their ratio, and what a step takes
while a checkpoint is written against what it takes while none is.
"""

import sys

sys.path.pop(0)  # the folder of this file, whose tokenize.py hides the standard library's

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tokka.training.checkpoint.saved import load_newest
from tokka.training.checkpoint.saver import Saver
from tokka.training.checkpoint.snapshot import Snapshot
from tokka.workspace.machine import describe

WIDTH = 2048
NEEDED = 0.05
"""The largest part of a waited-for save for which training may stand still."""


def main() -> int:
    options = _options()
    snapshot = _snapshot(options.megabytes)
    waited, stalled, busy, quiet = [], [], [], []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        with closing(Saver(Path(folder), keep=1)) as saver:
            _save(saver, snapshot)  # the first one also plans, and touches the buffers for the first time
            for _ in range(options.rounds):
                quiet.append(_timed(_step))
                waited.append(_timed(lambda: _save(saver, snapshot)))
                stalled.append(_timed(lambda: saver.save(snapshot)))
                busy.append(_timed(_step))
                stalled[-1] += _timed(saver.wait_for_copy)
                saver.wait()
        loaded = _timed(lambda: _load(Path(folder), snapshot))
        free = shutil.disk_usage(folder).free
    ratio = statistics.median(stalled) / statistics.median(waited)
    size = sum(tensor.nbytes for tensor in snapshot.tensors.values())
    table = Table(title=f"{size / 1e6:.0f} MB, {options.rounds} saves of each kind; seconds")
    for column in ("", "median", "least", "most"):
        table.add_column(column)
    rows = {
        "save, waited for": waited,
        "save, training stands still": stalled,
        "step, nothing written": quiet,
        "step, while a save is written": busy,
        "load, every byte verified": [loaded],
    }
    for name, seconds in rows.items():
        table.add_row(name, *(f"{f(seconds):.4f}" for f in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    console.print(f"training stands still for {ratio:.1%} of a save; at most {NEEDED:.0%} is wanted")
    console.print(f"{describe().processor}, {describe().cores} cores, {free / 1e9:.0f} GB free")
    return int(ratio > NEEDED)


def _snapshot(megabytes: int) -> Snapshot:
    """Return about so many million bytes of weights and moments, in matrices of 16.8 MB."""
    count = max(1, round(megabytes * 1e6 / (3 * 4 * WIDTH**2)))
    model = {f"blocks.{number}.weight": torch.randn(WIDTH, WIDTH) for number in range(count)}
    moments = {
        f"{moment}.{name}": torch.rand_like(w)
        for name, w in model.items()
        for moment in ("exp_avg", "exp_avg_sq")
    }
    return Snapshot(1, model, moments, {}, {})


def _timed(work: Callable[[], None]) -> float:
    """Return the seconds that ``work`` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _save(saver: Saver, snapshot: Snapshot) -> None:
    saver.save(snapshot)
    saver.wait()


def _load(folder: Path, snapshot: Snapshot) -> None:
    saved = load_newest(folder)
    assert saved is not None
    saved.load({name: torch.empty_like(tensor) for name, tensor in snapshot.tensors.items()})


def _step(products: int = 10) -> None:
    """Do about as much arithmetic as the forward and backward pass of a short step."""
    left, right = torch.randn(WIDTH, WIDTH), torch.randn(WIDTH, WIDTH)
    for _ in range(products):
        left @ right


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=600, help="of the state; default: 600")
    parser.add_argument("--rounds", type=int, default=5, help="saves of each kind; default: 5")
    parser.add_argument(
        "--folder", type=Path, default=None, help="on the disk to measure; default: the system's"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
