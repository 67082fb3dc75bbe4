"""Bits per byte and character perplexity of held-out text.

A document's score is the probability that the model gives its tokens, after the token that begins a document
and nothing else; every document is scored by itself. The end token that may follow is not part of the text
and is not scored. That is the rolling log-likelihood of lm-evaluation-harness, and the bits per byte of The
Pile (arXiv 2101.00027, section 3.1). Bits are divided by the bytes or characters of the text, which no
tokenizer changes, so models with different tokenizers compare.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tokka.evaluation.likelihood import BATCH_TOKENS, Window, likelihoods
from tokka.models.model import LanguageModel
from tokka.tokenizer.load import LoadedTokenizer
from tokka.workspace.progress import progress


class Text(NamedTuple):
    """Documents of one source.

    Attributes:
        language: of the documents.
        documents: non-empty.
        specials: the special tokens that the documents may spell, as in training.
    """

    language: str
    documents: Sequence[str]
    specials: Collection[str] = ()


@dataclass(frozen=True)
class Score:
    """How well a model predicts some text.

    Attributes:
        bits: negative log2 likelihood of all its tokens.
        documents, bytes, characters, tokens: how much text that is, in UTF-8 bytes and Unicode code points.
    """

    bits: float
    documents: int
    bytes: int
    characters: int
    tokens: int

    @property
    def bits_per_byte(self) -> float:
        return self.bits / self.bytes

    @property
    def character_perplexity(self) -> float:
        """Two to the power of the bits per character, as in the Poro 34B paper (arXiv 2404.01856)."""
        return 2 ** (self.bits / self.characters)

    def __add__(self, other: Self) -> Self:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return type(self)(*(mine + theirs for mine, theirs in pairs))

    def as_json(self) -> dict[str, Any]:
        return {
            "bits_per_byte": self.bits_per_byte,
            "character_perplexity": self.character_perplexity,
            **vars(self),
        }


def score_texts(
    model: LanguageModel,
    tokenizer: LoadedTokenizer,
    texts: Mapping[str, Text],
    *,
    first: int,
    sequence_length: int,
    batch_tokens: int = BATCH_TOKENS,
    what: str = "held-out text",
) -> dict[str, Score]:
    """Score the documents of each source.

    Args:
        model: computes on the device and in the dtype of its parameters.
        tokenizer: of the model.
        texts: by source.
        first: id of the token that stands before every document.
        sequence_length: tokens of the window that slides over a longer document; each token is scored once,
            after at least half a window of context where the document has that much before it.
        batch_tokens: tokens of one forward pass.
        what: shown with the progress.

    Returns:
        The score of every source that has a document.
    """
    pieces: list[Window] = []
    owners: list[str] = []
    tokens: dict[str, int] = {}
    for source, text in texts.items():
        encoded = tokenizer.encode_batch(text.documents, text.specials)
        tokens[source] = sum(len(ids) for ids in encoded)
        for ids in encoded:
            cut = list(windows(np.append(first, ids), sequence_length))
            pieces += cut
            owners += [source] * len(cut)
    with progress(what, sum(tokens.values()), "tokens") as shown:
        found = likelihoods(model, pieces, batch_tokens=batch_tokens, progress=shown)
    logs: dict[str, list[float]] = {source: [] for source in texts}
    for owner, likelihood in zip(owners, found, strict=True):
        logs[owner].append(likelihood.log)
    return {
        source: Score(
            bits=-math.fsum(logs[source]) / math.log(2),
            documents=len(text.documents),
            bytes=sum(len(document.encode()) for document in text.documents),
            characters=sum(len(document) for document in text.documents),
            tokens=tokens[source],
        )
        for source, text in texts.items()
        if text.documents
    }


def windows(tokens: NDArray[np.int64], length: int) -> Iterator[Window]:
    """Cut ``tokens`` into windows of at most ``length`` inputs that score each token but the first once.

    A window after the first scores at most half a window, after the other half as context; the last one
    reaches back as far as it can.
    """
    done = 1
    while done < len(tokens):
        fresh = length if done == 1 else max(1, length // 2)
        stop = min(done + fresh, len(tokens))
        yield Window(tokens[max(0, stop - 1 - length) : stop], scored=stop - done)
        done = stop


def by_language(scores: Mapping[str, Score], languages: Mapping[str, str]) -> dict[str, Score]:
    """Add up ``scores`` of sources that share a language; every scored byte weighs the same."""
    result: dict[str, Score] = {}
    for source, score in scores.items():
        language = languages[source]
        result[language] = result[language] + score if language in result else score
    return result
