"""The continued model beside its base, for card and report: tables as in Poro 2's cards, and sentences."""

from collections.abc import Iterator

from tokka.evaluation.against import MERGED, Against, average_gain, change, is_percentage
from tokka.evaluation.compare import Row
from tokka.release.figures import signed
from tokka.release.hub import public_name
from tokka.release.languages import language_name
from tokka.release.record import RunRecord
from tokka.release.table import Strong, Table
from tokka.release.words import listed

_SAME = 0.5
"""Percent of bits per byte below which nobody should speak of a gain or a loss."""


def bits_against_table(against: Against, record: RunRecord) -> Table | None:
    """Return bits per byte by language, and how much they changed; the better one is bold."""
    if not against.bits:
        return None
    rows = [
        (language_name(row.name), *_cells(row, decimals=3), signed(change(row), "%")) for row in against.bits
    ]
    return _table("Language", (*_models(against, record), "Change"), rows)


def task_against_tables(against: Against, record: RunRecord) -> Iterator[tuple[str, Table]]:
    """Yield a heading and a table of benchmarks for each language; the better figure is bold."""
    for language, found in against.tasks.items():
        heading = "Benchmarks" if language is None else f"{language_name(language)} Performance"
        rows = [(f"{row.name}: {row.measure}", *_cells(row, decimals=2)) for row in found]
        yield heading, _table("", _models(against, record), rows)


def against_in_words(against: Against, record: RunRecord) -> Iterator[str]:
    """Yield sentences: what was learned, what was forgotten, and the averages of the benchmarks."""
    learned: list[str] = []
    forgotten: list[str] = []
    kept: list[str] = []
    for row in against.bits:
        if row.values[0] is None or row.values[-1] is None:
            continue  # of what was measured on one side alone nothing can be said
        percent, name = change(row), language_name(row.name)
        if abs(percent) < _SAME:
            kept.append(name)
        else:
            (learned if percent < 0 else forgotten).append(f"{name} {abs(percent):.1f}%")
    if learned:
        yield f"Bits per byte fell: {listed(learned)}."
    yield f"Forgotten, as a rise in bits per byte: {listed(forgotten) if forgotten else 'nothing'}."
    if kept:
        yield f"As before, within {_SAME:g}%: {listed(kept)}."
    gains = {language: average_gain(rows) for language, rows in against.tasks.items()}
    stated = [
        f"{language_name(language) if language else 'all'} {signed(gain)}"
        for language, gain in gains.items()
        if gain is not None
    ]
    if stated:
        yield f"Benchmarks on average, in percentage points: {listed(stated)}."


def merge_in_words(record: RunRecord) -> str:
    """Return how the merge was made."""
    merge, base = record.recipe.release.merge, record.recipe.model.base
    assert merge is not None
    assert base is not None
    way = "linear interpolation" if merge.method == "linear" else "spherical interpolation (SLERP)"
    return (
        f"merge of the last checkpoint with {public_name(base)}: {way}, "
        f"{100 * merge.weight:g}% of the checkpoint"
    )


def replay_in_words(record: RunRecord) -> str:
    """Return what part of the tokens replays what the base knew; empty where the recipe marks none."""
    marked = {name for mixture in record.recipe.mixtures for name, share in mixture.items() if share.replay}
    replayed = [row for row in record.facts("mixture").get("rows", []) if row["source"] in marked]
    if not replayed:
        return ""
    percent = sum(row["percent"] for row in replayed)
    sources = record.recipe.sources
    names = listed([language_name(sources[row["source"]].language) for row in replayed])
    return f"Of all tokens {percent:.4g}% replay what the base knew, so that it is kept: {names}."


def _models(against: Against, record: RunRecord) -> tuple[str, ...]:
    """Return the headings: the model's title, its merge with the base, and the base's name."""
    assert record.recipe.model.base is not None
    title = record.recipe.release.title or record.recipe.release.repo.split("/")[1]
    merged = tuple(f"{title}, merged" for name in against.models if name == MERGED)
    return (title, *merged, public_name(record.recipe.model.base).split("/")[-1])


def _cells(row: Row, *, decimals: int) -> Iterator[object]:
    places = decimals if is_percentage(row) or decimals == 3 else 4
    for value in row.values:
        shown = "-" if value is None else f"{value:.{places}f}"
        yield Strong(shown) if value is not None and value == row.best else shown


def _table(heading: str, names: tuple[str, ...], rows: list[tuple[object, ...]]) -> Table:
    return Table((heading, *names), rows, "l" + "r" * len(names))
