"""Gradients written by hand equal those of the plain formula in float64."""

import pytest
import torch
from torch import Tensor

from tokka.models.elementwise import rms_norm, rotate

TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 8e-3}


def gradients(function, inputs: list[Tensor], direction: Tensor) -> list[Tensor]:
    inputs = [x.detach().requires_grad_() for x in inputs]
    output = function(*inputs)
    return [output, *torch.autograd.grad(output, inputs, direction.to(output.dtype))]


def assert_equal_to_float64(function, formula, inputs: list[Tensor], direction: Tensor) -> None:
    exact = gradients(formula, [x.double() for x in inputs], direction)
    for found, expected in zip(gradients(function, inputs, direction), exact, strict=True):
        error = (found.double() - expected).abs().max() / expected.abs().max()
        assert error < TOLERANCE[found.dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_rms_norm(dtype, scale):
    generator = torch.Generator().manual_seed(0)
    x, direction = torch.randn(2, 2, 5, 48, generator=generator)
    weight = 1 + 0.3 * torch.randn(48, generator=generator)
    assert_equal_to_float64(
        lambda x, weight: rms_norm(x, weight, 1e-5),
        lambda x, weight: x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight,
        [(scale * x).to(dtype), weight.to(dtype)],
        direction.to(dtype),
    )


def test_rms_norm_of_bfloat16_may_keep_its_weight_in_fp32():
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    weight = torch.ones(16, requires_grad=True)
    output = rms_norm(x, weight, 1e-5)
    output.sum().backward()
    assert (output.dtype, x.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation(dtype):
    generator = torch.Generator().manual_seed(0)
    x, direction = torch.randn(2, 2, 5, 3, 12, generator=generator).to(dtype)
    angles = 100 * torch.rand(1, 5, 1, 6, generator=generator)

    def by_complex_numbers(x: Tensor) -> Tensor:
        turned = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones(()).double(), angles.double())
        return torch.cat((turned.real, turned.imag), dim=-1)

    assert_equal_to_float64(
        lambda x: rotate(x, angles.cos(), angles.sin()), by_complex_numbers, [x], direction
    )


def test_inputs_are_left_as_they_were():
    x = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.ones(8, requires_grad=True)
    before, direction = x.detach().clone(), torch.ones(2, 4, 8)
    rotate(rms_norm(x, weight, 1e-5), torch.zeros(4), torch.ones(4)).backward(direction)
    assert torch.equal(x, before)
    assert torch.equal(direction, torch.ones(2, 4, 8))
