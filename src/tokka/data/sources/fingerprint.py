"""The content of a source's inputs, as digests: what decides whether its corpus is up to date."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokka.data.sources.files import find_files
from tokka.data.sources.hub import resolve_revision
from tokka.recipe.sources import Source
from tokka.workspace.files import digest_file, read_json, write_json


def fingerprint(source: Source, root: Path, cache: Path) -> dict[str, str]:
    """Return the SHA-256 of every input file of a source, by name; of a hub data set, its commit.

    Args:
        source: as the recipe states it.
        root: the recipe's folder, where relative paths begin.
        cache: a JSON file of digests by path, size and time of change, made and kept by this function, so
            that files which did not change are not read again.

    Of a hub data set whose commit cannot be had (no network), the revision is returned as stated. Raises
    SourceError where the source cannot be read as it is stated.
    """
    if source.hub is not None and not (root / source.hub.id).is_dir():
        return {f"hub:{source.hub.id}": resolve_revision(source.hub) or "main"}
    paths = dict(_files(source, root))
    known = _read_cache(cache)
    entries = {path: f"{path}:{_stamp(path)}" for path in paths.values()}
    changed = [path for path, entry in entries.items() if entry not in known]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing releases the GIL
        digests = pool.map(digest_file, changed)
        known |= {entries[path]: digest for path, digest in zip(changed, digests, strict=True)}
    if changed:
        write_json(cache, known)
    return {name: known[entries[path]] for name, path in paths.items()}


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


def _stamp(path: Path) -> str:
    """Return size in bytes and time of change: while both stay, so does the content."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _read_cache(path: Path) -> dict[str, str]:
    try:
        return read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
