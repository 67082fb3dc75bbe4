"""Which documents a batch is made of: source, file, record, epoch, tokens, and how they begin."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokka.data.order import Part
from tokka.data.sampler import Batch, Piece, Sampler
from tokka.data.store import TokenStore
from tokka.tokenizer.load import LoadedTokenizer

Locate = Callable[[Piece], dict[str, Any]]
"""Tells where a piece of a batch comes from, as JSON content."""

_EXCERPT_TOKENS = 64
_EXCERPT_CHARACTERS = 80


def locator(stores: Mapping[str, TokenStore], tokenizer: LoadedTokenizer) -> Locate:
    """Return the function that tells of a piece its ``source``, ``file`` and 1-based ``record`` there.

    Also ``epoch``, 1 in the first reading of the source; ``tokens``, the first of the document that the piece
    has and the one after its last; and ``text``, how the piece begins.
    """

    def locate(piece: Piece) -> dict[str, Any]:
        store = stores[piece.source]
        file, record = store.origin(piece.document)
        begin = store.read(piece.document, piece.start, min(piece.stop, piece.start + _EXCERPT_TOKENS))
        return {
            "source": piece.source,
            "file": file,
            "record": record,
            "epoch": piece.epoch + 1,
            "tokens": [piece.start, piece.stop],
            "text": tokenizer.decode(begin)[:_EXCERPT_CHARACTERS],
        }

    return locate


def trace_batch(batch: Batch, locate: Locate) -> list[dict[str, Any]]:
    """Return of every piece of a batch its ``sequence``, from 1, and what ``locate`` tells of it."""
    return [
        {"sequence": number, **locate(piece)}
        for number, pieces in enumerate(batch.origins, start=1)
        for piece in pieces
    ]


def trace_step(
    tokens: Path,
    parts: Sequence[Part],
    tokenizer: LoadedTokenizer,
    *,
    seed: int,
    shape: tuple[int, int],
    step: int,
) -> list[dict[str, Any]]:
    """Return what the batch of a step is made of, computed without the steps before it.

    Args:
        tokens: holds the encoded documents of each source in ``<source>/``.
        parts: the mixtures of the training.
        tokenizer: the documents' own.
        seed: of the training.
        shape: sequences of a batch, tokens of a sequence.
        step: from 1.

    Raises ValueError where the training has no such step.
    """
    sequences, length = shape
    steps = sum(part.tokens for part in parts) // (sequences * length)
    if not 1 <= step <= steps:
        raise ValueError(f"there is no step {step}; the training has the steps 1 to {steps}")
    stores = {source: TokenStore(tokens / source) for part in parts for source in part.budgets}
    sampler = Sampler(stores, parts, seed=seed, sequence_length=length)
    sampler.seek((step - 1) * sequences)
    return trace_batch(sampler.next_batch(sequences, rows=slice(0)), locator(stores, tokenizer))


def trace_lines(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what :func:`trace_batch` returned as lines for people."""
    for found in documents:
        start, stop = found["tokens"]
        yield (
            f"{found['sequence']:>4}  {found['source']}  {found['file']}:{found['record']}  "
            f"epoch {found['epoch']}  tokens {start}-{stop}  {found['text']!r}"
        )
