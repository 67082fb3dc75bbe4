"""The order of training data: a pure function of (seed, source, position in that source).

Each source is an endless stream of tokens: its documents in a keyed shuffle, epoch after epoch, each epoch
shuffled anew. Sequences are cut from one source's stream, so no token is wasted and the mix is exact in
tokens. Which source gives the next sequence follows from how much each has given so far.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokka.data.permutation import Permutation

_LOOKAHEAD = 1024
"""Documents whose place and size are computed at a time."""


class Documents(Protocol):
    """Tokenized documents of one source, such as a :class:`tokka.data.store.TokenStore`."""

    def __len__(self) -> int: ...

    def sizes(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of tokens of each of ``documents``."""
        ...

    def read(self, document: int, start: int, stop: int) -> NDArray[np.integer]:
        """Return tokens ``start`` to ``stop`` of ``document``."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a sequence that comes from one document."""

    source: str
    epoch: int
    document: int
    start: int
    stop: int


@dataclass(frozen=True)
class Batch:
    """Sequences of one step, or of one rank's part of it.

    Attributes:
        tokens: int64 [sequences, sequence_length + 1]; inputs are ``[:, :-1]``, targets ``[:, 1:]``.
        documents: int32 [sequences, sequence_length]; number of the document of each input within its row.
        origins: for each row the pieces of documents that it was packed from.
    """

    tokens: NDArray[np.int64]
    documents: NDArray[np.int32]
    origins: tuple[tuple[Piece, ...], ...]

    @property
    def sources(self) -> list[str]:
        """The source of each row."""
        return [pieces[0].source for pieces in self.origins]


@dataclass
class _Cursor:
    """Where the next sequence of a source begins.

    Attributes:
        epoch: how many times the source was read through.
        place: place of the document in the epoch's shuffle.
        offset: tokens of that document that were already targets (or begin the source).
        sequences: sequences given so far.
    """

    epoch: int = 0
    place: int = 0
    offset: int = 0
    sequences: int = 0


@dataclass
class _Stream:
    """One source as an endless stream of tokens."""

    name: str
    seed: int
    documents: Documents
    cursor: _Cursor = field(default_factory=_Cursor)
    _window: tuple[int, int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def next_pieces(self, length: int) -> tuple[Piece, ...]:
        """Return pieces of ``length + 1`` tokens in all and advance by ``length``."""
        cursor, pieces, needed = self.cursor, [], length + 1
        epoch, place, offset = cursor.epoch, cursor.place, cursor.offset
        while needed:
            document, size = self._at(epoch, place)
            stop = min(size, offset + needed)
            pieces.append(Piece(self.name, epoch, document, offset, stop))
            needed -= stop - offset
            if not needed:  # the last token here is the first input of the next sequence
                self.cursor = _Cursor(epoch, place, stop - 1, cursor.sequences + 1)
            place, offset = place + 1, 0
            if place == len(self.documents):
                epoch, place = epoch + 1, 0
        return tuple(pieces)

    def _at(self, epoch: int, place: int) -> tuple[int, int]:
        """Return the document at ``place`` of the shuffle of ``epoch``, and its size in tokens."""
        begin = place - place % _LOOKAHEAD
        if self._window is None or self._window[:2] != (epoch, begin):
            shuffle = Permutation(len(self.documents), (self.seed, self.name, epoch))
            members = shuffle(np.arange(begin, min(begin + _LOOKAHEAD, len(self.documents)), dtype=np.int64))
            self._window = (epoch, begin, members, self.documents.sizes(members))
        _, _, members, sizes = self._window
        return int(members[place - begin]), int(sizes[place - begin])


class Sampler:
    """Draws batches from several sources so that each gives exactly its budget.

    Memory does not depend on the size of the corpus, and the state is one small record per source.
    """

    def __init__(
        self, stores: Mapping[str, Documents], budgets: Mapping[str, int], *, seed: int, sequence_length: int
    ) -> None:
        """Set up the streams.

        Args:
            stores: tokenized documents of each source.
            budgets: tokens each source shall give, multiples of ``sequence_length``.
            seed: decides the shuffle of every source.
            sequence_length: tokens of one sequence.

        Raises:
            ValueError: a source with a budget has no documents, or a budget is no multiple.
        """
        for name, budget in budgets.items():
            if name not in stores or len(stores[name]) == 0:
                raise ValueError(f"source {name} has a share of the mixture but no documents to train on")
            if budget % sequence_length:
                raise ValueError(f"budget {budget} of {name} is not a multiple of {sequence_length}")
        self.sequence_length = sequence_length
        self._streams = {name: _Stream(name, seed, stores[name]) for name in budgets}
        self._wanted = np.array([budget // sequence_length for budget in budgets.values()], dtype=np.int64)
        self._stores = stores

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens given so far, per source."""
        return {name: s.cursor.sequences * self.sequence_length for name, s in self._streams.items()}

    def next_batch(self, sequences: int, rows: slice = slice(None)) -> Batch:
        """Draw ``sequences`` sequences and read those of ``rows``; all of them count as drawn.

        Every rank calls this with the whole batch's count and its own rows, so that the order never
        depends on how many ranks there are.
        """
        drawn = [self._streams[name].next_pieces(self.sequence_length) for name in self._choose(sequences)]
        return self._read(drawn[rows])

    def state(self) -> dict[str, dict[str, int]]:
        """Return the position in every source, as JSON content."""
        return {name: vars(stream.cursor).copy() for name, stream in self._streams.items()}

    def load_state(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Continue from ``state``; a source that it does not know begins at its beginning."""
        for name, stream in self._streams.items():
            stream.cursor = _Cursor(**state.get(name, {}))

    def _choose(self, sequences: int) -> list[str]:
        """Return the sources of the next sequences: always the one furthest behind its share."""
        names = list(self._streams)
        given = np.array([stream.cursor.sequences for stream in self._streams.values()], dtype=np.int64)
        total, chosen = int(self._wanted.sum()), []
        for position in range(int(given.sum()) + 1, int(given.sum()) + 1 + sequences):
            furthest_behind = int(np.argmax(self._wanted * position - given * total))
            given[furthest_behind] += 1
            chosen.append(names[furthest_behind])
        return chosen

    def _read(self, rows: list[tuple[Piece, ...]]) -> Batch:
        tokens = np.empty((len(rows), self.sequence_length + 1), dtype=np.int64)
        documents = np.empty((len(rows), self.sequence_length + 1), dtype=np.int32)
        for row, pieces in enumerate(rows):
            at = 0
            for number, piece in enumerate(pieces):
                until = at + piece.stop - piece.start
                tokens[row, at:until] = self._stores[piece.source].read(
                    piece.document, piece.start, piece.stop
                )
                documents[row, at:until] = number
                at = until
        return Batch(tokens, documents[:, :-1], tuple(rows))
