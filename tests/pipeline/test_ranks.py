"""Training on several ranks of this machine, which are killed, stopped, and fail."""

import json
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from small_line import BATCH, make_place, recipe
from workshop import TOKKA

from tokka.pipeline.folder import Run, note_recipe, noted_run
from tokka.pipeline.ranks import RanksFailedError, perform_on_ranks
from tokka.pipeline.run import run_recipe
from tokka.pipeline.stages.model import training_stage
from tokka.pipeline.status import status_of
from tokka.pipeline.train import train_run
from tokka.recipe.plain_yaml import format_yaml
from tokka.recipe.recipe import Recipe
from tokka.workspace.manifest import Manifest

STEPS = 120
TWO_RANKS = {"layout": {"data": 2}, "micro_batch": 4, "tokens": STEPS * BATCH}
ONE_RANK = {"micro_batch": 4, "tokens": STEPS * BATCH}


def losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "training" / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["loss"] for row in rows]


def write_recipe(content: Recipe, root: Path) -> Path:
    path = root / "small.yaml"
    path.write_text(format_yaml(content.model_dump(mode="json")), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, and a recipe of two ranks whose mixture is ready in ``run``."""
    with pytest.MonkeyPatch.context() as patch:
        root = make_place(tmp_path_factory.mktemp("ranks"), patch).root
    write_recipe(recipe(**TWO_RANKS), root)
    run_recipe(recipe(**TWO_RANKS), root=root, folder=root / "run", to="mixture")
    return root


def start(place: Path, run: Path) -> subprocess.Popen[str]:
    command = [TOKKA, "run", place / "small.yaml", "--out", run, "--to", "training"]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)


def wait_for_steps(run: Path, steps: int, process: subprocess.Popen[str]) -> None:
    metrics = run / "training" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < steps:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


@pytest.mark.slow
def test_ranks_that_are_killed_and_stopped_end_with_the_curve_of_one_process(place: Path):
    run = place / "run"
    process = start(place, run)
    wait_for_steps(run, 20, process)
    ranks = psutil.Process(process.pid).children()
    assert len(ranks) == 2
    ranks[1].kill()
    wait_for_steps(run, 60, process)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=300)[1]
    assert process.returncode == 128 + signal.SIGTERM, told
    assert "rank 1 failed: it was killed by SIGKILL; all start again from the last checkpoint" in told
    assert "goes on after step" in told
    stopped = len(losses(run))
    assert f"stopped and saved after step {stopped};" in told
    assert stopped < STEPS

    process = start(place, run)
    told = process.communicate(timeout=300)[1]
    assert process.returncode == 0, told
    assert f"goes on after step {stopped} of {STEPS}" in told
    run_recipe(recipe(**ONE_RANK), root=place, folder=place / "one", to="training")
    assert losses(run) == pytest.approx(losses(place / "one"), rel=1e-5)


def test_what_only_a_user_can_mend_stops_at_once_with_the_ranks_own_words(tmp_path: Path, capfd):
    run = Run(recipe(**TWO_RANKS), tmp_path, tmp_path / "run")
    note_recipe(run)
    with pytest.raises(RanksFailedError) as caught:
        perform_on_ranks(training_stage(run.recipe), run)
    assert "rank 0 failed: ValueError" in str(caught.value)
    assert "is not ready to train: it waits for tokenizer; `tokka run RECIPE --out" in str(caught.value)
    error = status_of(run.folder).error
    assert error is not None
    assert "it waits for tokenizer" in error.message
    shown = capfd.readouterr().err
    assert "Traceback" not in shown
    assert "start again" not in shown


def test_one_process_trains_a_prepared_run_and_tokka_run_finds_it_done(tmp_path, monkeypatch, capfd):
    root, content = make_place(tmp_path, monkeypatch).root, recipe()
    with pytest.raises(ValueError, match="no run in"):
        train_run(tmp_path / "run")
    run_recipe(content, root=root, folder=root / "run", to="mixture")
    train_run(root / "run")
    manifest = Manifest.read(root / "run" / "training")
    assert manifest is not None
    assert manifest.facts["steps"] == 20
    run_recipe(content, root=root, folder=root / "run", to="training")
    assert "everything is up to date" in capfd.readouterr().err
    train_run(root / "run")
    assert "training: done before" in capfd.readouterr().err


def test_as_many_ranks_are_asked_for_as_the_layout_states(tmp_path, monkeypatch):
    note_recipe(Run(recipe(**TWO_RANKS), tmp_path, tmp_path / "run"))
    with pytest.raises(ValueError, match="needs 2 ranks, not 1; `tokka run` starts them on one machine"):
        train_run(tmp_path / "run")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="needs 2 ranks, not 3; start that many"):
        train_run(tmp_path / "run")


def test_a_changed_layout_reaches_ranks_though_nothing_else_is_to_be_done(tmp_path, monkeypatch):
    root = make_place(tmp_path, monkeypatch).root
    run_recipe(recipe(), root=root, folder=root / "run", to="mixture")
    run_recipe(recipe(**TWO_RANKS | {"tokens": 20 * BATCH}), root=root, folder=root / "run", to="mixture")
    assert noted_run(root / "run").recipe.training.layout.ranks == 2
