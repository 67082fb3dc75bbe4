"""``tokka doctor`` as a user runs it."""

import json
import sys
import time
from pathlib import Path

import pytest

from tokka.cli.main import main
from tokka.pipeline.needs import needs_of
from tokka.recipe.load import load_recipe
from tokka.recipe.sizes import format_size
from tokka.workspace.machine import format_bytes

RECIPES = Path(__file__).parents[2] / "recipes"


def doctor(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["tokka", "doctor", *map(str, arguments)])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_it_tells_what_the_machine_has(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.perf_counter()
    assert doctor(monkeypatch=monkeypatch) == 0
    assert time.perf_counter() - begun < 20
    told = capsys.readouterr().out
    for name in (
        "system",
        "processor",
        "memory",
        "GPU",
        "disk",
        "compiler",
        "packages",
        "extra hub",
        "speed",
    ):
        assert f"\n  {name}" in told
    assert "TFLOP/s" in told
    assert "recipe" not in told


def test_it_tells_what_a_recipe_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor(RECIPES / "demo.yaml", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out
    needs = needs_of(load_recipe(RECIPES / "demo.yaml"))
    assert needs.flops is not None
    assert f"parameters  {format_size(needs.parameters)}\n" in told
    assert f"memory      {format_bytes(16 * needs.parameters)}, 16 bytes a parameter" in told
    assert f"tokens of {needs.flops / (needs.tokens or 0) / 1e9:.3g} GFLOP each" in told
    assert told.endswith("It lacks nothing\n")


def test_it_ends_with_status_1_where_a_recipe_lacks_something(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ("--set", "sources.finnish.path=gone.jsonl", "--set", "training.layout.data=512")
    overrides += ("--set", "training.batch_tokens=524288")
    assert doctor(RECIPES / "demo.yaml", *overrides, monkeypatch=monkeypatch) == 1
    told = capsys.readouterr().out
    assert "\nIt lacks\n  - sources.finnish.path: 'gone.jsonl' matches no file" in told
    assert "\n  - training.layout: asks for 512 ranks" in told


def test_json_holds_all_of_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ("--set", "sources.finnish.path=gone.jsonl")
    assert doctor(RECIPES / "demo.yaml", *overrides, "--json", monkeypatch=monkeypatch) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["machine"]["cores"] >= 1
    assert told["matmul_flops"] > 1e8
    assert told["needs"]["parameters"] == needs_of(load_recipe(RECIPES / "demo.yaml")).parameters
    assert told["seconds"] == pytest.approx(told["needs"]["flops"] / told["matmul_flops"])
    assert [problem["key"] for problem in told["problems"]] == ["sources.finnish.path"]


def test_a_recipe_that_is_not_valid_is_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert doctor(tmp_path / "none.yaml", monkeypatch=monkeypatch) == 1
    assert "none.yaml" in capsys.readouterr().err
