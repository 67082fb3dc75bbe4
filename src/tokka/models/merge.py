"""Merging two models of one shape into one, a tensor at a time."""

import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tokka.models.derive import write_derived
from tokka.models.identity import Identity
from tokka.models.stored import StoredWeights
from tokka.workspace.progress import progress

Method = Literal["linear", "slerp"]

_PARALLEL = 1 - 1e-6
"""Cosine from which on tensors count as parallel: the arc is straight, and its formula divides by zero."""

_MAY_DIFFER = {"base", "init_std", "max_sequence_length"}
"""Of a configuration: what does not decide what a weight means."""


def merge_weights(first: Path, second: Path, folder: Path, *, weight: float, method: Method) -> int:
    """Write the merge of the models in the folders ``first`` and ``second`` into ``folder``.

    Each tensor is read from both, merged in fp32 and written in its dtype, one after the other, so that at no
    time more is held than three tensors. Configuration and dtypes are those of ``second``.

    Args:
        first, second: Hugging Face folders of models of the same shape.
        folder: an empty folder.
        weight: of ``second``, in [0, 1].
        method: as :func:`merged` does it.

    Returns:
        How many parameters there are.

    Raises:
        ValueError: the weight is out of range, or the models have different configurations.
        FileNotFoundError, WeightsError: as :class:`~tokka.models.stored.StoredWeights` does.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"the weight of a merge is between 0 and 1, not {weight:g}")
    one, other = StoredWeights(first), StoredWeights(second)
    _check_same_shape(one, other)

    def value_of(name: str) -> Tensor:
        (_, mine), (_, theirs) = *one.read({name: ()}), *other.read({name: ()})
        return merged(mine, theirs, weight, method)

    parameters = sum(shape.numel() for shape in other.shapes.values())
    with progress(f"merging ({method})", parameters, "parameters") as shown:
        write_derived(folder, Identity.of(other), other.shapes, value_of, shown=shown)
    return parameters


def merged(first: Tensor, second: Tensor, weight: float, method: Method) -> Tensor:
    """Return a tensor between two of the same shape, fp32.

    - ``linear``: ``(1 - weight) * first + weight * second``, the average of weights of "model soups"
      (Wortsman et al. 2022, arXiv 2203.05482).
    - ``slerp``: the tensors are vectors, and the result lies on the arc between them (Shoemake 1985,
      "Animating rotation with quaternion curves"), so that its length is not that of the shorter chord. The
      angle is that between the directions; where they are parallel, or one is zero, it is linear.

    Sums for the angle are fp64.
    """
    one, other = first.to(torch.float32), second.to(torch.float32)
    if method == "linear":
        return torch.lerp(one, other, weight)
    lengths = _length(one) * _length(other)
    cosine = float((one * other).sum(dtype=torch.float64)) / lengths if lengths else 1.0
    if abs(cosine) > _PARALLEL:
        return torch.lerp(one, other, weight)
    angle = math.acos(cosine)
    mine, theirs = (math.sin(part * angle) / math.sin(angle) for part in (1 - weight, weight))
    return one.mul(mine).add_(other, alpha=theirs)


def _length(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))


def _check_same_shape(one: StoredWeights, other: StoredWeights) -> None:
    mine, theirs = (each.config.model_dump(exclude=_MAY_DIFFER) for each in (one, other))
    different = [
        f"{key} {mine.get(key)} and {theirs.get(key)}"
        for key in mine | theirs
        if mine.get(key) != theirs.get(key)
    ]
    if different:
        raise ValueError(
            f"{one.folder} and {other.folder} cannot be merged: they have {'; '.join(different)}. Only "
            f"models of one shape, best one continued from the other, have weights that mean the same"
        )
