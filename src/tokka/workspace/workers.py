"""Work spread over processes, shown as one progress bar."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from tokka.workspace.progress import Progress, progress

Task = TypeVar("Task")
Advance = Callable[[int], None]
"""Called with the units of work done since the last call."""

_LOOK_EVERY_SECONDS = 0.5


def run_tasks(
    work: Callable[[Task, Advance], None],
    tasks: Sequence[Task],
    *,
    workers: int,
    what: str,
    total: int | None,
    unit: str = "B",
) -> None:
    """Call ``work(task, advance)`` for every task, in ``workers`` fresh processes, or here if one is enough.

    The first error stops the rest and is raised here. The processes end with this one, however it ends: what
    was killed leaves nobody behind who writes into its files.

    Args:
        work: a function of a module, so that it can be sent to a process.
        tasks: what it is called with; picklable.
        workers: processes at most.
        what, total, unit: shown with the progress; ``total`` None where unknown.

    Raises RuntimeError where a process was killed, most often for lack of memory.
    """
    with progress(what, total, unit) as bar:
        if min(workers, len(tasks)) > 1:
            _run_in_processes(work, tasks, min(workers, len(tasks)), bar)
        else:
            for task in tasks:
                work(task, bar.advance)


def _run_in_processes(
    work: Callable[[Task, Advance], None], tasks: Sequence[Task], workers: int, bar: Progress
) -> None:
    context = get_context("spawn")
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(workers, context, _begin, (counter,)) as pool:
        pending = {pool.submit(_run, work, task) for task in tasks}
        try:
            while pending:
                done, pending = wait(pending, _LOOK_EVERY_SECONDS, FIRST_EXCEPTION)
                bar.advance(counter.value - bar.done)
                for future in done:
                    future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"{bar.what}: a process was killed (out of memory?); run again to go on"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_counter: Any = None


def _begin(counter: Any) -> None:
    global _counter
    _counter = counter
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(work: Callable[[Task, Advance], None], task: Task) -> None:
    work(task, _advance)


def _advance(amount: int) -> None:
    with _counter.get_lock():
        _counter.value += amount
