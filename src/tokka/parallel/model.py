"""A model that trains on one process, or on all ranks of a layout: what one rank holds and does of it."""

import torch
import torch.distributed as dist
from torch import Tensor

from tokka.models.attention import sequence_positions
from tokka.models.spec import Config, spec_for
from tokka.parallel.apply import Execution, make_stages, parameters_of, place
from tokka.parallel.mesh import CONTEXT, PIPELINE, TENSOR, Mesh
from tokka.parallel.pipeline import InTurn, Pipeline, Runner, add_from_other_end
from tokka.parallel.shard import is_counted
from tokka.parallel.stage import LossFunction, Stage
from tokka.parallel.tensor import computed_in_parts, sum_over_parts_of_length
from tokka.recipe.training import Training


class TrainingModel:
    """The model in training; every rank of a layout makes one, and they compute each batch together.

    Attributes:
        mesh: the ranks; None on one process.
        stages: what this rank runs, in order; the whole model, or stretches of it on a pipeline.
        parameters: what this rank holds, by the model's own names, fp32; distributed tensors where there are
            several ranks. Their values are undefined at first. Gradients are added to the ``grad`` that they
            are given.
        counted: names of the parameters whose part here no other rank counts as well.
        rows: which sequences of a batch this rank reads.
        runner: takes micro batches through the stages.
    """

    def __init__(
        self,
        config: Config,
        training: Training,
        loss: LossFunction,
        *,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool,
    ) -> None:
        """Build this rank's part, for :meth:`place` to give it memory on ``device``.

        Args:
            config: the model.
            training: its layout, micro batches and activation checkpointing.
            loss: of hidden states, as the last stage computes it.
            device: of this rank.
            dtype: of forward and backward pass.
            compiled: whether blocks run as generated code.
        """
        layout = training.layout
        self._spec = spec_for(config)
        self.mesh = Mesh.of(layout, device)
        self.rows = self.mesh.rows(training.batch_sequences) if self.mesh else slice(None)
        execution = Execution(dtype, training.activation_checkpointing, compiled)
        self.stages = make_stages(config, self.mesh, loss, execution)
        self._device = device
        self.runner = _runner(self.stages, self.mesh, training, config.d_model, dtype)
        self._shared = _shared_by_ends(config) if layout.pipeline > 1 else None

    def place(self) -> None:
        """Give this rank's part memory, before anything is computed; values are undefined."""
        place(self.stages, self._device)
        self.parameters = parameters_of(self.stages)
        self.counted = [name for name, parameter in self.parameters.items() if self._counts(name, parameter)]
        self._in_parts = [self.parameters[name] for name in computed_in_parts(self._spec, self.parameters)]

    def accumulate(self, tokens: Tensor, targets: Tensor, documents: Tensor | None) -> Tensor:
        """Add the gradients of a batch's summed loss to those of :attr:`parameters`, which must be zero.

        Args:
            tokens, targets: int64 [rows, length], this rank's rows of the batch.
            documents: int32 [rows, length], which confines attention; None where a row is one document.

        Returns:
            This rank's share of the loss, fp64 scalar, to be given to :meth:`total`.
        """
        inputs = {"targets": targets} if documents is None else {"targets": targets, "documents": documents}
        context = self.stages[0].context
        if context is not None:
            mine = sequence_positions(tokens.shape[1] // context.size, context, tokens.device)
            tokens, inputs["targets"] = tokens[:, mine], targets[:, mine]
        on_device = {name: tensor.to(self._device, non_blocking=True) for name, tensor in inputs.items()}
        losses = self.runner(tokens.to(self._device, non_blocking=True), on_device)
        self._sum_gradients()
        return losses.sum()

    def total(self, loss: Tensor, targets: int, norm: Tensor) -> tuple[float, int, float]:
        """Join the figures of a batch over all ranks, to the same bits on each.

        Args:
            loss: share of this rank, as :meth:`accumulate` returned it.
            targets: valid targets of this rank's rows.
            norm: Euclidean norm of the gradients of :attr:`counted`.

        Returns:
            Summed loss, count of valid targets, norm of all gradients.
        """
        if self.mesh is None:
            return loss.item(), targets, norm.item()
        at = {axis: self.mesh.coordinate(axis) for axis in (PIPELINE, CONTEXT, TENSOR)}
        figures = torch.stack(
            (
                loss * (at[TENSOR] == 0),
                torch.full_like(loss, targets if not any(at.values()) else 0),
                norm.double().square(),
            )
        )
        dist.all_reduce(figures)
        summed, count, squares = figures.tolist()
        return summed, round(count), squares**0.5

    def _sum_gradients(self) -> None:
        """Sum what data ranks have not: over tensor ranks, and over both ends of a pipeline."""
        if self.mesh is None:
            return
        if self.mesh.layout.tensor > 1:
            sum_over_parts_of_length(self._in_parts, self.mesh.parameters[TENSOR])
        if self._shared is not None and self._shared in self.parameters:
            add_from_other_end(self.parameters[self._shared].grad, self.mesh)

    def _counts(self, name: str, parameter: Tensor) -> bool:
        is_second = name == self._shared and self.mesh is not None and self.mesh.coordinate(PIPELINE) > 0
        return is_counted(parameter) and not is_second


def _runner(
    stages: list[Stage], mesh: Mesh | None, training: Training, d_model: int, dtype: torch.dtype
) -> Runner:
    layout = training.layout
    if mesh is None or layout.pipeline == 1:
        return InTurn(stages[0], training.micro_batch)
    share = training.sequence_length // (layout.context * layout.tensor)
    hidden = torch.Size((training.micro_batch, share, d_model))
    return Pipeline(stages, mesh, hidden, dtype, training.accumulation)


def _shared_by_ends(config: Config) -> str | None:
    """Return the name of the matrix that the first and the last stage both hold, if there is one."""
    spec = spec_for(config)
    model = spec.build_meta(config)
    embedding = model.get_submodule(spec.entry[0])
    return f"{spec.entry[0]}.weight" if model.output_weight is embedding.weight else None
