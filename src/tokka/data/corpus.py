"""A corpus: the documents of one source as Parquet shards, and what was kept aside, with the reason."""

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokka import __version__
from tokka.data.curation.chain import Plan
from tokka.data.documents import Document, Reason, Rejected, RemovedDocument
from tokka.data.group import FACTS, REJECTED, Group, build_group, grouped, merge_facts
from tokka.data.shards import (
    SPLITS,
    Split,
    read_rejected_file,
    read_removed_shard,
    read_shard,
    shard_name,
    shard_paths,
)
from tokka.data.sources.files import SourceError
from tokka.data.sources.read import find_inputs
from tokka.recipe.sources import Source
from tokka.workspace.files import digest_json, read_json, sync_folder, write_json, write_text
from tokka.workspace.workers import run_tasks

if TYPE_CHECKING:
    from tokka.data.executors import Executor

_WORK, _DONE = ".work", "corpus.json"
_DECIDES = {"path", "hub", "format", "text", "template", "tokenizer", "max_bytes"}


def build_corpus(
    name: str,
    source: Source,
    folder: Path,
    *,
    root: Path,
    heldout: float,
    workers: int,
    executor: "Executor | None" = None,
) -> dict[str, Any]:
    """Read a source, and curate it, into ``train-*``, ``heldout-*`` and ``removed-*.parquet`` in ``folder``.

    Records that are no documents go to ``rejected-*.jsonl``, documents that curation removes to
    ``removed-*.parquet``.

    Inputs are read in parallel, each (or a group of small ones) by one process. A killed build goes on when
    it is called again with the same inputs, and ends with the same bytes; with other inputs it begins anew.
    Every record is kept, removed or kept aside, and counted: where the counts of what was read and of what
    was written differ, the build fails.

    Args:
        name: of the source, for messages.
        source: as the recipe states it.
        folder: where the corpus goes; made if it is not there.
        root: the recipe's folder, where relative paths begin.
        heldout: share of documents, in [0, 1), that is held out, chosen by content. The documents that
            several templates make of one record go together.
        workers: processes.
        executor: of datatrove, which spreads the work instead, over other machines perhaps.

    Returns:
        Facts: ``files`` read, ``records`` seen in them, ``documents`` made of these and their ``bytes`` of
        UTF-8, the same and ``shards`` for ``train``, ``heldout`` and ``removed``, ``rejected`` records by
        reason, and the first ``examples`` of each reason. Of a source that is curated, ``curation``: the
        ``documents`` and ``bytes`` that came in, and what each of the ``steps`` took (see
        :class:`tokka.data.curation.chain.Toll`).

    Raises:
        SourceError: the source cannot be read as it is stated; the message begins with the key in the recipe.
        OSError: reading or writing failed; call again to go on.
    """
    try:
        inputs = find_inputs(source, root)
    except SourceError as error:
        raise SourceError(f"sources.{name}.{error}") from error
    curation = None if source.curate is None else Plan(source.curate, source.language, root)
    plan = digest_json(
        [
            __version__,
            curation and curation.identity,
            source.model_dump(mode="json", include=_DECIDES),
            heldout,
            [one.identity for one in inputs],
        ]
    )
    facts = _finished(folder, plan)
    if facts is None:
        work = _begin(folder, plan)
        groups = [
            Group(work / f"{index:06d}", source, group, heldout, curation)
            for index, group in enumerate(grouped(inputs))
        ]
        waiting = [group for group in groups if not group.folder.exists()]
        if executor is not None:
            executor.build(waiting, work)
        else:
            size = sum(one.size for group in waiting for one in group.inputs)
            run_tasks(build_group, waiting, workers=workers, what=f"reading {name}", total=size or None)
        facts = _collect([group.folder for group in groups], folder, plan)
    shutil.rmtree(folder / _WORK, ignore_errors=True)
    return facts


def read_documents(folder: Path, split: Split) -> Iterator[Document]:
    """Yield the documents of a split of the corpus in ``folder``, in order, a few in memory at a time.

    Raises FileNotFoundError where there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; build the corpus first")
    for path in shard_paths(folder, split):
        yield from read_shard(path)


def read_rejected(folder: Path) -> Iterator[Rejected]:
    """Yield what was kept aside when the corpus in ``folder`` was built, in order."""
    for path in sorted(folder.glob("rejected-*.jsonl"), key=lambda path: (len(path.name), path.name)):
        yield from read_rejected_file(path)


def read_removed(folder: Path) -> Iterator[RemovedDocument]:
    """Yield the documents that curation removed from the corpus in ``folder``, in order."""
    for path in shard_paths(folder, "removed"):
        yield from read_removed_shard(path)


def sample_rejected(
    folder: Path, count: int = 10, *, reason: Reason | None = None, seed: int = 0
) -> list[Rejected]:
    """Return ``count`` entries of what was kept aside, drawn uniformly, in order; all if there are fewer.

    Args:
        folder: of the corpus.
        count: how many.
        reason: only entries with this reason.
        seed: another one draws others.
    """
    draw = random.Random(seed)
    sample: list[tuple[int, Rejected]] = []
    wanted = (entry for entry in read_rejected(folder) if reason in (None, entry.reason))
    for position, entry in enumerate(wanted):  # reservoir sampling
        slot = position if position < count else draw.randrange(position + 1)
        if slot < count:
            sample[slot : slot + 1] = [(position, entry)]
    return [entry for _, entry in sorted(sample)]


def _finished(folder: Path, plan: str) -> dict[str, Any] | None:
    """Return the facts of a corpus that is whole and was built by ``plan``."""
    if not (folder / _DONE).exists():
        return None
    done = read_json(folder / _DONE)
    whole = all((folder / name).exists() for name in done["files"])
    return done["facts"] if done["plan"] == plan and whole else None


def _begin(folder: Path, plan: str) -> Path:
    """Return the folder of unfinished work, empty of what another plan left."""
    work = folder / _WORK
    stated = work / "plan"
    if not stated.exists() or stated.read_text() != plan:
        (folder / _DONE).unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        for pattern in (*(f"{split}-*.parquet" for split in SPLITS), "rejected-*.jsonl"):
            for path in folder.glob(pattern):
                path.unlink()
        write_text(stated, plan)
    return work


def _collect(groups: Sequence[Path], folder: Path, plan: str) -> dict[str, Any]:
    """Number the files of all groups through and move them to ``folder``; may be killed and called again."""
    facts = [read_json(group / FACTS) for group in groups]
    moves: dict[str, Path] = {}
    for split in SPLITS:
        shards = [
            group / shard_name(split, index)
            for group, fact in zip(groups, facts, strict=True)
            for index in range(fact[split]["shards"])
        ]
        moves |= {shard_name(split, index): path for index, path in enumerate(shards)}
    aside = [group / REJECTED for group, fact in zip(groups, facts, strict=True) if fact["rejected"]]
    moves |= {f"rejected-{index:05d}.jsonl": path for index, path in enumerate(aside)}
    for name, path in moves.items():
        if path.exists():
            path.replace(folder / name)
    sync_folder(folder)
    total = merge_facts(facts)
    write_json(folder / _DONE, {"plan": plan, "files": list(moves), "facts": total})
    return total
