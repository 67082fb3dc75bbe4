"""Which documents hold items of benchmarks."""

import shutil
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tokka.data.dedup.benchmark import LINES, RUN, SHARE, WHOLE, Index, Item, read_items
from tokka.data.dedup.folding import character_codes
from tokka.data.dedup.records import RecordText, processes_for, read_record_texts
from tokka.data.dedup.words import Positions, run_hashes
from tokka.data.shards import shard_paths
from tokka.tokenizer.batches import batches
from tokka.workspace.files import digest_file, whole_file
from tokka.workspace.workers import Advance, run_tasks

_BATCH_CHARACTERS = 400_000

SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("task", pa.string()),
        ("item", pa.int64()),
        ("share", pa.float64()),
        ("file", pa.string()),
        ("record", pa.int64()),
    ]
)
"""A document that holds an item, how much of it, and where the document came from; the fullest item first."""


class Task(NamedTuple):
    """A shard to search for the items in a file with this SHA-256, and the list to write."""

    path: Path
    found: Path
    items: Path
    digest: str


class Find(NamedTuple):
    """A text that holds an item, and the share of the item's runs that it has."""

    text: int
    item: int
    share: float


def find_contamination(corpus: Path, folder: Path, items: Path, *, workers: int) -> dict[str, Any]:
    """Write which training documents of the corpus in ``corpus`` hold items, as ``folder/found.parquet``.

    A killed call goes on with the shards that are missing when it is called again, and ends with the same
    bytes, whatever the number of workers.

    Args:
        corpus: with ``train-*.parquet``; what is held out is not trained on, and not searched.
        folder: where the list goes, see :data:`SCHEMA`.
        items: a file that :func:`tokka.data.dedup.benchmark.write_items` wrote.
        workers: processes.

    Returns:
        Facts: ``documents`` searched, how many of them are ``contaminated``, and in ``tasks`` for each
        benchmark which ``items`` were found, and how many ``documents`` hold one.
    """
    paths = shard_paths(corpus, "train")
    digest = digest_file(items)
    tasks = [Task(path, folder / ".work" / f"{path.stem}.parquet", items, digest) for path in paths]
    counts = {task: pq.read_metadata(task.path).num_rows for task in tasks}
    waiting = [task for task in tasks if not task.found.exists()]
    run_tasks(
        _search_shard,
        waiting,
        workers=processes_for([task.path for task in waiting], workers),
        what=f"looking for benchmarks in {corpus.name}",
        total=sum(counts[task] for task in waiting),
        unit="documents",
    )
    with whole_file(folder / "found.parquet") as aside, pq.ParquetWriter(aside, SCHEMA) as writer:
        for task in tasks:
            writer.write_table(pq.read_table(task.found))
    shutil.rmtree(folder / ".work", ignore_errors=True)
    return _facts(folder / "found.parquet", sum(counts.values()))


def search(texts: Sequence[str], index: Index) -> Iterator[Find]:
    """Yield which of ``texts`` hold which items, the fullest item of a text first, an item once a text."""
    page = _Page(texts)
    best: dict[tuple[int, int], float] = {}
    for text, found, share in chain(_by_runs(page, index), _by_letters(page, index), _alone(page, index)):
        key = text, int(index.item_of[found])
        best[key] = max(share, best.get(key, 0))
    ordered = sorted(best.items(), key=lambda entry: (entry[0][0], -entry[1], entry[0][1]))
    return (Find(text, item, share) for (text, item), share in ordered)


class _Page:
    """The letters of several texts, laid end to end.

    Attributes:
        letters: their codes [letters].
        lines: where the letters of each line begin [lines + 1].
        texts: where the letters of each text begin [texts + 1].
    """

    def __init__(self, texts: Sequence[str]) -> None:
        lines = [text.split("\n") for text in texts]
        codes, begins = character_codes([line for each in lines for line in each])
        places = np.flatnonzero(codes)
        counts = [len(each) for each in lines]
        self.letters = codes[places]
        self.lines = np.searchsorted(places, begins)
        self.texts = self.lines[np.cumsum([0, *counts])]

    def text_at(self, letters: Positions, length: Positions | int) -> Positions:
        """Return the text that each run of letters lies in; -1 where it goes on into the next one."""
        texts = np.searchsorted(self.texts, letters, side="right") - 1
        return np.where(letters + length <= self.texts[texts + 1], texts, -1)


