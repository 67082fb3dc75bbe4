"""The JSON schema of recipes, from which editors complete keys and explain them."""

from typing import Any

from tokka.recipe.recipe import Recipe


def schema() -> dict[str, Any]:
    """Return the schema (JSON Schema, draft 2020-12), with every key's description and default.

    It says what a single key may hold. What has to fit together, such as layouts, only
    :func:`tokka.recipe.load.load_recipe` can say.
    """
    found = Recipe.model_json_schema(mode="validation")
    found["properties"]["sources"]["additionalProperties"] = False  # names of another form are no names
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "Recipe of tokka",
    }
