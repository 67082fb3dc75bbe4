"""Being asked to stop: the step is finished and saved first, within a set time."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tokka.workspace.progress import say


class Interrupted(SystemExit):
    """A signal asked the run to stop, and its state is saved; ends the process unless it is caught."""


class StopRequest:
    """Whether SIGTERM or SIGINT came, here or to another rank.

    Attributes:
        signal: its number; 0 while none came.
    """

    def __init__(self, minutes: float) -> None:
        self.signal = 0
        self._minutes = minutes
        self._limit: threading.Timer | None = None

    def note(self, number: int) -> None:
        """Count the time from now; when it is over, the process ends as it is."""
        if not self.signal:
            self.signal = number
            self._limit = threading.Timer(60 * self._minutes, self._give_up)
            self._limit.daemon = True
            self._limit.start()

    def withdraw(self) -> None:
        if self._limit is not None:
            self._limit.cancel()

    def _give_up(self) -> None:
        say(
            f"training: not saved within {self._minutes:g} minutes of {signal.Signals(self.signal).name} "
            f"(training.limits.stop_minutes); ending. The same command goes on from the checkpoint before"
        )
        os._exit(128 + self.signal)


@contextmanager
def stop_on_signal(*, minutes: float) -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT while the block runs, which must then end within ``minutes``.

    A second signal acts as it always does. Under torchrun it is ignored: a scheduler signals every process,
    and the agent then passes its own signal on.
    """
    request = StopRequest(minutes)
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        request.note(number)
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            restore()

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield request
    finally:
        restore()
        request.withdraw()
