"""The record of a finished stage."""

import json
import platform
from dataclasses import asdict, replace
from importlib.metadata import version

import pytest

from tokka.workspace.files import digest_file, write_json
from tokka.workspace.manifest import Manifest, describe_outputs, package_versions


@pytest.fixture
def manifest():
    return Manifest(
        stage="tokens/finnish",
        key="k" * 64,
        inputs={"tokenizer": "t" * 64},
        recipe={"workers": 2},
        outputs={"00000.bin": {"bytes": 3, "sha256": "s" * 64}},
        facts={"tokens": 12_345, "language": "suomi ä"},
        seconds=1.5,
    )


def test_a_manifest_is_read_as_it_was_written(tmp_path, manifest):
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert json.loads((tmp_path / "manifest.json").read_text()) == asdict(manifest)


def test_a_stage_without_a_manifest_is_unfinished(tmp_path):
    assert Manifest.read(tmp_path) is None
    assert Manifest.read(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", "{}", '{"stage": "a"}', '{"stage": "a", "colour": "red"}', "\xff"]
)
def test_a_damaged_manifest_is_refused_with_the_remedy(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"is not a manifest \(.+\); remove it to run the stage again"):
        Manifest.read(tmp_path)


def test_a_manifest_of_a_newer_version_is_refused_not_misread(tmp_path, manifest):
    write_json(tmp_path / "manifest.json", asdict(manifest) | {"invented_later": 1})
    with pytest.raises(ValueError, match="invented_later"):
        Manifest.read(tmp_path)


def test_the_digest_tells_outputs_apart_and_nothing_else(manifest):
    assert replace(manifest, seconds=9.0, facts={}, versions={}).digest == manifest.digest
    assert replace(manifest, outputs={"00000.bin": {"bytes": 3, "sha256": "x"}}).digest != manifest.digest
    assert replace(manifest, outputs={"00001.bin": manifest.outputs["00000.bin"]}).digest != manifest.digest


def test_outputs_are_described_by_size_and_hash_each_once(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.bin", "a.bin", "deep/er/c.json", "notes.txt"):
        (tmp_path / name).write_text(name)
    found = describe_outputs(tmp_path, ("*.bin", "a.*", "**/*.json"))
    assert list(found) == ["a.bin", "b.bin", "deep/er/c.json"]
    assert found["a.bin"] == {"bytes": 5, "sha256": digest_file(tmp_path / "a.bin")}


def test_versions_name_python_and_what_decides_a_result():
    found = package_versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == version("torch")
    assert all(found.values())
