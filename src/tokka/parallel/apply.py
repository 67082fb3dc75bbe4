"""A model made parallel: what each rank of a layout holds, from the model's specification.

    mesh = Mesh.of(layout, device)                      # on every rank of the process group
    stages = make_stages(config, mesh, loss, ...)       # on the meta device: shapes, no memory
    place(stages, device)                               # memory for this rank's part
    parameters = parameters_of(stages)                  # by the model's own names
    initialise(parameters, config, seed)                # values by parameter name, never by layout

Without a mesh it is one process with the whole model, to which nothing is done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tokka.models.model import LanguageModel
from tokka.models.spec import Config, spec_for
from tokka.parallel.context import ContextRanks
from tokka.parallel.mesh import CONTEXT, PIPELINE, TENSOR, Mesh
from tokka.parallel.recompute import recompute_activations
from tokka.parallel.shard import fill, shard
from tokka.parallel.stage import LossFunction, Stage, cut
from tokka.parallel.tensor import split_tensors
from tokka.recipe.training import Recompute


@dataclass(frozen=True)
class Execution:
    """How passes are computed.

    Attributes:
        dtype: of the arithmetic.
        activation_checkpointing: what blocks keep for the backward pass.
        compiled: whether blocks run as generated code.
    """

    dtype: torch.dtype
    activation_checkpointing: Recompute
    compiled: bool


def make_stages(config: Config, mesh: Mesh | None, loss: LossFunction, execution: Execution) -> list[Stage]:
    """Return the stretches of the model that this rank runs, in order, without storage.

    The order of application is always the same: tensor parallel, activation checkpointing, compile, sharded
    data parallel; pipeline stages outside.

    Args:
        config: the model.
        mesh: the ranks; None for one process.
        loss: what the last stage computes.
        execution: how.
    """
    if mesh is None:
        return [Stage(_prepared(spec_for(config).build_meta(config), execution), loss)]
    layout, spec = mesh.layout, spec_for(config)
    context = ContextRanks(mesh.sequences[CONTEXT]) if layout.context > 1 else None
    tensor = mesh.parameters[TENSOR] if layout.tensor > 1 else None
    total = layout.pipeline * layout.stages_per_rank
    stages = []
    for index in range(mesh.coordinate(PIPELINE), total, layout.pipeline):
        model = spec.build_meta(config)
        cut(model, spec, config, index, total)
        if tensor is not None:
            split_tensors(model, spec, tensor)
        model = _prepared(model, execution)
        stage = Stage(model, loss, index=index, stages=total, context=context, tensor=tensor)
        shard(stage, mesh, execution.dtype)
        stages.append(stage)
    return stages


def place(stages: Sequence[Stage], device: torch.device) -> None:
    """Give the parameters of ``stages`` memory on ``device``; their values are undefined."""
    for stage in stages:
        stage.to_empty(device=device)


@torch.no_grad()
def initialise(parameters: Mapping[str, Tensor], config: Config, seed: int) -> None:
    """Give every parameter its first value, which depends on its name alone, never on the layout.

    One whole parameter at a time is held beside this rank's part.
    """
    spec = spec_for(config)
    for name, parameter in parameters.items():
        fill(parameter, spec.initial_value(config, name, parameter.shape, seed))


def parameters_of(stages: Sequence[Stage]) -> dict[str, nn.Parameter]:
    """Return what this rank holds of each parameter, by the model's name of it."""
    return {name: parameter for stage in stages for name, parameter in stage.model.named_parameters()}


def _prepared(model: LanguageModel, execution: Execution) -> LanguageModel:
    recompute_activations(model, execution.activation_checkpointing)
    if execution.compiled:
        compile_blocks(model)
    return model


def compile_blocks(model: LanguageModel) -> None:
    """Have each block run as generated code; all share it, so only the first is slow to come."""
    for block in model.blocks.values():
        block.compile()
