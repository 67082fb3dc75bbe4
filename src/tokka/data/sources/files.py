"""Which files a source's ``path`` means, and in which format each is."""

import glob
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokka.data.sources.stream import COMPRESSED
from tokka.recipe.sources import Format, Source

_TEXT = """
.txt .text .md .rst .tex .org .adoc .html .css .xml .yaml .yml .toml
.py .pyi .c .h .cc .cpp .cxx .hpp .cu .rs .go .java .kt .scala .swift .cs .js .jsx .ts .tsx .php .rb .pl .lua
.sh .bash .sql .r .jl .hs .ml .mli .ex .exs .erl .clj .el .lisp .f90 .m .v .vhd .zig .dart .nim .cmake .proto
"""

SUFFIXES: dict[Format, list[str]] = {
    "jsonl": [".jsonl", ".json", ".ndjson"],
    "parquet": [".parquet", ".pq"],
    "megatron": [".idx", ".bin"],
    "text": _TEXT.split(),
    "warc": [".warc", ".wet"],
    "html": [".html", ".htm", ".xhtml"],
}
"""The suffixes of each format, before ``.gz`` or ``.zst``. Unless ``html`` is stated, a page is text."""

_STDLIB = "{stdlib}"
_VARIABLES = {
    _STDLIB: Path(sysconfig.get_path("stdlib")),
    "{demo}": Path(__file__).resolve().parents[2] / "demo" / "corpus",
}
_NOT_STDLIB = {"site-packages", "dist-packages"}


class SourceError(ValueError):
    """A source that cannot be read as the recipe states it; the message begins with the key at fault."""


@dataclass(frozen=True)
class InputFile:
    """A file to read.

    Attributes:
        path: where it is on this machine.
        name: where it is by the recipe: relative to it, or to one of its variables; else absolute.
        format: how to read it.
        size: bytes on disk.
        tokenizer: folder or hub id of the tokenizer of a Megatron file.
    """

    path: Path
    name: str
    format: Format
    size: int
    tokenizer: str | None = None

    @property
    def identity(self) -> list[str | int]:
        """What it is as long as it does not change."""
        return [self.name, self.format, self.size, self.path.stat().st_mtime_ns]

    @property
    def weight(self) -> int:
        """Bytes of text it may hold, roughly: packed files unpack to about four times their size."""
        packed = self.format == "parquet" or self.path.suffix.lower() in COMPRESSED
        return self.size * (4 if packed else 1)


def find_files(source: Source, root: Path) -> list[InputFile]:
    """Return the files that ``source.path`` means, each once, in the order in which they are read.

    Patterns keep the order of the recipe; the files of a folder or glob are sorted by name. Folders are
    searched, but for hidden files, for the suffixes of the source's format.

    Raises:
        SourceError: a path matches nothing, a file may not be read, its name does not tell its format, or a
            Megatron source names no tokenizer.
    """
    found: dict[str, InputFile] = {}
    for pattern in source.path or []:
        files = [
            _input_file(path, name, source, root) for path, name in _matches(pattern, source.format, root)
        ]
        if not files:
            raise SourceError(f"path: {_no_match(pattern, source.format, root)}")
        for file in files:
            found.setdefault(os.path.normpath(file.path.absolute()), file)
    return list(found.values())


def _matches(pattern: str, stated: Format, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield path and name of every file that a pattern means, in order."""
    base, prefix, rest = _based(pattern, root)
    if (base / rest).exists():
        matches = [rest]
    elif (base / f"{rest}.idx").exists():
        matches = [f"{rest}.idx"]
    else:
        matches = sorted(glob.glob(rest, root_dir=base, recursive=True))  # noqa: PTH207 - root_dir
    for match in matches:
        for path in _walk(base / match, stated) if (base / match).is_dir() else [base / match]:
            name = os.path.normpath(Path(match, os.path.relpath(path, base / match)))
            if not (prefix.startswith(_STDLIB) and _NOT_STDLIB.intersection(Path(name).parts)):
                # A name that is not UTF-8, as old archives have, could not be written into any record.
                yield path, (prefix + name).encode(errors="backslashreplace").decode()


def _based(pattern: str, root: Path) -> tuple[Path, str, str]:
    """Return the folder a pattern starts from, how the names of its files begin, and what is left of it."""
    for variable, folder in _VARIABLES.items():
        if pattern.startswith(variable):
            return folder, f"{variable}/", pattern.removeprefix(variable).lstrip("/")
    return root, "", str(Path(pattern).expanduser())


def _walk(folder: Path, stated: Format) -> list[Path]:
    """Return the files below ``folder`` with a suffix of the format, sorted.

    Hidden ones are left out, and so are pipes, sockets and devices, which a folder may have beside its files.
    """
    paths = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            kind = None if name.startswith(".") else _by_suffix(Path(name), stated)
            half = name.endswith(".bin")  # its .idx stands for the pair
            if kind is not None and not half and not _is_special(Path(where, name)):
                paths.append(Path(where, name))
    return sorted(paths, key=Path.as_posix)


def _is_special(path: Path) -> bool:
    """Tell whether what is there is no file; a link that leads nowhere is a file that is missing."""
    return path.exists() and not path.is_file()


def _by_suffix(path: Path, stated: Format = "auto") -> Format | None:
    """Return the format that the name tells, among those that ``stated`` leaves open."""
    suffix = (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()
    return next((kind for kind in SUFFIXES if stated in ("auto", kind) and suffix in SUFFIXES[kind]), None)


def _no_match(pattern: str, stated: Format, root: Path) -> str:
    base, _, rest = _based(pattern, root)
    if not (base / rest).is_dir():
        return f"{pattern!r} matches no file{'' if base != root else f' below {root.resolve()}'}"
    known = (suffix for kind, each in SUFFIXES.items() if stated in ("auto", kind) for suffix in each)
    return f"{pattern!r} holds no file that ends in one of {' '.join(known)} (or these with .gz or .zst)"


def _input_file(path: Path, name: str, source: Source, root: Path) -> InputFile:
    kind = _by_suffix(path) if source.format == "auto" else source.format
    if kind is None:
        raise SourceError(f"format: the name of {name!r} does not tell how to read it; state `format`")
    if kind == "megatron":
        return _megatron_pair(path, name, source, root)
    if not path.is_file():
        raise SourceError(f"path: {name!r} is no regular file (a pipe, a device?); name one")
    if not os.access(path, os.R_OK):
        raise SourceError(f"path: {name!r} may not be read; change its permissions or the path")
    return InputFile(path, name, kind, path.stat().st_size)


def _megatron_pair(path: Path, name: str, source: Source, root: Path) -> InputFile:
    index, tokens = path.with_suffix(".idx"), path.with_suffix(".bin")
    for half in (index, tokens):
        if not half.is_file():
            raise SourceError(f"path: {name!r} is one half of a Megatron pair; {half.name} is not beside it")
    if source.tokenizer is None:
        raise SourceError(f"tokenizer: {name!r} holds token ids; name the tokenizer they were made with")
    local = root / source.tokenizer
    return InputFile(
        path=index,
        name=str(Path(name).with_suffix(".idx")),
        format="megatron",
        size=index.stat().st_size + tokens.stat().st_size,
        tokenizer=str(local) if local.exists() else source.tokenizer,
    )
