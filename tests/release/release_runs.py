"""Run folders for the tests of this room: real models, a real tokenizer, real manifests, tiny."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

import tokka
from tokka.evaluation.perplexity import Score
from tokka.models.hugging_face import SpecialTokens
from tokka.models.identity import Identity
from tokka.models.spec import spec_for
from tokka.parallel.weights import save_hf
from tokka.recipe.load import load_recipe
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import format_size
from tokka.release.record import RunRecord
from tokka.tokenizer.fertility import fertility
from tokka.tokenizer.load import load_tokenizer
from tokka.tokenizer.train import train_tokenizer
from tokka.training.facts import realised
from tokka.workspace.files import write_json, write_text
from tokka.workspace.manifest import Manifest, describe_outputs

DEMO = Path(tokka.__file__).parent / "demo" / "corpus"
BATCH, STEPS, REVISIONS = 2048, 96, 3
MIX = {"finnish": 50.0, "english": 37.5, "code": 12.5}
PROMPTS = ["Suomen talvi on", "def parse("]

SOURCES: dict[str, Any] = {
    "finnish": {"path": "fi.jsonl", "language": "fi", "notes": "Wikipedia and verse"},
    "english": {"hub": {"id": "HuggingFaceFW/fineweb-edu"}, "language": "en"},
    "code": {"path": "code", "language": "code", "notes": "Standard library"},
}
MODELS: dict[str, dict[str, Any]] = {
    "bloom": {"architecture": "bloom", "n_layers": 2, "n_heads": 3, "d_model": 48, "vocab_size": 384},
    "llama": {
        "architecture": "llama",
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_model": 32,
        "d_ffn": 64,
        "vocab_size": 384,
        "max_sequence_length": 256,
    },
}


def make_recipe(folder: Path, *, architecture: str = "bloom", **changes: Any) -> Recipe:
    """Write ``recipe.yaml`` as a run does, and return it; ``changes`` replace whole keys of its release."""
    content = {
        "name": "tiny",
        "sources": SOURCES,
        "mixture": {source: {"percent": percent} for source, percent in MIX.items()},
        "tokenizer": {"train": {"vocab_size": 384, "pattern": "bloom", "sample_bytes": "100K"}},
        "model": MODELS[architecture],
        "training": {
            "tokens": BATCH * STEPS,
            "sequence_length": 64,
            "batch_tokens": BATCH,
            "micro_batch": 16,
            "optimizer": {"lr": 1.5e-4},
            "schedule": {"warmup": 20_000, "min_lr": 2e-5},
            "checkpoints": {"revisions": BATCH * STEPS // REVISIONS},
        },
        "evaluation": {"prompts": PROMPTS},
        "release": {"repo": "herd/Tiny-1", "title": "Tiny 1", "summary": "A small model."},
    } | changes
    return save_recipe(folder, content)


def save_recipe(folder: Path, content: Mapping[str, Any]) -> Recipe:
    """Validate ``content`` as a recipe and write it the way a run does."""
    write_text(folder / "recipe.yaml", yaml.safe_dump(dict(content), sort_keys=False))
    recipe = load_recipe(folder / "recipe.yaml")
    write_text(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    return recipe


def make_run(folder: Path, *, until: str = "evaluation", shard_bytes: int = 10**9, **changes: Any) -> Recipe:
    """Make a run in ``folder`` whose stages up to ``until`` are finished; return its recipe."""
    recipe = make_recipe(folder, **changes)
    makers = {
        "corpus": _make_corpora,
        "tokenizer": _make_tokenizer,
        "tokens": _make_tokens,
        "mixture": _make_mixture,
        "training": lambda recipe, folder: _make_training(recipe, folder, shard_bytes),
        "evaluation": _make_evaluation,
    }
    for stage, make in makers.items():
        make(recipe, folder)
        if stage == until:
            break
    return recipe


def _finish(folder: Path, stage: str, facts: dict[str, Any], *patterns: str, **inputs: str) -> None:
    (folder / stage).mkdir(parents=True, exist_ok=True)
    outputs = describe_outputs(folder / stage, patterns)
    manifest = Manifest(stage, "0" * 64, inputs, {}, outputs, facts, seconds=1.5)
    manifest.write(folder / stage)


def _make_corpora(recipe: Recipe, folder: Path) -> None:
    for number, source in enumerate(recipe.sources, start=1):
        rejected = {"broken_json": 3, "empty": 1} if number == 1 else {}
        facts = {
            "files": 1,
            "records": 1000 * number + sum(rejected.values()),
            "documents": 1000 * number,
            "bytes": 400_000 * number,
            "train": {"documents": 990 * number, "bytes": 396_000 * number, "shards": 1},
            "heldout": {"documents": 10 * number, "bytes": 4000 * number, "shards": 1},
            "rejected": rejected,
            "examples": {},
        }
        _finish(folder, f"corpus/{source}", facts)


def _make_tokenizer(recipe: Recipe, folder: Path) -> None:
    assert recipe.tokenizer.train is not None
    texts = {"fi": DEMO / "finnish_a.jsonl", "en": DEMO / "english.jsonl"}
    documents = {
        language: [json.loads(line)["text"] for line in path.open()] for language, path in texts.items()
    }
    facts = train_tokenizer(recipe.tokenizer.train, documents, folder / "tokenizer")
    _finish(folder, "tokenizer", facts, "*.json")
    own = {recipe.name: load_tokenizer(folder / "tokenizer")}
    rows = fertility(own, {"finnish": ("fi", documents["fi"]), "english": ("en", documents["en"])})
    write_json(folder / "fertility" / "fertility.json", [asdict(row) for row in rows])
    _finish(folder, "fertility", {}, "*.json")


def _make_tokens(recipe: Recipe, folder: Path) -> None:
    for number, source in enumerate(recipe.sources, start=1):
        _finish(folder, f"tokens/{source}", {"tokens": 100_000 * number, "documents": 990 * number})


def _make_mixture(recipe: Recipe, folder: Path) -> None:
    from tokka.data.mixture import solve

    training = recipe.training
    sizes = {source: 100_000 * number for number, source in enumerate(recipe.sources, start=1)}
    mixture = solve(
        recipe.mixture,
        sizes,
        tokens=training.tokens,
        batch_tokens=training.batch_tokens,
        sequence_length=training.sequence_length,
        changes=recipe.mixture_changes,
    )
    _finish(folder, "mixture", mixture.as_json() | {"sizes": sizes})


def metrics_row(step: int, steps: int, budgets: Mapping[str, int]) -> dict[str, Any]:
    """Return a line of metrics.jsonl as training writes it."""
    done = step / steps
    return {
        "step": step,
        "tokens": step * BATCH,
        "loss": 2.5 + 3.5 * math.exp(-6 * done) + 0.1 * math.sin(step),
        "lr": 1.5e-4 * math.cos(done),
        "grad_norm": 1 + 2 * math.exp(-4 * done) + 0.2 * math.cos(3 * step),
        "skipped": None,
        "sources": {source: round(budget * done) for source, budget in budgets.items()},
        "epochs": {source: budget * done / 100_000 for source, budget in budgets.items()},
        "tokens_per_second": 20_000 + 500 * math.sin(step),
        "step_seconds": 0.1,
        "data_seconds": 0.0002,
        "peak_memory": 10**9,
    }


def _make_training(recipe: Recipe, folder: Path, shard_bytes: int) -> None:
    training = folder / "training"
    spec, every = spec_for(recipe.model), STEPS // REVISIONS
    revisions = []
    for number in range(1, REVISIONS + 1):
        model = spec.build(recipe.model)
        spec.initialise(model, recipe.model, seed=number)
        revision: dict[str, Any] = {
            "name": format_size(BATCH * every * number),
            "step": every * number,
            "loss": 3.0,
        }
        save_hf(
            dict(model.named_parameters()),
            recipe.model,
            training / "revisions" / str(revision["name"]),
            identity=Identity.new(recipe.model, SpecialTokens(bos=1, eos=2, pad=3), torch.float32),
            shard_bytes=shard_bytes,
        )
        revisions.append(revision | {"tokens": BATCH * every * number})
    budgets = {source: round(BATCH * STEPS * percent / 100) for source, percent in MIX.items()}
    rows = [metrics_row(step, STEPS, budgets) for step in range(1, STEPS + 1)]
    rows[10] |= {"loss": None, "grad_norm": None, "skipped": "the loss is nan"}
    write_text(training / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    facts = {
        "tokens": BATCH * STEPS,
        "steps": STEPS,
        "batch_tokens": BATCH,
        "loss": rows[-1]["loss"],
        "skipped_steps": 1,
        "sources": realised(rows),
        "seconds": 9.6,
        "tokens_per_second": 20_000.0,
        "data_percent": 0.2,
        "flops_per_token": 10**6,
        "mfu_percent": None,
        "peak_memory": 10**9,
        "machine": {"device": "cpu", "name": "x86_64 AVX512", "threads": 2, "dtype": "float32"},
        "checkpoints": ["step-00000096"],
        "revisions": [each | {"sources": realised(rows[: each["step"]])} for each in revisions],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    _finish(folder, "training", facts, "revisions/**/*", "metrics.jsonl")


def _make_evaluation(recipe: Recipe, folder: Path) -> None:
    languages = {name: source.language for name, source in recipe.sources.items()}
    for number, revision in enumerate(RunRecord.read(folder).revisions, start=1):
        sources = {
            name: Score(
                bits=40_000 / number + 1000 * place, documents=10, bytes=10_000, characters=9_500, tokens=4000
            )
            for place, name in enumerate(languages)
        }
        result = {
            "tokens": BATCH * STEPS // REVISIONS * number,
            "name": revision,
            "settings": {},
            "parameters": 1000,
            "sources": {name: score.as_json() for name, score in sources.items()},
            "languages": {languages[name]: score.as_json() for name, score in sources.items()},
            "tasks": [
                {
                    "name": "arc",
                    "results": {
                        "arc": {
                            "metrics": {
                                "acc": {"value": 0.2 + number / 50, "stderr": 0.01, "higher_is_better": True}
                            },
                            "shots": 25,
                            "version": 1,
                            "documents": 100,
                        }
                    },
                },
                {"name": "gone", "error": "no task or group has this name"},
            ],
            "samples": [
                {"prompt": prompt, "greedy": f" kylmä {number}", "sampled": f" luminen {number}"}
                for prompt in recipe.evaluation.prompts
            ],
            "seconds": 1.0,
        }
        write_json(folder / "evaluation" / f"{revision}.json", result)
    _finish(folder, "evaluation", {}, "*.json")
