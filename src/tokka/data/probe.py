"""A little text of every source, to show what a model knows before it is trained on."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokka.data.encode import before_and_after
from tokka.tokenizer.encoders import Ids
from tokka.tokenizer.load import LoadedTokenizer

_COUNTED_TOKENS = 2**18
"""Of each source, about so many tokens tell how frequent each is."""


@dataclass(frozen=True)
class Probe:
    """Sequences packed as in training, and what a model must be better than.

    Attributes:
        tokens: int64 [rows, length + 1]; inputs are ``[:, :-1]``, targets ``[:, 1:]``.
        sources: of each row, the source that all its documents are of.
        unigram: by source, the mean loss in nats of predicting each target by how frequent it is there.
    """

    tokens: NDArray[np.int64]
    sources: tuple[str, ...]
    unigram: Mapping[str, float]


def make_probe(
    texts: Mapping[str, Iterable[str]],
    counted: Mapping[str, Iterable[str]],
    tokenizer: LoadedTokenizer,
    *,
    length: int,
    rows: int,
) -> Probe:
    """Return a probe of about ``rows`` sequences of ``length`` targets, as many of each source.

    Args:
        texts: documents by source; at most half a sequence of each is taken.
        counted: documents by source that tell how frequent each token is.
        tokenizer: of the model.
        length: of a sequence.
        rows: sequences of all sources; each gives at least one, if it has so much text.

    Raises ValueError where there is not even one sequence of text.
    """
    found = {name: _pack(text, tokenizer, length, max(1, rows // len(texts))) for name, text in texts.items()}
    found = {name: tokens for name, tokens in found.items() if len(tokens)}
    if not found:
        raise ValueError(f"no source has the {length + 1} tokens of text that a sequence has; give more")
    return Probe(
        tokens=np.concatenate(list(found.values())),
        sources=tuple(name for name, tokens in found.items() for _ in tokens),
        unigram={
            name: _unigram_loss(counted[name], tokenizer, tokens[:, 1:]) for name, tokens in found.items()
        },
    )


def _pack(texts: Iterable[str], tokenizer: LoadedTokenizer, length: int, rows: int) -> NDArray[np.int64]:
    """Return at most ``rows`` sequences [rows, length + 1] of ``texts``."""
    pieces: list[Ids] = []
    found, wanted = 0, rows * (length + 1)
    for ids in _encoded(texts, tokenizer):
        pieces.append(ids[: length // 2])
        found += len(pieces[-1])
        if found >= wanted:
            break
    rows = min(rows, found // (length + 1))
    tokens = np.concatenate([*pieces, np.zeros(0, np.int32)])[: rows * (length + 1)]
    return tokens.reshape(rows, length + 1).astype(np.int64)


def _encoded(texts: Iterable[str], tokenizer: LoadedTokenizer) -> Iterator[Ids]:
    """Yield documents as tokens, with those that come before and after a text."""
    before, after = before_and_after(tokenizer)
    for text in texts:
        yield np.concatenate([before, tokenizer.encode_batch([text])[0], after])


def _unigram_loss(texts: Iterable[str], tokenizer: LoadedTokenizer, targets: NDArray[np.int64]) -> float:
    """Return the mean loss of ``targets`` by the frequencies in ``texts``, each count one more."""
    counts = np.ones(tokenizer.size)
    for ids in _encoded(texts, tokenizer):
        counts += np.bincount(ids, minlength=tokenizer.size)
        if counts.sum() > _COUNTED_TOKENS + tokenizer.size:
            break
    return float(-np.log(counts / counts.sum())[targets].mean())
