"""FineWeb's filter (Penedo et al. 2024, section 3.6), after datatrove's FineWebQualityFilter."""

from tokka.data.curation.page import Page
from tokka.data.curation.repetition import repeated
from tokka.recipe.curation import Quality

_TERMINAL = (".", "!", "?", "…", '"', "”", "»", "’", "'", ".)")
_SHORT_LINE = 30
_ANNOUNCING_WORDS = 4


def _is_sentence(line: str) -> bool:
    """Tell whether a line ends as sentences do; one of four words may also announce a list."""
    return line.endswith(_TERMINAL) or (line.endswith(":") and line.count(" ") >= _ANNOUNCING_WORDS - 1)


def fineweb_flaw(page: Page, limits: Quality) -> str | None:
    """Return why the page is a list or a menu rather than text, None where it may be text.

    A line may also end in a quotation mark, or in a bracket after a full stop, as Finnish sentences may.

    Args:
        page: of which at least one line is not blank.
        limits: a threshold of None asks nothing.
    """
    lines = page.lines
    if limits.min_terminated_lines is not None:
        terminated = sum(line.rstrip().endswith(_TERMINAL) for line in lines)
        if terminated < limits.min_terminated_lines * len(lines):
            return "too_few_sentences"
    if limits.min_sentence_characters is not None:
        sentences = sum(len(line) for line in lines if _is_sentence(line.rstrip()))
        if sentences < limits.min_sentence_characters * sum(map(len, lines)):
            return "too_few_sentences"
    if limits.max_short_lines is not None:
        short = sum(len(line) <= _SHORT_LINE for line in lines)
        if short > limits.max_short_lines * len(lines):
            return "short_lines"
    if limits.max_repeated_characters is not None:
        characters = sum(map(len, lines))
        if repeated(lines)[1] > limits.max_repeated_characters * characters:
            return "repeated_characters"
    if limits.max_newlines_per_word is not None:
        newlines = len(lines) - 1
        if newlines > limits.max_newlines_per_word * len(page.tokens):
            return "list"
    return None
