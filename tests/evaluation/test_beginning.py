"""What stands before a document."""

import json
import shutil

import pytest

from tokka.evaluation.beginning import Beginning, beginning_of
from tokka.tokenizer.load import load_tokenizer


def test_it_is_the_end_token_where_the_tokenizer_adds_nothing(tokenizer_folder):
    assert beginning_of(load_tokenizer(tokenizer_folder("plain"))) == Beginning(2, added=False)


def test_it_is_the_token_that_the_tokenizer_adds(tokenizer_folder):
    assert beginning_of(load_tokenizer(tokenizer_folder("bos"))) == Beginning(1, added=True)


def test_without_an_end_token_there_is_none(tokenizer_folder, tmp_path):
    folder = tmp_path / "tokenizer"
    shutil.copytree(tokenizer_folder("plain"), folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="names no end token"):
        beginning_of(load_tokenizer(folder))
