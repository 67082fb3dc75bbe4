"""A step of one rank without its machine: its real part of the model, on tensors without storage."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.pipelining import schedules
from torch.testing._internal.distributed.fake_pg import FakeStore

from tokka.models.spec import Config
from tokka.parallel.bubble import bubble, one_forward_one_backward
from tokka.parallel.mesh import CONTEXT, PIPELINE, SHARD, TENSOR, Mesh
from tokka.parallel.model import TrainingModel
from tokka.parallel.pipeline import Pipeline
from tokka.recipe.training import Training
from tokka.training.objectives import LanguageModelling
from tokka.training.optimizer import Optimizer
from tokka.training.rehearsal.memory import Kind, MemoryRecord
from tokka.training.rehearsal.traffic import Collective, TrafficRecord, Volume

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Finding:
    """What a rank was found to need.

    Attributes:
        rank: among all.
        parameters: numbers in this rank's part of the weights.
        memory: bytes at the fullest moment of a step, by kind.
        volumes: of a whole step, by axis and operation.
        bubble: share of its time that a rank waits for others of the pipeline, on average.
    """

    rank: int
    parameters: int
    memory: dict[Kind, int]
    volumes: dict[Collective, Volume]
    bubble: float

    @property
    def peak(self) -> int:
        return sum(self.memory.values())


def rehearse_rank(config: Config, training: Training, rank: int) -> Finding:
    """Do a step of ``rank`` of the layout with nothing but this process, and return what it took.

    The model, its plan, the schedule and the optimizer are the real ones, under a process group that only
    pretends. A step is cut to so many micro batches as it takes to fill the pipeline: more hold no more.
    """
    warnings.simplefilter("ignore", FutureWarning)  # of PyTorch about itself
    if training.layout.ranks > 1:
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=training.layout.ranks)
    try:
        short = shortened(training)
        parallel = make_parallel(config, short)
        with _all_agree(), FakeTensorMode(allow_non_fake_inputs=True):
            optimizer = prepared(parallel, short)
            memory, traffic = (
                MemoryRecord(known_tensors(parallel, optimizer)),
                TrafficRecord(_axes(parallel.mesh)),
            )
            with memory, traffic:
                do_step(parallel, optimizer, short)
        return Finding(
            rank=rank,
            parameters=sum(gradient.numel() for gradient in optimizer.gradients.values()),
            memory=memory.peak,
            volumes=_of_whole_step(traffic.volumes, training, short),
            bubble=_bubble(config, training),
        )
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def make_parallel(config: Config, training: Training) -> TrainingModel:
    """Return this rank's part of the model, without storage."""
    return TrainingModel(
        config,
        training,
        LanguageModelling(within_document=training.within_document).loss,
        device=CPU,
        dtype=_dtype(training),
        compiled=False,
    )


def prepared(parallel: TrainingModel, training: Training) -> Optimizer:
    """Give the model memory, and return its optimizer."""
    parallel.place()
    return Optimizer(parallel.parameters, training.optimizer, _dtype(training))


def known_tensors(parallel: TrainingModel, optimizer: Optimizer) -> dict[Kind, list[torch.Tensor]]:
    """Return what stays from step to step."""
    return {
        "parameters": [*parallel.parameters.values(), *optimizer.masters.values()],
        "gradients": list(optimizer.gradients.values()),
        "optimizer": list(optimizer.state().values()),
    }


def do_step(parallel: TrainingModel, optimizer: Optimizer, training: Training) -> None:
    """Train on one batch whose tokens do not matter; no number is looked at, since there may be none."""
    rows = training.batch_sequences // training.layout.data
    tokens = torch.zeros(rows, training.sequence_length, dtype=torch.int64)
    documents = tokens.int() if training.within_document else None
    parallel.accumulate(tokens, tokens, documents)
    optimizer.gradient_norm(parallel.counted)
    optimizer.step(0.0, divisor=1.0, norm=0.0)


def shortened(training: Training) -> Training:
    """Return ``training`` with so few micro batches that a step just fills the pipeline."""
    layout = training.layout
    enough = 2 if layout.pipeline == 1 else layout.pipeline + 1
    if layout.pipeline > 1 and layout.schedule != "1f1b":
        enough = 2 * layout.pipeline  # other schedules take whole rounds
    batches = min(enough, training.accumulation)
    return training.model_copy(
        update={"batch_tokens": batches * training.micro_batch * layout.data * training.sequence_length}
    )


@contextmanager
def _all_agree() -> Iterator[None]:
    """Have pipeline stages trust the shapes they were told, as they do after a vote of real ranks."""

    schedule: Any = schedules._PipelineSchedule

    def agree(_: Any, stages: Any, has_backward: bool, p2p_done: bool) -> None:
        for stage in stages:
            stage._inference_mode = schedules.InferenceMode.STATIC  # type: ignore[attr-defined]

    vote = getattr(schedule, "_warmup_p2p", None)
    if vote is None:  # older versions of PyTorch have none
        yield
        return
    schedule._warmup_p2p = agree
    try:
        yield
    finally:
        schedule._warmup_p2p = vote


def _axes(mesh: Mesh | None) -> dict[str, str]:
    """Return the axis of each process group's name; ``shard`` and ``replicate`` where parameters lie."""
    if mesh is None:
        return {}
    return {
        each.get_group(axis).group_name: axis
        for each in (mesh.parameters, mesh.sequences)
        for axis in each.mesh_dim_names or ()
    }


def _of_whole_step(
    volumes: dict[Collective, Volume], training: Training, short: Training
) -> dict[Collective, Volume]:
    """Scale what comes with each micro batch from the short step to the whole one."""
    times = training.accumulation / short.accumulation
    each_micro_batch = {TENSOR, CONTEXT, PIPELINE} | ({SHARD} if training.layout.pipeline == 1 else set())
    return {
        collective: Volume(volume.calls * times, volume.sent * times)
        if collective.axis in each_micro_batch
        else volume
        for collective, volume in volumes.items()
    }


def _bubble(config: Config, training: Training) -> float:
    if training.layout.pipeline == 1:
        return 0.0
    if training.layout.schedule == "1f1b":
        return one_forward_one_backward(training.layout.pipeline, training.accumulation)
    runner = make_parallel(config, training).runner
    assert isinstance(runner, Pipeline)
    return bubble(runner.order, recomputed=training.activation_checkpointing == "full")


def _dtype(training: Training) -> torch.dtype:
    return torch.bfloat16 if training.precision == "bf16" else torch.float32
