"""What is known of each language that ships: ``languages/CODE.toml``."""

import tomllib
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

from tokka.recipe.curation import Quality

_FOLDER = Path(__file__).with_name("languages")


@dataclass(frozen=True)
class Language:
    """What the filters know of a language; empty where nothing ships for it.

    Attributes:
        stop_words: its most frequent words, in lower case.
        boilerplate: phrases of cookie notices, menus and buttons, in lower case.
        boilerplate_lines: lines, in lower case, that are nothing else.
        quality: its thresholds.
    """

    stop_words: frozenset[str]
    boilerplate: tuple[str, ...]
    boilerplate_lines: frozenset[str]
    quality: Quality


@cache
def find_language(code: str) -> Language:
    """Return what is known of a language, or of several: of ``fi-en``, what lets text of either pass."""
    parts = [_read(part) for part in code.split("-")]
    return Language(
        stop_words=frozenset(word for part in parts for word in part.get("stop_words", [])),
        boilerplate=tuple(sorted({phrase for part in parts for phrase in part.get("boilerplate", [])})),
        boilerplate_lines=frozenset(line for part in parts for line in part.get("boilerplate_lines", [])),
        quality=reduce(_laxer, (_quality(part.get("quality", {})) for part in parts)),
    )


def quality_of(stated: Quality, language: Language) -> Quality:
    """Return the thresholds: those that the recipe states, else the language's own."""
    return language.quality.model_copy(update=stated.model_dump(exclude_unset=True))


def _quality(table: dict[str, Any]) -> Quality:
    """Return the thresholds of a table; ``false`` stands for none, which TOML cannot say."""
    return Quality.model_validate({key: None if limit is False else limit for key, limit in table.items()})


def _laxer(one: Quality, other: Quality) -> Quality:
    def between(key: str, first: Any, second: Any) -> Any:
        if first is None or second is None:
            return None
        if isinstance(first, dict):
            return {n: max(first[n], second[n]) for n in first.keys() & second.keys()}
        return min(first, second) if key.startswith("min_") else max(first, second)

    keys = Quality.model_fields
    return Quality.model_validate({key: between(key, getattr(one, key), getattr(other, key)) for key in keys})


def _read(code: str) -> dict[str, Any]:
    path = _FOLDER / f"{code}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
