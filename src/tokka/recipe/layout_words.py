"""Layouts as people write them: ``dp2 tp2``, ``pp2 interleaved``; with ``;`` between several of them."""

import re
from typing import Any

from pydantic import ValidationError

from tokka.recipe.training import Layout

_SIZES = {
    "dp": "data",
    "tp": "tensor",
    "pp": "pipeline",
    "cp": "context",
    "shard": "shard",
    "virtual": "stages_per_rank",
}
_SCHEDULES = ("1f1b", "interleaved", "zero_bubble")
_VOCABULARY = (
    "write dp2 (data), tp2 (tensor), pp2 (pipeline), cp2 (context), shard2, virtual2 (stages per rank), "
    f"{', '.join(_SCHEDULES)}"
)


def parse_layouts(text: str) -> dict[str, Layout]:
    """Return the layouts written in ``text``, by how they are written.

    Raises ValueError where there is none, or one of them is no layout.
    """
    written = [" ".join(part.split()) for part in text.split(";")]
    layouts = {words: parse_layout(words) for words in written if words}
    if not layouts:
        raise ValueError(f"{text!r} names no layout; {_VOCABULARY}")
    return layouts


def parse_layout(words: str) -> Layout:
    """Return the layout of ``words``; ``interleaved`` alone has two stages a rank.

    Raises ValueError where a word is unknown, lacks its number, comes twice or fits no other.
    """
    stated: dict[str, Any] = {}
    for word in words.replace("·", " ").split():
        key, value = _meaning(word, words)
        if key in stated:
            raise ValueError(f"layout {words!r}: {word!r} states {key} again; state it once")
        stated[key] = value
    if stated.get("schedule") == "interleaved":
        stated.setdefault("stages_per_rank", 2)
    try:
        return Layout.model_validate(stated)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"layout {words!r}: {reason}") from None


def _meaning(word: str, words: str) -> tuple[str, Any]:
    if word in _SCHEDULES:
        return "schedule", word
    match = re.fullmatch(r"([a-z]+)(\d*)", word)
    if match is None or match[1] not in _SIZES:
        raise ValueError(f"layout {words!r}: {word!r} is not known; {_VOCABULARY}")
    if not match[2] or int(match[2]) == 0:
        raise ValueError(f"layout {words!r}: {word!r} needs a number of at least 1, as in {match[1]}2")
    return _SIZES[match[1]], int(match[2])
