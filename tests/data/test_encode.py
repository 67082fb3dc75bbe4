import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tokka.data import encode
from tokka.data.encode import encode_corpus, specials_in
from tokka.data.indexed import IndexedDataset
from tokka.data.store import TokenStore
from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer import encoders
from tokka.tokenizer.load import load_tokenizer
from tokka.tokenizer.train import train_tokenizer

SAMPLE = "poro jäkälä tunturi on ja ei lumi satoi hiljaa, yö. 42 ( a ) </s> <|user|> 😀"
KILLED = """
import sys
from pathlib import Path
from tokka.data import encode
from tokka.data.encode import encode_corpus
from tokka.tokenizer.load import load_tokenizer
encode._WORTH_A_PROCESS = 1
if __name__ == "__main__":
    corpus, folder, tokenizer = map(Path, sys.argv[1:])
    encode_corpus(corpus, folder, load_tokenizer(tokenizer), workers=2)
"""


def make_texts(count, seed=0):
    draw, words = random.Random(seed), [*SAMPLE.split(), "\n"]
    return [" ".join(draw.choices(words, k=draw.randint(1, 60))) for _ in range(count)]


def write_shard(folder, number, texts, split="train"):
    folder.mkdir(parents=True, exist_ok=True)
    files = pa.array([f"file-{index % 3}.jsonl" for index in range(len(texts))])
    records = pa.array(range(1, len(texts) + 1), pa.int64())
    table = pa.table({"text": texts, "file": files.dictionary_encode(), "record": records})
    pq.write_table(table, folder / f"{split}-{number:05d}.parquet", compression="zstd")


