"""The JSON schema for editors, checked with the reference validator."""

import copy
import json

import pytest
from workshop import REPOSITORY

from tokka.recipe.plain_yaml import parse_yaml
from tokka.recipe.schema import schema

jsonschema = pytest.importorskip("jsonschema", reason="the reference validator, of the extra `dev`")
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
DEMO, _ = parse_yaml((REPOSITORY / "recipes" / "demo.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(schema())


def _sections(found):
    return {"Recipe": found, **found["$defs"]}


def test_the_schema_is_itself_valid_json_of_draft_2020_12():
    found = schema()
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(found)))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path, validator):
    tree, _ = parse_yaml(path.read_text(encoding="utf-8"))
    validator.validate(tree)


def test_every_key_is_described():
    found = schema()
    for name, section in _sections(found).items():
        for key, value in section.get("properties", {}).items():
            reference = value.get("$ref", "").removeprefix("#/$defs/")
            assert value.get("description") or found["$defs"][reference]["description"], f"{name}.{key}"


@pytest.mark.parametrize("size", [4_194_304, "165B", "1.5M", "49_649_704_835", 1e9, "1e9", "8 k", "2G"])
def test_sizes_may_be_numbers_or_text(size, validator):
    recipe = copy.deepcopy(DEMO)
    recipe["training"]["tokens"] = size
    validator.validate(recipe)


@pytest.mark.parametrize("paths", ["texts", ["a.jsonl", "b"], None])
def test_a_path_may_stand_alone_or_in_a_list(paths, validator):
    recipe = copy.deepcopy(DEMO)
    recipe["sources"]["finnish"]["path"] = paths
    validator.validate(recipe)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.tokns", "1M"),
        ("training.tokens", "plenty"),
        ("training.tokens", -5),
        ("training.tokens", 1.5),
        ("training.tokens", True),
        ("training.schedule.shape", "cos"),
        ("training.schedule.warmup", -1),
        ("training.optimizer.lr", 0),
        ("training.optimizer", {}),
        ("training.optimizer.betas", [0.9]),
        ("model.architecture", "gpt"),
        ("model.n_kv_heads", 4),
        ("model.n_layers", 4.5),
        ("sources.finnish.language", 7),
        ("sources.finnish.format", "xml"),
        ("sources.a/b", {"path": "x", "language": "fi"}),
        ("mixture.code.rest", False),
        ("mixture.code.percent", 101),
        ("tokenizer.train.sample", "even"),
        ("evaluation.heldout", 1),
        ("release.repo", "alone"),
        ("name", "../up"),
        ("seed", "x"),
    ],
)
def test_a_broken_recipe_is_not_valid(key, value, validator):
    recipe = copy.deepcopy(DEMO)
    *above, last = key.split(".")
    section = recipe
    for part in above:
        section = section[part]
    section[last] = value
    assert not validator.is_valid(recipe)


@pytest.mark.parametrize("section", [key for key in DEMO if key not in ("seed", "evaluation")])
def test_a_recipe_without_a_section_it_needs_is_not_valid(section, validator):
    assert not validator.is_valid({key: value for key, value in DEMO.items() if key != section})
