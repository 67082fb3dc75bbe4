"""The content of a source's inputs, as digests: what decides whether its corpus is up to date."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tokka.data.curation.chain import Plan
from tokka.data.sources.files import SourceError, find_files
from tokka.data.sources.hub import resolve_revision
from tokka.recipe.sources import Source
from tokka.workspace.digests import digest_files

_COMMIT = re.compile("[0-9a-f]{40}")


def fingerprint(source: Source, root: Path, cache: Path) -> dict[str, str]:
    """Return the SHA-256 of every input file of a source, by name; of a hub data set, its commit.

    Files that its curation goes by are among them.

    Args:
        source: as the recipe states it.
        root: the recipe's folder, where relative paths begin.
        cache: see :func:`tokka.workspace.digests.digest_files`.

    Raises SourceError where the source cannot be read as it is stated, or the hub does not tell the commit:
    a name such as ``main`` would be another content, and what was built of the commit be made again.
    """
    if source.hub is not None and not (root / source.hub.id).is_dir():
        commit = resolve_revision(source.hub)
        if commit is None or not _COMMIT.fullmatch(commit):
            raise SourceError(
                f"hub.id: the hub does not tell the commit of {source.hub.id}; is there a network?"
            )
        return {f"hub:{source.hub.id}": commit} | digest_files(dict(_lists(source, root)), cache)
    return digest_files(dict([*_files(source, root), *_lists(source, root)]), cache)


def _lists(source: Source, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files that its curation goes by: blocked domains and words, a model."""
    if source.curate is not None:
        for path in Plan(source.curate, source.language, root).files:
            yield os.path.relpath(path, root), path.absolute()


def _files(source: Source, root: Path) -> Iterator[tuple[str, Path]]:
    if source.hub is not None:
        folder = (root / source.hub.id).resolve()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield f"{source.hub.id}/{path.relative_to(folder).as_posix()}", path
        return
    for file in find_files(source, root):
        yield file.name, file.path.absolute()
        if file.format == "megatron":
            yield str(Path(file.name).with_suffix(".bin")), file.path.absolute().with_suffix(".bin")
            tokenizer = Path(file.tokenizer or "", "tokenizer.json")
            if tokenizer.is_file():
                yield f"{source.tokenizer}/tokenizer.json", tokenizer.absolute()
