"""The model: given rows for added tokens, trained, then measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokka.evaluation.against import MERGED
from tokka.pipeline.base import digest_model, place_of
from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Begun, Stage
from tokka.recipe.recipe import Recipe
from tokka.tokenizer.names import BASE as OLD
from tokka.tokenizer.names import PIECES
from tokka.workspace.files import read_json
from tokka.workspace.progress import say

if TYPE_CHECKING:
    from tokka.evaluation.locate import Located
    from tokka.training.heldout import HeldoutText

_MAY_CHANGE: dict[str, Any] = {
    "micro_batch": True,
    "activation_checkpointing": True,
    "compile": True,
    "layout": True,
    "checkpoints": {"every", "minutes", "keep", "milestones"},
    "guard": {"max_bad_steps", "base"},
    "limits": True,
}
"""Of the recipe's ``training``: how a step is computed, when it is saved, when a run gives up."""


_EXTENDED = "model"
"""Folder of the base with the rows of added tokens, in that of the vocabulary stage."""


def vocabulary_stage(recipe: Recipe) -> Stage:
    extend, base = recipe.tokenizer.extend, recipe.model.base
    assert extend is not None
    assert base is not None

    def work(run: Run) -> dict[str, Any]:
        from tokka.evaluation.locate import locate
        from tokka.models.vocabulary import extend_vocabulary

        added = read_json(run.of("tokenizer") / PIECES)
        parameters = extend_vocabulary(
            locate(place_of(base, run)).model,
            run.of("vocabulary") / _EXTENDED,
            size=recipe.model.vocab_size,
            first=added["first"],
            pieces=added["pieces"],
            rows=extend.rows,
            seed=recipe.seed,
        )
        return {"parameters": parameters, "rows": recipe.model.vocab_size, "added": len(added["pieces"])}

    return Stage(
        name="vocabulary",
        needs=("tokenizer",),
        decided_by={"rows": extend.rows, "vocab_size": recipe.model.vocab_size, "seed": recipe.seed},
        work=work,
        outputs=(f"{_EXTENDED}/*",),
        outside=lambda run: digest_model(place_of(base, run), run),
    )


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
            base=run.of("base") if recipe.model.base else None,
            heldout=_measured_text(run) if recipe.evaluation.during else None,
            folder=run.of("training"),
        )

    base = None if recipe.tokenizer.extend else recipe.model.base  # else it comes as the vocabulary stage's
    continued = [
        *(["vocabulary"] if recipe.tokenizer.extend else []),
        *(["base"] if recipe.model.base else []),
    ]
    return Stage(
        name="training",
        needs=("tokenizer", *(f"tokens/{name}" for name in recipe.sources), "mixture", *continued),
        decided_by={
            "seed": recipe.seed,
            "model": recipe.model.model_dump(mode="json"),
            "training": recipe.training.model_dump(mode="json", exclude=_MAY_CHANGE),
        },
        work=work,
        outputs=("revisions/**/*", "metrics.jsonl"),
        outside=lambda run: {} if base is None else digest_model(place_of(base, run), run),
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


def _measured_text(run: Run) -> "dict[str, HeldoutText]":
    """Return the held-out text of each source that is measured while training goes on."""
    from tokka.data.corpus import read_documents
    from tokka.data.encode import specials_in
    from tokka.evaluation.heldout import select_texts
    from tokka.tokenizer.load import load_tokenizer
    from tokka.training.heldout import HeldoutText

    recipe, tokenizer = run.recipe, load_tokenizer(run.of("tokenizer"))
    texts = {}
    for name, source in recipe.sources.items():
        documents = read_documents(run.of(f"{recipe.documents}/{name}"), "heldout")
        chosen = select_texts((document.text for document in documents), recipe.evaluation.during_bytes)
        texts[name] = HeldoutText(source.language, chosen, specials_in(source.template or (), tokenizer))
    return texts


def _with_base_found(run: Run) -> Recipe:
    """Return the recipe with ``model.base`` as a path from here where it is a folder, or a recipe's model."""
    base = run.recipe.model.base
    if base is None:
        return run.recipe
    place = str(run.of("vocabulary") / _EXTENDED) if run.recipe.tokenizer.extend else place_of(base, run)
    model = run.recipe.model.model_copy(update={"base": place})
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
            "evaluation": recipe.evaluation.model_dump(
                mode="json", exclude={"heldout", "during", "during_bytes", "decontaminate"}
            ),
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
    tokenizer = run.of("tokenizer") / OLD if run.recipe.tokenizer.extend else run.of("tokenizer")
    return Located(locate(place_of(base, run)).model, tokenizer)
