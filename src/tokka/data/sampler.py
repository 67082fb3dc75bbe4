"""The order of training data: a pure function of (seed, source, position in that source).

Each source is an endless stream of tokens: its documents in a keyed shuffle, epoch after epoch, each epoch
shuffled anew. Sequences are cut from one source's stream, so no token is wasted and the mix is exact in
tokens. Which source gives the next sequence is told by :class:`tokka.data.order.Order`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokka.data.order import Order, Part
from tokka.data.permutation import Permutation

_LOOKAHEAD = 1024
"""Documents whose place and size are computed at a time."""

_SOUGHT = 2**18
"""The same where a place far ahead is looked for."""


class Documents(Protocol):
    """Tokenized documents of one source, such as a :class:`tokka.data.store.TokenStore`."""

    @property
    def tokens(self) -> int:
        """Tokens of all documents together."""
        ...

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
    """Sequences of one step, or the rows of it that one rank reads.

    Attributes:
        tokens: int64 [sequences, sequence_length + 1]; inputs are ``[:, :-1]``, targets ``[:, 1:]``.
        documents: int32 [sequences, sequence_length]; number of the document of each input within its row.
        origins: for each sequence of the step, other ranks' too, the pieces of documents that it is packed
            from.
    """

    tokens: NDArray[np.int64]
    documents: NDArray[np.int32]
    origins: tuple[tuple[Piece, ...], ...]

    @property
    def sources(self) -> list[str]:
        """The source of each sequence of the step."""
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

    def seek(self, sequences: int, length: int) -> None:
        """Go where the stream is after so many sequences, in one pass over the sizes of an epoch."""
        epoch, left = divmod(sequences * length, self.documents.tokens)
        shuffle = self._shuffle(epoch)
        for block in self._places():
            ends = np.cumsum(self.documents.sizes(shuffle(block)))
            if left < ends[-1]:
                place = int(np.searchsorted(ends, left, side="right"))
                offset = left - int(ends[place - 1] if place else 0)
                self.cursor = _Cursor(epoch, int(block[place]), offset, sequences)
                return
            left -= int(ends[-1])

    def _places(self) -> Iterator[NDArray[np.int64]]:
        """Yield all places of an epoch, block by block."""
        for begin in range(0, len(self.documents), _SOUGHT):
            yield np.arange(begin, min(begin + _SOUGHT, len(self.documents)), dtype=np.int64)

    def _shuffle(self, epoch: int) -> Permutation:
        return Permutation(len(self.documents), (self.seed, self.name, epoch))

    def _at(self, epoch: int, place: int) -> tuple[int, int]:
        """Return the document at ``place`` of the shuffle of ``epoch``, and its size in tokens."""
        begin = place - place % _LOOKAHEAD
        if self._window is None or self._window[:2] != (epoch, begin):
            places = np.arange(begin, min(begin + _LOOKAHEAD, len(self.documents)), dtype=np.int64)
            members = self._shuffle(epoch)(places)
            self._window = (epoch, begin, members, self.documents.sizes(members))
        _, _, members, sizes = self._window
        return int(members[place - begin]), int(sizes[place - begin])


class Sampler:
    """Draws batches from several sources so that each gives exactly its budget.

    Memory does not depend on the size of the corpus, and the state is one small record per source.
    """

    def __init__(
        self, stores: Mapping[str, Documents], parts: Sequence[Part], *, seed: int, sequence_length: int
    ) -> None:
        """Set up the streams.

        Args:
            stores: tokenized documents of each source.
            parts: the mixtures of the training, one after the other, and how long each lasts.
            seed: decides the shuffle of every source.
            sequence_length: tokens of one sequence.

        Raises:
            ValueError: a source with a budget has no documents, or a budget is not a multiple of
                ``sequence_length``.
        """
        self._order = Order(parts, sequence_length)
        for name in self._order.names:
            if name not in stores or len(stores[name]) == 0:
                raise ValueError(f"source {name} has a share of the mixture but no documents to train on")
        self.sequence_length = sequence_length
        self._streams = {name: _Stream(name, seed, stores[name]) for name in self._order.names}
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
        chosen = self._order.sources(self._position, sequences)
        drawn = [self._streams[name].next_pieces(self.sequence_length) for name in chosen]
        return self._read(drawn, rows)

    def state(self) -> dict[str, dict[str, int]]:
        """Return the position in every source, as JSON content."""
        return {name: vars(stream.cursor).copy() for name, stream in self._streams.items()}

    def load_state(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Continue from ``state``; a source that it does not know begins at its beginning.

        Raises ValueError where other mixtures led to ``state``: a change may only concern what comes after.
        """
        given = {name: record["sequences"] for name, record in state.items() if record["sequences"]}
        expected = self._order.given(sum(given.values()))
        for name in given.keys() | expected.keys():
            if given.get(name, 0) != expected.get(name, 0):
                raise ValueError(
                    f"source {name} has given {given.get(name, 0) * self.sequence_length} tokens so far, and "
                    f"by the mixture it would be {expected.get(name, 0) * self.sequence_length}: a change "
                    f"of the mixture may only concern what was not trained yet; state it in mixture_changes"
                )
        for name, stream in self._streams.items():
            stream.cursor = _Cursor(**state.get(name, {}))

    def seek(self, position: int) -> None:
        """Go to the ``position``-th sequence of the run, from 0, in one pass over the documents' sizes."""
        for name, sequences in self._order.given(position).items():
            self._streams[name].seek(sequences, self.sequence_length)

    @property
    def _position(self) -> int:
        """How many sequences were drawn."""
        return sum(stream.cursor.sequences for stream in self._streams.values())

    def _read(self, drawn: list[tuple[Piece, ...]], wanted: slice) -> Batch:
        rows = drawn[wanted]
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
        return Batch(tokens, documents[:, :-1], tuple(drawn))
