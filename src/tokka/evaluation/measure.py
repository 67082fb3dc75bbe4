"""Measuring one model: bits per byte, tasks and what it writes, with everything that decides the figures."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from tokka.evaluation.beginning import beginning_of
from tokka.evaluation.convention import stop_ids_of
from tokka.evaluation.likelihood import BATCH_TOKENS
from tokka.evaluation.perplexity import Text, by_language, score_texts
from tokka.evaluation.samples import SAMPLING, write_samples
from tokka.evaluation.tasks import LoadedTask, digest_task_folders, run_task
from tokka.models.model import LanguageModel
from tokka.models.spec import config_from_hf, spec_for
from tokka.models.weights import load_hf
from tokka.recipe.evaluation import Task
from tokka.tokenizer.load import LoadedTokenizer
from tokka.training.device import keep_freed_memory
from tokka.workspace.files import digest_file, digest_json, read_json
from tokka.workspace.machine import describe
from tokka.workspace.manifest import package_versions

MAX_SEQUENCE_LENGTH = 8192
"""Where nothing else is said, a model that could read more is given this many tokens at a time."""

Precision = Literal["bf16", "fp32"]
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Measures:
    """What is measured, the same for every model.

    Attributes:
        texts: by source.
        tasks: of lm-evaluation-harness.
        prompts: continued by the model.
        sequence_length: tokens that a model sees at a time; None for its own longest, at most
            :data:`MAX_SEQUENCE_LENGTH`.
        precision: of weights and matrix products, fp32 where the machine has no bf16; softmax and sums are
            wider.
        root: where relative folders of tasks begin.
    """

    texts: Mapping[str, Text] = field(default_factory=dict)
    tasks: Sequence[Task] = ()
    prompts: Sequence[str] = ()
    sequence_length: int | None = None
    precision: Precision = "bf16"
    root: Path = Path()


def settings_of(model: Path, tokenizer: LoadedTokenizer, measures: Measures) -> dict[str, Any]:
    """Return, as JSON, everything that decides the figures of the model in the folder ``model``."""
    config = config_from_hf(read_json(model / "config.json"))
    own_length = min(getattr(config, "max_sequence_length", MAX_SEQUENCE_LENGTH), MAX_SEQUENCE_LENGTH)
    length = measures.sequence_length or own_length
    return {
        "model": digest_json([digest_file(path) for path in sorted(model.glob("*.safetensors"))]),
        "config": config.model_dump(mode="json"),
        "tokenizer": tokenizer.digest,
        "first_token": beginning_of(tokenizer).token,
        "stop_tokens": sorted(stop_ids_of(tokenizer, model)),
        "sequence_length": length,
        "stride": max(1, length // 2),
        **_computer(measures.precision),
        "batch_tokens": BATCH_TOKENS,
        "texts": {
            source: {
                "language": text.language,
                "documents": len(text.documents),
                "bytes": sum(len(document.encode()) for document in text.documents),
                "sha256": digest_json(text.documents),
                "specials": sorted(text.specials),
            }
            for source, text in measures.texts.items()
        },
        "tasks": [task.model_dump(mode="json") for task in measures.tasks],
        "task_folders": digest_task_folders(measures.tasks, measures.root),
        "prompts": list(measures.prompts),
        "sampling": SAMPLING,
        "versions": package_versions(),
    }


def measure(
    name: str, model: Path, tokenizer: LoadedTokenizer, measures: Measures, tasks: Sequence[LoadedTask]
) -> dict[str, Any]:
    """Measure the model in the folder ``model``.

    Args:
        name: of the model, for people.
        model: Hugging Face folder.
        tokenizer: of the model.
        measures: what is measured.
        tasks: ``measures.tasks``, loaded.

    Returns:
        JSON: ``name``, ``settings``, ``parameters``, ``sources`` and ``languages`` (by name the fields of
        :class:`~tokka.evaluation.perplexity.Score`), ``tasks`` (what
        :func:`~tokka.evaluation.tasks.run_task` returns), ``samples`` and ``seconds``.

    Raises:
        OSError, ValueError: the folder holds no whole model, or not that of the tokenizer.
    """
    begun = time.monotonic()
    settings = settings_of(model, tokenizer, measures)
    if tokenizer.size > settings["config"]["vocab_size"]:
        raise ValueError(
            f"the tokenizer in {tokenizer.folder} has {tokenizer.size} tokens, the model in {model} "
            f"{settings['config']['vocab_size']}; they do not belong together"
        )
    keep_freed_memory()
    network, config = load_hf(model, dtype=DTYPES[settings["precision"]], device=settings["device"])
    scores = score_texts(
        network,
        tokenizer,
        measures.texts,
        first=settings["first_token"],
        sequence_length=settings["sequence_length"],
        what=f"evaluating {name}",
    )
    languages = {source: text.language for source, text in measures.texts.items()}
    return {
        "name": name,
        "settings": settings,
        "parameters": spec_for(config).count_parameters(config),
        "sources": {source: score.as_json() for source, score in scores.items()},
        "languages": {key: score.as_json() for key, score in by_language(scores, languages).items()},
        "tasks": _run_tasks(tasks, network, tokenizer, settings),
        "samples": write_samples(
            network,
            tokenizer,
            measures.prompts,
            first=settings["first_token"],
            stop_ids=settings["stop_tokens"],
        ),
        "seconds": round(time.monotonic() - begun, 3),
    }


def _run_tasks(
    tasks: Sequence[LoadedTask],
    network: LanguageModel,
    tokenizer: LoadedTokenizer,
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    if not tasks:
        return []
    from tokka.evaluation.harness import HarnessModel

    model = HarnessModel(
        network,
        tokenizer,
        beginning=beginning_of(tokenizer),
        stop_ids=settings["stop_tokens"],
        sequence_length=settings["sequence_length"],
    )
    return [run_task(task, model) for task in tasks]


def _computer(precision: Precision) -> dict[str, str]:
    """Return what computes, and how; a processor without bf16 only emulates it, so fp32 is faster there."""
    if torch.cuda.is_available():
        return {"device": "cuda", "processor": torch.cuda.get_device_name(), "precision": precision}
    machine = describe()
    return {
        "device": "cpu",
        "processor": machine.processor,
        "precision": precision if machine.bf16 else "fp32",
    }
