"""YAML without surprises: plain values, each key once, and the line on which every key stands."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

KeyPath = tuple[str | int, ...]
"""Where something stands in a tree of mappings and lists: keys and indices, from the root."""

_DEEPEST = 50


class Flaw(NamedTuple):
    """One thing wrong with a piece of YAML; ``line`` counts from 1, None where there is none."""

    at: KeyPath
    message: str
    line: int | None


class YamlError(ValueError):
    """Text that is no plain YAML; ``flaws`` lists what was found."""

    def __init__(self, flaws: list[Flaw]) -> None:
        self.flaws = flaws
        super().__init__("; ".join(flaw.message for flaw in flaws))


def parse_yaml(text: str) -> tuple[Any, dict[KeyPath, int]]:
    """Return the content of one YAML document, and the line of every key and list item in it.

    Values follow YAML 1.2's core schema: ``no`` is a language and not false, ``3e-4`` is a number, a date is
    a string. Aliases, tags, a key stated twice and keys that are not strings are refused: a recipe may come
    from anyone, and nested aliases can make a small file expand without end.

    Raises:
        YamlError: with the place of each flaw.
    """
    lines: dict[KeyPath, int] = {}
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, lines
        flaws = list(_walk(node, (), lines))
        if flaws:
            raise YamlError(flaws)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise YamlError([Flaw((), f"not valid YAML: {error.problem}", line)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not valid YAML: a character that text files do not hold, U+{error.character:04X}"
        raise YamlError([Flaw((), message, line)]) from None


def format_yaml(content: Any) -> str:
    """Return plain content as YAML that :func:`parse_yaml`, and any reader of YAML 1.1, reads as it was."""
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=110)


class _PlainLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - YAML 1.1's are left out; filled below
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refused("aliases (*name) are not used in recipes; write the value out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _refused(f"tags ({event.tag}) are not used in recipes; remove it", event.start_mark)
        if self.depth == _DEEPEST:
            raise _refused("nested too deeply to be a recipe", event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        except (ValueError, OverflowError):  # an escape such as "\U00110000", beyond Unicode
            raise _refused("an escape that stands for no character", self.get_mark()) from None
        finally:
            self.depth -= 1

    def construct_int(self, node: yaml.ScalarNode) -> int:
        return int(node.value.replace("_", ""))

    def construct_float(self, node: yaml.ScalarNode) -> float:
        number = float(node.value.replace("_", ""))
        if math.isinf(number):
            raise _refused(f"{node.value} is too large a number", node.start_mark)
        return number


def _refused(why: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=why, problem_mark=mark)


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", "~nN"),
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9][0-9_]{0,39}", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    for _kind in (_PlainLoader, _PlainDumper):
        _kind.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), [*_first, ""]
        )
_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_int)
_PlainLoader.add_constructor("tag:yaml.org,2002:float", _PlainLoader.construct_float)


def _walk(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int]) -> Iterator[Flaw]:
    """Record the line of every key and item in ``lines``; yield what is wrong with keys and texts."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                written = key.value if isinstance(key, yaml.ScalarNode) else "[...]"
                yield Flaw(at, f'the key {written} is no text; write it in quotes: "{written}"', line)
                continue
            place = (*at, key.value)
            yield from _walk(key, at, lines)
            if place in lines:
                yield Flaw(place, "stated twice; remove one", line)
            lines[place] = line
            yield from _walk(value, place, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            yield from _walk(value, (*at, index), lines)
    elif any("\ud800" <= character <= "\udfff" for character in node.value):
        yield Flaw(at, "holds half a character (a lone surrogate); remove it", node.start_mark.line + 1)
