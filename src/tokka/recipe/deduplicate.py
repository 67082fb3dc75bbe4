"""The ``deduplicate`` section: which documents are too much alike to be trained on side by side."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from tokka.recipe.section import Section


class Deduplication(Section):
    """Equal texts are found within and across sources, and near duplicates."""

    near: bool = Field(True, description="Find near duplicates too; `false`: only equal texts.")
    threshold: float = Field(
        0.7, ge=0.3, le=1, description="Near duplicates share at least this part of their runs of words."
    )
    words: int = Field(3, strict=True, ge=1, le=16, description="Words in a run.")


def _as_section(written: object) -> object:
    return {} if written is True else None if written is False else written


Deduplicate = Annotated[
    Deduplication | None,
    BeforeValidator(_as_section, json_schema_input_type=bool | Deduplication | None),
]
"""A section, or `true` for one with its defaults."""
