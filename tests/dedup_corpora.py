"""Corpora of given texts for tests, without a source to read."""

import hashlib
from pathlib import Path

from tokka.data.shards import ShardWriter, Split


def write_corpus(folder: Path, texts, *, heldout=(), split: Split = "train", records=None) -> Path:
    """Write texts as the documents of a corpus, record 1, 2, ... of the file ``NAME.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, members in ((split, texts), ("heldout", heldout)):
        writer = ShardWriter(folder, part)
        for number, text in enumerate(members, start=1):
            record = number if records is None else records[number - 1]
            writer.add(text.encode(), f"{folder.name}.jsonl", record)
        writer.close()
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
