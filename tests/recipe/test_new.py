"""A first recipe: it loads as it is, and with each of its commented blocks."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.recipe.languages import _LANGUAGES, find_language
from tokka.recipe.load import load_recipe
from tokka.recipe.new import new_recipe
from tokka.recipe.plain_yaml import parse_yaml
from tokka.recipe.recipe import Recipe

VARIANTS = {
    "texts": ("fi", "my_texts"),
    "web": ("fi", None),
    "whole language": ("smn", None),
    "unknown": ("xyz", None),
    "english": ("en", None),
    "norwegian": ("no", None),
}


def _load(folder, text):
    path = folder / "new.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_new_recipe_loads_as_it_is(variant, tmp_path):
    code, texts = VARIANTS[variant]
    text = new_recipe(code, "mine", texts)
    recipe = _load(tmp_path, text)
    assert recipe.name == "mine"
    assert recipe.release.repo == "my-org/mine"
    assert recipe.languages == [code]
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", ["x" * 80, "a.b-c_d", "Ääni1"])
def test_any_name_that_is_taken_makes_a_recipe_that_loads(name, tmp_path):
    assert _load(tmp_path, new_recipe("fi", name)).name == name


def test_own_texts_need_nothing_else_not_even_a_budget(tmp_path):
    recipe = _load(tmp_path, new_recipe("fi", "mine", Path("my texts/")))
    assert recipe.sources["texts"].path == ["my texts"]
    assert recipe.sources["texts"].hub is None
    assert recipe.mixture["texts"].epochs == 4
    assert recipe.training.tokens is None


@pytest.mark.parametrize(
    ("code", "name", "split"),
    [
        ("fi", "fin_Latn", "test"),
        ("fin", "fin_Latn", "test"),
        ("et", "ekk_Latn", "test"),
        ("zh", "cmn_Hani", "test"),
        ("smn", "smn_Latn", "train"),
    ],
)
def test_without_texts_a_language_comes_from_fineweb_2(code, name, split, tmp_path):
    hub = _load(tmp_path, new_recipe(code, "mine")).sources["texts"].hub
    assert (hub.id, hub.name, hub.split) == ("HuggingFaceFW/fineweb-2", name, split)


def test_a_language_nobody_listed_gets_a_placeholder_that_says_so():
    text = new_recipe("xyz", "mine")
    assert "TO DO: put the right `name` here" in text
    assert "TO DO" not in new_recipe("fi", "mine")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_choice_is_explained(variant):
    code, texts = VARIANTS[variant]
    for section in re.split(r"\n(?=\w+:)", new_recipe(code, "mine", texts))[1:]:
        assert "# " in section or section.startswith("name"), section


def _with_more_sources(text):
    """Take the ``#`` away from the sources that are commented out, and their shares."""
    return re.sub(r"^  # (?=(english|code|  \w+):)", "  ", text, flags=re.MULTILINE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_other_sources_load_when_their_comments_are_taken_away(variant, tmp_path):
    code, texts = VARIANTS[variant]
    recipe = _load(tmp_path, _with_more_sources(new_recipe(code, "mine", texts)))
    assert list(recipe.sources) == list(recipe.mixture) == ["texts", "english", "code"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_block_that_continues_a_model_takes_the_place_of_its_sections(variant):
    code, texts = VARIANTS[variant]
    text = new_recipe(code, "mine", texts)
    _, block = text.split("# To continue a model that exists")
    block = "\n".join(line.removeprefix("# ") for line in block.splitlines()[3:])
    tree, _ = parse_yaml(text)
    sections, _ = parse_yaml(block)
    assert list(sections) == ["tokenizer", "model", "training"]
    recipe = Recipe.model_validate(tree | sections)
    assert recipe.model.base == recipe.tokenizer.load
    assert recipe.model.d_model // recipe.model.n_heads == 64


@pytest.mark.parametrize("code", ["", "finnish", "FI", "fi-en", "f", "../x", "fi\n"])
def test_what_is_no_language_code_is_refused(code):
    with pytest.raises(ValueError, match="is no language code; write two or three small letters"):
        new_recipe(code, "mine")


@pytest.mark.parametrize("name", ["", "my model", "../up", "-x", "x-", "a..b", "a/b", "x" * 81, "x\n"])
def test_what_cannot_name_a_run_is_refused(name):
    with pytest.raises(ValueError, match="cannot name a model; use letters"):
        new_recipe("fi", name)


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs"]), min_size=1))
def test_texts_may_lie_anywhere(texts):
    tree, _ = parse_yaml(new_recipe("fi", "mine", texts))
    assert tree["sources"]["texts"]["path"] == texts


def test_every_known_language_has_a_name_and_a_configuration_of_the_right_form():
    for code, language in _LANGUAGES.items():
        assert find_language(code) == language
        assert language.name != code
        assert language.fineweb is None or re.fullmatch("[a-z]{3}_[A-Z][a-z]{3}", language.fineweb)
        assert language.split in ("train", "test")
