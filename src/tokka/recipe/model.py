"""The ``model`` section: the shape of the network, one class an architecture."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from tokka.recipe.section import Section
from tokka.recipe.sizes import Length, Tokens


class RopeScaling(Section):
    """Llama 3.1's frequency scaling of rotary embeddings (``rope_type: llama3``)."""

    factor: PositiveFloat = 8.0
    low_freq_factor: PositiveFloat = 1.0
    high_freq_factor: PositiveFloat = 4.0
    original_length: Length = 8192


class _Transformer(Section):
    n_layers: PositiveInt
    n_heads: PositiveInt
    d_model: PositiveInt
    vocab_size: Tokens = Field(
        description="Rows of the embedding: the tokenizer's size, best rounded up to a multiple of 128."
    )
    norm_eps: PositiveFloat = 1e-5
    init_std: PositiveFloat = 0.02
    base: str | None = Field(
        None,
        description="Weights to continue from: a Hugging Face folder or hub id. Without it, from scratch.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        return self


class Llama(_Transformer):
    """Llama 3.1: grouped-query attention, rotary embeddings, SwiGLU, RMSNorm, no biases."""

    architecture: Literal["llama"]
    n_kv_heads: PositiveInt
    d_ffn: PositiveInt
    max_sequence_length: Length = 8192
    rope_base: PositiveFloat = 500_000.0
    rope_scaling: RopeScaling | None = None
    tied_embeddings: bool = False

    @model_validator(mode="after")
    def _heads_share_keys_evenly(self) -> Self:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if (self.d_model // self.n_heads) % 2:
            raise ValueError(
                f"a head of {self.d_model // self.n_heads} cannot be rotated in pairs; make it even"
            )
        return self


class Bloom(_Transformer):
    """BLOOM: ALiBi, LayerNorm after the embedding, fused QKV, GELU, biases, tied embeddings.

    The feed-forward width is four times ``d_model``, as the architecture fixes it.
    """

    architecture: Literal["bloom"]


Model = Annotated[Llama | Bloom, Field(discriminator="architecture")]
