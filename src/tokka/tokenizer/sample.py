"""The sample of texts that a tokenizer is trained on."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal


class Sample:
    """Texts of one language, drawn uniformly until a budget of bytes is spent.

    Those whose content has the smallest hashes are kept, so the draw is the same whatever the order of the
    texts, and takes one pass and no more memory than the sample. The last text is cut to fit.
    """

    def __init__(self, budget: int) -> None:
        """Draw ``budget`` bytes of UTF-8."""
        self.budget = budget
        self._documents = self._bytes = self._held = 0
        self._kept: list[tuple[int, bytes]] = []  # a heap, the largest hash first

    def add(self, text: str) -> None:
        """Offer one text."""
        content = text.encode()
        self._documents += 1
        self._bytes += len(content)
        rank = -int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
        if self._held < self.budget or rank > self._kept[0][0]:
            heapq.heappush(self._kept, (rank, content))
            self._held += len(content)
        while self._kept and self._held - len(self._kept[0][1]) >= self.budget:
            self._held -= len(heapq.heappop(self._kept)[1])

    def texts(self) -> Iterator[str]:
        """Yield the drawn texts."""
        left = self.budget
        for _, content in sorted(self._kept, reverse=True):
            yield content[:left].decode(errors="ignore")
            left -= len(content)

    def facts(self) -> dict[str, Any]:
        """Return what was drawn from what."""
        return {
            "budget_bytes": self.budget,
            "bytes": min(self._held, self.budget),
            "documents": len(self._kept),
            "of_documents": self._documents,
            "of_bytes": self._bytes,
            "ran_out": self._bytes < self.budget,
        }


def draw_samples(
    texts: Mapping[str, Iterable[str]], budget: int, weights: Literal["uniform"] | Mapping[str, float]
) -> dict[str, Sample]:
    """Draw ``budget`` bytes in all, each language its share.

    Args:
        texts: language -> texts.
        budget: bytes of UTF-8.
        weights: of the languages; ``uniform`` gives all of them the same. A language without one is left out.

    Raises ValueError where a weight is given to a language that has no texts here.
    """
    if weights == "uniform":
        weights = dict.fromkeys(texts, 1.0)
    absent = [language for language in weights if language not in texts]
    if absent:
        raise ValueError(
            f"tokenizer.train.sample gives a weight to {', '.join(absent)}, but the sources' languages are "
            f"{', '.join(texts)}"
        )
    total = sum(weights.values())
    samples = {language: Sample(int(budget * weight / total)) for language, weight in weights.items()}
    for language, sample in samples.items():
        for text in texts[language]:
            sample.add(text)
    return samples
