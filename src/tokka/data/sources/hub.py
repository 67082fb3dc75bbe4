"""Hugging Face data sets, read where they lie, on the hub or in a local folder. No remote code is run."""

import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokka.data.documents import Reason, Rejected
from tokka.data.sources.files import InputFile, SourceError
from tokka.data.sources.record import Record
from tokka.data.sources.remote import HubFile, RemotePath
from tokka.recipe.sources import Format, HubDataset, Source
from tokka.workspace.hub import Hub
from tokka.workspace.progress import say
from tokka.workspace.workers import Advance

_BAD_DATA = (ValueError, EOFError, zlib.error)  # pyarrow's and the JSON readers' errors are ValueErrors
_PATH_IN_REPOSITORY = re.compile(r"^hf://datasets/[^/]+/[^/@]+(?:@[^/]+)?/")
_WAITS = (1.0, 2.0, 4.0)
"""Seconds before the hub is asked again what a data set consists of."""


@dataclass(frozen=True)
class HubShard:
    """A piece of a data set of another format than JSON Lines and Parquet, streamed by the library.

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


def find_shards(hub: HubDataset, root: Path) -> list[InputFile | HubFile | HubShard]:
    """Return what a data set consists of, in its order.

    JSON Lines and Parquet, as nearly all data sets are, are its files; of anything else, the shards that the
    library makes of it. A folder that mirrors a repository has the same files by the same names.

    Raises:
        SourceError: the extra ``hub`` is not installed; there is no such data set, configuration or split; it
            is gated; or code is needed to read it.
    """
    folder = root / hub.id if (root / hub.id).is_dir() else None
    if folder is None and hub.id.startswith((".", "/", "~")):
        raise SourceError(f"hub.id: there is no folder {root / hub.id}")
    if folder is None:
        hub = hub.model_copy(update={"revision": resolve_revision(hub)})
    if folder is None or not _was_saved_to_disk(folder):
        files = _files(hub, folder)
        if files:
            return files
    count = _retried(lambda: _open(hub, folder), hub, folder).num_shards
    label = "/".join(part for part in (hub.id, hub.name, hub.split) if part)
    return [HubShard(hub, folder, index, count, f"{label}/{index:05d}") for index in range(count)]


def _files(hub: HubDataset, folder: Path | None) -> list[InputFile | HubFile | HubShard]:
    """Return the files of a split; none where one of them is of another format than is read here."""
    builder = _retried(lambda: _builder(hub, folder), hub, folder)
    by_split = builder.config.data_files or {}
    if by_split and hub.split not in by_split:
        raise SourceError(
            f"hub.split: {hub.id} has no split {hub.split!r}; it has {', '.join(map(str, by_split))}"
        )
    found: list[tuple[str, Format]] = []
    for address in by_split.get(hub.split, ()):
        kind = _format_of(str(address))
        if kind is None:
            return []
        found.append((str(address), kind))
    if folder is not None:
        return [_local(Path(address), kind, hub, folder) for address, kind in found]
    paths = [_PATH_IN_REPOSITORY.sub("", address) for address, _ in found]
    sizes, commit = _retried(lambda: _sizes(hub, paths), hub, None)
    return [
        HubFile(RemotePath(hub.id, commit, path, sizes[path]), f"{hub.id}/{path}", kind)
        for path, (_, kind) in zip(paths, found, strict=True)
    ]


def _local(path: Path, kind: Format, hub: HubDataset, folder: Path) -> InputFile:
    name = path.resolve().relative_to(folder.resolve()).as_posix()
    return InputFile(path, f"{hub.id}/{name}", kind, path.stat().st_size)


def _format_of(address: str) -> Format | None:
    """Return how a file is read here, by its name; ``.json`` may also be one large array."""
    plain = address.removesuffix(".gz").removesuffix(".zst")
    if plain.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    return "parquet" if address.endswith(".parquet") else None


def _sizes(hub: HubDataset, paths: list[str]) -> tuple[dict[str, int], str]:
    """Return the bytes of each file, and the commit that they are of."""
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(hub.id, revision=hub.revision, files_metadata=True)
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
    return {path: sizes[path] for path in paths}, info.sha or hub.revision or "main"


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
    opened = _retried(lambda: _open(shard.dataset, shard.folder), shard.dataset, shard.folder)
    stream = opened.shard(num_shards=shard.count, index=shard.index)
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


def _builder(hub: HubDataset, folder: Path | None) -> Any:
    """Return what the library knows of a data set before it reads it."""
    datasets = _library(hub, folder)
    return datasets.load_dataset_builder(str(folder or hub.id), name=hub.name, revision=hub.revision)


def _open(hub: HubDataset, folder: Path | None) -> Any:
    datasets = _library(hub, folder)
    if folder is not None and _was_saved_to_disk(folder):
        saved = datasets.load_from_disk(str(folder))
        table = saved[hub.split] if isinstance(saved, datasets.DatasetDict) else saved
        return table.to_iterable_dataset()
    return datasets.load_dataset(
        str(folder or hub.id), name=hub.name, split=hub.split, revision=hub.revision, streaming=True
    )


def _library(hub: HubDataset, folder: Path | None) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise SourceError("hub: needs the package `datasets`; pip install 'tokka[hub]'") from error
    if folder is not None and (folder / f"{folder.name}.py").exists():
        raise SourceError(
            f"hub.id: {hub.id} has a loading script, {folder.name}.py, and no code of a data set is run; "
            f"convert it to Parquet or JSON Lines first"
        )
    return datasets


def _retried(ask: Callable[[], Any], hub: HubDataset, folder: Path | None) -> Any:
    """Return what ``ask`` returns; it asks again where the connection to the hub fails.

    Raises SourceError where the hub refuses the data set, the connection stays bad, or it cannot be read.
    """
    for wait in (*_WAITS, 0.0):
        try:
            if folder is None:
                _require(hub)
            return ask()
        except SourceError:
            raise
        except Exception as error:  # the library's own, HTTP clients', file systems'
            if folder is not None or isinstance(error, ValueError) or not wait:
                raise SourceError(f"hub: {hub.id} cannot be opened ({error})") from error
            say(f"{hub.id}: {error}; asking again in {wait:g} s")
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _require(hub: HubDataset) -> None:
    """Raise SourceError where the hub does not give a data set, ConnectionError where it is not there."""
    asked = Hub()
    why_not = asked.why_not("dataset", hub.id, hub.revision)
    if asked.is_down:
        raise ConnectionError(why_not)
    if why_not:
        raise SourceError(f"hub: {why_not}")


def _was_saved_to_disk(folder: Path) -> bool:
    return (folder / "state.json").exists() or (folder / "dataset_dict.json").exists()