def _by_runs(page: _Page, index: Index) -> Iterator[tuple[int, int, float]]:
    """Yield the texts of the page that hold enough runs of a text of the index, that one, and the share."""
    places, entries = index.runs.find(run_hashes(page.letters, RUN))
    texts = page.text_at(places, RUN)
    here = texts >= 0
    # Each run of a text counts once, however often it is there.
    found = np.unique(texts[here] * len(index.runs.hashes) + entries[here])
    texts, entries = np.divmod(found, max(len(index.runs.hashes), 1))
    pairs, counts = np.unique(texts * len(index.item_of) + index.runs.texts[entries], return_counts=True)
    texts, owners = np.divmod(pairs, max(len(index.item_of), 1))
    shares = counts / index.runs_in[owners]
    for place in np.flatnonzero(shares >= SHARE):
        yield int(texts[place]), int(owners[place]), float(shares[place])


def _by_letters(page: _Page, index: Index) -> Iterator[tuple[int, int, float]]:
    """Yield the texts of the page that hold all letters of one that is too short for a run."""
    if len(index.wholes.hashes):
        places, entries = index.wholes.find(run_hashes(page.letters, WHOLE))
        yield from _with_all_letters(page, index, places, index.wholes.texts[entries])
    if len(index.lines.hashes):
        hashes = run_hashes(page.letters, LINES)
        begins = np.unique(page.lines[page.lines < len(hashes)])
        which, entries = index.lines.find(hashes[begins])
        places, owners = begins[which], index.lines.texts[entries]
        ends = places + np.array([len(index.letters[owner]) for owner in owners.tolist()], np.int64)
        fills = np.isin(ends, page.lines)
        yield from _with_all_letters(page, index, places[fills], owners[fills])


def _with_all_letters(
    page: _Page, index: Index, places: Positions, owners: Positions
) -> Iterator[tuple[int, int, float]]:
    """Yield what is left of places and the texts that may begin there, once all letters are compared."""
    lengths = np.array([len(index.letters[owner]) for owner in owners.tolist()], np.int64)
    texts = page.text_at(places, lengths)
    for text, place, owner in zip(texts.tolist(), places.tolist(), owners.tolist(), strict=True):
        wanted = index.letters[owner]
        if text >= 0 and np.array_equal(page.letters[place : place + len(wanted)], wanted):
            yield text, owner, 1.0


def _alone(page: _Page, index: Index) -> Iterator[tuple[int, int, float]]:
    """Yield the texts of the page that are nothing but one of the shortest texts of the index."""
    sizes = np.diff(page.texts)
    for text in np.flatnonzero((sizes > 0) & (sizes < WHOLE)).tolist():
        letters = page.letters[page.texts[text] : page.texts[text + 1]]
        for owner in index.shortest.get(letters.tobytes(), ()):
            yield text, owner, 1.0


def _search_shard(task: Task, advance: Advance) -> None:
    """Write the list of one shard."""
    index = _index(task.items, task.digest)
    entries: list[dict[str, Any]] = []
    row = 0
    for batch in batches(read_record_texts(task.path), lambda each: len(each.text), _BATCH_CHARACTERS):
        rows = np.cumsum([row, *(each.documents for each in batch)]).tolist()
        for find in search([each.text for each in batch], index):
            entry = _entry(batch[find.text], index.items[find.item], find.share)
            where = range(rows[find.text], rows[find.text + 1])
            entries += [entry | {"shard": task.path.stem, "row": number} for number in where]
        advance(rows[-1] - row)
        row = rows[-1]
    entries.sort(key=lambda entry: entry["row"])
    with whole_file(task.found) as aside:
        pq.write_table(pa.Table.from_pylist(entries, SCHEMA), aside)


def _entry(record: RecordText, item: Item, share: float) -> dict[str, Any]:
    return {
        "step": "decontaminate",
        "reason": item.task,
        "detail": f"{share:.2f} of item {item.item}",
        "task": item.task,
        "item": item.item,
        "share": share,
        "file": record.file,
        "record": record.record,
    }


@lru_cache(maxsize=1)
def _index(items: Path, digest: str) -> Index:
    """Return the index of a file of items, made once a process and content."""
    return Index(read_items(items))


def _facts(found: Path, documents: int) -> dict[str, Any]:
    rows: set[tuple[str, int]] = set()
    by_task: dict[str, tuple[set[int], set[tuple[str, int]]]] = {}
    for batch in pq.ParquetFile(found).iter_batches(columns=["shard", "row", "task", "item"]):
        for entry in batch.to_pylist():
            row = entry["shard"], entry["row"]
            items, holders = by_task.setdefault(entry["task"], (set(), set()))
            rows.add(row)
            holders.add(row)
            items.add(entry["item"])
    return {
        "documents": documents,
        "contaminated": len(rows),
        "tasks": {
            task: {"items": sorted(items), "documents": len(holders)}
            for task, (items, holders) in sorted(by_task.items())
        },
    }
