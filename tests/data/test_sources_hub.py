import gzip
import io
import json
import os
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer, Repository, serve

from tokka.data.corpus import read_documents
from tokka.data.documents import Document, Reason
from tokka.data.sources.files import SourceError
from tokka.data.sources.read import find_inputs, read_source
from tokka.recipe.sources import HubDataset, Source

datasets = pytest.importorskip("datasets")


def read(root, template=None, **hub):
    return list(read_source(Source(hub=HubDataset(**hub), language="fi", template=template), root))


@pytest.fixture
def folder(tmp_path):
    """A local data set of two splits and two configurations."""
    data = tmp_path / "sets" / "mini"
    (data / "en").mkdir(parents=True)
    for part in range(2):
        rows = [{"text": f"part {part} row {row}", "n": row} for row in range(3)]
        (data / f"train-{part:05d}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (data / "test-00000.jsonl").write_text('{"text": "held"}\n')
    (data / "en" / "train.jsonl").write_text('{"text": "in English"}\n')
    (data / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train, path: 'train-*.jsonl'}\n  - {split: test, path: 'test-*.jsonl'}\n"
        "- config_name: en\n  data_files: en/*.jsonl\n---\n"
    )
    return tmp_path


def test_a_local_folder_is_streamed_a_shard_a_file(folder):
    found = read(folder, id="sets/mini")
    assert found == [
        Document(f"part {part} row {row}", f"sets/mini/train-{part:05d}.jsonl", row + 1)
        for part in range(2)
        for row in range(3)
    ]
    assert len(find_inputs(Source(hub=HubDataset(id="sets/mini"), language="fi"), folder)) == 2


def test_split_and_configuration_are_chosen(folder):
    assert read(folder, id="sets/mini", split="test") == [Document("held", "sets/mini/test-00000.jsonl", 1)]
    assert read(folder, id="sets/mini", name="en") == [Document("in English", "sets/mini/en/train.jsonl", 1)]


def test_a_template_works_on_rows(folder):
    found = read(folder, id="sets/mini", split="test", template=["<{text}>", "{text}{n}"])
    assert [item.reason for item in found] == [Reason.MISSING_FIELD]
    assert [d.text for d in read(folder, id="sets/mini", split="test", template=["<{text}>"])] == ["<held>"]


def test_what_save_to_disk_wrote_is_read(tmp_path):
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["c"]})}).save_to_disk(
        tmp_path / "two"
    )
    assert [d.text for d in read(tmp_path, id="one")] == ["a", "b"]
    assert [d.text for d in read(tmp_path, id="two")] == ["c"]


def test_a_damaged_line_costs_no_other(folder):
    (folder / "sets" / "mini" / "train-00001.jsonl").write_bytes(
        b'{"text": "a"}\n{"text": "b"\n{"text": "c"}'
    )
    found = read(folder, id="sets/mini")
    assert [item.text for item in found[:3]] == [f"part 0 row {row}" for row in range(3)]
    assert [found[3].text, found[4].reason, found[5].text] == ["a", Reason.BROKEN_JSON, "c"]


def test_the_rest_of_a_damaged_shard_of_another_format_is_one_rejected_record(tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "train.csv").write_bytes(b'text\na\n"b\n')
    (tmp_path / "sets" / "README.md").write_text(
        "---\nconfigs: [{config_name: d, data_files: train.csv}]\n---"
    )
    found = read(tmp_path, id="sets")
    assert found[-1].reason == Reason.DAMAGED_FILE
    assert found[-1].excerpt


def test_a_folder_with_a_loading_script_is_refused_and_the_script_never_run(folder):
    script = folder / "sets" / "mini" / "mini.py"
    script.write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with pytest.raises(SourceError, match=r"hub.id: sets/mini has a loading script, mini.py"):
        read(folder, id="sets/mini")
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("hub", "says"),
    [
        (
            {"id": "sets/mini", "split": "nothing"},
            "hub.split: sets/mini has no split 'nothing'; it has train, test",
        ),
        ({"id": "sets/mini", "name": "nothing"}, "hub: sets/mini cannot be opened .*nothing"),
        ({"id": "./sets/other"}, "hub.id: there is no folder"),
    ],
)
def test_what_is_not_there_is_an_error_that_begins_with_the_key(folder, hub, says):
    with pytest.raises(SourceError, match=says):
        read(folder, **hub)


def test_without_the_extra_one_line_names_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match=r"pip install 'tokka\[hub\]'"):
        read(folder, id="sets/mini")


# Over a connection


ROWS = [f"part {part} row {row} " + "sana " * (row % 40) for part in range(3) for row in range(200)]


