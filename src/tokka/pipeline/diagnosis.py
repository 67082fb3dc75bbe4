"""What this machine has, what a recipe needs, and what it lacks here; for ``tokka doctor``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokka.pipeline.needs import TRAINING_BYTES, Needs, needs_of
from tokka.pipeline.preflight import check
from tokka.recipe.load import Problem
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import format_size
from tokka.workspace.machine import Machine, describe, format_bytes, matmul_rate

Row = tuple[str, str]


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        machine: what this process can use.
        matmul_flops: FLOP/s of bf16 matrix products, measured just now.
        needs: of the recipe; None without one.
        seconds: that the recipe's training takes at the least, were it all matrix products at that rate.
        problems: what the recipe lacks here.
    """

    machine: Machine
    matmul_flops: float
    needs: Needs | None = None
    seconds: float | None = None
    problems: tuple[Problem, ...] = ()

    def sections(self) -> dict[str, list[Row]]:
        """Return the diagnosis as titled rows of name and value."""
        sections = {"This machine has": list(_machine_rows(self.machine, self.matmul_flops))}
        if self.needs is not None:
            sections["The recipe needs, at the least"] = list(_needs_rows(self.needs, self.seconds))
            sections["It lacks" if self.problems else "It lacks nothing"] = []
        return sections


def diagnose(recipe: Recipe | None, *, root: Path, folder: Path) -> Diagnosis:
    """Look at this machine and, with a recipe, at what that needs; takes seconds.

    Args:
        recipe: a valid recipe, or None.
        root: where its relative paths begin.
        folder: where its results are to go.
    """
    machine, rate = describe(folder, accelerators=True), matmul_rate()
    if recipe is None:
        return Diagnosis(machine, rate)
    needs = needs_of(recipe)
    return Diagnosis(
        machine,
        rate,
        needs=needs,
        seconds=None if needs.flops is None else needs.flops / rate,
        problems=tuple(check(recipe, root, folder=folder)),
    )


def _machine_rows(machine: Machine, rate: float) -> Iterator[Row]:
    yield "system", f"{machine.system}; {machine.libc or 'no glibc, whose allocator tokka would tune'}"
    bf16 = machine.bf16 or "none: training computes in fp32"
    yield "processor", f"{machine.processor}, {machine.cores} cores for this process; bf16 by {bf16}"
    yield "memory", f"{format_bytes(machine.memory)}, {format_bytes(machine.memory_available)} free"
    for device in machine.accelerators or ():
        yield "GPU", f"{device.name}, {format_bytes(device.memory)}"
    if not machine.accelerators:
        yield "GPU", "none that torch can use"
    yield "disk", f"{format_bytes(machine.disk_free)} free"
    yield "compiler", machine.compiler or "none in C; torch.compile would need one"
    yield "packages", ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    for extra, missing in machine.extras.items():
        lacks = f"not installed ({', '.join(missing)}); pip install 'tokka[{extra}]'"
        yield f"extra {extra}", lacks if missing else "installed"
    yield "speed", f"{rate / 1e12:.2f} TFLOP/s in bf16 matrix products (measured now)"


def _needs_rows(needs: Needs, seconds: float | None) -> Iterator[Row]:
    yield "parameters", format_size(needs.parameters)
    yield "memory", f"{format_bytes(needs.memory)}, {TRAINING_BYTES} bytes a parameter; activations add to it"
    token_bytes = sum(needs.token_bytes.values())
    if token_bytes:
        yield "disk", f"{format_bytes(token_bytes)} for the tokens of sources that declare a size"
    if needs.training_bytes is not None:
        yield "disk", f"{format_bytes(needs.training_bytes)} for revisions and checkpoints"
    if needs.tokens is None or needs.flops is None or seconds is None:
        yield "time", "unknown until the mixture decides the tokens"
    else:
        work = f"{format_size(needs.tokens)} tokens of {needs.flops / needs.tokens / 1e9:.3g} GFLOP each"
        yield "time", f"{_duration(seconds)}, estimated for {work}"
        yield "", "all at the speed above; real training reaches a part of it"


def _duration(seconds: float) -> str:
    for unit, length in (("years", 365 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
