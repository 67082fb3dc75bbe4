"""Gopher's quality filter (Rae et al. 2021, section A.1.1), as datatrove's GopherQualityFilter decides."""

from collections.abc import Collection

from tokka.data.curation.page import Page
from tokka.recipe.curation import Quality


def gopher_flaw(page: Page, limits: Quality, stop_words: Collection[str]) -> str | None:
    """Return why the page is no prose, None where it may be.

    Args:
        page: of which at least one line is not blank.
        limits: a threshold of None asks nothing.
        stop_words: of the language, in lower case; where there are none they are not asked for.
    """
    return _size_flaw(page, limits) or _symbol_flaw(page, limits) or _word_flaw(page, limits, stop_words)


def _size_flaw(page: Page, limits: Quality) -> str | None:
    words = page.words
    if limits.min_words and words < limits.min_words:
        return "too_few_words"
    if limits.max_words and words > limits.max_words:
        return "too_many_words"
    mean = page.word_characters / max(words, 1)
    if limits.min_mean_word_length and mean < limits.min_mean_word_length:
        return "words_too_short"
    if limits.max_mean_word_length and mean > limits.max_mean_word_length:
        return "words_too_long"
    return None


def _symbol_flaw(page: Page, limits: Quality) -> str | None:
    text, most = page.text, limits.max_symbols_per_word
    if most is not None:
        if text.count("#") > most * len(page.tokens):
            return "too_many_hashes"
        if text.count("...") + text.count("…") > most * len(page.tokens):
            return "too_many_ellipses"
    lines = page.lines
    if limits.max_bullet_lines is not None:
        bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines)
        if bullets > limits.max_bullet_lines * len(lines):
            return "too_many_bullets"
    if limits.max_ellipsis_lines is not None:
        ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
        if ellipses > limits.max_ellipsis_lines * len(lines):
            return "too_many_ellipsis_lines"
    return None


def _word_flaw(page: Page, limits: Quality, stop_words: Collection[str]) -> str | None:
    words = page.words
    if limits.min_alphabetic_words and page.words_with_letters < limits.min_alphabetic_words * words:
        return "too_few_letters"
    if not stop_words:
        return None
    found = [page.folded[word] for word in stop_words if word in page.folded]
    if limits.min_stop_words and len(found) < limits.min_stop_words:
        return "too_few_stop_words"
    if limits.min_stop_word_share and sum(found) < limits.min_stop_word_share * words:
        return "too_few_stop_words"
    return None
