"""How many tokens a text costs: tokenizers compared per language and source."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokka.tokenizer.load import LoadedTokenizer
from tokka.workspace.files import whole_file

if TYPE_CHECKING:
    from rich.table import Table

_WORD = r"[[:alnum:]]+|[^[:space:]]"
"""Letters and digits in a row, or any other character that is no space. Poro 34B paper, arXiv 2404.01856."""

_ENGLISH = re.compile(r"(en|eng)([-_].*)?$")
_PLOTTED = {
    "tokens_per_word": "tokens per word (fewer is better)",
    "bytes_per_token": "bytes per token (more is better)",
}

Basis = Literal["translation", "words"]
Texts = Mapping[str, tuple[str, Sequence[str]]]
"""Source -> (language, texts)."""


@dataclass(frozen=True)
class Fertility:
    """What one tokenizer makes of one source.

    Attributes:
        tokenizer, source, language: names.
        texts: how many there are.
        bytes: in UTF-8.
        words: by the pattern of the Poro 34B paper.
        tokens: no end tokens among them.
        tokens_per_word, bytes_per_token: of all texts together.
        cost: relative to English; None without English to compare with.
        cost_basis: of what. ``translation``: tokens of these texts for each token of their English
            translations. ``words``: tokens per word for each token per word of the English sources, which
            are other texts; as a language with long words needs fewer of them, this overstates its cost.
    """

    tokenizer: str
    source: str
    language: str
    texts: int
    bytes: int
    words: int
    tokens: int
    tokens_per_word: float
    bytes_per_token: float
    cost: float | None
    cost_basis: Basis | None


def fertility(
    tokenizers: Mapping[str, LoadedTokenizer],
    texts: Texts,
    translations: Collection[Collection[str]] = (),
) -> list[Fertility]:
    """Measure every tokenizer on every source.

    Args:
        tokenizers: by the name to show.
        texts: source -> (language, texts).
        translations: groups of sources that say the same, text by text, such as the sides of a parallel
            corpus; a source is in one group at most.

    Raises:
        ValueError: a source has no word, or those of a group differ in their number of texts.
    """
    import regex

    for group in translations:
        if len({len(texts[source][1]) for source in group}) > 1:
            counts = ", ".join(f"{source} {len(texts[source][1])}" for source in group)
            raise ValueError(f"translations must have the same number of texts, but there are: {counts}")
    word = regex.compile(_WORD)
    words = {source: sum(len(word.findall(text)) for text in part) for source, (_, part) in texts.items()}
    empty = [source for source, count in words.items() if count == 0]
    if empty:
        raise ValueError(f"{', '.join(empty)}: no word to measure tokenizers on")
    rows = []
    for name, tokenizer in tokenizers.items():
        tokens = {source: sum(map(len, tokenizer.encode_batch(part))) for source, (_, part) in texts.items()}
        for source, (language, part) in texts.items():
            cost, basis = _cost(source, texts, words, tokens, translations)
            size = sum(len(text.encode()) for text in part)
            rows.append(
                Fertility(
                    tokenizer=name,
                    source=source,
                    language=language,
                    texts=len(part),
                    bytes=size,
                    words=words[source],
                    tokens=tokens[source],
                    tokens_per_word=tokens[source] / words[source],
                    bytes_per_token=size / tokens[source],
                    cost=cost,
                    cost_basis=basis,
                )
            )
    return rows


def gains(rows: Sequence[Fertility]) -> Iterator[str]:
    """Yield what the first tokenizer saves each source against the second, in words; nothing without one."""
    names = list(dict.fromkeys(row.tokenizer for row in rows))
    if len(names) != 2:
        return
    after, before = ([row for row in rows if row.tokenizer == name] for name in names)
    for new, old in zip(after, before, strict=True):
        change = 100 * (new.tokens / old.tokens - 1)
        yield (
            f"{new.source} ({new.language}): {old.tokens_per_word:.2f} tokens per word before, "
            f"{new.tokens_per_word:.2f} now ({change:+.1f}%)"
        )


def fertility_table(rows: Sequence[Fertility]) -> "Table":
    """Return the rows as a table for the terminal, tokenizers of one source next to each other."""
    from rich.table import Table

    hints = any(row.cost_basis == "words" for row in rows)
    table = Table(caption="* per word, on other texts than the English ones: a hint only" if hints else None)
    for heading in ("language", "source", "tokenizer"):
        table.add_column(heading)
    for heading in ("tokens per word", "bytes per token", "cost (English 1)"):
        table.add_column(heading, justify="right")
    for source in dict.fromkeys(row.source for row in rows):
        table.add_section()
        for row in rows:
            if row.source == source:
                table.add_row(
                    row.language,
                    row.source,
                    row.tokenizer,
                    f"{row.tokens_per_word:.2f}",
                    f"{row.bytes_per_token:.2f}",
                    "" if row.cost is None else f"{row.cost:.2f}{'*' if row.cost_basis == 'words' else ' '}",
                )
    return table


def fertility_plot(rows: Sequence[Fertility], path: Path) -> None:
    """Draw tokens per word and bytes per token as bars, and write them to ``path``, a .png or .svg file.

    Raises ValueError where the file has another suffix.
    """
    from matplotlib.figure import Figure

    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"{path}: a plot is written as .png or .svg")
    sources = list(dict.fromkeys((row.source, row.language) for row in rows))
    tokenizers = list(dict.fromkeys(row.tokenizer for row in rows))
    figure = Figure(figsize=(10, 1.5 + 0.35 * len(sources) * len(tokenizers)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    thickness = 0.8 / len(tokenizers)
    for panel, (measure, title) in zip(panels, _PLOTTED.items(), strict=True):
        for place, tokenizer in enumerate(tokenizers):
            values = [getattr(row, measure) for row in rows if row.tokenizer == tokenizer]
            at = [index + place * thickness for index in range(len(sources))]
            bars = panel.barh(at, values, thickness, label=tokenizer)
            panel.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        panel.set_title(title)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.15)
    panels[0].set_yticks(
        [index + (len(tokenizers) - 1) * thickness / 2 for index in range(len(sources))],
        [f"{source} ({language})" for source, language in sources],
    )
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    with whole_file(path) as aside:
        figure.savefig(aside, format=path.suffix[1:])


def _cost(
    source: str,
    texts: Texts,
    words: Mapping[str, int],
    tokens: Mapping[str, int],
    translations: Collection[Collection[str]],
) -> tuple[float, Basis] | tuple[None, None]:
    """Return the cost of a source relative to English, and on which basis."""
    english = [name for name, (language, _) in texts.items() if _ENGLISH.match(language)]
    for group in translations:
        for name in english:
            if source in group and name in group:
                return tokens[source] / tokens[name], "translation"
    if not english:
        return None, None
    english_fertility = sum(tokens[name] for name in english) / sum(words[name] for name in english)
    return tokens[source] / words[source] / english_fertility, "words"
