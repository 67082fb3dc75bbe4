r"""Documents of token ids on disk, in Megatron-LM's format.

``NAME.bin`` holds the tokens of all documents, one after the other. ``NAME.idx`` holds, little-endian::

    9 bytes   MMIDIDX\0\0
    uint64    version, 1
    uint8     code of the tokens' dtype
    uint64    number of sequences S
    uint64    number of document boundaries D
    int32[S]  tokens of each sequence
    int64[S]  where each sequence begins in the .bin, in bytes
    int64[D]  documents: document i is the sequences from boundary i to boundary i + 1
    int8[S]   modes, only in multimodal files; not read here

tokka writes one sequence a document; files that cut documents into sentences are read as well.
Source: ``megatron/core/datasets/indexed_dataset.py`` in NVIDIA/Megatron-LM.
"""

import struct
from array import array
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from tokka.workspace.files import whole_file

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")
_DTYPES: dict[int, np.dtype] = {
    code: np.dtype(name)
    for code, name in enumerate(("u1", "i1", "<i2", "<i4", "<i8", "<f8", "<f4", "<u2"), start=1)
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_LONGEST_DOCUMENT = 2**31 - 1
_AT_ONCE = 2**20
"""Entries of an index that are checked at a time."""


class DamagedError(ValueError):
    """A ``.bin`` or ``.idx`` file is not what it should be."""


def dtype_for(vocab_size: int) -> np.dtype:
    """Return the dtype that Megatron-LM gives ids below ``vocab_size``: uint16 below 65,500, else int32."""
    return np.dtype("<u2") if vocab_size < 65500 else np.dtype("<i4")


class IndexedWriter:
    """Writes documents to ``prefix.bin`` and ``prefix.idx``; a context manager.

    When the block ends well both files appear, whole, the index last; if it does not, neither does.

    Attributes:
        documents, tokens: written so far.
    """

    def __init__(self, prefix: Path, vocab_size: int) -> None:
        """Write ids from 0 to ``vocab_size`` - 1."""
        self.prefix, self.vocab_size = prefix, vocab_size
        self.tokens = 0
        self._dtype = dtype_for(vocab_size)
        self._sizes = array("i")
        self._whole = whole_file(_bin(prefix))

    @property
    def documents(self) -> int:
        return len(self._sizes)

    def __enter__(self) -> Self:
        self._file = self._whole.__enter__().open("wb")
        return self

    def add(self, tokens: NDArray[np.integer]) -> None:
        """Append one document.

        Raises ValueError where an id is outside the vocabulary or the document is too long for the format.
        """
        if len(tokens) > _LONGEST_DOCUMENT:
            raise ValueError(f"{len(tokens)} tokens in one document; the format ends at {_LONGEST_DOCUMENT}")
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < self.vocab_size:
            raise ValueError(
                f"document {self.documents} of {self.prefix} has ids {tokens.min()} to {tokens.max()}, but "
                f"the vocabulary has {self.vocab_size} entries"
            )
        self._file.write(tokens.astype(self._dtype).tobytes())
        self._sizes.append(len(tokens))
        self.tokens += len(tokens)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            _idx(self.prefix).unlink(missing_ok=True)  # an older one would not fit the new .bin
        self._whole.__exit__(kind, error, trace)
        if kind is None:
            self._write_index()

    def _write_index(self) -> None:
        sizes = np.frombuffer(self._sizes, np.int32) if self._sizes else np.zeros(0, np.int32)
        ends = np.cumsum(sizes, dtype=np.int64) * self._dtype.itemsize
        with whole_file(_idx(self.prefix)) as aside, aside.open("wb") as file:
            file.write(_HEADER.pack(_MAGIC, 1, _CODES[self._dtype], len(sizes), len(sizes) + 1))
            file.write(sizes.astype("<i4").tobytes())
            file.write((ends - sizes.astype(np.int64) * self._dtype.itemsize).astype("<i8").tobytes())
            file.write(np.arange(len(sizes) + 1, dtype="<i8").tobytes())


class IndexedDataset:
    """Documents of ``prefix.bin`` and ``prefix.idx``, memory-mapped.

    Attributes:
        prefix: path without ``.bin``.
        dtype: of the tokens, as they are stored.
        tokens: of all documents together.
        sizes: tokens of each document; int32 ``[documents]``.
    """

    def __init__(self, prefix: Path) -> None:
        """Open and check both files.

        Raises:
            FileNotFoundError: one of them is not there.
            DamagedError: one of them is cut off or damaged, or they do not belong together.
        """
        self.prefix = prefix
        index = _map(_idx(prefix))
        self.dtype, sequences, boundaries = self._read_header(index)
        self._lengths, self._pointers, self._boundaries = self._read_index(index, sequences, boundaries)
        content = _map(_bin(prefix))
        self._check_sequences(len(content))
        one_each = self._check_boundaries()
        self._content = content.view(self.dtype)
        self.tokens = len(self._content)
        self.sizes = self._lengths if one_each else self._sum_sequences()

    def __len__(self) -> int:
        return len(self._boundaries) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        return IndexedDataset, (self.prefix,)

    def document(self, index: int) -> NDArray[np.integer]:
        """Return the tokens of a document, a view of the file."""
        return self.read(index, 0, int(self.sizes[index]))

    def read(self, index: int, start: int, stop: int) -> NDArray[np.integer]:
        """Return tokens ``start`` to ``stop`` of a document, a view of the file.

        Raises IndexError where there are no such tokens or no such document.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {self.prefix}, which has {len(self)}")
        if not 0 <= start <= stop <= self.sizes[index]:
            raise IndexError(
                f"tokens {start} to {stop} of document {index} of {self.prefix}, of {self.sizes[index]}"
            )
        if start == stop:
            return self._content[:0]
        first = int(self._pointers[self._boundaries[index]]) // self.dtype.itemsize
        return self._content[first + start : first + stop]

    def _read_header(self, index: NDArray[np.uint8]) -> tuple[np.dtype, int, int]:
        if len(index) < _HEADER.size:
            self._refuse(f"has {len(index)} bytes, less than its header")
        magic, version, code, sequences, boundaries = _HEADER.unpack(index[: _HEADER.size].tobytes())
        if magic != _MAGIC:
            self._refuse("does not begin as a Megatron index does")
        if version != 1 or code not in _DTYPES:
            self._refuse(f"has version {version} and dtype code {code}; known are version 1 and codes 1 to 8")
        return _DTYPES[code], sequences, boundaries

    def _read_index(
        self, index: NDArray[np.uint8], sequences: int, boundaries: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Cut the index into its arrays; they are views, not aligned in memory."""
        lengths_end = _HEADER.size + 4 * sequences
        pointers_end = lengths_end + 8 * sequences
        end = pointers_end + 8 * boundaries
        if len(index) not in (end, end + sequences) or boundaries < 1:
            self._refuse(
                f"has {len(index)} bytes, but the {sequences} sequences and {boundaries} document boundaries "
                f"that it states need {end}"
            )
        return (
            index[_HEADER.size : lengths_end].view("<i4"),
            index[lengths_end:pointers_end].view("<i8"),
            index[pointers_end:end].view("<i8"),
        )

    def _check_sequences(self, content_bytes: int) -> None:
        """Compare every sequence with the one before it, and the last with the end of the ``.bin``."""
        expected = 0
        for start in range(0, len(self._lengths), _AT_ONCE):
            lengths = self._lengths[start : start + _AT_ONCE]
            ends = expected + np.cumsum(lengths, dtype=np.int64) * self.dtype.itemsize
            begins = np.concatenate([[expected], ends[:-1]])
            if (lengths < 0).any() or (self._pointers[start : start + _AT_ONCE] != begins).any():
                self._refuse(f"has sequences that do not follow one another, from number {start} on")
            expected = int(ends[-1])
        if expected != content_bytes:
            self._refuse(f"describes {expected} bytes of tokens, but the .bin has {content_bytes}")

    def _check_boundaries(self) -> bool:
        """Compare every document with the one before it, and tell whether each is one sequence."""
        in_order = (self._boundaries[0], self._boundaries[-1]) == (0, len(self._lengths))
        one_each = len(self) == len(self._lengths)
        for start in range(0, len(self), _AT_ONCE):
            steps = np.diff(self._boundaries[start : start + _AT_ONCE + 1])
            in_order &= bool((steps >= 0).all())
            one_each &= bool((steps == 1).all())
        if not in_order:
            self._refuse("has document boundaries that are not in order")
        return one_each

    def _sum_sequences(self) -> NDArray[np.int32]:
        """Return the tokens of each document that may have several sequences."""
        ends = np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)])
        return np.diff(ends[self._boundaries]).astype(np.int32)

    def _refuse(self, what: str) -> NoReturn:
        raise DamagedError(f"{_idx(self.prefix)} {what}; it is cut off or damaged: make it again")


def _map(path: Path) -> NDArray[np.uint8]:
    """Map a file into memory; an empty one cannot be mapped."""
    if path.stat().st_size == 0:
        return np.zeros(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, mode="r"))


def _bin(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".bin")


def _idx(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".idx")
