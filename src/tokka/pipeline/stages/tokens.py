"""From documents to tokens on disk, and from the recipe's shares to budgets."""

from typing import Any

from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage
from tokka.recipe.recipe import Recipe
from tokka.workspace.files import write_json


def tokens_stage(recipe: Recipe, name: str) -> Stage:
    templates = recipe.sources[name].template or []

    def work(run: Run) -> dict[str, Any]:
        from tokka.data.encode import encode_corpus, specials_in
        from tokka.tokenizer.load import load_tokenizer

        tokenizer = load_tokenizer(run.of("tokenizer"))
        return encode_corpus(
            run.of(f"{recipe.documents}/{name}"),
            run.of(f"tokens/{name}"),
            tokenizer,
            allowed_specials=specials_in(templates, tokenizer),
        )

    return Stage(
        name=f"tokens/{name}",
        needs=(f"{recipe.documents}/{name}", "tokenizer"),
        decided_by={"template": templates},
        work=work,
        outputs=("*.bin", "*.idx"),
    )


def mixture_stage(recipe: Recipe, tokens: tuple[str, ...]) -> Stage:
    def work(run: Run) -> dict[str, Any]:
        from tokka.data.mixture import solve
        from tokka.data.shares import MixtureError
        from tokka.training.plan import Plan

        training = recipe.training
        sizes = {name: run.facts(f"tokens/{name}")["tokens"] for name in recipe.sources}
        for name in (name for name, size in sizes.items() if not size):
            raise MixtureError(f"mixture.{name}: {_why_empty(run, name)}")
        mixture = solve(
            recipe.mixture,
            sizes,
            tokens=training.tokens,
            batch_tokens=training.batch_tokens,
            sequence_length=training.sequence_length,
            changes=recipe.mixture_changes,
        )
        Plan.of(training, mixture.tokens)  # refuse now what training would refuse
        write_json(run.of("mixture") / "mixture.json", mixture.as_json())
        return mixture.as_json() | {"sizes": sizes}

    return Stage(
        name="mixture",
        needs=tokens,
        decided_by={
            "mixture": {name: share.model_dump(mode="json") for name, share in recipe.mixture.items()},
            "changes": [change.model_dump(mode="json") for change in recipe.mixture_changes],
            "tokens": recipe.training.tokens,
            "batch_tokens": recipe.training.batch_tokens,
            "sequence_length": recipe.training.sequence_length,
        },
        work=work,
        outputs=("mixture.json",),
    )


def _why_empty(run: Run, name: str) -> str:
    """Say why a source has nothing to train on."""
    corpus = run.facts(f"corpus/{name}")
    taken = run.facts(f"documents/{name}")["removed"] if run.recipe.takes_documents_out else {"documents": 0}
    return (
        f"the source has no training document: {corpus['records']} records, of which "
        f"{sum(corpus['rejected'].values())} were kept aside (`tokka corpus rejected RUN`), and "
        f"{corpus['removed']['documents']} documents removed by curation (`tokka corpus look RUN`), "
        f"{corpus['heldout']['documents']} held out, {taken['documents']} taken out; "
        f"add text, or remove the source"
    )
