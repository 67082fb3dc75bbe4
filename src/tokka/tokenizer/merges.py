"""Learning merges: byte-pair encoding that begins with the tokens of a vocabulary instead of bytes."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

_FOREIGN = 0.01
"""A pair that is, elsewhere, more than this part as frequent as in the new languages, is not theirs alone."""

_LEAST = 2
"""A pair that occurs less often teaches nothing."""

Pair = tuple[int, int]


class Word(NamedTuple):
    """A word as the tokenizer cuts texts.

    Attributes:
        tokens: what it is encoded to.
        new, kept: how often it occurs in the sample of the new languages, and in that of the others.
    """

    tokens: tuple[int, ...]
    new: int
    kept: int


class NewMerge(NamedTuple):
    """A merge: its two sides as the vocabulary spells them, and the old tokens that the result is made of."""

    left: str
    right: str
    pieces: list[int]


def learn_merges(
    words: Sequence[Word], vocabulary: Mapping[str, int], count: int, *, kept_weight: float
) -> list[NewMerge]:
    """Learn up to ``count`` merges, the most frequent pair first, as BPE does (Sennrich et al. 2016).

    A pair is left out where its merge would spell a token that is there already (which is reached by another
    way, or never), and where the other languages have it as well: for each byte of their text more than a
    hundredth as often as the new ones. So their texts keep their tokens. Ties go to the smaller ids.

    Args:
        words: of all languages, each once.
        vocabulary: spelling -> id of the tokens that there are.
        count: of merges; there are fewer where no pair is left that occurs twice.
        kept_weight: how much larger the sample of the new languages is than that of the others, in bytes.
    """
    return _Learner(words, vocabulary, kept_weight).learn(count)


class _Learner:
    """The words at a moment of the learning, and how often each pair of tokens occurs in them."""

    def __init__(self, words: Sequence[Word], vocabulary: Mapping[str, int], kept_weight: float) -> None:
        self._spelling = {id: spelling for spelling, id in vocabulary.items()}
        self._known = set(vocabulary)
        self._pieces: dict[int, list[int]] = {}
        self._words = list(words)
        self._kept_weight = kept_weight
        self._counts: defaultdict[Pair, int] = defaultdict(int)
        self._kept: defaultdict[Pair, int] = defaultdict(int)
        self._places: defaultdict[Pair, set[int]] = defaultdict(set)
        for place, word in enumerate(self._words):
            self._add(place, word, 1)
        self._heap = [(-found, pair) for pair, found in self._counts.items()]
        heapq.heapify(self._heap)

    def learn(self, count: int) -> list[NewMerge]:
        merges: list[NewMerge] = []
        fresh = max(self._spelling, default=-1) + 1
        while len(merges) < count and (pair := self._next()) is not None:
            left, right = (self._spelling[token] for token in pair)
            pieces = [piece for token in pair for piece in self._pieces.get(token, [token])]
            self._spelling[fresh], self._pieces[fresh] = left + right, pieces
            self._known.add(left + right)
            merges.append(NewMerge(left, right, pieces))
            self._carry_out(pair, fresh)
            fresh += 1
        return merges

    def _next(self) -> Pair | None:
        """Return the most frequent pair that may be merged, None where there is none."""
        while self._heap:
            stated, pair = heapq.heappop(self._heap)
            found = self._counts[pair]
            if -stated != found:  # it became rarer, and waits for its new turn
                heapq.heappush(self._heap, (-found, pair))
            elif found < _LEAST:
                return None
            elif not self._is_taken(pair) and not self._is_foreign(pair):
                return pair
        return None

    def _is_taken(self, pair: Pair) -> bool:
        return self._spelling[pair[0]] + self._spelling[pair[1]] in self._known

    def _is_foreign(self, pair: Pair) -> bool:
        return self._kept[pair] * self._kept_weight > _FOREIGN * self._counts[pair]

    def _carry_out(self, pair: Pair, merged: int) -> None:
        changed: set[Pair] = set()
        for place in sorted(self._places.pop(pair)):
            word = self._words[place]
            tokens = _joined(word.tokens, pair, merged)
            if len(tokens) < len(word.tokens):
                self._add(place, word, -1)
                self._words[place] = word._replace(tokens=tokens)
                self._add(place, self._words[place], 1)
                changed.update(pairwise(tokens))
        for found in changed:
            if merged in found:
                heapq.heappush(self._heap, (-self._counts[found], found))

    def _add(self, place: int, word: Word, sign: int) -> None:
        """Count the pairs of a word in, or out again."""
        for pair in pairwise(word.tokens):
            self._counts[pair] += sign * word.new
            self._kept[pair] += sign * word.kept
            if sign > 0:
                self._places[pair].add(place)


def _joined(tokens: tuple[int, ...], pair: Pair, merged: int) -> tuple[int, ...]:
    """Return ``tokens`` with each ``pair`` in it, from the left, replaced by ``merged``."""
    joined: list[int] = []
    for token in tokens:
        if joined and (joined[-1], token) == pair:
            joined[-1] = merged
        else:
            joined.append(token)
    return tuple(joined)
