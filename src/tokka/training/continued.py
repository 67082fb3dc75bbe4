"""What a run keeps of the base that it continues: how it looked before the first step, and what it states."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tokka.data.corpus import read_documents
from tokka.data.probe import make_probe
from tokka.data.shards import Split
from tokka.models.identity import Identity
from tokka.models.spec import spec_for
from tokka.recipe.recipe import Recipe
from tokka.tokenizer.load import LoadedTokenizer
from tokka.training.base import BaseModelError, check_base, facts_of, targets_for
from tokka.training.cross_entropy import IGNORED
from tokka.training.engine import Engine
from tokka.training.objectives import Inputs
from tokka.workspace.files import read_json, write_json
from tokka.workspace.progress import say

_IDENTITY, _PROBE = "identity.json", "probe.json"

_SHORTEST = 256
"""Tokens of a looked-at sequence, where those of training are not shorter."""

_ROUNDING = 0.02
"""Share of the loss by which bf16 and another order of sums may change it."""


def look_at_base(
    recipe: Recipe, base: Path, *, corpora: Sequence[Path], tokenizer: LoadedTokenizer, folder: Path
) -> dict[str, Any]:
    """Look at the model that ``recipe`` continues; :func:`tokka.training.train.train` wants what this writes.

    Args:
        recipe: states the model, the length of sequences, and whether a problem ends it.
        base: the model's folder, in the Hugging Face layout.
        corpora: folders of the documents of each source; the text is held out as far as they have any.
        tokenizer: of the base.
        folder: gets ``identity.json`` and ``probe.json``.

    Returns:
        Facts: the fields of :class:`~tokka.training.base.BaseCheck`, the dtype, and the tokens that stand
        before and after documents.

    Raises:
        BaseModelError: something is wrong with the base, and ``training.guard.base`` does not say to go on.
        OSError, ValueError: the folder holds no whole model that is known here, or the sources no text.
    """
    targets = targets_for(spec_for(recipe.model).count_parameters(recipe.model))
    length = min(recipe.training.sequence_length, max(_SHORTEST, targets // len(corpora)))
    probe = make_probe(
        {corpus.name: chain(_texts(corpus, "heldout"), _texts(corpus, "train")) for corpus in corpora},
        {corpus.name: _texts(corpus, "train") for corpus in corpora},
        tokenizer,
        length=length,
        rows=targets // length,
    )
    found, identity = check_base(base, recipe.model, probe)
    for line in (*found.lines(), tokenizer.convention):
        say(f"base: {line}")
    if found.problems and recipe.training.guard.base == "refuse":
        raise BaseModelError(found.complaint(str(recipe.model.base)))
    write_json(folder / _IDENTITY, identity.as_json())
    write_json(folder / _PROBE, {"tokens": probe.tokens.tolist(), "losses": list(found.row_losses)})
    return facts_of(found, identity) | {"convention": tokenizer.convention}


def _texts(corpus: Path, split: Split) -> Iterator[str]:
    return (document.text for document in read_documents(corpus, split))


@dataclass(frozen=True)
class LookedAt:
    """A base that was looked at.

    Attributes:
        identity: what its folder states beside the weights.
        tokens: the sequences that were looked at, int64 [rows, length + 1].
        losses: mean loss of each, in nats.
    """

    identity: Identity
    tokens: NDArray[np.int64]
    losses: NDArray[np.float64]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what :func:`look_at_base` wrote.

        Raises BaseModelError where it is not there.
        """
        if not (folder / _PROBE).is_file():
            raise BaseModelError(
                f"the base was not looked at ({folder / _PROBE} is missing); run stage `base`"
            )
        content: Mapping[str, Any] = read_json(folder / _PROBE)
        return cls(
            identity=Identity.from_json(read_json(folder / _IDENTITY)),
            tokens=np.array(content["tokens"], np.int64),
            losses=np.array(content["losses"]),
        )

    def compare(self, engine: Engine, *, sequences: int, length: int) -> dict[str, float]:
        """Measure the base again as it is spread over the ranks, before the first step.

        Args:
            engine: of this rank, at step 0.
            sequences: of a batch, which is filled with those that were looked at, over and over.
            length: of its sequences, in tokens.

        Returns:
            ``loss`` that the ranks make of it, ``base_loss`` that was found before.

        Raises:
            BaseModelError: the two differ by more than rounding.
        """
        chosen = np.arange(sequences) % len(self.tokens)
        tokens = torch.from_numpy(self.tokens[chosen[engine.rows]])
        filler = (0, length + 1 - tokens.shape[1])  # after the text, where no target sees it
        targets = F.pad(tokens[:, 1:], filler, value=IGNORED)[:, :length]
        total = engine.measure(Inputs(F.pad(tokens, filler)[:, :length], targets, None))
        loss = total / (sequences * (self.tokens.shape[1] - 1))
        before = float(self.losses[chosen].mean())
        if not abs(loss - before) <= _ROUNDING * before:
            raise BaseModelError(
                f"spread over the ranks of training.layout the base has a loss of {loss:.4f}, and "
                f"{before:.4f} in one process; please report this with the recipe. Another layout may do "
                f"meanwhile"
            )
        return {"loss": loss, "base_loss": before}
