"""Two tiny recipes for tests: a base of English, and the same model continued with Finnish."""

from pathlib import Path
from typing import Any

import yaml

_DEMO = {"english": ("en", "english"), "finnish": ("fi", "finnish_a")}


def tiny_recipe(name: str, *sources: str, **changes: Any) -> dict[str, Any]:
    """Return a recipe of a model of 100K parameters that trains in a second; ``changes`` replace sections."""
    return {
        "name": name,
        "sources": {
            source: {"path": f"{{demo}}/{_DEMO[source][1]}.jsonl", "language": _DEMO[source][0]}
            for source in sources
        },
        "mixture": {source: {"percent": 100 / len(sources)} for source in sources},
        "tokenizer": {"train": {"vocab_size": 512, "sample_bytes": "100K"}},
        "model": {
            "architecture": "llama",
            "n_layers": 2,
            "n_heads": 2,
            "n_kv_heads": 1,
            "d_model": 64,
            "d_ffn": 128,
            "vocab_size": 512,
            "max_sequence_length": 64,
        },
        "training": {
            "tokens": 32_768,
            "sequence_length": 64,
            "batch_tokens": 1024,
            "micro_batch": 16,
            "optimizer": {"lr": 5e-3},
            "schedule": {"warmup": 4096, "min_lr": 1e-4},
            "checkpoints": {"revisions": 16_384},
            "precision": "fp32",
            "guard": {"base": "warn"},
        },
        "evaluation": {"heldout": 0.1, "heldout_bytes": "8K", "prompts": ["Poro"]},
        "release": {"repo": f"herd/{name}", "title": name.title()},
    } | changes


def continued_recipe(base: str = "base.yaml", **changes: Any) -> dict[str, Any]:
    """Return the recipe that continues ``base`` with Finnish and replayed English."""
    recipe = tiny_recipe("continued", "finnish", "english")
    recipe["mixture"]["english"]["replay"] = True
    recipe["tokenizer"] = {"load": base}
    recipe["model"]["base"] = base
    return recipe | changes


def write_recipes(folder: Path, **recipes: dict[str, Any]) -> None:
    """Write each recipe as ``<name>.yaml`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in recipes.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
