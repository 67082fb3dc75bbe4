"""datatrove's executors build the same bytes as our own processes; what fails is told, what is done stays."""

import importlib.util
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_of_pages import build_pages, content, write_pages

pytest.importorskip("datatrove")

from tokka.data import executors, group
from tokka.data.executors import Executor

SBATCH = """#!{python}
import os, re, subprocess, sys
*options, script = sys.argv[1:]
with open(script) as file:
    text = file.read()
if "launch_pickled_pipeline" not in text:  # the job that adds up statistics
    print("Submitted batch job 8")
    raise SystemExit
last = int(re.search(r"#SBATCH --array=0-(\\d+)", text)[1])
copy = os.path.join({folder!r}, "job.sh")
with open(copy, "w") as file:
    file.write(text)
one = f"SLURM_ARRAY_TASK_ID=$i SLURM_NODELIST=here bash {{copy}}"
loop = f"for i in $(seq 0 {{last}}); do {{one}}; done; rm {{copy}}"
with open(os.path.join({folder!r}, "submitted"), "a") as file:
    file.write("one\\n")
quiet = subprocess.DEVNULL
subprocess.Popen(["bash", "-c", loop], stdout=quiet, stderr=quiet, start_new_session=True)
print("Submitted batch job 7")
"""
SQUEUE = "#!/bin/bash\nif [ -e {folder}/job.sh ]; then echo 7; fi\n"
SCONTROL = "#!/bin/bash\necho $3\n"
SRUN = '#!/bin/bash\nwhile [ "${1:0:1}" = - ]; do [ "$1" = -n ] && shift; shift; done\nexec "$@"\n'


@pytest.fixture
def pages(tmp_path, monkeypatch):
    write_pages(tmp_path / "in", files=2, pages=20)
    monkeypatch.setattr(group, "_GROUP_BYTES", 1000)
    build_pages(tmp_path, tmp_path / "whole")
    return tmp_path


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm of one machine that runs its jobs one after the other."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    scripts = {
        "sbatch": SBATCH.format(python=sys.executable, folder=str(folder)),
        "squeue": SQUEUE.format(folder=folder),
        "srun": SRUN,
        "scontrol": SCONTROL,
    }
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(executors, "_LOOK_EVERY_SECONDS", 0.1)
    return folder


def same(pages, out):
    return content(pages / out) == content(pages / "whole")


@pytest.mark.slow
def test_the_local_executor_builds_the_same_bytes(pages):
    build_pages(pages, pages / "out", executor=Executor("local", workers=2))
    assert same(pages, "out")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
def test_a_local_ray_builds_the_same_bytes(pages, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    build_pages(pages, pages / "out", executor=Executor("ray", workers=2, memory=1))
    assert same(pages, "out")


@pytest.mark.slow
def test_slurm_builds_the_same_bytes_as_one_array_of_jobs(pages, slurm):
    build_pages(
        pages, pages / "out", executor=Executor("slurm", workers=4, partition="small", time="00:10:00")
    )
    assert same(pages, "out")
    assert (slurm / "submitted").read_text() == "one\n"


@pytest.mark.slow
def test_a_stopped_command_waits_for_the_jobs_that_it_submitted(pages, slurm, monkeypatch):
    executor = Executor("slurm", workers=4, partition="small")

    def stop(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(executors.time, "sleep", stop)
        with pytest.raises(KeyboardInterrupt):
            build_pages(pages, pages / "out", executor=executor)
    build_pages(pages, pages / "out", executor=executor)
    assert same(pages, "out")
    assert (slurm / "submitted").read_text() == "one\n", "and submits them once"


def test_groups_that_were_not_built_are_told_and_the_others_stay(pages, monkeypatch):
    def only_the_first(self, groups, logs):
        group.build_group(groups[0], lambda _: None)

    executor = Executor("local", workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(Executor, "_run_here", only_the_first)
        with pytest.raises(RuntimeError, match=r"1 of 2 groups of files were not built; their logs are in"):
            build_pages(pages, pages / "out", executor=executor)
    assert len(list((pages / "out" / ".work").glob("0*"))) == 1
    build_pages(pages, pages / "out")
    assert same(pages, "out")


def test_the_step_is_one_of_datatroves_and_passes_on_what_comes_in(pages, tmp_path):
    from datatrove.pipeline.base import PipelineStep

    step = executors.BuildGroups([])
    assert isinstance(step, PipelineStep)
    built = group.Group(tmp_path, None, (), 0.0)  # is there, and so needs nothing
    step.groups = [built]
    assert list(step.run(iter("ab"))) == ["a", "b"]


def test_slurm_needs_a_partition():
    with pytest.raises(ValueError, match="--executor slurm needs --partition"):
        Executor("slurm", workers=1)


def test_nobody_is_asked_for_a_job_that_never_was(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("squeue was called"))
    assert not executors._is_queued("")
