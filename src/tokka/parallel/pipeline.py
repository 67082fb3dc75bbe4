"""Running micro batches through the stages that this rank holds: one after the other, or as a pipeline."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import (
    Schedule1F1B,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    _PipelineSchedule,
)
from torch.distributed.pipelining.stage import _PipelineStageBase
from torch.distributed.tensor import DTensor

from tokka.parallel.mesh import PIPELINE, Mesh
from tokka.parallel.shard import reduce_across_replicas
from tokka.parallel.stage import Stage


class Runner(Protocol):
    """Computes the gradients of a batch's loss."""

    def __call__(self, tokens: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Add the gradient of every parameter that this rank holds to those that are there.

        Args:
            tokens: int64 [rows, length].
            inputs: ``targets`` and perhaps ``documents``, as :meth:`Stage.forward` takes them.

        Returns:
            Loss of each micro batch, summed over its targets, fp64; zeros where another rank has it.
        """
        ...


class InTurn:
    """One micro batch after the other through the only stage there is."""

    def __init__(self, stage: Stage, micro_batch: int) -> None:
        self._stage, self._micro_batch = stage, micro_batch

    def __call__(self, tokens: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        losses = []
        for start in range(0, len(tokens), self._micro_batch):
            rows = slice(start, start + self._micro_batch)
            reduce_across_replicas(self._stage, rows.stop >= len(tokens))
            loss = self._stage(tokens[rows], **{name: tensor[rows] for name, tensor in inputs.items()})
            loss.backward()
            losses.append(loss.detach().double())
        return torch.cat(losses)


class Pipeline:
    """All micro batches of a step through a pipeline, by one of PyTorch's schedules."""

    def __init__(
        self, stages: Sequence[Stage], mesh: Mesh, hidden: torch.Size, dtype: torch.dtype, accumulation: int
    ) -> None:
        """Join ``stages``, which this rank holds, with those of other ranks.

        Args:
            stages: in order.
            mesh: the ranks.
            hidden: shape of what one stage hands the next.
            dtype: of it.
            accumulation: micro batches of a step.
        """
        layout = mesh.layout
        group = mesh.sequences.get_group(PIPELINE)
        device = torch.device(mesh.sequences.device_type)
        between = torch.empty(hidden, dtype=dtype, device="meta", requires_grad=True)
        tokens = torch.empty(hidden[0], 1, dtype=torch.int64, device="meta")
        total = layout.pipeline * layout.stages_per_rank
        joined: list[_PipelineStageBase] = [
            PipelineStage(
                stage,
                stage.index,
                total,
                device,
                input_args=tokens if stage.index == 0 else between,
                output_args=between,
                group=group,
            )
            for stage in stages
        ]
        self._stages, self._accumulation = stages, accumulation
        self._has_first, self._has_last = stages[0].index == 0, stages[-1].index == total - 1
        self._schedule = _schedule(layout.schedule, joined, accumulation)

    @property
    def order(self) -> Mapping[int, Sequence[Any]]:
        """For each rank of the pipeline PyTorch's actions, in order; None where it skips a beat."""
        return vars(self._schedule)["pipeline_order"]

    def __call__(self, tokens: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        losses: list[Tensor] = []
        gradients = {parameter: parameter.grad for stage in self._stages for parameter in stage.parameters()}
        self._schedule.step(
            *((tokens,) if self._has_first else ()),
            target=inputs["targets"] if self._has_last else None,
            losses=losses,
            return_outputs=False,
            **dict[str, Any](inputs),
        )
        _return_gradients(gradients)
        if not self._has_last:
            return torch.zeros(self._accumulation, dtype=torch.float64, device=tokens.device)
        return torch.stack(losses).detach().double()


def _return_gradients(before: Mapping[nn.Parameter, Tensor | None]) -> None:
    """Have each parameter's gradient lie where it did; a schedule drops it when it is first used."""
    for parameter, gradient in before.items():
        if gradient is not None and parameter.grad is not gradient:
            gradient.add_(cast(Tensor, parameter.grad))
            parameter.grad = gradient


def _schedule(name: str, stages: list[_PipelineStageBase], accumulation: int) -> _PipelineSchedule:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return output.sum()  # the stage's forward pass computed it; this is where the schedule expects one

    if name == "1f1b":
        return Schedule1F1B(stages[0], accumulation, loss, scale_grads=False)
    chosen = ScheduleInterleaved1F1B if name == "interleaved" else ScheduleInterleavedZeroBubble
    return chosen(stages, accumulation, loss, scale_grads=False)


def add_from_other_end(distributed: Tensor | None, mesh: Mesh) -> None:
    """Sum the gradient of a matrix that the first and the last stage share; each calls this with its own."""
    assert isinstance(distributed, DTensor)
    gradient = distributed.to_local()
    group = mesh.sequences.get_group(PIPELINE)
    ranks = dist.get_process_group_ranks(group)
    other = ranks[-1] if mesh.coordinate(PIPELINE) == 0 else ranks[0]
    theirs = torch.empty_like(gradient)
    operations = [
        dist.P2POp(dist.isend, gradient, other, group),
        dist.P2POp(dist.irecv, theirs, other, group),
    ]
    for work in dist.batch_isend_irecv(operations):
        work.wait()
    gradient.add_(theirs)
