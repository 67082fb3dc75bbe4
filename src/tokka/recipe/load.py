"""Reading a recipe: YAML in, a validated :class:`Recipe` out, every error with its key, line and remedy."""

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from tokka.recipe.recipe import Recipe

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a recipe: where, what, and how to mend it."""

    key: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, " if self.line else ""
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class RecipeError(ValueError):
    """A recipe that cannot be used; ``problems`` lists everything wrong with it."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source, self.problems = source, list(problems)
        super().__init__(
            "\n".join([f"{source} is not a valid recipe:", *(f"  - {p}" for p in self.problems)])
        )


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and validate the recipe at ``path``.

    Args:
        path: a YAML file.
        overrides: statements ``key.path=value``, the value in YAML, as given to ``--set``.

    Raises:
        RecipeError: with every problem found, each with its key, its line in the file and a remedy.
    """
    path = Path(path)
    tree, lines = _read_yaml(path)
    for statement in overrides:
        _override(tree, statement, str(path))
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(str(path), list(_explain(error, lines))) from None


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    if not path.is_file():
        raise RecipeError(str(path), [Problem("", "no such file; give the path of a recipe in YAML")])
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except UnicodeDecodeError as error:
        raise RecipeError(
            str(path), [Problem("", f"not UTF-8 ({error.reason} at byte {error.start})")]
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        message = f"not valid YAML: {getattr(error, 'problem', None) or error}"
        raise RecipeError(str(path), [Problem("", message, mark.line + 1 if mark else None)]) from None
    except RecursionError:
        raise RecipeError(str(path), [Problem("", "nested too deeply to be a recipe")]) from None
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(
            str(path), [Problem("", "a recipe is a mapping of sections; `tokka new` writes one")]
        )
    lines: dict[KeyPath, int] = {}
    twice = [Problem(_dotted(key), "stated twice; remove one", line) for key, line in _walk(node, (), lines)]
    if twice:
        raise RecipeError(str(path), twice)
    loader = _StrictLoader("")
    try:
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        raise RecipeError(
            str(path), [Problem("", f"not plain YAML: {getattr(error, 'problem', error)}")]
        ) from None


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that reads ``3e-4`` as a number, as everyone means it, and refuses aliases.

    A recipe may come from anyone; nested aliases can make a small file expand without end.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not used in recipes", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)


_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+")
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


def _walk(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int]) -> Iterator[tuple[KeyPath, int]]:
    """Record the line of every key in ``lines``; yield those that are stated twice."""
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            key = (*at, key_node.value)
            line = key_node.start_mark.line + 1
            if key in lines:
                yield key, line
            lines[key] = line
            yield from _walk(value, key, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            yield from _walk(value, (*at, index), lines)


def _override(tree: dict[str, Any], statement: str, source: str) -> None:
    key, equals, written = statement.partition("=")
    if not equals or not key:
        raise RecipeError(source, [Problem(f"--set {statement}", "write key.path=value")])
    try:
        value = yaml.load(written, Loader=_StrictLoader)
    except yaml.YAMLError:
        raise RecipeError(source, [Problem(f"--set {key}", f"{written!r} is not valid YAML")]) from None
    *parents, last = key.split(".")
    section: Any = tree
    for parent in parents:
        if not isinstance(section, dict):
            break
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
    if not isinstance(section, dict):
        raise RecipeError(source, [Problem(f"--set {key}", "leads through a value that is no section")])
    section[last] = value


def _explain(error: ValidationError, lines: dict[KeyPath, int]) -> Iterator[Problem]:
    for detail in error.errors():
        # A discriminated union puts the chosen class's tag into the path; the file has no such key.
        at = tuple(
            part for i, part in enumerate(detail["loc"]) if not (i == 1 and part in ("llama", "bloom"))
        )
        message = _message(detail, at)
        if not at:  # A check over several sections names the key that decides first in its message.
            key, _, rest = message.partition(" ")
            at, message = tuple(key.rstrip(":").split(".")), rest
        yield Problem(_dotted(at), message, _line(at, lines))


def _message(detail: Any, at: KeyPath) -> str:
    kind, message, given = detail["type"], detail["msg"], detail.get("input")
    if kind == "extra_forbidden":
        known = _keys_of(at[:-1])
        close = difflib.get_close_matches(str(at[-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "missing; state it"
    if kind == "union_tag_not_found":
        return "missing `architecture`; state `llama` or `bloom`"
    if kind == "union_tag_invalid":
        return f"no such architecture {given.get('architecture')!r}; there are `llama` and `bloom`"
    message = message.removeprefix("Value error, ")
    if kind == "value_error":
        return message
    return f"{message[0].lower()}{message[1:]}; found {given!r}"


def _line(at: KeyPath, lines: dict[KeyPath, int]) -> int | None:
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at)


def _dotted(at: KeyPath) -> str:
    return ".".join(str(part) for part in at)


def _keys_of(at: KeyPath) -> list[str]:
    """Return the keys that the section at ``at`` knows."""
    sections: list[type[BaseModel]] = [Recipe]
    for part in at:
        found: list[type[BaseModel]] = []
        for section in sections:
            field = section.model_fields.get(str(part))
            found.extend(_sections_in(field.annotation) if field else [section])
        sections = found
    return list(dict.fromkeys(key for section in sections for key in section.model_fields))


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, Annotated, dict, list):
        for argument in get_args(annotation):
            yield from _sections_in(argument)
