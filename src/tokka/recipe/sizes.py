"""Sizes as people write them: ``1T`` tokens, ``165B`` tokens, a sequence of ``8K``."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_SUFFIXES = {"": 0, "K": 1, "M": 2, "B": 3, "T": 4}
_PATTERN = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][0-9]+)?)\s*([KMBT]?)")


def parse_size(written: str | int | float, base: int = 1000) -> int:
    """Return the whole number that ``written`` stands for; each suffix is a power of ``base``.

    Raises ValueError when it is no size, is not whole, or is not positive.
    """
    if isinstance(written, bool) or not isinstance(written, (str, int, float)):
        raise ValueError(f"{written!r} is not a size; write for example 4194304, 165B or 1.5M")
    match = _PATTERN.fullmatch(str(written).strip().upper().replace("G", "B"))
    if match is None:
        raise ValueError(f"{written!r} is not a size; write for example 4194304, 165B or 1.5M")
    number, suffix = match.groups()
    try:
        value = Decimal(number.replace("_", "")) * base ** _SUFFIXES[suffix]
    except InvalidOperation as error:
        raise ValueError(f"{written!r} is not a size") from error
    if value != value.to_integral_value():
        raise ValueError(f"{written!r} is {value.normalize():f}, not a whole number")
    if value <= 0:
        raise ValueError(f"{written!r} must be positive")
    return int(value)


def format_size(count: int) -> str:
    """Return ``count`` with the largest suffix that keeps at most three significant decimals.

    ``200_000 -> "200K"``, ``1_250_000 -> "1.25M"``, ``541_700_000_000 -> "541.7B"``.
    """
    for suffix, power in reversed(_SUFFIXES.items()):
        if power and count >= 1000**power:
            return f"{Decimal(count) / 1000**power:.3f}".rstrip("0").rstrip(".") + suffix
    return str(count)


def _size(base: int, what: str) -> Any:
    return (
        BeforeValidator(lambda written: parse_size(written, base)),
        WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}], "description": what}),
    )


Tokens = Annotated[int, *_size(1000, "A count of tokens: 4194304, 8B, 1T (K, M, B, T are powers of 1000)")]
"""A count of tokens; suffixes are powers of 1000."""

Length = Annotated[int, *_size(1024, "A length in tokens: 2048, 8K (K is 1024)")]
"""The length of a sequence in tokens; ``8K`` is 8192, as everyone means it."""

Bytes = Annotated[int, *_size(1024, "A count of bytes: 10M (K, M, B are powers of 1024)")]
"""A count of bytes; suffixes are powers of 1024."""
