"""Progress: plain lines where nobody watches, a bar on a terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import textwrap
import time

import pytest

from tokka.workspace import progress as module
from tokka.workspace.progress import progress, say

_WORK = """
    import time
    from tokka.workspace.progress import progress, say
    with progress("reading", 2_000_000, "B") as bar:
        for step in range(20):
            bar.advance(100_000, note=f"file {step}")
            time.sleep(0.03)
        say("a message")
"""


def test_plain_lines_give_count_share_rate_time_left_and_note(capsys, monkeypatch):
    monkeypatch.setattr(module, "_LOG_EVERY_SECONDS", 0.05)
    with progress("training", 4_000_000, "tokens") as bar:
        bar.advance(1_000_000, note="loss 3.21")
        time.sleep(0.1)
        bar.advance(1_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    form = r"training: 2\.0M tokens of 4\.0M \(50%\), [\d.]+[KM] tokens/s, 0:00 left, loss 3\.21"
    assert re.fullmatch(form, lines[0])


def test_plain_lines_come_no_oftener_than_they_should(capsys, monkeypatch):
    monkeypatch.setattr(module, "_LOG_EVERY_SECONDS", 0.1)
    begun = time.monotonic()
    with progress("reading", None, "B") as bar:
        while time.monotonic() - begun < 0.35:
            bar.advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert all("left" not in line for line in lines)  # nobody knows the end


def test_short_work_prints_nothing_where_nobody_watches():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_WORK)], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr == "a message\n"


def test_work_may_do_more_than_was_announced(capsys, monkeypatch):
    monkeypatch.setattr(module, "_LOG_EVERY_SECONDS", 0.0)
    with progress("reading", 10, "B") as bar:
        bar.advance(15)
    assert "(150%)" in (line := capsys.readouterr().err)
    assert "-" not in line


def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left_below_messages():
    terminal, child = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WORK)], stderr=child, env=environment
    ) as work:
        os.close(child)
        shown = _read_all(terminal)
    assert work.returncode == 0
    assert "reading" in shown
    assert "━" in shown
    assert "100%" in shown
    assert re.search(r"[\d.]+[KM] B/s", shown)
    assert re.search(r"\d:\d\d:\d\d", shown)
    assert "file 19" in shown
    assert shown.index("a message") < shown.rindex("file 19")  # the bar is drawn again below it


def _read_all(terminal):
    shown = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    os.close(terminal)
    return shown.decode()


def test_a_message_goes_to_the_user_not_into_the_output(capsys):
    say("hello")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


@pytest.mark.parametrize(
    ("number", "short"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0K"),
        (16_384, "16.4K"),
        (999_990, "1.0M"),
        (1.5e9, "1.5B"),
        (3e12, "3.0T"),
    ],
)
def test_numbers_are_short(number, short):
    assert module._short(number) == short


@pytest.mark.parametrize(("seconds", "clock"), [(0, "0:00"), (61, "1:01"), (3600, "1:00:00"), (-5, "0:00")])
def test_times_are_clocks(seconds, clock):
    assert module._clock(seconds) == clock
