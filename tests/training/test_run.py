import json
import math
import os
import random
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_job import BUDGETS, assert_same_result, curve, make_job, make_recipe
from torch import Tensor
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM

from tokka.training import run as run_module
from tokka.training.checkpoint import saver as saver_module
from tokka.training.checkpoint.saved import load_newest
from tokka.training.checkpoint.snapshot import CheckpointError
from tokka.training.guard import TrainingStoppedError
from tokka.training.interrupt import Interrupted
from tokka.training.objectives import LanguageModelling
from tokka.training.run import run
from tokka.workspace import machine


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(make_job(folder))
    return folder


def test_facts_describe_the_run(tmp_path: Path):
    facts = run(make_job(tmp_path))
    assert facts["steps"] == 16
    assert facts["tokens"] == 2048
    epochs = {name: round(BUDGETS[name] / size, 6) for name, size in make_job(tmp_path).sizes.items()}
    assert facts["sources"] == facts["revisions"][-1]["sources"]
    assert facts["sources"] == {
        name: {"tokens": BUDGETS[name], "percent": percent, "epochs": epochs[name], "skipped_tokens": 0}
        for name, percent in {"finnish": 75.0, "english": 25.0}.items()
    }
    assert facts["revisions"][0]["sources"]["finnish"]["tokens"] == 768
    assert facts["skipped_steps"] == 0
    assert facts["loss"] < curve(tmp_path)[0]["loss"] - 0.5
    assert facts["checkpoints"] == ["step-00000014", "step-00000016"]
    assert [(r["name"], r["step"], r["tokens"]) for r in facts["revisions"]] == [
        ("1.024K", 8, 1024),
        ("2.048K", 16, 2048),
    ]
    assert facts["revisions"][-1]["loss"] == facts["loss"]
    assert facts["parameters"] == 96 * 32 + 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64 + 2 * 32) + 32
    assert 0 < facts["data_percent"] < 100
    assert facts["seconds"] > 0
    assert facts["tokens_per_second"] > 0
    assert facts["machine"]["device"] in ("cpu", "cuda")
    json.dumps(facts, allow_nan=False)


def test_metrics_have_every_step_once(uninterrupted: Path):
    rows = curve(uninterrupted)
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert [row["tokens"] for row in rows] == list(range(128, 2049, 128))
    assert all(sum(row["sources"].values()) == row["tokens"] for row in rows)
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]) for row in rows)


def test_revisions_load_in_transformers_as_what_was_trained(uninterrupted: Path):
    revision = uninterrupted / "revisions" / "2.048K"
    model = AutoModelForCausalLM.from_pretrained(revision, dtype=torch.float32)
    masters = load_file(uninterrupted / "checkpoints" / "step-00000016" / "rank-00000.safetensors")
    found = dict(model.named_parameters())
    for name in found:
        master = masters[name]
        assert torch.equal(found[name], master.bfloat16().float()), name


def test_a_finished_run_called_again_changes_nothing_and_gives_the_same_facts(tmp_path: Path):
    facts = run(make_job(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("revisions/*/*")}
    assert run(make_job(tmp_path)) == facts
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("revisions/*/*")} == before


class StopsAt(LanguageModelling):
    """An objective that ends the process's work at a step, as a crash would."""

    def __init__(self, step: int) -> None:
        super().__init__(within_document=False)
        self._left = 2 * step  # two micro batches a step

    def loss(self, *inputs: Any) -> Tensor:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return super().loss(*inputs)


def crash_after(steps: int, folder: Path, monkeypatch: pytest.MonkeyPatch, **training: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "LanguageModelling", lambda **_: StopsAt(steps))
        with pytest.raises(KeyboardInterrupt):
            run(make_job(folder, make_recipe(**training)))


