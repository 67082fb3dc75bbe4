r"""BLOOM's pattern through gigatoken, which can cut by GPT-2's pattern but not by BLOOM's.

BLOOM cuts text into words, `` ?[^stop]+``, and stretches of stop characters between them; GPT-2 cuts
`` ?\p{L}+`` and stretches of neither space, letter nor digit. So text is respelled: each byte of a word's
character becomes a letter, each byte of a stop character a combining mark, and a space that leads a word
stays a space. GPT-2's pattern cuts the result exactly where BLOOM's cuts the text. The respelled vocabulary
begins with merges that turn every letter and mark back into its byte; from there on the merges are the
tokenizer's own.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokka.tokenizer.codepoints import ALL, codepoints
from tokka.tokenizer.patterns import PATTERNS, byte_alphabet

_SPACE = 0x20
_STOPS = (
    "(|.,!?…。，、।۔،)"
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What BLOOM's pattern lets no word contain: white space as Unicode has it, and some punctuation."""

_ASCII_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


_NEVER_IN_UTF8 = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))

_WOULD_CHANGE_IDS = (
    "dropout",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "byte_fallback",
    "ignore_merges",
)


def is_bloom(config: dict[str, Any]) -> bool:
    """Tell whether a ``tokenizer.json`` is plain byte-level BPE that cuts by BLOOM's pattern alone."""
    model, steps = config["model"], (config.get("pre_tokenizer") or {}).get("pretokenizers", [])
    return (
        model.get("type") == "BPE"
        and not any(model.get(key) for key in _WOULD_CHANGE_IDS)
        and {symbol for byte, symbol in enumerate(byte_alphabet()) if byte not in _NEVER_IN_UTF8}
        <= model["vocab"].keys()
        and config.get("normalizer") is None
        and [step["type"] for step in steps] == ["Split", "ByteLevel"]
        and steps[0]["pattern"] == {"Regex": PATTERNS["bloom"]}
        and steps[0]["behavior"] == "Isolated"
        and not steps[0]["invert"]
        and not steps[1]["add_prefix_space"]
        and not steps[1]["use_regex"]
    )


def respelled(config: dict[str, Any]) -> dict[str, Any]:
    """Return the ``tokenizer.json`` that gives a :func:`respell`-ed text the ids ``config`` gives the text.

    One thing is left to the caller: ids beyond those of ``config`` are spaces that no merge took.

    Args:
        config: sealed, and :func:`is_bloom`.
    """
    ids: dict[str, int] = config["model"]["vocab"]
    alphabet = byte_alphabet()
    spare = max(ids.values()) + 1
    # Bytes as gigatoken sees them: ASCII letters stand for themselves, the others are half a spelling each.
    vocab = {
        symbol: ids[symbol] if byte in _ASCII_LETTERS else spare + byte
        for byte, symbol in enumerate(alphabet)
    }
    merges = []
    known = [(ids[symbol], byte) for byte, symbol in enumerate(alphabet) if symbol in ids]
    for id, byte in sorted(known):
        for character in dict.fromkeys((_letter(byte), _mark(byte))):
            spelling = _in_alphabet(character)
            vocab[spelling] = id
            merges += [list(spelling)] if len(spelling) == 2 else []
    spellings = {symbol: _in_alphabet(_letter(byte)) for byte, symbol in enumerate(alphabet)}

    def spell(token: str) -> str:
        return "".join(map(spellings.__getitem__, token))

    vocab |= {spell(token): id for token, id in ids.items() if spellings.keys() >= set(token)}
    space = alphabet[_SPACE]
    for left, right in config["model"]["merges"]:
        merges.append([spell(left), spell(right)])
        if left == space:  # once more, for the space that leads a word
            merges.append([space, spell(right)])
            vocab[space + spell(right)] = ids[left + right]
    return {
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


def respell(texts: Sequence[str]) -> list[bytes]:
    """Return each text respelled, as UTF-8.

    Raises ValueError where a text has a lone surrogate.
    """
    points, lengths = codepoints(texts)
    ends = np.cumsum(lengths)
    spelled, widths = _spelled()
    stops = _is_stop()[points]
    leads = points == _SPACE
    leads[:-1] &= ~stops[1:]
    leads[ends[lengths > 0] - 1] = False  # nothing follows the last character of a text
    out = spelled[points]
    out[leads] = _SPACE
    width = np.append(widths[points], np.uint8(0))
    width[:-1][leads] = 1
    sizes = np.where(lengths > 0, np.add.reduceat(width, ends - lengths, dtype=np.int64), 0)
    data = out.tobytes().translate(None, delete=b"\0")
    return [data[end - size : end] for size, end in zip(sizes, np.cumsum(sizes), strict=True)]


def _letter(byte: int) -> str:
    """Return the letter that stands for a byte of a word."""
    return chr(byte) if byte in _ASCII_LETTERS else chr(0x100 + byte)


def _mark(byte: int) -> str:
    """Return the combining mark that stands for a byte of a stop character."""
    return chr(0x300 + _stop_bytes().index(byte)) if byte in _stop_bytes() else _letter(byte)


def _in_alphabet(character: str) -> str:
    return "".join(byte_alphabet()[byte] for byte in character.encode())


_UTF8_LENGTHS = (
    (1, 0, 0x80, np.uint64(0)),
    (2, 0x80, 0x800, np.uint64(0xC0)),
    (3, 0x800, 0x10000, np.uint64(0xE0)),
    (4, 0x10000, ALL, np.uint64(0xF0)),
)
"""Bytes of a character, its code points from and to, and the bits that mark its first byte."""


@cache
def _stop_bytes() -> bytes:
    return bytes(sorted(set(_STOPS.encode())))


@cache
def _is_stop() -> NDArray[np.bool_]:
    table = np.zeros(ALL, bool)
    table[[ord(stop) for stop in _STOPS]] = True
    return table


@cache
def _spelled() -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the spelling of every code point, at most 8 bytes and zeros, and how many bytes it has."""
    letters, marks = (
        np.array([int.from_bytes(spell(byte).encode(), "little") for byte in range(256)], np.uint64)
        for spell in (_letter, _mark)
    )
    table = np.zeros(ALL, np.dtype("<u8"))
    for length, low, high, lead in _UTF8_LENGTHS:
        points = np.arange(low, high, dtype=np.uint64)
        stops = _is_stop()[low:high]
        for place in range(length):
            shift = np.uint64(6 * (length - 1 - place))
            byte = (points >> shift) & np.uint64(0x3F) | np.uint64(0x80) if place else points >> shift | lead
            table[low:high] |= np.where(stops, marks[byte], letters[byte]) << np.uint64(16 * place)
    return table, (table.view(np.uint8).reshape(ALL, 8) != 0).sum(axis=1, dtype=np.uint8)
