import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokka.tokenizer.seal import seal


def encode(config, text):
    return Tokenizer.from_str(json.dumps(config)).encode(text, add_special_tokens=False).ids


def trained(model, trainer):
    """A tokenizer whose sample is full of its special tokens."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(["<unk> a <s> b </s> <s>c<s> <unk>"] * 9, trainer)
    return json.loads(tokenizer.to_str())


SPECIALS = ["<unk>", "<s>", "</s>"]
KINDS = {
    "bpe": (models.BPE(), trainers.BpeTrainer(special_tokens=SPECIALS, show_progress=False)),
    "wordpiece": (
        models.WordPiece(unk_token="<unk>"),
        trainers.WordPieceTrainer(special_tokens=SPECIALS, show_progress=False),
    ),
    "unigram": (
        models.Unigram(),
        trainers.UnigramTrainer(special_tokens=SPECIALS, unk_token="<unk>", show_progress=False),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_can_spell_a_special_token(kind):
    config = trained(*KINDS[kind])
    ids = Tokenizer.from_str(json.dumps(config)).get_vocab()
    control = {ids["<s>"], ids["</s>"]}
    for text in ("a <s> b", "</s>", "<s></s>", "a<s>b </s>", "##<s>"):
        assert not control & set(encode(seal(config, SPECIALS), text)), text


@pytest.mark.parametrize("kind", KINDS)
def test_other_text_keeps_its_ids(kind):
    config = trained(*KINDS[kind])
    for text in ("a b c", "a", "bc ca"):
        assert encode(seal(config, SPECIALS), text) == encode(config, text)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_sealed_is_still_read(kind):
    config = trained(*KINDS[kind])
    begin = Tokenizer.from_str(json.dumps(config)).token_to_id("<s>")
    assert encode(seal(config, ["<unk>", "</s>"]), "a <s> b</s>").count(begin) == 1


def test_special_tokens_outside_the_models_vocabulary_keep_the_ids_of_the_others():
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "<": 2, ">": 3, "x": 4}, []))
    tokenizer.add_special_tokens(["<a>", "<b>", "<x>"])
    config = json.loads(tokenizer.to_str())
    assert encode(config, "<a><b><x>") == [5, 6, 7]
    assert encode(seal(config, ["<a>", "<x>"]), "<a><b><x>") == [2, 0, 3, 6, 2, 4, 3]


def test_nothing_is_cut_off_filled_up_or_added():
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=8)
    config = json.loads(tokenizer.to_str())
    assert encode(config, "ababab") == [0, 1, 0, 0, 0, 0, 0, 0]
    assert encode(seal(config, []), "ababab") == [0, 1, 0, 1, 0, 1]
