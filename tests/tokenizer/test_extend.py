"""Tokenizers that learn a language: what they knew stays, and what they learn is used."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from tokka.recipe.tokenizer import Extension, TrainedTokenizer
from tokka.tokenizer.extend import extend_tokenizer
from tokka.tokenizer.load import LoadedTokenizer, load_tokenizer
from tokka.tokenizer.merges import Word, learn_merges
from tokka.tokenizer.train import train_tokenizer

from .conftest import demo_texts

ADDED = 300
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_0|>"]


def like_llama3(folder: Path, texts: list[str]) -> LoadedTokenizer:
    """Make a tokenizer as Llama 3's is: special tokens beyond the vocabulary, whole words without merging."""
    section = TrainedTokenizer(vocab_size=1000, pattern="llama3", sample_bytes="300K")
    train_tokenizer(section, {"en": texts}, folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    for name in ("<unk>", "<s>", "</s>", "<pad>"):
        del vocabulary[name]
    content["model"]["vocab"] = {token: id - 4 for token, id in vocabulary.items()}
    content["model"]["ignore_merges"] = True
    content["added_tokens"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos_token": SPECIALS[0], "eos_token": SPECIALS[1]}
    (folder / "special_tokens_map.json").write_text(json.dumps(roles))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": SPECIALS[2:]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | roles))
    return load_tokenizer(folder)


@pytest.fixture(scope="module", params=["bloom", "llama3"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, english: list[str], finnish
) -> tuple[LoadedTokenizer, LoadedTokenizer]:
    """An English tokenizer, and the same extended with Finnish."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "bloom":
        train_tokenizer(
            TrainedTokenizer(vocab_size=1000, pattern="bloom", sample_bytes="300K"),
            {"en": english},
            folder / "old",
        )
        old = load_tokenizer(folder / "old")
    else:
        old = like_llama3(folder / "old", english)
    section = Extension(added=ADDED, languages=["fi"])
    facts = extend_tokenizer(section, old, {"fi": finnish, "en": english}, folder / "new")
    assert facts["added"] == ADDED
    return old, load_tokenizer(folder / "new")


def test_old_tokens_and_special_tokens_keep_their_ids(pair):
    old, new = pair
    before, after = (
        Tokenizer.from_file(str(each.folder / "tokenizer.json")).get_vocab(with_added_tokens=True)
        for each in pair
    )
    assert before.items() <= after.items()
    assert len(after) == len(before) + ADDED
    assert new.size == old.size + ADDED
    assert new.specials == old.specials
    assert (new.bos_id, new.eos_id, new.pad_id) == (old.bos_id, old.eos_id, old.pad_id)


def test_new_merges_follow_all_old_ones_and_each_new_token_is_reached(pair):
    old = pair[0]
    before, after = (json.loads((each.folder / "tokenizer.json").read_text())["model"] for each in pair)
    count = len(before["merges"])
    assert after["merges"][:count] == before["merges"]
    fresh = {token for token, id in after["vocab"].items() if id >= old.size}
    made = {"".join(merge if isinstance(merge, list) else merge.split()) for merge in after["merges"][count:]}
    assert fresh == made
    plain = models.BPE(after["vocab"], [tuple(merge) for merge in after["merges"]])  # without ignore_merges
    reached = {token.value for text in fresh for token in plain.tokenize(text)}
    assert len(reached & fresh) > 0.99 * ADDED  # a token inside another's path may have an older way


def test_the_new_language_needs_fewer_tokens_on_texts_that_were_not_learned_from(pair):
    texts = demo_texts("finnish_b")
    before, after = (sum(map(len, each.encode_batch(texts))) for each in pair)
    assert after < 0.8 * before


def test_the_other_language_is_encoded_as_before(pair, english):
    old, new = pair
    before, after = (sum(map(len, each.encode_batch(english))) for each in pair)
    assert 0.998 * before < after <= before
    code = ["def read(path):\n    return json.loads(path.read_text())\n"]
    assert new.encode_batch(code)[0].tolist() == old.encode_batch(code)[0].tolist()


def test_each_new_token_is_made_of_the_old_tokens_that_it_is_said_to_be(pair):
    old, new = pair
    said = json.loads((new.folder / "tokenizer_extension.json").read_text())
    vocabulary = json.loads((new.folder / "tokenizer.json").read_text())["model"]["vocab"]
    spelling = {id: token for token, id in vocabulary.items()}
    assert said["first"] == old.size
    for index, pieces in enumerate(said["pieces"]):
        assert "".join(spelling[piece] for piece in pieces) == spelling[old.size + index]
        assert max(pieces) < old.size


def test_plain_transformers_loads_it_and_gives_the_same_ids(pair, finnish):
    new = pair[1]
    plain = AutoTokenizer.from_pretrained(new.folder)
    texts = [*finnish[:20], "Hyvää yötä! 1234 «ß» 漢字 👩‍👩‍👧"]
    for text, ids in zip(texts, new.encode_batch(texts), strict=True):
        assert plain(text, add_special_tokens=False).input_ids == ids.tolist()
    assert len(plain) == new.size
    assert {name: plain.convert_tokens_to_ids(name) for name in new.specials} == new.specials


def test_the_fast_encoder_takes_it_and_gives_the_same_ids(pair, finnish):
    new = pair[1]
    assert new.backend == "gigatoken"
    for fast, exact in zip(new.encode_batch(finnish), new.encode_batch_exactly(finnish), strict=True):
        assert np.array_equal(fast, exact)


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_survives(pair, text):
    new = pair[1]
    assert new.decode(new.encode(text)) == text


def test_the_old_tokenizer_is_kept_beside_it(pair):
    old, new = pair
    assert load_tokenizer(new.folder / "base").digest == old.digest


def test_a_special_token_cannot_be_spelled(pair):
    new = pair[1]
    for name in new.specials:
        assert new.specials[name] not in new.encode(f"a{name}b")
        assert new.specials[name] in new.encode(f"a{name}b", [name])


def test_a_sample_without_more_pairs_gives_fewer_and_says_so(tmp_path, pair, capsys):
    section = Extension(added=1000, languages=["fi"])
    facts = extend_tokenizer(section, pair[0], {"fi": ["Yö yö yö"]}, tmp_path)
    assert facts["added"] < 10
    assert f"{facts['added']} tokens were added, not 1000" in capsys.readouterr().err


def test_what_is_no_byte_level_bpe_is_refused(tmp_path):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        ["yö ja päivä"], trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]"])
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="no byte-level BPE, as those of GPT-2"):
        extend_tokenizer(
            Extension(added=10, languages=["fi"]), load_tokenizer(tmp_path), {"fi": ["yö"]}, tmp_path / "new"
        )


def _naive(words: Counter[tuple[str, ...]], known: set[str], count: int) -> list[tuple[str, str]]:
    """Learn merges by counting every pair anew for each."""
    merges = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        allowed = {pair: n for pair, n in pairs.items() if n >= 2 and "".join(pair) not in known}
        if not allowed:
            break
        order = {token: place for place, token in enumerate([*"abcdefgh", *map("".join, merges)])}
        best = min(allowed, key=lambda pair: (-allowed[pair], order[pair[0]], order[pair[1]]))
        merges.append(best)
        known.add("".join(best))
        renewed: Counter[tuple[str, ...]] = Counter()
        for word, times in words.items():
            tokens = list(word)
            place = 0
            while place < len(tokens) - 1:
                if (tokens[place], tokens[place + 1]) == best:
                    tokens[place : place + 2] = ["".join(best)]
                place += 1
            renewed[tuple(tokens)] += times
        words = renewed
    return merges


@settings(max_examples=60, deadline=None)
@given(words=st.dictionaries(st.text("abcdefgh", min_size=1, max_size=9), st.integers(1, 20), max_size=15))
def test_merges_are_those_of_counting_every_pair_anew(words):
    vocabulary = {letter: place for place, letter in enumerate("abcdefgh")}
    rows = [Word(tuple(vocabulary[letter] for letter in word), times, 0) for word, times in words.items()]
    found = learn_merges(rows, vocabulary, 12, kept_weight=0.0)
    naive = _naive(Counter({tuple(word): times for word, times in words.items()}), set(vocabulary), 12)
    assert [(merge.left, merge.right) for merge in found] == naive


def test_a_pair_that_others_use_as_well_is_left_out():
    vocabulary = {"a": 0, "b": 1, "c": 2}
    words = [Word((0, 1), 100, 50), Word((1, 2), 90, 0), Word((2, 0), 1000, 5)]
    merges = learn_merges(words, vocabulary, 3, kept_weight=1.0)
    assert [(merge.left, merge.right) for merge in merges] == [("c", "a"), ("b", "c")]
