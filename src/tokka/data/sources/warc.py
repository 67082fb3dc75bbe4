"""WARC files, as Common Crawl and the Internet Archive keep the web."""

import io
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from typing import Any

from tokka.data.documents import EXCERPT_BYTES, Reason, Rejected, UnfitError
from tokka.data.sources.files import InputFile
from tokka.data.sources.html import decode_page, extract_text
from tokka.data.sources.record import Record
from tokka.data.sources.stream import BrokenStreamError, read_chunks
from tokka.recipe.sources import Source
from tokka.workspace.workers import Advance

_PAGES = ("text/html", "application/xhtml+xml")
_DIAGNOSIS_BYTES = 256
"""So much is kept of what is no text: an image, a page that says that there is none."""


def read_warc(file: InputFile, source: Source, advance: Advance) -> Iterator[Record | Rejected]:
    """Yield the pages of a WARC file, plain or ``.gz``, each as its text and its ``url``.

    Responses are HTML, whose text is extracted, or kept aside; conversions (WET files) are text. Requests and
    other notes of the crawler are no records, but count in the records' numbers. Of a file that is damaged
    or ends too early, what came before is kept, and the rest is one entry.
    """
    from warcio.archiveiterator import ArchiveIterator

    finished = 0
    stream = _Stream(read_chunks(file.path, advance))
    try:
        for number, found in enumerate(ArchiveIterator(stream), 1):
            if found.rec_type in ("response", "conversion"):
                yield _record(number, found, file.name, source)
            finished = number
    except BrokenStreamError as broken:
        yield _damaged(finished + 1, file, broken.reason)
    except OSError:  # the disk failed, not the file: the same command goes on later
        raise
    except Exception:  # warcio raises whatever its parsers do
        yield _damaged(finished + 1, file, Reason.DAMAGED_FILE)


def _record(number: int, found: Any, name: str, source: Source) -> Record | Rejected:
    content = found.content_stream().read(source.max_bytes + 1)
    excerpt = EXCERPT_BYTES
    try:
        if len(content) > source.max_bytes:
            raise UnfitError(Reason.MONSTROUS)
        if _is_cut_off(found):
            raise UnfitError(Reason.TRUNCATED_ARCHIVE)
        url = found.rec_headers.get_header("WARC-Target-URI") or ""
        if found.rec_type == "conversion":
            return Record(number, {source.text: content, "url": url}, content)
        kind = _kind(found)
        if _failed(found) or kind.get_content_type() not in _PAGES:
            excerpt = _DIAGNOSIS_BYTES
            raise UnfitError(Reason.FAILED_REQUEST if _failed(found) else Reason.NOT_A_PAGE)
        charset = kind.get_content_charset()
        return Record(number, {source.text: extract_text(decode_page(content, charset)), "url": url}, content)
    except UnfitError as unfit:
        return Rejected(name, number, unfit.reason, len(content), content[:excerpt])


def _kind(found: Any) -> Message:
    """Return what kind of content a response is: as the crawler found, else as the server said."""
    identified = found.rec_headers.get_header("WARC-Identified-Payload-Type")
    stated = found.http_headers.get_header("Content-Type") if found.http_headers else None
    kind = Message()
    kind["Content-Type"] = stated or identified or "application/octet-stream"
    if identified:
        with suppress(ValueError, LookupError):  # no type at all, or a charset in a broken encoding
            kind.set_type(identified)
    return kind


def _failed(found: Any) -> bool:
    status = found.http_headers.get_statuscode() if found.http_headers else ""
    return not (status or "").startswith("2")


def _is_cut_off(found: Any) -> bool:
    """Tell whether the file ended before the record did, whose content has been read."""
    found.raw_stream.read()
    return found.length is not None and found.raw_stream.tell() < found.length


def _damaged(number: int, file: InputFile, reason: Reason) -> Rejected:
    with file.path.open("rb") as raw:
        return Rejected(file.name, number, reason, file.size, raw.read(_DIAGNOSIS_BYTES))


class _Stream(io.RawIOBase):
    """Pieces of a stream as the file that warcio reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._chunks, b"")
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        self._position += len(taken)
        return len(taken)
