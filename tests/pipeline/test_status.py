"""How a run goes, from its files alone."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_line import BATCH, make_place, recipe
from typer.testing import CliRunner

from tokka.cli.main import app
from tokka.pipeline.status import status_of
from tokka.workspace.files import write_json
from tokka.workspace.lock import alone_in

STEPS = 20


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that died after 11 of 20 steps."""
    with pytest.MonkeyPatch.context() as patch:
        place = make_place(tmp_path_factory.mktemp("status"), patch)
        place.run(recipe(), stop_after=11)
    return place.folder


def states(run: Path) -> dict[str, str]:
    return {stage.name: stage.state for stage in status_of(run).stages}


def test_a_stopped_run_shows_what_is_done_and_how_far_training_is(stopped: Path):
    found = status_of(stopped)
    assert found.worked_on_by is None
    assert found.error is None
    by_name = states(stopped)
    assert by_name["corpus/finnish"] == by_name["mixture"] == "done"
    assert by_name["training"] == "stopped"
    assert by_name["evaluation"] == by_name["report"] == "waiting"
    training = found.training
    assert training is not None
    assert (training.step, training.steps) == (11, STEPS)
    assert (training.tokens, training.budget) == (11 * BATCH, STEPS * BATCH)
    last = json.loads((stopped / "training" / "metrics.jsonl").read_text().splitlines()[-1])
    assert training.loss == last["loss"]
    assert training.checkpoint == "step-00000010"
    assert training.skipped_steps == 0
    assert training.ends is None


def test_while_it_runs_it_names_the_process_and_when_it_will_end(stopped: Path):
    with alone_in(stopped), alone_in(stopped, ".locks/training"):
        found = status_of(stopped)
        assert states(stopped)["training"] == "running"
    assert found.worked_on_by is not None
    assert found.worked_on_by.startswith("process ")
    assert found.training is not None
    assert found.training.ends is not None
    assert found.training.ends >= found.training.last_step


def test_half_written_files_are_no_harm(stopped: Path):
    metrics = stopped / "training" / "metrics.jsonl"
    whole = metrics.read_bytes()
    before = status_of(stopped).training
    try:
        metrics.write_bytes(whole + b'{"step": 12, "tokens": 30')
        (stopped / "training" / "skipped.jsonl").write_text('{"step": 3, "reason": "nan"}\n{"step"')
        after = status_of(stopped).training
        assert before is not None
        assert after is not None
        assert (after.step, after.loss) == (before.step, before.loss)
        assert after.skipped_steps == 1
    finally:
        metrics.write_bytes(whole)
        (stopped / "training" / "skipped.jsonl").write_text("")
    manifest = stopped / "tokenizer" / "manifest.json"
    text = manifest.read_text()
    try:
        manifest.write_text(text[: len(text) // 2])
        assert states(stopped)["tokenizer"] == "damaged"
    finally:
        manifest.write_text(text)


def test_of_a_long_record_only_the_end_is_read(stopped: Path):
    metrics = stopped / "training" / "metrics.jsonl"
    whole = metrics.read_bytes()
    try:
        with metrics.open("ab") as file:
            for _ in range(200):
                file.write(whole * 100)
        begun = time.monotonic()
        found = status_of(stopped).training
        assert time.monotonic() - begun < 5
        assert found is not None
        assert found.step == 11
    finally:
        metrics.write_bytes(whole)


def test_the_first_error_of_the_last_attempt_is_shown(stopped: Path):
    errors = ((0, 1, "RuntimeError: before"), (1, 1, "ValueError: cause"), (1, 0, "RuntimeError: effect"))
    for moment, (attempt, rank, words) in enumerate(errors):
        content = {"message": {"message": words, "extraInfo": {"py_callstack": "...", "timestamp": "0"}}}
        node = f"job_{rank}"
        file = stopped / "logs" / node / f"attempt_{attempt}" / str(rank) / "error.json"
        write_json(file, content)
        os.utime(file, (moment, moment))
    broken = stopped / "logs" / "ab_cd" / "attempt_2" / "0" / "error.json"
    broken.parent.mkdir(parents=True)
    broken.write_text('{"message": ')
    error = status_of(stopped).error
    assert error is not None
    assert error.message == "ValueError: cause"
    assert error.file.endswith("attempt_1/1/error.json")


def test_the_command_prints_a_table_and_json(stopped: Path):
    shown = CliRunner().invoke(app, ["status", str(stopped)]).output
    assert shown.startswith("small: nobody works on it")
    assert "step        11 of 20 (55.0%)" in shown
    content = json.loads(CliRunner().invoke(app, ["status", str(stopped), "--json"]).output)
    assert content["training"]["step"] == 11
    missing = CliRunner().invoke(app, ["status", str(stopped / "training")])
    assert "no run in" in str(missing.exception)


def test_it_needs_no_torch(stopped: Path):
    script = (
        "import sys; from pathlib import Path; from tokka.pipeline.status import status_of; "
        "status_of(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, stopped], check=True)
