import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tokka.training import cross_entropy
from tokka.training.cross_entropy import IGNORED, linear_cross_entropy


def inputs(tokens: int, vocabulary: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(tokens * vocabulary)
    hidden = torch.randn(tokens, 24).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, 24).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, vocabulary, (tokens,))


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, factor: float = 1.0) -> tuple[Tensor, ...]:
    """Loss and gradients as PyTorch computes them from all logits in fp64."""
    hidden, weight = (x.detach().double().requires_grad_() for x in (hidden, weight))
    loss = F.cross_entropy(hidden @ weight.T, targets, reduction="sum", ignore_index=IGNORED) * factor
    loss.backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    return loss.detach(), hidden.grad, weight.grad


@settings(deadline=None, max_examples=30)
@given(
    tokens=st.integers(1, 70),
    vocabulary=st.integers(2, 90),
    chunk=st.integers(1, 3000),
    block=st.integers(1, 500),
    ignored=st.floats(0, 1),
)
def test_loss_and_gradients_equal_plain_cross_entropy(
    tokens: int, vocabulary: int, chunk: int, block: int, ignored: float
):
    hidden, weight, targets = inputs(tokens, vocabulary)
    targets[: int(ignored * tokens)] = IGNORED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_entropy, "_CHUNK_LOGITS", chunk)
        patch.setattr(cross_entropy, "_BLOCK_LOGITS", block)
        loss = linear_cross_entropy(hidden, weight, targets)
        (loss * 0.5).backward()
    expected, to_hidden, to_weight = plain(hidden, weight, targets, factor=0.5)
    assert loss.item() / 2 == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
    torch.testing.assert_close(hidden.grad, to_hidden.float(), rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(weight.grad, to_weight.float(), rtol=1e-6, atol=5e-6)


def test_bf16_logits_are_reduced_in_fp32():
    hidden, weight, targets = inputs(300, 500, torch.bfloat16)
    loss = linear_cross_entropy(hidden, weight, targets)
    logits = (hidden @ weight.T).double()
    exact = F.cross_entropy(logits, targets, reduction="sum")
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    loss.backward()
    _, to_hidden, to_weight = plain(hidden, weight, targets)
    assert hidden.grad is not None
    assert weight.grad is not None
    assert (hidden.grad - to_hidden).norm() / to_hidden.norm() < 0.01
    assert (weight.grad - to_weight).norm() / to_weight.norm() < 0.01


def test_leading_dimensions_do_not_matter():
    hidden, weight, targets = inputs(12, 30)
    flat = linear_cross_entropy(hidden, weight, targets)
    assert linear_cross_entropy(hidden.view(3, 4, 24), weight, targets.view(3, 4)).item() == flat.item()


def test_huge_logits_do_not_overflow():
    hidden, weight, targets = inputs(8, 30)
    loss = linear_cross_entropy(hidden * 1e4, weight, targets)
    expected, *_ = plain(hidden * 1e4, weight, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_without_gradients_only_the_loss_is_computed():
    hidden, weight, targets = inputs(8, 30)
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, targets)
    assert loss.grad_fn is None
    assert loss.item() == pytest.approx(plain(hidden, weight, targets)[0].item(), rel=1e-6)


def test_logits_are_never_all_held_at_once(monkeypatch: pytest.MonkeyPatch):
    """The largest tensor made is a chunk, not [tokens, vocab_size]."""
    monkeypatch.setattr(cross_entropy, "_CHUNK_LOGITS", 2_000)
    hidden, weight, targets = inputs(400, 50)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = operation(*arguments, **(keywords or {}))
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(tensor, Tensor):
                    largest = max(largest, tensor.numel())
            return result

    with Watch():
        linear_cross_entropy(hidden, weight, targets).backward()
    assert largest == 400 * 24  # the hidden states; all logits would be 400 * 50
