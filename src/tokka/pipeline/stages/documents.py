"""From the documents of each source to those that are trained on: none twice, and none of a benchmark."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.deduplicate import Deduplication
from tokka.recipe.recipe import Recipe
from tokka.workspace.machine import usable_cores


def documents_stages(recipe: Recipe) -> Iterator[Stage]:
    """Yield the stages between corpus and tokenizer, if the recipe asks for any."""
    if recipe.decontaminates:
        for name in recipe.sources:
            yield _contamination_stage(name)
    if recipe.deduplicate is not None:
        for name in recipe.sources:
            yield _signatures_stage(recipe.deduplicate, name)
        yield _duplicates_stage(recipe.deduplicate, list(recipe.sources))
    if recipe.takes_documents_out:
        for name in recipe.sources:
            yield _documents_stage(recipe, name)


def benchmarks_stage(recipe: Recipe) -> Stage:
    """Return the stage that reads the items of all tasks: first of all, for it may fail."""
    tasks = recipe.evaluation.tasks

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.dedup.benchmark import write_items
        from tokka.evaluation.items import items_of

        items = items_of(tasks, run.root)
        write_items(run.of("benchmarks") / "items.jsonl", items)
        return {"items": dict(Counter(item.task for item in items))}

    def outside(run: Run) -> Mapping[str, str]:
        from tokka.evaluation.tasks import digest_task_folders

        return digest_task_folders(tasks, run.root)

    return Stage(
        name="benchmarks",
        needs=(),
        decided_by=[task.model_dump(mode="json", include={"name", "path"}) for task in tasks],
        work=work,
        outputs=("items.jsonl",),
        outside=outside,
    )


def _contamination_stage(name: str) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.data.dedup.decontaminate import find_contamination

        return find_contamination(
            run.of(f"corpus/{name}"),
            run.of(f"contamination/{name}"),
            run.of("benchmarks") / "items.jsonl",
            workers=usable_cores(),
        )

    return Stage(
        name=f"contamination/{name}",
        needs=("benchmarks", f"corpus/{name}"),
        decided_by={},
        work=work,
        outputs=("found.parquet",),
    )


def _signatures_stage(section: Deduplication, name: str) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.data.dedup.minhash import banding_for
        from tokka.data.dedup.signatures import Method, sign_corpus

        method = Method(section.words, banding_for(section.threshold) if section.near else None)
        folder = run.of(f"signatures/{name}")
        facts = sign_corpus(run.of(f"corpus/{name}"), folder, method, workers=usable_cores())
        return facts | {"bands": method.banding.bands if method.banding else 0}

    return Stage(
        name=f"signatures/{name}",
        needs=(f"corpus/{name}",),
        decided_by=section.model_dump(mode="json"),
        work=work,
        outputs=("*/*",),
    )


def _duplicates_stage(section: Deduplication, sources: list[str]) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.data.dedup.duplicates import find_duplicates

        return {
            "sources": find_duplicates(
                {name: run.of(f"signatures/{name}") for name in sources},
                run.of("duplicates"),
                bands=run.facts(f"signatures/{sources[0]}")["bands"],
                threshold=section.threshold,
                workers=usable_cores(),
            )
        }

    return Stage(
        name="duplicates",
        needs=tuple(f"signatures/{name}" for name in sources),
        decided_by={"deduplicate": section.model_dump(mode="json"), "sources": sources},
        work=work,
        outputs=("*.parquet",),
    )


def _documents_stage(recipe: Recipe, name: str) -> Stage:
    lists = {}
    if recipe.decontaminates:
        lists[f"contamination/{name}"] = "found.parquet"
    if recipe.deduplicate is not None:
        lists["duplicates"] = f"{name}.parquet"

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.dedup.remove import remove_documents

        return remove_documents(
            run.of(f"corpus/{name}"),
            run.of(f"documents/{name}"),
            [run.of(stage) / file for stage, file in lists.items()],
            workers=usable_cores(),
        )

    return Stage(
        name=f"documents/{name}",
        needs=(f"corpus/{name}", *lists),
        decided_by={"lists": list(lists)},
        work=work,
        outputs=("*.parquet",),
    )
