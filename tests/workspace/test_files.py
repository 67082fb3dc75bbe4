"""Files and folders that are whole or not there, also when the writer is killed at any moment."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.workspace import files
from tokka.workspace.files import (
    digest_file,
    digest_json,
    read_json,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)


def _names(folder):
    return [path.name for path in folder.iterdir()]


def _write_half(aside):
    (aside / "half" if aside.is_dir() else aside).write_text("half")
    raise RuntimeError


# Whole files


def test_a_file_appears_with_its_content_and_its_folder(tmp_path):
    path = tmp_path / "a" / "b.txt"
    with whole_file(path) as aside:
        aside.write_text("text")
        assert not path.exists()
    assert path.read_text() == "text"
    assert _names(path.parent) == ["b.txt"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as aside:
        _write_half(aside)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error_and_changes_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass
    assert path.read_text() == "old"


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    names = {pid: tmp_path / f".a.txt.{pid}.part" for pid in (killed.pid, 1)}
    other = tmp_path / f".b.txt.{killed.pid}.part"
    for leftover in (*names.values(), other):
        leftover.touch()
    write_text(tmp_path / "a.txt", "text")
    assert not names[killed.pid].exists()
    assert names[1].exists()
    assert other.exists()


def test_a_name_with_wildcards_is_only_a_name(tmp_path):
    write_text(tmp_path / "a[1]*?.txt", "text")
    write_text(tmp_path / "a[1]*?.txt", "new")
    assert (tmp_path / "a[1]*?.txt").read_text() == "new"


# Whole folders


def _fill(folder, generation, *, count=3):
    (folder / "inside").mkdir()
    for number in range(count):
        (folder / "inside" / str(number)).write_text(f"{generation}\n" * 1000)
    (folder / "link").symlink_to("inside/0")


def _generations(folder):
    """Return what the files of a folder say; a whole one says one thing in each of its three files."""
    found = [path.read_text() for path in sorted((folder / "inside").iterdir())]
    assert len(found) == 3
    assert all(text.count("\n") == 1000 for text in found)
    return {line for text in found for line in text.split()}


@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "in two steps"])
def test_a_folder_is_replaced_as_a_whole(tmp_path, exchange, monkeypatch):
    if not exchange:  # as on a disk that cannot do it
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    path = tmp_path / "a" / "folder"
    for generation in range(3):
        with whole_folder(path) as aside:
            _fill(aside, generation)
            assert path.exists() == (generation > 0)
        assert _generations(path) == {str(generation)}
        assert (path / "link").is_symlink()
        assert _names(path.parent) == ["folder"]


def test_a_block_that_fails_leaves_the_old_folder_and_nothing_else(tmp_path):
    path = tmp_path / "folder"
    with whole_folder(path) as aside:
        _fill(aside, 1)
    with pytest.raises(RuntimeError), whole_folder(path) as aside:
        _write_half(aside)
    assert _generations(path) == {"1"}
    assert _names(tmp_path) == ["folder"]


def test_read_only_files_can_be_part_of_a_folder(tmp_path):
    with whole_folder(tmp_path / "folder") as aside:
        (aside / "a").write_text("x")
        (aside / "a").chmod(0o444)
    assert (tmp_path / "folder" / "a").read_text() == "x"


# Killed at any moment

_WRITER = """
    import itertools, sys
    from pathlib import Path
    from tokka.workspace.files import whole_file, whole_folder
    path = Path(sys.argv[2])
    for generation in itertools.count(1):
        if sys.argv[1] == "file":
            with whole_file(path) as aside:
                aside.write_text(f"{generation}\\n" * 100_000)
        else:
            with whole_folder(path) as aside:
                (aside / "inside").mkdir()
                for number in range(3):
                    (aside / "inside" / str(number)).write_text(f"{generation}\\n" * 1000)
        print(generation, flush=True)
"""


def _kill_while_it_writes(kind, path, chance):
    """Start a writer, watch it for a moment in which ``path`` must never be missing, and kill it."""
    command = [sys.executable, "-c", textwrap.dedent(_WRITER), kind, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        until = time.monotonic() + chance.uniform(0, 0.05)
        seen = 0
        while time.monotonic() < until:
            assert path.exists()
            seen += 1
        os.kill(writer.pid, signal.SIGKILL)
    return seen


def test_a_file_whose_writer_is_killed_is_the_old_or_the_new_one(tmp_path):
    path, chance = tmp_path / "file", random.Random(0)
    for _ in range(12):
        assert _kill_while_it_writes("file", path, chance) >= 0
        lines = path.read_text().split("\n")
        assert len(lines) == 100_001
        assert len(set(lines[:-1])) == 1
    write_text(path, "last")
    assert _names(tmp_path) == ["file"]  # nothing of the killed ones is left


def test_a_folder_whose_writer_is_killed_is_the_old_or_the_new_one(tmp_path):
    path, chance = tmp_path / "folder", random.Random(1)
    for _ in range(12):
        _kill_while_it_writes("folder", path, chance)
        assert len(_generations(path)) == 1
    with whole_folder(path) as aside:
        _fill(aside, 0)
    assert _names(tmp_path) == ["folder"]


# JSON and digests

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=10,
)


def test_json_is_written_for_people_and_read_back(tmp_path):
    content = {"kieli": "suomi ä", "rows": [1, 2.5, None]}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert (tmp_path / "a.json").read_bytes().startswith('{\n  "kieli": "suomi ä",\n'.encode())


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == 1


def test_digests_are_sha_256(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest_file(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")
    assert digest_file(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
    assert digest_json("abc") == "6cc43f858fbb763301637b5af970e2a46b46f461f27e5a0f41e009c59b827b25"
    assert digest_json(Path("a/b")) == digest_json("a/b")


@given(_JSON)
def test_a_digest_is_of_the_content_not_of_its_order_or_writing(content):
    again = json.loads(json.dumps(content, indent=3))
    if isinstance(again, dict):
        again = dict(reversed(again.items()))
    assert digest_json(again) == digest_json(content)
    assert digest_json([content]) != digest_json(content)
