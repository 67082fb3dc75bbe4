"""The loss that transformers computes of the model in a folder, with one layer in memory at a time.

transformers reads configuration and weights by itself, so nothing of tokka's own import is trusted here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tokka.models.loss import target_losses
from tokka.models.stored import shard_paths


@torch.inference_mode()
def reference_losses(folder: Path, tokens: Tensor, device: torch.device) -> Tensor:
    """Return the loss of each target as transformers computes it, in nats, fp32 [rows, length].

    Args:
        folder: a Hugging Face folder that :class:`~tokka.models.stored.StoredWeights` found whole.
        tokens: int64 [rows, length + 1]; inputs are ``[:, :-1]``, targets ``[:, 1:]``.
        device: computes.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    _compute_buffers(model, config, device)
    streamed = _Streamed(model, folder, device)
    output = model.get_output_embeddings()
    streamed.attach(except_for=output)
    hidden = model.base_model(tokens[:, :-1].to(device), use_cache=False).last_hidden_state
    with streamed.filled(output):
        return target_losses(hidden, tokens[:, 1:].to(device), output)


class _Streamed:
    """A model without storage whose modules get their weights when they run, and lose them afterwards."""

    def __init__(self, model: Any, folder: Path, device: torch.device) -> None:
        self._model, self._device = model, device
        self._files = {name: path for path in shard_paths(folder) for name in _names(path)}
        self._module_names = {module: name for name, module in model.named_modules()}
        tied = model.config.tie_word_embeddings
        self._same = {model.get_output_embeddings(): model.get_input_embeddings()} if tied else {}

    def attach(self, except_for: nn.Module) -> None:
        """Have each block, and each module with parameters outside of blocks, filled while it runs."""
        open_ends = [self._model]
        while open_ends:
            module = open_ends.pop()
            if module is except_for:
                continue
            is_block = any(isinstance(parent, nn.ModuleList) for parent in self._parents(module))
            if is_block or next(module.parameters(recurse=False), None) is not None:
                self._fill_while_it_runs(module)
            else:
                open_ends += module.children()

    @contextmanager
    def filled(self, module: nn.Module) -> Iterator[None]:
        """Give ``module`` its weights within the block."""
        self._fill(module)
        try:
            yield
        finally:
            module.to("meta")

    def _fill_while_it_runs(self, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda module, _: self._fill(module))
        module.register_forward_hook(lambda module, *_: _empty(module))

    def _fill(self, module: nn.Module) -> None:
        prefix = self._module_names[self._same.get(module, module)]
        for name, _ in list(module.named_parameters()):
            owner, _, leaf = name.rpartition(".")
            value = nn.Parameter(self._read(f"{prefix}.{name}"), requires_grad=False)
            setattr(module.get_submodule(owner), leaf, value)

    def _read(self, name: str) -> Tensor:
        """Read a parameter; some published folders leave out the prefix of the model without its head."""
        stored = name if name in self._files else name.removeprefix(f"{self._model.base_model_prefix}.")
        with safe_open(self._files[stored], framework="pt") as file:
            return file.get_tensor(stored).to(self._device, torch.float32, copy=True)

    def _parents(self, module: nn.Module) -> list[nn.Module]:
        name = self._module_names[module].rpartition(".")[0]
        return [self._model.get_submodule(name)]


def _empty(module: nn.Module) -> None:
    for name, parameter in list(module.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, nn.Parameter(parameter.to("meta"), requires_grad=False))


def _compute_buffers(model: nn.Module, config: Any, device: torch.device) -> None:
    """Make modules that hold computed values, such as rotary frequencies, again with storage."""
    for name, module in list(model.named_modules()):
        if next(module.buffers(recurse=False), None) is not None:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, type(module)(config=config).to(device))


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())
