"""A line of real stages up to training that takes seconds, and may be killed and edited on the way."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tokka.data.sampler import Sampler
from tokka.pipeline.run import run_recipe
from tokka.recipe.load import load_recipe
from tokka.recipe.recipe import Recipe

BATCH = 8 * 32
SHARES = {"finnish": {"percent": 70}, "english": {"rest": True}}
WORDS = {"finnish": "poro juoksi tunturin yli", "english": "the reindeer ran", "code": "def run(): pass"}


def recipe(mixture: Any = SHARES, changes: Any = (), **more: Any) -> Recipe:
    mixed = [*mixture, *(name for change in changes for name in change["mixture"])]
    return Recipe.model_validate(
        {
            "name": "small",
            "sources": {
                name: {"path": f"{name}.jsonl", "language": name[:2]} for name in dict.fromkeys(mixed)
            },
            "mixture": mixture,
            "mixture_changes": list(changes),
            "tokenizer": {"train": {"vocab_size": 300, "sample_bytes": "20K"}},
            "model": {
                "architecture": "llama",
                "n_layers": 1,
                "n_heads": 2,
                "n_kv_heads": 1,
                "d_model": 16,
                "d_ffn": 32,
                "vocab_size": 320,
            },
            "training": {
                "tokens": 20 * BATCH,
                "sequence_length": 32,
                "batch_tokens": BATCH,
                "micro_batch": 8,
                "optimizer": {"lr": 1e-3},
                "precision": "fp32",
                "checkpoints": {"every": 2 * BATCH, "revisions": 10 * BATCH},
            }
            | more,
            "evaluation": {"heldout": 0},
            "release": {"repo": "test/small"},
        }
    )


@dataclass
class Place:
    """A folder with texts, and the run in it."""

    root: Path
    patch: pytest.MonkeyPatch

    @property
    def folder(self) -> Path:
        return self.root / "run"

    def run(self, of: Recipe, *, stop_after: int | None = None) -> None:
        """Train, and die after so many steps."""
        if stop_after is None:
            run_recipe(of, root=self.root, folder=self.folder, to="training")
            return
        draw = Sampler.next_batch

        def draw_or_die(sampler: Sampler, sequences: int, *rows: Any) -> Any:
            if sum(sampler.tokens.values()) >= stop_after * BATCH:
                raise RuntimeError("killed")
            return draw(sampler, sequences, *rows)

        with self.patch.context() as patch:
            patch.setattr(Sampler, "next_batch", draw_or_die)
            with pytest.raises(RuntimeError, match="killed"):
                self.run(of)

    def followed(self) -> Recipe:
        return load_recipe(self.folder / "recipe.yaml")

    def given(self, until: int) -> dict[str, int]:
        """Sequences that each source gave in the first ``until`` steps, as training recorded it."""
        rows = [json.loads(line) for line in (self.folder / "training" / "metrics.jsonl").open()]
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        return {name: tokens // 32 for name, tokens in rows[until - 1]["sources"].items() if tokens}

    def mixture(self) -> Any:
        return json.loads((self.folder / "mixture" / "mixture.json").read_text())


def make_place(folder: Path, patch: pytest.MonkeyPatch) -> Place:
    """Write texts for the sources into ``folder``."""
    for name, words in WORDS.items():
        lines = (json.dumps({"text": f"{words} {number} " * (1 + number % 5)}) for number in range(200))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return Place(folder, patch)
