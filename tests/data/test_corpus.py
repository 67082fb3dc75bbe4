import gzip
import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tokka.data import group, shards
from tokka.data.corpus import build_corpus, read_documents, read_rejected, sample_rejected
from tokka.data.documents import Reason
from tokka.data.sources.files import SourceError
from tokka.recipe.sources import HubDataset, Source

KILLED_BUILD = """
import sys
from pathlib import Path
from tokka.data import group, shards
from tokka.data.corpus import build_corpus
from tokka.recipe.sources import Source
group._GROUP_BYTES = 200_000
if __name__ == "__main__":
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    build_corpus("x", Source(path="in", language="fi"), folder, root=root, heldout=0.05, workers=2)
"""


def build(root, folder, source=None, heldout=0.05, workers=1):
    source = source or Source(path="in", language="fi")
    return build_corpus("x", source, folder, root=root, heldout=heldout, workers=workers)


def write_lines(path, texts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def documents(folder):
    return {split: list(read_documents(folder, split)) for split in ("train", "heldout")}


def texts(folder, split):
    return sorted(document.text for document in read_documents(folder, split))


def content(folder):
    """Return the digest of every file of a corpus."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture
def mixed(tmp_path):
    """Files of several formats, good records and bad ones."""
    folder = tmp_path / "in"
    write_lines(folder / "a.jsonl", [f"line {n}" for n in range(500)])
    (folder / "b.jsonl.gz").write_bytes(
        gzip.compress(b'{"text": "in gzip"}\nbroken\n{"text": 1}\n' * 100)[:-4]
    )
    pq.write_table(pa.table({"text": [f"row {n}" for n in range(500)] + [None]}), folder / "c.parquet")
    (folder / "d.txt").write_text("a text file")
    (folder / "e.txt").write_bytes(b"\xff\xff")
    (folder / "f.jsonl").write_bytes(b"")
    return tmp_path


def test_every_record_is_kept_or_kept_aside_and_counted(mixed, tmp_path):
    facts = build(mixed, tmp_path / "out")
    kept, aside = documents(tmp_path / "out"), list(read_rejected(tmp_path / "out"))
    assert facts["files"] == 6
    assert facts["records"] == 500 + 301 + 501 + 1 + 1
    assert facts["documents"] == len(kept["train"]) + len(kept["heldout"]) == 500 + 100 + 500 + 1
    assert facts["rejected"] == Counter(entry.reason for entry in aside)
    assert facts["rejected"] == {
        "broken_json": 100,
        "not_text": 100,
        "missing_field": 1,
        "invalid_utf8": 1,
        "truncated_archive": 1,
    }
    for split in ("train", "heldout"):
        assert facts[split]["documents"] == len(kept[split])
        assert facts[split]["bytes"] == sum(len(document.text.encode()) for document in kept[split])
        assert facts[split]["shards"] == len(list((tmp_path / "out").glob(f"{split}-*.parquet"))) == 1
    assert facts["examples"]["broken_json"][0] == {
        "file": "in/b.jsonl.gz",
        "record": 2,
        "reason": "broken_json",
        "bytes": 6,
        "records": 1,
    }
    assert len(facts["examples"]["broken_json"]) == 3
    assert json.loads(json.dumps(facts)) == facts


def test_shards_have_the_stated_columns_and_order(mixed, tmp_path):
    build(mixed, tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out" / "train-00000.parquet")
    assert schema.names == ["text", "file", "record"]
    assert schema.types == [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.int64()]
    order = [(document.file, document.record) for document in read_documents(tmp_path / "out", "train")]
    assert order == sorted(order)


def test_large_sources_are_cut_into_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 20_000)
    monkeypatch.setattr(shards, "_ROW_GROUP_BYTES", 5_000)
    monkeypatch.setattr(group, "_GROUP_BYTES", 50_000)
    expected = {}
    for part in range(4):
        expected[part] = [f"part {part} line {n} " + "ö" * 40 for n in range(300)]
        write_lines(tmp_path / "in" / f"{part}.jsonl", expected[part])
    facts = build(tmp_path, tmp_path / "out", heldout=0.0)
    paths = shards.shard_paths(tmp_path / "out", "train")
    assert len(paths) == facts["train"]["shards"] > 4
    assert [path.name for path in paths] == [f"train-{n:05d}.parquet" for n in range(len(paths))]
    found = list(read_documents(tmp_path / "out", "train"))
    assert [document.text for document in found] == [text for part in range(4) for text in expected[part]]
    sizes = [sum(len(d.text.encode()) for d in shards.read_shard(path)) for path in paths]
    assert max(sizes) <= 25_100


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_nothing(mixed, tmp_path, workers, monkeypatch):
    monkeypatch.setattr(group, "_GROUP_BYTES", 1000)
    one, several = build(mixed, tmp_path / "one"), build(mixed, tmp_path / "several", workers=workers)
    assert one == several
    assert content(tmp_path / "one") == content(tmp_path / "several")


def test_a_finished_corpus_is_not_built_again_and_another_source_begins_anew(mixed, tmp_path):
    out = tmp_path / "out"
    first = build(mixed, out)
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert build(mixed, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
    (mixed / "in" / "c.parquet").unlink()
    (mixed / "in" / "b.jsonl.gz").unlink()
    (mixed / "in" / "e.txt").unlink()
    assert build(mixed, out)["rejected"] == {}
    assert not list(out.glob("rejected-*"))
    assert len(texts(out, "train")) + len(texts(out, "heldout")) == 501


def build_interrupted(root, folder, monkeypatch):
    """Build until all is read, and stop while the third shard is moved to its place."""
    replace, moves = Path.replace, []

    def interrupted(self, target):
        if str(target).endswith(".parquet"):
            moves.append(target)
            if len(moves) == 3:
                raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(group, "_GROUP_BYTES", 1000)
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(root, folder)


def test_a_build_killed_while_it_numbers_its_shards_goes_on(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(group, "_GROUP_BYTES", 1000)
    build(mixed, tmp_path / "whole")
    build_interrupted(mixed, tmp_path / "out", monkeypatch)
    assert build(mixed, tmp_path / "out")["files"] == 6
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_build_does_not_go_on_with_what_was_read_from_other_inputs(mixed, tmp_path, monkeypatch):
    build_interrupted(mixed, tmp_path / "out", monkeypatch)
    (mixed / "in" / "d.txt").write_text("another text file")
    build(mixed, tmp_path / "out")
    build(mixed, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_build_killed_at_any_moment_ends_with_the_same_bytes(tmp_path):
    chance = random.Random(0)
    for part in range(12):
        write_lines(tmp_path / "in" / f"{part:02d}.jsonl", [chance.randbytes(60).hex() for _ in range(4000)])
    (tmp_path / "in" / "12.jsonl").write_bytes(b"broken\n" * 1000)
    script = tmp_path / "build.py"
    script.write_text(KILLED_BUILD)
    command = [sys.executable, str(script), str(tmp_path)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    seen, out = set(), tmp_path / "out"
    for kill_after in (1, 3):
        process = subprocess.Popen([*command, str(out)])
        done = len(list(out.glob(".work/0*")))
        while process.poll() is None and len(list(out.glob(".work/0*"))) < done + kill_after:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        process.kill()
        process.wait()
        seen.add(len(list(out.glob(".work/0*"))))
    assert len(seen) > 1, "it was killed in the middle, more than once"
    subprocess.run([*command, str(out)], check=True)
    assert content(out) == content(tmp_path / "whole")
    assert not (out / ".work").exists()


def test_held_out_documents_are_those_of_the_hash_in_every_order_file_and_source(tmp_path):
    lines = [f"text {n}" for n in range(2000)]
    held = sorted(t for t in lines if int(blake2b(t.encode(), digest_size=8).hexdigest(), 16) < 0.05 * 2**64)
    assert 50 < len(held) < 160
    write_lines(tmp_path / "a" / "in" / "x.jsonl", lines)
    random.Random(0).shuffle(lines)
    write_lines(tmp_path / "b" / "in" / "y.jsonl", lines[:700])
    pq.write_table(pa.table({"text": [*lines[700:], "another"]}), tmp_path / "b" / "in" / "z.parquet")
    for root in ("a", "b"):
        build(tmp_path / root, tmp_path / root / "out")
        assert texts(tmp_path / root / "out", "heldout") == held
    assert not set(held) & set(texts(tmp_path / "b" / "out", "train"))


def test_both_directions_of_a_translation_go_to_the_same_side(shared_data, tmp_path):
    source = Source(path="parallel", language="fi", template=["{en} = {fi}", "{fi} = {en}"])
    facts = build(shared_data, tmp_path / "out", source, heldout=0.1)
    assert facts["records"] == 1000
    assert facts["documents"] == 2000
    sides = {
        split: Counter(document.record for document in found)
        for split, found in documents(tmp_path / "out").items()
    }
    assert set(sides["train"].values()) == set(sides["heldout"].values()) == {2}
    assert not sides["train"].keys() & sides["heldout"].keys()
    assert 50 < len(sides["heldout"]) < 150


def test_rejected_records_can_be_looked_at(tmp_path):
    write_lines(tmp_path / "in" / "a.jsonl", ["fine"])
    bad = [b"broken %d" % n for n in range(1000)] + [b'{"text": ""}'] * 1000
    (tmp_path / "in" / "b.jsonl").write_bytes(b"\n".join(bad))
    build(tmp_path, tmp_path / "out")
    sample = sample_rejected(tmp_path / "out", 200)
    assert len({entry.record for entry in sample}) == 200
    assert [entry.record for entry in sample] == sorted(entry.record for entry in sample)
    assert 60 < sum(entry.reason == Reason.EMPTY for entry in sample) < 140
    assert all(entry.excerpt == bad[entry.record - 1] for entry in sample)
    assert sample == sample_rejected(tmp_path / "out", 200)
    assert sample != sample_rejected(tmp_path / "out", 200, seed=1)
    only = sample_rejected(tmp_path / "out", 5000, reason=Reason.BROKEN_JSON)
    assert [entry.record for entry in only] == list(range(1, 1001))


def test_a_source_that_is_all_noise_is_read_to_its_end(tmp_path):
    noise = random.Random(1)
    (tmp_path / "in").mkdir()
    for suffix in (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt", ".txt.gz", ".json", ".md.zst"):
        (tmp_path / "in" / f"noise{suffix}").write_bytes(noise.randbytes(300_000))
    facts = build(tmp_path, tmp_path / "out", workers=2)
    assert facts["documents"] == 0
    assert facts["records"] == sum(facts["rejected"].values()) > 8
    assert texts(tmp_path / "out", "train") == []


def test_a_local_data_set_of_the_hub_library_becomes_a_corpus(tmp_path):
    pytest.importorskip("datasets")
    for part in range(3):
        write_lines(tmp_path / "set" / f"train-{part}.jsonl", [f"{part} {n}" for n in range(10)])
    source = Source(hub=HubDataset(id="set"), language="fi")
    facts = build(tmp_path, tmp_path / "out", source, heldout=0.0)
    assert (facts["files"], facts["documents"]) == (3, 30)
    assert texts(tmp_path / "out", "train") == sorted(f"{part} {n}" for part in range(3) for n in range(10))


def test_a_source_that_cannot_be_read_is_named_with_its_key(tmp_path):
    with pytest.raises(SourceError, match=r"^sources\.x\.path: 'in' matches no file below"):
        build(tmp_path, tmp_path / "out")


def test_documents_of_a_corpus_that_is_not_there_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="build the corpus first"):
        next(read_documents(tmp_path / "nothing", "train"))


def test_real_finnish_text_survives_unchanged(shared_data, tmp_path):
    source = Source(path="text/fi/wikipedia_fi_train.jsonl.gz", language="fi")
    facts = build(shared_data, tmp_path / "out", source, heldout=0.01)
    with gzip.open(shared_data / "text/fi/wikipedia_fi_train.jsonl.gz", "rt", encoding="utf-8") as file:
        expected = sorted(json.loads(line)["text"] for line in file)
    assert sorted(texts(tmp_path / "out", "train") + texts(tmp_path / "out", "heldout")) == expected
    assert facts["bytes"] == sum(len(text.encode()) for text in expected)
