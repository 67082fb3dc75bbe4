"""Gopher's repetition filter (Rae et al. 2021, table A1), as datatrove's GopherRepetitionFilter decides."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from tokka.data.curation.page import Page
from tokka.recipe.curation import Quality


def repetition_flaw(page: Page, limits: Quality) -> str | None:
    """Return what the page repeats too much of, None where it does not.

    Args:
        page: of which at least one line is not blank.
        limits: a threshold of None asks nothing.
    """
    return _line_flaw(page, limits) or _top_flaw(page, limits) or _duplicate_flaw(page, limits)


def repeated(parts: Sequence[str]) -> tuple[int, int]:
    """Return how many of the parts stood before already, and their characters."""
    if len(set(parts)) == len(parts):
        return 0, 0
    extra = Counter(parts) - Counter(set(parts))
    return extra.total(), sum(len(part) * count for part, count in extra.items())


def _line_flaw(page: Page, limits: Quality) -> str | None:
    size = len(page.text)
    parts = (
        (
            "paragraph",
            page.paragraphs,
            limits.max_duplicate_paragraphs,
            limits.max_duplicate_paragraph_characters,
        ),
        ("line", page.lines, limits.max_duplicate_lines, limits.max_duplicate_line_characters),
    )
    for name, found, most, most_characters in parts:
        count, characters = repeated(found)
        if most is not None and count > most * len(found):
            return f"duplicate_{name}s"
        if most_characters is not None and characters > most_characters * size:
            return f"duplicate_{name}_characters"
    return None


def _top_flaw(page: Page, limits: Quality) -> str | None:
    longest = max(map(len, page.counts))
    highest = len(page.tokens)
    for n, most in sorted(limits.max_top_ngrams.items()):
        if highest * n * (longest + 1) <= most * len(page.text):
            return None  # no n-gram is more frequent than the shorter ones in it
        counts = Counter(_ngrams(page.tokens, n))
        if not counts:
            continue
        top, count = max(counts.items(), key=itemgetter(1))
        highest = count
        if count > 1 and (sum(map(len, top)) + n - 1) * count > most * len(page.text):
            return f"top_{n}_gram"
    return None


def _duplicate_flaw(page: Page, limits: Quality) -> str | None:
    tokens, size = page.tokens, len(page.text)
    for n, most in sorted(limits.max_duplicate_ngrams.items()):
        ngrams = list(_ngrams(tokens, n))
        repeats = len(ngrams) - len(set(ngrams))
        if not repeats:
            return None  # nor is any longer one repeated
        longest = max(map(len, page.counts))
        if repeats * n * longest > most * size and _duplicate_characters(ngrams, n) > most * size:
            return f"duplicate_{n}_grams"
    return None


def _duplicate_characters(ngrams: Sequence[tuple[str, ...]], n: int) -> int:
    """Return the characters in repeated n-grams, going on after each, so that none counts twice."""
    seen: set[tuple[str, ...]] = set()
    position = characters = 0
    while position < len(ngrams):
        ngram = ngrams[position]
        if ngram in seen:
            characters += sum(map(len, ngram))
            position += n
        else:
            seen.add(ngram)
            position += 1
    return characters


def _ngrams(tokens: Sequence[str], n: int) -> "zip[tuple[str, ...]]":
    return zip(*(tokens[start:] for start in range(n)), strict=False)
