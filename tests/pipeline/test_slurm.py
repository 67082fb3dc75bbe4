"""The whole line as a job of a real Slurm: two nodes, a preemption on the way, and the same job goes on."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import slurm, why_not
from small_line import BATCH, make_place, recipe
from workshop import tokka

from tokka.pipeline.status import status_of
from tokka.recipe.plain_yaml import format_yaml
from tokka.workspace.manifest import Manifest

STEPS = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a cluster of two nodes."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def ask(cluster: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=cluster, capture_output=True, text=True, check=True).stdout


def wait_for(is_so, run: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        logs = "\n".join(path.read_text() for path in run.glob("logs/slurm-*.log"))
        assert time.monotonic() < deadline, logs
        time.sleep(0.2)


@pytest.mark.slow
def test_a_job_is_preempted_goes_back_to_the_queue_and_ends_with_a_release(
    cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_place(tmp_path, monkeypatch)
    limits = {"stop_minutes": 0.5}
    content = recipe(layout={"data": 2}, micro_batch=4, tokens=STEPS * BATCH, limits=limits)
    (tmp_path / "small.yaml").write_text(format_yaml(content.model_dump(mode="json")), encoding="utf-8")
    run = tmp_path / "run"
    options = ("--out", str(run), "--nodes", "2", "--cpu-ranks-per-node", "1", "--slurm", "--stop-ahead", "1")
    launched = tokka("launch", tmp_path / "small.yaml", *options, **cluster)
    assert launched.returncode == 0, launched.stderr
    job = launched.stdout.split(";")[0].removeprefix("job ")

    def state() -> str:
        shown = ask(cluster, "scontrol", "--oneliner", "show", "job", job)
        return shown.split("JobState=")[1].split()[0]

    metrics = run / "training" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= 5, run)
    ask(cluster, "scancel", "--batch", "--signal=USR1", job)  # as Slurm does ahead of the time limit
    wait_for(lambda: state() == "PENDING", run)
    stopped = status_of(run).training
    assert stopped is not None
    assert 5 <= stopped.step < STEPS
    assert stopped.checkpoint == f"step-{stopped.step:08}"
    ask(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm lets it wait for two minutes

    wait_for(lambda: state() in ("COMPLETED", "FAILED"), run)
    (log,) = run.glob("logs/slurm-*.log")
    assert state() == "COMPLETED", log.read_text()
    assert f"goes on after step {stopped.step} of {STEPS}" in log.read_text()
    rows = [json.loads(line) for line in metrics.open()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert Manifest.read(run / "report") is not None
