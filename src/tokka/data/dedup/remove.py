"""A corpus without the documents that deduplication and decontamination take out; these are kept aside."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tokka.data.dedup.records import processes_for
from tokka.data.shards import Split, shard_paths
from tokka.workspace.files import read_json, sync_folder, whole_folder, write_json
from tokka.workspace.workers import Advance, run_tasks

_SPLITS: tuple[Split, Split] = ("train", "heldout")
WHY = ("step", "reason", "detail")
"""Columns of a removed document: what took it, why, and what there is to say of this one."""

_FACTS = "facts.json"


class Task(NamedTuple):
    """A shard, the folder where its documents go, and the lists of those that are taken out."""

    path: Path
    folder: Path
    lists: tuple[Path, ...]


def remove_documents(corpus: Path, folder: Path, lists: Sequence[Path], *, workers: int) -> dict[str, Any]:
    """Write the corpus in ``corpus`` to ``folder`` without the documents of ``lists``.

    Shards keep their names; one that loses everything is not there, and one that loses nothing is a link.
    What is taken out goes to ``removed-<shard>.parquet``, with step, reason and detail of the first list
    that names it. A killed call goes on when it is called again, and ends with the same bytes, whatever the
    number of workers.

    Args:
        corpus: with ``train-*.parquet`` and ``heldout-*.parquet``.
        folder: where the rest goes.
        lists: Parquet files with the columns ``shard``, ``row`` and those of :data:`WHY`, by shard.
        workers: processes.

    Returns:
        Facts: ``documents`` that stay and their ``bytes`` of UTF-8, the same and ``shards`` for ``train`` and
        ``heldout``; the same for ``removed``, and in its ``steps`` how many ``documents`` and ``bytes`` each
        step took, and how many documents for which ``reasons``.
    """
    work = folder / ".work"
    paths = [path for split in _SPLITS for path in shard_paths(corpus, split)]
    tasks = [Task(path, work / path.stem, tuple(lists)) for path in paths]
    waiting = [task for task in tasks if not task.folder.exists()]
    run_tasks(
        _divide,
        waiting,
        workers=processes_for([task.path for task in waiting], workers),
        what=f"taking documents out of {corpus.name}",
        total=sum(pq.read_metadata(task.path).num_rows for task in waiting),
        unit="documents",
    )
    facts = _facts([read_json(task.folder / _FACTS) for task in tasks])
    for path in work.glob("*/*.parquet"):
        path.replace(folder / path.name)
    sync_folder(folder)
    shutil.rmtree(work, ignore_errors=True)
    return facts


def _divide(task: Task, advance: Advance) -> None:
    """Write what stays of a shard, and what goes, to the task's folder."""
    gone = _listed(task)
    with whole_folder(task.folder) as aside, pq.ParquetFile(task.path, read_dictionary=["file"]) as shard:
        kept, removed = _Side(aside / task.path.name), _Side(aside / f"removed-{task.path.name}")
        if not len(gone):
            _link(task.path, kept.path)
        start = 0
        for index in range(shard.num_row_groups):
            documents = shard.read_row_group(index)
            here, which = _within(gone, start, len(documents))
            stays = np.ones(len(documents), bool)
            stays[here] = False
            kept.add(documents.filter(stays), write=len(gone) > 0)
            removed.add(_with_reasons(documents.take(here), which))
            start += len(documents)
            advance(len(documents))
        kept.close()
        removed.close()
        facts = {
            "split": task.path.name.partition("-")[0],
            "kept": kept.facts(),
            "removed": removed.facts(),
            "steps": removed.steps,
        }
        write_json(aside / _FACTS, facts)


class _Side:
    """A file of documents, which is only there if there are any; and how many it has, with how much text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.documents = self.bytes = 0
        self.steps: dict[str, dict[str, Any]] = {}
        self._writer: Any = None

    def add(self, documents: pa.Table, *, write: bool = True) -> None:
        """Append documents as a row group; without ``write`` they are there already, and only counted."""
        if not len(documents):
            return
        self.documents += len(documents)
        sizes = pc.binary_length(documents["text"]).to_pylist()
        self.bytes += sum(sizes)
        if "step" in documents.column_names:
            whys = zip(documents["step"].to_pylist(), documents["reason"].to_pylist(), strict=True)
            for (step, reason), size in zip(whys, sizes, strict=True):
                _count(self.steps, step, {reason: 1}, documents=1, size=size)
        if write:
            if self._writer is None:
                self._writer = pq.ParquetWriter(
                    self.path, documents.schema, compression="zstd", write_page_checksum=True
                )
            self._writer.write_table(documents, row_group_size=len(documents))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def facts(self) -> dict[str, int]:
        """Return ``documents``, ``bytes`` and ``shards``."""
        return {"documents": self.documents, "bytes": self.bytes, "shards": int(self.documents > 0)}


def _link(source: Path, target: Path) -> None:
    """Make ``target`` the same file, or a copy where the disk has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _listed(task: Task) -> pa.Table:
    """Return row and :data:`WHY` of what goes from a shard: each row once, ascending."""
    own = [("shard", "==", task.path.stem)]  # of the lists only the row groups with this shard are read
    columns = ["row", *WHY]
    together = pa.concat_tables([pq.read_table(path, columns=columns, filters=own) for path in task.lists])
    _, first = np.unique(together["row"].to_numpy(), return_index=True)
    return together.take(first)


def _within(gone: pa.Table, start: int, count: int) -> tuple[np.ndarray, pa.Table]:
    """Return the places of what goes among the ``count`` rows from ``start`` on, and why."""
    rows = gone["row"].to_numpy()
    low, high = np.searchsorted(rows, [start, start + count])
    return rows[low:high] - start, gone.slice(low, high - low).drop_columns(["row"])


def _with_reasons(documents: pa.Table, why: pa.Table) -> pa.Table:
    for name in why.column_names:
        column = why[name].combine_chunks()
        documents = documents.append_column(name, column if name == "detail" else column.dictionary_encode())
    return documents


def _count(
    steps: dict[str, dict[str, Any]], step: str, reasons: Mapping[str, int], *, documents: int, size: int
) -> None:
    """Add documents to what a step took."""
    toll = steps.setdefault(step, {"documents": 0, "bytes": 0, "reasons": {}})
    toll["documents"] += documents
    toll["bytes"] += size
    for reason, count in reasons.items():
        toll["reasons"][reason] = toll["reasons"].get(reason, 0) + count


def _facts(shards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def total(parts: Sequence[dict[str, int]]) -> dict[str, int]:
        return {key: sum(part[key] for part in parts) for key in ("documents", "bytes", "shards")}

    splits: dict[str, Any] = {
        split: total([each["kept"] for each in shards if each["split"] == split]) for split in _SPLITS
    }
    steps: dict[str, dict[str, Any]] = {}
    for each in shards:
        for step, toll in each["steps"].items():
            _count(steps, step, toll["reasons"], documents=toll["documents"], size=toll["bytes"])
    return {
        "documents": sum(split["documents"] for split in splits.values()),
        "bytes": sum(split["bytes"] for split in splits.values()),
        **splits,
        "removed": total([each["removed"] for each in shards]) | {"steps": steps},
    }
