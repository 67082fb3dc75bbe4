"""Markdown from text that may hold anything: what is not marked as Markdown is shown as it is.

No cell, fence or tag of a source's note or a recipe's prose can break out of its place.
"""

import re

from tokka.release.table import Strong, Table

_SPECIAL = re.compile(r"[\\`*\[\]<>|~#]|(?<![^\W_])_|_(?![^\W_])|^[-+=]")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!https?://)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


class Markdown(str):
    """A string that is Markdown already and is not escaped again."""

    __slots__ = ()


def inline(value: object) -> Markdown:
    """Return ``value`` as Markdown: text on one line with every character literal, a table as a table."""
    if isinstance(value, Markdown):
        return value
    if isinstance(value, Table):
        return markdown_table(value)
    if isinstance(value, Strong):
        return Markdown(f"**{inline(value.text)}**")
    text = " ".join(str(value).split()).replace("&", "&amp;")
    return Markdown(_NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(lambda match: "\\" + match[0], text)))


def link(text: str, address: str) -> Markdown:
    """Return a link; what would end the address early is percent-encoded."""
    safe = re.sub(r"[\s()<>]", lambda match: f"%{ord(match[0]):02X}", address)
    return Markdown(f"[{inline(text)}]({safe})")


def prose(text: str) -> Markdown:
    """Return an author's Markdown with HTML tags taken literally and an open code fence closed."""
    text = _TAG.sub("&lt;", text.strip())
    open_fence = ""
    for fence in _FENCE.findall(text):
        if not open_fence:
            open_fence = fence
        elif fence.startswith(open_fence):
            open_fence = ""
    return Markdown(f"{text}\n{open_fence}" if open_fence else text)


def code_block(text: str, language: str = "") -> Markdown:
    """Return ``text``, control characters as U+FFFD, in a fence longer than any run of backticks in it."""
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    body = text.strip("\n")
    return Markdown(f"{fence}{language}\n{body}\n{fence}")


def markdown_table(table: Table) -> Markdown:
    """Return ``table`` in Markdown."""
    rules = {"l": ":---", "c": ":---:", "r": "---:"}
    lines = [table.headings, [Markdown(rules[letter]) for letter in table.align], *table.rows]
    return Markdown("\n".join(f"| {' | '.join(inline(cell) for cell in line)} |" for line in lines))