def content(folder):
    """Return the digest of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tokenizer of each pattern."""
    made = {}
    for pattern in ("bloom", "llama3"):
        made[pattern] = tmp_path_factory.mktemp(pattern)
        specials = ["<unk>", "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]
        section = TrainedTokenizer(
            vocab_size=330, pattern=pattern, special_tokens=specials, sample_bytes=50_000
        )
        train_tokenizer(section, {"fi": make_texts(300)}, made[pattern])
    return made


@pytest.fixture
def tokenizer(folders):
    return load_tokenizer(folders["llama3"])


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus" / "finnish"
    for number in range(3):
        write_shard(folder, number, make_texts(200, number))
    write_shard(folder, 0, ["held out, never encoded"], "heldout")
    return folder


TEXTS = [text for number in range(3) for text in make_texts(200, number)]


@pytest.mark.parametrize("pattern", ["bloom", "llama3"])
def test_every_document_is_there_in_order_closed_by_the_end_token(corpus, tmp_path, folders, pattern):
    tokenizer = load_tokenizer(folders[pattern])
    facts = encode_corpus(corpus, tmp_path / "tokens", tokenizer, workers=1)
    store = TokenStore(tmp_path / "tokens")
    found = [store.read(index, 0, store.size(index)).tolist() for index in range(len(store))]
    assert found == [[*tokenizer.encode(text), tokenizer.eos_id] for text in TEXTS]
    assert all(ids.count(tokenizer.eos_id) == 1 for ids in found)
    assert [tokenizer.decode(ids[:-1]) for ids in found] == TEXTS
    assert store.origin(200) == ("file-0.jsonl", 1)
    assert store.origin(304) == ("file-2.jsonl", 105)
    size = sum(len(text.encode()) for text in TEXTS)
    assert facts["documents"] == 600
    assert facts["tokens"] == store.tokens == sum(map(len, found))
    assert facts["bytes"] == size
    assert facts["bytes_per_token"] == size / store.tokens
    assert facts["backend"] == tokenizer.backend
    assert facts["megabytes_per_second"] > 0


def test_the_shards_of_a_corpus_are_those_of_the_tokens(corpus, tmp_path, tokenizer):
    encode_corpus(corpus, tmp_path / "tokens", tokenizer, workers=1)
    assert [len(IndexedDataset(tmp_path / "tokens" / f"0000{number}")) for number in range(3)] == [200] * 3


def test_the_number_of_processes_does_not_change_a_byte(corpus, tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(encode, "_WORTH_A_PROCESS", 1)
    encode_corpus(corpus, tmp_path / "one", tokenizer, workers=1)
    encode_corpus(corpus, tmp_path / "two", tokenizer, workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_what_is_finished_is_not_encoded_again(corpus, tmp_path, tokenizer):
    first = encode_corpus(corpus, tmp_path / "tokens", tokenizer, workers=1)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "tokens").iterdir()}
    second = encode_corpus(corpus, tmp_path / "tokens", tokenizer, workers=1)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tokens").iterdir()} == times
    assert second == first | {"megabytes_per_second": None}


def test_a_changed_shard_or_a_damaged_file_is_encoded_again_and_nothing_else(corpus, tmp_path, tokenizer):
    tokens = tmp_path / "tokens"
    encode_corpus(corpus, tokens, tokenizer, workers=1)
    expected, untouched = content(tokens), (tokens / "00001.bin").stat().st_mtime_ns
    (tokens / "00000.bin").write_bytes(b"\x00")
    (tokens / "00002.idx").unlink()
    encode_corpus(corpus, tokens, tokenizer, workers=1)
    assert content(tokens) == expected
    write_shard(corpus, 2, ["uusi"])
    assert encode_corpus(corpus, tokens, tokenizer, workers=1)["documents"] == 401
    assert (tokens / "00001.bin").stat().st_mtime_ns == untouched


def test_another_tokenizer_encodes_everything_again(corpus, tmp_path, folders):
    tokens = tmp_path / "tokens"
    encode_corpus(corpus, tokens, load_tokenizer(folders["bloom"]), workers=1)
    encode_corpus(corpus, tokens, load_tokenizer(folders["llama3"]), workers=1)
    encode_corpus(corpus, tmp_path / "fresh", load_tokenizer(folders["llama3"]), workers=1)
    assert content(tokens) == content(tmp_path / "fresh")


def test_what_another_tokenizer_left_unfinished_is_not_taken_for_the_firsts(
    corpus, tmp_path, folders, monkeypatch
):
    first, second = (load_tokenizer(folders[pattern]) for pattern in ("bloom", "llama3"))
    encode_corpus(corpus, tmp_path / "tokens", first, workers=1)
    expected = content(tmp_path / "tokens")
    with monkeypatch.context() as stopped:
        stopped.delattr(encode, "write_json")  # as if killed before the record of the first shard
        with pytest.raises(NameError):
            encode_corpus(corpus, tmp_path / "tokens", second, workers=1)
    encode_corpus(corpus, tmp_path / "tokens", first, workers=1)
    assert content(tmp_path / "tokens") == expected


def test_shards_that_the_corpus_no_longer_has_go(corpus, tmp_path, tokenizer):
    encode_corpus(corpus, tmp_path / "tokens", tokenizer, workers=1)
    (corpus / "train-00002.parquet").unlink()
    facts = encode_corpus(corpus, tmp_path / "tokens", tokenizer, workers=1)
    assert facts["documents"] == len(TokenStore(tmp_path / "tokens")) == 400
    assert not list((tmp_path / "tokens").glob("00002*"))


def test_special_tokens_of_a_template_are_tokens_where_they_are_allowed(tmp_path, folders):
    template = "<|user|>Translate: {en} <|assistant|>{fi}"
    text = "<|user|>Translate: it ends</s> <|assistant|>se loppuu"
    write_shard(tmp_path / "corpus", 0, [text])
    for pattern, folder in folders.items():
        tokenizer = load_tokenizer(folder)
        allowed = specials_in([template], tokenizer)
        assert allowed == ("<|assistant|>", "<|user|>")
        facts = encode_corpus(tmp_path / "corpus", tmp_path / pattern, tokenizer, allowed_specials=allowed)
        ids = TokenStore(tmp_path / pattern).read(0, 0, facts["tokens"]).tolist()
        assert [id for id in ids if id in tokenizer.specials.values()] == [4, 5, 2]
        assert (ids[0], ids[-1]) == (4, 2)
        assert tokenizer.decode(ids) == text + "</s>"
        assert facts["allowed_specials"] == list(allowed)
        plain = encode_corpus(tmp_path / "corpus", tmp_path / pattern, tokenizer)
        ids = TokenStore(tmp_path / pattern).read(0, 0, plain["tokens"]).tolist()
        assert [id for id in ids if id in tokenizer.specials.values()] == [2]


def test_a_tokenizer_without_an_end_token_is_refused(corpus, tmp_path, folders):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "tokenizer.json").write_bytes((folders["bloom"] / "tokenizer.json").read_bytes())
    with pytest.raises(ValueError, match="has no end token"):
        encode_corpus(corpus, tmp_path / "tokens", load_tokenizer(tmp_path / "bare"))


