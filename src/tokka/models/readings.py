"""The ways in which a folder's weights could be read, of which the stated one must make the best model.

Weights fit the configuration that they were trained with and no other. So where another rope base, or two
layers exchanged, gives a lower loss, the folder was damaged when it was made: transformers would load it
without complaint, and training would spend its budget on mending it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tokka.models.loss import target_losses
from tokka.models.model import LanguageModel
from tokka.models.spec import Config, spec_for
from tokka.models.stored import StoredWeights
from tokka.recipe.model import Bloom, Llama, RopeScaling

Weights = dict[str, Tensor]
"""Of a block, by the names of its parameters."""

_ROPE_BASES = (10_000.0, 500_000.0, 1_000_000.0)
"""Of Llama 2, Llama 3 and Code Llama."""

_ROPE_FACTORS = (8.0, 32.0)
"""Of Llama 3.1 and 3.2; both state a sixteenth of their longest sequence as the original length."""


@dataclass(frozen=True)
class Reading:
    """One way to read a folder.

    Attributes:
        name: in words, for a message.
        config: what is computed.
        order: the stored layer that runs at each place.
        change: what becomes of a block's weights first; None for nothing.
    """

    name: str
    config: Config
    order: tuple[int, ...]
    change: Callable[[Weights], Weights] | None = None

    def begins(self, stated: "Reading") -> int:
        """Return the first layer at which this differs from what is stated."""
        if self.config != stated.config or self.change is not None:
            return 0
        return next((at for at, layer in enumerate(self.order) if layer != stated.order[at]), 0)


def stated_reading(config: Config) -> Reading:
    """Return the reading of ``config`` itself."""
    return Reading("as stated", config, tuple(range(config.n_layers)))


def other_readings(config: Config) -> list[Reading]:
    """Return the readings that would be right if the folder had one of the usual faults."""
    stated = stated_reading(config)
    readings = [
        Reading(f"with layers {at} and {at + 1} exchanged", config, _exchanged(stated.order, at))
        for at in range(config.n_layers - 1)
    ]
    changes = _llama_changes(config) if isinstance(config, Llama) else _bloom_changes(config)
    readings += [Reading(name, config, stated.order, change) for name, change in changes.items()]
    if isinstance(config, Llama):
        others = _other_rotations(config)
        readings += [Reading(name, other, stated.order) for name, other in others.items()]
    return readings


@torch.inference_mode()
def losses_of(
    stored: StoredWeights, readings: Sequence[Reading], tokens: Tensor, device: torch.device
) -> list[Tensor]:
    """Return, for each of ``readings``, the loss of each target in nats, fp32 [rows, length] on the CPU.

    Weights pass through memory once, a layer at a time; arithmetic is fp32.

    Args:
        stored: the folder.
        readings: the first is the one that the others begin from.
        tokens: int64 [rows, length + 1]; inputs are ``[:, :-1]``, targets ``[:, 1:]``.
        device: computes.
    """
    stated = readings[0]
    spec = spec_for(stated.config)
    inputs, targets = tokens[:, :-1].to(device), tokens[:, 1:].to(device)
    model = spec.build_meta(stated.config)
    outside = [name for name in stored.shapes if not name.startswith(f"{spec.blocks}.")]
    _fill(model, stored, outside, device)
    embedded = model.embed(inputs)
    contexts = [
        spec.build_meta(each.config).context(inputs.shape[1], embedded, None, None) for each in readings
    ]
    begins = [reading.begins(stated) for reading in readings]
    hidden = [embedded] * len(readings)

    @lru_cache(maxsize=3)  # readings look at neighbours
    def weights_of(layer: int) -> Weights:
        prefix = f"{spec.blocks}.{layer}."
        names = [name for name in stored.shapes if name.startswith(prefix)]
        return {
            name.removeprefix(prefix): tensor.to(device, torch.float32, copy=True)
            for name, tensor in stored.read(dict.fromkeys(names, ()))
        }

    for at, block in enumerate(model.blocks.values()):
        before = hidden[0]
        for index, reading in enumerate(readings):
            if at < begins[index]:
                continue
            start = before if at == begins[index] else hidden[index]
            weights = weights_of(reading.order[at])
            changed = reading.change(weights) if reading.change else weights
            hidden[index] = functional_call(block, changed, (start, contexts[index]))
    return [target_losses(model.normalise(each), targets, model.unembed).cpu() for each in hidden]


def _fill(model: LanguageModel, stored: StoredWeights, names: Sequence[str], device: torch.device) -> None:
    for name, tensor in stored.read(dict.fromkeys(names, ())):
        owner, _, leaf = name.rpartition(".")
        value = nn.Parameter(tensor.to(device, torch.float32, copy=True), requires_grad=False)
        setattr(model.get_submodule(owner), leaf, value)


def _exchanged(order: tuple[int, ...], at: int) -> tuple[int, ...]:
    return (*order[:at], order[at + 1], order[at], *order[at + 2 :])


def _other_rotations(config: Llama) -> dict[str, Llama]:
    others = {
        f"with rope_base {base:g}": config.model_copy(update={"rope_base": base})
        for base in _ROPE_BASES
        if base != config.rope_base
    }
    if config.rope_scaling is not None:
        others["without rope_scaling"] = config.model_copy(update={"rope_scaling": None})
        return others
    for factor in _ROPE_FACTORS:
        scaling = RopeScaling(factor=factor, original_length=max(1, config.max_sequence_length // 16))
        others[f"with rope_scaling by {factor:g}"] = config.model_copy(update={"rope_scaling": scaling})
    return others


def _llama_changes(config: Llama) -> Mapping[str, Callable[[Weights], Weights]]:
    width = config.d_model // config.n_heads
    query, key = "self_attn.q_proj.weight", "self_attn.k_proj.weight"

    def from_pairs(weights: Weights) -> Weights:
        halves = {
            name: weights[name].unflatten(0, (-1, width // 2, 2)).transpose(1, 2).flatten(0, 2)
            for name in (query, key)
        }
        return weights | halves

    def exchange(weights: Weights) -> Weights:
        return weights | {query: weights[key], key: weights[query]}

    changes = {"with rotary pairs side by side, as in Meta's own files": from_pairs}
    if config.n_heads == config.n_kv_heads:
        changes["with queries and keys exchanged"] = exchange
    return changes


def _bloom_changes(config: Bloom) -> Mapping[str, Callable[[Weights], Weights]]:
    def fused(change: Callable[[Tensor], Tensor]) -> Callable[[Weights], Weights]:
        names = [f"self_attention.query_key_value.{leaf}" for leaf in ("weight", "bias")]
        return lambda weights: weights | {name: change(weights[name]) for name in names}

    def exchange(tensor: Tensor) -> Tensor:
        parts = tensor.unflatten(0, (config.n_heads, 3, -1))
        return parts[:, [1, 0, 2]].flatten(0, 2)

    def by_head(tensor: Tensor) -> Tensor:
        return tensor.unflatten(0, (3, config.n_heads, -1)).transpose(0, 1).flatten(0, 2)

    return {
        "with queries and keys exchanged": fused(exchange),
        "with all queries first, then keys, then values": fused(by_head),
    }
