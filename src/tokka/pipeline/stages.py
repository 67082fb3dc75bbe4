"""The stages of a run, in order: what each needs, what decides it, what it does.

corpus/<source> -> tokenizer -> tokens/<source> -> mixture -> training -> evaluation -> release -> report;
fertility beside tokens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from tokka.pipeline.stage import Run, Stage
from tokka.recipe.recipe import Recipe
from tokka.workspace.files import read_json, write_json
from tokka.workspace.machine import usable_cores
from tokka.workspace.manifest import Manifest
from tokka.workspace.progress import say

_MAY_CHANGE: dict[str, Any] = {
    "micro_batch": True,
    "activation_checkpointing": True,
    "compile": True,
    "layout": True,
    "checkpoints": {"every", "minutes", "keep"},
    "guard": {"max_bad_steps"},
}
"""Of the recipe's ``training``: how a step is computed, when it is saved, when a run gives up."""

_FERTILITY_BYTES = 2**20
"""Of each source's held-out text, at most so much shows what the tokenizer makes of it."""


def stages_of(recipe: Recipe) -> list[Stage]:
    """Return the stages of ``recipe`` in the order in which they run."""
    corpus = [_corpus(recipe, source) for source in recipe.sources]
    tokenizer = _tokenizer(recipe, tuple(stage.name for stage in corpus))
    tokens = [_tokens(recipe, source) for source in recipe.sources]
    return [
        *corpus,
        tokenizer,
        _fertility(recipe, tuple(stage.name for stage in corpus)),
        *tokens,
        _mixture(recipe, tuple(stage.name for stage in tokens)),
        _training(recipe),
        _evaluation(recipe),
        _release(recipe),
        _report(recipe),
    ]


def _corpus(recipe: Recipe, name: str) -> Stage:
    source = recipe.sources[name]
    heldout = recipe.evaluation.heldout if source.heldout is None else source.heldout

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.corpus import build_corpus

        return build_corpus(
            name, source, run.of(f"corpus/{name}"), root=run.root, heldout=heldout, workers=usable_cores()
        )

    def outside(run: Run) -> Mapping[str, str]:
        from tokka.data.sources.files import SourceError
        from tokka.data.sources.fingerprint import fingerprint

        try:
            return fingerprint(source, run.root, run.folder / "fingerprints.json")
        except SourceError as error:
            finished = Manifest.read(run.of(f"corpus/{name}"))
            if finished is None:
                raise SourceError(f"sources.{name}.{error}") from error
            say(f"corpus/{name}: its files are not here ({error}); taken as they were read")
            return finished.inputs

    return Stage(
        name=f"corpus/{name}",
        needs=(),
        decided_by={
            "source": source.model_dump(mode="json", exclude={"size", "notes", "language", "heldout"}),
            "heldout": heldout,
        },
        work=work,
        outputs=("*.parquet", "rejected-*.jsonl"),
        outside=outside,
    )


def _tokenizer(recipe: Recipe, corpora: tuple[str, ...]) -> Stage:
    trained = recipe.tokenizer.train

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.corpus import read_documents
        from tokka.tokenizer.copy import copy_tokenizer
        from tokka.tokenizer.train import train_tokenizer

        if trained is None:
            return copy_tokenizer(recipe.tokenizer, run.root, run.of("tokenizer"))
        texts: dict[str, list[Iterator[str]]] = {}
        for name, source in sorted(recipe.sources.items()):  # their order in the recipe decides nothing
            documents = read_documents(run.of(f"corpus/{name}"), "train")
            texts.setdefault(source.language, []).append(document.text for document in documents)
        by_language = {language: chain.from_iterable(parts) for language, parts in texts.items()}
        return train_tokenizer(trained, by_language, run.of("tokenizer"))

    def outside(run: Run) -> Mapping[str, str]:
        from tokka.tokenizer.copy import fingerprint

        return {} if trained else fingerprint(recipe.tokenizer, run.root)

    return Stage(
        name="tokenizer",
        needs=corpora if trained else (),
        decided_by={
            "tokenizer": recipe.tokenizer.model_dump(mode="json"),
            "languages": {name: source.language for name, source in recipe.sources.items()}
            if trained
            else {},
        },
        work=work,
        outputs=("tokenizer*.json", "special_tokens_map.json", "chat_template.jinja"),
        outside=outside,
    )


def _fertility(recipe: Recipe, corpora: tuple[str, ...]) -> Stage:
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


def _tokens(recipe: Recipe, name: str) -> Stage:
    templates = recipe.sources[name].template or []

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.encode import encode_corpus, specials_in
        from tokka.tokenizer.load import load_tokenizer

        tokenizer = load_tokenizer(run.of("tokenizer"))
        return encode_corpus(
            run.of(f"corpus/{name}"),
            run.of(f"tokens/{name}"),
            tokenizer,
            allowed_specials=specials_in(templates, tokenizer),
        )

    return Stage(
        name=f"tokens/{name}",
        needs=(f"corpus/{name}", "tokenizer"),
        decided_by={"template": templates},
        work=work,
        outputs=("*.bin", "*.idx"),
    )


