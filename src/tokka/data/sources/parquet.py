"""Parquet: one row is one record."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tokka.data.documents import EXCERPT_BYTES, Reason, Rejected
from tokka.data.sources.files import InputFile
from tokka.data.sources.record import Record, columns_of
from tokka.data.sources.remote import HubError, HubFile
from tokka.recipe.sources import Source
from tokka.workspace.workers import Advance

_BATCH_BYTES = 4 * 2**20
_DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError)


def read_parquet(file: InputFile | HubFile, source: Source, advance: Advance) -> Iterator[Record | Rejected]:
    """Yield the rows of a Parquet file, of the wanted columns only, a few megabytes at a time.

    What is left of a damaged row group is kept aside as one entry that counts its rows; a file that cannot be
    opened is one record.
    """
    try:
        opened = file.path if isinstance(file.path, Path) else file.path.open("rb")
        parquet = pq.ParquetFile(opened, page_checksum_verification=True)
    except HubError:
        raise
    except _DAMAGE:
        yield _damaged(file, 1)
        advance(file.size)
        return
    with parquet:
        number = 1
        for index in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(index)
            end = number + group.num_rows
            batches = parquet.iter_batches(_batch_rows(group), row_groups=[index], columns=columns_of(source))
            try:
                for batch in batches:
                    for fields in _rows(batch):
                        yield Record(number, fields)
                        number += 1
            except HubError:
                raise
            except _DAMAGE:
                pass
            if number < end:
                yield _damaged(file, number, end - number)
            number = end
            advance(file.size // parquet.num_row_groups)


def _batch_rows(group: Any) -> int:
    row_bytes = max(group.total_byte_size // max(group.num_rows, 1), 1)
    return min(max(_BATCH_BYTES // row_bytes, 1), 4096)


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    if not batch.columns:  # the file has none of the fields
        yield from ({} for _ in range(batch.num_rows))
        return
    columns = [column.cast(_undecoded(column.type)) for column in batch.columns]
    yield from pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()


def _undecoded(kind: Any) -> Any:
    """Return the type with bytes for text.

    Parquet does not promise that its strings are UTF-8, and one bad row must not cost a batch.
    """
    if pa.types.is_dictionary(kind):
        return _undecoded(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_undecoded(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_undecoded(kind.value_type))
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pa.large_binary() if is_text else kind


def _damaged(file: InputFile | HubFile, record: int, records: int = 1) -> Rejected:
    with file.path.open("rb") as raw:
        excerpt = raw.read(EXCERPT_BYTES)
    return Rejected(file.name, record, Reason.DAMAGED_FILE, file.size, excerpt, records)
