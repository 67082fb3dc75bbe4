"""What a document is, what keeps a record from becoming one, and which documents are held out."""

from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

EXCERPT_BYTES = 64 * 1024
"""Of a record that is kept aside, at most so many bytes are kept."""

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r")) + b"\x7f"
_MOST_CONTROLS = 0.1


class Reason(StrEnum):
    """Why a record was kept aside."""

    BROKEN_JSON = "broken_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_UTF8 = "invalid_utf8"
    LONE_SURROGATE = "lone_surrogate"
    MISSING_FIELD = "missing_field"
    NOT_TEXT = "not_text"
    EMPTY = "empty"
    MONSTROUS = "monstrous"
    CONTROL_CHARACTERS = "control_characters"
    UNKNOWN_TOKEN = "unknown_token"
    TRUNCATED_ARCHIVE = "truncated_archive"
    DAMAGED_FILE = "damaged_file"
    EXTRACTION_FAILED = "extraction_failed"
    NO_TEXT = "no_text"
    NOT_A_PAGE = "not_a_page"
    FAILED_REQUEST = "failed_request"


class Document(NamedTuple):
    """A text and where it came from.

    Attributes:
        text: Unicode without lone surrogates, as it stood in the source.
        file: the input file, relative to the recipe where the recipe said so.
        record: 1-based number of the line, row or document in that file.
    """

    text: str
    file: str
    record: int


class Rejected(NamedTuple):
    """A record that did not become a document.

    Attributes:
        file, record: where it stood, as for a :class:`Document`.
        reason: why it was kept aside.
        size: its length in bytes.
        excerpt: its first bytes, at most :data:`EXCERPT_BYTES`.
        records: how many records were lost with it: 1, or the rows of a damaged row group.
    """

    file: str
    record: int
    reason: Reason
    size: int
    excerpt: bytes
    records: int = 1


class RemovedDocument(NamedTuple):
    """A document that was removed: by curation, or as a duplicate, or for a benchmark.

    Attributes:
        text, file, record: as for a :class:`Document`; the text is as it stood in the source.
        step: that removed it.
        reason: why.
        detail: what there is to say of this document, such as which one it repeats.
    """

    text: str
    file: str
    record: int
    step: str
    reason: str
    detail: str = ""


class UnfitError(Exception):
    """A record cannot become a document; ``reason`` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def checked(text: str, max_bytes: int) -> bytes:
    """Return ``text`` as UTF-8.

    Raises:
        UnfitError: it is empty or white space, has a lone surrogate, is longer than ``max_bytes`` in UTF-8,
            or more than a tenth of it is control characters (ASCII ones other than tab, newline, form feed
            and carriage return; UTF-16 read as UTF-8 is half NUL). A stray NUL is text like any other.
    """
    if not text or text.isspace():
        raise UnfitError(Reason.EMPTY)
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise UnfitError(Reason.LONE_SURROGATE) from None
    if len(content) > max_bytes:
        raise UnfitError(Reason.MONSTROUS)
    if len(content) - len(content.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(content):
        raise UnfitError(Reason.CONTROL_CHARACTERS)
    return content


def is_heldout(content: bytes, share: float) -> bool:
    """Tell whether the document with the UTF-8 ``content`` is held out when a ``share`` of all are.

    Only the content decides, so equal texts fall on the same side in every source, file and order, and what
    is held out at a small share is held out at every larger one.
    """
    number = int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
    return number < share * 2**64
