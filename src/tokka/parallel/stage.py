"""A stretch of a model as one module, from tokens or hidden states to hidden states or the loss."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from tokka.models.model import LanguageModel
from tokka.models.spec import Config, ModelSpec
from tokka.parallel.context import ContextRanks

LossFunction = Callable[[Tensor, Tensor, Tensor, DeviceMesh | None], Tensor]
"""(hidden states, output matrix, targets, tensor ranks or None) -> summed loss, fp32 scalar.

With tensor ranks the hidden states are this rank's part of the length, the matrix its rows, the targets those
of the whole length, and the result, equal on all, is of all tokens."""


class Stage(nn.Module):
    """The one entry to a model in training, so that whatever wraps it sees every pass begin and end.

    On one process, or without a pipeline, the stage is the whole model. Parameters keep the model's names.

    Attributes:
        model: of which only this stretch is left.
        index: of the stage in the pipeline.
        context: this rank's part of every sequence; None for the whole.
    """

    def __init__(
        self,
        model: LanguageModel,
        loss: LossFunction,
        *,
        index: int = 0,
        stages: int = 1,
        context: ContextRanks | None = None,
        tensor: DeviceMesh | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.index = index
        self._is_first, self._is_last = index == 0, index == stages - 1
        self.context = context
        self._loss, self._tensor = loss, tensor

    def forward(self, x: Tensor, *, targets: Tensor, documents: Tensor | None = None) -> Tensor:
        """Run the stretch.

        Args:
            x: tokens int64 [batch, length] on the first stage, hidden states [batch, length, d_model] on
                others; sequence parallelism leaves a rank with its part of their length.
            targets: int64 [batch, length], of which the last stage makes the loss.
            documents: int32 [batch, length]; under context parallelism of the whole sequence.

        Returns:
            Hidden states, or from the last stage the summed loss, fp32 [1].
        """
        hidden = self.model.embed(x) if self._is_first else x
        shared = self.model.context(targets.shape[1], hidden, documents, self.context)
        for block in self.model.blocks.values():
            hidden = block(hidden, shared, self.context)
        if not self._is_last:
            return hidden
        hidden = self.model.normalise(hidden)
        loss = self._loss(hidden, _local(self.model.output_weight), targets, self._tensor)
        return torch.stack((loss,))  # what passes through a pipeline has a first dimension


def _local(weight: Tensor) -> Tensor:
    return weight.to_local() if isinstance(weight, DTensor) else weight


def cut(model: LanguageModel, spec: ModelSpec, config: Config, index: int, stages: int) -> None:
    """Leave of ``model``, on the meta device, only what stage ``index`` of ``stages`` runs.

    A tied embedding stays on the first stage, which looks tokens up in it, and on the last.
    """
    kept = layers_of(config.n_layers, index, stages)
    blocks = model.blocks
    for name in list(blocks):
        if int(name) not in kept:
            del blocks[name]
    output = model.output_weight
    dropped = (spec.entry if index else ()) + (spec.exit if index < stages - 1 else ())
    for name in dropped:
        parent, _, leaf = name.rpartition(".")
        module = getattr(model.get_submodule(parent), leaf)
        is_output = module is not None and any(parameter is output for parameter in module.parameters())
        if not (is_output and index == stages - 1):
            setattr(model.get_submodule(parent), leaf, None)


def layers_of(n_layers: int, index: int, stages: int) -> range:
    """Return the layers of a stage: as even as can be, the middle stages having one more where it is not.

    The first stage has the embedding to do as well, and the last one the loss.
    """
    share, more = divmod(n_layers, stages)
    first_with_more = (stages - more) // 2
    sizes = [share + (first_with_more <= stage < first_with_more + more) for stage in range(stages)]
    return range(sum(sizes[:index]), sum(sizes[: index + 1]))
