import pytest
import torch
from small_models import llama

from tokka.models.llama import rotary_frequencies
from tokka.recipe.model import RopeScaling

CPU = torch.device("cpu")


def test_frequencies_are_fp32_whatever_the_default_dtype():
    expected = rotary_frequencies(llama(), CPU)
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = rotary_frequencies(llama(), CPU)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_the_frequencies_of_llama_3_1_8b_are_those_of_the_published_rule():
    config = llama(
        n_heads=32, d_model=4096, rope_base=500_000.0, rope_scaling=RopeScaling(original_length=8192)
    )
    found = rotary_frequencies(config, CPU)
    for pair in range(64):
        frequency = 500_000.0 ** (-2 * pair / 128)
        wave = 2 * torch.pi / frequency
        if wave > 8192 / 1:
            frequency /= 8
        elif wave >= 8192 / 4:
            smooth = (8192 / wave - 1) / (4 - 1)
            frequency = (1 - smooth) * frequency / 8 + smooth * frequency
        assert found[pair].item() == pytest.approx(frequency, rel=1e-5)
