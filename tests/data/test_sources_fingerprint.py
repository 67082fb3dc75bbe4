import hashlib
import os

import pytest

from tokka.data.sources.files import SourceError
from tokka.data.sources.fingerprint import fingerprint
from tokka.recipe.sources import HubDataset, Source

TXT = Source(path="c", language="fi")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_every_input_file_has_the_digest_of_its_content(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.txt").write_bytes(b"one")
    (tmp_path / "c" / "b.txt").write_bytes(b"two")
    expected = {"c/a.txt": sha256(b"one"), "c/b.txt": sha256(b"two")}
    assert fingerprint(TXT, tmp_path, tmp_path / "cache.json") == expected


def test_a_file_is_read_again_only_when_size_or_time_changed(tmp_path):
    path, cache = tmp_path / "c" / "a.txt", tmp_path / "cache.json"
    path.parent.mkdir()
    path.write_bytes(b"one")
    first = fingerprint(TXT, tmp_path, cache)
    status = path.stat()
    path.write_bytes(b"TWO")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(TXT, tmp_path, cache) == first  # it looks unchanged, so it was not read
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert fingerprint(TXT, tmp_path, cache) == {"c/a.txt": sha256(b"TWO")}


def test_sources_share_a_cache_and_a_damaged_one_is_made_anew(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one")
    (tmp_path / "b.txt").write_bytes(b"two")
    cache = tmp_path / "cache.json"
    cache.write_text("{ half a ca")
    for name, data in (("a.txt", b"one"), ("b.txt", b"two")):
        assert fingerprint(Source(path=name, language="fi"), tmp_path, cache) == {name: sha256(data)}
    assert len(cache.read_text().splitlines()) == 4  # two entries in braces


def test_both_halves_of_a_megatron_pair_and_a_local_tokenizer_count(tmp_path):
    for name in ("t.bin", "t.idx", "tok/tokenizer.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    source = Source(path="t", language="fi", tokenizer="tok")
    found = fingerprint(source, tmp_path, tmp_path / "cache.json")
    assert found == {name: sha256(name.encode()) for name in ("t.bin", "t.idx", "tok/tokenizer.json")}


def test_a_local_data_set_is_all_its_files_and_one_of_the_hub_is_its_revision(tmp_path, monkeypatch):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "train.jsonl").write_bytes(b"{}")
    local = Source(hub=HubDataset(id="mini"), language="fi")
    assert fingerprint(local, tmp_path, tmp_path / "cache.json") == {"mini/train.jsonl": sha256(b"{}")}
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    remote = Source(hub=HubDataset(id="org/name", revision="ab" * 20), language="fi")
    assert fingerprint(remote, tmp_path, tmp_path / "cache.json") == {"hub:org/name": "ab" * 20}
    with pytest.raises(SourceError, match="does not tell the commit of org/name"):
        fingerprint(Source(hub=HubDataset(id="org/name"), language="fi"), tmp_path, tmp_path / "cache.json")
