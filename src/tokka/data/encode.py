"""A corpus becomes tokens on disk: each of its shards a token file, each document closed by the end token.

Where the tokenizer itself puts a token before every text, as Llama's does, a document begins with it too.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from tokka.data.indexed import DamagedError, IndexedDataset, IndexedWriter
from tokka.data.origins import write_origins
from tokka.data.shards import read_shard, shard_paths
from tokka.recipe.template import parse_template
from tokka.tokenizer.batches import batches
from tokka.tokenizer.encoders import Backend, Ids
from tokka.tokenizer.load import LoadedTokenizer
from tokka.workspace.files import digest_file, read_json, write_json
from tokka.workspace.machine import usable_cores
from tokka.workspace.progress import say
from tokka.workspace.workers import Advance, run_tasks

_BATCH_CHARACTERS = 4 * 2**20
_WORTH_A_PROCESS = 2**27
"""A process begins in about the time that it takes to encode so many bytes."""

_CHECKED_CHARACTERS = 2**16
"""So much of each shard's text is encoded by ``tokenizers`` as well, and the ids compared."""


class Shard(NamedTuple):
    """A file of documents to encode.

    Attributes:
        path: the Parquet file.
        prefix: path of the token files, without ``.bin``.
        tokenizer: encodes it.
        allowed_specials: special tokens that its texts may spell.
    """

    path: Path
    prefix: Path
    tokenizer: LoadedTokenizer
    allowed_specials: tuple[str, ...]

    @property
    def record(self) -> Path:
        """Where it is written, last, what the token files were made of and hold."""
        return self.prefix.with_name(f"{self.prefix.name}.json")

    def made_of(self) -> dict[str, Any]:
        """Return what decides the content of the token files."""
        return {
            "documents": digest_file(self.path),
            "tokenizer": self.tokenizer.digest,
            "begin": self.tokenizer.begin_id,
            "allowed_specials": list(self.allowed_specials),
        }