def _mixture(recipe: Recipe, tokens: tuple[str, ...]) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.data.mixture import MixtureError, solve

        training = recipe.training
        sizes = {name: run.facts(f"tokens/{name}")["tokens"] for name in recipe.sources}
        for name in (name for name, size in sizes.items() if not size):
            raise MixtureError(f"mixture.{name}: {_why_empty(run.facts(f'corpus/{name}'))}")
        mixture = solve(
            recipe.mixture,
            sizes,
            tokens=training.tokens,
            batch_tokens=training.batch_tokens,
            sequence_length=training.sequence_length,
        )
        write_json(run.of("mixture") / "mixture.json", mixture.as_json())
        return mixture.as_json() | {"sizes": sizes}

    return Stage(
        name="mixture",
        needs=tokens,
        decided_by={
            "mixture": {name: share.model_dump(mode="json") for name, share in recipe.mixture.items()},
            "tokens": recipe.training.tokens,
            "batch_tokens": recipe.training.batch_tokens,
            "sequence_length": recipe.training.sequence_length,
        },
        work=work,
        outputs=("mixture.json",),
    )


def _why_empty(corpus: Mapping[str, Any]) -> str:
    """Say why a source has nothing to train on."""
    return (
        f"the source has no training document: {corpus['records']} records, of which "
        f"{sum(corpus['rejected'].values())} were kept aside (`tokka corpus rejected RUN`) and "
        f"{corpus['heldout']['documents']} documents held out; add text, or remove the source"
    )


def _training(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.training.train import train

        rows = read_json(run.of("mixture") / "mixture.json")["rows"]
        return train(
            _with_base_found(recipe, run.root),
            tokens=run.folder / "tokens",
            budgets={row["source"]: row["tokens"] for row in rows},
            tokenizer=run.of("tokenizer"),
            folder=run.of("training"),
        )

    def outside(run: Run) -> Mapping[str, str]:
        from tokka.workspace.digests import digest_files

        base = _with_base_found(recipe, run.root).model.base
        if base is None or not Path(base).is_dir():
            return {}
        files = [*sorted(Path(base).glob("*.safetensors")), Path(base) / "config.json"]
        return digest_files({f"base/{path.name}": path for path in files}, run.folder / "fingerprints.json")

    return Stage(
        name="training",
        needs=("tokenizer", *(f"tokens/{name}" for name in recipe.sources), "mixture"),
        decided_by={
            "seed": recipe.seed,
            "model": recipe.model.model_dump(mode="json"),
            "training": recipe.training.model_dump(mode="json", exclude=_MAY_CHANGE),
        },
        work=work,
        outputs=("revisions/**/*", "metrics.jsonl"),
        outside=outside,
    )


def _with_base_found(recipe: Recipe, root: Path) -> Recipe:
    """Return the recipe with ``model.base`` as a path from here where it is a folder beside the recipe."""
    base = recipe.model.base
    if base is None or not (root / base).is_dir():
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"base": str(root / base)})})


def _evaluation(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.evaluation.evaluate import evaluate

        if not any(run.facts(f"corpus/{name}")["heldout"]["documents"] for name in recipe.sources):
            say("evaluation: no document was held out, so no bits per byte; raise evaluation.heldout")
        return evaluate(
            recipe,
            revisions=run.of("training") / "revisions",
            tokenizer=run.of("tokenizer"),
            corpus=run.folder / "corpus",
            folder=run.of("evaluation"),
            root=run.root,
        )

    def outside(run: Run) -> Mapping[str, str]:
        if not any(task.path for task in recipe.evaluation.tasks):
            return {}
        from tokka.evaluation.tasks import digest_task_folders

        return digest_task_folders(recipe.evaluation.tasks, run.root)

    return Stage(
        name="evaluation",
        needs=(*(f"corpus/{name}" for name in recipe.sources), "tokenizer", "training"),
        decided_by={
            "evaluation": recipe.evaluation.model_dump(mode="json", exclude={"heldout"}),
            "sequence_length": recipe.training.sequence_length,
            "languages": {name: source.language for name, source in recipe.sources.items()},
        },
        work=work,
        outputs=("*.json",),
        outside=outside,
    )


def _release(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.release.publish import publish

        return publish(recipe, run=run.folder, folder=run.of("release"))

    return Stage(
        name="release",
        needs=("tokenizer", "fertility", "mixture", "training", "evaluation"),
        decided_by={
            "release": recipe.release.model_dump(mode="json"),
            "sources": {
                name: source.model_dump(mode="json", include={"notes", "language"})
                for name, source in recipe.sources.items()
            },
        },
        work=work,
        outputs=("hub/**/blobs/*", "hub/**/refs/*", "main/README.md"),
    )


def _report(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.release.report import write_report

        return write_report(run.folder, run.of("report") / "report.html")

    return Stage(
        name="report",
        needs=("release",),
        decided_by={},
        work=work,
        outputs=("report.html",),
    )
