"""Training a recipe's model: begin, or go on from the newest checkpoint; the call is the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokka.data.order import Part
from tokka.data.sampler import Sampler
from tokka.data.store import TokenStore
from tokka.data.trace import locator
from tokka.recipe.recipe import Recipe
from tokka.tokenizer.load import load_tokenizer
from tokka.training.base import BaseModelError
from tokka.training.continued import LookedAt
from tokka.training.heldout import Heldout, HeldoutText
from tokka.training.identity import identity_of
from tokka.training.run import Job, run


def train(
    recipe: Recipe,
    *,
    tokens: Path,
    parts: Sequence[Part],
    tokenizer: Path,
    folder: Path,
    base: Path | None = None,
    heldout: Mapping[str, HeldoutText] | None = None,
) -> dict[str, Any]:
    """Train the model of ``recipe``; after an interruption the same call goes on.

    Args:
        recipe: what to train and how.
        tokens: holds the encoded documents of each source in ``<source>/``.
        parts: the mixtures, one after the other; each lasts a whole number of batches.
        tokenizer: folder of the tokenizer, whose special tokens the revisions name.
        folder: gets ``metrics.jsonl``, ``skipped.jsonl``, ``tensorboard/``, ``checkpoints/``, ``revisions/``.
        base: what :func:`tokka.training.continued.look_at_base` wrote; needed where there is ``model.base``.
        heldout: text of each source to measure every ``evaluation.during`` tokens, into ``heldout.jsonl``.

    Returns:
        Counts and figures of the whole run, all attempts together; see docs/training.md.

    Raises:
        BaseModelError: ``model.base`` was not looked at, or this layout makes another loss of it.
        ValueError: the recipe needs more than one rank, its schedule does not fit the budget, its vocabulary
            is smaller than the tokenizer's, or ``folder`` holds checkpoints made with other settings.
        TrainingStoppedError: too many bad steps in a row.
        CheckpointError: a checkpoint could not be written.
        Interrupted: SIGTERM or SIGINT came; the state is saved.
    """
    stores = {source: TokenStore(tokens / source) for part in parts for source in part.budgets}
    special = load_tokenizer(tokenizer)
    if special.size > recipe.model.vocab_size:
        raise ValueError(
            f"the tokenizer in {tokenizer} has {special.size} entries, model.vocab_size is "
            f"{recipe.model.vocab_size}; make it at least as large"
        )

    if recipe.model.base is not None and base is None:
        raise BaseModelError(f"model.base {recipe.model.base} was not looked at before; run the stage `base`")
    looked_at = None if base is None else LookedAt.read(base)
    length = recipe.training.sequence_length
    job = Job(
        recipe=recipe,
        tokens=sum(part.tokens for part in parts),
        sampler=Sampler(stores, parts, seed=recipe.seed, sequence_length=length),
        identity=identity_of(recipe, special, looked_at.identity if looked_at else None),
        base=looked_at,
        sizes={source: store.tokens for source, store in stores.items()},
        locate=locator(stores, special),
        folder=folder,
        heldout=Heldout.pack(heldout, special, recipe.training) if heldout else None,
    )
    return run(job)
