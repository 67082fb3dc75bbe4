"""From sources to documents."""

from collections.abc import Mapping
from typing import Any

from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.recipe import Recipe
from tokka.workspace.machine import usable_cores
from tokka.workspace.manifest import Manifest
from tokka.workspace.progress import say


def corpus_stage(recipe: Recipe, name: str) -> Stage:
    source = recipe.sources[name]
    heldout = recipe.evaluation.heldout if source.heldout is None else source.heldout

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.corpus import build_corpus

        return build_corpus(
            name,
            source,
            run.of(f"corpus/{name}"),
            root=run.root,
            heldout=heldout,
            workers=usable_cores(),
            executor=run.executor,
        )

    def outside(run: Run) -> Mapping[str, str]:
        from tokka.data.sources.files import SourceError
        from tokka.data.sources.fingerprint import fingerprint

        try:
            return fingerprint(source, run.root, run.folder / "fingerprints.json")
        except SourceError as error:
            finished = Manifest.read(run.of(f"corpus/{name}"))
            if finished is None:
                raise SourceError(f"sources.{name}.{error}") from error
            say(f"corpus/{name}: its files are not here ({error}); taken as they were read")
            return finished.inputs

    return Stage(
        name=f"corpus/{name}",
        needs=(),
        decided_by={
            "source": source.model_dump(
                mode="json", exclude={"size", "notes", "language", "heldout", "curate"}
            ),
            "heldout": heldout,
            **(
                {"curate": source.curate.model_dump(mode="json"), "language": source.language}
                if source.curate
                else {}
            ),
        },
        work=work,
        outputs=("*.parquet", "rejected-*.jsonl"),
        outside=outside,
    )
