import json
import sys

import pytest

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
        Document(f"part {part} row {row}", f"sets/mini/train/{part:05d}", row + 1)
        for part in range(2)
        for row in range(3)
    ]
    assert len(find_inputs(Source(hub=HubDataset(id="sets/mini"), language="fi"), folder)) == 2


def test_split_and_configuration_are_chosen(folder):
    assert read(folder, id="sets/mini", split="test") == [Document("held", "sets/mini/test/00000", 1)]
    assert read(folder, id="sets/mini", name="en") == [Document("in English", "sets/mini/en/train/00000", 1)]


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


def test_the_rest_of_a_damaged_shard_is_one_rejected_record(folder):
    (folder / "sets" / "mini" / "train-00001.jsonl").write_bytes(b'{"text": "a"}\n{"text": "b"\n')
    found = read(folder, id="sets/mini")
    assert [item.text for item in found[:3]] == [f"part 0 row {row}" for row in range(3)]
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
        ({"id": "sets/mini", "split": "nothing"}, "hub: sets/mini cannot be opened .*nothing"),
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
