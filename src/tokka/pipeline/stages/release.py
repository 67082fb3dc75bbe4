"""What goes out: the merge with the base, the release folder and the report."""

from typing import Any

from tokka.evaluation.against import MERGED
from tokka.pipeline.base import place_of
from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.recipe import Recipe


def merge_stage(recipe: Recipe) -> Stage:
    section, base = recipe.release.merge, recipe.model.base
    assert section is not None
    assert base is not None

    def work(run: Run) -> dict[str, Any]:
        from tokka.evaluation.locate import Located, locate
        from tokka.release.merge import merge

        tokenizer = run.of("tokenizer")
        before = Located(locate(place_of(base, run)).model, tokenizer)
        after = Located(locate(str(run.folder)).model, tokenizer)
        return merge(before, after, run.of("merge") / MERGED, weight=section.weight, method=section.method)

    return Stage(
        name="merge",
        needs=("tokenizer", "training"),
        decided_by=section.model_dump(mode="json"),
        work=work,
        outputs=(f"{MERGED}/*",),
    )


def release_stage(recipe: Recipe) -> Stage:
    merge = ["merge"] if recipe.release.merge else []

    def work(run: Run) -> dict[str, Any]:
        from tokka.release.publish import publish

        return publish(recipe, run=run.folder, folder=run.of("release"))

    return Stage(
        name="release",
        needs=("tokenizer", "fertility", "mixture", "training", *merge, "evaluation"),
        decided_by={
            "release": recipe.release.model_dump(mode="json"),
            "sources": {
                name: source.model_dump(mode="json", include={"notes", "language"})
                for name, source in recipe.sources.items()
            },
        },
        work=work,
        outputs=("hub/**/blobs/*", "hub/**/refs/*", "main/README.md"),
    )


def report_stage(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.release.report import write_report

        return write_report(run.folder, run.of("report") / "report.html")

    return Stage(
        name="report",
        needs=("release",),
        decided_by={},
        work=work,
        outputs=("report.html",),
    )
