"""docs/recipes.md and curation.md say of every key what the code says; their examples are recipes."""

import re
from enum import Enum

import pytest
from pydantic import BaseModel
from workshop import REPOSITORY

from tokka.recipe.curation import Curation, Identification, Quality
from tokka.recipe.deduplicate import Deduplication
from tokka.recipe.evaluation import Evaluation, Merge, Release, Task
from tokka.recipe.load import load_recipe
from tokka.recipe.mixture import MixtureChange
from tokka.recipe.model import Bloom, Llama, RopeScaling
from tokka.recipe.plain_yaml import format_yaml
from tokka.recipe.recipe import Recipe
from tokka.recipe.sources import HubDataset, Share, Source
from tokka.recipe.tokenizer import Extension, Tokenizer, TrainedTokenizer
from tokka.recipe.training import Checkpoints, Guard, Layout, Limits, Optimizer, Schedule, Training

PAGE = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
CURATION = (REPOSITORY / "docs" / "curation.md").read_text(encoding="utf-8")
SECTIONS = (
    Recipe,
    Source,
    HubDataset,
    Curation,
    Identification,
    Quality,
    Deduplication,
    Share,
    MixtureChange,
    Tokenizer,
    TrainedTokenizer,
    Extension,
    Llama,
    Bloom,
    RopeScaling,
    Training,
    Optimizer,
    Schedule,
    Checkpoints,
    Guard,
    Limits,
    Layout,
    Evaluation,
    Task,
    Release,
    Merge,
)


def _default(field) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        return "see below"
    if value is None:
        return ""
    if isinstance(value, Enum):
        value = value.value
    value = list(value) if isinstance(value, tuple) else value
    written = (
        format_yaml({"v": value}).removeprefix("v:").strip().replace("\n ", ",")
        if not isinstance(value, list)
        else str(value)
    )
    return f"`{written}`" if written not in ("''", "{}", "[]") else "empty"


def key_rows(section: type[BaseModel]) -> list[str]:
    """Return the rows of the table of a section's keys."""
    rows = []
    for key, field in section.model_fields.items():
        description = (field.description or "").rstrip(".").replace("|", "\\|")
        rows.append(f"| `{key}` | {_default(field).replace('|', chr(92) + '|')} | {description} |")
    return rows


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_is_described_as_in_the_code(section):
    missing = [row for row in key_rows(section) if row not in PAGE + CURATION]
    assert not missing, "\n" + "\n".join(missing)


def test_the_examples_one_after_the_other_are_a_recipe(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text("\n".join(blocks), encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.model_fields_set == set(Recipe.model_fields)


def test_every_shipped_recipe_is_in_the_table():
    for path in (REPOSITORY / "recipes").glob("*.yaml"):
        assert f"[`{path.name}`](../recipes/{path.name})" in PAGE
