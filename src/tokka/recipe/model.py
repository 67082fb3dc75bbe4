"""The ``model`` section: the shape of the network, one class an architecture."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from tokka.recipe.section import Count, Section
from tokka.recipe.sizes import Length, Tokens


class RopeScaling(Section):
    """Llama 3.1's frequency scaling of rotary embeddings (``rope_type: llama3``)."""

    factor: PositiveFloat = Field(8.0, description="Slow rotations are slowed down by this factor.")
    low_freq_factor: PositiveFloat = Field(
        1.0, description="Slow: fewer turns than this in the original length."
    )
    high_freq_factor: PositiveFloat = Field(4.0, description="Fast, left alone: more turns than this in it.")
    original_length: Length = Field(8192, description="The length the base model was trained with first.")

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(f"low_freq_factor {self.low_freq_factor:g} must be below high_freq_factor")
        return self


class _Transformer(Section):
    n_layers: Count = Field(le=1024, description="Transformer blocks.")
    n_heads: Count = Field(description="Attention heads; they divide d_model.")
    d_model: Count = Field(le=2**17, description="Width of the residual stream.")
    vocab_size: Tokens = Field(
        description="Rows of the embedding: the tokenizer's size, best rounded up to a multiple of 128."
    )
    norm_eps: PositiveFloat = Field(1e-5, description="Added to the variance in normalisation.")
    init_std: PositiveFloat = Field(0.02, description="Standard deviation of the initial weights.")
    base: str | None = Field(
        None,
        description="Weights to continue from: a Hugging Face folder, a hub id, or another recipe "
        "(`base.yaml`), whose model is made first, in a run of its own beside this one. Without it, from "
        "scratch.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        return self


class Llama(_Transformer):
    """Llama 3.1: grouped-query attention, rotary embeddings, SwiGLU, RMSNorm, no biases."""

    architecture: Literal["llama"] = Field(description="`llama` or `bloom`.")
    n_kv_heads: Count = Field(description="Heads of keys and values; they divide n_heads.")
    d_ffn: Count = Field(description="Width of the feed-forward layer.")
    max_sequence_length: Length = Field(
        8192, description="Longest sequence, as stated in the model's config."
    )
    rope_base: PositiveFloat = Field(500_000.0, description="Base of the rotary frequencies.")
    rope_scaling: RopeScaling | None = Field(None, description="Llama 3.1's scaling of them; null for none.")
    tied_embeddings: bool = Field(False, description="The output matrix is the embedding; saves parameters.")

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

    architecture: Literal["bloom"] = Field(description="`llama` or `bloom`.")


Model = Annotated[Llama | Bloom, Field(discriminator="architecture")]


def is_recipe(base: str) -> bool:
    """Tell a recipe, whose model is to be made first, from a model that exists."""
    return base.endswith((".yaml", ".yml"))
