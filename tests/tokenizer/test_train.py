import json

import pytest
from transformers import AutoTokenizer

from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer.load import load_tokenizer
from tokka.tokenizer.patterns import byte_alphabet
from tokka.tokenizer.train import train_tokenizer


def train(folder, texts, **settings):
    section = TrainedTokenizer(**{"vocab_size": 400, "sample_bytes": 50_000} | settings)
    return train_tokenizer(section, texts, folder)


def vocabulary(folder):
    return json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]


@pytest.mark.parametrize("pattern", ["bloom", "llama3"])
def test_special_tokens_come_first_then_all_bytes_then_merges(trained, pattern):
    by_id = sorted(vocabulary(trained(pattern)).items(), key=lambda entry: entry[1])
    names = [name for name, _ in by_id]
    assert [id for _, id in by_id] == list(range(3000))
    assert names[:6] == ["<unk>", "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]
    assert set(names[6:262]) == set(byte_alphabet())


@pytest.mark.parametrize("pattern", ["bloom", "llama3"])
def test_transformers_loads_the_folder_without_code_and_gives_the_same_ids(trained, pattern, finnish):
    folder = trained(pattern)
    theirs, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    assert theirs.is_fast
    assert len(theirs) == ours.size == 3000
    assert (theirs.unk_token_id, theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (
        0,
        1,
        2,
        3,
    )
    assert (ours.unk_id, ours.bos_id, ours.eos_id, ours.pad_id) == (0, 1, 2, 3)
    assert theirs.extra_special_tokens == ["<|user|>", "<|assistant|>"]
    assert theirs.convert_tokens_to_ids(theirs.extra_special_tokens) == [4, 5]
    assert theirs.clean_up_tokenization_spaces is False
    for text in [*finnish[:20], "  kaksi  väliä , ja pilkku ! n't \n\n", "👩‍👩‍👧 ä\u0308 \x00"]:
        assert theirs(text).input_ids == ours.encode(text)
        assert theirs.decode(ours.encode(text)) == text


def test_transformers_saves_and_loads_it_again_unchanged(trained, tmp_path, finnish):
    AutoTokenizer.from_pretrained(trained("bloom")).save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).encode(finnish[0]) == load_tokenizer(trained("bloom")).encode(finnish[0])
    assert load_tokenizer(tmp_path).specials == load_tokenizer(trained("bloom")).specials


def test_the_same_texts_in_another_order_give_the_same_bytes(tmp_path, finnish, english):
    train(tmp_path / "a", {"fi": finnish, "en": english})
    train(tmp_path / "b", {"fi": finnish[::-1], "en": english[::-1]})
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_texts_full_of_special_tokens_teach_no_merge_that_spells_one(tmp_path):
    texts = {"en": ["an <unk> and <s>a sentence</s> " * 200]}
    train(tmp_path, texts, pattern="bloom", vocab_size=330)
    config = json.loads((tmp_path / "tokenizer.json").read_text())
    assert not {"".join(merge) for merge in config["model"]["merges"]} & {"<unk>", "<s>", "</s>", "Ġ<unk>"}
    assert not set(load_tokenizer(tmp_path).encode("an <unk> and</s>")) & {0, 1, 2, 3}


def test_a_vocabulary_that_came_out_smaller_is_said(tmp_path, capsys):
    facts = train(tmp_path, {"fi": ["abc abc"]}, vocab_size=1000)
    assert facts["asked_vocab_size"] == 1000
    assert facts["vocab_size"] == load_tokenizer(tmp_path).size == 263
    assert "the vocabulary has 263 entries, not 1000" in capsys.readouterr().err


def test_a_language_that_runs_out_or_is_left_out_is_said(tmp_path, capsys, finnish, english):
    texts = {"fi": finnish[:2], "en": english, "code": ["x = 1"]}
    facts = train(tmp_path, texts, sample={"fi": 1, "en": 1})
    assert facts["sample"]["fi"]["ran_out"]
    assert facts["sample"]["en"] == {
        "budget_bytes": 25_000,
        "bytes": 25_000,
        "documents": facts["sample"]["en"]["documents"],
        "of_documents": len(english),
        "of_bytes": sum(len(text.encode()) for text in english),
        "ran_out": False,
    }
    assert facts["left_out"] == ["code"]
    said = capsys.readouterr().err
    assert "fi has" in said
    assert "code left out" in said


def test_no_texts_at_all_give_a_tokenizer_of_bytes(tmp_path):
    facts = train(tmp_path, {"fi": []})
    assert facts["vocab_size"] == 260
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.decode(tokenizer.encode("Yö 😀")) == "Yö 😀"


def test_a_special_token_that_already_stands_for_a_byte_is_refused(tmp_path):
    specials = ["<unk>", "<s>", "</s>", "<pad>", "Ġ"]
    with pytest.raises(ValueError, match="'Ġ' already stands for a byte"):
        train(tmp_path, {"fi": ["a"]}, special_tokens=specials)
