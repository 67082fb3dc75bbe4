"""What a rehearsal finds, against what real ranks are measured to need."""

from typing import Any

import pytest
from measured_peaks import measured_peak
from ranks import alone, on_ranks

from tokka.models.spec import spec_for
from tokka.recipe.model import Bloom, Llama
from tokka.recipe.training import Training
from tokka.training.rehearsal.role import Finding, rehearse_rank

LLAMA = Llama(
    architecture="llama", n_layers=4, n_heads=8, n_kv_heads=4, d_model=256, d_ffn=704, vocab_size=4096
)
BLOOM = Bloom(architecture="bloom", n_layers=4, n_heads=8, d_model=256, vocab_size=4096)


def settings(accumulation: int = 4, **more: Any) -> Training:
    layout = more.pop("layout", {})
    tokens = 256 * 2 * accumulation * layout.get("data", 1)
    given = {"sequence_length": 256, "batch_tokens": tokens, "micro_batch": 2, "optimizer": {"lr": 1e-3}}
    return Training.model_validate(given | {"layout": layout} | more)


def rehearsed(model: Llama | Bloom, training: Training, rank: int = 0) -> Finding:
    return alone(rehearse_rank, model, training, rank)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (LLAMA, {}),
        (LLAMA, {"activation_checkpointing": "full", "layout": {"data": 2}}),
        (BLOOM, {"layout": {"tensor": 2}}),
        (LLAMA, {"layout": {"pipeline": 2, "data": 2}}),
    ],
)
def test_the_memory_rehearsed_is_what_real_ranks_take_within_a_tenth(
    model: Llama | Bloom, more: dict[str, Any]
) -> None:
    training = settings(**more)
    measured = on_ranks(training.layout.ranks, measured_peak, model, training)
    for rank in {0, training.layout.ranks - 1}:
        assert rehearsed(model, training, rank).peak == pytest.approx(measured[rank], rel=0.1)


def test_more_micro_batches_hold_no_more() -> None:
    few, many = (
        rehearsed(LLAMA, settings(accumulation, layout={"pipeline": 2, "data": 2}))
        for accumulation in (4, 16)
    )
    assert few.memory == many.memory


def test_ranks_hold_their_share_of_the_weights() -> None:
    training = settings(layout={"data": 4, "tensor": 2})
    whole = spec_for(BLOOM).count_parameters(BLOOM)
    norms = whole - 8 * rehearsed(BLOOM, training).parameters
    assert abs(norms) < 0.01 * whole  # norms are whole on each tensor rank


def test_communication_of_a_step_is_counted_by_axis() -> None:
    training = settings(accumulation=8, layout={"data": 2, "pipeline": 2})
    volumes = {
        (each.axis, each.operation): volume for each, volume in rehearsed(LLAMA, training).volumes.items()
    }
    hidden = 2 * 256 * LLAMA.d_model * 2  # bytes of a micro batch between stages, in bf16
    assert volumes["pipeline", "send"].calls == 8
    assert volumes["pipeline", "send"].sent == 8 * hidden
    weights = LLAMA.vocab_size * LLAMA.d_model + 2 * 4 * 1e5
    assert volumes["shard", "reduce-scatter"].sent > 4 * weights / 2  # fp32, half of it to the other rank
    assert volumes["shard", "reduce-scatter"].sent == pytest.approx(2 * volumes["shard", "all-gather"].sent)


@pytest.mark.parametrize(("schedule", "each"), [("1f1b", 1), ("interleaved", 2)])
def test_the_bubble_is_the_published_one(schedule: str, each: int) -> None:
    layout = {"pipeline": 2, "schedule": schedule, "stages_per_rank": each}
    found = rehearsed(LLAMA, settings(accumulation=8, layout=layout))
    assert found.bubble == pytest.approx(1 / (each * 8 + 1))


def test_a_zero_bubble_schedule_waits_less() -> None:
    layout = {"pipeline": 2, "schedule": "zero_bubble", "stages_per_rank": 2}
    assert rehearsed(LLAMA, settings(accumulation=8, layout=layout)).bubble < 1 / 17
