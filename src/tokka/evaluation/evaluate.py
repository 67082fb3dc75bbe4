"""Evaluating the revisions of a run, or any model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokka.data.corpus import read_documents
from tokka.data.encode import specials_in
from tokka.evaluation.against import BASE, MERGED
from tokka.evaluation.heldout import select_texts
from tokka.evaluation.locate import Located, locate, revisions_in
from tokka.evaluation.measure import Measures, Precision, measure, settings_of
from tokka.evaluation.perplexity import Text
from tokka.evaluation.tasks import LoadedTask, load_tasks
from tokka.recipe.evaluation import Task
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import parse_size
from tokka.tokenizer.load import LoadedTokenizer, load_tokenizer
from tokka.workspace.files import read_json, write_json


def evaluate(
    recipe: Recipe,
    *,
    revisions: Path,
    tokenizer: Path,
    corpus: Path,
    folder: Path,
    root: Path,
    base: Located | None = None,
    merged: Path | None = None,
) -> dict[str, Any]:
    """Evaluate every revision of a run, and its base; write ``folder/<revision>.json``, ``base.json``, ...

    A model whose result is there, with the same settings and without a failed task, is not evaluated
    again; so the same call goes on where another was killed.

    Args:
        recipe: its evaluation, its sources' languages, and the sequence length and precision of training.
        revisions: holds a Hugging Face folder for each revision, named by its tokens.
        tokenizer: Hugging Face tokenizer folder.
        corpus: holds a folder with held-out documents for each source.
        folder: where results go.
        root: folder of the recipe, where task folders begin.
        base: the model that was continued, and the tokenizer that it was trained with. It is measured on the
            same texts and tasks.
        merged: Hugging Face folder of the merge of base and last revision.

    Returns:
        Facts: ``texts`` (how much of each source was scored), ``revisions``, fewest tokens first: what
        their files hold, without the settings; and the same of ``base`` and ``merged``, None without one.

    Raises:
        ImportError: the recipe has tasks and lm-evaluation-harness is not installed.
        ValueError: there are no revisions.
    """
    own = load_tokenizer(tokenizer)
    folders = _revisions(revisions)
    subjects = [_Subject(path.name, path, own, parse_size(path.name)) for path in folders]
    if merged is not None:
        subjects.append(_Subject(MERGED, merged, own))
    if base is not None:
        subjects.append(_Subject(BASE, base.model, load_tokenizer(base.tokenizer)))
    texts = _heldout_texts(recipe, corpus)
    results = _evaluate_all(subjects, lambda tokenizer: _measures(recipe, texts, tokenizer, root), folder)
    facts = {name: {key: result[key] for key in result if key != "settings"} for name, result in results}
    return {
        "texts": results[0][1]["settings"]["texts"],
        "revisions": [facts[path.name] for path in folders],
        BASE: facts.get(BASE),
        MERGED: facts.get(MERGED),
    }


def evaluate_model(
    model: str | Path,
    *,
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    texts: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    tasks: Sequence[Task] = (),
    prompts: Sequence[str] = (),
    sequence_length: int | None = None,
    precision: Precision = "bf16",
    root: Path = Path(),
) -> dict[str, Any]:
    """Evaluate one model, without a recipe.

    Args:
        model: a Hugging Face folder, a run folder, or a hub id.
        revision: of a run or a hub id; None for the latest.
        tokenizer: its folder or hub id; None for the model's own.
        texts: source -> (language, documents).
        tasks: of lm-evaluation-harness.
        prompts: continued by the model.
        sequence_length: tokens that the model sees at a time; None for its own longest, at most 8192.
        precision: of weights and matrix products.
        root: where relative task folders begin.

    Returns:
        The result, as :func:`tokka.evaluation.measure.measure` describes it.

    Raises:
        ImportError: there are tasks and lm-evaluation-harness is not installed.
        OSError: the model or its tokenizer is not there.
        ValueError: an architecture that is not supported, or damaged weights.
    """
    located = locate(str(model), revision)
    loaded = load_tokenizer(str(tokenizer or located.tokenizer))
    documents = {source: Text(*text) for source, text in (texts or {}).items()}
    measures = Measures(documents, tasks, prompts, sequence_length, precision, root)
    name = f"{model}@{revision}" if revision else str(model)
    return measure(name, located.model, loaded, measures, _load_tasks(measures))


def _revisions(folder: Path) -> list[Path]:
    found = revisions_in(folder)
    if not found:
        raise ValueError(f"there are no revisions in {folder}; train first")
    return found


class _Subject(NamedTuple):
    """A model to measure: its name, its folder, its tokenizer, and its tokens if it is a revision."""

    name: str
    model: Path
    tokenizer: LoadedTokenizer
    tokens: int | None = None


def _evaluate_all(
    subjects: Sequence[_Subject], measures_with: Callable[[LoadedTokenizer], Measures], folder: Path
) -> list[tuple[str, dict[str, Any]]]:
    """Measure what is not measured yet; return the names and results of all."""
    tasks: list[LoadedTask] | None = None
    results = []
    for subject in subjects:
        measures, path = measures_with(subject.tokenizer), folder / f"{subject.name}.json"
        if not _is_done(path, settings_of(subject.model, subject.tokenizer, measures)):
            tasks = _load_tasks(measures) if tasks is None else tasks
            result = measure(subject.name, subject.model, subject.tokenizer, measures, tasks)
            write_json(path, result if subject.tokens is None else {"tokens": subject.tokens} | result)
        results.append((subject.name, read_json(path)))
    return results


def _measures(
    recipe: Recipe, texts: Mapping[str, Sequence[str]], tokenizer: LoadedTokenizer, root: Path
) -> Measures:
    sources = recipe.sources.items()
    return Measures(
        texts={
            name: Text(source.language, texts[name], specials_in(source.template or (), tokenizer))
            for name, source in sources
        },
        tasks=recipe.evaluation.tasks,
        prompts=recipe.evaluation.prompts,
        sequence_length=recipe.training.sequence_length,
        precision=recipe.training.precision,
        root=root,
    )


def _heldout_texts(recipe: Recipe, corpus: Path) -> dict[str, list[str]]:
    return {
        name: select_texts(
            (document.text for document in read_documents(corpus / name, "heldout")),
            recipe.evaluation.heldout_bytes,
        )
        for name in recipe.sources
    }


def _is_done(path: Path, settings: Mapping[str, Any]) -> bool:
    if not path.exists():
        return False
    try:
        result = read_json(path)
    except ValueError:
        return False
    return result["settings"] == settings and not any("error" in task for task in result["tasks"])


def _load_tasks(measures: Measures) -> list[LoadedTask]:
    return load_tasks(measures.tasks, measures.root) if measures.tasks else []
