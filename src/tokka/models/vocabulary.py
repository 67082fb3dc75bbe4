"""A base model with rows for tokens that its tokenizer did not have, made a tensor at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tokka.models.derive import write_derived
from tokka.models.identity import Identity
from tokka.models.spec import spec_for
from tokka.models.stored import StoredWeights
from tokka.workspace.files import whole_folder
from tokka.workspace.progress import progress

Rows = Literal["mean", "random", "zero"]

_GROUPS_AT_ONCE = 4096
"""New rows whose pieces are gathered at a time."""


def extend_vocabulary(
    base: Path,
    folder: Path,
    *,
    size: int,
    first: int,
    pieces: Sequence[Sequence[int]],
    rows: Rows,
    seed: int,
) -> int:
    """Write the model in the folder ``base`` to ``folder``, with ``size`` rows in its embedding and output.

    Rows of tokens that the base knew, and all other weights, stay bit for bit. The embedding and, where it is
    not tied to it, the output matrix get their new rows in the same way; see :func:`extended_rows`.

    Args:
        base: Hugging Face folder.
        folder: replaced as a whole, or left as it was.
        size: rows; at least those of the base.
        first: id of the first new token. Rows of the base from there on belong to no token, and are replaced.
        pieces: for each new token the old ones that it is made of.
        rows: how the new ones begin.
        seed: of random ones.

    Returns:
        How many parameters the new model has.

    Raises:
        ValueError: the base has more rows, or there are more tokens than rows.
        FileNotFoundError, WeightsError: as :class:`~tokka.models.stored.StoredWeights` does.
    """
    stored = StoredWeights(base)
    before = stored.config.vocab_size
    if size < max(before, first + len(pieces)):
        raise ValueError(
            f"model.vocab_size {size} is too small: the base in {base} has {before} rows, and with the new "
            f"tokens there are {first + len(pieces)}"
        )
    config = stored.config.model_copy(update={"vocab_size": size})
    spec = spec_for(config)
    shapes = {
        name: torch.Size([size, *shape[1:]]) if name in spec.token_rows else shape
        for name, shape in stored.shapes.items()
    }

    def value_of(name: str) -> Tensor:
        ((_, tensor),) = stored.read({name: ()})
        if name not in spec.token_rows:
            return tensor
        fresh = spec.initial_value(config, name, shapes[name], seed) if rows == "random" else None
        return extended_rows(tensor, size, first, pieces, rows, fresh)

    parameters = sum(shape.numel() for shape in shapes.values())
    with (
        whole_folder(folder) as aside,
        progress("extending the vocabulary", parameters, "parameters") as shown,
    ):
        write_derived(aside, Identity.of(stored).changed_to(config), shapes, value_of, shown=shown)
    return parameters


def extended_rows(
    old: Tensor,
    size: int,
    first: int,
    pieces: Sequence[Sequence[int]],
    rows: Rows,
    fresh: Tensor | None = None,
) -> Tensor:
    """Return ``old`` [rows, d_model] with ``size`` rows, in its dtype.

    - ``mean``: a new token begins as the mean, in fp32, of the rows of its pieces, so that it says about what
      they said together; rows that belong to no token as the mean of all tokens, which never wins.
    - ``random``: the rows of ``fresh`` [size, d_model], what a new model would begin with.
    - ``zero``: nothing.

    Rows before ``first``, and rows of the base that belong to no token old or new, stay as they are.
    """
    grown = torch.zeros(size, old.shape[1], dtype=old.dtype)
    if rows == "random":
        assert fresh is not None
        grown.copy_(fresh)
    elif rows == "mean":
        grown[:] = old[:first].mean(0, dtype=torch.float32)
        grown[first : first + len(pieces)] = _means(old, pieces)
    grown[:first] = old[:first]
    end = first + len(pieces)
    grown[end : len(old)] = old[end:]
    return grown


def _means(old: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the mean, fp32, of the rows of each group."""
    sums = torch.zeros(len(groups), old.shape[1])
    for begin in range(0, len(groups), _GROUPS_AT_ONCE):
        some = groups[begin : begin + _GROUPS_AT_ONCE]
        owners = torch.repeat_interleave(
            torch.arange(begin, begin + len(some)), torch.tensor([len(group) for group in some])
        )
        members = torch.tensor([member for group in some for member in group])
        sums.index_add_(0, owners, old[members].float())
    return sums / torch.tensor([[len(group)] for group in groups])
