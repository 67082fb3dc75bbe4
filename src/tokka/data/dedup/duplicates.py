"""Which documents are the same as another one, and which one is kept."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tokka.data.dedup.candidates import Groups, groups
from tokka.data.dedup.clusters import Clusters
from tokka.data.dedup.signed import Signed
from tokka.data.dedup.words import Positions, distinct
from tokka.workspace.files import sync_folder, whole_file
from tokka.workspace.progress import progress

_CENTRES = 16
"""Of a group of documents that share a key, so many at most are compared with all others of it: costs stay
linear even where very many unlike documents share one."""

SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("similarity", pa.float64()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("record", pa.int64()),
    ]
)
"""A document that goes, why, and the record that is kept in its stead."""


def find_duplicates(
    signatures: Mapping[str, Path], folder: Path, *, bands: int, threshold: float, workers: int
) -> dict[str, Any]:
    """Write for each source the list of its documents that are the same as another one, and so go.

    Equal texts are the same; so are documents that share a key in a band and whose Jaccard similarity is at
    least ``threshold``; and so is what is the same as a third. Of these the first is kept: of the source that
    is stated first, and in it a held-out one. A source's list is not changed by the sources after it.

    A killed call goes on with the source it was at when it is called again, and ends with the same bytes,
    whatever the number of workers.

    Args:
        signatures: folder of each source's signatures, in the order in which sources keep documents.
        folder: where the lists go, as ``<source>.parquet``, see :data:`SCHEMA`.
        bands: of the signatures; 0 compares texts alone.
        threshold: least Jaccard similarity of duplicates.
        workers: threads.

    Returns:
        Facts: by source, how many of its documents are ``removed``, by reason (``exact_duplicate`` or
        ``near_duplicate``), and in ``kept_in`` how many of these are kept in which source.
    """
    work = folder / ".work"
    work.mkdir(parents=True, exist_ok=True)
    names = list(signatures)
    documents = Signed.open(signatures).documents
    with progress("finding duplicates", len(names) * (bands + 1), "passes") as bar:
        for index, name in enumerate(names):
            if not _state(work, index).exists():
                clusters = _begin(work, index, documents)
                signed = Signed.open({known: signatures[known] for known in names[: index + 1]})
                fresh = Signed.open({known: signatures[known] for known in names[:index]}).documents
                _join_equal(signed, clusters, fresh)
                for band in range(1, bands + 1):
                    _join_alike(signed, clusters, fresh, band, threshold, workers)
                    bar.advance(1)
                _write_list(signed, clusters, fresh, folder / f"{name}.parquet", workers)
                _end(clusters, work, index)
    facts = {name: _facts(folder / f"{name}.parquet") for name in names}
    shutil.rmtree(work)
    return facts


def _state(work: Path, index: int) -> Path:
    """Return where the clusters are once a source is done."""
    return work / f"after-{index:04d}.npy"


def _begin(work: Path, index: int, documents: int) -> Clusters:
    """Return clusters to work on: a copy of those before, so that a killed source begins anew."""
    path = work / "clusters.npy"
    if index:
        shutil.copyfile(_state(work, index - 1), path)
    else:
        Clusters.make(path, documents)
    return Clusters(path)


def _end(clusters: Clusters, work: Path, index: int) -> None:
    clusters.flush()
    (work / "clusters.npy").replace(_state(work, index))
    sync_folder(work)


def _join_equal(signed: Signed, clusters: Clusters, fresh: int) -> None:
    """Join equal texts of which one at least has a number from ``fresh`` on."""
    for found in groups(signed.shards, signed.begins, 0):
        first, other, _ = _with_first(found)
        wanted = other >= fresh
        first, other = first[wanted], other[wanted]
        equal = signed.equal(first, other)
        clusters.join(first[equal], other[equal])


def _join_alike(
    signed: Signed, clusters: Clusters, fresh: int, band: int, threshold: float, workers: int
) -> None:
    """Join documents that share a key in ``band`` and are alike, the later of them from ``fresh`` on.

    The first document of each group is compared with the others, then the first of those that were not like
    it, and so on. Those that are known to be the same count as one.
    """
    for found in groups(signed.shards, signed.begins, band):
        left = _one_of_each(found, clusters, fresh)
        for _ in range(_CENTRES):
            first, other, group = _with_first(left)
            wanted = other >= fresh
            alike = np.zeros(len(other), bool)
            alike[wanted] = signed.similarity(first[wanted], other[wanted], workers) >= threshold
            clusters.join(first[alike], other[alike])
            left = Groups(other[~alike], group[~alike])
            if not len(other):
                break


def _with_first(found: Groups) -> tuple[Positions, Positions, Positions]:
    """Return the first document of each group beside each of the others, and their group."""
    first = distinct(found.group)
    begins = np.flatnonzero(first)
    counts = np.diff(np.append(begins, len(found.group)))
    return np.repeat(found.documents[begins], counts)[~first], found.documents[~first], found.group[~first]


def _one_of_each(found: Groups, clusters: Clusters, fresh: int) -> Groups:
    """Return the first document of each cluster in each group that has a document from ``fresh`` on."""
    roots = clusters.roots(found.documents)
    order = np.lexsort((found.documents, roots, found.group))
    group, roots = found.group[order], roots[order]
    first = np.ones(len(order), bool)
    first[1:] = (group[1:] != group[:-1]) | (roots[1:] != roots[:-1])
    kept = np.sort(order[first])  # as they were: by group, in it by number
    documents, group = found.documents[kept], found.group[kept]
    new = np.isin(group, group[documents >= fresh])
    return Groups(documents[new], group[new])


def _write_list(signed: Signed, clusters: Clusters, fresh: int, path: Path, workers: int) -> None:
    """Write which records from ``fresh`` on have a lesser one in their cluster."""
    with whole_file(path) as aside, pq.ParquetWriter(aside, SCHEMA) as writer:
        for index in range(int(np.searchsorted(signed.begins, fresh)), len(signed.shards)):
            records = np.arange(signed.begins[index], signed.begins[index + 1])
            roots = clusters.roots(records)
            gone = records != roots
            writer.write_table(_entries(signed, index, records[gone], roots[gone], workers))


def _entries(signed: Signed, index: int, records: Positions, kept: Positions, workers: int) -> pa.Table:
    """Return an entry for each document of ``records``, which lie in one shard."""
    equal = signed.equal(records, kept)
    similarity = np.ones(len(records))
    similarity[~equal] = signed.similarity(records[~equal], kept[~equal], workers)
    rows_of = signed.shards[index].rows_of
    here = records - signed.begins[index]
    entries = []
    for row, stop, same, alike, (shard, record) in zip(
        rows_of[here].tolist(),
        rows_of[here + 1].tolist(),
        equal.tolist(),
        similarity.tolist(),
        zip(*signed.locate(kept), strict=True),
        strict=True,
    ):
        source = signed.sources[shard]
        file, number = signed.shards[shard].origins.of(record)
        entry = {
            "shard": signed.shards[index].name,
            "step": "deduplicate",
            "reason": "exact_duplicate" if same else "near_duplicate",
            "detail": f"{alike:.2f} like {source} {file}:{number}",
            "similarity": alike,
            "source": source,
            "file": file,
            "record": number,
        }
        entries += [entry | {"row": each} for each in range(row, stop)]
    return pa.Table.from_pylist(entries, SCHEMA)


def _facts(path: Path) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    kept_in: Counter[str] = Counter()
    for batch in pq.ParquetFile(path).iter_batches(columns=["reason", "source"]):
        reasons.update(batch["reason"].to_pylist())
        kept_in.update(batch["source"].to_pylist())
    return {"removed": dict(sorted(reasons.items())), "kept_in": dict(kept_in)}
