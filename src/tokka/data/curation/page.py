"""A document as the filters see it: its words and lines, found once and shared by all of them."""

import re
from collections import Counter
from functools import cached_property

_WORD = re.compile(r"\w+(?:[-'’:.]\w+)*|[^\w\s]")
_PARAGRAPH = re.compile(r"\n{2,}")


class Page:
    """The text of one document.

    A word is a run of letters and digits, with hyphens, apostrophes, colons and full stops inside (``EU:n``,
    ``10.30``), or one other character: punctuation counts as words, as in the tokenizers that the published
    thresholds were found with.

    Attributes:
        text: not empty.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        """Words and punctuation marks, in order."""
        return _WORD.findall(self.text)

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each word and punctuation mark occurs."""
        return Counter(self.words)

    @cached_property
    def spelled(self) -> Counter[str]:
        """How often each word occurs, punctuation left out."""
        return Counter({word: count for word, count in self.counts.items() if word[0].isalnum()})

    @cached_property
    def folded(self) -> Counter[str]:
        """How often each word with a letter occurs, whatever its case."""
        folded: Counter[str] = Counter()
        for word, count in self.counts.items():
            if not word.isdecimal() and word[0].isalnum():
                folded[word.lower()] += count
        return folded

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """What blank lines divide."""
        return _PARAGRAPH.split(self.text.strip())