@pytest.mark.parametrize("steps", [1, 5, 8, 15])
def test_after_a_crash_the_same_call_ends_in_the_same_bits(
    steps: int, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    crash_after(steps, tmp_path, monkeypatch)
    run(make_job(tmp_path))
    assert_same_result(tmp_path, uninterrupted)


def test_a_damaged_newest_checkpoint_costs_steps_but_no_bit(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    crash_after(9, tmp_path, monkeypatch)
    path = tmp_path / "checkpoints" / "step-00000008" / "rank-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run(make_job(tmp_path))
    said = capsys.readouterr().err
    assert "step-00000008 is damaged" in said
    assert "goes on after step 6 of 16" in said
    assert_same_result(tmp_path, uninterrupted)


def test_a_revision_lost_between_checkpoint_and_export_is_published_on_resume(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_hf", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(make_job(tmp_path))
    assert load_newest(tmp_path / "checkpoints").step == 8  # type: ignore[union-attr]
    assert not (tmp_path / "revisions" / "1.024K").exists()
    run(make_job(tmp_path))
    assert_same_result(tmp_path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step_saved(
    number: signal.Signals, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    class Signals(StopsAt):
        def loss(self, *inputs: Any) -> Tensor:
            if self._left == 1:  # in the middle of step 5
                os.kill(os.getpid(), number)
            return super().loss(*inputs)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "LanguageModelling", lambda **_: Signals(5))
        with pytest.raises(Interrupted) as stopped:
            run(make_job(tmp_path))
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert load_newest(tmp_path / "checkpoints").step == 5  # type: ignore[union-attr]
    run(make_job(tmp_path))
    assert curve(tmp_path) == curve(uninterrupted)


def test_time_also_makes_checkpoints(tmp_path: Path):
    recipe = make_recipe(checkpoints={"every": 2048, "minutes": 1e-6, "keep": 99, "revisions": 2048})
    run(make_job(tmp_path, recipe))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 16


def test_milestones_stay_when_the_last_ones_are_kept(tmp_path: Path):
    run(make_job(tmp_path, make_recipe(checkpoints={"every": 128, "keep": 1, "milestones": 640})))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [
        "step-00000005-milestone",
        "step-00000010-milestone",
        "step-00000015-milestone",
        "step-00000016",
    ]


class Poisoned(LanguageModelling):
    """Loss and gradients that are not numbers at the given steps."""

    def __init__(self, *steps: int) -> None:
        super().__init__(within_document=False)
        self._steps, self._passes = steps, 0

    def loss(self, *inputs: Any) -> Tensor:
        self._passes += 1
        is_bad = (self._passes + 1) // 2 in self._steps
        return super().loss(*inputs) * (math.nan if is_bad else 1)


def test_bad_steps_are_skipped_and_recorded_with_their_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(run_module, "LanguageModelling", lambda **_: Poisoned(3, 4, 9))
    facts = run(make_job(tmp_path))
    rows = curve(tmp_path)
    assert facts["skipped_steps"] == 3
    assert [row["step"] for row in rows if row["skipped"]] == [3, 4, 9]
    assert rows[2]["loss"] is None
    assert rows[15]["loss"] < rows[0]["loss"]
    skipped = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [row["step"] for row in skipped] == [3, 4, 9]
    assert sum(source["skipped_tokens"] for source in facts["sources"].values()) == 3 * 128
    assert skipped[0]["reason"] == "the loss is nan"
    assert skipped[0]["loss"] is None
    assert {document["source"] for document in skipped[0]["documents"]} == {"finnish", "english"}
    told = capsys.readouterr().err
    assert "step 3 skipped: the loss is nan" in told
    first = skipped[0]["documents"][0]
    assert f"   1  {first['source']}  memory:{first['record']}  epoch 1  tokens " in told


def test_too_many_bad_steps_in_a_row_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_module, "LanguageModelling", lambda **_: Poisoned(*range(6, 99)))
    recipe = make_recipe(guard={"max_bad_steps": 4})
    with pytest.raises(
        TrainingStoppedError, match=r"step 9: 4 steps in a row.*the loss is nan.*skipped\.jsonl"
    ):
        run(make_job(tmp_path, recipe))
    assert curve(tmp_path)[-1]["step"] == 9


def test_other_settings_do_not_go_on_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    crash_after(5, tmp_path, monkeypatch)
    changed = make_recipe(optimizer={"lr": 5e-3}, schedule={"warmup": 128, "min_lr": 1e-3})
    with pytest.raises(
        ValueError,
        match=r"training\.optimizer\.lr was 0\.01 and is 0\.005.*training\.schedule\.warmup was 256",
    ):
        run(make_job(tmp_path, changed))


def test_how_often_it_is_saved_may_change(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    crash_after(5, tmp_path, monkeypatch, checkpoints={"every": 512, "keep": 9, "revisions": 1024})
    run(make_job(tmp_path))
    assert curve(tmp_path) == curve(uninterrupted)


def test_more_than_one_rank_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"training\.layout is of 2 ranks, and 1 were started"):
        run(make_job(tmp_path, make_recipe(layout={"data": 2})))


def test_a_checkpoint_that_cannot_be_written_stops_the_run_with_the_one_before_whole(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    write = saver_module.write_pieces

    def full(path: Path, pieces: Any) -> Any:
        if "step-00000006" in str(path):
            raise OSError(28, "No space left on device")
        return write(path, pieces)

    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "write_pieces", full)
        with pytest.raises(CheckpointError, match=r"No space left on device.*step-00000004 stays whole"):
            run(make_job(tmp_path))
    run(make_job(tmp_path))
    assert_same_result(tmp_path, uninterrupted)


def test_random_state_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draws: list[tuple[float, float, float]] = []

    class Random(StopsAt):
        def loss(self, *inputs: Any) -> Tensor:
            loss = super().loss(*inputs)
            draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
            return loss

    def drawn(folder: Path, *stops: int) -> list[tuple[float, float, float]]:
        draws.clear()
        for stop in stops:
            with monkeypatch.context() as patch:
                patch.setattr(run_module, "LanguageModelling", lambda **_: Random(stop))  # noqa: B023
                with suppress(KeyboardInterrupt):
                    run(make_job(folder))
        return list(draws)

    whole = drawn(tmp_path / "whole", 99)
    assert len(set(whole)) == 32
    assert drawn(tmp_path / "stopped", 6, 99) == whole


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_recorded_and_restored(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        crash_after(5, tmp_path, monkeypatch)
        torch.set_num_threads(3 - threads)
        facts = run(make_job(tmp_path))
        assert torch.get_num_threads() == threads
        assert facts["machine"]["threads"] == threads
    finally:
        torch.set_num_threads(before)


def test_another_machine_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    crash_after(5, tmp_path, monkeypatch)
    other = replace(machine.describe(), processor="another processor")
    monkeypatch.setattr(machine, "describe", lambda: other)
    run(make_job(tmp_path))
    assert "is another processor; training goes on, but not to the same bits" in capsys.readouterr().err


def test_training_goes_on_from_a_base(tmp_path: Path, uninterrupted: Path):
    base = uninterrupted / "revisions" / "2.048K"
    shape = make_recipe().model.model_dump() | {"base": str(base)}
    run(make_job(tmp_path, make_recipe(model=shape, optimizer={"lr": 1e-3}, schedule={})))
    assert curve(tmp_path)[0]["loss"] < curve(uninterrupted)[8]["loss"]


def test_a_base_of_another_shape_is_refused(tmp_path: Path, uninterrupted: Path):
    base = uninterrupted / "revisions" / "2.048K"
    shape = make_recipe().model.model_dump() | {"base": str(base), "n_layers": 3}
    with pytest.raises(ValueError, match=r"model\.base .* has n_layers 2 \(the recipe says 3\)"):
        run(make_job(tmp_path, make_recipe(model=shape)))


def test_fp32_revisions_hold_the_masters(tmp_path: Path):
    run(make_job(tmp_path, make_recipe(precision="fp32")))
    masters = load_file(tmp_path / "checkpoints" / "step-00000016" / "rank-00000.safetensors")
    published = load_file(tmp_path / "revisions" / "2.048K" / "model.safetensors")
    assert all(torch.equal(tensor, masters[name]) for name, tensor in published.items())


def test_old_records_without_a_checkpoint_are_begun_anew(tmp_path: Path, uninterrupted: Path):
    shutil.copytree(uninterrupted, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints")
    run(make_job(tmp_path / "again"))
    assert_same_result(tmp_path / "again", uninterrupted)


def test_a_mixture_may_change_under_a_run_but_not_what_was_trained_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    crash_after(5, tmp_path, monkeypatch)
    other = BUDGETS | {"finnish": 1024, "english": 1024}
    with pytest.raises(ValueError, match=r"a change of the mixture may only concern what was not trained"):
        run(make_job(tmp_path, budgets=other))
    with pytest.raises(ValueError, match=r"tokens was 2048 and is 1024"):
        run(make_job(tmp_path, budgets={"finnish": 768, "english": 256}))


@pytest.mark.slow
@pytest.mark.skipif(machine.describe().compiler is None, reason="torch.compile needs a compiler")
def test_generated_code_computes_the_same_and_goes_on_to_the_same_bits(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = make_recipe(compile=True, activation_checkpointing="full")
    torch.compiler.reset()
    counters.clear()
    facts = run(make_job(tmp_path / "whole", recipe))
    assert facts["machine"]["compiled"]
    assert counters["stats"]["unique_graphs"] == 1  # all blocks share it
    assert not counters["graph_break"]
    losses = [[row["loss"] for row in curve(folder)] for folder in (tmp_path / "whole", uninterrupted)]
    np.testing.assert_allclose(*losses, atol=0.02)
    crash_after(9, tmp_path / "stopped", monkeypatch, compile=True, activation_checkpointing="full")
    torch.compiler.reset()
    run(make_job(tmp_path / "stopped", recipe))
    assert_same_result(tmp_path / "stopped", tmp_path / "whole")
