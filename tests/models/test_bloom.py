import pytest
import torch
from small_models import bloom, built

from tokka.models.bloom import ALIBI_LENGTH, alibi_columns, alibi_slopes
from tokka.models.spec import BLOOM

CPU = torch.device("cpu")


def published_slopes(heads: int) -> torch.Tensor:
    """The recursive definition of the ALiBi paper's own code, in float64."""

    def of_power(n: int) -> list[float]:
        ratio = 2 ** (-8 / n)
        return [ratio ** (i + 1) for i in range(n)]

    power = 1
    while power * 2 <= heads:
        power *= 2
    slopes = of_power(power)
    if power < heads:
        slopes += of_power(2 * power)[0::2][: heads - power]
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("heads", [1, 2, 3, 5, 7, 8, 12, 16, 56, 71, 112])
def test_slopes_are_the_published_ones(heads):
    slopes = alibi_slopes(heads, CPU)
    assert slopes.dtype == torch.float32
    torch.testing.assert_close(slopes.double(), published_slopes(heads), rtol=2e-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("heads", [3, 56])
def test_the_product_of_the_columns_is_alibi_to_fp32_precision_in_any_dtype(heads, dtype):
    config = bloom(n_heads=heads, d_model=16 * heads)
    start = ALIBI_LENGTH - 500
    columns = alibi_columns(config, torch.arange(start, ALIBI_LENGTH))
    assert torch.equal(columns, columns.to(dtype).float())
    query, key, value = columns[0].double().unbind(2)
    bias = torch.einsum("hc, lhc -> hl", query[0], key) / 16**0.5
    expected = published_slopes(heads)[:, None] * torch.arange(start, ALIBI_LENGTH)
    torch.testing.assert_close(bias, expected, rtol=2e-7, atol=0)
    assert not value.any()


def test_a_sequence_that_alibi_cannot_place_is_refused():
    with pytest.raises(ValueError, match=f"{ALIBI_LENGTH + 1} tokens"):
        BLOOM.build(bloom()).context(ALIBI_LENGTH + 1, torch.zeros(()), None, None)


def test_a_share_of_the_heads_computes_that_share_of_the_attention():
    config = bloom(n_heads=6)
    attention = built(config).blocks["0"].self_attention
    x = torch.randn(2, 20, config.d_model, generator=torch.Generator().manual_seed(0))
    context = BLOOM.build(config).context(20, x, None, None)
    whole = attention(x, context, None) - attention.dense.bias
    parts = []
    for first in (0, 3):
        part = built(config).blocks["0"].self_attention
        rows = slice(first * 3 * part.width, (first + 3) * 3 * part.width)
        columns = slice(first * part.width, (first + 3) * part.width)
        part.heads = slice(first, first + 3)
        part.query_key_value.weight.data = part.query_key_value.weight.data[rows]
        part.query_key_value.bias.data = part.query_key_value.bias.data[rows]
        part.dense.weight.data = part.dense.weight.data[:, columns]
        parts.append(part(x, context, None) - part.dense.bias)
    torch.testing.assert_close(sum(parts), whole)
