"""Texts that are named on the command line."""

import json

import pytest

from tokka.data.texts import labelled_texts, parallel_texts

PAIRS = [{"en": "It is night.", "fi": "On yö."}, {"en": "The reindeer sleep.", "fi": "Porot nukkuvat."}]


def write(path, rows):
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def test_texts_have_a_language_and_their_path_as_a_name(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": "Yö"}, {"text": ""}, {"text": "Päivä"}])
    assert labelled_texts([f"fi={path}"]) == {str(path): ("fi", ["Yö", "Päivä"])}


def test_translations_are_the_sides_of_each_record_in_order(tmp_path):
    path = write(tmp_path / "pairs.jsonl", PAIRS)
    (group,) = parallel_texts([f"en,fi={path}"])
    assert group == {
        f"{path}:en": ("en", ["It is night.", "The reindeer sleep."]),
        f"{path}:fi": ("fi", ["On yö.", "Porot nukkuvat."]),
    }


def test_a_record_without_one_of_the_languages_is_refused(tmp_path):
    path = write(tmp_path / "pairs.jsonl", [*PAIRS, {"en": "Alone."}])
    with pytest.raises(ValueError, match="not every record has each language, there are 3 in en, 2 in fi"):
        parallel_texts([f"en,fi={path}"])
    with pytest.raises(ValueError, match=r"holds no document with \{sv\}"):
        parallel_texts([f"en,sv={path}"])


@pytest.mark.parametrize("statement", ["fi", "=a.jsonl", "fi="])
def test_a_statement_of_another_form_is_refused(statement):
    with pytest.raises(ValueError, match=r"does not say language and path; write for example fi=my_texts"):
        labelled_texts([statement])


def test_one_language_has_no_translation():
    with pytest.raises(ValueError, match="names no two languages"):
        parallel_texts(["en=pairs.jsonl"])


def test_the_cost_on_real_translations_is_that_of_the_same_content(shared_data, tmp_path):
    from tokka.recipe.tokenizer import TrainedTokenizer
    from tokka.tokenizer.fertility import fertility
    from tokka.tokenizer.load import load_tokenizer
    from tokka.tokenizer.train import train_tokenizer

    pairs = parallel_texts([f"en,fi={shared_data / 'parallel' / 'ud_pud_en_fi.jsonl.gz'}"])
    (group,) = pairs
    texts = dict(group.values())
    assert {language: len(documents) for language, documents in texts.items()} == {"en": 1000, "fi": 1000}
    train_tokenizer(TrainedTokenizer(vocab_size=2000, sample_bytes="200K"), texts, tmp_path)
    rows = fertility({"even": load_tokenizer(tmp_path)}, group, [list(group)])
    (finnish,) = [row for row in rows if row.language == "fi"]
    (english,) = [row for row in rows if row.language == "en"]
    assert finnish.cost_basis == "translation"
    assert finnish.cost == finnish.tokens / english.tokens
    assert finnish.cost < finnish.tokens_per_word / english.tokens_per_word
