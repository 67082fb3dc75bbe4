"""Texts as arrays of code points, so that a question about every character is one look-up in a table."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALL = 0x110000
"""So many code points there are; the length of a table over all of them."""


def codepoints(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the code points of all texts, one after the other, and how many each text has.

    Raises ValueError where a text has a lone surrogate, which is no character.
    """
    try:
        joined = "".join(texts).encode("utf-32-le")
    except UnicodeEncodeError:
        raise _lone_surrogate(texts) from None
    return np.frombuffer(joined, np.dtype("<u4")), np.fromiter(map(len, texts), np.int64, len(texts))


def check_is_unicode(texts: Sequence[str]) -> None:
    """Raise ValueError where a text has a lone surrogate, which is no character."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise _lone_surrogate(texts) from None


def _lone_surrogate(texts: Sequence[str]) -> ValueError:
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return ValueError(
                f"text {index} has the lone surrogate U+{ord(text[error.start]):04X} at character "
                f"{error.start}, half of a UTF-16 pair; mend or drop the text"
            )
    raise AssertionError("no text has a lone surrogate")
