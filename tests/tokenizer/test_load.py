import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tokka.tokenizer.load import load_tokenizer, save_copy
from tokka.tokenizer.patterns import pre_tokenizer


def edited(folder, to, **changes):
    """Copy a tokenizer and change its ``tokenizer_config.json``."""
    shutil.copytree(folder, to)
    path = to / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return to


@settings(max_examples=500, deadline=None)
@given(st.text())
@example("  \t\n\r\n \u00a0\u2003 x  ")
@example("e\u0301 \u0301 a\u0308\u0323 ﬁ \ufeff\u200b\u00ad")
@example("👩‍👩‍👧‍👦🏴\U000e0067\U000e007f🇫🇮")
@example("\x00\x01\x7f\x80\ufffd\ufffe\uffff\u0378\U000323b0\U0010ffff")
@example("</s><s> <|user|>a<|assistant|>")
@example("n't 'll I'm , . ! ?")
def test_any_text_survives_encoding_and_decoding(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode_batch([text])[0]) == text
    assert tokenizer.decode(tokenizer.encode_batch_exactly([text])[0]) == text


@given(st.text(st.characters(codec=None), min_size=1).filter(lambda text: not text.isascii()))
@settings(deadline=None)
def test_a_lone_surrogate_is_refused_and_nothing_else(tokenizer, text):
    for encode in (tokenizer.encode_batch, tokenizer.encode_batch_exactly):
        if any("\ud800" <= character <= "\udfff" for character in text):
            with pytest.raises(ValueError, match="text 1 has the lone surrogate"):
                encode(["fine", text])
        else:
            encode(["fine", text])


def test_a_special_token_in_a_text_is_plain_text(tokenizer):
    special = set(tokenizer.specials.values())
    for name in tokenizer.specials:
        for text in (name, f"a{name}b", f" {name} ", name * 3):
            assert not special & set(tokenizer.encode(text)), text
            assert not special & set(tokenizer.encode_batch([text])[0].tolist()), text
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_allowed_special_token_is_one_and_only_that(tokenizer):
    text = "<|user|>Translate: yes</s> <|assistant|>kyllä<|user|>"
    user, assistant = tokenizer.specials["<|user|>"], tokenizer.specials["<|assistant|>"]
    ids = tokenizer.encode(text, ["<|user|>", "<|assistant|>"])
    assert [id for id in ids if id in tokenizer.specials.values()] == [user, assistant, user]
    assert tokenizer.encode_batch([text], ["<|assistant|>", "<|user|>"])[0].tolist() == ids
    assert tokenizer.decode(ids) == text
    only = tokenizer.encode(text, ["<|assistant|>"])
    assert [id for id in only if id in tokenizer.specials.values()] == [assistant]


def test_an_allowed_special_token_that_is_none_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"<\|nobody\|>: no special token of"):
        tokenizer.encode_batch(["a"], ["<|nobody|>"])


def test_ids_of_special_tokens_and_bytes_that_are_no_text_are_decoded(tokenizer):
    assert tokenizer.decode([tokenizer.bos_id, *tokenizer.encode("hei"), tokenizer.eos_id]) == "<s>hei</s>"
    half = tokenizer.encode("漢")[:1]
    assert tokenizer.decode(np.array(half, np.int32)) == "\ufffd"


def test_a_tokenizer_can_be_sent_to_a_process_and_copied(tokenizer, tmp_path):
    sent = pickle.loads(pickle.dumps(tokenizer))
    save_copy(tokenizer, tmp_path)
    for other in (sent, load_tokenizer(tmp_path)):
        assert other.digest == tokenizer.digest
        assert other.size == 3000
        assert other.encode("Hyvää yötä") == tokenizer.encode("Hyvää yötä")


def test_the_digest_tells_tokenizers_and_their_end_tokens_apart(trained, tmp_path):
    other_end = edited(trained("bloom"), tmp_path / "other", eos_token="<|assistant|>")
    digests = {load_tokenizer(folder).digest for folder in (trained("bloom"), trained("llama3"), other_end)}
    assert len(digests) == 3
    assert load_tokenizer(other_end).eos_id == 5


def test_gpt2_has_the_ids_of_transformers(tmp_path, shared_data, finnish):
    raw = shared_data / "tokenizers" / "gpt2"
    vocab = json.loads(gzip.decompress((raw / "encoder.json.gz").read_bytes()))
    lines = gzip.decompress((raw / "vocab.bpe.gz").read_bytes()).decode().split("\n")[1:50001]
    gpt2 = Tokenizer(models.BPE(vocab, [tuple(line.split(" ")) for line in lines]))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    gpt2.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=gpt2, eos_token=end).save_pretrained(tmp_path)
    ours, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert (ours.size, ours.eos_id, ours.bos_id) == (50257, 50256, None)
    assert [ids.tolist() for ids in ours.encode_batch(finnish)] == theirs(finnish).input_ids