@pytest.mark.parametrize("stated", [{"add_bos_token": True}, {"template": True}, {}], ids=str)
def test_documents_begin_as_the_tokenizer_begins_a_text(tmp_path, folders, stated):
    """As Llama 3's does by its template, and Llama 2's by its configuration."""
    shutil.copytree(folders["llama3"], tmp_path / "tokenizer")
    written, settings = (
        tmp_path / "tokenizer" / name for name in ("tokenizer.json", "tokenizer_config.json")
    )
    if stated.get("template"):
        single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        specials = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
        template = {
            "type": "TemplateProcessing",
            "single": single,
            "pair": single,
            "special_tokens": specials,
        }
        written.write_text(json.dumps(json.loads(written.read_text()) | {"post_processor": template}))
    else:
        settings.write_text(json.dumps(json.loads(settings.read_text()) | stated))
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    write_shard(tmp_path / "corpus", 0, TEXTS[:20])
    facts = encode_corpus(tmp_path / "corpus", tmp_path / "tokens", tokenizer, workers=1)
    store = TokenStore(tmp_path / "tokens")
    found = [store.read(index, 0, store.size(index)).tolist() for index in range(len(store))]
    before = [1] if stated else []
    assert found == [[*before, *tokenizer.encode(text), 2] for text in TEXTS[:20]]
    begin = "<s> (1)" if stated else "nothing"
    assert facts["convention"].startswith(f"documents begin with {begin} and end with </s> (2); padding is")


def test_another_beginning_encodes_everything_again(corpus, tmp_path, folders):
    encode_corpus(corpus, tmp_path / "tokens", load_tokenizer(folders["llama3"]), workers=1)
    shutil.copytree(folders["llama3"], tmp_path / "tokenizer")
    settings = tmp_path / "tokenizer" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"add_bos_token": True}))
    facts = encode_corpus(corpus, tmp_path / "tokens", load_tokenizer(tmp_path / "tokenizer"), workers=1)
    assert facts["tokens"] == TokenStore(tmp_path / "tokens").tokens
    assert TokenStore(tmp_path / "tokens").read(0, 0, 1).tolist() == [1]


def test_an_empty_corpus_is_no_tokens(tmp_path, tokenizer):
    write_shard(tmp_path / "corpus", 0, [])
    facts = encode_corpus(tmp_path / "corpus", tmp_path / "tokens", tokenizer)
    assert (facts["documents"], facts["tokens"], facts["bytes_per_token"]) == (0, 0, None)
    assert len(TokenStore(tmp_path / "tokens")) == 0


def test_tokenizers_encodes_a_shard_on_which_gigatoken_differs(
    corpus, tmp_path, folders, monkeypatch, capsys
):
    encode_corpus(corpus, tmp_path / "right", load_tokenizer(folders["llama3"]), workers=1)
    tokenizer = load_tokenizer(folders["llama3"])
    assert tokenizer.backend == "gigatoken"
    wrong = encoders.GigatokenEncoder.encode_batch
    monkeypatch.setattr(
        encoders.GigatokenEncoder,
        "encode_batch",
        lambda self, texts: [np.append(ids, ids[-1:]) for ids in wrong(self, texts)],
    )
    facts = encode_corpus(corpus, tmp_path / "tokens", tokenizer, workers=1)
    assert facts["backend"] == "tokenizers"
    assert "train-00000.parquet: gigatoken and tokenizers differ" in capsys.readouterr().err
    for number in range(3):
        for suffix in (".bin", ".idx"):
            name = f"0000{number}{suffix}"
            assert (tmp_path / "tokens" / name).read_bytes() == (tmp_path / "right" / name).read_bytes()


@pytest.mark.slow
def test_an_encoding_killed_at_any_moment_ends_with_the_same_bytes(tmp_path, folders):
    corpus = tmp_path / "corpus"
    for number in range(8):
        write_shard(corpus, number, make_texts(4000, number))
    encode_corpus(corpus, tmp_path / "whole", load_tokenizer(folders["bloom"]), workers=2)
    command = [sys.executable, "-c", KILLED, corpus, tmp_path / "tokens", folders["bloom"]]
    draw = random.Random(5)
    for _ in range(6):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.5, 4))
        process.kill()
        process.wait()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert content(tmp_path / "tokens") == content(tmp_path / "whole")


@pytest.mark.slow
def test_real_finnish_is_encoded_and_decoded_whole(tmp_path, shared_data):
    import gzip

    import orjson

    with gzip.open(shared_data / "text" / "fi" / "wikipedia_fi_train.jsonl.gz") as lines:
        texts = [orjson.loads(line)["text"] for line in lines]
    write_shard(tmp_path / "corpus", 0, texts[:500])
    write_shard(tmp_path / "corpus", 1, texts[500:])
    section = TrainedTokenizer(vocab_size=8000, pattern="bloom", sample_bytes=10**6)
    train_tokenizer(section, {"fi": texts}, tmp_path / "tokenizer")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    encode_corpus(tmp_path / "corpus", tmp_path / "tokens", tokenizer, workers=os.cpu_count())
    store = TokenStore(tmp_path / "tokens")
    decoded = [tokenizer.decode(store.read(index, 0, store.size(index) - 1)) for index in range(len(store))]
    assert decoded == texts
