"""config.json there and back, as transformers writes and reads it."""

import json

import pytest
import torch
from small_models import TOKENS, every_architecture, llama

from tokka.models.hugging_face import SpecialTokens
from tokka.models.spec import BLOOM, LLAMA, config_from_hf, spec_for
from tokka.recipe.model import Bloom, Llama, RopeScaling

OLDER_KEYS = {"rope_scaling", "rope_theta", "torch_dtype"}
"""Written for transformers before 5, which states the same elsewhere."""

LLAMA_3_1_8B = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 128256,
}
"""As published, in the spelling of transformers 4."""

BLOOM_560M = {
    "apply_residual_connection_post_layernorm": False,
    "attention_dropout": 0.0,
    "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_dropout": 0.0,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "masked_softmax_fusion": True,
    "model_type": "bloom",
    "n_embed": 1024,
    "n_inner": None,
    "n_layer": 24,
    "num_attention_heads": 16,
    "offset_alibi": 100,
    "pad_token_id": 3,
    "pretraining_tp": 1,
    "seq_length": 2048,
    "skip_bias_add": True,
    "unk_token_id": 0,
    "use_cache": True,
    "vocab_size": 250880,
}
"""As published, in BLOOM's first spelling."""


@every_architecture
def test_a_configuration_comes_back_from_what_is_written(config):
    written = spec_for(config).to_hf_config(config, TOKENS, torch.bfloat16)
    assert config_from_hf(json.loads(json.dumps(written))) == config


@every_architecture
def test_what_is_written_is_what_transformers_writes_key_by_key(config, tmp_path):
    from transformers import AutoConfig

    written = spec_for(config).to_hf_config(config, TOKENS, torch.bfloat16)
    AutoConfig.for_model(**written).save_pretrained(tmp_path)
    theirs = json.loads((tmp_path / "config.json").read_text())
    theirs.pop("transformers_version")
    assert {key: value for key, value in written.items() if key not in OLDER_KEYS} == theirs
    assert config_from_hf(theirs) == config


def test_the_published_llama_3_1_8b_comes_back_key_by_key():
    config = config_from_hf(LLAMA_3_1_8B)
    assert config == Llama(
        architecture="llama",
        n_layers=32,
        n_heads=32,
        n_kv_heads=8,
        d_model=4096,
        d_ffn=14336,
        vocab_size=128256,
        max_sequence_length=131072,
        rope_scaling=RopeScaling(),
    )
    written = LLAMA.to_hf_config(config, SpecialTokens(bos=128000, eos=128001), torch.bfloat16)
    assert {key: written[key] for key in LLAMA_3_1_8B} == LLAMA_3_1_8B


def test_the_published_bloom_560m_is_understood():
    expected = Bloom(architecture="bloom", n_layers=24, n_heads=16, d_model=1024, vocab_size=250880)
    assert config_from_hf(BLOOM_560M) == expected


def test_several_ends_are_written_as_a_list():
    written = SpecialTokens(bos=128000, eos=(128001, 128008, 128009)).to_hf()
    assert written == {"bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "pad_token_id": None}


def test_what_a_silent_llama_config_means_is_what_transformers_takes_it_to_mean():
    from transformers import LlamaConfig

    stated = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 99,
    }
    config, theirs = config_from_hf(stated), LlamaConfig(**stated)
    assert isinstance(config, Llama)
    assert config.norm_eps == theirs.rms_norm_eps
    assert config.rope_base == theirs.rope_parameters["rope_theta"]
    assert config.max_sequence_length == theirs.max_position_embeddings
    assert config.n_kv_heads == theirs.num_key_value_heads
    assert config.tied_embeddings == theirs.tie_word_embeddings


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba'"),
        ({"model_type": None}, "model_type None"),
        ({"hidden_size": None}, "'hidden_size' is missing"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"head_dim": 256}, "head_dim is 256"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope_type 'linear'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "'low_freq_factor' is missing"),
        ({"num_key_value_heads": 7}, "n_kv_heads 7"),
    ],
)
def test_a_llama_that_is_not_computed_here_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_from_hf(LLAMA_3_1_8B | change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"apply_residual_connection_post_layernorm": True}, "post_layernorm is True"),
        ({"hidden_dropout": 0.1}, "hidden_dropout is 0.1"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        ({"n_layer": None}, "'n_layer' is missing"),
    ],
)
def test_a_bloom_that_is_not_computed_here_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_from_hf(BLOOM_560M | change)


def test_tensors_that_say_nothing_new_are_dropped_and_old_names_understood():
    tied = llama(tied_embeddings=True)
    assert LLAMA.parameter_of(llama(), "model.layers.0.self_attn.rotary_emb.inv_freq") is None
    assert LLAMA.parameter_of(tied, "lm_head.weight") is None
    assert LLAMA.parameter_of(llama(), "lm_head.weight") == "lm_head.weight"
    assert BLOOM.parameter_of(None, "lm_head.weight") is None
    for stored in ("h.0.mlp.dense_h_to_4h.bias", "transformer.h.0.mlp.dense_h_to_4h.bias"):
        assert BLOOM.parameter_of(None, stored) == "transformer.h.0.mlp.dense_h_to_4h.bias"
