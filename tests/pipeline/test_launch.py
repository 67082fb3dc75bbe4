"""Batch scripts: what they ask of Slurm, what they run, and what is refused."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workshop import REPOSITORY

from tokka.cli.main import app
from tokka.pipeline.launch import SlurmJob, batch_script, submit

PORO = REPOSITORY / "recipes" / "poro-34b.yaml"


def directives(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_a_job_of_whole_nodes_that_comes_back(tmp_path: Path):
    job = SlurmJob(128, gpus_per_node=8, partition="standard-g", time="2-00:00:00", sbatch=["--qos=high"])
    script = batch_script(job, PORO, tmp_path)
    asked = directives(script)
    for line in ("--nodes=128", "--gpus-per-node=8", "--exclusive", "--requeue", "--signal=B:USR1@600"):
        assert line in asked
    assert {"--partition=standard-g", "--time=2-00:00:00", "--qos=high"} <= set(asked)
    assert not any(line.startswith("--account") for line in asked)
    assert "--nproc-per-node=8" in script


def test_a_part_of_each_node_without_gpus(tmp_path: Path):
    job = SlurmJob(512, cpu_ranks_per_node=2, cpus_per_node=16, setup=["module load python"])
    script = batch_script(job, PORO, tmp_path)
    assert "--cpus-per-task=16" in directives(script)
    assert "exclusive" not in script
    assert "gpus" not in script
    assert "\nmodule load python\n" in script


def test_bash_reads_paths_and_overrides_as_they_were_meant(tmp_path: Path):
    run = tmp_path / "my runs" / "100% $HOME's"
    override = "sources.finnish.path=['a b.jsonl', \"$(c).jsonl\"]"
    script = batch_script(SlurmJob(128, gpus_per_node=8), PORO, run, [override])
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    (line,) = [line for line in script.splitlines() if line.startswith("run=(")]
    printed = subprocess.run(
        ["bash", "-c", line + '; printf "%s\\n" "${run[@]}"'], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert printed[1:] == ["-m", "tokka", "run", str(PORO), "--out", str(run), "--set", override]
    (output,) = [line for line in directives(script) if line.startswith("--output")]
    assert shlex.split(output) == [f"--output={run}/logs/slurm-%j.log".replace("100%", "100%%")]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (SlurmJob(64, gpus_per_node=8), "take --nodes 128, or --set training.layout.data=64"),
        (SlurmJob(3, gpus_per_node=3), "9 ranks, and training.layout states 1,024; take another number"),
    ],
)
def test_a_job_of_another_size_than_the_layout_is_refused(job: SlurmJob, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match="ranks") as caught:
        batch_script(job, PORO, tmp_path)
    assert message in str(caught.value)


def test_a_job_that_could_not_save_before_its_limit_is_refused(tmp_path: Path):
    job = SlurmJob(128, gpus_per_node=8, stop_ahead=5)
    with pytest.raises(
        ValueError, match=r"--stop-ahead 5 leaves no more than training.limits.stop_minutes, 5"
    ):
        batch_script(job, PORO, tmp_path)


def test_without_slurm_it_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="no sbatch here; submit from a login node"):
        submit("#!/bin/bash\n", tmp_path / "run")


def test_what_slurm_refuses_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(OSError, match="invalid partition specified: gpu"):
        submit("#!/bin/bash\n", tmp_path / "run")


def test_print_shows_the_script_and_writes_nothing(tmp_path: Path):
    command = ["launch", str(PORO), "--out", str(tmp_path / "run"), "--nodes", "128", "--slurm"]
    done = CliRunner().invoke(app, [*command, "--gpus-per-node", "8", "--print"])
    assert done.exit_code == 0
    assert done.output == batch_script(SlurmJob(128, gpus_per_node=8), PORO, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    without = CliRunner().invoke(app, command)
    assert "state one of --gpus-per-node and --cpu-ranks-per-node" in str(without.exception)
