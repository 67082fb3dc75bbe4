"""What pydantic found wrong with a recipe, said with the key as it stands in the file and a remedy."""

import difflib
import re
import reprlib
import types
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tokka.recipe.plain_yaml import KeyPath
from tokka.recipe.recipe import Recipe
from tokka.recipe.section import NAME_RULE

_MOST = 50
_ABOUT_A_KEY = re.compile(r"(?:`(?P<quoted>[\w.]+)`|(?P<plain>[\w.]+)):? (?P<rest>.+)", re.DOTALL)


def explain(error: ValidationError, tree: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield where and what, for each key once; of very many only the first.

    Args:
        error: raised by ``Recipe.model_validate(tree)``.
        tree: the recipe as plain content.
    """
    found: dict[KeyPath, list[Any]] = {}
    for detail in islice(error.errors(include_url=False), _MOST):
        found.setdefault(_place(detail, tree), []).append(detail)
    for at, details in found.items():
        deeper = any(len(other) > len(at) and other[: len(at)] == at for other in found)
        if deeper and all(detail["type"] == "literal_error" for detail in details):
            continue  # of a union, what was meant is the kind whose inside was looked at
        yield _about_a_key(at, _message(details, at))


def _place(detail: Any, tree: Any) -> KeyPath:
    """Return the path of keys that the file has; pydantic's also names the members of unions."""
    at: list[str | int] = []
    for part in detail["loc"]:
        inside = (isinstance(tree, dict) and part in tree) or (
            isinstance(tree, list) and isinstance(part, int) and part < len(tree)
        )
        if inside:
            tree = tree[part]
            at.append(part)
    if detail["type"] == "missing":
        at.append(detail["loc"][-1])
    elif detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        at.append("architecture")
    return tuple(at)


def _about_a_key(at: KeyPath, message: str) -> tuple[KeyPath, str]:
    """Move the key that a check of a whole section names first from its message to its place."""
    match = _ABOUT_A_KEY.fullmatch(message)
    if match is None:
        return at, message
    place: KeyPath = (*at, *(match["quoted"] or match["plain"]).split("."))
    if not all(str(place[depth]) in _keys(place[:depth]) for depth in range(len(at), len(place))):
        return at, message
    return place, match["rest"]


def _message(details: list[Any], at: KeyPath) -> str:
    first = details[0]
    kind, given = first["type"], first.get("input")
    if kind == "extra_forbidden":
        known = _keys(at[:-1])
        close = difflib.get_close_matches(str(at[-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return f"missing; state it{_description(at)}"
    if kind == "union_tag_not_found":
        return "missing; state `llama` or `bloom`"
    if kind == "union_tag_invalid":
        return f"no such architecture {given.get('architecture')!r}; there are `llama` and `bloom`"
    if kind == "value_error":
        return first["msg"].removeprefix("Value error, ")
    if first["loc"][-1] == "[key]":
        return f"is no name that can be used here ({NAME_RULE})"
    demands = dict.fromkeys(_demand(detail["type"], detail["msg"]) for detail in details)
    remedy = "; put it in quotes" if kind == "string_type" and isinstance(given, (int, float)) else ""
    return f"{' or '.join(demands)}{_description(at)}; found {reprlib.repr(given)}{remedy}"


def _demand(kind: str, message: str) -> str:
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "should be a section of keys with values"
    if kind == "string_pattern_mismatch":
        return "has another form"
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return f"{message[0].lower()}{message[1:]}"


def _description(at: KeyPath) -> str:
    for section in _sections(at[:-1]):
        field = section.model_fields.get(str(at[-1]))
        if field is not None and field.description:
            return f" ({field.description.rstrip('.')})"
    return ""


def _keys(at: KeyPath) -> list[str]:
    """Return the keys that the section at ``at`` knows."""
    return list(dict.fromkeys(key for section in _sections(at) for key in section.model_fields))


def _sections(at: KeyPath) -> list[type[BaseModel]]:
    """Return the classes that what stands at ``at`` may be; several where the architecture decides."""
    sections: list[type[BaseModel]] = [Recipe]
    for part in at:
        inside: list[type[BaseModel]] = []
        for section in sections:
            field = section.model_fields.get(str(part))
            # A key that is no field is a name that the user gave: of a source, of an item in a list.
            inside.extend(_sections_in(field.annotation) if field else [section])
        sections = inside
    return sections


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, Annotated, dict, list):
        for argument in get_args(annotation):
            yield from _sections_in(argument)
