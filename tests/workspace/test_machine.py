"""The description of the machine, against the kernel's own figures and against containers' limits."""

import os
import re
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from tokka.workspace import machine
from tokka.workspace.machine import EXTRAS, describe, disk_free, format_bytes, matmul_rate, missing_modules

GIB = 2**30


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /sys/fs/cgroup; ``self`` in it is this process's listing."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    monkeypatch.setattr(machine, "_CGROUPS", folder)
    monkeypatch.setattr(machine, "_LISTING", folder / "self")
    return folder


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / re.sub("_", ".", name, count=1)).write_text(f"{content}\n")


def test_the_machine_is_as_the_kernel_says() -> None:
    found = describe()
    assert 1 <= found.cores <= len(os.sched_getaffinity(0))
    assert GIB // 8 < found.memory <= psutil.virtual_memory().total
    assert 0 < found.memory_available <= found.memory
    assert found.accelerators is None
    assert found.versions.keys() >= {"python", "torch", "tokka"}
    assert found.extras.keys() == EXTRAS.keys()


def test_describing_takes_no_time() -> None:
    describe()
    begun = time.perf_counter()
    describe()
    assert time.perf_counter() - begun < 2


def test_cores_follow_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_container_of_version_2_limits_memory_and_cores(cgroups: Path) -> None:
    (cgroups / "self").write_text("0::/pod/box\n")
    write(cgroups / "pod" / "box", memory_max=4 * GIB, memory_current=3 * GIB, cpu_max="max 100000")
    write(cgroups / "pod" / "box", memory_stat=f"anon 5\ninactive_file {GIB}")
    write(cgroups / "pod", memory_max="max", memory_current=9 * GIB, cpu_max="50000 100000")
    memory, available = machine.memory_limits()
    assert memory == min(4 * GIB, psutil.virtual_memory().total)
    assert available <= 2 * GIB  # 4 - (3 - 1): cached files make room
    assert machine.usable_cores() == 1


def test_a_parent_group_limits_too(cgroups: Path) -> None:
    (cgroups / "self").write_text("0::/pod/box\n")
    write(cgroups / "pod" / "box", memory_max=4 * GIB, memory_current=0)
    write(cgroups / "pod", memory_max=GIB, memory_current=GIB // 2)
    assert machine.memory_limits() == (GIB, GIB // 2)


def test_a_container_of_version_1_limits_memory_and_cores(cgroups: Path) -> None:
    (cgroups / "self").write_text("4:memory:/docker/1f\n2:cpu,cpuacct:/docker/1f\n1:name=systemd:/\n")
    # Inside, the container's own group is mounted as the root, whatever the listing says.
    write(cgroups / "memory", memory_stat="total_inactive_file 0")
    (cgroups / "memory" / "memory.limit_in_bytes").write_text(f"{2 * GIB}\n")
    (cgroups / "memory" / "memory.usage_in_bytes").write_text(f"{GIB}\n")
    (cgroups / "cpu,cpuacct").mkdir()
    (cgroups / "cpu,cpuacct" / "cpu.cfs_quota_us").write_text("100000\n")
    (cgroups / "cpu,cpuacct" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.memory_limits() == (2 * GIB, GIB)
    assert machine.usable_cores() == 1


def test_no_limits_are_no_limits(cgroups: Path) -> None:
    (cgroups / "self").write_text("4:memory:/\n0::/\n")
    (cgroups / "memory").mkdir()
    (cgroups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (cgroups / "memory" / "memory.usage_in_bytes").write_text("5\n")
    write(cgroups, memory_max="max", memory_current=5, cpu_max="max 100000")
    assert machine.memory_limits()[0] == psutil.virtual_memory().total
    assert machine.usable_cores() == len(os.sched_getaffinity(0))


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    before, found = disk_free(tmp_path), disk_free(tmp_path / "runs" / "demo")
    assert abs(before - found) < GIB  # others write meanwhile


def test_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for extra, modules in EXTRAS.items():
        packages = [re.split(r"[><=;\[ ]", line)[0] for line in project["optional-dependencies"][extra]]
        assert [package.replace("-", "_") for package in packages] == list(modules)


def test_a_module_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a_folder_of_that_name").mkdir()  # importable as a namespace, yet no package
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(EXTRAS, "eval", ("torch", "no_such_module", "a_folder_of_that_name"))
    assert missing_modules("eval") == ("no_such_module", "a_folder_of_that_name")


def test_the_speed_of_matrix_products_is_measured_in_the_time_given() -> None:
    begun = time.perf_counter()
    rate = matmul_rate(seconds=0.1, width=256)
    assert time.perf_counter() - begun < 5
    assert 1e8 < rate < 1e14


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 B"), (999, "999 B"), (25_325_268_992, "25.3 GB"), (1_500_000_000_000, "1.5 TB")],
)
def test_bytes_are_written_as_people_do(count: int, written: str) -> None:
    assert format_bytes(count) == written
