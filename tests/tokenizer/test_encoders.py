import json
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokka.tokenizer import encoders
from tokka.tokenizer.encoders import ExactEncoder, GigatokenEncoder, fastest_encoder
from tokka.tokenizer.load import load_tokenizer
from tokka.tokenizer.patterns import byte_alphabet, pre_tokenizer

pytest.importorskip("gigatoken", reason="gigatoken is an extra: pip install 'tokka[fast]'")

TRICKY = (
    "ab' \n\t\r.,!?(|)0123456789"
    "äÖßжعहि漢한😀👩\u200d👧🇫🇮\u0301\u00a0\u2003…\x00\x1c\x85\u0378\ue000\U000323b0"
    "sStTrReEvVmMlLdD"
)


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def config_of(folder):
    return json.loads((folder / "tokenizer.json").read_text())


@cache
def revealing_config(pattern):
    """A tokenizer that shows where text is cut: a, 1, space, ! and newline merge with any byte beside."""
    alphabet = byte_alphabet()
    vocab = {symbol: id for id, symbol in enumerate(alphabet)}
    merges = []
    for byte in b"a1 !\n":
        for symbol in alphabet:
            for pair in ([alphabet[byte], symbol], [symbol, alphabet[byte]]):
                if "".join(pair) not in vocab:
                    vocab["".join(pair)] = len(vocab)
                    merges.append(pair)
    cutter = json.loads(pre_tokenizer(pattern).__getstate__())
    model = {"type": "BPE", "vocab": vocab, "merges": merges}
    return {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": cutter, "model": model}


@cache
def revealing_encoders(pattern):
    exact = ExactEncoder(revealing_config(pattern))
    return fastest_encoder(revealing_config(pattern), exact), exact


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.text(), st.text(st.sampled_from(TRICKY))), max_size=4))
@example(["", " ", "", "a ", " b"])
@example([])
def test_gigatoken_gives_the_ids_of_tokenizers(tokenizer, texts):
    assert tokenizer.backend == "gigatoken"
    assert equal(tokenizer.encode_batch(texts), tokenizer.encode_batch_exactly(texts))


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from(TRICKY))))
@pytest.mark.parametrize("pattern", ["bloom", "llama3"])
def test_text_is_cut_in_the_same_places(pattern, texts):
    fast, exact = revealing_encoders(pattern)
    assert fast.backend == "gigatoken"
    assert equal(fast.encode_batch(texts), exact.encode_batch(texts))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["bloom", "llama3"])
def test_every_code_point_is_cut_in_the_same_places(pattern):
    fast, exact = revealing_encoders(pattern)
    assert fast.backend == "gigatoken"
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for start in range(0, len(points), 5000):
        texts = [f"a{point}a1{point}1 {point} !{point}!\n{point}\n" for point in points[start : start + 5000]]
        texts = ["".join(texts[part : part + 50]) for part in range(0, len(texts), 50)]
        assert equal(fast.encode_batch(texts), exact.encode_batch(texts)), hex(ord(points[start]))


def test_a_character_too_new_for_one_of_them_goes_through_tokenizers():
    config = revealing_config("llama3")
    exact = ExactEncoder(config)
    texts = ["abc", "a\U000323b0a", "\u0378", "xyz"]
    assert equal(GigatokenEncoder(config, exact).encode_batch(texts), exact.encode_batch(texts))


def test_real_finnish_has_the_same_ids(tokenizer, shared_data):
    import gzip

    with gzip.open(shared_data / "text" / "fi" / "wikipedia_fi_train.jsonl.gz", "rt") as lines:
        texts = [json.loads(line)["text"] for line in lines][:300]
    assert equal(tokenizer.encode_batch(texts), tokenizer.encode_batch_exactly(texts))


def test_without_gigatoken_tokenizers_does_it(trained, monkeypatch, finnish):
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    tokenizer = load_tokenizer(trained("llama3"))
    assert tokenizer.backend == "tokenizers"
    assert equal(tokenizer.encode_batch(finnish), tokenizer.encode_batch_exactly(finnish))


def test_a_pattern_that_gigatoken_does_not_know_is_left_to_tokenizers(trained):
    config = config_of(trained("llama3"))
    config["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{L}{1,7}|\P{L}"
    exact = ExactEncoder(config)
    assert fastest_encoder(config, exact) is exact


def test_a_vocabulary_without_the_bytes_that_utf8_never_has_is_still_fast(trained):
    config = config_of(trained("bloom"))
    unused = [byte_alphabet()[byte] for byte in (0xC0, 0xC1, *range(0xF5, 0x100))]
    kept = {token: id for token, id in config["model"]["vocab"].items() if token not in unused}
    merges = [merge for merge in config["model"]["merges"] if not set("".join(merge)) & set(unused)]
    config |= {"added_tokens": [], "model": config["model"] | {"vocab": kept, "merges": merges}}
    exact = ExactEncoder(config)
    fast = fastest_encoder(config, exact)
    assert fast.backend == "gigatoken"
    assert equal(fast.encode_batch(["Yö 😀…"]), exact.encode_batch(["Yö 😀…"]))
    del kept[byte_alphabet()[0xE2]]
    assert fastest_encoder(config, exact).backend == "tokenizers"


def test_an_encoder_that_gives_other_ids_is_not_used(trained, monkeypatch):
    config, exact = config_of(trained("llama3")), ExactEncoder(config_of(trained("llama3")))
    other = config | {"model": config["model"] | {"merges": config["model"]["merges"][:1000]}}
    real = encoders._Gigatoken
    monkeypatch.setattr(encoders, "_Gigatoken", lambda _: real(other))
    assert fastest_encoder(config, exact) is exact


def test_gigatoken_does_not_remember_words_for_ever(tokenizer, monkeypatch, finnish):
    """In 0.10 it remembers all (marcelroed/gigatoken#36); made anew it knows none and gives the same ids."""
    fast = tokenizer._encoders_with(()).fastest._fast
    monkeypatch.setattr(encoders, "_RENEWED_AFTER", 1000)
    made = set()
    for text in finnish:
        assert equal(tokenizer.encode_batch([text]), tokenizer.encode_batch_exactly([text]))
        made.add(id(fast._tokenizer))
    assert len(made) > 1


def test_ids_are_int32_and_long_texts_are_whole(tokenizer):
    text = "Yöllä satoi lunta. " * 20_000
    (ids,) = tokenizer.encode_batch([text])
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text
