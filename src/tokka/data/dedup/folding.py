"""Characters of texts as numbers that are the same whatever their case, compatibility form or composition."""

import unicodedata
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

LETTER, SOLO = np.uint64(1), np.uint64(2)
"""Flags in a code's lowest bits: the character belongs to a word; it is a word by itself."""

_HARD, _UNKNOWN, _FLAGS = np.uint64(4), np.uint64(8), np.uint64(15)
_PAGE = 256
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x109F),  # Tibetan, Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0x20000, 0x3FFFF),
)
"""Scripts without spaces between words; each of their characters counts as a word."""

_JAMO = (0x1100, 0x11FF)  # Hangul letters, which compose to syllables

_FORMAT = regex.compile(r"\p{Cf}+")
_LOOSE_MARKS = regex.compile(r"(?<![\p{L}\p{N}\p{M}])\p{M}+")

_codes = np.full(0x110000, _UNKNOWN)  # by code point; entered by pages, when a text first needs one


def normalised(text: str) -> str:
    """Return ``text`` casefolded, in NFKC, without format characters and without accents of no letter.

    But for the accents, such as one typed for an apostrophe, Unicode calls this toNFKC_Casefold (The Unicode
    Standard, section 3.13.5). Format characters are soft hyphens and the like.
    """
    folded = unicodedata.normalize("NFKC", _FORMAT.sub("", text)).casefold()
    return _LOOSE_MARKS.sub("", unicodedata.normalize("NFKC", folded))


def is_letter(character: str) -> bool:
    """Tell letters, digits and marks from separators."""
    return unicodedata.category(character)[0] in "LNM"


def character_codes(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Return the characters of ``texts``, :func:`normalised` and laid end to end, as hashed numbers.

    A separator (white space, punctuation, a symbol) is 0. Every text is closed by one.

    Returns:
        Codes [characters], and the position [texts + 1] at which each text begins, the last one's end added.
    """
    codes = _codes_of("\n".join([*texts, ""]))
    begins = _begins(texts)
    if np.bitwise_or.reduce(codes) & _HARD:
        hard = set((np.searchsorted(begins, np.flatnonzero(codes & _HARD), side="right") - 1).tolist())
        texts = [normalised(text) if index in hard else text for index, text in enumerate(texts)]
        codes, begins = _codes_of("\n".join([*texts, ""])), _begins(texts)
    return codes, begins


def mixed(numbers: Hashes) -> Hashes:
    """Return numbers each bit of which depends on every bit of the given one (xxmxmx by Pelle Evensen)."""
    shift, factor = np.uint64(32), np.uint64(0xD6E8FEB86659FD93)
    result = numbers >> shift
    result ^= numbers
    for _ in range(2):
        result *= factor
        result ^= result >> shift
    return result


def _begins(texts: Sequence[str]) -> NDArray[np.int64]:
    begins = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) + 1 for text in texts], out=begins[1:])
    return begins


def _codes_of(text: str) -> Hashes:
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.intp)
    codes = _codes.take(points)
    if np.bitwise_or.reduce(codes) & _UNKNOWN:
        for page in np.unique(points[codes == _UNKNOWN] // _PAGE):
            _learn(int(page))
        codes = _codes.take(points)
    return codes


def _learn(page: int) -> None:
    """Enter the codes of 256 characters."""
    for point in range(page * _PAGE, (page + 1) * _PAGE):
        character = chr(point)
        folded = character if unicodedata.category(character)[0] == "M" else normalised(character)
        is_text = not folded or any(is_letter(each) for each in folded)
        _codes[point] = _code(point, folded) if is_text else 0


def _code(point: int, folded: str) -> int:
    """Return the code of a character that folds to ``folded``; hard where only its text tells to what."""
    if len(folded) != 1:
        return int(_HARD)
    number = int(mixed(np.array([ord(folded)], np.uint64))[0]) & ~int(_FLAGS)
    kind = SOLO if any(low <= ord(folded) <= high for low, high in _UNSPACED) else LETTER
    joins = unicodedata.category(folded)[0] == "M" or _JAMO[0] <= point <= _JAMO[1]
    return number | int(kind) | (int(_HARD) if joins else 0)