def encode_corpus(
    corpus: Path,
    folder: Path,
    tokenizer: LoadedTokenizer,
    *,
    allowed_specials: Collection[str] = (),
    workers: int | None = None,
) -> dict[str, Any]:
    """Encode the training documents of one source.

    ``train-00003.parquet`` becomes ``00003.bin`` and ``00003.idx`` in Megatron-LM's format, with the origin
    of each document beside them. Shards are encoded in parallel. Those that are finished, and were made of
    the same documents by the same tokenizer, stay; so a killed call goes on when it is called again, and
    ends with the same bytes.

    Args:
        corpus: folder of the source, with ``train-*.parquet``.
        folder: where the token files go; those of shards that the corpus no longer has are removed.
        tokenizer: must have an end token.
        allowed_specials: special tokens that the texts may spell, as the source's template writes them; see
            :func:`specials_in`. Any other special token in a text is encoded as the characters it is.
        workers: processes at most; default: one for each usable core.

    Returns:
        Facts: ``documents``, ``tokens`` (beginning and end tokens included), ``bytes`` of text in UTF-8,
        ``bytes_per_token``, the ``convention`` of tokens before and after a document,
        ``allowed_specials``, the ``backend`` that encoded, and the ``megabytes_per_second`` of this call,
        None where nothing was left to do.

    Raises:
        ValueError: the tokenizer has no end token, or lacks an allowed special token.
    """
    before_and_after(tokenizer)
    shards = [
        Shard(path, folder / path.stem.removeprefix("train-"), tokenizer, tuple(sorted(allowed_specials)))
        for path in shard_paths(corpus, "train")
    ]
    _remove_others(folder, shards)
    waiting = [shard for shard in shards if not _is_finished(shard)]
    metadata = [pq.read_metadata(shard.path) for shard in waiting]
    size = sum(
        each.row_group(group).total_byte_size for each in metadata for group in range(each.num_row_groups)
    )
    begun = time.monotonic()
    run_tasks(
        _encode_shard,
        waiting,
        workers=min(workers or usable_cores(), -(-size // _WORTH_A_PROCESS)),
        what=f"encoding {corpus.name}",
        total=sum(each.num_rows for each in metadata),
        unit="documents",
    )
    return {"convention": tokenizer.convention} | _facts(shards, waiting, time.monotonic() - begun)


def specials_in(templates: Sequence[str], tokenizer: LoadedTokenizer) -> tuple[str, ...]:
    """Return the special tokens that the templates' own text spells: the ones that a source may hold.

    Raises ValueError where a template is malformed.
    """
    literals = [piece.literal for template in templates for piece in parse_template(template)]
    return tuple(name for name in tokenizer.specials if any(name in literal for literal in literals))


def before_and_after(tokenizer: LoadedTokenizer) -> tuple[Ids, Ids]:
    """Return the tokens that come before and after the text of every document.

    Raises ValueError for a tokenizer without an end token.
    """
    if tokenizer.eos_id is None:
        raise ValueError(f"{tokenizer.folder}: the tokenizer has no end token (eos) to close documents with")
    before = [] if tokenizer.begin_id is None else [tokenizer.begin_id]
    return np.array(before, np.int32), np.array([tokenizer.eos_id], np.int32)


def _encode_shard(shard: Shard, advance: Advance) -> None:
    """Encode one shard: origins and tokens, then the record that says that they are whole."""
    if multiprocessing.parent_process() is not None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the other cores have processes of their own
    shard.record.unlink(missing_ok=True)
    parts = batches(read_shard(shard.path), lambda document: len(document.text), _BATCH_CHARACTERS)
    first = next(parts, [])
    backend, encode = _encoder(shard, [document.text for document in first])
    begin, end = before_and_after(shard.tokenizer)
    origins: list[tuple[str, int]] = []
    text_bytes = 0
    with IndexedWriter(shard.prefix, shard.tokenizer.size) as writer:
        for batch in chain([first], parts):
            texts = [document.text for document in batch]
            for ids in encode(texts, shard.allowed_specials):
                writer.add(np.concatenate([begin, ids, end]))
            origins.extend((document.file, document.record) for document in batch)
            text_bytes += sum(len(text.encode()) for text in texts)
            advance(len(batch))
        files = write_origins(shard.prefix, origins)
    record = {
        "made_of": shard.made_of(),
        "documents": writer.documents,
        "tokens": writer.tokens,
        "bytes": text_bytes,
        "backend": backend,
        "files": files,
    }
    write_json(shard.record, record)


def _encoder(shard: Shard, texts: Sequence[str]) -> tuple[Backend, Callable[..., list[Ids]]]:
    """Return the fastest encoder, once it gave the ids of ``tokenizers`` for some of the shard's texts."""
    tokenizer, allowed = shard.tokenizer, shard.allowed_specials
    for sample in islice(batches(texts, len, _CHECKED_CHARACTERS), 1):
        fast, exact = tokenizer.encode_batch(sample, allowed), tokenizer.encode_batch_exactly(sample, allowed)
        if not all(map(np.array_equal, fast, exact)):
            say(f"{shard.path}: gigatoken and tokenizers differ, please report it; tokenizers encodes it all")
            return "tokenizers", tokenizer.encode_batch_exactly
    return tokenizer.backend_for(allowed), tokenizer.encode_batch


def _is_finished(shard: Shard) -> bool:
    """Tell whether the token files are whole and were made of what they would be made of now."""
    if not shard.record.exists() or read_json(shard.record)["made_of"] != shard.made_of():
        return False
    try:
        IndexedDataset(shard.prefix)
    except (FileNotFoundError, DamagedError):
        return False
    return True


def _remove_others(folder: Path, shards: Iterable[Shard]) -> None:
    """Remove token files of shards that the corpus does not have (any more)."""
    kept = {shard.prefix.name for shard in shards}
    for path in folder.glob("*.idx"):
        if path.stem not in kept:
            for part in folder.glob(f"{path.stem}.*"):
                part.unlink()


def _facts(shards: Sequence[Shard], encoded: Collection[Shard], seconds: float) -> dict[str, Any]:
    records = {shard: read_json(shard.record) for shard in shards}
    documents, tokens, size = (
        sum(record[key] for record in records.values()) for key in ("documents", "tokens", "bytes")
    )
    fresh = sum(records[shard]["bytes"] for shard in encoded)
    return {
        "documents": documents,
        "tokens": tokens,
        "bytes": size,
        "bytes_per_token": size / tokens if tokens else None,
        "allowed_specials": list(shards[0].allowed_specials) if shards else [],
        "backend": ", ".join(sorted({record["backend"] for record in records.values()})),
        "megabytes_per_second": round(fresh / 1e6 / seconds, 2) if fresh else None,
    }
