"""Digests of files that are not read again while they stay as they are."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokka.workspace.files import digest_file, read_json, write_json


def digest_files(files: Mapping[str, Path], cache: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, by name.

    Args:
        files: name -> path.
        cache: a JSON file of digests by path, size and time of change, made and kept by this function, so
            that files which did not change are not read again.
    """
    known = _read_cache(cache)
    entries = {path: f"{_printable(path.absolute())}:{_stamp(path)}" for path in files.values()}
    changed = [path for path, entry in entries.items() if entry not in known]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing releases the GIL
        digests = pool.map(digest_file, changed)
        known |= {entries[path]: digest for path, digest in zip(changed, digests, strict=True)}
    if changed:
        write_json(cache, known)
    return {name: known[entries[path]] for name, path in files.items()}


def _printable(path: Path) -> str:
    """Return a path as UTF-8 can say it, also where its name is in another encoding."""
    return str(path).encode(errors="backslashreplace").decode()


def _stamp(path: Path) -> str:
    """Return size in bytes and time of change: while both stay, so does the content."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _read_cache(path: Path) -> dict[str, str]:
    try:
        known = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
