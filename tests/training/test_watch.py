import json
import re
from pathlib import Path
from typing import Any

import pytest
from ranks import on_ranks
from ranks_that_train import train_until_ended

from tokka.training.watch import _verdict


def report(beat: int, *waits: str, what: str = "computing") -> dict[str, Any]:
    return {"beat": beat, "step": 7, "what": what, "seconds": 900, "waits": list(waits), "at": "f (a.py:1)"}


WAITS = "in all_reduce 31 of group mesh_data"


def test_who_waits_in_no_collective_while_others_do_hangs():
    before = {rank: report(1, WAITS) for rank in range(3)}
    now = {0: report(2, WAITS), 1: report(2, what="waiting for data"), 2: report(2, WAITS)}
    assert _verdict(before, now, 3) == (
        "rank 1 hangs: step 7, waiting for data for 900 s, in no collective, in f (a.py:1); "
        f"rank 0 waits: step 7, computing for 900 s, {WAITS}, in f (a.py:1); "
        f"rank 2 waits: step 7, computing for 900 s, {WAITS}, in f (a.py:1)"
    )


def test_who_gives_no_sign_of_life_hangs_whatever_it_last_did():
    before = {0: report(1, WAITS), 1: report(5, WAITS)}
    now = {0: report(2, WAITS), 1: report(5, WAITS)}
    said = _verdict(before, now, 3)
    assert said.startswith(
        "rank 1 hangs: it gives no sign of life any more, last in step 7, computing; "
        "rank 2 hangs: it has given no sign of life; rank 0 waits: "
    )


def test_when_all_wait_for_each_other_each_one_is_told():
    before = {rank: report(1, WAITS) for rank in range(2)}
    now = {0: report(2, WAITS), 1: report(2, "in broadcast 4 of group decisions")}
    said = _verdict(before, now, 2)
    assert said.startswith("no rank gets on, and all wait for each other; rank 0 waits: step 7, ")
    assert "rank 1 waits: step 7, computing for 900 s, in broadcast 4 of group decisions" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            "hang",
            r"rank 1 hangs: step 5, computing for \d+ s, in no collective, in _sleep_for_ever \(faults\.py:",
        ),
        ("freeze", r"rank 1 hangs: it gives no sign of life any more, last in step \d, "),
    ],
)
def test_a_rank_that_hangs_is_named_with_the_collectives_that_others_wait_in(
    fault: str, told: str, tmp_path: Path
):
    with pytest.raises(AssertionError, match=r"rank \d died"):
        on_ranks(2, train_until_ended, tmp_path, "dp2", f"{fault} rank=1 step=5", 0.15)
    error = json.loads(next(tmp_path.glob("error-*.json")).read_text())
    said = error["message"]["message"]
    assert re.search(told, said), said
    assert re.search(r"rank 0 waits: step 5, computing for \d+ s, in \w+ \d+ of group \w+, in \w+ \(", said)
