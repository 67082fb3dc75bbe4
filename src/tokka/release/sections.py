"""The sections of the report: for each what its part of the template shows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tokka.release import tables
from tokka.release.against import (
    against_in_words,
    bits_against_table,
    replay_in_words,
    task_against_tables,
)
from tokka.release.axis import Floats
from tokka.release.charts import COLORS, Series, bar_chart, line_chart
from tokka.release.curation import contamination_table, curation_table
from tokka.release.curves import heldout_curve, loss_curve, mixture_curve, other_curves
from tokka.release.figures import duration, size
from tokka.release.hub import public_name
from tokka.release.languages import language_name
from tokka.release.metrics import Metrics
from tokka.release.record import RunRecord
from tokka.release.table import Table
from tokka.release.words import tokenizer_in_words

_MOST_SKIPPED = 50
"""Skipped steps that are listed; ``training/skipped.jsonl`` has them all."""

_DIGEST = 12
"""Hex digits of a digest that are shown; enough to tell two apart."""


def evaluation(record: RunRecord) -> dict[str, Any] | None:
    """Return bits per byte over the revisions, tasks, and the tasks that failed."""
    results = record.results
    if not results:
        return None
    tokens = np.array([result["tokens"] for result in results], dtype=np.float64)
    lines = []
    for index, language in enumerate(
        dict.fromkeys(code for result in results for code in result["languages"])
    ):
        scores = [result["languages"].get(language, {}).get("bits_per_byte", np.nan) for result in results]
        lines.append(Series(language_name(language), tokens, np.array(scores), index % COLORS))
    bases = list(_base_lines(record, lines, tokens))
    chart = line_chart([*lines, *bases], label="Bits per byte over the revisions", points=True)
    failed = {
        task["name"]: task["error"] for result in results for task in result["tasks"] if "error" in task
    }
    return {
        "chart": chart if len(results) > 1 else Markup(""),
        "legend": [(line.name, line.color) for line in lines],
        "bits": tables.bits_table(results),
        "perplexity": tables.perplexity_table(results),
        "sources": tables.source_bits_table(results),
        "tasks": tables.task_table(results),
        "failed": failed,
        "against": _against(record),
    }


def _base_lines(record: RunRecord, lines: Sequence[Series], tokens: Floats) -> Iterator[Series]:
    """Yield the base's own bits per byte beside the lines of the revisions, which are in the same order."""
    if record.base is None:
        return
    scores = {language_name(code): score["bits_per_byte"] for code, score in record.base["languages"].items()}
    for line in lines:
        if line.name in scores:
            level = np.full_like(tokens, scores[line.name])
            yield Series(f"{line.name}, base", tokens, level, line.color, dashed=True)


def _against(record: RunRecord) -> dict[str, Any] | None:
    """Return the last revision beside its base; None where no base was measured."""
    against = record.against(record.results[-1]["name"])
    if against is None:
        return None
    return {
        "base": public_name(str(record.recipe.model.base)),
        "bits": bits_against_table(against, record),
        "tasks": list(task_against_tables(against, record)),
        "words": list(against_in_words(against, record)),
    }


def training(metrics: Metrics, heldout: Path, *, continued: bool) -> dict[str, Any]:
    """Return the curves and the skipped steps; ``heldout`` is where held-out text was recorded, if it was."""
    rows = [(step, f"{tokens:,}", reason) for step, tokens, reason in metrics.skipped[:_MOST_SKIPPED]]
    return {
        "loss": loss_curve(metrics),
        "heldout": heldout_curve(heldout, continued=continued),
        "others": other_curves(metrics),
        "skipped": Table(("Step", "Tokens", "Why"), rows, "lrl") if rows else None,
        "skipped_count": len(metrics.skipped),
    }


def samples(record: RunRecord) -> dict[str, list[tuple[str, str, str]]]:
    """Return by prompt what each revision wrote: its name, a sampled and the greedy continuation."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for result in record.results:
        for sample in result["samples"]:
            answer = (result["name"], sample["sampled"], sample["greedy"])
            found.setdefault(sample["prompt"], []).append(answer)
    return found


def data(record: RunRecord, metrics: Metrics | None) -> dict[str, Any]:
    """Return the mixture, wanted and realised, and what the sources hold."""
    mixture = record.facts("mixture")
    latest = record.realised[-1]["name"] if record.realised else ""
    return {
        "mixture": tables.mixture_table(record),
        "replay": replay_in_words(record),
        "parts": tables.parts_table(record),
        "realised": tables.realised_table(record, latest),
        "deviations": tables.deviations_table(record),
        "curve": mixture_curve(metrics, mixture["parts"]) if metrics and mixture else None,
        "legend": [(source, index % COLORS) for index, source in enumerate(record.recipe.mixed)],
        "corpus": tables.corpus_table(record),
        "rejected": tables.rejected_table(record),
        "curation": curation_table(record),
        "contamination": contamination_table(record),
    }


def tokenizer(record: RunRecord) -> dict[str, Any] | None:
    """Return how the tokenizer was made, and its fertility."""
    if "tokenizer" not in record.manifests:
        return None
    before = {row["source"]: row["tokens_per_word"] for row in record.fertility_before}
    bars = []
    for row in record.fertility:
        bars.append((row["source"], row["tokens_per_word"]))
        if row["source"] in before:
            bars.append((f"{row['source']}, before", before[row["source"]]))
    return {
        "summary": tokenizer_in_words(record),
        "chart": bar_chart(bars, label="Tokens per word by source"),
        "fertility": tables.fertility_table(record),
    }


def provenance(record: RunRecord) -> dict[str, Any]:
    """Return the finished stages with their digests and times, and the versions that made them."""
    rows = []
    for stage, manifest in record.manifests.items():
        written = sum(output["bytes"] for output in manifest.outputs.values())
        inputs = ", ".join(f"{name} {digest[:_DIGEST]}" for name, digest in manifest.inputs.items())
        rows.append((stage, manifest.digest[:_DIGEST], inputs, size(written), duration(manifest.seconds)))
    versions = sorted({item for manifest in record.manifests.values() for item in manifest.versions.items()})
    headings = ("Stage", "Output digest", "Inputs", "Written", "Time")
    return {
        "stages": Table(headings, rows, "lllrr") if rows else None,
        "versions": Table(("Package", "Version"), versions, "ll") if versions else None,
    }
