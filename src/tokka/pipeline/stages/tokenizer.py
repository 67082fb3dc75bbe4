"""The tokenizer, and what it makes of each source."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any

from tokka.pipeline.base import place_of
from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.recipe import Recipe
from tokka.workspace.files import write_json

_FERTILITY_BYTES = 2**20
"""Of each source's held-out text, at most so much shows what the tokenizer makes of it."""


def tokenizer_stage(recipe: Recipe) -> Stage:
    trained = recipe.tokenizer.train
    # A source that a later mixture brings must not change the tokenizer under a model.
    sources = {name: source for name, source in recipe.sources.items() if name in recipe.mixture}

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.corpus import read_documents
        from tokka.tokenizer.copy import copy_tokenizer
        from tokka.tokenizer.train import train_tokenizer

        if trained is None:
            return copy_tokenizer(recipe.tokenizer, _place(run), run.of("tokenizer"))
        texts: dict[str, list[Iterator[str]]] = {}
        for name, source in sorted(sources.items()):  # their order in the recipe decides nothing
            documents = read_documents(run.of(f"corpus/{name}"), "train")
            texts.setdefault(source.language, []).append(document.text for document in documents)
        by_language = {language: chain.from_iterable(parts) for language, parts in texts.items()}
        return train_tokenizer(trained, by_language, run.of("tokenizer"))

    def outside(run: Run) -> Mapping[str, str]:
        from tokka.tokenizer.copy import fingerprint

        return {} if trained else fingerprint(recipe.tokenizer, _place(run))

    return Stage(
        name="tokenizer",
        needs=tuple(f"corpus/{name}" for name in sources) if trained else (),
        decided_by={
            "tokenizer": recipe.tokenizer.model_dump(mode="json"),
            "languages": {name: source.language for name, source in sources.items()} if trained else {},
        },
        work=work,
        outputs=("tokenizer*.json", "special_tokens_map.json", "chat_template.jinja"),
        outside=outside,
    )


def _place(run: Run) -> str:
    """Return where the tokenizer lies that the recipe loads."""
    assert run.recipe.tokenizer.load is not None
    return place_of(run.recipe.tokenizer.load, run)


def fertility_stage(recipe: Recipe, corpora: tuple[str, ...]) -> Stage:
    languages = {name: source.language for name, source in recipe.sources.items()}

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.corpus import read_documents
        from tokka.evaluation.heldout import select_texts
        from tokka.tokenizer.fertility import fertility, fertility_plot
        from tokka.tokenizer.load import load_tokenizer

        texts = {}
        for name, language in languages.items():
            documents = read_documents(run.of(f"corpus/{name}"), "heldout")
            selected = select_texts((document.text for document in documents), _FERTILITY_BYTES)
            if selected:
                texts[name] = (language, selected)
        rows = fertility({recipe.name: load_tokenizer(run.of("tokenizer"))}, texts)
        write_json(run.of("fertility") / "fertility.json", [asdict(row) for row in rows])
        if rows:
            fertility_plot(rows, run.of("fertility") / "fertility.svg")
        return {"rows": [asdict(row) for row in rows]}

    return Stage(
        name="fertility",
        needs=(*corpora, "tokenizer"),
        decided_by={"name": recipe.name, "languages": languages, "bytes": _FERTILITY_BYTES},
        work=work,
        outputs=("fertility.json",),
    )
