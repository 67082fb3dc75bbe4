"""Progress of long work: a bar with rate and end time on a terminal, plain log lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LOG_EVERY_SECONDS = 10.0


def say(message: str) -> None:
    """Print one line for the user, above a running bar if there is one."""
    print(message, file=sys.stderr, flush=True)


class Progress:
    """Counts work done; ``advance`` is cheap enough for an inner loop."""

    def __init__(self, what: str, total: float | None, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0.0
        self.note = ""
        self._begun = self._shown = time.monotonic()

    def advance(self, amount: float, note: str = "") -> None:
        """Count ``amount`` more units as done; ``note`` replaces the text shown at the end of the line."""
        self.done += amount
        self.note = note or self.note
        now = time.monotonic()
        if now - self._shown >= _LOG_EVERY_SECONDS:
            self._shown = now
            self._show(now)

    def _show(self, now: float) -> None:
        rate = self.done / max(now - self._begun, 1e-9)
        parts = [f"{self.what}: {_short(self.done)} {self.unit}"]
        if self.total:
            parts[0] += f" of {_short(self.total)} ({self.done / self.total:.0%})"
        parts.append(f"{_short(rate)} {self.unit}/s")
        if self.total and rate > 0:
            parts.append(f"{_clock((self.total - self.done) / rate)} left")
        say(", ".join([*parts, self.note] if self.note else parts))


class _Bar(Progress):
    def __init__(self, what: str, total: float | None, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__(what, total, unit)
        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._task = self.bar.add_task(what, total=total, rate="", note="")

    def advance(self, amount: float, note: str = "") -> None:
        self.done += amount
        rate = self.done / max(time.monotonic() - self._begun, 1e-9)
        self.note = note or self.note
        self.bar.update(self._task, advance=amount, rate=f"{_short(rate)} {self.unit}/s", note=self.note)


@contextmanager
def progress(what: str, total: float | None, unit: str) -> Iterator[Progress]:
    """Show the progress of ``what`` while the block runs; ``total`` in ``unit``, or None where unknown."""
    if sys.stderr.isatty():
        bar = _Bar(what, total, unit)
        with bar.bar:
            yield bar
    else:
        yield Progress(what, total, unit)


def _short(number: float) -> str:
    if number < 1000:
        return f"{number:.0f}"
    power = 1
    while power < 4 and round(number / 1000**power, 1) >= 1000:
        power += 1
    return f"{number / 1000**power:.1f}{' KMBT'[power]}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
