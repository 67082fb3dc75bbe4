"""Web pages: what a page says, without its menus and advertisements, found by Trafilatura."""

import logging
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from tokka.data.documents import EXCERPT_BYTES, Reason, Rejected, UnfitError
from tokka.data.sources.files import InputFile
from tokka.data.sources.record import Record
from tokka.data.sources.text import read_text
from tokka.recipe.sources import Source
from tokka.workspace.workers import Advance

_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_HEAD_BYTES = 1024
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_html(file: InputFile, source: Source, advance: Advance) -> Iterator[Record | Rejected]:
    """Yield the text of a page, plain or compressed, as one record, or keep it aside."""
    for item in read_text(file, source, advance):
        if isinstance(item, Rejected):
            yield item
            continue
        page = item.raw or b""
        try:
            yield Record(1, {source.text: extract_text(decode_page(page))}, page)
        except UnfitError as unfit:
            yield Rejected(file.name, 1, unfit.reason, len(page), page[:EXCERPT_BYTES])


def decode_page(page: bytes, charset: str | None = None) -> str:
    """Return a page as text, in the order of the HTML standard (section 13.2.3.2) with UTF-8 tried early.

    That is: a byte order mark, UTF-8, the charset of the transport, the charset that its first 1,024 bytes
    state, Windows-1252. A charset that is unknown, or not the page's, is passed over.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if page.startswith(mark):
            return page.decode(encoding, errors="replace")
    stated = _CHARSET.search(page[:_HEAD_BYTES])
    for name in ("utf-8", charset, stated[1].decode("ascii", errors="replace") if stated else None):
        try:
            if name is not None:
                return page.decode("windows-1252" if name.lower() in ("iso-8859-1", "latin1") else name)
        except (LookupError, ValueError):  # no codec of text, or not that one
            continue
    return page.decode("windows-1252", errors="replace")


def extract_text(page: str) -> str:
    """Return the main text of a page, as datatrove's Trafilatura step finds it: for precision, no comments.

    Its step also leaves out what other pages said before, which would make a page's text depend on what the
    process read earlier; that is off, and boilerplate is left to curation.

    Raises:
        UnfitError: nothing was found, or Trafilatura failed.
    """
    extractor = _extractor()
    try:
        text = extractor.extract(page)
    except Exception:  # whatever it is that a page from outside breaks in it
        raise UnfitError(Reason.EXTRACTION_FAILED) from None
    if not text:
        raise UnfitError(Reason.NO_TEXT)
    return text.encode(errors="ignore").decode()  # entities can spell lone surrogates


@cache
def _extractor() -> Any:
    import trafilatura  # noqa: F401 - where it is missing, that must not pass for a broken page
    from datatrove.pipeline.extractors import Trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it would tell of every page without text
    return Trafilatura(deduplicate=False)
