"""What every section of a recipe has in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(strict=True, gt=0)]
"""A whole number of things, at least one."""

NAME_RULE = "letters, digits, `_`, `.` and `-`, at most 96; no dot or dash first, for it names a folder"
Name = Annotated[str, Field(pattern=r"^\w[\w.-]{0,95}$")]
"""A name that can also name a folder."""


class Section(BaseModel):
    """An immutable part of a recipe that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
