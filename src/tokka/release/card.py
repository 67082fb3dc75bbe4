"""The model card of a revision, generated from the recipe, manifests and results; nobody types a number."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from tokka.recipe.model import Bloom
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import format_size
from tokka.release import tables
from tokka.release.figures import count, duration
from tokka.release.hub import is_hub_id, public_name
from tokka.release.languages import language_codes, language_name
from tokka.release.markdown import Markdown, code_block, inline, link, prose
from tokka.release.record import RunRecord
from tokka.workspace.files import read_json

_HUB = "https://huggingface.co"


def render_card(run: Path, recipe: Recipe, revision: str) -> str:
    """Return the model card of ``revision`` as Markdown with a YAML header, as the hub reads it.

    A card shows the revisions and results up to its own: publishing a later one does not change it.

    Args:
        run: folder of a run whose training is finished.
        recipe: what the run follows.
        revision: name of a revision in ``run/training/revisions``.
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
    shown = record.revisions[: record.revisions.index(revision) + 1]
    is_latest = revision == record.revisions[-1]
    config = read_json(record.folder / "training" / "revisions" / revision / "config.json")
    return {
        "header": Markdown(yaml.safe_dump(card_header(recipe), sort_keys=False, allow_unicode=True).strip()),
        "title": release.title or release.repo.split("/")[1],
        "revision": revision,
        "is_latest": is_latest,
        "budget": format_size(record.facts("mixture")["tokens"]),
        "summary": prose(release.summary),
        "kind": _kind(record),
        "origin": f"continued pretraining of {public_name(base)}" if base else "pretraining",
        "languages": _listed([language_name(language) for language in recipe.languages]),
        "architecture": _architecture(recipe),
        "overview_table": tables.overview_table(record),
        "interval": _interval(recipe),
        "checkpoints": [link(name, f"{_HUB}/{release.repo}/tree/{name}") for name in shown],
        "repo": Markdown(release.repo),
        "dtype": config["dtype"],
        "training": " ".join(_training(record, is_latest=is_latest)),
        "hyperparameter_table": tables.hyperparameter_table(record),
        "tokenizer": _tokenizer(record),
        "fertility_table": None,
        "sources": len(recipe.sources),
        "mixture_table": tables.mixture_table(record),
        "realised_table": tables.realised_table(record),
        "as_wanted": record.read_tokens == record.wanted_tokens,
        "corpus_table": tables.corpus_table(record),
        "rejected_table": tables.rejected_table(record),
        "bits_table": tables.bits_table(results),
        "perplexity_table": tables.perplexity_table(results),
        "task_table": tables.task_table(results),
        "pin": Markdown("" if is_latest else f', revision="{revision}"'),
        "prompt": _python_string(next(iter(recipe.evaluation.prompts), "Hello")),
        "samples": list(_samples(results, revision)),
        "limitations": prose(release.limitations),
        "license": release.license,
        "citation": code_block(release.citation, "bibtex") if release.citation.strip() else "",
        "acknowledgements": prose(release.acknowledgements),
    }


def _kind(record: RunRecord) -> str:
    parameters = record.facts("training").get("parameters")
    size = f"{count(parameters)} parameter " if parameters else ""
    return f"{size}decoder-only transformer"


def _architecture(recipe: Recipe) -> str:
    if isinstance(recipe.model, Bloom):
        return (
            "It uses the BLOOM architecture: ALiBi, which allows for inputs longer than those of training, "
            "LayerNorm after the embedding, GELU, biases, and one embedding for input and output."
        )
    scaling = " scaled as in Llama 3.1" if recipe.model.rope_scaling else ""
    return (
        f"It uses the Llama architecture: rotary position embeddings{scaling}, grouped-query attention, "
        "SwiGLU and RMSNorm, and no biases."
    )


def _interval(recipe: Recipe) -> str:
    every = recipe.training.checkpoints.revisions
    return f", one every {format_size(every)} tokens" if every else ""


def _training(record: RunRecord, *, is_latest: bool) -> Iterator[str]:
    """Yield sentences: on what the model was trained, in which layout, and how fast."""
    training, facts = record.recipe.training, record.facts("training")
    layout = training.layout
    parts = {"TP": layout.tensor, "PP": layout.pipeline, "CP": layout.context, "DP": layout.data}
    shown = ", ".join(f"{name}={size}" for name, size in parts.items())
    ranks = f"a world size of {layout.ranks} ({shown})" if layout.ranks > 1 else "one process"
    recomputed = "activation checkpointing, " if training.activation_checkpointing == "full" else ""
    where = f" on {facts['machine']['name']}" if "machine" in facts else ""
    yield (
        f"Training ran{where} with {ranks}, {recomputed}a micro batch of {training.micro_batch} and "
        f"gradient accumulation of {training.accumulation}."
    )
    if is_latest and "tokens_per_second" in facts:
        used = f", {facts['mfu_percent']}% of the peak FLOP/s" if facts.get("mfu_percent") else ""
        yield (
            f"It took {duration(facts['seconds'])}, at a median of {count(facts['tokens_per_second'])} "
            f"tokens per second{used}."
        )
    if is_latest and facts.get("skipped_steps"):
        yield f"Steps skipped, as their loss or gradient was out of bounds: {facts['skipped_steps']}."


def _tokenizer(record: RunRecord) -> str:
    return ""


def _samples(results: Sequence[Mapping[str, Any]], revision: str) -> Iterator[Markdown]:
    for result in results:
        if result["name"] == revision:
            for sample in result["samples"]:
                yield code_block(sample["prompt"] + sample["sampled"], "text")


def _python_string(text: str) -> Markdown:
    """Return ``text`` as a literal that neither ends its line nor the code fence around it."""
    return Markdown(json.dumps(text, ensure_ascii=False).replace("`", "\\u0060"))


def _listed(names: Sequence[str]) -> str:
    """Return names as prose lists them: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} and {last}" if first else last
