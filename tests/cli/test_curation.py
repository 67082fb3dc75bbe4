"""``tokka corpus build``: sources are read and curated from the command line, and looked at."""

import json

import pytest
from corpus_of_pages import write_pages
from workshop import tokka

pytest.importorskip("datatrove")

RECIPE = """
name: small
sources:
  pages: {path: in, language: fi, curate: true}
mixture: {pages: {percent: 100}}
tokenizer: {train: {vocab_size: 1024}}
model:
  {architecture: llama, n_layers: 2, d_model: 64, n_heads: 4, n_kv_heads: 4, d_ffn: 128, vocab_size: 1024}
training: {tokens: 64K, sequence_length: 128, batch_tokens: 2048, optimizer: {lr: 1.0e-3}}
release: {repo: a/b}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    write_pages(folder / "in", files=2)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def test_a_corpus_is_built_once_and_can_be_looked_at(place):
    command = ("corpus", "build", "recipe.yaml", "--out", "run")
    done = tokka(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    facts = json.loads((place / "run/corpus/pages/manifest.json").read_text())["facts"]
    assert facts["curation"]["documents"] == facts["documents"] + facts["removed"]["documents"]
    assert not (place / "run/tokenizer").exists()
    assert "everything is up to date" in tokka(*command, cwd=place).stderr
    assert "other_language" in tokka("corpus", "look", "run", cwd=place, COLUMNS="200").stdout


def test_slurm_without_a_partition_is_one_clear_message(place):
    done = tokka("corpus", "build", "recipe.yaml", "--out", "other", "--executor", "slurm", cwd=place)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("tokka: --executor slurm needs --partition")
