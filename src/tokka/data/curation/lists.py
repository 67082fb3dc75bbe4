"""The user's own lists: domains, and words, that are not wanted."""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from tokka.data.curation.page import Page


class BlockedDomains:
    """Domains, from files with one a line; ``#`` begins a comment."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._domains = {entry.removeprefix("www.").strip(".") for entry in _entries(files)}

    def blocks(self, url: str) -> bool:
        """Tell whether the address is on a listed domain or on a subdomain of one."""
        parts = host_of(url).split(".")
        return any(".".join(parts[start:]) in self._domains for start in range(len(parts)))


class BlockedWords:
    """Words and phrases, from files with one a line, whatever their case; ``#`` begins a comment."""

    def __init__(self, files: Iterable[Path]) -> None:
        entries = set(_entries(files))
        self._words = {entry for entry in entries if entry.isalnum()}
        phrases = sorted(entries - self._words)
        self._phrases = (
            re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, phrases))})(?!\w)") if phrases else None
        )

    def blocks(self, page: Page) -> bool:
        """Tell whether one of them stands in the page, as a whole word."""
        if not self._words.isdisjoint(page.folded):
            return True
        return self._phrases is not None and self._phrases.search(page.text.lower()) is not None


def _entries(files: Iterable[Path]) -> Iterable[str]:
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            entry = line.partition("#")[0].strip().lower()
            if entry:
                yield entry


def host_of(url: str) -> str:
    """Return the domain of an address, in lower case; empty where there is none that can be told."""
    try:
        return (urlsplit(url if "//" in url else f"//{url}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""
