"""A look at a corpus: what each step of curation took, and samples of what was kept and what was removed."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tokka.data.documents import Document, RemovedDocument
from tokka.data.shards import shard_paths
from tokka.workspace.files import read_json
from tokka.workspace.manifest import Manifest


class TollRow(NamedTuple):
    """What one step took of a source.

    Attributes:
        step: its name.
        documents, share: removed; of all that came in.
        bytes: of text, of removed documents and cut from others.
        tokens: the same, estimated from the source's own bytes per token; None where these are not known.
        changed: documents that it changed and let pass.
        reasons: documents by reason, the most frequent first.
    """

    step: str
    documents: int
    share: float
    bytes: int
    tokens: int | None
    changed: int
    reasons: dict[str, int]


class Look(NamedTuple):
    """Samples of one source: documents that were kept, and removed ones of every reason in turn."""

    source: str
    rows: list[TollRow]
    kept: list[Document]
    removed: list[RemovedDocument]


def toll_rows(curation: dict[str, Any], bytes_per_token: float | None = None) -> list[TollRow]:
    """Return what each step took, and last what all of them took.

    Args:
        curation: the fact of that name of a corpus.
        bytes_per_token: of the source, once it is encoded.
    """
    documents = max(curation["documents"], 1)
    steps = curation["steps"]
    total = {key: sum(toll[key] for toll in steps.values()) for key in ("documents", "bytes", "changed")}
    return [
        TollRow(
            step=step,
            documents=toll["documents"],
            share=toll["documents"] / documents,
            bytes=toll["bytes"],
            tokens=round(toll["bytes"] / bytes_per_token) if bytes_per_token else None,
            changed=toll["changed"],
            reasons=dict(sorted(toll.get("reasons", {}).items(), key=lambda item: (-item[1], item[0]))),
        )
        for step, toll in [*steps.items(), ("all", total)]
    ]


def all_steps(corpus: Mapping[str, Any], documents: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what curation took of a source, then deduplication and decontamination; None without any.

    Args:
        corpus: facts of the corpus.
        documents: facts of what was left of it, see :func:`tokka.data.dedup.remove.remove_documents`; empty
            where nothing was taken out after curation.
    """
    curation = corpus.get("curation", {"documents": corpus.get("documents", 0), "steps": {}})
    taken = documents.get("removed", {}).get("steps", {})
    steps = curation["steps"] | {step: toll | {"changed": 0} for step, toll in taken.items()}
    return curation | {"steps": steps} if steps else None


def look(
    folder: Path,
    count: int = 10,
    *,
    after: Path | None = None,
    seed: int = 0,
    bytes_per_token: float | None = None,
) -> Look:
    """Return samples of the corpus in ``folder``, and what each step of its curation took.

    Only the row groups that the samples lie in are read, so a large corpus takes no longer than a small one.

    Args:
        folder: of the corpus of one source.
        count: documents of either kind.
        after: what deduplication and decontamination left of it, and took; None where there was neither.
        seed: another one draws others.
        bytes_per_token: see :func:`toll_rows`.

    Raises FileNotFoundError where there is no finished corpus.
    """
    if not (folder / "corpus.json").is_file():
        raise FileNotFoundError(f"{folder} holds no finished corpus; build it first")
    facts = read_json(folder / "corpus.json")["facts"]
    draw = random.Random(seed)
    kept, removed = shard_paths(after or folder, "train"), shard_paths(folder, "removed")
    manifest = None
    if after is not None:
        manifest = Manifest.read(after)
        removed += shard_paths(after, "removed")
    curation = all_steps(facts, manifest.facts if manifest else {})
    rows = [pq.read_metadata(path).num_rows for path in kept]
    chosen = sorted(draw.sample(range(sum(rows)), min(count, sum(rows))))
    return Look(
        source=folder.name,
        rows=toll_rows(curation, bytes_per_token) if curation else [],
        kept=[Document(*row) for row in _read_rows(kept, chosen)],
        removed=[
            RemovedDocument(*row) for row in _read_rows(removed, _of_every_reason(removed, count, draw))
        ],
    )


def _of_every_reason(paths: Sequence[Path], count: int, draw: random.Random) -> list[int]:
    """Return the places of ``count`` removed documents, by step and reason in turn."""
    whys = [
        why
        for path in paths
        for batch in pq.ParquetFile(path).iter_batches(columns=["step", "reason"])
        for why in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]
    places: dict[tuple[str, str], list[int]] = {}
    for place, why in enumerate(whys):
        places.setdefault(why, []).append(place)
    queues = [draw.sample(found, min(len(found), count)) for _, found in sorted(places.items())]
    turns = [queue[turn] for turn in range(count) for queue in queues if turn < len(queue)]
    return sorted(turns[:count], key=lambda place: (whys[place], place))


def _read_rows(paths: Sequence[Path], places: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows at these places, counted through all files, in the order asked for."""
    starts = [0, *accumulate(pq.read_metadata(path).num_rows for path in paths)]
    found: dict[int, tuple[Any, ...]] = {}
    for path, start, stop in zip(paths, starts, starts[1:], strict=False):
        wanted = [place for place in places if start <= place < stop]
        with pq.ParquetFile(path) as shard:
            first = start
            for group in range(shard.num_row_groups):
                last = first + shard.metadata.row_group(group).num_rows
                inside = [place for place in wanted if first <= place < last]
                if inside:
                    table = shard.read_row_group(group).take([place - first for place in inside])
                    columns = (column.to_pylist() for column in table.columns)
                    found |= dict(zip(inside, zip(*columns, strict=True), strict=True))
                first = last
    return (found[place] for place in places)
