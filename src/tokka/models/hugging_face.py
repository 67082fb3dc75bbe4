"""Configurations to and from the Hugging Face layout, and the names of the tensors in it.

Modules here bear the names of that layout, so tensors pass unchanged, bit for bit; only what some published
folders leave out or add is put right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tokka.recipe.model import Bloom, Llama, RopeScaling

LLAMA_ROPE_BASE = 10_000.0
LLAMA_NORM_EPS = 1e-6
LLAMA_LENGTH = 2048
"""What transformers assumes where an old ``config.json`` is silent."""


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that generation needs to know; several ``eos`` each end it."""

    bos: int | None = None
    eos: int | tuple[int, ...] | None = None
    pad: int | None = None

    def to_hf(self) -> dict[str, Any]:
        """Return the ids under the keys of ``config.json`` and ``generation_config.json``."""
        eos = list(self.eos) if isinstance(self.eos, tuple) else self.eos
        return {"bos_token_id": self.bos, "eos_token_id": eos, "pad_token_id": self.pad}


def llama_to_hf_config(config: Llama, special_tokens: SpecialTokens, dtype: torch.dtype) -> dict[str, Any]:
    """Return the content of ``config.json``; rotary settings are stated for transformers 4 and 5 alike."""
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling is not None:
        rope = {
            "rope_type": "llama3",
            "factor": config.rope_scaling.factor,
            "low_freq_factor": config.rope_scaling.low_freq_factor,
            "high_freq_factor": config.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": config.rope_scaling.original_length,
        }
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **_common_to_hf(config, special_tokens, dtype),
        "attention_bias": False,
        "head_dim": config.d_model // config.n_heads,
        "hidden_act": "silu",
        "intermediate_size": config.d_ffn,
        "max_position_embeddings": config.max_sequence_length,
        "mlp_bias": False,
        "num_attention_heads": config.n_heads,
        "num_hidden_layers": config.n_layers,
        "num_key_value_heads": config.n_kv_heads,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": rope | {"rope_theta": config.rope_base},
        "rope_scaling": None if config.rope_scaling is None else rope,
        "rope_theta": config.rope_base,
        "tie_word_embeddings": config.tied_embeddings,
    }


def llama_from_hf_config(hf: Mapping[str, Any]) -> Llama:
    """Return the configuration that ``config.json`` states.

    Raises ValueError for a missing key and for a variant that :mod:`tokka.models.llama` does not compute.
    """
    heads = _needed(hf, "num_attention_heads")
    width = _needed(hf, "hidden_size")
    _require(hf, "attention_bias", False)
    _require(hf, "head_dim", width // heads)
    _require(hf, "hidden_act", "silu")
    _require(hf, "mlp_bias", False)
    rope = hf.get("rope_scaling") or hf.get("rope_parameters") or {}
    longest = hf.get("max_position_embeddings", LLAMA_LENGTH)
    kv_heads = hf.get("num_key_value_heads")
    return Llama(
        architecture="llama",
        n_layers=_needed(hf, "num_hidden_layers"),
        n_heads=heads,
        n_kv_heads=heads if kv_heads is None else kv_heads,
        d_model=width,
        d_ffn=_needed(hf, "intermediate_size"),
        vocab_size=_needed(hf, "vocab_size"),
        norm_eps=hf.get("rms_norm_eps", LLAMA_NORM_EPS),
        init_std=hf.get("initializer_range", 0.02),
        max_sequence_length=longest,
        rope_base=hf.get("rope_theta") or rope.get("rope_theta") or LLAMA_ROPE_BASE,
        rope_scaling=_rope_scaling(rope, longest),
        tied_embeddings=hf.get("tie_word_embeddings", False),
    )


def llama_parameter_of(config: Llama, stored: str) -> str | None:
    """Return the name of the parameter that is ``stored``, or None for a tensor that says nothing new."""
    redundant = stored.endswith("rotary_emb.inv_freq") or (
        stored == "lm_head.weight" and config.tied_embeddings
    )
    return None if redundant else stored


def bloom_to_hf_config(config: Bloom, special_tokens: SpecialTokens, dtype: torch.dtype) -> dict[str, Any]:
    """Return the content of ``config.json``."""
    return {
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        **_common_to_hf(config, special_tokens, dtype),
        "apply_residual_connection_post_layernorm": False,
        "hidden_dropout": 0.0,
        "layer_norm_epsilon": config.norm_eps,
        "n_head": config.n_heads,
        "n_layer": config.n_layers,
        "slow_but_exact": False,
        "tie_word_embeddings": True,
    }


def bloom_from_hf_config(hf: Mapping[str, Any]) -> Bloom:
    """Return the configuration that ``config.json`` states, in its present or its first spelling.

    Raises ValueError for a missing key and for a variant that :mod:`tokka.models.bloom` does not compute.
    """
    _require(hf, "apply_residual_connection_post_layernorm", False)
    _require(hf, "hidden_dropout", 0.0)
    _require(hf, "attention_dropout", 0.0)
    _require(hf, "tie_word_embeddings", True)
    return Bloom(
        architecture="bloom",
        n_layers=_needed(hf, "n_layer", "num_hidden_layers"),
        n_heads=_needed(hf, "n_head", "num_attention_heads"),
        d_model=_needed(hf, "hidden_size", "n_embed"),
        vocab_size=_needed(hf, "vocab_size"),
        norm_eps=hf.get("layer_norm_epsilon", 1e-5),
        init_std=hf.get("initializer_range", 0.02),
    )


def bloom_parameter_of(config: Bloom, stored: str) -> str | None:
    """Return the name of the parameter that is ``stored``, or None for a tensor that says nothing new.

    The first BLOOM folders leave out the prefix ``transformer.``.
    """
    if stored == "lm_head.weight":
        return None
    return stored if stored.startswith("transformer.") else f"transformer.{stored}"


def _common_to_hf(config: Llama | Bloom, special_tokens: SpecialTokens, dtype: torch.dtype) -> dict[str, Any]:
    dtype_name = str(dtype).removeprefix("torch.")
    return {
        **special_tokens.to_hf(),
        "attention_dropout": 0.0,
        "dtype": dtype_name,
        "hidden_size": config.d_model,
        "initializer_range": config.init_std,
        "pretraining_tp": 1,
        "torch_dtype": dtype_name,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


def _rope_scaling(rope: Mapping[str, Any], longest: int) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise ValueError(f"config.json: rope_type {kind!r} is not supported; only 'default' and 'llama3' are")
    return RopeScaling(
        factor=_needed(rope, "factor"),
        low_freq_factor=_needed(rope, "low_freq_factor"),
        high_freq_factor=_needed(rope, "high_freq_factor"),
        original_length=rope.get("original_max_position_embeddings") or longest,
    )


def _needed(hf: Mapping[str, Any], *spellings: str) -> Any:
    for key in spellings:
        if hf.get(key) is not None:
            return hf[key]
    raise ValueError(f"config.json: the key {spellings[0]!r} is missing")


def _require(hf: Mapping[str, Any], key: str, value: Any) -> None:
    stated = hf.get(key)
    if stated is not None and stated != value:
        raise ValueError(f"config.json: {key} is {stated!r}; only {value!r} is supported here")
