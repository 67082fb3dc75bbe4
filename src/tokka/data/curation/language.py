"""What is known of each language that ships: ``languages/CODE.toml``."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tokka.recipe.curation import Quality

_FOLDER = Path(__file__).with_name("languages")


@dataclass(frozen=True)
class Language:
    """What the filters know of a language; empty where nothing ships for it.

    Attributes:
        stop_words: its most frequent words, in lower case.
        boilerplate: finds phrases of cookie notices, menus and buttons in a line in lower case.
        boilerplate_lines: lines, in lower case, that are nothing else.
        quality: its thresholds, where they are not those of English.
    """

    stop_words: frozenset[str]
    boilerplate: re.Pattern[str] | None
    boilerplate_lines: frozenset[str]
    quality: dict[str, Any]


@cache
def find_language(code: str) -> Language:
    """Return what is known of a language, or of several: ``fi-en`` is what holds for both.

    Words and lines are those of all of them together; of the thresholds, those of the first.
    """
    parts = [_read(part) for part in code.split("-")]
    phrases = sorted({phrase for part in parts for phrase in part.get("boilerplate", [])})
    return Language(
        stop_words=frozenset(word for part in parts for word in part.get("stop_words", [])),
        boilerplate=re.compile("|".join(map(re.escape, phrases))) if phrases else None,
        boilerplate_lines=frozenset(line for part in parts for line in part.get("boilerplate_lines", [])),
        quality=parts[0].get("quality", {}),
    )


def quality_of(stated: Quality, language: Language) -> Quality:
    """Return the thresholds: those that the recipe states, then the language's own, then the defaults."""
    own = {key: None if limit is False else limit for key, limit in language.quality.items()}
    return Quality.model_validate(own | stated.model_dump(exclude_unset=True))


def _read(code: str) -> dict[str, Any]:
    path = _FOLDER / f"{code}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
