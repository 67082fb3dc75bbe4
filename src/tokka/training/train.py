"""Training a recipe's model: begin, or go on from the newest checkpoint; the call is the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokka.data.order import Part
from tokka.data.sampler import Piece, Sampler
from tokka.data.store import TokenStore
from tokka.models.hugging_face import SpecialTokens
from tokka.recipe.recipe import Recipe
from tokka.tokenizer.load import load_tokenizer
from tokka.training.run import Job, run


def train(
    recipe: Recipe, *, tokens: Path, parts: Sequence[Part], tokenizer: Path, folder: Path
) -> dict[str, Any]:
    """Train the model of ``recipe``; after an interruption the same call goes on.

    Args:
        recipe: what to train and how.
        tokens: holds the encoded documents of each source in ``<source>/``.
        parts: the mixtures, one after the other; each lasts a whole number of batches.
        tokenizer: folder of the tokenizer, whose special tokens the revisions name.
        folder: gets ``metrics.jsonl``, ``skipped.jsonl``, ``tensorboard/``, ``checkpoints/``, ``revisions/``.

    Returns:
        Counts and figures of the whole run, all attempts together; see docs/training.md.

    Raises:
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

    def locate(piece: Piece) -> dict[str, Any]:
        file, record = stores[piece.source].origin(piece.document)
        return {"source": piece.source, "file": file, "record": record, "epoch": piece.epoch}

    length = recipe.training.sequence_length
    job = Job(
        recipe=recipe,
        tokens=sum(part.tokens for part in parts),
        sampler=Sampler(stores, parts, seed=recipe.seed, sequence_length=length),
        special_tokens=SpecialTokens(bos=special.bos_id, eos=special.eos_id, pad=special.pad_id),
        locate=locate,
        folder=folder,
    )
    return run(job)
