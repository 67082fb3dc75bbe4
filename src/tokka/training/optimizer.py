"""AdamW on fp32 master weights, for a model that computes in bf16 or fp32."""

from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tokka.recipe.training import Optimizer as Settings

_NORM_PIECE = 2**16
"""Numbers whose squares a CPU sums at a time, while they are in its cache."""


class Optimizer:
    """Sums gradients in fp32 over micro batches, and moves fp32 master weights along them.

    A sharded parameter is its own master, and what shards it computes in another dtype. Else, in bf16 the
    model's parameters are copies of the masters, rounded anew after each update; in fp32 they are the
    masters. Weight decay applies to matrices, not to vectors (biases, norms), as in Megatron-LM.

    Weights that wait, such as all but the embeddings while new tokens find their place, are left alone by an
    update that says so, and so are their moments; their bias correction begins with their own first update.

    Attributes:
        masters: fp32 weights by name; of a sharded parameter a distributed tensor.
        gradients: summed so far, fp32, of what this rank holds of each parameter.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        settings: Settings,
        dtype: torch.dtype,
        waiting: Collection[str] = (),
    ) -> None:
        """Take over ``parameters``, which are fp32, and let their model compute in ``dtype``.

        ``waiting`` names those that updates may leave alone.
        """
        self.clip = settings.clip
        self.updates = self.updates_without_waiting = 0
        self._waiting = frozenset(waiting)
        self._parameters = parameters
        self.masters: dict[str, Tensor] = {name: value.detach() for name, value in parameters.items()}
        self._local = {name: _local(master) for name, master in self.masters.items()}
        self.gradients = {name: torch.zeros_like(local) for name, local in self._local.items()}
        for name, parameter in parameters.items():
            local, gradient = self._local[name], self.gradients[name]
            local.grad = gradient
            if isinstance(parameter, DTensor):
                parameter.grad = _as_part_of(parameter, gradient)
            elif dtype == torch.float32:
                parameter.grad = gradient
            else:
                parameter.data = local.to(dtype)
                parameter.register_post_accumulate_grad_hook(_adder(gradient))
        decayed = [local for local in self._local.values() if local.dim() >= 2]
        others = [local for local in self._local.values() if local.dim() < 2]
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
        for local in self._local.values():
            self._adamw.state[local] = {
                "step": torch.tensor(0.0, device=local.device),
                "exp_avg": torch.zeros_like(local),
                "exp_avg_sq": torch.zeros_like(local),
            }

    def gradient_norm(self, names: Iterable[str]) -> Tensor:
        """Return the Euclidean norm of what this rank holds of the summed gradients of ``names``, fp64.

        In fp64, for a CPU sums squares one after the other and in fp32 is wrong by 4e-4 after ten million.
        """
        gradients = [self.gradients[name].flatten() for name in names]
        if not gradients:
            return torch.zeros((), dtype=torch.float64, device=next(iter(self._local.values())).device)
        if not gradients[0].is_cuda:  # whose kernels sum as trees
            gradients = [piece for gradient in gradients for piece in gradient.split(_NORM_PIECE)]
        norms = torch._foreach_norm(gradients, dtype=torch.float64)
        return torch.linalg.vector_norm(torch.stack(norms))

    def step(self, lr: float, *, divisor: float, norm: float, without_waiting: bool = False) -> None:
        """Update every weight, or all but those that wait.

        Args:
            lr: learning rate.
            divisor: what summed gradients are divided by: the count of targets of the batch.
            norm: of the gradients after that division; where it exceeds the limit, all are scaled down to it.
            without_waiting: leave those alone, their moments included.
        """
        scale = divisor if self.clip is None else divisor * max(1.0, norm / self.clip)
        # The fused kernel divides gradients by this as it reads them: clipping costs no pass of its own.
        device = next(iter(self._local.values())).device
        self._adamw.grad_scale = torch.tensor(scale, dtype=torch.float32, device=device)  # type: ignore[attr-defined]
        for group in self._adamw.param_groups:
            group["lr"] = lr
        for name in self._waiting:  # AdamW passes over a weight without a gradient
            self._local[name].grad = None if without_waiting else self.gradients[name]
        self._adamw.step()
        self.updates += 1
        self.updates_without_waiting += without_waiting
        self._round()
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Set the summed gradients to zero."""
        torch._foreach_zero_(list(self.gradients.values()))

    def state(self) -> dict[str, Tensor]:
        """Return both moments of every parameter under ``exp_avg.NAME`` and ``exp_avg_sq.NAME``, fp32."""
        return {
            f"{moment}.{name}": _as_part_of(master, self._adamw.state[self._local[name]][moment])
            for name, master in self.masters.items()
            for moment in ("exp_avg", "exp_avg_sq")
        }

    def go_on(self, updates: int, without_waiting: int = 0) -> None:
        """Continue after ``updates`` updates, now that masters and moments were filled in place.

        So many of them were ``without_waiting``.
        """
        self.updates, self.updates_without_waiting = updates, without_waiting
        for name, local in self._local.items():
            own = updates - without_waiting if name in self._waiting else updates
            self._adamw.state[local]["step"].fill_(own)
        self._round()

    @torch.no_grad()
    def _round(self) -> None:
        copies = {
            name: parameter
            for name, parameter in self._parameters.items()
            if not isinstance(parameter, DTensor) and parameter.data_ptr() != self._local[name].data_ptr()
        }
        if copies:
            torch._foreach_copy_(list(copies.values()), [self._local[name] for name in copies])


def _adder(total: Tensor) -> Callable[[Tensor], None]:
    """Return a hook that adds a parameter's fresh gradient to ``total`` and drops it."""

    def add(parameter: Tensor) -> None:
        assert parameter.grad is not None
        total.add_(parameter.grad)
        parameter.grad = None

    return add


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _as_part_of(whole: Tensor, local: Tensor) -> Tensor:
    """Return ``local``, of what this rank holds of ``whole``, distributed as that is."""
    if not isinstance(whole, DTensor):
        return local
    return DTensor.from_local(
        local, whole.device_mesh, whole.placements, run_check=False, shape=whole.shape, stride=whole.stride()
    )
