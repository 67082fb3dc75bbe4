"""The model that is to be continued: looked at before anything is trained."""

from typing import Any

from tokka.pipeline.base import digest_model, place_of
from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.recipe import Recipe


def base_stage(recipe: Recipe) -> Stage:
    base = recipe.model.base
    assert base is not None
    # What the base never learned says nothing of its health.
    known = {name for mixture in recipe.mixtures for name, share in mixture.items() if share.replay}
    corpora = tuple(f"{recipe.documents}/{name}" for name in recipe.sources if name in known or not known)

    def work(run: Run) -> dict[str, Any]:
        from tokka.tokenizer.load import load_tokenizer
        from tokka.tokenizer.names import BASE
        from tokka.training.continued import look_at_base
        from tokka.workspace.hub import fetched_model

        own = run.of("tokenizer") / BASE  # where the run's tokenizer adds tokens to it
        return look_at_base(
            recipe,
            fetched_model(place_of(base, run)),
            corpora=[run.of(name) for name in corpora],
            tokenizer=load_tokenizer(own if own.is_dir() else run.of("tokenizer")),
            folder=run.of("base"),
        )

    return Stage(
        name="base",
        needs=(*corpora, "tokenizer"),
        decided_by={
            "model": recipe.model.model_dump(mode="json"),
            "sequence_length": recipe.training.sequence_length,
        },
        work=work,
        outputs=("*.json",),
        outside=lambda run: digest_model(place_of(base, run), run),
    )
