"""The model card of a revision, generated from the recipe, manifests and results; nobody types a number."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from tokka.evaluation.against import MERGED
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import format_size
from tokka.release import tables
from tokka.release.against import (
    against_in_words,
    bits_against_table,
    merge_in_words,
    replay_in_words,
    task_against_tables,
)
from tokka.release.curation import contamination_table, curation_table
from tokka.release.hub import is_hub_id, public_name
from tokka.release.languages import language_codes
from tokka.release.markdown import Markdown, code_block, inline, link, prose
from tokka.release.record import RunRecord
from tokka.release.words import (
    architecture_in_words,
    corpus_in_words,
    kind_in_words,
    languages_in_words,
    tokenizer_in_words,
    training_in_words,
)
from tokka.workspace.files import read_json

_HUB = "https://huggingface.co"


def render_card(run: Path, recipe: Recipe, revision: str) -> str:
    """Return the model card of ``revision`` as Markdown with a YAML header, as the hub reads it.

    A card shows the revisions and results up to its own: publishing a later one does not change it.

    Args:
        run: folder of a run whose training is finished.
        recipe: what the run follows.
        revision: name of a revision in ``run/training/revisions``, or of the merge with the base.
    """
    environment = Environment(
        loader=PackageLoader("tokka.release"),
        autoescape=False,  # Markdown, not HTML: `finalize` escapes all that is not marked as Markdown
        finalize=inline,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    record = RunRecord.read(run, recipe)
    return environment.get_template("card.md.jinja").render(_context(record, revision))


def card_header(recipe: Recipe) -> dict[str, Any]:
    """Return the card's metadata under the hub's keys; ``release.metadata`` adds to it or overrides it."""
    languages = [code for language in recipe.languages for code in language_codes(language)]
    datasets = [source.hub.id for source in recipe.sources.values() if source.hub]
    base = recipe.model.base
    header = {
        "license": recipe.release.license,
        "language": list(dict.fromkeys(languages)),
        "datasets": list(dict.fromkeys(id for id in datasets if is_hub_id(id))),
        "base_model": base if base and is_hub_id(base) else None,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tokka", recipe.model.architecture],
        **recipe.release.metadata,
    }
    return {key: value for key, value in header.items() if value not in (None, [])}


def _context(record: RunRecord, revision: str) -> dict[str, Any]:
    recipe, release, base = record.recipe, record.recipe.release, record.recipe.model.base
    results = record.results_until(revision)
    is_latest = revision in (record.revisions[-1], MERGED)
    shown = record.published if is_latest else record.revisions[: record.revisions.index(revision) + 1]
    config = read_json(record.weights_of(revision) / "config.json")
    return {
        "header": Markdown(yaml.safe_dump(card_header(recipe), sort_keys=False, allow_unicode=True).strip()),
        "title": release.title or release.repo.split("/")[1],
        "revision": revision,
        "is_latest": is_latest,
        "merge": merge_in_words(record) if revision == MERGED else "",
        "budget": format_size(record.facts("mixture")["tokens"]),
        "summary": prose(release.summary),
        "kind": kind_in_words(record),
        "origin": f"continued pretraining of {public_name(base)}" if base else "pretraining",
        "languages": languages_in_words(recipe),
        "architecture": architecture_in_words(recipe),
        "overview_table": tables.overview_table(record),
        "interval": _interval(recipe),
        "checkpoints": [link(name, f"{_HUB}/{release.repo}/tree/{name}") for name in shown],
        "repo": Markdown(release.repo),
        "dtype": config["dtype"],
        "training": " ".join(training_in_words(record, is_latest=is_latest)),
        "hyperparameter_table": tables.hyperparameter_table(record),
        "tokenizer": tokenizer_in_words(record),
        "fertility_table": tables.fertility_table(record),
        "sources": len(recipe.sources),
        "mixture_table": tables.mixture_table(record),
        "parts_table": tables.parts_table(record),
        "realised_table": tables.realised_table(record, revision),
        "corpus_table": tables.corpus_table(record),
        "corpus_words": " ".join(corpus_in_words(record)),
        "rejected_table": tables.rejected_table(record),
        "curation_table": curation_table(record),
        "contamination_table": contamination_table(record),
        "replay": replay_in_words(record),
        "against": _against(record, revision),
        "bits_table": tables.bits_table(results),
        "perplexity_table": tables.perplexity_table(results),
        "task_table": tables.task_table(results),
        "pin": Markdown("" if revision == record.revisions[-1] else f', revision="{revision}"'),
        "prompt": _python_string(next(iter(recipe.evaluation.prompts), "Hello")),
        "samples": list(_samples([*results, *([record.merged] if record.merged else [])], revision)),
        "limitations": prose(release.limitations),
        "license": release.license,
        "citation": code_block(release.citation, "bibtex") if release.citation.strip() else "",
        "acknowledgements": prose(release.acknowledgements),
    }


def _against(record: RunRecord, revision: str) -> dict[str, Any] | None:
    """Return what the card says of the model beside its base; None where no base was measured."""
    against = record.against(revision)
    if against is None:
        return None
    return {
        "base": public_name(str(record.recipe.model.base)),
        "bits": bits_against_table(against, record),
        "tasks": list(task_against_tables(against, record)),
        "words": " ".join(against_in_words(against, record)),
    }


def _interval(recipe: Recipe) -> str:
    every = recipe.training.checkpoints.revisions
    return f", one every {format_size(every)} tokens" if every else ""


def _samples(results: Sequence[Mapping[str, Any]], revision: str) -> Iterator[Markdown]:
    for result in results:
        if result["name"] == revision:
            for sample in result["samples"]:
                yield code_block(sample["prompt"] + sample["sampled"], "text")


def _python_string(text: str) -> Markdown:
    """Return ``text`` as a literal that neither ends its line nor the code fence around it."""
    return Markdown(json.dumps(text, ensure_ascii=False).replace("`", "\\u0060"))
