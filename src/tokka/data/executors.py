"""Groups of inputs spread by datatrove's executors: over this machine, a Slurm cluster or a Ray cluster."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from tokka.data.group import Group, build_group
from tokka.workspace.files import read_json, write_json
from tokka.workspace.progress import progress, say

Kind = Literal["local", "slurm", "ray"]

_LOOK_EVERY_SECONDS = 5.0
_ASK_TIMES = 12
"""So often ``squeue`` is asked before a Slurm that does not answer counts as one that knows no job."""


class BuildGroups(PipelineStep):
    """The step that all executors carry: rank ``i`` builds the ``i``-th group, unless it is there."""

    name = "tokka corpus"
    type = "SOURCE"

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__()
        self.groups = groups

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Build one group; what comes in is passed on; documents go to the group's own files."""
        yield from data or ()
        group = self.groups[rank]
        if not group.folder.exists():
            build_group(group, lambda _: None)


@dataclass(frozen=True)
class Executor:
    """How groups are spread.

    Attributes:
        kind: of datatrove's executors. On Slurm and Ray every machine must see the run's folder, the sources
            and this Python environment under the same paths.
        workers: groups built at once.
        memory: gigabytes for each of them, on Slurm and Ray.
        partition, time: of the Slurm job; the time is that of one group, as ``04:00:00``.

    Raises ValueError where Slurm is to be used and no partition is named.
    """

    kind: Kind
    workers: int
    memory: int = 2
    partition: str = ""
    time: str = "04:00:00"

    def __post_init__(self) -> None:
        if self.kind == "slurm" and not self.partition:
            raise ValueError("--executor slurm needs --partition; `sinfo` shows which there are")

    def build(self, groups: Sequence[Group], work: Path) -> None:
        """Build ``groups``; what the executor itself writes, logs above all, goes to ``work/datatrove``.

        Raises RuntimeError where some were not built; those that were stay, and the same call goes on.
        """
        if not groups:
            return
        logs = work / "datatrove"
        run: dict[Kind, Callable[[Sequence[Group], Path], None]] = {
            "local": self._run_here,
            "ray": self._run_on_ray,
            "slurm": self._run_on_slurm,
        }
        run[self.kind](groups, logs)
        missing = _missing(groups)
        if missing:
            raise RuntimeError(
                f"{missing} of {len(groups)} groups of files were not built; their logs are in {logs}; "
                f"the same command goes on"
            )

    def _common(self, groups: Sequence[Group], logs: Path) -> dict[str, Any]:
        return {
            "pipeline": [BuildGroups(groups)],
            "tasks": len(groups),
            "workers": self.workers,
            "logging_dir": str(logs.resolve()),
            "skip_completed": False,  # what is done the groups' folders say; next time ranks may mean others
        }

    def _run_here(self, groups: Sequence[Group], logs: Path) -> None:
        LocalPipelineExecutor(**self._common(groups, logs)).run()

    def _run_on_ray(self, groups: Sequence[Group], logs: Path) -> None:
        """Run on the cluster that ``RAY_ADDRESS`` names, else on one of this machine, for this call."""
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        here = "RAY_ADDRESS" not in os.environ
        if here:
            ray.init(
                num_cpus=self.workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        elif not ray.is_initialized():
            ray.init()
        try:
            RayPipelineExecutor(**self._common(groups, logs), mem_per_cpu_gb=self.memory).run()
        finally:
            if here:
                ray.shutdown()

    def _run_on_slurm(self, groups: Sequence[Group], logs: Path) -> None:
        """Submit an array of jobs, or find the one that was submitted before, and wait until it has ended.

        This process may be stopped meanwhile: the jobs go on, and the same command waits for them again.
        """
        note = logs.parent / "slurm.json"
        job = read_json(note)["job"] if note.exists() else ""
        if not _is_queued(job):
            executor = SlurmPipelineExecutor(
                **self._common(groups, logs),
                time=self.time,
                partition=self.partition,
                mem_per_cpu_gb=self.memory,
                job_name="tokka-corpus",
                env_command=f'export PATH="{Path(sys.executable).parent}:$PATH"',
            )
            executor.run()
            job = str(executor.job_id)
            write_json(note, {"job": job})
        say(f"Slurm job {job} builds {len(groups)} groups of files; its logs are in {logs}")
        with progress(f"Slurm job {job}", len(groups), "groups") as bar:
            while _missing(groups) and _is_queued(job):
                bar.advance(len(groups) - _missing(groups) - bar.done)
                time.sleep(_LOOK_EVERY_SECONDS)
        note.unlink(missing_ok=True)


def _missing(groups: Sequence[Group]) -> int:
    return sum(not group.folder.exists() for group in groups)


def _is_queued(job: str) -> bool:
    """Tell whether a Slurm job waits or runs; of one that ended long ago ``squeue`` knows nothing."""
    if not job:
        return False
    for _ in range(_ASK_TIMES):
        found = subprocess.run(
            ["squeue", "--noheader", "--jobs", job], capture_output=True, text=True, check=False
        )
        if found.returncode == 0 or "Invalid job id" in found.stderr:
            break
        time.sleep(_LOOK_EVERY_SECONDS)
    return found.returncode == 0 and bool(found.stdout.strip())
