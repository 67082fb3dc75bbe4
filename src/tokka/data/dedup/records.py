"""The documents of a record as one: what templates make of one record is compared, and goes, together.

Two directions of a translation hold the same words; neither must be taken for a copy of the other.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tokka.data.documents import Document
from tokka.data.shards import read_shard

_WORTH_A_PROCESS = 16 * 2**20  # of Zstandard, some 50 MB of text


class RecordText(NamedTuple):
    """All text of one record in a shard.

    Attributes:
        text: of its documents, a line end between them.
        file, record: where it came from, as of a :class:`tokka.data.documents.Document`.
        documents: rows of the shard that it has, one after the other.
    """

    text: str
    file: str
    record: int
    documents: int


def read_record_texts(path: Path) -> Iterator[RecordText]:
    """Yield the records of a shard, in order."""
    for (file, record), group in groupby(read_shard(path), key=_origin):
        texts = [document.text for document in group]
        yield RecordText("\n".join(texts), file, record, len(texts))


def _origin(document: Document) -> tuple[str, int]:
    return document.file, document.record


def processes_for(shards: Sequence[Path], most: int) -> int:
    """Return how many processes, ``most`` at most, have enough to do with ``shards`` to be worth starting."""
    return min(most, 1 + sum(path.stat().st_size for path in shards) // _WORTH_A_PROCESS)
