"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from tokka.data.documents import EXCERPT_BYTES, Reason, Rejected, UnfitError
from tokka.data.sources.files import InputFile
from tokka.data.sources.record import BOM, Record, decoded
from tokka.data.sources.remote import HubFile
from tokka.data.sources.stream import read_chunks, read_lines
from tokka.recipe.sources import Source
from tokka.workspace.workers import Advance


def read_jsonl(file: InputFile | HubFile, source: Source, advance: Advance) -> Iterator[Record | Rejected]:
    """Yield the objects of a JSON Lines file, plain or compressed; blank lines are no records.

    A line longer than ``source.max_bytes`` is monstrous, and never held whole. The line in which an archive
    breaks off is kept aside with it.
    """
    for number, data, size, broken in read_lines(read_chunks(file.path, advance), source.max_bytes):
        line = data.removeprefix(BOM) if number == 1 else data
        try:
            if broken:
                raise UnfitError(broken)
            if size > source.max_bytes:
                raise UnfitError(Reason.MONSTROUS)
            if line and not line.isspace():
                yield Record(number, _parse(line), line)
        except UnfitError as unfit:
            yield Rejected(file.name, number, unfit.reason, size, data[:EXCERPT_BYTES])


def _parse(line: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        fields = _parse_leniently(line)
    if not isinstance(fields, dict):
        raise UnfitError(Reason.NOT_AN_OBJECT)
    return fields


def _parse_leniently(line: bytes) -> Any:
    """Parse what orjson refuses but much software writes: NaN, and lone surrogates in any field."""
    try:
        return json.loads(decoded(line))
    except (ValueError, RecursionError):
        raise UnfitError(Reason.BROKEN_JSON) from None
