"""Texts given on the command line: ``fi=my.jsonl``, ``en,fi=pairs.jsonl``."""

from collections.abc import Sequence
from pathlib import Path

from tokka.data.documents import Document
from tokka.data.sources.read import read_source
from tokka.recipe.sources import Source


def labelled_texts(statements: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Read ``LANGUAGE=PATH`` statements; any path a source of a recipe may have, relative to here.

    Returns:
        path -> (language, documents); records that are no documents are left out.

    Raises:
        ValueError: a statement is not of that form, a path matches nothing or holds no document.
    """
    texts = {}
    for statement in statements:
        language, path = _sides(statement, "fi=my_texts.jsonl")
        texts[path] = (language, _documents(Source(path=[path], language=language)))
    return texts


def parallel_texts(statements: Sequence[str]) -> list[dict[str, tuple[str, list[str]]]]:
    """Read ``LANGUAGE,LANGUAGE=PATH`` statements: translations, in records with a field for each language.

    Returns:
        For each statement ``path:language`` -> (language, texts), of as many texts in the same order.

    Raises:
        ValueError: a statement is not of that form, a path matches nothing, or a record lacks a language.
    """
    groups = []
    for statement in statements:
        languages, path = _sides(statement, "en,fi=pairs.jsonl")
        names = [name.strip() for name in languages.split(",")]
        if len(names) < 2 or not all(names):
            raise ValueError(f"{statement!r} names no two languages; write for example en,fi=pairs.jsonl")
        sources = [Source(path=[path], language=name, template=[f"{{{name}}}"]) for name in names]
        texts = [_documents(source) for source in sources]
        if len({len(side) for side in texts}) > 1:
            counts = ", ".join(f"{len(side)} in {name}" for name, side in zip(names, texts, strict=True))
            raise ValueError(f"{path}: not every record has each language, there are {counts}; mend the file")
        groups.append({f"{path}:{name}": (name, side) for name, side in zip(names, texts, strict=True)})
    return groups


def _sides(statement: str, example: str) -> tuple[str, str]:
    languages, equals, path = statement.partition("=")
    if not (languages and equals and path):
        raise ValueError(f"{statement!r} does not say language and path; write for example {example}")
    return languages, path


def _documents(source: Source) -> list[str]:
    documents = [item.text for item in read_source(source, Path.cwd()) if isinstance(item, Document)]
    if not documents:
        path = ", ".join(source.path or [])
        field = f" with {source.template[0]}" if source.template else ""
        raise ValueError(f"{path} holds no document{field}; see docs/sources.md for what can be read")
    return documents
