"""Where each token stands, which tokens it may see, and attention to them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tokka.models.cache import Cache


class Placement(NamedTuple):
    """Where the tokens of one pass stand.

    Attributes:
        positions: [batch or 1, length] int64, the place of each token in its document.
        mask: [batch or 1, 1, length, keys], 0 where a token may attend and -inf elsewhere; None where the
            causal order says it all.
    """

    positions: Tensor
    mask: Tensor | None


def place(length: int, like: Tensor, documents: Tensor | None, cache: Cache | None) -> Placement:
    """Place ``length`` tokens, of whose sequence ``cache`` has the rest; the mask is of the dtype of ``like``."""
    order = torch.arange(total_length(length, cache), device=like.device)
    queries = order if cache is None else cache.positions(length, like.device)
    if cache is not None:
        documents = cache.append_documents(documents)
    visible = order <= queries[:, None]
    if documents is not None:
        positions = order - document_starts(documents)
        visible = visible & (documents[:, queries][:, None, :, None] == documents[:, None, None, :])
        return Placement(positions[:, queries], _additive(visible, like.dtype))
    # A whole sequence is causal by itself, and a single next token sees everything before it.
    implied = length in (len(order), 1)
    return Placement(queries[None], None if implied else _additive(visible[None, None], like.dtype))


def total_length(length: int, cache: Cache | None) -> int:
    """Return how many tokens those of a pass of ``length`` tokens may attend to, themselves included."""
    return length if cache is None else cache.total_length(length)


def document_starts(documents: Tensor) -> Tensor:
    """Return the index [batch, length] at which the document of each token begins."""
    index = torch.arange(documents.shape[1], device=documents.device)
    begins = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)
    return torch.where(begins, index, 0).cummax(dim=1).values


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return softmax(scale * query @ keys^T + mask) @ values as [batch, length, heads * width].

    Args:
        query: [batch, heads, length, width].
        keys, values: [batch, key heads, keys, width]; ``heads`` is a multiple of ``key heads``, and
            consecutive heads share one.
        mask: as in :class:`Placement`; None is causal, or everything for a single query.
        scale: factor of the scores.
    """
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


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
        ~visible, float("-inf")
    )
