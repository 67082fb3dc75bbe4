"""Reading a recipe: YAML in, a validated :class:`Recipe` out, every error with its key, line and remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tokka.recipe.explain import explain
from tokka.recipe.plain_yaml import Flaw, KeyPath, YamlError, parse_yaml
from tokka.recipe.recipe import Recipe

_LARGEST = 2**20


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
    """A recipe that cannot be used; ``problems`` lists all that is wrong, ``verdict`` sums it up."""

    def __init__(
        self, source: str, problems: Sequence[Problem], verdict: str = "is not a valid recipe"
    ) -> None:
        self.source, self.problems = source, list(problems)
        super().__init__("\n".join([f"{source} {verdict}:", *(f"  - {p}" for p in self.problems)]))


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and validate the recipe at ``path``.

    Args:
        path: a YAML file.
        overrides: statements ``key.path=value``, the value in YAML, as given to ``--set``.

    Raises:
        RecipeError: with every problem found, each with its key, its line in the file and a remedy.
    """
    source = str(path)
    tree, lines = _read(Path(path), source)
    overridden = [_override(tree, statement, source) for statement in overrides]
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        problems = [_problem(at, message, lines, overridden) for at, message in explain(error, tree)]
        raise RecipeError(source, problems) from None


def _read(path: Path, source: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        text = _text(path)
        tree, lines = parse_yaml(text)
    except YamlError as error:
        raise RecipeError(
            source, [Problem(_dotted(at), message, line) for at, message, line in error.flaws]
        ) from None
    except UnicodeDecodeError as error:
        message = f"not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8"
        raise RecipeError(source, [Problem("", message)]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"cannot be read ({reason}); give the path of a recipe in YAML"
        raise RecipeError(source, [Problem("", message)]) from None
    if not isinstance(tree, dict):
        raise RecipeError(source, [Problem("", "a recipe is a mapping of sections; `tokka new` writes one")])
    return tree, lines


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise YamlError([Flaw((), "larger than 1 MiB; a recipe is a short text in YAML", None)])
    return content.decode("utf-8")


def _override(tree: dict[str, Any], statement: str, source: str) -> KeyPath:
    """Carry out ``key.path=value`` on ``tree`` and return the path."""
    key, equals, written = statement.partition("=")
    at = tuple(key.split("."))
    if not equals or not all(at):
        raise RecipeError(source, [Problem(f"--set {statement}", "write key.path=value")])
    try:
        value, _ = parse_yaml(written)
    except YamlError as error:
        raise RecipeError(source, [Problem(f"--set {key}", f"{written!r} is {error}")]) from None
    section: Any = tree
    for part in at[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            message = f"`{part}` is a value and no section; set it as a whole"
            raise RecipeError(source, [Problem(f"--set {key}", message)])
    section[at[-1]] = value
    return at


def _problem(at: KeyPath, message: str, lines: dict[KeyPath, int], overridden: Sequence[KeyPath]) -> Problem:
    if any(at[: len(path)] == path for path in overridden):
        return Problem(_dotted(at), f"{message} (from --set)")
    above = at
    while above and above not in lines:
        above = above[:-1]
    return Problem(_dotted(at), message, lines.get(above))


def _dotted(at: KeyPath) -> str:
    return ".".join(str(part) for part in at)
