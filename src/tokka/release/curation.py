"""What curation took of each source, and which benchmarks its documents held, for card and report."""

from tokka.data.curation.look import all_steps, toll_rows
from tokka.release.record import RunRecord
from tokka.release.table import Table


def curation_table(record: RunRecord) -> Table | None:
    """Return what each step took of each source, deduplication too; None where nothing was asked for.

    Tokens are estimated from the bytes of text that the source has to a token.
    """
    rows: list[tuple[object, ...]] = []
    for name in record.recipe.sources:
        curation = all_steps(record.facts(f"corpus/{name}"), record.facts(f"documents/{name}"))
        bytes_per_token = record.facts(f"tokens/{name}").get("bytes_per_token")
        for row in toll_rows(curation, bytes_per_token) if curation else []:
            reasons = ", ".join(reason.replace("_", " ") for reason in list(row.reasons)[:3])
            tokens = "" if row.tokens is None else f"{row.tokens:,}"
            figures = (f"{row.documents:,}", f"{row.share:.2%}", f"{row.bytes:,}", tokens)
            rows.append((name, row.step, *figures, reasons))
    headings = ("Dataset", "Step", "Documents removed", "Share", "Bytes", "Tokens, estimated", "Mostly")
    return Table(headings, rows, "llrrrrl") if rows else None


def contamination_table(record: RunRecord) -> Table | None:
    """Return how many items of each benchmark training documents held; None where none was looked for."""
    benchmarks = record.facts("benchmarks").get("items", {})
    found = [record.facts(f"contamination/{name}").get("tasks", {}) for name in record.recipe.sources]
    rows: list[tuple[object, ...]] = []
    for task, items in sorted(benchmarks.items()):
        held = {item for tasks in found for item in tasks.get(task, {}).get("items", ())}
        documents = sum(tasks.get(task, {}).get("documents", 0) for tasks in found)
        rows.append((task, f"{items:,}", f"{len(held):,}", f"{documents:,}"))
    return Table(("Benchmark", "Items", "Items found", "Documents removed"), rows, "lrrr") if rows else None
