"""The files of a corpus: Parquet shards of documents, JSON Lines of what was kept aside."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tokka.data.documents import Document, Reason, Rejected, RemovedDocument

Split = Literal["train", "heldout", "removed"]
"""Documents to train on, held out, or removed by curation: these have a step and a reason beside them."""

SPLITS: tuple[Split, ...] = ("train", "heldout", "removed")

SHARD_BYTES = 64 * 2**20
"""A shard is closed when it holds so much text."""

_ROW_GROUP_BYTES = 8 * 2**20
_ROW_GROUP_DOCUMENTS = 2**16

_NAME = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema([("text", pa.string()), ("file", _NAME), ("record", pa.int64())])
_WHY = pa.schema([*_SCHEMA, ("step", _NAME), ("reason", _NAME)])


class ShardWriter:
    """Writes documents to ``<split>-00000.parquet``, ``<split>-00001.parquet``, ... in ``folder``.

    Holds one row group, about 8 MiB of text, in memory. The same documents give the same bytes.

    Attributes:
        shards: files written.
        documents: documents written, as counted by the files' own footers.
        bytes: UTF-8 bytes of their text.
    """

    def __init__(self, folder: Path, split: Split) -> None:
        self.folder, self.split = folder, split
        self._schema = _WHY if split == "removed" else _SCHEMA
        self.shards = self.documents = self.bytes = 0
        self._writer: Any = None
        self._shard_bytes = 0
        self._empty()

    def add(self, content: bytes, file: str, record: int, why: tuple[str, ...] = ()) -> None:
        """Append a document with the UTF-8 ``content``; ``why`` is step and reason of a removed one."""
        self._contents.append(content)
        self._rows.append((file, record, *why))
        self._held += len(content)
        if self._held >= _ROW_GROUP_BYTES or len(self._contents) >= _ROW_GROUP_DOCUMENTS:
            self._write_row_group()
            if self._shard_bytes >= SHARD_BYTES:
                self._close_shard()

    def close(self) -> None:
        """Write what is held and close the last shard."""
        if self._contents:
            self._write_row_group()
        self._close_shard()

    def _empty(self) -> None:
        self._contents: list[bytes] = []
        self._rows: list[tuple[Any, ...]] = []
        self._held = 0

    def _write_row_group(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self.folder / shard_name(self.split, self.shards),
                self._schema,
                compression="zstd",
                use_dictionary=["file", "step", "reason"],
                write_statistics=["record"],
                write_page_checksum=True,
            )
        columns = [pa.array(column) for column in zip(*self._rows, strict=True)]
        coded = [
            column.dictionary_encode() if pa.types.is_string(column.type) else column for column in columns
        ]
        table = pa.table([_texts(self._contents), *coded], schema=self._schema)
        self._writer.write_table(table, row_group_size=len(self._contents))
        self.bytes += self._held
        self._shard_bytes += self._held
        self._empty()

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self.documents += pq.read_metadata(self.folder / shard_name(self.split, self.shards)).num_rows
        self.shards += 1
        self._writer, self._shard_bytes = None, 0


class RejectedWriter:
    """Writes what is kept aside to a JSON Lines file, which is only there if there is something.

    Attributes:
        records: how many records were kept aside, by reason.
        examples: the first few of each reason, without their excerpts.
    """

    EXAMPLES = 3

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, int] = {}
        self.examples: dict[str, list[dict[str, Any]]] = {}
        self._lines: BinaryIO | None = None

    def add(self, entry: Rejected) -> None:
        """Append an entry: its file, record, reason, bytes, records and excerpt (base64)."""
        described = {
            "file": entry.file,
            "record": entry.record,
            "reason": entry.reason.value,
            "bytes": entry.size,
            "records": entry.records,
        }
        if self._lines is None:
            self._lines = self.path.open("wb")
        line = described | {"excerpt": base64.b64encode(entry.excerpt).decode()}
        self._lines.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.records[entry.reason] = self.records.get(entry.reason, 0) + entry.records
        examples = self.examples.setdefault(entry.reason, [])
        if len(examples) < self.EXAMPLES:
            examples.append(described)

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()


def shard_name(split: Split, index: int) -> str:
    """Return the file name of the ``index``-th shard of a split."""
    return f"{split}-{index:05d}.parquet"


def shard_paths(folder: Path, split: Split) -> list[Path]:
    """Return the shards of a split, in order."""
    return sorted(folder.glob(f"{split}-*.parquet"), key=lambda path: (len(path.name), path.name))


def read_shard(path: Path) -> Iterator[Document]:
    """Yield the documents of one shard, a few at a time."""
    with pq.ParquetFile(path, page_checksum_verification=True) as shard:
        for batch in shard.iter_batches(256):
            yield from map(Document, *(column.to_pylist() for column in batch.columns))


def read_removed_shard(path: Path) -> Iterator[RemovedDocument]:
    """Yield the documents of one shard of what curation removed, a few at a time."""
    with pq.ParquetFile(path, page_checksum_verification=True) as shard:
        for batch in shard.iter_batches(256):
            yield from map(RemovedDocument, *(column.to_pylist() for column in batch.columns))


def read_rejected_file(path: Path) -> Iterator[Rejected]:
    """Yield the entries of one file of what was kept aside."""
    with path.open("rb") as lines:
        for line in lines:
            entry = orjson.loads(line)
            yield Rejected(
                file=entry["file"],
                record=entry["record"],
                reason=Reason(entry["reason"]),
                size=entry["bytes"],
                excerpt=base64.b64decode(entry["excerpt"]),
                records=entry["records"],
            )


def _texts(contents: list[bytes]) -> Any:
    """Return UTF-8 contents as an Arrow array of strings, without decoding them."""
    offsets = np.zeros(len(contents) + 1, dtype=np.int32)
    np.cumsum([len(content) for content in contents], out=offsets[1:])
    data = pa.py_buffer(b"".join(contents))
    return pa.Array.from_buffers(pa.string(), len(contents), [None, pa.py_buffer(offsets), data])
