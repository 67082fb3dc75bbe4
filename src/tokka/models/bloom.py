"""BLOOM (arXiv 2211.05100): ALiBi, LayerNorm after the embedding, fused QKV, GELU, biases, one embedding."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokka.models.attention import Mask, attend, place, sequence_positions
from tokka.models.cache import Cache, KeysAndValues
from tokka.models.model import LanguageModel
from tokka.recipe.model import Bloom

ALIBI_WIDTH = 8
"""Columns by which ALiBi widens a head: six are used, and fused kernels want a multiple of eight."""

ALIBI_LENGTH = 65536
"""The most tokens whose positions two base-256 digits can write."""


class Context(NamedTuple):
    """What all blocks share: ALiBi's columns [1, length, heads, 3, ALIBI_WIDTH], and the mask."""

    alibi: Tensor
    mask: Mask


class Attention(nn.Module):
    """Attention over ``heads``, which a tensor-parallel rank narrows to its part of the heads."""

    def __init__(self, config: Bloom) -> None:
        super().__init__()
        self.width = config.d_model // config.n_heads
        self.heads = slice(0, config.n_heads)
        self.query_key_value = nn.Linear(config.d_model, 3 * config.d_model)
        self.dense = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, context: Context, cache: KeysAndValues | None) -> Tensor:
        fused = self.query_key_value(x).unflatten(-1, (-1, 3, self.width))
        alibi = context.alibi[:, :, self.heads].to(fused.dtype).expand(len(x), -1, -1, -1, -1)
        query, keys, values = torch.cat((fused, alibi), dim=-1).transpose(1, 2).unbind(3)
        if cache is not None:
            keys, values = cache.append(keys, values)
        output = attend(query, keys, values, context.mask, scale=self.width**-0.5)
        return self.dense(output.unflatten(-1, (-1, self.width + ALIBI_WIDTH))[..., : self.width].flatten(2))


class FeedForward(nn.Module):
    def __init__(self, config: Bloom) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.d_model, 4 * config.d_model)
        self.dense_4h_to_h = nn.Linear(4 * config.d_model, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: Bloom) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.self_attention = Attention(config)
        self.post_attention_layernorm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, context: Context, cache: KeysAndValues | None = None) -> Tensor:
        x = x + self.self_attention(self.input_layernorm(x), context, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """All modules, under the name ``transformer`` as in the Hugging Face layout."""

    def __init__(self, config: Bloom) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.d_model)
        self.word_embeddings_layernorm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.h = nn.ModuleDict({str(index): Block(config) for index in range(config.n_layers)})
        self.ln_f = nn.LayerNorm(config.d_model, eps=config.norm_eps)


class BloomModel(LanguageModel):
    """The whole model; the embedding serves as the output projection too."""

    def __init__(self, config: Bloom) -> None:
        super().__init__()
        self.config = config
        self.transformer = Decoder(config)

    @property
    def blocks(self) -> nn.ModuleDict:
        return self.transformer.h

    def embed(self, tokens: Tensor) -> Tensor:
        return self.transformer.word_embeddings_layernorm(self.transformer.word_embeddings(tokens))

    def context(self, length: int, like: Tensor, documents: Tensor | None, cache: Cache | None) -> Context:
        total = length if cache is None else cache.total_length(length)
        if total > ALIBI_LENGTH:
            raise ValueError(f"a sequence of {total} tokens; ALiBi goes up to {ALIBI_LENGTH} here")
        positions = sequence_positions(length, cache, like.device)
        columns = alibi_columns(self.config, positions).to(like.dtype)
        return Context(columns, place(length, like, documents, cache).mask)

    def normalise(self, hidden: Tensor) -> Tensor:
        return self.transformer.ln_f(hidden)

    @property
    def output_weight(self) -> Tensor:
        return self.transformer.word_embeddings.weight

    def unembed(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.output_weight)


def alibi_slopes(n_heads: int, device: torch.device) -> Tensor:
    """Return the slope of each head, fp32 [n_heads], as published (Press et al. 2021, arXiv 2108.12409).

    The closest power of two below gives a geometric sequence that ends at 2^-8; further heads take every
    other slope of the sequence for twice that power.
    """
    power = 2 ** math.floor(math.log2(n_heads))
    head = torch.arange(n_heads, device=device).float()
    exponents = torch.where(head < power, (head + 1) * (8 / power), (2 * (head - power) + 1) * (4 / power))
    return torch.exp2(-exponents)


def alibi_columns(config: Bloom, positions: Tensor) -> Tensor:
    """Return columns that widen query, keys and values so that their product contains ALiBi.

    ALiBi adds ``slope * (key position - query position)`` to a score. The softmax ignores what all scores of
    a query share, so ``slope * key position`` does, and that is a product: with the slope in the query's new
    columns and the position in the key's, any attention kernel computes it, and no [heads, length, length]
    bias is ever made. Both are written as sums of terms that bf16 holds exactly (a slope in three, a position
    in two base-256 digits), and kernels sum products in fp32: ALiBi is as precise as in fp32, in any dtype.

    Args:
        config: gives the heads and their width, by whose root the slopes are scaled as attention scales back.
        positions: of the tokens, int64 [length], below ALIBI_LENGTH.

    Returns:
        fp32 [1, length, n_heads, 3, ALIBI_WIDTH], for query, key and value; the value's are zero.
    """
    slopes = alibi_slopes(config.n_heads, positions.device) * math.sqrt(config.d_model // config.n_heads)
    high = _first_bits(slopes)
    middle = _first_bits(slopes - high)
    terms = torch.stack((high, middle, slopes - high - middle), dim=-1)
    units = positions % 256
    digits = torch.stack((positions - units, units), dim=-1)

    columns = torch.zeros(1, len(positions), config.n_heads, 3, ALIBI_WIDTH, device=positions.device)
    columns[..., 0, :6] = terms.repeat(1, 2)
    columns[..., 1, :6] = digits.repeat_interleave(3, dim=-1)[None, :, None]
    return columns


def _first_bits(x: Tensor) -> Tensor:
    """Return fp32 ``x`` without the bits that bf16 lacks; a compiler may drop a cast there and back."""
    return x.view(torch.int32).bitwise_and(-(1 << 16)).view(torch.float32)
