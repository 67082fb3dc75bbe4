"""Tasks for worker processes; they are imported there by name, so they need a module of their own."""

import os
import signal
import time
from pathlib import Path


def square(task, advance):
    folder, number = task
    (folder / str(number)).write_text(f"{number**2} {os.getpid()}")
    advance(number)


def fail(task, advance):
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError(f"cannot do {task}")


def linger(task, advance):
    Path(task).write_text(str(os.getpid()))
    time.sleep(600)