def _files():
    """Return two data sets: JSON Lines, plain and packed; and Parquet with another column."""
    lines = [[json.dumps({"text": text}).encode() + b"\n" for text in ROWS[at : at + 200]] for at in (0, 200)]
    table = pa.table({"text": ROWS[400:], "other": [random.Random(0).random() for _ in range(200)]})
    parquet = io.BytesIO()
    pq.write_table(table, parquet, row_group_size=50)
    return {
        "README.md": b"---\nconfigs:\n- config_name: default\n  data_files: data/*\n---\n",
        "data/a.jsonl": b"".join(lines[0]),
        "data/b.jsonl.gz": gzip.compress(b"".join(lines[1])),
    }, {"data/c.parquet": parquet.getvalue()}


@pytest.fixture(scope="module")
def hub():
    lines, parquet = _files()
    bad = {
        "drops": {"drop_after": 3000},
        "stalls": {"stall_after": 1000},
        "is-busy": {"busy": 3},
        "works": {},
    }
    repositories = {f"lines/{name}": Repository(lines, **how) for name, how in bad.items()}
    repositories |= {f"parquet/{name}": Repository(parquet, **how) for name, how in bad.items()}
    repositories["lines/gated"] = Repository(lines, gated=True)
    with serve(HubServer(repositories)) as server:
        yield server


def _build(hub, folder, *names, **environment):
    """Build the corpora of data sets in a process that knows this hub; return it."""
    program = (
        "import json, sys; from pathlib import Path; from tokka.data.corpus import build_corpus; "
        "from tokka.recipe.sources import Source; from tokka.data.sources import remote\n"
        "remote._LONGEST_WAIT = 0.05\n"
        "for name in sys.argv[2:]:\n"
        "    source = Source(hub={'id': name}, language='fi')\n"
        "    folder = Path(sys.argv[1], 'corpora', name)\n"
        "    try:\n"
        "        build_corpus(name, source, folder, root=Path(sys.argv[1]), heldout=0, workers=1)\n"
        "    except Exception as error:\n"
        "        print(f'{type(error).__name__}: {error}')\n"
    )
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home"), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    return subprocess.run(
        [sys.executable, "-c", program, str(folder), *names],
        env=os.environ | {"HF_HUB_OFFLINE": "0"} | settings | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def _texts(folder, name):
    return [document.text for document in read_documents(folder / "corpora" / name, "train")]


def test_over_a_bad_connection_no_record_is_lost_or_doubled(hub, tmp_path):
    names = [name for name in hub.repositories if not name.endswith("gated")]
    done = _build(hub, tmp_path, *names)
    assert done.stdout == ""
    for name in names:
        assert _texts(tmp_path, name) == (ROWS[:400] if name.startswith("lines") else ROWS[400:]), name
    assert {
        document.file for document in read_documents(tmp_path / "corpora" / "lines" / "works", "train")
    } == {
        "lines/works/data/a.jsonl",
        "lines/works/data/b.jsonl.gz",
    }


def test_a_gated_data_set_names_the_page_and_the_command(hub, tmp_path):
    done = _build(hub, tmp_path, "lines/gated")
    page = f"{hub.url}/datasets/lines/gated"
    assert f"lines/gated is gated; accept its terms on {page} and run `hf auth login`" in done.stdout


def test_a_build_that_lost_the_hub_goes_on_with_the_same_bytes(hub, tmp_path):
    large = b"".join(json.dumps({"text": f"{n} " + "sana " * 40}).encode() + b"\n" for n in range(800))
    files = {f"data/{part}.jsonl": large for part in "ab"}
    hub.repositories["lines/large"] = Repository(files, drop_after=len(large) // 4)
    hub.served.clear()
    hub.down_after = len(large) * 3 // 2
    lost = _build(hub, tmp_path, "lines/large")
    assert (
        "HubError: lines/large/data/b.jsonl: 12 connections in a row gave nothing after byte" in lost.stdout
    )
    hub.down_after = None
    hub.served.clear()
    assert _build(hub, tmp_path, "lines/large").stdout == ""
    assert hub.served.keys() == {"data/b.jsonl"}
    whole = tmp_path / "whole"
    whole.mkdir()
    _build(hub, whole, "lines/large")
    for path in (whole / "corpora" / "lines" / "large").glob("*.parquet"):
        assert (tmp_path / "corpora" / "lines" / "large" / path.name).read_bytes() == path.read_bytes()


def test_a_local_mirror_gives_the_same_documents_by_the_same_names(hub, tmp_path):
    for name, content in hub.repositories["lines/works"].files.items():
        path = tmp_path / "lines" / "works" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = read(tmp_path, id="lines/works")
    assert [item.text for item in found] == ROWS[:400]
    assert {item.file for item in found} == {"lines/works/data/a.jsonl", "lines/works/data/b.jsonl.gz"}
