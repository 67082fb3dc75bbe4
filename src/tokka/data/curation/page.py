"""A document as the filters see it: its words and lines, found once and shared by all of them."""

import re
from collections import Counter
from functools import cached_property

_WORD = re.compile(r"\w+(?:[-'’:.]\w+)*|[^\w\s]")
_PARAGRAPH = re.compile(r"\n{2,}")


class Page:
    """The text of one document.

    A word is a run of letters and digits, with hyphens, apostrophes, colons and full stops inside (``EU:n``,
    ``10.30``). Any other character is a punctuation mark; these are tokens beside the words, as in the
    tokenizers that the published thresholds were found with.

    Attributes:
        text: not empty.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def tokens(self) -> list[str]:
        """Words and punctuation marks, in order."""
        return _WORD.findall(self.text)

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each token occurs."""
        return Counter(self.tokens)

    @cached_property
    def folded(self) -> Counter[str]:
        """How often each token occurs, whatever its case."""
        return Counter(map(str.lower, self.tokens))

    @cached_property
    def marks(self) -> int:
        """The number of punctuation marks, each a token of one character."""
        return sum(self.counts[character] for character in set(self.text) if not character.isalnum())

    @property
    def words(self) -> int:
        """The number of words."""
        return len(self.tokens) - self.marks

    @property
    def word_characters(self) -> int:
        """The characters of all words."""
        return sum(map(len, self.tokens)) - self.marks

    @property
    def words_with_letters(self) -> int:
        """The number of words that are not numbers alone."""
        others = [token for token in self.counts if not token.isalpha()]
        without = (token for token in others if not any(map(str.isalpha, token)))
        return len(self.tokens) - sum(self.counts[token] for token in without)

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """What blank lines divide."""
        return _PARAGRAPH.split(self.text.strip())
