"""Being asked to stop: the step is finished and saved first."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(SystemExit):
    """A signal asked the run to stop, and its state is saved; ends the process unless it is caught."""


class StopRequest:
    """Whether SIGTERM or SIGINT came; ``signal`` is its number, 0 while none did."""

    signal = 0


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT while the block runs; a second one acts as it always does.

    Under torchrun a second one is ignored: a scheduler signals every process, the agent then passes its own
    signal on, and kills by itself whoever takes too long.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
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
