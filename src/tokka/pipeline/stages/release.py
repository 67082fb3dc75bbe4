"""What goes out: the release folder and the report."""

from typing import Any

from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.recipe import Recipe


def release_stage(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.release.publish import publish

        return publish(recipe, run=run.folder, folder=run.of("release"))

    return Stage(
        name="release",
        needs=("tokenizer", "fertility", "mixture", "training", "evaluation"),
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
