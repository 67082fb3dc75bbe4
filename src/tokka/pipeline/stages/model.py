"""The model: trained, then measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokka.evaluation.against import MERGED
from tokka.pipeline.base import digest_model, place_of
from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Begun, Stage
from tokka.recipe.recipe import Recipe
from tokka.workspace.files import read_json
from tokka.workspace.progress import say

if TYPE_CHECKING:
    from tokka.evaluation.locate import Located

_MAY_CHANGE: dict[str, Any] = {
    "micro_batch": True,
    "activation_checkpointing": True,
    "compile": True,
    "layout": True,
    "checkpoints": {"every", "minutes", "keep"},
    "guard": {"max_bad_steps"},
}
"""Of the recipe's ``training``: how a step is computed, when it is saved, when a run gives up."""


def training_stage(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.data.order import Part
        from tokka.training.train import train

        mixture = read_json(run.of("mixture") / "mixture.json")
        return train(
            _with_base_found(run),
            tokens=run.folder / "tokens",
            parts=[Part(part["budgets"], part["tokens"]) for part in mixture["parts"]],
            tokenizer=run.of("tokenizer"),
            folder=run.of("training"),
        )

    def outside(run: Run) -> Mapping[str, str]:
        base = recipe.model.base
        return {} if base is None else digest_model(place_of(base, run), run)

    return Stage(
        name="training",
        needs=("tokenizer", *(f"tokens/{name}" for name in recipe.sources), "mixture"),
        decided_by={
            "seed": recipe.seed,
            "model": recipe.model.model_dump(mode="json"),
            "training": recipe.training.model_dump(mode="json", exclude=_MAY_CHANGE),
        },
        work=work,
        outputs=("revisions/**/*", "metrics.jsonl"),
        outside=outside,
        ranks=recipe.training.layout.ranks,
        goes_on=_but_for_the_mixture,
    )


def _but_for_the_mixture(before: Begun, now: Begun) -> bool:
    """Tell whether nothing but the mixture changed, with sources that came to it.

    What of a mixture may change, :func:`tokka.pipeline.edited.followed` saw to, and the sampler checks.
    """
    stay = before.inputs.keys() - {"mixture"}
    come = now.inputs.keys() - before.inputs.keys()
    untold = {"training": before.recipe["training"] | {"tokens": now.recipe["training"]["tokens"]}}
    return (
        all(before.inputs[name] == now.inputs.get(name) for name in stay)
        and all(name.startswith("tokens/") for name in come)
        and before.recipe | untold == now.recipe
    )


def _with_base_found(run: Run) -> Recipe:
    """Return the recipe with ``model.base`` as a path from here where it is a folder, or a recipe's model."""
    base = run.recipe.model.base
    if base is None:
        return run.recipe
    model = run.recipe.model.model_copy(update={"base": place_of(base, run)})
    return run.recipe.model_copy(update={"model": model})


def evaluation_stage(recipe: Recipe) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.evaluation.evaluate import evaluate

        corpora = [run.facts(f"{recipe.documents}/{name}") for name in recipe.sources]
        if not any(corpus["heldout"]["documents"] for corpus in corpora):
            say("evaluation: no document was held out, so no bits per byte; raise evaluation.heldout")
        return evaluate(
            recipe,
            revisions=run.of("training") / "revisions",
            tokenizer=run.of("tokenizer"),
            corpus=run.of(recipe.documents),
            folder=run.of("evaluation"),
            root=run.root,
            base=_base_to_measure(run),
            merged=run.of("merge") / MERGED if recipe.release.merge else None,
        )

    def outside(run: Run) -> Mapping[str, str]:
        if not any(task.path for task in recipe.evaluation.tasks):
            return {}
        from tokka.evaluation.tasks import digest_task_folders

        return digest_task_folders(recipe.evaluation.tasks, run.root)

    return Stage(
        name="evaluation",
        needs=(
            *(f"{recipe.documents}/{name}" for name in recipe.sources),
            *("tokenizer", "training"),
            *(["merge"] if recipe.release.merge else []),
        ),
        decided_by={
            "evaluation": recipe.evaluation.model_dump(mode="json", exclude={"heldout"}),
            "sequence_length": recipe.training.sequence_length,
            "languages": {name: source.language for name, source in recipe.sources.items()},
        },
        work=work,
        outputs=("*.json",),
        outside=outside,
    )


def _base_to_measure(run: Run) -> "Located | None":
    """Return the model that was continued, and its tokenizer: the run's, but for what that adds to it."""
    from tokka.evaluation.locate import Located, locate

    base = run.recipe.model.base
    if base is None:
        return None
    return Located(locate(place_of(base, run)).model, run.of("tokenizer"))
