"""A little text of every source, to show what a model knows before it is trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokka.data.corpus import read_documents
from tokka.data.encode import before_and_after
from tokka.data.shards import Split
from tokka.tokenizer.encoders import Ids
from tokka.tokenizer.load import LoadedTokenizer

_COUNTED_CHARACTERS = 2**20
"""Of each source's training text, at most so much tells how frequent each token is."""


@dataclass(frozen=True)
class Probe:
    """Sequences packed as in training, and what a model must be better than.

    Attributes:
        tokens: int64 [rows, length + 1]; inputs are ``[:, :-1]``, targets ``[:, 1:]``.
        unigram: mean loss in nats of predicting each target by how frequent it is in the training text.
        heldout: whether the text is never trained on; else no source holds any out, and it is training text.
    """

    tokens: NDArray[np.int64]
    unigram: float
    heldout: bool


def make_probe(corpora: Sequence[Path], tokenizer: LoadedTokenizer, *, length: int, rows: int) -> Probe:
    """Return a probe of at most ``rows`` sequences of ``length`` targets, of all ``corpora`` alike.

    Documents follow one another source by source, each at most one sequence of it.

    Raises ValueError where there is not even one sequence of text.
    """
    heldout = sum(
        len(ids) for corpus in corpora for ids in islice(_encoded(corpus, tokenizer, "heldout"), 99)
    )
    split: Split = "heldout" if heldout > length else "train"
    wanted, found = rows * (length + 1), 0
    pieces: list[Ids] = []
    waiting = [_encoded(corpus, tokenizer, split) for corpus in corpora]
    while waiting and found < wanted:
        for source in list(waiting):
            ids = next(source, None)
            if ids is None:
                waiting.remove(source)
                continue
            pieces.append(ids[:length])
            found += len(pieces[-1])
    rows = min(rows, found // (length + 1))
    if not rows:
        raise ValueError(f"the sources have only {found} tokens of text, too few to look at the base with")
    tokens = np.concatenate(pieces)[: rows * (length + 1)].reshape(rows, length + 1).astype(np.int64)
    return Probe(tokens, _unigram_loss(corpora, tokenizer, tokens[:, 1:]), heldout=split == "heldout")


def _encoded(corpus: Path, tokenizer: LoadedTokenizer, split: Split) -> Iterator[Ids]:
    """Yield the documents of a corpus as tokens, with those that come before and after a text."""
    before, after = before_and_after(tokenizer)
    for document in read_documents(corpus, split):
        (ids,) = tokenizer.encode_batch([document.text])
        yield np.concatenate([before, ids, after])


def _unigram_loss(corpora: Sequence[Path], tokenizer: LoadedTokenizer, targets: NDArray[np.int64]) -> float:
    """Return the mean loss of ``targets`` by the frequencies of the training text, each count one more."""
    frequency = np.zeros(tokenizer.size)
    for corpus in corpora:
        counts, characters = np.ones(tokenizer.size), 0
        for document in read_documents(corpus, "train"):
            (ids,) = tokenizer.encode_batch([document.text[:_COUNTED_CHARACTERS]])
            counts += np.bincount(
                np.concatenate([ids, *before_and_after(tokenizer)]), minlength=tokenizer.size
            )
            characters += len(document.text)
            if characters >= _COUNTED_CHARACTERS:
                break
        frequency += counts / counts.sum() / len(corpora)
    return float(-np.log(frequency[targets]).mean())
