"""Where each document of a token file came from: ``NAME.origin.npy``, the files' names in ``NAME.json``."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tokka.workspace.files import read_json, whole_file

_ROW = np.dtype([("file", "<u4"), ("record", "<i8")])


class Origins:
    """The origins of a shard's documents, memory-mapped."""

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._files: list[str] = []
        if _path(prefix).exists():
            self._files = read_json(prefix.with_name(f"{prefix.name}.json"))["files"]
            self._rows = np.load(_path(prefix), mmap_mode="r", allow_pickle=False)

    def of(self, document: int) -> tuple[str, int]:
        """Return the input file and 1-based record of a document.

        Where tokka did not make the token file, that is the token file and the document's place in it.
        """
        if not self._files:
            return f"{self._prefix}.bin", document + 1
        file, record = self._rows[document]
        return self._files[file], int(record)


def write_origins(prefix: Path, origins: Iterable[tuple[str, int]]) -> list[str]:
    """Write the input file and 1-based record of each document of a shard; return the files' names."""
    numbers: dict[str, int] = {}
    rows = np.array([(numbers.setdefault(file, len(numbers)), record) for file, record in origins], _ROW)
    with whole_file(_path(prefix)) as aside, aside.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    return list(numbers)


def _path(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.origin.npy")
