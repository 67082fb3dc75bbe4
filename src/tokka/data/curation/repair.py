"""Unicode repair: what datatrove's FTFYFormatter does, without a long look at what needs none."""

import re
from functools import cache
from typing import Any

_TRIGGER = re.compile(r"[&ÃÂŒœØÙВГРСΒΓΞΟ\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u206a-\u206f\ufeff\ufff9-\ufffc]")
_TROUBLE = re.compile(
    r"&[#0-9A-Za-z]|[ВГРСΒΓΞΟ]-|[ÃÂŒœØÙ\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u206a-\u206f\ufeff\ufff9-\ufffc]"
)
_CLUSTER = re.compile(r"[^\x00-\x7f]{2,}.?", re.DOTALL)
_SOUND_CLUSTER = re.compile(
    r"(?:[äöåéüõ]+|[ÄÖÅ]+[äöå]*)[\x00-\x7f]?|(?:[äöåÄÖÅ][”’–]|[”’–…]+)[\x00-/:-@\[-`{-\x7f]?"
)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_LONGEST = 1_000_000
"""So long a line is cut by ftfy."""


def repair(text: str) -> str:
    """Return the text with mojibake, HTML entities and control characters mended, as ftfy does it.

    Quotes, ligatures, widths and normal forms stay as they are (FTFYFormatter's defaults).
    """
    if not _is_suspect(text):
        return text
    formatter = _formatter()
    if len(text) > _LONGEST:
        return formatter.format(text)
    lines = _LINE.findall(text)
    markup = False
    for index, line in enumerate(lines):
        markup = markup or "<" in line  # from there on, entities are markup
        if _is_suspect(line):
            lines[index] = formatter.format(f"<\n{line}")[2:] if markup else formatter.format(line)
    return "".join(lines)


def _is_suspect(text: str) -> bool:
    """Tell whether ftfy could change the text; where it could not, this is twenty times as fast.

    It changes entities, control characters, and what looks like mojibake: characters outside ASCII side by
    side, or one of a few with ASCII beside it.
    """
    if text.isascii():
        return _TROUBLE.search(text) is not None
    if _TRIGGER.search(text) and _TROUBLE.search(text):
        return True
    return not all(map(_SOUND_CLUSTER.fullmatch, set(_CLUSTER.findall(text))))


@cache
def _formatter() -> Any:
    from datatrove.pipeline.formatters import FTFYFormatter

    return FTFYFormatter()
