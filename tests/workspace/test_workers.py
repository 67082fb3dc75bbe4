import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from worker_tasks import fail, square

from tokka.workspace.workers import run_tasks


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(tmp_path, workers):
    run_tasks(square, [(tmp_path, n) for n in range(5)], workers=workers, what="squares", total=10)
    written = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
    assert {name: result for name, (result, _) in written.items()} == {str(n): str(n**2) for n in range(5)}
    here = str(os.getpid())
    assert all((process == here) == (workers == 1) for _, process in written.values())


def test_nothing_to_do_is_done_at_once():
    run_tasks(fail, [], workers=4, what="nothing", total=None)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_task_is_raised(workers):
    with pytest.raises(ValueError, match="cannot do this"):
        run_tasks(fail, ["this", "this"], workers=workers, what="failing", total=None)


def test_a_killed_process_is_an_error_that_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"a process was killed .* run again to go on"):
        run_tasks(fail, ["die", "die"], workers=2, what="dying", total=None)


def test_no_process_outlives_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from worker_tasks import linger\n"
        "from tokka.workspace.workers import run_tasks\n"
        "if __name__ == '__main__':\n"
        "    run_tasks(linger, sys.argv[1:], workers=2, what='lingering', total=None)\n"
    )
    files = [tmp_path / "one", tmp_path / "two"]
    parent = subprocess.Popen([sys.executable, str(script), *map(str, files)])
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    children = [int(file.read_text()) for file in files]
    assert all(psutil.pid_exists(child) for child in children)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(alive(child) for child in children))


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
