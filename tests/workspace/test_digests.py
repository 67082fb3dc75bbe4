"""Digests that are kept while files stay as they are."""

import hashlib
import os

from tokka.workspace import digests
from tokka.workspace.digests import digest_files


def test_digests_are_those_of_the_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"reindeer")
    (tmp_path / "b").write_bytes(b"")
    found = digest_files({name: tmp_path / name for name in "ab"}, tmp_path / "cache.json")
    assert found == {"a": hashlib.sha256(b"reindeer").hexdigest(), "b": hashlib.sha256(b"").hexdigest()}


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(tmp_path, monkeypatch):
    path, cache, read = tmp_path / "a", tmp_path / "cache.json", []
    path.write_bytes(b"one")
    digest_files({"a": path}, cache)
    real = digests.digest_file
    monkeypatch.setattr(digests, "digest_file", lambda path: read.append(path.name) or real(path))
    digest_files({"a": path}, cache)
    assert read == []
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert digest_files({"a": path}, cache) == {"a": hashlib.sha256(b"two").hexdigest()}
    assert read == ["a"]


def test_a_damaged_cache_is_made_anew(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "cache.json").write_text("{half")
    assert digest_files({"a": tmp_path / "a"}, tmp_path / "cache.json")
