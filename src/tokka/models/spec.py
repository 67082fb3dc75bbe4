"""What the rest of tokka may know of an architecture, and the two architectures there are."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tokka.models import hugging_face as hf
from tokka.models.bloom import BloomModel
from tokka.models.hugging_face import SpecialTokens
from tokka.models.llama import LlamaModel
from tokka.models.model import LanguageModel
from tokka.recipe.model import Bloom, Llama

Config = Llama | Bloom


@dataclass(frozen=True)
class ModelSpec:
    """One architecture, for engines that know nothing of architectures.

    Attributes:
        architecture: as in the recipe; ``model_type`` in a Hugging Face ``config.json``.
        build: makes the model from its configuration, also under ``torch.device("meta")``. Values are
            undefined until :meth:`initialise` or a load.
        blocks: name of the ``ModuleDict`` of blocks.
        entry: names of the modules before the blocks, in order of execution; the first is the embedding.
        exit: names of the modules after them; a model that ties its embedding lacks the last.
        residual_outputs: last part of the names of modules whose output is added to the residual stream.
        tensor_parallel_plan: pattern of a module's name (``*`` is one part of it) to the style in which it
            is split over ranks:

            - ``vocab``: the rows of the embedding; outputs are summed.
            - ``colwise``: output features, so each rank has whole heads or its part of the feed-forward.
            - ``rowwise``: input features; outputs are summed.
            - ``sequence``: parameters whole on each rank, activations split along the length.
            - ``gather``: no parameters; the input, split along the length, is gathered for all modules in it.
            - ``heads``: as ``gather``, and the attribute ``heads`` is narrowed to the rank's part.
        to_hf_config: (config, special tokens, dtype) -> content of ``config.json``.
        from_hf_config: the reverse; raises ValueError for what the architecture here does not compute.
        parameter_of: (config, name of a tensor in a Hugging Face folder) -> name of the parameter that it
            is, None for a redundant tensor. Parameters are written under their own names.
    """

    architecture: str
    build: Callable[[Any], LanguageModel]
    blocks: str
    entry: tuple[str, ...]
    exit: tuple[str, ...]
    residual_outputs: tuple[str, ...]
    tensor_parallel_plan: Mapping[str, str] = field(hash=False)
    to_hf_config: Callable[[Any, SpecialTokens, torch.dtype], dict[str, Any]]
    from_hf_config: Callable[[Mapping[str, Any]], Any]
    parameter_of: Callable[[Any, str], str | None]

    @property
    def token_rows(self) -> frozenset[str]:
        """Names of the matrices with a row for each token; tied embeddings lack the second."""
        return frozenset((f"{self.entry[0]}.weight", "lm_head.weight"))

    def build_meta(self, config: Config) -> LanguageModel:
        """Build without storage, for shapes and names or to be filled later."""
        with torch.device("meta"):
            return self.build(config)

    def initialise(self, model: LanguageModel, config: Config, seed: int) -> None:
        """Fill every parameter of ``model`` with its :meth:`initial_value`, in place."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.initial_value(config, name, parameter.shape, seed))

    def initial_value(self, config: Config, name: str, shape: torch.Size, seed: int) -> Tensor:
        """Return the first value of the parameter ``name``, fp32 on the CPU.

        It depends on the arguments alone, so any rank of any layout makes the same. As in Megatron-LM, which
        both Poro generations were trained with: matrices are normal with ``init_std``; those that write to
        the residual stream, which sums two per block, with ``init_std / sqrt(2 * n_layers)`` (GPT-2's rule);
        norms are one and biases zero.
        """
        module, _, leaf = name.rpartition(".")
        if leaf == "bias":
            return torch.zeros(shape)
        if len(shape) == 1:
            return torch.ones(shape)
        std = config.init_std
        if module.rpartition(".")[2] in self.residual_outputs:
            std /= math.sqrt(2 * config.n_layers)
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
        return torch.empty(shape, device="cpu").normal_(0.0, std, generator=generator)

    def count_parameters(self, config: Config) -> int:
        """Return the number of parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.build_meta(config).parameters())

    def flops_per_token(self, config: Config, sequence_length: int) -> int:
        """Return the model FLOPs of one training token, forward and backward, without any recomputation.

        ``6 * weights + 12 * n_layers * d_model * sequence_length``: each weight of a matrix product is
        multiplied and added once forward and twice backward (the embedding's lookup is none, the output
        projection is one), and so are scores and their sum over values. Attention counts in full, though
        half is masked, as in PaLM (arXiv 2204.02311, appendix B) and Megatron-LM (arXiv 2104.04473), whose
        ``72 B s l h^2 (1 + s/6h + V/12lh)`` this is for BLOOM.
        """
        blocks = self.build_meta(config).blocks
        weights = sum(p.numel() for p in blocks.parameters() if p.dim() == 2)
        weights += config.vocab_size * config.d_model
        return 6 * weights + 12 * config.n_layers * config.d_model * sequence_length


LLAMA = ModelSpec(
    architecture="llama",
    build=LlamaModel,
    blocks="model.layers",
    entry=("model.embed_tokens",),
    exit=("model.norm", "lm_head"),
    residual_outputs=("o_proj", "down_proj"),
    tensor_parallel_plan={
        "model.embed_tokens": "vocab",
        "model.layers.*.input_layernorm": "sequence",
        "model.layers.*.self_attn": "gather",
        "model.layers.*.self_attn.q_proj": "colwise",
        "model.layers.*.self_attn.k_proj": "colwise",
        "model.layers.*.self_attn.v_proj": "colwise",
        "model.layers.*.self_attn.o_proj": "rowwise",
        "model.layers.*.post_attention_layernorm": "sequence",
        "model.layers.*.mlp": "gather",
        "model.layers.*.mlp.gate_proj": "colwise",
        "model.layers.*.mlp.up_proj": "colwise",
        "model.layers.*.mlp.down_proj": "rowwise",
        "model.norm": "sequence",
        "lm_head": "colwise",
    },
    to_hf_config=hf.llama_to_hf_config,
    from_hf_config=hf.llama_from_hf_config,
    parameter_of=hf.llama_parameter_of,
)

BLOOM = ModelSpec(
    architecture="bloom",
    build=BloomModel,
    blocks="transformer.h",
    entry=("transformer.word_embeddings", "transformer.word_embeddings_layernorm"),
    exit=("transformer.ln_f",),
    residual_outputs=("dense", "dense_4h_to_h"),
    tensor_parallel_plan={
        "transformer.word_embeddings": "vocab",
        "transformer.word_embeddings_layernorm": "sequence",
        "transformer.h.*.input_layernorm": "sequence",
        "transformer.h.*.self_attention": "heads",
        "transformer.h.*.self_attention.query_key_value": "colwise",
        "transformer.h.*.self_attention.dense": "rowwise",
        "transformer.h.*.post_attention_layernorm": "sequence",
        "transformer.h.*.mlp": "gather",
        "transformer.h.*.mlp.dense_h_to_4h": "colwise",
        "transformer.h.*.mlp.dense_4h_to_h": "rowwise",
        "transformer.ln_f": "sequence",
    },
    to_hf_config=hf.bloom_to_hf_config,
    from_hf_config=hf.bloom_from_hf_config,
    parameter_of=hf.bloom_parameter_of,
)

SPECS = {spec.architecture: spec for spec in (LLAMA, BLOOM)}


def spec_for(config: Config) -> ModelSpec:
    """Return the spec of the architecture that ``config`` configures."""
    return SPECS[config.architecture]


def config_from_hf(hf_config: Mapping[str, Any]) -> Config:
    """Return the configuration that the content of a ``config.json`` states.

    Raises ValueError for an architecture, or a variant of one, that is not supported.
    """
    architecture = hf_config.get("model_type")
    if architecture not in SPECS:
        raise ValueError(f"config.json: model_type {architecture!r} is not supported; {', '.join(SPECS)} are")
    return SPECS[architecture].from_hf_config(hf_config)
