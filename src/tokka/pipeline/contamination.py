"""Which documents held which items of a run's benchmarks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def held_items(run: Path) -> Iterator[dict[str, Any]]:
    """Yield every item that a training document of ``run`` held, by task and item.

    Yields:
        ``task``, ``item``, its ``text``, and in ``documents`` for each that held it ``source``, ``file``,
        ``record`` and ``share``, the fullest first. These were taken out before training.

    Raises FileNotFoundError where the run looked for no benchmark, or did not come so far.
    """
    import pyarrow.parquet as pq

    from tokka.data.dedup.benchmark import read_items

    lists = sorted((run / "contamination").glob("*/found.parquet"))
    if not lists:
        raise FileNotFoundError(
            f"{run} has no contamination/*/found.parquet: its recipe names no evaluation.tasks, switches "
            f"evaluation.decontaminate off, or has not run as far (`tokka run RECIPE --to documents`)"
        )
    holders: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for path in lists:
        for entry in pq.read_table(path).to_pylist():
            document = {key: entry[key] for key in ("file", "record", "share")}
            holders.setdefault((entry["task"], entry["item"]), []).append(
                {"source": path.parent.name} | document
            )
    items = {(item.task, item.item): item for item in read_items(run / "benchmarks" / "items.jsonl")}
    for (task, number), documents in sorted(holders.items()):
        unique = {(each["source"], each["file"], each["record"]): each for each in documents}
        yield {
            "task": task,
            "item": number,
            "text": items[task, number].texts[0],
            "documents": sorted(unique.values(), key=lambda each: -each["share"]),
        }
