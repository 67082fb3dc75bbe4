"""What tells prose from text written for search engines: no stem among its words stands out."""

from collections import Counter
from operator import itemgetter

from tokka.data.curation.page import Page
from tokka.recipe.curation import Quality

_STEM = 5
_SHORTEST = 3
_FEWEST = 6
"""Of a short text, a name that is said five times is its subject."""


def prose_flaw(page: Page, limits: Quality, stop_words: frozenset[str]) -> str | None:
    """Return ``keyword_stuffing`` where one stem makes up more than ``max_stem_share`` of the words.

    A stem is the first five letters of a word, so that the cases of a Finnish noun count together. Not
    counted for it are stop words, words of less than three letters, and names, never in lower case.

    Args:
        page: of which at least one line is not blank.
        limits: a threshold of None asks nothing.
        stop_words: of the language, in lower case.
    """
    if limits.max_stem_share is None:
        return None
    most = max(limits.max_stem_share * page.words, _FEWEST - 1)
    stems = Counter(map(itemgetter(slice(_STEM)), map(str.lower, page.tokens)))
    frequent = [stem for stem, count in stems.items() if count > most]
    return "keyword_stuffing" if any(_count(stem, page, stop_words) > most for stem in frequent) else None


def _count(stem: str, page: Page, stop_words: frozenset[str]) -> int:
    """Return how many words of a stem may have been stuffed in."""
    if len(stem) < _SHORTEST or not stem.isalpha() or not any(word.startswith(stem) for word in page.counts):
        return 0
    return sum(
        count for word, count in page.folded.items() if word.startswith(stem) and word not in stop_words
    )
