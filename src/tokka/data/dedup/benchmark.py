"""Items of benchmarks, and an index of their texts by which they are found in documents.

Only letters, digits and marks count, normalised: neither case nor white space nor punctuation hides an item.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from tokka.data.dedup.folding import Hashes, character_codes
from tokka.data.dedup.words import Positions, run_hashes
from tokka.workspace.files import whole_file

RUN = 50
"""Letters of a run that is looked for: GPT-4's substrings of 50 characters without spaces and symbols (OpenAI
2023, GPT-4 Technical Report, appendix C)."""

SHARE = 0.5
"""A text is held by a document that has at least this part of its runs. One run alone may be a phrase that
many share; PaLM asked for 70% of 8-grams (Chowdhery et al. 2022, section 8)."""

WHOLE = 25
"""A text shorter than a run, but not than this, is held by a document that has all of it."""

LINES = 12
"""A still shorter one by a document where it fills lines; shorter than this, by one that is nothing else."""

_STRIDE = 8
"""Of the runs of a text each so manyth is looked for, and its last."""


class Item(NamedTuple):
    """One item of a benchmark.

    Attributes:
        task: the benchmark.
        item: number of the item in it, from 0.
        texts: a document that holds one of these holds the item.
    """

    task: str
    item: int
    texts: tuple[str, ...]


class Sieve:
    """Hashes of texts, of which very few are among those that they are looked for in.

    Attributes:
        hashes: ascending [entries].
        texts: number of the text that each is of [entries].
    """

    def __init__(self, parts: Sequence[tuple[int, Hashes]]) -> None:
        """Take in hashes: the number of a text, and some of that text."""
        hashes = np.concatenate([np.empty(0, np.uint64), *(part for _, part in parts)])
        texts = np.repeat([number for number, _ in parts], [len(part) for _, part in parts])
        order = np.lexsort((texts, hashes))
        self.hashes, self.texts = hashes[order], texts[order].astype(np.int64)
        bits = min(max(16, len(hashes).bit_length() + 4), 27)
        self._shift = np.uint64(64 - bits)
        self._may_be_here = np.zeros(2**bits, bool)
        self._may_be_here[self.hashes >> self._shift] = True

    def find(self, hashes: Hashes) -> tuple[Positions, Positions]:
        """Return the places in ``hashes`` of hashes that are here, and the entry each of them is at.

        A place is there once for each entry that has its hash.
        """
        places = np.flatnonzero(self._may_be_here[(hashes >> self._shift).astype(np.intp)])
        low = np.searchsorted(self.hashes, hashes[places])
        counts = np.searchsorted(self.hashes, hashes[places], side="right") - low
        step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(places, counts), np.repeat(low, counts) + step


class Index:
    """What is looked for, by hash.

    Attributes:
        items: that the texts belong to.
        item_of: number of the item of each text [texts].
        runs_in: how many runs of each text are looked for; 0 of one that is too short for a run [texts].
        runs: these runs.
        wholes: the first :data:`WHOLE` letters of each text that is too short for a run.
        lines: the first :data:`LINES` letters of each that is too short for that.
        letters: all letters of texts that are too short for a run.
        shortest: those below :data:`WHOLE`, by their letters as bytes.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        owners = [(number, text) for number, item in enumerate(items) for text in dict.fromkeys(item.texts)]
        self.item_of = np.array([number for number, _ in owners], np.int64)
        self.runs_in = np.zeros(len(owners), np.int64)
        self.letters: dict[int, Hashes] = {}
        self.shortest: dict[bytes, list[int]] = {}
        runs: list[tuple[int, Hashes]] = []
        wholes: list[tuple[int, Hashes]] = []
        lines: list[tuple[int, Hashes]] = []
        for number, (_, text) in enumerate(owners):
            letters = letters_of(text)
            if len(letters) >= RUN:
                places = np.unique([*range(0, len(letters) - RUN + 1, _STRIDE), len(letters) - RUN])
                runs.append((number, run_hashes(letters, RUN)[places]))
                self.runs_in[number] = len(places)
                continue
            self.letters[number] = letters
            if len(letters) >= WHOLE:
                wholes.append((number, run_hashes(letters[:WHOLE], WHOLE)))
            elif len(letters):
                if len(letters) >= LINES:
                    lines.append((number, run_hashes(letters[:LINES], LINES)))
                self.shortest.setdefault(letters.tobytes(), []).append(number)
        self.runs, self.wholes, self.lines = Sieve(runs), Sieve(wholes), Sieve(lines)


def letters_of(text: str) -> Hashes:
    """Return the codes of the letters, digits and marks of a text, see :func:`character_codes`."""
    codes, _ = character_codes([text])
    return codes[codes != 0]


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write items as JSON Lines."""
    with whole_file(path) as aside, aside.open("wb") as lines:
        for item in items:
            lines.write(orjson.dumps(item._asdict(), option=orjson.OPT_APPEND_NEWLINE))


def read_items(path: Path) -> list[Item]:
    """Return the items that :func:`write_items` wrote."""
    with path.open("rb") as lines:
        return [Item(one["task"], one["item"], tuple(one["texts"])) for one in map(orjson.loads, lines)]
