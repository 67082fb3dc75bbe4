"""What sources hold, as tables for the terminal."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tokka.data.stats import SourceStats
from tokka.recipe.sizes import format_size

if TYPE_CHECKING:
    from rich.table import Table

_DOMAINS = 10


def amounts_table(
    sources: Mapping[str, SourceStats],
    languages: Mapping[str, str],
    tokens: Mapping[str, int],
    epochs: Mapping[str, float],
) -> "Table":
    """Return how much each source holds, then each language that several sources have, then all."""
    table = _table(("Source", "Language"), ("Documents", "MB", "Words", "Tokens", "Epochs"))
    for name in sources:
        share = f"{epochs[name]:.2f}x" if name in epochs else ""
        table.add_row(name, languages[name], *_amounts([name], sources, tokens), share)
    table.add_section()
    for language, names in _by_language(languages):
        if len(names) > 1:
            table.add_row("", language, *_amounts(names, sources, tokens))
    table.add_row("all", "", *_amounts(list(sources), sources, tokens))
    return table


def documents_table(sources: Mapping[str, SourceStats], near_duplicates: Mapping[str, int]) -> "Table":
    """Return how long each source's documents are, how many are repeated, and how sure their language is."""
    table = _table(("Source",), ("10%", "50%", "90%", "Equal", "Near", "Elsewhere", "Sure"))
    table.caption = "10% are shorter, in bytes; sure of the language"
    for name, found in sources.items():
        sure = found.mean_confidence
        table.add_row(
            name,
            *(f"{found.length_at(part):,}" for part in (0.1, 0.5, 0.9)),
            f"{found.duplicates:,}",
            f"{near_duplicates[name]:,}" if name in near_duplicates else "",
            f"{found.elsewhere:,}",
            "" if sure is None else f"{sure:.2f}",
        )
    return table


def domains_table(sources: Mapping[str, SourceStats]) -> "Table | None":
    """Return the most frequent domains of each source; None where no record has an address."""
    if not any(found.domains for found in sources.values()):
        return None
    table = _table(("Source", "Domain"), ("Documents",))
    for name, found in sources.items():
        for domain, count in list(found.domains.items())[:_DOMAINS]:
            table.add_row(name, domain, f"{count:,}")
        table.add_section()
    return table


def _table(names: Iterable[str], numbers: Iterable[str]) -> "Table":
    from rich.table import Table

    table = Table(*names)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _amounts(
    names: list[str], sources: Mapping[str, SourceStats], tokens: Mapping[str, int]
) -> tuple[str, ...]:
    """Return documents, megabytes, words and tokens of some sources; no tokens where one is not known."""
    found = [sources[name] for name in names]
    known = all(name in tokens for name in names)
    return (
        f"{sum(each.documents for each in found):,}",
        f"{sum(each.bytes for each in found) / 1e6:,.1f}",
        f"{sum(each.words for each in found):,}",
        format_size(sum(tokens[name] for name in names)) if known else "",
    )


def _by_language(languages: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    for language in dict.fromkeys(languages.values()):
        yield language, [name for name, each in languages.items() if each == language]
