"""From the documents of each source to those that are trained on: none twice, and none of a benchmark."""

from collections.abc import Iterator
from typing import Any

from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.deduplicate import Deduplication
from tokka.recipe.recipe import Recipe
from tokka.workspace.machine import usable_cores


def documents_stages(recipe: Recipe) -> Iterator[Stage]:
    """Yield the stages between corpus and tokenizer, if the recipe asks for any."""
    if recipe.deduplicate is not None:
        for name in recipe.sources:
            yield _signatures_stage(recipe.deduplicate, name)
        yield _duplicates_stage(recipe.deduplicate, list(recipe.sources))
    if recipe.takes_documents_out:
        for name in recipe.sources:
            yield _documents_stage(recipe, name)


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
    duplicates = recipe.deduplicate is not None

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.dedup.remove import remove_documents

        lists = [run.of("duplicates") / f"{name}.parquet"] if duplicates else []
        return remove_documents(
            run.of(f"corpus/{name}"), run.of(f"documents/{name}"), lists, workers=usable_cores()
        )

    return Stage(
        name=f"documents/{name}",
        needs=(f"corpus/{name}", *(["duplicates"] if duplicates else [])),
        decided_by={},
        work=work,
        outputs=("*.parquet",),
    )
