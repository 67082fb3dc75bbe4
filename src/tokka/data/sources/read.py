"""Reading a source: its inputs, and the documents of each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokka.data.documents import Document, Rejected, UnfitError
from tokka.data.sources.files import InputFile, find_files
from tokka.data.sources.html import read_html
from tokka.data.sources.hub import HubShard, find_shards, read_shard
from tokka.data.sources.jsonl import read_jsonl
from tokka.data.sources.megatron import read_megatron
from tokka.data.sources.parquet import read_parquet
from tokka.data.sources.record import Record, contents, templates_of, url_of
from tokka.data.sources.remote import HubFile
from tokka.data.sources.text import read_text
from tokka.data.sources.warc import read_warc
from tokka.recipe.sources import Source
from tokka.workspace.workers import Advance

Input = InputFile | HubFile | HubShard

_READERS: dict[str, Callable[[Any, Source, Advance], Iterator[Record | Rejected]]] = {
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "text": read_text,
    "megatron": read_megatron,
    "warc": read_warc,
    "html": read_html,
}


class Kept(NamedTuple):
    """The documents of one record, as UTF-8: one, or one a template; and its address, where it has one."""

    record: int
    contents: list[bytes]
    url: str | None = None


def find_inputs(source: Source, root: Path) -> list[Input]:
    """Return what the source is read from, in order: files, or the shards of a hub data set.

    Args:
        source: as the recipe states it.
        root: the recipe's folder, where relative paths begin.

    Raises:
        SourceError: the source cannot be read as it is stated: a path matches nothing, a format cannot be
            told, an extra is not installed, ...
    """
    if source.hub is not None:
        return list(find_shards(source.hub, root))
    return list(find_files(source, root))


def read_input(one: Input, source: Source, advance: Advance = lambda _: None) -> Iterator[Kept | Rejected]:
    """Yield every record of one input exactly once: kept, or rejected with the reason.

    Args:
        one: a file or shard that :func:`find_inputs` returned.
        source: the source it belongs to.
        advance: called with the bytes of input read since the last call.
    """
    templates = templates_of(source)
    records = (
        read_shard(one, source, advance)
        if isinstance(one, HubShard)
        else _READERS[one.format](one, source, advance)
    )
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        try:
            documents = contents(record.fields, templates, source.max_bytes)
            yield Kept(record.number, documents, url_of(record.fields, source))
        except UnfitError as unfit:
            yield record.rejected(one.name, unfit.reason)


def read_source(source: Source, root: Path) -> Iterator[Document | Rejected]:
    """Yield the documents of a source, and the records that gave none, in the order of its inputs."""
    for one in find_inputs(source, root):
        for item in read_input(one, source):
            if isinstance(item, Rejected):
                yield item
            else:
                for content in item.contents:
                    yield Document(content.decode(), one.name, item.record)
