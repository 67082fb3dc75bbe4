"""A small training job on documents in memory that are easy to learn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokka.data.order import Part
from tokka.data.sampler import Sampler
from tokka.models.hugging_face import SpecialTokens
from tokka.models.identity import Identity
from tokka.recipe.recipe import Recipe
from tokka.training.run import Job, run

BUDGETS = {"finnish": 1536, "english": 512}
VOCABULARY = 96


class Documents:
    """Documents in memory: each counts upwards from its own number, so the next token is easy to learn."""

    def __init__(self, seed: int, count: int = 50) -> None:
        rng = np.random.default_rng(seed)
        self._documents = [
            (np.arange(size) + rng.integers(VOCABULARY)) % VOCABULARY for size in rng.integers(5, 90, count)
        ]

    @property
    def tokens(self) -> int:
        return sum(map(len, self._documents))

    def __len__(self) -> int:
        return len(self._documents)

    def sizes(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([len(self._documents[number]) for number in documents], dtype=np.int64)

    def read(self, document: int, start: int, stop: int) -> NDArray[np.integer]:
        return self._documents[document][start:stop]


def make_recipe(*, model: Mapping[str, Any] | None = None, **training: Any) -> Recipe:
    """Return a recipe of a tiny model: 16 steps of 4 x 32 tokens unless ``training`` says other."""
    settings: dict[str, Any] = {
        "tokens": sum(BUDGETS.values()),
        "sequence_length": 32,
        "batch_tokens": 128,
        "micro_batch": 2,
        "optimizer": {"lr": 1e-2},
        "schedule": {"warmup": 256, "min_lr": 1e-3},
        "checkpoints": {"every": 256, "revisions": 1024},
    }
    shape = {
        "architecture": "llama",
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_model": 32,
        "d_ffn": 64,
        "vocab_size": VOCABULARY,
        "tied_embeddings": True,
    }
    return Recipe.model_validate(
        {
            "name": "small",
            "sources": {name: {"path": f"{name}.txt", "language": name[:2]} for name in BUDGETS},
            "mixture": {"finnish": {"percent": 75}, "english": {"rest": True}},
            "tokenizer": {"load": "none"},
            "model": dict(model) if model else shape,
            "training": settings | training,
            "release": {"repo": "test/small"},
        }
    )


def make_job(folder: Path, recipe: Recipe | None = None, budgets: Mapping[str, int] = BUDGETS) -> Job:
    """Return a job that writes into ``folder``."""
    recipe = recipe or make_recipe()
    stores = {"finnish": Documents(1), "english": Documents(2)}
    length = recipe.training.sequence_length
    dtype = torch.bfloat16 if recipe.training.precision == "bf16" else torch.float32
    return Job(
        recipe=recipe,
        tokens=sum(budgets.values()),
        sampler=Sampler(stores, [Part.whole(budgets)], seed=recipe.seed, sequence_length=length),
        identity=Identity.new(recipe.model, SpecialTokens(eos=2), dtype),
        base=None,
        sizes={name: store.tokens for name, store in stores.items()},
        locate=lambda piece: {
            "source": piece.source,
            "file": "memory",
            "record": piece.document + 1,
            "epoch": piece.epoch + 1,
            "tokens": [piece.start, piece.stop],
            "text": "",
        },
        folder=folder,
    )


def run_a_longer_job(folder: Path) -> None:
    """Run 64 steps with a checkpoint every fourth; a function of a module, so that a new process finds it."""
    recipe = make_recipe(tokens=8192, checkpoints={"every": 512, "revisions": 2048})
    run(make_job(folder, recipe, {"finnish": 6144, "english": 2048}))


CURVE = ("step", "tokens", "loss", "lr", "grad_norm", "skipped", "sources")
"""What of a line in metrics.jsonl must not depend on time and place."""


def curve(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in CURVE} for row in rows]


def assert_same_result(folder: Path, expected: Path) -> None:
    """Final state, revisions and curve are the same, bit for bit."""
    assert curve(folder) == curve(expected)
    newest = [sorted((each / "checkpoints").glob("step-*"))[-1] for each in (folder, expected)]
    parts = sorted(path.name for path in newest[1].iterdir())
    assert sorted(path.name for path in newest[0].iterdir()) == parts
    for part in parts:
        assert (newest[0] / part).read_bytes() == (newest[1] / part).read_bytes(), part
    published = sorted(path.relative_to(expected) for path in expected.glob("revisions/*/*"))
    assert sorted(path.relative_to(folder) for path in folder.glob("revisions/*/*")) == published
    for path in published:
        assert (folder / path).read_bytes() == (expected / path).read_bytes(), path
