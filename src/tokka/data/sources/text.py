"""Text files: one file is one document."""

from collections.abc import Iterator

from tokka.data.documents import EXCERPT_BYTES, Reason, Rejected
from tokka.data.sources.files import InputFile
from tokka.data.sources.record import BOM, Record
from tokka.data.sources.stream import BrokenStreamError, read_chunks
from tokka.recipe.sources import Source
from tokka.workspace.workers import Advance


def read_text(file: InputFile, source: Source, advance: Advance) -> Iterator[Record | Rejected]:
    """Yield the file, plain or compressed, as one record whose text field holds all of it.

    A file longer than ``source.max_bytes`` is monstrous, and never held whole. A file whose archive breaks
    off is kept aside: half a document is none.
    """
    parts: list[bytes] = []
    size = 0
    reason: Reason | None = None
    try:
        for chunk in read_chunks(file.path, advance):
            if size <= source.max_bytes:
                parts.append(chunk)
            size += len(chunk)
    except BrokenStreamError as error:
        reason = error.reason
    if size > source.max_bytes:
        reason = reason or Reason.MONSTROUS
    content = b"".join(parts)
    if reason:
        yield Rejected(file.name, 1, reason, size, content[:EXCERPT_BYTES])
    else:
        yield Record(1, {source.text: content.removeprefix(BOM)}, content)
