"""A group of inputs: what one process reads at a time, and what is done again if it is killed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokka.data.documents import Rejected, is_heldout
from tokka.data.shards import RejectedWriter, ShardWriter
from tokka.data.sources.read import Input, read_input
from tokka.data.sources.record import templates_of
from tokka.recipe.sources import Source
from tokka.workspace.files import whole_folder, write_json
from tokka.workspace.workers import Advance

REJECTED, FACTS = "rejected.jsonl", "facts.json"
"""Names of files in a group's folder, beside its shards."""

_GROUP_BYTES = 64 * 2**20


class Group(NamedTuple):
    """Inputs of a source, and the folder that is there, whole, once they have been read."""

    folder: Path
    source: Source
    inputs: Sequence[Input]
    heldout: float


def grouped(inputs: Sequence[Input]) -> Iterator[list[Input]]:
    """Cut the inputs into runs of about a shard's worth of text; a large one stands alone."""
    group: list[Input] = []
    weight = 0
    for one in inputs:
        if group and weight + one.weight > _GROUP_BYTES:
            yield group
            group, weight = [], 0
        group.append(one)
        weight += one.weight
    if group:
        yield group


def build_group(group: Group, advance: Advance) -> None:
    """Read the inputs of a group into its folder: shards, what was kept aside, and the facts.

    Raises RuntimeError where a record was lost between reading and writing.
    """
    with whole_folder(group.folder) as folder:
        train, heldout = ShardWriter(folder, "train"), ShardWriter(folder, "heldout")
        rejected = RejectedWriter(folder / REJECTED)
        records = 0
        for one in group.inputs:
            for item in read_input(one, group.source, advance):
                if isinstance(item, Rejected):
                    records += item.records
                    rejected.add(item)
                    continue
                records += 1
                # A record's documents go together: one direction of a translation would give away the other.
                side = heldout if is_heldout(item.contents[0], group.heldout) else train
                for content in item.contents:
                    side.add(content, one.name, item.record)
        for writer in (train, heldout, rejected):
            writer.close()
        facts = _facts(records, train, heldout, rejected)
        _check(facts, len(templates_of(group.source)), group.inputs)
        write_json(folder / FACTS, {"files": len(group.inputs)} | facts)


def merge_facts(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up the facts of groups."""
    reasons = sorted({reason for each in facts for reason in each["rejected"]})
    total: dict[str, Any] = {
        key: sum(each[key] for each in facts) for key in ("files", "records", "documents", "bytes")
    }
    for split in ("train", "heldout"):
        total[split] = {
            key: sum(each[split][key] for each in facts) for key in ("documents", "bytes", "shards")
        }
    total["rejected"] = {reason: sum(each["rejected"].get(reason, 0) for each in facts) for reason in reasons}
    total["examples"] = {
        reason: [example for each in facts for example in each["examples"].get(reason, [])][
            : RejectedWriter.EXAMPLES
        ]
        for reason in reasons
    }
    return total


def _facts(
    records: int, train: ShardWriter, heldout: ShardWriter, rejected: RejectedWriter
) -> dict[str, Any]:
    return {
        "records": records,
        "documents": train.documents + heldout.documents,
        "bytes": train.bytes + heldout.bytes,
        "train": {"documents": train.documents, "bytes": train.bytes, "shards": train.shards},
        "heldout": {"documents": heldout.documents, "bytes": heldout.bytes, "shards": heldout.shards},
        "rejected": rejected.records,
        "examples": rejected.examples,
    }


def _check(facts: dict[str, Any], templates: int, inputs: Sequence[Input]) -> None:
    kept = facts["records"] - sum(facts["rejected"].values())
    if facts["documents"] != kept * templates:
        raise RuntimeError(
            f"{inputs[0].name} (and {len(inputs) - 1} more files): {kept} good records with {templates} "
            f"template(s) gave {facts['documents']} documents on disk; please report this"
        )
