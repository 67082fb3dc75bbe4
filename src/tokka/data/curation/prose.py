"""What tells prose from text written for search engines: no stem among its words stands out."""

from collections import Counter

from tokka.data.curation.page import Page
from tokka.recipe.curation import Quality

_STEM = 5
_LEAST = 3
_FEWEST = 6
"""Of a short text, a name that is said five times is its subject."""


def prose_flaw(page: Page, limits: Quality, stop_words: frozenset[str]) -> str | None:
    """Return ``keyword_stuffing`` where one stem makes up more than ``max_stem_share`` of the words.

    A stem is the first five letters of a word, so that the cases of a Finnish noun count together. Stop words
    and words of less than three letters are not counted, nor are names: stems that are never in lower case.

    Args:
        page: of which at least one line is not blank.
        limits: a threshold of None asks nothing.
        stop_words: of the language, in lower case.
    """
    if limits.max_stem_share is None:
        return None
    stems: Counter[str] = Counter()
    nouns: set[str] = set()
    for word, count in page.spelled.items():
        lowered = word.lower()
        if len(word) >= _LEAST and lowered not in stop_words and not word.isdecimal():
            stems[lowered[:_STEM]] += count
            if word[0].islower():
                nouns.add(lowered[:_STEM])
    most = max((stems[stem] for stem in nouns), default=0)
    return "keyword_stuffing" if most >= _FEWEST and most > limits.max_stem_share * stems.total() else None
