"""Lines that are no text: cookie notices, menus, share buttons; as C4 drops lines, by language."""

from collections.abc import Sequence

from tokka.data.curation.language import Language

_PHRASE_WORDS = 30
_WORD_CHARACTERS = 1000
_DENSE = 1 / 25


def without_boilerplate(text: str, language: Language) -> str:
    """Return the text without lines of boilerplate; nothing of it where little else is left.

    A line goes that is nothing but a known caption, that has at most 30 words and holds a known phrase, or
    that has a word of more than 1,000 characters (C4). Longer lines stay, for prose may speak of cookies; but
    not where known phrases stand twice or more, and at every 25th word, on average. Where less than half of
    the characters is left, the page was about nothing else.
    """
    lowered = text.lower()
    phrases = [phrase for phrase in language.boilerplate if phrase in lowered]  # faster than one expression
    lines = text.split("\n")
    kept = [line for line in lines if not _is_boilerplate(line, phrases, language.boilerplate_lines)]
    if len(kept) == len(lines):
        return text
    rest = "\n".join(kept).strip("\n")
    return rest if 2 * len(rest) >= len(text) and not rest.isspace() else ""


def _is_boilerplate(line: str, phrases: Sequence[str], captions: frozenset[str]) -> bool:
    if len(line) > _WORD_CHARACTERS and any(len(word) > _WORD_CHARACTERS for word in line.split()):
        return True
    lowered = line.lower()
    if lowered.strip(" .:!»>→…\t\r") in captions:
        return True
    count = sum(lowered.count(phrase) for phrase in phrases)
    words = lowered.count(" ") + 1
    return count > 0 and (words <= _PHRASE_WORDS or (count > 1 and count >= _DENSE * words))
