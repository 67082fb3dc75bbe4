"""Small models with weights that leave nothing at zero or one, and their twins in transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tokka.models.hugging_face import SpecialTokens
from tokka.models.identity import Identity
from tokka.models.model import LanguageModel
from tokka.models.spec import Config, spec_for
from tokka.parallel.weights import save_hf
from tokka.recipe.model import Bloom, Llama, RopeScaling

TOKENS = SpecialTokens(bos=1, eos=2, pad=3)


def llama(**changes: Any) -> Llama:
    """A Llama of two small layers."""
    shape: dict[str, Any] = {"n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_ffn": 40, "vocab_size": 61}
    shape |= changes
    shape.setdefault("d_model", 8 * shape["n_heads"])
    return Llama(architecture="llama", **shape)


def bloom(**changes: Any) -> Bloom:
    """A BLOOM of two small layers."""
    shape: dict[str, Any] = {"n_layers": 2, "n_heads": 3, "vocab_size": 61}
    shape |= changes
    shape.setdefault("d_model", 8 * shape["n_heads"])
    return Bloom(architecture="bloom", **shape)


EXAMPLES: dict[str, Config] = {
    "llama": llama(),
    "llama_tied": llama(tied_embeddings=True, n_kv_heads=4),
    "llama_scaled": llama(
        n_kv_heads=1, rope_scaling=RopeScaling(original_length=16), max_sequence_length=128
    ),
    "bloom": bloom(),
    "bloom_8_heads": bloom(n_heads=8),
}


def built(config: Config, seed: int = 0) -> LanguageModel:
    """The model of ``config``, initialised and then disturbed, so that norms and biases matter too."""
    spec = spec_for(config)
    model = spec.build(config)
    spec.initialise(model, config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def saved(config: Config, folder: Path, dtype: torch.dtype = torch.float32, shard_bytes: int = 10**9) -> Path:
    """Write :func:`built` of ``config`` as a Hugging Face folder."""
    parameters = dict(built(config).named_parameters())
    save_hf(parameters, config, folder, identity=Identity.new(config, TOKENS, dtype), shard_bytes=shard_bytes)
    return folder


def twin(model: LanguageModel, config: Config) -> nn.Module:
    """The transformers model with the same configuration and weights, in fp32.

    It knows no padding token: transformers would leave that row of the embedding without a gradient.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    stated = spec_for(config).to_hf_config(config, SpecialTokens(), torch.float32)
    reference = AutoModelForCausalLM.from_config(AutoConfig.for_model(**stated))
    reference.load_state_dict(model.state_dict(), strict=False)
    reference.tie_weights()
    named = dict(reference.named_parameters())
    assert named.keys() == dict(model.named_parameters()).keys()
    return reference


def random_tokens(config: Config, batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def difference(found: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    """The largest difference, relative to the largest value that is expected or to ``floor``."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=floor))


every_architecture = pytest.mark.parametrize("config", EXAMPLES.values(), ids=EXAMPLES.keys())