def test_a_special_token_of_the_configuration_alone_is_one(tmp_path):
    vocab = {"a": 0, "<": 1, "e": 2, ">": 3, "<e>": 4}
    Tokenizer(models.BPE(vocab, [])).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<e>", "pad_token": "<nowhere>"}')
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.specials, tokenizer.eos_id, tokenizer.pad_id) == ({"<e>": 4}, 4, None)
    assert tokenizer.encode("a<e>") == [0, 1, 2, 3]
    assert tokenizer.encode("a<e>", tokenizer.specials) == [0, 4]


def test_a_tokenizer_made_like_llama_3s_goes_through_gigatoken(tmp_path, finnish):
    """Special tokens beyond the vocabulary, whole words looked up before merging, a beginning added."""
    pytest.importorskip("gigatoken")
    llama = Tokenizer(models.BPE(ignore_merges=True))
    llama.pre_tokenizer, llama.decoder = pre_tokenizer("llama3"), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, show_progress=False)
    llama.train_from_iterator(finnish, trainer)
    llama.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    llama.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 1000)]
    )
    roles = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    PreTrainedTokenizerFast(tokenizer_object=llama, **roles).save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    assert (ours.size, ours.bos_id, ours.eos_id, ours.pad_id) == (1003, 1000, 1001, None)
    assert ours.backend == "gigatoken"
    for text in [*finnish[:30], "a<|eot_id|>b <|end_of_text|>"]:
        ids = ours.encode_batch([text])[0].tolist()
        assert ids == ours.encode(text)
        assert max(ids) < 1000
        assert ours.decode(ids) == text
        every = llama.encode(text, add_special_tokens=False).ids
        assert ours.encode_batch([text], ours.specials)[0].tolist() == every


def test_a_beginning_that_transformers_adds_is_not_added(tmp_path, trained):
    shutil.copytree(trained("llama3"), tmp_path / "bos")
    path = str(tmp_path / "bos" / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(path)
    assert AutoTokenizer.from_pretrained(tmp_path / "bos")("hei").input_ids[0] == 1
    assert load_tokenizer(tmp_path / "bos").encode("hei") == load_tokenizer(trained("llama3")).encode("hei")


def test_a_unigram_tokenizer_is_loaded_and_encoded_by_tokenizers(tmp_path, finnish):
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer, unigram.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    unigram.train_from_iterator(finnish[:30], trainer)
    PreTrainedTokenizerFast(tokenizer_object=unigram, eos_token="</s>", unk_token="<unk>").save_pretrained(
        tmp_path
    )
    ours = load_tokenizer(tmp_path)
    assert ours.backend == "tokenizers"
    assert ours.encode(finnish[0]) == unigram.encode(finnish[0]).ids
    assert ours.eos_id not in ours.encode("a </s>")


def test_the_size_covers_the_largest_id(tmp_path):
    gaps = Tokenizer(models.BPE({"a": 0, "b": 7}, []))
    gaps.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).size == 8


def test_a_slow_tokenizer_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(
        ValueError, match=r"has no tokenizer.json, so it is a slow tokenizer or none; save it"
    ):
        load_tokenizer(tmp_path)


def test_a_tokenizer_with_code_of_its_own_is_refused(tmp_path, trained):
    code = {"AutoTokenizer": ["tokenization_mine.MyTokenizer", None]}
    folder = edited(trained("bloom"), tmp_path / "own", auto_map=code)
    with pytest.raises(ValueError, match="needs Python code of its own"):
        load_tokenizer(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {}}', "\x00"])
def test_a_damaged_tokenizer_json_is_refused_by_name(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_what_is_neither_here_nor_on_the_hub_is_refused():
    script = """
from tokka.tokenizer.load import load_tokenizer
for name in ("nobody/nothing", "no such/folder/anywhere"):
    try:
        load_tokenizer(name)
    except ValueError as error:
        print(error)
"""
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    said = subprocess.run(
        [sys.executable, "-c", script], env=offline, capture_output=True, text=True, check=True
    )
    first, second = said.stdout.splitlines()
    assert first.startswith("there is no folder nobody/nothing, and the hub does not give it: ")
    assert second.startswith("there is no folder no such/folder/anywhere, and the hub does not give it: ")


def test_a_tokenizer_of_the_hubs_cache_is_loaded_without_a_network(tmp_path, trained):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--herd--tokenizer"
    shutil.copytree(trained("bloom"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    script = "from tokka.tokenizer.load import load_tokenizer; print(load_tokenizer('herd/tokenizer').digest)"
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    said = subprocess.run(
        [sys.executable, "-c", script], env=offline, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == load_tokenizer(trained("bloom")).digest
