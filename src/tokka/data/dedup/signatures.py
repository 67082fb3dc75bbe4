"""What deduplication knows of each record: written once a shard of a corpus, read as memory maps.

A shard's folder holds, for its n records:

``keys.npy``
    uint64 [1 + bands, n]: by the text alone, then in each band; each row ascending. Records with a key in
    common are candidates for being the same.
``rows.npy``
    uint32 [1 + bands, n]: whose key that is.
``check.npy``
    uint64 [n]: 64 more bits of the text's digest.
``sketches.npy``, ``begins.npy``
    uint32, int64 [n + 1]: the least hashes of each record's set of shingles, at most :data:`SKETCH`.
``rows_of.npy``
    int64 [n + 1]: the row of the shard with which each record's documents begin.
``origin.npy``, ``shard.json``
    the file and number of each record; the files' names.
"""

from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tokka.data.dedup.folding import Hashes
from tokka.data.dedup.minhash import Banding, band_keys
from tokka.data.dedup.records import processes_for, read_record_texts
from tokka.data.dedup.words import Positions, Sets, shingles
from tokka.data.origins import Origins, write_origins
from tokka.data.shards import Split, shard_paths
from tokka.tokenizer.batches import batches
from tokka.workspace.files import whole_folder, write_json
from tokka.workspace.workers import Advance, run_tasks

SKETCH = 1024
"""Shingles kept of a record: similarity is exact up to so many, else told from the least ones."""

Read = Callable[[Path], Any]

_BATCH_CHARACTERS = 400_000
_SPLITS: tuple[Split, Split] = ("heldout", "train")


class Method(NamedTuple):
    """How records are compared.

    Attributes:
        words: in a shingle.
        banding: by which those that are alike meet; None where only equal texts are to.
    """

    words: int
    banding: Banding | None


class Task(NamedTuple):
    """A shard to sign."""

    path: Path
    folder: Path
    method: Method


def sign_corpus(corpus: Path, folder: Path, method: Method, *, workers: int) -> dict[str, Any]:
    """Write the signatures of all records of the corpus in ``corpus``, a folder a shard.

    A killed call goes on with the shards that are missing when it is called again with the same corpus and
    method, and ends with the same bytes, whatever the number of workers.

    Returns:
        Facts: ``documents`` signed.
    """
    paths = [path for split in _SPLITS for path in shard_paths(corpus, split)]
    tasks = [Task(path, folder / path.stem, method) for path in paths]
    waiting = [task for task in tasks if not task.folder.exists()]
    counts = {task.path: pq.read_metadata(task.path).num_rows for task in tasks}
    run_tasks(
        sign_shard,
        waiting,
        workers=processes_for([task.path for task in waiting], workers),
        what=f"comparing {corpus.name}",
        total=sum(counts[task.path] for task in waiting),
        unit="documents",
    )
    return {"documents": sum(counts.values())}


def sign_shard(task: Task, advance: Advance) -> None:
    """Write the signatures of one shard."""
    digests: list[bytes] = []
    keys: list[Hashes] = []
    sketches: list[Sets] = []
    origins: list[tuple[str, int]] = []
    documents = [0]
    for batch in batches(read_record_texts(task.path), lambda each: len(each.text), _BATCH_CHARACTERS):
        texts = [each.text for each in batch]
        digests += [blake2b(text.encode(), digest_size=16).digest() for text in texts]
        origins += [(each.file, each.record) for each in batch]
        documents += [each.documents for each in batch]
        if task.method.banding is not None:
            sets = shingles(texts, task.method.words)
            keys.append(band_keys(sets, task.method.banding))
            sketches.append(_least(sets))
        advance(sum(each.documents for each in batch))
    with whole_folder(task.folder) as aside:
        _write(aside, np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2), keys, sketches)
        np.save(aside / "rows_of.npy", np.cumsum(documents), allow_pickle=False)
        files = write_origins(aside / "shard", origins)
        write_json(aside / "shard.json", {"files": files})


class SignedShard:
    """The signatures of one shard.

    Args:
        folder: where they are.
        read: returns the array in a file.
    """

    def __init__(self, folder: Path, read: Read) -> None:
        self.name, self._folder, self._read = folder.name, folder, read

    def __len__(self) -> int:
        return len(self.check)

    @property
    def keys(self) -> Hashes:
        return self._read(self._folder / "keys.npy")

    @property
    def rows(self) -> NDArray[np.uint32]:
        return self._read(self._folder / "rows.npy")

    @property
    def check(self) -> Hashes:
        return self._read(self._folder / "check.npy")

    @property
    def rows_of(self) -> Positions:
        return self._read(self._folder / "rows_of.npy")

    @cached_property
    def origins(self) -> Origins:
        return Origins(self._folder / "shard")

    def sketch(self, record: int) -> NDArray[np.uint32]:
        """Return the least hashes of a record's set, ascending."""
        begins = self._read(self._folder / "begins.npy")
        return self._read(self._folder / "sketches.npy")[begins[record] : begins[record + 1]]


def mapped() -> Read:
    """Return a function that maps the arrays in files into memory; it keeps some hundred of them open."""

    @lru_cache(maxsize=512)
    def read(path: Path) -> Any:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    return read


def signed_shards(folder: Path, read: Read) -> list[SignedShard]:
    """Return the signed shards of a corpus: those of its held-out documents first."""
    return [SignedShard(path, read) for split in _SPLITS for path in _in_order(folder.glob(f"{split}-*"))]


def _in_order(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def _write(folder: Path, digests: Hashes, keys: list[Hashes], sketches: list[Sets]) -> None:
    lengths = np.zeros(len(digests), np.int64)
    rows = [digests[:, 0]]
    if keys:
        lengths = np.concatenate([np.diff(part.begins) for part in sketches])
        # A record without a word is like no other that is not its equal.
        rows += [np.where(lengths > 0, row, digests[:, 0]) for row in np.concatenate(keys, axis=1)]
    order = np.array([np.argsort(row, kind="stable") for row in rows])
    arrays = {
        "keys": np.array([row[by] for row, by in zip(rows, order, strict=True)]),
        "rows": order.astype(np.uint32),
        "check": np.ascontiguousarray(digests[:, 1]),
        "sketches": np.concatenate([np.empty(0, np.uint32), *(part.hashes for part in sketches)]),
        "begins": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def _least(sets: Sets) -> Sets:
    """Return at most :data:`SKETCH` of the least hashes of each set."""
    counts = np.diff(sets.begins)
    place = np.arange(len(sets.hashes)) - np.repeat(sets.begins[:-1], counts)
    begins = np.concatenate([[0], np.cumsum(np.minimum(counts, SKETCH))])
    return Sets(sets.hashes[place < SKETCH], begins)
