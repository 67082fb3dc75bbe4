import copy
import math

import pytest
import torch
from torch import Tensor, nn

from tokka.recipe.training import Optimizer as Settings
from tokka.training.optimizer import Optimizer

SETTINGS = Settings(lr=1e-2, weight_decay=0.1, clip=1.0)


class Small(nn.Module):
    """Matrices, a bias and a norm, so that both decay groups have members."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.second = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x).tanh())).square().sum()


def make(model: nn.Module, settings: Settings, dtype: torch.dtype) -> Optimizer:
    return Optimizer(dict(model.named_parameters()), settings, dtype)


def norm_of(optimizer: Optimizer) -> float:
    return optimizer.gradient_norm(optimizer.gradients).item()


def batches(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 6, generator=generator) for _ in range(count)]


def train(model: nn.Module, optimizer: Optimizer, data: list[Tensor], divisor: float = 4.0) -> None:
    dtype = next(model.parameters()).dtype
    for x in data:
        model(x.to(dtype)).backward()
        optimizer.step(1e-2, divisor=divisor, norm=norm_of(optimizer) / divisor)


def test_updates_equal_torch_adamw_with_clipping():
    model = Small()
    reference = copy.deepcopy(model)
    matrices = [p for p in reference.parameters() if p.dim() >= 2]
    vectors = [p for p in reference.parameters() if p.dim() < 2]
    adamw = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
        eps=1e-8,
        fused=False,
        foreach=False,
    )
    optimizer = make(model, SETTINGS, torch.float32)
    for x in batches(20):
        (reference(x) / 4).backward()
        norm = nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()
        model(x).backward()
        found = norm_of(optimizer) / 4
        assert found == pytest.approx(norm.item(), rel=1e-6)
        optimizer.step(1e-2, divisor=4, norm=found)
    for found_weight, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found_weight, expected, rtol=1e-5, atol=1e-6)


def test_updates_equal_the_formula_in_float64():
    """Decoupled weight decay, bias-corrected moments (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    model = Small()
    names = [name for name, _ in model.named_parameters()]
    exact = copy.deepcopy(model).double()
    first = {name: torch.zeros_like(p) for name, p in exact.named_parameters()}
    second = {name: torch.zeros_like(p) for name, p in exact.named_parameters()}
    optimizer = make(model, SETTINGS, torch.float32)
    for number, x in enumerate(batches(10), start=1):
        exact.zero_grad()
        exact(x.double()).backward()
        gradients = {name: p.grad / 4 for name, p in exact.named_parameters() if p.grad is not None}
        norm = math.sqrt(sum(g.square().sum().item() for g in gradients.values()))
        for name, p in exact.named_parameters():
            g = gradients[name] / max(1.0, norm)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.95 * second[name] + 0.05 * g * g
            update = (first[name] / (1 - 0.9**number)) / ((second[name] / (1 - 0.95**number)).sqrt() + 1e-8)
            decay = 0.1 if p.dim() >= 2 else 0.0
            p.data = p.data - 1e-2 * (update + decay * p.data)
    train(model, optimizer, batches(10))
    found = dict(model.named_parameters())
    for name, p in exact.named_parameters():
        torch.testing.assert_close(found[name].double(), p.double(), rtol=1e-5, atol=1e-6)
    assert set(names) == set(gradients)


def test_bf16_parameters_are_the_rounded_masters():
    model = Small()
    optimizer = make(model, SETTINGS, torch.bfloat16)
    train(model, optimizer, batches(5))
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.bfloat16
        assert optimizer.masters[name].dtype == torch.float32
        assert torch.equal(parameter, optimizer.masters[name].bfloat16())
        assert parameter.grad is None


def test_changes_below_bf16_precision_add_up_in_the_masters():
    model = nn.Linear(4, 4, bias=False)
    before = model.weight.detach().clone()
    optimizer = make(model, Settings(lr=1e-6, weight_decay=0.0), torch.bfloat16)
    for _ in range(50):
        model(torch.ones(1, 4, dtype=torch.bfloat16)).sum().backward()
        optimizer.step(1e-6, divisor=1, norm=norm_of(optimizer))
    torch.testing.assert_close(optimizer.masters["weight"], before - 50e-6, rtol=0, atol=1e-6)


def test_gradients_of_micro_batches_add_up_in_fp32():
    model = nn.Linear(1, 1, bias=False)
    optimizer = make(model, SETTINGS, torch.bfloat16)
    for value in (256.0, 1.0, 1.0, 1.0):  # 256 + 1 is 256 in bf16
        model(torch.full((1, 1), value, dtype=torch.bfloat16)).sum().backward()
    assert norm_of(optimizer) == 259.0


def test_forgotten_gradients_leave_no_trace():
    model, other = Small(), Small()
    optimizer, untouched = (make(m, SETTINGS, torch.bfloat16) for m in (model, other))
    model(torch.full((4, 6), torch.nan, dtype=torch.bfloat16)).backward()
    assert math.isnan(norm_of(optimizer))
    optimizer.forget_gradients()
    train(model, optimizer, batches(3))
    train(other, untouched, batches(3))
    for name, master in optimizer.masters.items():
        assert torch.equal(master, untouched.masters[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loaded_optimizer_goes_on_to_the_same_bits(dtype: torch.dtype):
    data = batches(6)
    model = Small()
    optimizer = make(model, SETTINGS, dtype)
    train(model, optimizer, data[:3])
    masters = {name: master.clone() for name, master in optimizer.masters.items()}
    moments = {name: moment.clone() for name, moment in optimizer.state().items()}
    train(model, optimizer, data[3:])

    resumed = Small()
    again = make(resumed, SETTINGS, dtype)
    for name, tensor in {**again.masters, **again.state()}.items():
        tensor.copy_({**masters, **moments}[name])
    again.go_on(updates=3)
    train(resumed, again, data[3:])
    for name, parameter in model.named_parameters():
        assert torch.equal(again.masters[name], optimizer.masters[name])
        assert torch.equal(dict(resumed.named_parameters())[name], parameter)
    for name, moment in optimizer.state().items():
        assert torch.equal(again.state()[name], moment)


def test_without_a_clip_gradients_are_not_scaled():
    model, reference = Small(), Small()
    optimizer = make(model, Settings(lr=1e-2, clip=None, eps=1.0), torch.float32)
    clipped = make(reference, Settings(lr=1e-2, clip=1e-3, eps=1.0), torch.float32)
    train(model, optimizer, batches(1))
    train(reference, clipped, batches(1))
    assert not torch.equal(model.second.weight, reference.second.weight)
