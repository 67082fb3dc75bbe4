"""Llama 3.1 (arXiv 2407.21783): grouped-query attention, rotary embeddings, SwiGLU, RMSNorm, no biases."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokka.models.attention import Mask, attend, place
from tokka.models.cache import Cache, KeysAndValues
from tokka.models.elementwise import rms_norm, rotate
from tokka.models.model import LanguageModel
from tokka.recipe.model import Llama, RopeScaling


class Context(NamedTuple):
    """What all blocks share: rotations, fp32 [batch or 1, length, 1, width / 2], and the mask."""

    cos: Tensor
    sin: Tensor
    mask: Mask


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Heads are counted from the projections' output, so a tensor-parallel rank may hold a part of them."""

    def __init__(self, config: Llama) -> None:
        super().__init__()
        self.width = config.d_model // config.n_heads
        self.q_proj = nn.Linear(config.d_model, config.n_heads * self.width, bias=False)
        self.k_proj = nn.Linear(config.d_model, config.n_kv_heads * self.width, bias=False)
        self.v_proj = nn.Linear(config.d_model, config.n_kv_heads * self.width, bias=False)
        self.o_proj = nn.Linear(config.n_heads * self.width, config.d_model, bias=False)

    def forward(self, x: Tensor, context: Context, cache: KeysAndValues | None) -> Tensor:
        query, keys, values = (
            project(x).unflatten(-1, (-1, self.width)) for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query = rotate(query, context.cos, context.sin).transpose(1, 2)
        keys = rotate(keys, context.cos, context.sin).transpose(1, 2)
        values = values.transpose(1, 2)
        if cache is not None:
            keys, values = cache.append(keys, values)
        return self.o_proj(attend(query, keys, values, context.mask, scale=self.width**-0.5))


class SwiGLU(nn.Module):
    def __init__(self, config: Llama) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.d_model, config.d_ffn, bias=False)
        self.up_proj = nn.Linear(config.d_model, config.d_ffn, bias=False)
        self.down_proj = nn.Linear(config.d_ffn, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config: Llama) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Tensor, context: Context, cache: KeysAndValues | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), context, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Everything but the output projection, under the name ``model`` as in the Hugging Face layout."""

    def __init__(self, config: Llama) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleDict({str(index): Block(config) for index in range(config.n_layers)})
        self.norm = RMSNorm(config.d_model, config.norm_eps)


class LlamaModel(LanguageModel):
    """The whole model; with tied embeddings it has no ``lm_head`` and the embedding serves twice."""

    def __init__(self, config: Llama) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = (
            None if config.tied_embeddings else nn.Linear(config.d_model, config.vocab_size, bias=False)
        )

    @property
    def blocks(self) -> nn.ModuleDict:
        return self.model.layers

    def embed(self, tokens: Tensor) -> Tensor:
        return self.model.embed_tokens(tokens)

    def context(self, length: int, like: Tensor, documents: Tensor | None, cache: Cache | None) -> Context:
        positions, mask = place(length, like, documents, cache)
        angles = (positions[..., None] * rotary_frequencies(self.config, like.device)).unsqueeze(2)
        return Context(angles.cos(), angles.sin(), mask)

    def normalise(self, hidden: Tensor) -> Tensor:
        return self.model.norm(hidden)

    @property
    def output_weight(self) -> Tensor:
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def unembed(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.output_weight) if self.lm_head is None else self.lm_head(hidden)


def rotary_frequencies(config: Llama, device: torch.device) -> Tensor:
    """Return the angle by which each pair of a head turns per position, fp32 [width / 2].

    A function of the configuration, not a buffer: it is fp32 whatever becomes of the parameters, and nothing
    is lost when a model is built on the meta device (arXiv 2104.09864).
    """
    width = config.d_model // config.n_heads
    exponents = torch.arange(0, width, 2, device=device).float() / width
    frequencies = 1.0 / config.rope_base**exponents
    return frequencies if config.rope_scaling is None else _scaled(frequencies, config.rope_scaling)


def _scaled(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Slow the pairs whose wave is too long for the original training length; Llama 3.1's published rule.

    Waves that fit ``high_freq_factor`` times into ``original_length`` stay, those that fit less than
    ``low_freq_factor`` times are slowed by ``factor``, and those between are interpolated.
    """
    turns = scaling.original_length * frequencies / (2 * math.pi)
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = kept.clamp(0, 1)
    return kept * frequencies + (1 - kept) * frequencies / scaling.factor
