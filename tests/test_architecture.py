"""The house: data flows one way, models know nothing of parallelism, nothing unsafe is loaded."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from workshop import REPOSITORY

SOURCE = REPOSITORY / "src" / "tokka"
FILES = sorted(SOURCE.rglob("*.py"))

ROOMS = (
    "cli",
    "pipeline",
    "release",
    "evaluation",
    "training",
    "parallel",
    "models",
    "data",
    "tokenizer",
    "recipe",
    "workspace",
)
"""From top to bottom; a room imports only rooms below it."""

ALONE = ("recipe", "workspace")
"""Rooms that import no other."""

LIGHT = ("cli", "recipe", "workspace")
"""Rooms that are loaded by every command, so that heavy libraries must wait inside functions."""

HEAVY = (
    "datasets",
    "gigatoken",
    "jinja2",
    "lm_eval",
    "matplotlib",
    "numpy",
    "pyarrow",
    "rich",
    "safetensors",
    "tensorboard",
    "tokenizers",
    "torch",
    "transformers",
)
PICKLING = ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that are imported anywhere below ``node``: ``a.b`` for ``from a import b``."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            dots = "." * found.level
            yield from (f"{dots}{found.module or ''}.{alias.name}" for alias in found.names)


def _imports_at_once(node: ast.AST) -> Iterator[str]:
    """Yield what is imported when the module is: not in functions, not for the type checker."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from _imports(child)
        elif not for_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports_at_once(child)


def _is_in(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


# The rules: each yields what breaks it in a file of a room.


def imports_only_rooms_below(room: str, tree: ast.Module) -> Iterator[str]:
    if room not in ROOMS:
        return
    allowed = (room,) if room in ALONE else ROOMS[ROOMS.index(room) :]
    for name in _imports(tree):
        is_of_a_room = _is_in(name, "tokka") and name != "tokka.__version__"
        if name.startswith(".") or (is_of_a_room and name.split(".")[1] not in allowed):
            yield f"imports {name}"


def models_know_nothing_of_parallelism(room: str, tree: ast.Module) -> Iterator[str]:
    if room == "models" and "torch.distributed" in ast.unparse(tree):
        yield "mentions torch.distributed"


def unpickles_nothing(room: str, tree: ast.Module) -> Iterator[str]:
    yield from (f"imports {name}" for name in _imports(tree) if _is_in(name, *PICKLING))
    for call in _calls(tree):
        function, options = ast.unparse(call.func), _options(call)
        if function == "torch.load" and options.get("weights_only") != "True":
            yield "torch.load without weights_only=True"
        if options.get("allow_pickle", "False") != "False":
            yield f"{function}(allow_pickle=...)"
        if function in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"):
            yield f"{function}, which may make any object"


def runs_no_code_from_outside(room: str, tree: ast.Module) -> Iterator[str]:
    for call in _calls(tree):
        function, options = ast.unparse(call.func), _options(call)
        if function in ("eval", "exec", "os.system", "os.popen"):
            yield f"calls {function}"
        if options.get("trust_remote_code", "False") != "False" or options.get("shell", "False") != "False":
            yield f"{function} with trust_remote_code or shell"
    for found in ast.walk(tree):  # as keys of dictionaries, which become options elsewhere
        if isinstance(found, ast.Dict) and "'trust_remote_code': True" in ast.unparse(found):
            yield "sets trust_remote_code"


def loads_nothing_heavy_at_once(room: str, tree: ast.Module) -> Iterator[str]:
    if room in LIGHT:
        yield from (f"imports {name}" for name in _imports_at_once(tree) if _is_in(name, *HEAVY))
    if room == "cli":
        rooms = (name for name in _imports_at_once(tree) if _is_in(name, "tokka"))
        yield from (f"imports {name}" for name in rooms if not _is_in(name, "tokka.cli", "tokka.__version__"))


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (found for found in ast.walk(tree) if isinstance(found, ast.Call))


def _options(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


RULES = (
    imports_only_rooms_below,
    models_know_nothing_of_parallelism,
    unpickles_nothing,
    runs_no_code_from_outside,
    loads_nothing_heavy_at_once,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule):
    broken = [
        f"{path.relative_to(SOURCE)} {breach}"
        for path in FILES
        for breach in rule(path.relative_to(SOURCE).parts[0], _tree(path))
    ]
    assert not broken


@pytest.mark.parametrize(
    ("rule", "room", "code"),
    [
        (imports_only_rooms_below, "data", "from tokka.training.train import train"),
        (imports_only_rooms_below, "data", "def f():\n    import tokka.models.llama"),
        (imports_only_rooms_below, "recipe", "from tokka.workspace import files"),
        (imports_only_rooms_below, "models", "from .llama import Llama"),
        (models_know_nothing_of_parallelism, "models", "import torch\ntorch.distributed.barrier()"),
        (unpickles_nothing, "models", "torch.load(path)"),
        (unpickles_nothing, "models", "torch.load(path, weights_only=False)"),
        (unpickles_nothing, "data", "from pickle import loads"),
        (unpickles_nothing, "data", "np.load(path, allow_pickle=True)"),
        (unpickles_nothing, "recipe", "yaml.load(text, Loader=yaml.Loader)"),
        (runs_no_code_from_outside, "data", "load_dataset(name, trust_remote_code=True)"),
        (runs_no_code_from_outside, "evaluation", "options = {'trust_remote_code': True}"),
        (runs_no_code_from_outside, "evaluation", "subprocess.run(command, shell=True)"),
        (loads_nothing_heavy_at_once, "cli", "import torch"),
        (loads_nothing_heavy_at_once, "cli", "from tokka.recipe.load import load_recipe"),
        (loads_nothing_heavy_at_once, "workspace", "try:\n    import numpy.linalg\nexcept ImportError: pass"),
    ],
)
def test_a_breach_of_a_rule_is_seen(rule, room, code):
    assert list(rule(room, ast.parse(code)))


def test_every_package_is_a_room_of_the_house_and_opens_without_loading_anything():
    """No re-exports: what is imported is imported by its full path."""
    for path in SOURCE.glob("*/**/__init__.py"):
        assert path.relative_to(SOURCE).parts[0] in ROOMS
        assert all(isinstance(statement, ast.Expr) for statement in _tree(path).body), path


def test_a_file_has_one_reason_to_exist_and_so_about_three_hundred_lines_at_most():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {str(path): count for path, count in lines.items() if count > 330}
