"""Templates of documents: ``<|user|>Translate: {en} <|assistant|>{fi}``."""

from string import Formatter
from typing import NamedTuple


class Piece(NamedTuple):
    """Literal text, and the field that follows it; None after the last field."""

    literal: str
    field: str | None


def parse_template(written: str) -> list[Piece]:
    """Cut a template into its pieces. ``{{`` and ``}}`` are literal braces; ``{a.b}`` is a nested field.

    Raises ValueError where a brace is left open, a field has no name or is given a format, or there is none.
    """
    try:
        parsed = list(Formatter().parse(written))
    except ValueError as error:
        raise ValueError(
            f"{written!r} is not a template ({error}); write a literal brace as {{{{ or }}}}"
        ) from None
    for _, field, layout, conversion in parsed:
        if field == "" or layout or conversion:
            raise ValueError(
                f"{written!r} is not a template: in braces stands the name of a field, nothing else"
            )
    if all(field is None for _, field, _, _ in parsed):
        raise ValueError(f"{written!r} is not a template: it has no {{field}}")
    return [Piece(literal, field) for literal, field, _, _ in parsed]
