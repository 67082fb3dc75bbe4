"""The tokenizer, and what it makes of each source."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any

from tokka.pipeline.base import place_of
from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.recipe import Recipe
from tokka.recipe.sources import Source
from tokka.release.hub import public_name
from tokka.tokenizer.names import BASE
from tokka.workspace.files import write_json
from tokka.workspace.progress import say

_FERTILITY_BYTES = 2**20
"""Of each source's held-out text, at most so much shows what the tokenizer makes of it."""


def tokenizer_stage(recipe: Recipe) -> Stage:
    section = recipe.tokenizer
    learns = section.train is not None or section.extend is not None
    # A source that a later mixture brings must not change the tokenizer under a model.
    sources = {name: source for name, source in recipe.sources.items() if name in recipe.mixture}

    def work(run: Run) -> dict[str, Any]:
        from tokka.tokenizer.copy import copy_tokenizer
        from tokka.tokenizer.extend import extend_tokenizer
        from tokka.tokenizer.load import load_tokenizer
        from tokka.tokenizer.train import train_tokenizer

        folder = run.of("tokenizer")
        if section.train is not None:
            return train_tokenizer(section.train, _texts(run, sources), folder)
        if section.extend is not None:
            base = load_tokenizer(_place(run), section.revision)
            return extend_tokenizer(section.extend, base, _texts(run, sources), folder)
        return copy_tokenizer(section, _place(run), folder)

    def outside(run: Run) -> Mapping[str, str]:
        from tokka.tokenizer.copy import fingerprint

        return fingerprint(section, _place(run)) if section.load else {}

    return Stage(
        name="tokenizer",
        needs=tuple(f"{recipe.documents}/{name}" for name in sources) if learns else (),
        decided_by={
            "tokenizer": recipe.tokenizer.model_dump(mode="json", exclude={"extend": {"rows", "multiple"}}),
            "languages": {name: source.language for name, source in sources.items()} if learns else {},
        },
        work=work,
        outputs=("tokenizer*.json", "special_tokens_map.json", "chat_template.jinja", f"{BASE}/*"),
        outside=outside,
    )


def _texts(run: Run, sources: Mapping[str, Source]) -> dict[str, Iterator[str]]:
    """Return the training documents by language, each read once."""
    from tokka.data.corpus import read_documents

    texts: dict[str, list[Iterator[str]]] = {}
    for name, source in sorted(sources.items()):  # their order in the recipe decides nothing
        documents = read_documents(run.of(f"{run.recipe.documents}/{name}"), "train")
        texts.setdefault(source.language, []).append(document.text for document in documents)
    return {language: chain.from_iterable(parts) for language, parts in texts.items()}


def _place(run: Run) -> str:
    """Return where the tokenizer lies that the recipe loads."""
    assert run.recipe.tokenizer.load is not None
    return place_of(run.recipe.tokenizer.load, run)


def fertility_stage(recipe: Recipe) -> Stage:
    languages = {name: source.language for name, source in recipe.sources.items()}

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.corpus import read_documents
        from tokka.evaluation.heldout import select_texts
        from tokka.tokenizer.fertility import fertility, fertility_plot, gains
        from tokka.tokenizer.load import load_tokenizer

        texts = {}
        for name, language in languages.items():
            documents = read_documents(run.of(f"{recipe.documents}/{name}"), "heldout")
            selected = select_texts((document.text for document in documents), _FERTILITY_BYTES)
            if selected:
                texts[name] = (language, selected)
        tokenizers = {recipe.name: load_tokenizer(run.of("tokenizer"))}
        if recipe.tokenizer.extend is not None:
            tokenizers[public_name(str(recipe.tokenizer.load))] = load_tokenizer(run.of("tokenizer") / BASE)
        rows = fertility(tokenizers, texts)
        for line in gains(rows):
            say(f"fertility: {line}")
        write_json(run.of("fertility") / "fertility.json", [asdict(row) for row in rows])
        if rows:
            fertility_plot(rows, run.of("fertility") / "fertility.svg")
        return {"rows": [asdict(row) for row in rows]}

    return Stage(
        name="fertility",
        needs=(*(f"{recipe.documents}/{name}" for name in languages), "tokenizer"),
        decided_by={"name": recipe.name, "languages": languages, "bytes": _FERTILITY_BYTES},
        work=work,
        outputs=("fertility.json",),
    )
