"""AdamW on fp32 master weights, for a model that computes in bf16 or fp32."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tokka.recipe.training import Optimizer as Settings


class Optimizer:
    """Sums gradients in fp32 over micro batches, and moves fp32 master weights along them.

    In bf16 the model's parameters are copies of the masters, rounded anew after each update; in fp32 they
    are the masters. Weight decay applies to matrices, not to vectors (biases, norms), as in Megatron-LM.
    """

    def __init__(self, model: nn.Module, settings: Settings, dtype: torch.dtype) -> None:
        """Take over ``model``, whose parameters are fp32, and let it compute in ``dtype``."""
        self.clip = settings.clip
        self.updates = 0
        self._parameters = dict(model.named_parameters())
        self.masters = {name: parameter.detach() for name, parameter in self._parameters.items()}
        for name, parameter in self._parameters.items():
            master = self.masters[name]
            master.grad = torch.zeros_like(master)
            if dtype == torch.float32:
                parameter.grad = master.grad
            else:
                parameter.data = master.to(dtype)
                parameter.register_post_accumulate_grad_hook(_adder(master.grad))
        decayed = [master for master in self.masters.values() if master.dim() >= 2]
        others = [master for master in self.masters.values() if master.dim() < 2]
        self._adamw = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=0.0,
            betas=settings.betas,
            eps=settings.eps,
            fused=True,
        )
        self._set_moments({})

    def gradient_norm(self) -> float:
        """Return the Euclidean norm of the summed gradients of all parameters."""
        return float(torch.nn.utils.get_total_norm([_gradient(master) for master in self.masters.values()]))

    def step(self, lr: float, *, divisor: float, norm: float) -> None:
        """Update every weight.

        Args:
            lr: learning rate.
            divisor: what summed gradients are divided by: the count of targets of the batch.
            norm: of the gradients after that division; where it exceeds the limit, all are scaled down to it.
        """
        scale = divisor if self.clip is None else divisor * max(1.0, norm / self.clip)
        # The fused kernel divides gradients by this as it reads them: clipping costs no pass of its own.
        device = next(iter(self.masters.values())).device
        self._adamw.grad_scale = torch.tensor(scale, dtype=torch.float32, device=device)  # type: ignore[attr-defined]
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        self.updates += 1
        self._round()
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Set the summed gradients to zero."""
        torch._foreach_zero_([_gradient(master) for master in self.masters.values()])

    def state(self) -> dict[str, Tensor]:
        """Return both moments of every parameter under ``exp_avg.NAME`` and ``exp_avg_sq.NAME``, fp32."""
        return {
            f"{moment}.{name}": self._adamw.state[master][moment]
            for name, master in self.masters.items()
            for moment in ("exp_avg", "exp_avg_sq")
        }

    @torch.no_grad()
    def load(self, masters: Mapping[str, Tensor], moments: Mapping[str, Tensor], updates: int) -> None:
        """Continue from master weights, moments and a count of updates, as they were saved."""
        for name, master in self.masters.items():
            master.copy_(masters[name])
        self.updates = updates
        self._set_moments(moments)
        self._round()

    def _set_moments(self, moments: Mapping[str, Tensor]) -> None:
        for name, master in self.masters.items():
            state: dict[str, Tensor] = {"step": torch.tensor(float(self.updates), device=master.device)}
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment] = torch.zeros_like(master)
                if moments:
                    state[moment].copy_(moments[f"{moment}.{name}"])
            self._adamw.state[master] = state

    @torch.no_grad()
    def _round(self) -> None:
        if any(p.data_ptr() != self.masters[name].data_ptr() for name, p in self._parameters.items()):
            torch._foreach_copy_(list(self._parameters.values()), list(self.masters.values()))


def _adder(total: Tensor) -> Callable[[Tensor], None]:
    """Return a hook that adds a parameter's fresh gradient to ``total`` and drops it."""

    def add(parameter: Tensor) -> None:
        assert parameter.grad is not None
        total.add_(parameter.grad)
        parameter.grad = None

    return add


def _gradient(master: Tensor) -> Tensor:
    assert master.grad is not None
    return master.grad
