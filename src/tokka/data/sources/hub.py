"""Hugging Face datasets, from the hub as a stream or from a local folder. No remote code is ever run."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokka.data.documents import Reason, Rejected
from tokka.data.sources.files import SourceError
from tokka.data.sources.record import Record
from tokka.recipe.sources import HubDataset, Source
from tokka.workspace.workers import Advance

_BAD_DATA = (ValueError, EOFError, zlib.error)  # pyarrow's and the JSON readers' errors are ValueErrors


@dataclass(frozen=True)
class HubShard:
    """One of the files (or pieces) that a data set consists of.

    Attributes:
        dataset: the data set, its revision resolved to a commit where that could be had.
        folder: where it lies, if it is local.
        index, count: it is the ``index``-th of ``count``.
        name: the data set as the recipe names it, and the index.
    """

    dataset: HubDataset
    folder: Path | None
    index: int
    count: int
    name: str

    size = 0  # unknown
    weight = 2**62  # each is read by itself

    @property
    def identity(self) -> list[str | int]:
        """What it is as long as it does not change."""
        return [self.name, self.dataset.revision or "", self.count]


def find_shards(hub: HubDataset, root: Path) -> list[HubShard]:
    """Return the shards of a data set, in their order.

    Raises:
        SourceError: the extra ``hub`` is not installed; there is no such data set, configuration or split; or
            code is needed to read it.
    """
    folder = root / hub.id if (root / hub.id).is_dir() else None
    if folder is None and hub.id.startswith((".", "/", "~")):
        raise SourceError(f"hub.id: there is no folder {root / hub.id}")
    pinned = hub if folder else hub.model_copy(update={"revision": resolve_revision(hub)})
    count = _open(pinned, folder).num_shards
    label = "/".join(part for part in (hub.id, hub.name, hub.split) if part)
    return [HubShard(pinned, folder, index, count, f"{label}/{index:05d}") for index in range(count)]


def resolve_revision(hub: HubDataset) -> str | None:
    """Return the commit that the data set's revision stands for now, else the revision as stated."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(hub.id, revision=hub.revision, timeout=10).sha
    except Exception:  # no network, no such data set, no access: opening it will tell
        return hub.revision


def read_shard(shard: HubShard, source: Source, advance: Advance) -> Iterator[Record | Rejected]:
    """Yield the rows of one shard, streamed.

    Where its data is damaged the library cannot read on: what is left counts as one damaged record. A failing
    connection is raised instead; the same command goes on later.
    """
    stream = _open(shard.dataset, shard.folder).shard(num_shards=shard.count, index=shard.index)
    damage = (*_BAD_DATA, OSError) if shard.folder else _BAD_DATA
    number = 0
    try:
        for fields in stream:
            number += 1
            yield Record(number, fields)
    except damage as error:
        yield Rejected(
            shard.name, number + 1, Reason.DAMAGED_FILE, 0, str(error).encode(errors="replace")[:1024]
        )


def _open(hub: HubDataset, folder: Path | None) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise SourceError("hub: needs the package `datasets`; pip install 'tokka[hub]'") from error
    if folder is not None and (folder / f"{folder.name}.py").exists():
        raise SourceError(
            f"hub.id: {hub.id} has a loading script, {folder.name}.py, and no code of a data set is run; "
            f"convert it to Parquet or JSON Lines first"
        )
    try:
        if folder is not None and _was_saved_to_disk(folder):
            saved = datasets.load_from_disk(str(folder))
            table = saved[hub.split] if isinstance(saved, datasets.DatasetDict) else saved
            return table.to_iterable_dataset()
        return datasets.load_dataset(
            str(folder or hub.id), name=hub.name, split=hub.split, revision=hub.revision, streaming=True
        )
    except Exception as error:  # the library's own, HTTP clients', file systems'
        raise SourceError(f"hub: {hub.id} cannot be opened ({error})") from error


def _was_saved_to_disk(folder: Path) -> bool:
    return (folder / "state.json").exists() or (folder / "dataset_dict.json").exists()
