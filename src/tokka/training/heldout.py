"""Held-out text measured while training goes on: packed as batches are, so that any layout can compute it."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch

from tokka.recipe.training import Training
from tokka.tokenizer.load import LoadedTokenizer
from tokka.training.cross_entropy import IGNORED
from tokka.training.objectives import Inputs


class HeldoutText(NamedTuple):
    """Held-out documents of one source.

    Attributes:
        language: of the documents.
        documents: the texts.
        specials: special tokens that they may spell, as in training.
    """

    language: str
    documents: Sequence[str]
    specials: Collection[str] = ()


@dataclass(frozen=True)
class Heldout:
    """Held-out text of several sources as batches of the shape that training has.

    Documents are packed one after the other, as in training; the end tokens between them are not scored. So
    figures compare with one another, and are a little lower than those of the evaluation, where each document
    stands alone.

    Attributes:
        batches: of each source; rows beyond its text are scored nowhere.
        bytes: of each source's text in UTF-8.
        languages: of each source.
    """

    batches: Mapping[str, Sequence[Inputs]]
    bytes: Mapping[str, int]
    languages: Mapping[str, str]

    @classmethod
    def pack(cls, texts: Mapping[str, HeldoutText], tokenizer: LoadedTokenizer, training: Training) -> Self:
        """Encode and pack ``texts``; sources without text are left out."""
        there = {source: text for source, text in texts.items() if text.documents}
        return cls(
            batches={source: _pack(text, tokenizer, training) for source, text in there.items()},
            bytes={
                source: sum(len(document.encode()) for document in text.documents)
                for source, text in there.items()
            },
            languages={source: text.language for source, text in there.items()},
        )

    def bits_per_byte(self, measure: Callable[[Inputs], float], rows: slice) -> dict[str, float]:
        """Return the bits per byte of each language, of which every byte weighs the same.

        Args:
            measure: returns the summed loss, in nats, of a batch of which it is given this rank's rows.
            rows: of a batch that this rank reads.
        """
        bits: defaultdict[str, float] = defaultdict(float)
        size: defaultdict[str, int] = defaultdict(int)
        for source, batches in self.batches.items():
            nats = math.fsum(measure(_rows(batch, rows)) for batch in batches)
            bits[self.languages[source]] += nats / math.log(2)
            size[self.languages[source]] += self.bytes[source]
        return {language: bits[language] / size[language] for language in bits}


def _pack(text: HeldoutText, tokenizer: LoadedTokenizer, training: Training) -> list[Inputs]:
    """Return the documents, each after an end token and what the tokenizer begins with, as whole batches."""
    lead = [token for token in (tokenizer.eos_id, tokenizer.begin_id) if token is not None]
    encoded = [np.array([*lead, *ids]) for ids in tokenizer.encode_batch(text.documents, text.specials)]
    tokens = np.concatenate(encoded)
    scored = np.concatenate([np.arange(len(ids)) >= len(lead) for ids in encoded])
    number = np.repeat(np.arange(len(encoded)), [len(ids) for ids in encoded])

    length, rows = training.sequence_length, training.batch_sequences
    room = -(-(len(tokens) - 1) // (length * rows)) * length * rows
    shape = (-1, rows, length)
    inputs = _filled(tokens[:-1], room, 0).reshape(shape)
    targets = _filled(np.where(scored[1:], tokens[1:], IGNORED), room, IGNORED).reshape(shape)
    documents = _filled(number[:-1], room, len(encoded)).reshape(shape).astype(np.int32)
    return [
        Inputs(
            torch.from_numpy(some),
            torch.from_numpy(expected),
            torch.from_numpy(within) if training.within_document else None,
        )
        for some, expected, within in zip(inputs, targets, documents, strict=True)
    ]


def _filled(values: np.ndarray, room: int, filling: int) -> np.ndarray:
    return np.pad(values.astype(np.int64), (0, room - len(values)), constant_values=filling)


def _rows(batch: Inputs, rows: slice) -> Inputs:
    documents = None if batch.documents is None else batch.documents[rows]
    return Inputs(batch.tokens[rows], batch.targets[rows], documents)
