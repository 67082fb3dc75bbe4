"""Where each token stands, which tokens it may see, and attention to them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tokka.models.cache import Cache

Mask = Tensor | tuple[Tensor, ...] | None
"""[batch or 1, 1, length, keys], 0 where a token may attend and -inf elsewhere. Several are those of equal
stretches of the pass; one that has fewer keys than there are hides the last of them. None where the causal
order of a whole sequence says it all, or a single token may see everything."""


class Placement(NamedTuple):
    """Where the tokens of one pass stand.

    Attributes:
        positions: [batch or 1, length] int64, the place of each token in its document.
        mask: which tokens it may see.
    """

    positions: Tensor
    mask: Mask


def place(length: int, like: Tensor, documents: Tensor | None, cache: Cache | None) -> Placement:
    """Place ``length`` tokens, of whose sequence ``cache`` has the rest; a mask has the dtype of ``like``."""
    positions = sequence_positions(length, cache, like.device)[None]
    starts = (0,) if cache is None else cache.stretches(length)
    total = length if cache is None else cache.total_length(length)
    if cache is not None:
        documents = cache.append_documents(documents)
    if documents is None and length in (total, 1):
        return Placement(positions, None)
    each = length // len(starts)
    masks = tuple(_additive(_visible(start, start + each, documents, like), like.dtype) for start in starts)
    if documents is not None:
        order = torch.arange(total, device=like.device)
        positions = (order - document_starts(documents))[:, positions[0]]
    return Placement(positions, masks if len(masks) > 1 else masks[0])


def sequence_positions(length: int, cache: Cache | None, device: torch.device) -> Tensor:
    """Return where in their sequence the ``length`` tokens of a pass stand, int64 [length]."""
    starts = (0,) if cache is None else cache.stretches(length)
    each = length // len(starts)
    return torch.cat([torch.arange(start, start + each, device=device) for start in starts])


def document_starts(documents: Tensor) -> Tensor:
    """Return the index [batch, length] at which the document of each token begins."""
    index = torch.arange(documents.shape[1], device=documents.device)
    begins = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
    return torch.where(begins, index, 0).cummax(dim=1).values


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Mask, scale: float) -> Tensor:
    """Return softmax(scale * query @ keys^T + mask) @ values as [batch, length, heads * width].

    Args:
        query: [batch, heads, length, width].
        keys, values: [batch, key heads, keys, width]; ``heads`` is a multiple of ``key heads``, and
            consecutive heads share one.
        mask: as in :class:`Placement`.
        scale: factor of the scores.
    """
    if isinstance(mask, tuple):
        stretches = zip(query.chunk(len(mask), dim=2), mask, strict=True)
        parts = [
            attend(part, keys[:, :, : its.shape[-1]], values[:, :, : its.shape[-1]], its, scale)
            for part, its in stretches
        ]
        return torch.cat(parts, dim=1)
    shared = query.shape[1] // keys.shape[1]
    if (
        shared > 1 and mask is not None and query.is_cuda
    ):  # no fused CUDA kernel takes both a mask and fewer keys
        keys, values = keys.repeat_interleave(shared, dim=1), values.repeat_interleave(shared, dim=1)
        shared = 1
    output = F.scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=None if mask is None else mask.to(query.dtype),
        is_causal=mask is None and query.shape[2] > 1,
        scale=scale,
        enable_gqa=shared > 1,
    )
    return output.transpose(1, 2).flatten(2)


def _visible(start: int, end: int, documents: Tensor | None, like: Tensor) -> Tensor:
    """Return whether tokens from ``start`` may attend to those before ``end``, [batch or 1, 1, new, end]."""
    order = torch.arange(end, device=like.device)
    causal = (order <= order[start:, None])[None, None]
    if documents is None:
        return causal
    return causal & (documents[:, None, start:end, None] == documents[:, None, None, :end])


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
        ~visible, float("-inf")
    )
