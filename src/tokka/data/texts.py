"""Texts given on the command line: ``fi=my.jsonl``."""

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
        language, equals, path = statement.partition("=")
        if not (language and equals and path):
            raise ValueError(
                f"{statement!r} does not say language and path; write for example fi=my_texts.jsonl"
            )
        source = Source(path=[path], language=language)
        documents = [item.text for item in read_source(source, Path.cwd()) if isinstance(item, Document)]
        if not documents:
            raise ValueError(f"{path} holds no document; see docs/sources.md for what can be read")
        texts[path] = (language, documents)
    return texts
