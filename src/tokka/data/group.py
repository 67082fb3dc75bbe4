"""A group of inputs: what one process reads at a time, and what is done again if it is killed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokka.data.curation.chain import Curator, Plan, Removed, merge_tolls
from tokka.data.documents import Rejected, is_heldout
from tokka.data.shards import SPLITS, RejectedWriter, ShardWriter, Split
from tokka.data.sources.read import Input, read_input
from tokka.data.sources.record import templates_of
from tokka.recipe.sources import Source
from tokka.workspace.files import whole_folder, write_json
from tokka.workspace.workers import Advance

REJECTED, FACTS = "rejected.jsonl", "facts.json"
"""Names of files in a group's folder, beside its shards."""

_GROUP_BYTES = 64 * 2**20


class Group(NamedTuple):
    """Inputs of a source, and the folder that is there, whole, once they have been read.

    Attributes:
        folder: where their documents go.
        source: they belong to.
        inputs: are read one after the other.
        heldout: share of documents.
        plan: how their documents are curated; None for not at all.
    """

    folder: Path
    source: Source
    inputs: Sequence[Input]
    heldout: float
    plan: Plan | None = None


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
        kept = {split: ShardWriter(folder, split) for split in SPLITS}
        rejected = RejectedWriter(folder / REJECTED)
        curator = Curator(group.plan) if group.plan else None
        records = 0
        for one in group.inputs:
            for item in read_input(one, group.source, advance):
                if isinstance(item, Rejected):
                    records += item.records
                    rejected.add(item)
                    continue
                records += 1
                contents = curator.curate(item.contents, item.url) if curator else item.contents
                if isinstance(contents, Removed):
                    for content in item.contents:
                        kept["removed"].add(content, one.name, item.record, contents)
                    continue
                # A record's documents go together: one direction of a translation would give away the other.
                side = kept["heldout" if is_heldout(contents[0], group.heldout) else "train"]
                for content in contents:
                    side.add(content, one.name, item.record)
        for writer in kept.values():
            writer.close()
        rejected.close()
        facts = _facts(records, kept, rejected, curator)
        _check(facts, len(templates_of(group.source)), group.inputs)
        write_json(folder / FACTS, {"files": len(group.inputs)} | facts)


def merge_facts(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up the facts of groups."""
    reasons = sorted({reason for each in facts for reason in each["rejected"]})
    total = _sums(facts, ("files", "records", "documents", "bytes"))
    for split in SPLITS:
        total[split] = _sums([each[split] for each in facts], ("documents", "bytes", "shards"))
    total["rejected"] = {reason: sum(each["rejected"].get(reason, 0) for each in facts) for reason in reasons}
    total["examples"] = {
        reason: [example for each in facts for example in each["examples"].get(reason, [])][
            : RejectedWriter.EXAMPLES
        ]
        for reason in reasons
    }
    curations = [each["curation"] for each in facts if "curation" in each]
    if curations:
        steps = merge_tolls([each["steps"] for each in curations])
        total["curation"] = _sums(curations, ("documents", "bytes")) | {"steps": steps}
    return total


def _sums(facts: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    return {key: sum(each[key] for each in facts) for key in keys}


def _facts(
    records: int, kept: Mapping[Split, ShardWriter], rejected: RejectedWriter, curator: Curator | None
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "records": records,
        "documents": kept["train"].documents + kept["heldout"].documents,
        "bytes": kept["train"].bytes + kept["heldout"].bytes,
    }
    for split, writer in kept.items():
        facts[split] = {"documents": writer.documents, "bytes": writer.bytes, "shards": writer.shards}
    facts |= {"rejected": rejected.records, "examples": rejected.examples}
    return facts if curator is None else facts | {"curation": curator.facts()}


def _check(facts: dict[str, Any], templates: int, inputs: Sequence[Input]) -> None:
    good = facts["records"] - sum(facts["rejected"].values())
    written = facts["documents"] + facts["removed"]["documents"]
    if written != good * templates:
        raise RuntimeError(
            f"{inputs[0].name} (and {len(inputs) - 1} more files): {good} good records with {templates} "
            f"template(s) gave {written} documents on disk; please report this"
        )
