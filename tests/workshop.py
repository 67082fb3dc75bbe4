"""What tests share beside fixtures: where things lie, and the command line at test size."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TOKKA = Path(sys.executable).with_name("tokka")

SMALL = (
    "training.tokens=64K",
    "training.schedule.warmup=8K",
    "training.checkpoints.revisions=16K",
    "training.sequence_length=128",
    "training.batch_tokens=2048",
    "training.micro_batch=8",
    "model.n_layers=2",
    "model.d_model=64",
    "model.vocab_size=1024",
    "tokenizer.train.vocab_size=1024",
    "tokenizer.train.sample_bytes=300K",
    "evaluation.heldout_bytes=8K",
)
"""The demo recipe made small enough for a test: seconds of training, four revisions."""


def tokka(
    *arguments: str | Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [TOKKA, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def small_run_command(out: Path, *more: str, without: tuple[str, ...] = ()) -> list[str]:
    """Return the arguments of ``tokka`` that run the small line into ``out``.

    Args:
        out: folder of the run.
        more: further overrides.
        without: beginnings of the keys whose usual override is left out.
    """
    usual = [statement for statement in SMALL if not statement.startswith(without)]
    overrides = [argument for statement in (*usual, *more) for argument in ("--set", statement)]
    return ["run", str(REPOSITORY / "recipes" / "demo.yaml"), "--out", str(out), *overrides]
