"""The report of a run: one HTML file that needs no network, no JavaScript and no other file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from tokka.recipe.sizes import format_size
from tokka.release import sections, tables
from tokka.release.figures import count, duration, size
from tokka.release.hub import public_name
from tokka.release.languages import language_name
from tokka.release.metrics import Metrics, read_metrics
from tokka.release.record import RunRecord
from tokka.release.words import languages_in_words
from tokka.workspace.files import write_text

_SECTIONS = ("Evaluation", "Training", "Samples", "Data", "Tokenizer", "Provenance")


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    name: str
    value: str
    note: str = ""


def write_report(run: Path, path: Path) -> dict[str, Any]:
    """Write the report of the run in the folder ``run`` to ``path``; of an unfinished run what is there.

    Returns:
        ``bytes`` of the file, and ``missing``: the stages that are not finished.

    Raises:
        ValueError: ``run`` is no run, or a record in it cannot be read.
    """
    record = RunRecord.read(run)
    environment = Environment(
        loader=PackageLoader("tokka.release"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html.jinja").render(_context(record))
    write_text(path, html)
    return {"bytes": len(html.encode()), "missing": record.missing}


def _context(record: RunRecord) -> dict[str, Any]:
    recipe, release = record.recipe, record.recipe.release
    metrics_path = record.folder / "training" / "metrics.jsonl"
    metrics = read_metrics(metrics_path, recipe.mixed) if metrics_path.is_file() else None
    if metrics is not None and not len(metrics):
        metrics = None
    return {
        "title": release.title or release.repo.split("/")[1],
        "subtitle": _subtitle(record),
        "missing": record.missing,
        "sections": _SECTIONS,
        "tiles": list(_tiles(record, metrics)),
        "evaluation": sections.evaluation(record),
        "training": _training(record, metrics) if metrics else None,
        "settings": tables.hyperparameter_table(record),
        "model": tables.overview_table(record),
        "prompts": recipe.evaluation.prompts,
        "samples": sections.samples(record),
        "data": sections.data(record, metrics),
        "tokenizer": sections.tokenizer(record),
        "provenance": sections.provenance(record),
        "recipe": (record.folder / "recipe.yaml").read_text(encoding="utf-8"),
    }


def _training(record: RunRecord, metrics: Metrics) -> dict[str, Any]:
    heldout = record.folder / "training" / "heldout.jsonl"
    return sections.training(metrics, heldout, continued=record.recipe.model.base is not None)


def _subtitle(record: RunRecord) -> str:
    recipe = record.recipe
    architecture = {"llama": "Llama", "bloom": "BLOOM"}[recipe.model.architecture]
    made = f"continued from {public_name(recipe.model.base)}" if recipe.model.base else "trained from scratch"
    return f"A {architecture} language model, {made}, for {languages_in_words(recipe)}"


def _tiles(record: RunRecord, metrics: Metrics | None) -> Iterator[Tile]:
    training, mixture = record.facts("training"), record.facts("mixture")
    if "parameters" in training:
        yield Tile("Parameters", count(training["parameters"]))
    if metrics is not None:
        done, budget = int(metrics["tokens"][-1]), mixture.get("tokens")
        of_budget = f"of {format_size(budget)}" if budget else ""
        yield Tile("Tokens trained on", count(done), of_budget)
    if record.results:
        last = record.results[-1]
        for language, score in list(last["languages"].items())[:2]:
            first = record.results[0]["languages"][language]["bits_per_byte"]
            note = f"{first:.3f} at {record.results[0]['name']}" if len(record.results) > 1 else ""
            yield Tile(f"Bits per byte, {language_name(language)}", f"{score['bits_per_byte']:.3f}", note)
    if metrics is not None:
        speed = float(np.nanmedian(metrics["tokens_per_second"]))
        waited = f"{training['data_percent']:.2f}% waiting for data" if "data_percent" in training else ""
        yield Tile("Tokens per second", count(speed), waited)
        yield Tile("Training time", duration(float(np.nansum(metrics["step_seconds"]))), _memory(training))
    documents = [record.facts(f"corpus/{name}").get("documents", 0) for name in record.recipe.sources]
    if any(documents):
        yield Tile("Documents", f"{sum(documents):,}", f"from {len(documents)} sources")
    if record.revisions:
        yield Tile("Revisions", str(len(record.revisions)), f"latest {record.revisions[-1]}")


def _memory(training: Mapping[str, Any]) -> str:
    return f"{size(training['peak_memory'])} of memory" if "peak_memory" in training else ""
