"""Sizes as people write them: ``1T`` tokens, ``165B`` tokens, a sequence of ``8K``."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_POWERS = {"": 0, "K": 1, "M": 2, "B": 3, "G": 3, "T": 4}
_NUMBER = r"[0-9][0-9_]{0,29}(\.[0-9]{1,20})?([eE]\+?[0-9]{1,2})?"
_PATTERN = re.compile(rf"({_NUMBER})\s?([KMBGTkmbgt]?)")
_LARGEST = 2**63 - 1  # what an int64 counts


def parse_size(written: object, base: int = 1000, least: int = 1) -> int:
    """Return the whole number that ``written`` stands for; each suffix is a power of ``base``.

    Args:
        written: a number, or a string such as ``165B`` or ``1.5M``; ``G`` is ``B``.
        base: 1000 for counts of tokens, 1024 for lengths and bytes.
        least: the smallest size allowed.

    Raises:
        ValueError: it is no size, is not whole, or lies outside ``least`` ... 2**63 - 1.
    """
    match = None if isinstance(written, bool) else _PATTERN.fullmatch(str(written).strip())
    if match is None:
        raise ValueError(f"{_shown(written)} is not a size; write for example 4194304, 165B or 1.5M")
    size = Fraction(match[1].replace("_", "")) * base ** _POWERS[match[4].upper()]
    if size.denominator != 1:
        raise ValueError(f"{_shown(written)} is not a whole number")
    if not least <= size <= _LARGEST:
        raise ValueError(f"{_shown(written)} is out of range; write {least} or more, less than 9.2 million T")
    return int(size)


def format_size(count: int) -> str:
    """Return ``count`` with the largest suffix, exact to three decimals.

    ``200_000 -> "200K"``, ``1_250_000 -> "1.25M"``, ``541_700_000_000 -> "541.7B"``.
    """
    if count < 1000:
        return str(count)
    for suffix in "KMBT":
        number = round(Decimal(count) / 1000 ** _POWERS[suffix], 3)
        if number < 1000:
            break
    return f"{number.normalize():f}{suffix}"


def _shown(written: object) -> str:
    shown = repr(written)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def _size(base: int, what: str, least: int = 1) -> tuple[Any, Any]:
    schema = {
        "anyOf": [
            {"type": "integer", "minimum": least, "maximum": _LARGEST},
            {"type": "string", "pattern": rf"^\s*{_NUMBER}\s?[KMBGTkmbgt]?\s*$"},
        ],
        "description": what,
    }
    return BeforeValidator(lambda written: parse_size(written, base, least)), WithJsonSchema(schema)


Tokens = Annotated[int, *_size(1000, "A count of tokens: 4194304, 8B, 1T (K, M, B, T are powers of 1000).")]
"""A count of tokens; suffixes are powers of 1000."""

TokensOrNone = Annotated[
    int, *_size(1000, "A count of tokens: 0, 4194304, 8B, 1T (powers of 1000).", least=0)
]
"""A count of tokens that may be 0."""

Length = Annotated[int, *_size(1024, "A length in tokens: 2048, 8K (K is 1024).")]
"""The length of a sequence in tokens; ``8K`` is 8192, as everyone means it."""

Bytes = Annotated[int, *_size(1024, "A count of bytes: 10M (K, M, B are powers of 1024).")]
"""A count of bytes; suffixes are powers of 1024."""
