"""Both architectures compute what transformers computes: logits and every gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import EXAMPLES, bloom, built, difference, every_architecture, llama, random_tokens, twin

from tokka.models.spec import Config
from tokka.recipe.model import RopeScaling


def assert_equal_to_transformers(config: Config, batch: int, length: int, seed: int) -> None:
    model = built(config, seed)
    reference = twin(model, config)
    tokens = random_tokens(config, batch, length, seed)
    logits, expected = model(tokens), reference(input_ids=tokens, use_cache=False).logits
    assert logits.shape == (batch, length, config.vocab_size)
    assert difference(logits, expected) < 1e-5

    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
    logits.backward(direction)
    expected.backward(direction)
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    # A gradient that is zero but for rounding, as a query's that sees one key, is compared to the others.
    floor = 1e-2 * max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, parameter in model.named_parameters():
        assert difference(parameter.grad, gradients[name], floor) < 1e-5, name


scalings = st.none() | st.builds(
    RopeScaling,
    factor=st.sampled_from([2.0, 8.0, 32.0]),
    low_freq_factor=st.sampled_from([1.0, 2.0]),
    high_freq_factor=st.sampled_from([3.0, 4.0]),
    original_length=st.sampled_from([4, 16, 4096]),
)

llamas = st.builds(
    lambda kv_heads, share, width, **rest: llama(
        n_kv_heads=kv_heads, n_heads=kv_heads * share, d_model=kv_heads * share * width, **rest
    ),
    kv_heads=st.sampled_from([1, 2, 3]),
    share=st.sampled_from([1, 2, 5]),
    width=st.sampled_from([2, 6, 16]),
    d_ffn=st.integers(1, 70),
    n_layers=st.integers(1, 3),
    vocab_size=st.integers(2, 90),
    norm_eps=st.sampled_from([1e-6, 1e-5]),
    rope_base=st.sampled_from([10_000.0, 500_000.0]),
    rope_scaling=scalings,
    tied_embeddings=st.booleans(),
)

blooms = st.builds(
    lambda heads, width, **rest: bloom(n_heads=heads, d_model=heads * width, **rest),
    heads=st.integers(1, 9),
    width=st.sampled_from([4, 10, 16]),
    n_layers=st.integers(1, 3),
    vocab_size=st.integers(2, 90),
    norm_eps=st.sampled_from([1e-6, 1e-5]),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(config=llamas | blooms, batch=st.integers(1, 3), length=st.integers(1, 80), seed=st.integers(0, 99))
def test_logits_and_gradients_of_any_shape_equal_those_of_transformers(config, batch, length, seed):
    assert_equal_to_transformers(config, batch, length, seed)


@pytest.mark.parametrize("heads", [3, 5, 7, 12, 56])
def test_alibi_of_any_head_count_equals_that_of_transformers(heads):
    assert_equal_to_transformers(bloom(n_heads=heads, d_model=4 * heads), batch=2, length=300, seed=heads)


@pytest.mark.parametrize("length", [40, 700])
def test_positions_beyond_the_original_length_equal_those_of_transformers(length):
    config = llama(rope_scaling=RopeScaling(original_length=32), d_model=64, max_sequence_length=1024)
    assert_equal_to_transformers(config, batch=1, length=length, seed=0)


@every_architecture
def test_bfloat16_is_as_close_to_fp32_as_that_of_transformers(config):
    tokens = random_tokens(config, 2, 70)
    exact = built(config)
    expected = exact(tokens)
    reference = twin(exact, config).bfloat16()
    ours = difference(built(config).bfloat16()(tokens).float(), expected)
    theirs = difference(reference(input_ids=tokens).logits.float(), expected)
    assert ours < max(1.2 * theirs, 0.02)


@pytest.mark.parametrize("name", ["llama_scaled", "bloom"])
def test_compiled_blocks_give_the_same_logits_and_gradients(name):
    config = EXAMPLES[name]
    plain, compiled = built(config), built(config)
    for block in compiled.blocks.values():
        block.compile(fullgraph=True, backend="aot_eager")
    tokens = random_tokens(config, 2, 30)
    plain(tokens).square().mean().backward()
    compiled(tokens).square().mean().backward()
    for (name, ours), theirs in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        assert difference(ours.grad, theirs.grad) < 1e-5, name
