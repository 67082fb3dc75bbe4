"""From the fields of a record to the documents that a source makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from tokka.data.documents import EXCERPT_BYTES, Reason, Rejected, UnfitError, checked
from tokka.recipe.sources import Source
from tokka.recipe.template import Piece, parse_template

BOM = b"\xef\xbb\xbf"

_ABSENT = object()


class Record(NamedTuple):
    """One record as a reader found it.

    Attributes:
        number: 1-based position in its file.
        fields: its fields by name; text is ``str``, or ``bytes`` that were not decoded yet.
        raw: the record as it stands in the file; None where it has no such form (a Parquet row).
    """

    number: int
    fields: Mapping[str, Any]
    raw: bytes | None = None

    def rejected(self, file: str, reason: Reason) -> Rejected:
        """Return the record as one kept aside for ``reason``."""
        raw = _as_json(self.fields) if self.raw is None else self.raw
        return Rejected(file, self.number, reason, len(raw), raw[:EXCERPT_BYTES])


def templates_of(source: Source) -> list[list[Piece]]:
    """Return the templates of a source; a source without one has the template that is its text field."""
    if source.template is None:
        return [[Piece("", source.text)]]
    return [parse_template(written) for written in source.template]


def fields_of(source: Source) -> list[str]:
    """Return the names of the fields that the documents of a source are made of."""
    pieces = [piece for template in templates_of(source) for piece in template]
    return list(dict.fromkeys(piece.field for piece in pieces if piece.field is not None))


def columns_of(source: Source) -> list[str]:
    """Return the names of the fields that are read of a source: those of its documents, and their address."""
    return [*fields_of(source), "url" if source.curate is None else source.curate.url]


def url_of(fields: Mapping[str, Any], source: Source) -> str | None:
    """Return the address of a record, where it has one."""
    url = fields.get("url" if source.curate is None else source.curate.url)
    url = url.decode(errors="replace") if isinstance(url, bytes) else url
    return url if isinstance(url, str) else None


def contents(fields: Mapping[str, Any], templates: Sequence[Sequence[Piece]], max_bytes: int) -> list[bytes]:
    """Return the documents of a record as UTF-8, one a template.

    Raises UnfitError where one of them cannot be made: then the record gives none, so that a pair of
    translations is kept in both directions or not at all.
    """
    return [
        checked("".join([part for piece in template for part in _filled(piece, fields)]), max_bytes)
        for template in templates
    ]


def _filled(piece: Piece, fields: Mapping[str, Any]) -> Sequence[str]:
    if piece.field is None:
        return (piece.literal,)
    text = _text(fields, piece.field)
    return (piece.literal, text) if piece.literal else (text,)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, _ABSENT)
    if value is _ABSENT and "." in name:
        value = _nested(fields, name)
    if isinstance(value, bytes):
        value = decoded(value)
    if not isinstance(value, str):
        absent = value is None or value is _ABSENT
        raise UnfitError(Reason.MISSING_FIELD if absent else Reason.NOT_TEXT)
    if not value or value.isspace():
        raise UnfitError(Reason.EMPTY)
    return value


def _nested(fields: Mapping[str, Any], name: str) -> Any:
    value: Any = fields
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def decoded(raw: bytes) -> str:
    """Return UTF-8 bytes as text; raises UnfitError where they are not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UnfitError(Reason.INVALID_UTF8) from None


def _as_json(fields: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, default=_readable, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates and integers beyond 64 bits
        return repr(dict(fields)).encode(errors="backslashreplace")


def _readable(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else repr(value)
