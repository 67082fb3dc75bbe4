"""Megatron token files: documents of ids, decoded to text."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tokka.data.documents import EXCERPT_BYTES, Reason, Rejected, UnfitError
from tokka.data.sources.files import InputFile, SourceError
from tokka.data.sources.record import Record
from tokka.recipe.sources import Source
from tokka.workspace.workers import Advance

if TYPE_CHECKING:
    from tokka.tokenizer.load import LoadedTokenizer


def read_megatron(file: InputFile, source: Source, advance: Advance) -> Iterator[Record | Rejected]:
    """Yield the documents of a ``.bin``/``.idx`` pair as text, without the end token that closes them.

    A document with an id that the tokenizer lacks, or whose tokens are not whole UTF-8 characters, is kept
    aside with its ids. What is left of a damaged pair is kept aside as one entry that counts its documents; a
    pair that cannot be opened is one record.
    """
    from tokka.data.indexed import IndexedDataset

    tokenizer = _tokenizer(file.tokenizer or "")
    number, count = 1, 1
    try:
        documents = IndexedDataset(file.path.with_suffix(""))
        count = len(documents)
        for number in range(1, count + 1):
            ids = documents.document(number - 1)
            advance(ids.nbytes)
            try:
                if len(ids) > source.max_bytes:  # a token is a byte at least
                    raise UnfitError(Reason.MONSTROUS)
                yield Record(number, {source.text: _decode(ids, tokenizer)}, ids.tobytes())
            except UnfitError as unfit:
                excerpt = ids[: EXCERPT_BYTES // ids.itemsize].tobytes()
                yield Rejected(file.name, number, unfit.reason, ids.nbytes, excerpt)
    except (ValueError, OSError, IndexError):
        with file.path.open("rb") as raw:
            excerpt = raw.read(EXCERPT_BYTES)
        yield Rejected(file.name, number, Reason.DAMAGED_FILE, file.size, excerpt, count - number + 1)


def _decode(ids: np.ndarray, tokenizer: "LoadedTokenizer") -> str:
    if ids.dtype.kind not in "iu" or (len(ids) and not 0 <= ids.min() <= ids.max() < tokenizer.size):
        raise UnfitError(Reason.UNKNOWN_TOKEN)
    if len(ids) and ids[-1] == tokenizer.eos_id:
        ids = ids[:-1]
    text = tokenizer.decode(ids.tolist())
    # U+FFFD is what a decoder writes for bytes that are no character, unless the text had one to begin with.
    if "\ufffd" in text and tokenizer.encode(text) != ids.tolist():
        raise UnfitError(Reason.INVALID_UTF8)
    return text


@lru_cache(maxsize=1)
def _tokenizer(path: str) -> "LoadedTokenizer":
    from tokka.tokenizer.load import load_tokenizer

    try:
        return load_tokenizer(path)
    except ValueError as error:
        raise SourceError(f"tokenizer: {error}") from error
