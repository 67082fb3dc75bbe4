"""Taking documents out of a corpus: nothing is lost, and the reason is kept."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_corpora import digests, write_corpus

from tokka.data import shards
from tokka.data.corpus import read_documents, read_removed
from tokka.data.dedup import remove
from tokka.data.dedup.remove import remove_documents


def write_list(path, entries):
    names = ("shard", "row", "step", "reason", "detail")
    rows = [dict(zip(names, entry, strict=True)) for entry in sorted(entries)]
    pq.write_table(
        pa.Table.from_pylist(
            rows, pa.schema([(n, pa.int64() if n == "row" else pa.string()) for n in names])
        ),
        path,
    )
    return path


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3000)
    monkeypatch.setattr(shards, "_ROW_GROUP_BYTES", 1000)
    texts = [f"document {number} " + "ä" * 20 for number in range(300)]
    return write_corpus(tmp_path / "corpus", texts, heldout=[f"held out {number}" for number in range(20)])


def test_every_document_stays_or_goes_and_is_counted(corpus, tmp_path):
    whole = list(read_documents(corpus, "train"))
    rows = [
        (path.stem, row)
        for path in shards.shard_paths(corpus, "train")
        for row in range(pq.read_metadata(path).num_rows)
    ]
    gone = {
        number: (*rows[number], "deduplicate", "near_duplicate", f"0.80 like {number}")
        for number in random.Random(0).sample(range(300), 90)
    }
    lists = [
        write_list(tmp_path / "a.parquet", gone.values()),
        write_list(tmp_path / "b.parquet", [("heldout-00000", 3, "deduplicate", "exact_duplicate", "1.00")]),
    ]
    facts = remove_documents(corpus, tmp_path / "out", lists, workers=1)
    assert list(read_documents(tmp_path / "out", "train")) == [
        d for n, d in enumerate(whole) if n not in gone
    ]
    removed = list(read_removed(tmp_path / "out"))
    assert sorted(removed) == sorted(
        [(*whole[number], *entry[2:]) for number, entry in gone.items()]
        + [("held out 3", "corpus.jsonl", 4, "deduplicate", "exact_duplicate", "1.00")]
    )
    assert facts["documents"] == 210 + 19
    assert facts["train"]["documents"] == 210
    assert facts["heldout"] == {
        "documents": 19,
        "bytes": sum(len(f"held out {n}") for n in range(20) if n != 3),
        "shards": 1,
    }
    assert facts["bytes"] == sum(
        len(d.text.encode())
        for split in ("train", "heldout")
        for d in read_documents(tmp_path / "out", split)
    )
    assert facts["removed"]["documents"] == 91
    assert facts["removed"]["bytes"] == sum(len(each.text.encode()) for each in removed)
    assert facts["removed"]["steps"] == {
        "deduplicate": {
            "documents": 91,
            "bytes": facts["removed"]["bytes"],
            "reasons": {"near_duplicate": 90, "exact_duplicate": 1},
        }
    }


def test_a_shard_that_loses_nothing_is_the_same_file_and_one_that_loses_all_is_not_there(corpus, tmp_path):
    first = pq.read_metadata(corpus / "train-00000.parquet").num_rows
    everything = write_list(
        tmp_path / "a.parquet", [("train-00000", row, "decontaminate", "arc", "x") for row in range(first)]
    )
    facts = remove_documents(corpus, tmp_path / "out", [everything], workers=1)
    assert not (tmp_path / "out" / "train-00000.parquet").exists()
    assert (tmp_path / "out" / "train-00001.parquet").samefile(corpus / "train-00001.parquet")
    assert facts["train"]["documents"] == 300 - first
    assert facts["train"]["shards"] == len(shards.shard_paths(corpus, "train")) - 1


def test_the_reason_of_the_first_list_counts(corpus, tmp_path):
    lists = [
        write_list(
            tmp_path / "a.parquet",
            [
                ("train-00000", 1, "decontaminate", "arc", "first"),
                ("train-00000", 1, "decontaminate", "arc", "second"),
            ],
        ),
        write_list(tmp_path / "b.parquet", [("train-00000", 1, "deduplicate", "near_duplicate", "third")]),
    ]
    facts = remove_documents(corpus, tmp_path / "out", lists, workers=1)
    (removed,) = read_removed(tmp_path / "out")
    assert (removed.step, removed.reason, removed.detail) == ("decontaminate", "arc", "first")
    assert list(facts["removed"]["steps"]) == ["decontaminate"]


def test_stopped_and_called_again_and_with_more_workers_it_ends_with_the_same_bytes(
    corpus, tmp_path, monkeypatch
):
    entries = [
        (path.stem, 0, "deduplicate", "near_duplicate", "x")
        for path in shards.shard_paths(corpus, "train")[::2]
    ]
    lists = [write_list(tmp_path / "a.parquet", entries)]
    facts = remove_documents(corpus, tmp_path / "whole", lists, workers=1)
    calls = []

    def stops(task, advance, divide=remove._divide):
        calls.append(task)
        if len(calls) == 3:
            raise KeyboardInterrupt
        divide(task, advance)

    with monkeypatch.context() as patched:
        patched.setattr(remove, "_divide", stops)
        with pytest.raises(KeyboardInterrupt):
            remove_documents(corpus, tmp_path / "stopped", lists, workers=1)
    monkeypatch.setattr("tokka.data.dedup.records._WORTH_A_PROCESS", 1)
    assert remove_documents(corpus, tmp_path / "stopped", lists, workers=2) == facts
    assert digests(tmp_path / "stopped") == digests(tmp_path / "whole")
