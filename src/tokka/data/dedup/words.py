"""Hashes of words, of runs of words and of runs of letters, at some nanoseconds a character.

A run's hash is a polynomial in its characters' codes modulo 2**64 (Karp and Rabin 1987), the difference of
two prefix sums, then mixed; so all runs of a text cost a few passes over arrays.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokka.data.dedup.folding import SOLO, Hashes, character_codes, mixed

Positions = NDArray[np.int64]

_BLOCK = 2**18  # characters at a time: what is made of them stays in the processor's cache
_BASE = 0x9E3779B97F4A7C15  # odd, and so has an inverse modulo 2**64
_HALF = np.uint64(32)


class Sets(NamedTuple):
    """A set of 32-bit hashes for each document, laid end to end.

    Attributes:
        hashes: those of each document, distinct and ascending [hashes].
        begins: where each document's begin, and where the last one's end [documents + 1].
    """

    hashes: NDArray[np.uint32]
    begins: Positions


def shingles(texts: Sequence[str], width: int) -> Sets:
    """Return the set of hashed runs of ``width`` words of each text; of a shorter text, all its words as one.

    Words are runs of letters, digits and marks, normalised, see :func:`character_codes`. A text without a
    word has the empty set. Two different runs share a hash once in 2**32.
    """
    words, begins = word_hashes(texts)
    counts = np.diff(begins)
    place, ends = np.arange(len(words)), np.repeat(begins[1:], counts)
    runs = words.copy()
    for step in range(1, width):
        following = words[step:] * _powers()[step]
        following[place[:-step] + step >= ends[:-step]] = 0
        runs[: len(following)] += following
    whole = (place + width <= ends) | (place == ends - np.repeat(counts, counts))
    texts_of_runs = np.repeat(np.arange(len(texts), dtype=np.uint64), counts)[whole]
    keys = np.sort((texts_of_runs << _HALF) | (mixed(runs[whole]) >> _HALF))
    keys = keys[distinct(keys)]
    bounds = np.arange(len(texts) + 1, dtype=np.uint64) << _HALF
    return Sets(keys.astype(np.uint32), np.searchsorted(keys, bounds))


def word_hashes(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    """Return the hash of each word of ``texts`` [words], and where each text's words begin [texts + 1]."""
    codes, text_begins = character_codes(texts)
    hashes: list[Hashes] = []
    places: list[Positions] = []
    start = 0
    while start < len(codes):
        block = codes[start : start + _BLOCK]
        if start + _BLOCK < len(codes):
            block = block[: _last_separator(block)]
        begins, ends = _word_bounds(block)
        sums = _prefix_sums(block)
        hashes.append(mixed((sums[ends] - sums[begins]) * _inverse_powers()[begins]))
        places.append(begins + start)
        start += len(block)
    return np.concatenate(hashes), np.searchsorted(np.concatenate(places), text_begins)


def run_hashes(codes: Hashes, length: int) -> Hashes:
    """Return the hash of the run of ``length`` characters that begins at each character that has so many.

    Args:
        codes: of characters, each of which counts [characters].
        length: of a run; at most 2**17.
    """
    parts = [np.empty(0, np.uint64)]
    for start in range(0, len(codes) - length + 1, _BLOCK - length + 1):
        block = codes[start : start + _BLOCK]
        sums = _prefix_sums(block)
        runs = sums[length:] - sums[:-length]
        runs *= _inverse_powers()[: len(runs)]
        parts.append(mixed(runs))
    return np.concatenate(parts)


def distinct(ascending: NDArray) -> NDArray[np.bool_]:
    """Return a mask of the first of each run of equal numbers."""
    first = np.ones(len(ascending), bool)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    return first


def _word_bounds(codes: Hashes) -> tuple[Positions, Positions]:
    """Return where words begin and where they end."""
    letters = codes != 0
    goes_on = letters[1:] & letters[:-1]
    if np.bitwise_or.reduce(codes) & SOLO:
        solo = (codes & SOLO) != 0
        goes_on &= ~(solo[1:] | solo[:-1])
    begins, ends = letters.copy(), letters
    begins[1:] &= ~goes_on
    ends[:-1] &= ~goes_on
    return np.flatnonzero(begins), np.flatnonzero(ends) + 1


def _last_separator(codes: Hashes) -> int:
    """Return how many characters to take for the last word not to be cut; a word of a quarter block is."""
    tail = len(codes) * 3 // 4
    separators = np.flatnonzero(codes[tail:] == 0)
    return tail + int(separators[-1]) + 1 if len(separators) else len(codes)


def _prefix_sums(codes: Hashes) -> Hashes:
    """Return the sums of ``codes[i] * _BASE**i`` over i < 0, i < 1, ..., i < characters, modulo 2**64."""
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.multiply(codes, _powers()[: len(codes)], out=sums[1:])
    return np.cumsum(sums, out=sums)


@cache
def _powers() -> Hashes:
    return _powers_of(_BASE)


@cache
def _inverse_powers() -> Hashes:
    return _powers_of(pow(_BASE, -1, 2**64))


def _powers_of(number: int) -> Hashes:
    powers = np.full(_BLOCK, number, np.uint64)
    powers[0] = 1
    return np.cumprod(powers)
