"""Text to ids: ``tokenizers``, which decides what is right, and gigatoken, which is many times as fast."""

import json
import unicodedata
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tokka.tokenizer.batches import batches
from tokka.tokenizer.codepoints import ALL, check_is_unicode, codepoints
from tokka.tokenizer.patterns import byte_alphabet
from tokka.tokenizer.probe import probe_texts
from tokka.tokenizer.respell import is_bloom, respell, respelled

Backend = Literal["gigatoken", "tokenizers"]
Ids = NDArray[np.int32]

_BATCH_CHARACTERS = 2**18
"""``tokenizers`` is fastest on batches of about this much text; measured on Finnish, 2 cores."""

_RESPELLED_CHARACTERS = 2**16
"""Respelling takes eight bytes a character; this many stay in a core's cache."""

_RENEWED_AFTER = 2**30
"""Characters. On Finnish gigatoken then holds about half a gigabyte of words."""

_FIRST_UNASSIGNED = 0x378
"""No character before this one can be unassigned: Unicode never takes one back."""


class Encoder(Protocol):
    """Encodes texts; adds no token to them."""

    backend: Backend

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text. Raises ValueError where one has a lone surrogate."""
        ...


class ExactEncoder:
    """``tokenizers`` itself."""

    backend: Backend = "tokenizers"

    def __init__(self, config: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(json.dumps(config))

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        check_is_unicode(texts)
        return [
            np.array(encoding.ids, np.int32)
            for batch in batches(texts, len, _BATCH_CHARACTERS)
            for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        ]


class GigatokenEncoder:
    """gigatoken, for the patterns it knows.

    It and ``tokenizers`` may follow different versions of Unicode, so a text with a character that Python's
    has not assigned goes through ``tokenizers``.
    """

    backend: Backend = "gigatoken"

    def __init__(self, config: dict[str, Any], exact: ExactEncoder) -> None:
        self._fast, self._exact = _Gigatoken(config), exact

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        points, lengths = codepoints(texts)
        rows = _rows(*self._fast.encode_batch(list(texts)))
        places = np.flatnonzero(points >= _FIRST_UNASSIGNED)
        places = places[_is_unassigned()[points[places]]]
        unsure = np.unique(np.searchsorted(np.cumsum(lengths), places, side="right")).tolist()
        for index, ids in zip(unsure, self._exact.encode_batch([texts[i] for i in unsure]), strict=True):
            rows[index] = ids
        return rows


class RespelledEncoder:
    """gigatoken for BLOOM's pattern, by way of :mod:`tokka.tokenizer.respell`."""

    backend: Backend = "gigatoken"

    def __init__(self, config: dict[str, Any]) -> None:
        ids: dict[str, int] = config["model"]["vocab"]
        self._fast = _Gigatoken(respelled(config))
        self._size, self._space = max(ids.values()) + 1, ids[byte_alphabet()[ord(" ")]]

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        spelled = [each for batch in batches(texts, len, _RESPELLED_CHARACTERS) for each in respell(batch)]
        flat, sizes = self._fast.encode_batch(spelled)
        return _rows(np.where(flat < self._size, flat, np.int32(self._space)), sizes)


class _Gigatoken:
    """gigatoken itself, made anew after so much text: version 0.10 never forgets a word that it has met."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._json = json.dumps(config)
        self._renew()

    def encode_batch(self, texts: list[str] | list[bytes]) -> tuple[Ids, NDArray[np.int64]]:
        """Return the ids of all texts in one row, and how many each text has."""
        import awkward

        if self._read >= _RENEWED_AFTER:
            self._renew()
        self._read += sum(map(len, texts))
        rows = self._tokenizer.encode_batch(texts)
        flat = awkward.to_numpy(awkward.flatten(rows)).view(np.int32)
        return flat, awkward.to_numpy(awkward.num(rows))

    def _renew(self) -> None:
        import gigatoken

        self._tokenizer, self._read = gigatoken.Tokenizer.from_json(self._json), 0


def fastest_encoder(
    config: dict[str, Any], exact: ExactEncoder, *, names: Collection[str] = (), spelled: Collection[str] = ()
) -> Encoder:
    """Return gigatoken where it is there, takes the tokenizer and gives the ids that ``tokenizers`` gives.

    Both encode the same texts first, of many scripts; where one id differs, ``exact`` does all the work.

    Args:
        config: a sealed ``tokenizer.json``.
        exact: its encoder.
        names: of added tokens, special or not; the texts that are compared have them in them.
        spelled: those of them that a text can still spell.
    """
    bloom = is_bloom(config) and not spelled
    try:
        fast = RespelledEncoder(config) if bloom else GigatokenEncoder(config, exact)
    except (ImportError, RuntimeError):  # not installed, or it does not know the pattern or the model
        return exact
    probe = probe_texts(names)
    return fast if all(map(np.array_equal, fast.encode_batch(probe), exact.encode_batch(probe))) else exact


def _rows(flat: Ids, sizes: NDArray[np.int64]) -> list[Ids]:
    ends = np.cumsum(sizes)
    return [flat[start:end] for start, end in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]


@cache
def _is_unassigned() -> NDArray[np.bool_]:
    return np.fromiter((unicodedata.category(chr(point)) == "Cn" for point in range(ALL)), bool, ALL)
