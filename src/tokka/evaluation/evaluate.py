"""Evaluating the revisions of a run, or any model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokka.data.corpus import read_documents
from tokka.data.encode import specials_in
from tokka.evaluation.heldout import select_texts
from tokka.evaluation.locate import locate
from tokka.evaluation.measure import Measures, Precision, measure, settings_of
from tokka.evaluation.perplexity import Text
from tokka.evaluation.tasks import LoadedTask, load_tasks
from tokka.recipe.evaluation import Task
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import parse_size
from tokka.tokenizer.load import LoadedTokenizer, load_tokenizer
from tokka.workspace.files import read_json, write_json


def evaluate(
    recipe: Recipe, *, revisions: Path, tokenizer: Path, corpus: Path, folder: Path, root: Path
) -> dict[str, Any]:
    """Evaluate every revision of a run; write ``folder/<revision>.json``.

    A revision whose result is there, with the same settings and without a failed task, is not evaluated
    again; so the same call goes on where another was killed.

    Args:
        recipe: its evaluation, its sources' languages, and the sequence length and precision of training.
        revisions: holds a Hugging Face folder for each revision, named by its tokens.
        tokenizer: Hugging Face tokenizer folder.
        corpus: holds a folder with held-out documents for each source.
        folder: where results go.
        root: folder of the recipe, where task folders begin.

    Returns:
        Facts: ``texts`` (how much of each source was scored) and ``revisions``, fewest tokens first: what
        their files hold, without the settings.

    Raises:
        ImportError: the recipe has tasks and lm-evaluation-harness is not installed.
        ValueError: there are no revisions, or one is not named by its tokens.
    """
    folders = _revisions(revisions)
    loaded = load_tokenizer(tokenizer)
    measures = Measures(
        texts=_heldout_texts(recipe, corpus, loaded),
        tasks=recipe.evaluation.tasks,
        prompts=recipe.evaluation.prompts,
        sequence_length=recipe.training.sequence_length,
        precision=recipe.training.precision,
        root=root,
    )
    files = {path: folder / f"{path.name}.json" for path in folders}
    pending = [path for path in folders if not _is_done(files[path], settings_of(path, loaded, measures))]
    tasks = _load_tasks(measures) if pending else []
    for path in pending:
        result = measure(path.name, path, loaded, measures, tasks)
        write_json(files[path], {"tokens": parse_size(path.name)} | result)
    results = [read_json(files[path]) for path in folders]
    return {
        "texts": results[0]["settings"]["texts"],
        "revisions": [{key: result[key] for key in result if key != "settings"} for result in results],
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
    """Return the revisions' folders, fewest tokens first; those still being written begin with a dot."""
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not found:
        raise ValueError(f"there are no revisions in {folder}; train first")
    return sorted(found, key=lambda path: parse_size(path.name))


def _heldout_texts(recipe: Recipe, corpus: Path, tokenizer: LoadedTokenizer) -> dict[str, Text]:
    texts = {}
    for name, source in recipe.sources.items():
        documents = (document.text for document in read_documents(corpus / name, "heldout"))
        chosen = select_texts(documents, recipe.evaluation.heldout_bytes)
        texts[name] = Text(source.language, chosen, specials_in(source.template or (), tokenizer))
    return texts


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
