"""Recipes that continue a model: what does not go together is refused with what to write."""

import pytest
from continued import continued_recipe
from pydantic import ValidationError

from tokka.recipe.recipe import Recipe

EXTEND = {"added": 128, "languages": ["fi"]}


def recipe_of(**changes):
    content = continued_recipe()
    for section, values in changes.items():
        content[section] = {**content[section], **values}
    return Recipe.model_validate(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": {"load": "other.yaml"}}, r"only that of model\.base \(base\.yaml\) is run first"),
        (
            {"release": {"merge": {}}, "model": {"base": None}, "tokenizer": {"load": "x"}},
            "there is no model.base",
        ),
        ({"tokenizer": {"extend": EXTEND}, "model": {"vocab_size": 650}}, "make it 704"),
        (
            {"tokenizer": {"extend": EXTEND | {"languages": ["sv"]}}},
            r"has sv, which no source has; .* are fi, en",
        ),
        ({"tokenizer": {"extend": EXTEND}, "release": {"merge": {}}}, "needs a base of the same vocabulary"),
        ({"tokenizer": {"extend": EXTEND, "load": "x"}, "model": {"base": None}}, "there is no model.base"),
        ({"training": {"embeddings_first": 40_000}}, "leaves nothing of the budget"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        recipe_of(**changes)


def test_an_extension_needs_a_tokenizer_to_extend():
    content = continued_recipe()
    content["tokenizer"] = {"train": {"vocab_size": 512}, "extend": EXTEND}
    with pytest.raises(ValidationError, match="adds to a tokenizer that exists; name it in `load`"):
        Recipe.model_validate(content)
