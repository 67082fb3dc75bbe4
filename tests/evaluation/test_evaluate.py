"""Evaluating the revisions of a run, and any model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import tokka.evaluation.evaluate as evaluating
from tokka.data.corpus import build_corpus, read_documents
from tokka.evaluation.evaluate import evaluate, evaluate_model
from tokka.recipe.evaluation import Task
from tokka.recipe.recipe import Recipe


@pytest.fixture(scope="module")
def root(tmp_path_factory, text, task_folder) -> Path:
    """The folder of a recipe with two sources and a task."""
    folder = tmp_path_factory.mktemp("recipe")
    for name, lines in {"prose": text.splitlines()[:3], "code": text.splitlines()[3:]}.items():
        rows = [{"text": f"{line} {number}"} for number in range(12) for line in lines]
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    shutil.copytree(task_folder, folder / "tasks")
    return folder


def recipe(**evaluation: Any) -> Recipe:
    settings = {"heldout": 0.5, "heldout_bytes": 2000} | evaluation
    return Recipe.model_validate(
        {
            "name": "test",
            "sources": {
                "prose": {"path": "prose.jsonl", "language": "fi"},
                "code": {"path": "code.jsonl", "language": "code"},
            },
            "mixture": {"prose": {"percent": 50}, "code": {"rest": True}},
            "tokenizer": {"load": "unused"},
            "model": {
                "architecture": "llama",
                "n_layers": 2,
                "n_heads": 4,
                "n_kv_heads": 2,
                "d_model": 32,
                "d_ffn": 64,
                "vocab_size": 384,
                "max_sequence_length": 256,
            },
            "training": {
                "tokens": 1280,
                "sequence_length": 64,
                "batch_tokens": 128,
                "optimizer": {"lr": 0.001},
                "precision": "fp32",
            },
            "evaluation": settings,
            "release": {"repo": "a/b"},
        }
    )


@pytest.fixture(scope="module")
def parts(root, tmp_path_factory, model_folder, tokenizer_folder) -> dict[str, Path]:
    """Two revisions, a tokenizer and a corpus, as the stages before would leave them."""
    run = tmp_path_factory.mktemp("run")
    for name in ("prose", "code"):
        source = recipe().sources[name]
        build_corpus(name, source, run / "corpus" / name, root=root, heldout=0.5, workers=1)
    shutil.copytree(model_folder("llama"), run / "revisions" / "1M")
    other = AutoModelForCausalLM.from_pretrained(model_folder("llama"))
    with torch.no_grad():
        other.lm_head.weight.mul_(0.1)
    other.save_pretrained(run / "revisions" / "200K")
    (run / "revisions" / ".1.5M.part").mkdir()
    return {
        "revisions": run / "revisions",
        "tokenizer": tokenizer_folder("plain"),
        "corpus": run / "corpus",
        "root": root,
    }


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """The names of the revisions that are measured from here on."""
    names: list[str] = []
    measure = evaluating.measure

    def noting(name: str, *arguments: Any) -> dict[str, Any]:
        names.append(name)
        return measure(name, *arguments)

    monkeypatch.setattr(evaluating, "measure", noting)
    return names


def test_every_revision_gets_a_file_and_facts_in_the_order_of_tokens(parts, tmp_path):
    facts = evaluate(recipe(prompts=["Poro"]), **parts, folder=tmp_path)
    assert [revision["name"] for revision in facts["revisions"]] == ["200K", "1M"]
    assert [revision["tokens"] for revision in facts["revisions"]] == [200_000, 1_000_000]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1M.json", "200K.json"]
    first, second = facts["revisions"]
    assert first["languages"]["fi"]["bits_per_byte"] < second["languages"]["fi"]["bits_per_byte"]
    assert first["sources"].keys() == {"prose", "code"}
    assert first["samples"][0]["prompt"] == "Poro"


def test_only_held_out_text_is_scored_and_all_of_it_where_the_limit_allows(parts, tmp_path):
    facts = evaluate(recipe(heldout_bytes="1M"), **parts, folder=tmp_path)
    heldout = [document.text for document in read_documents(parts["corpus"] / "prose", "heldout")]
    assert 0 < len(heldout) < 36
    assert facts["texts"]["prose"]["documents"] == len(heldout)
    score = facts["revisions"][0]["sources"]["prose"]
    assert score["bytes"] == sum(len(text.encode()) for text in heldout)
    assert score["characters"] == sum(len(text) for text in heldout)


def test_a_file_says_all_that_decided_its_figures(parts, tmp_path):
    evaluate(recipe(), **parts, folder=tmp_path)
    settings = json.loads((tmp_path / "1M.json").read_text())["settings"]
    assert settings["sequence_length"] == 64
    assert settings["stride"] == 32
    assert settings["precision"] == "fp32"
    assert settings["first_token"] == 2
    assert settings["device"] in ("cpu", "cuda")
    assert settings["texts"]["prose"]["language"] == "fi"
    assert {"python", "torch", "tokenizers"} <= settings["versions"].keys()
    written = (tmp_path / "1M.json").read_text()
    assert str(parts["corpus"]) not in written
    assert str(parts["revisions"]) not in written


def test_a_second_call_measures_nothing(parts, tmp_path, measured):
    facts = evaluate(recipe(), **parts, folder=tmp_path)
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert evaluate(recipe(), **parts, folder=tmp_path) == facts
    assert measured == ["200K", "1M"]
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


def test_a_killed_evaluation_goes_on(parts, tmp_path, measured, monkeypatch):
    facts = evaluate(recipe(), **parts, folder=tmp_path / "whole")
    measured.clear()

    write = evaluating.write_json

    def killed_before_the_second(path: Path, content: Any) -> None:
        if path.stem == "1M":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(evaluating, "write_json", killed_before_the_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate(recipe(), **parts, folder=tmp_path / "killed")
    monkeypatch.setattr(evaluating, "write_json", write)
    resumed = evaluate(recipe(), **parts, folder=tmp_path / "killed")
    assert measured == ["200K", "1M", "1M"]
    assert without_times(resumed) == without_times(facts)


def without_times(facts: dict[str, Any]) -> list[Any]:
    return [{key: each[key] for key in each if key != "seconds"} for each in facts["revisions"]]


@pytest.mark.parametrize("damage", ["", '{"name": "1M", "sett'])
def test_a_damaged_result_is_measured_again(parts, tmp_path, measured, damage):
    facts = evaluate(recipe(), **parts, folder=tmp_path)
    (tmp_path / "1M.json").write_text(damage)
    again = evaluate(recipe(), **parts, folder=tmp_path)
    assert measured == ["200K", "1M", "1M"]
    assert without_times(again) == without_times(facts)


def test_other_settings_or_weights_are_measured_again(parts, tmp_path, measured):
    evaluate(recipe(), **parts, folder=tmp_path)
    evaluate(recipe(heldout_bytes=1000), **parts, folder=tmp_path)
    assert measured == ["200K", "1M"] * 2
    measured.clear()
    revisions = tmp_path / "revisions"
    shutil.copytree(parts["revisions"], revisions)
    shutil.copytree(revisions / "200K", revisions / "1M", dirs_exist_ok=True)
    evaluate(recipe(heldout_bytes=1000), **parts | {"revisions": revisions}, folder=tmp_path)
    assert measured == ["1M"]


def test_tasks_are_run_and_a_failed_one_is_recorded_and_tried_again(parts, tmp_path, measured):
    pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness (the extra `eval`)")
    good = {"name": "sums_choice", "path": "tasks", "shots": 1, "limit": 4}
    bad = {"name": "missing", "path": "tasks"}
    asked = recipe(tasks=[good, bad])
    for _ in range(2):
        facts = evaluate(asked, **parts, folder=tmp_path)
        ran, failed = facts["revisions"][1]["tasks"]
        assert ran["results"]["sums_choice"]["documents"] == 4
        assert "no task or group has this name" in failed["error"]
    assert measured == ["200K", "1M"] * 2
    evaluate(recipe(tasks=[good]), **parts, folder=tmp_path)
    evaluate(recipe(tasks=[good]), **parts, folder=tmp_path)
    assert measured == ["200K", "1M"] * 3


def test_a_changed_task_file_is_run_again(parts, tmp_path, measured):
    pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness (the extra `eval`)")
    root = tmp_path / "recipe"
    shutil.copytree(parts["root"], root)
    asked = recipe(tasks=[{"name": "sums_choice", "path": "tasks", "limit": 2}])
    for _ in range(2):
        evaluate(asked, **parts | {"root": root}, folder=tmp_path / "results")
    assert measured == ["200K", "1M"]
    with (root / "tasks" / "sums.jsonl").open("a") as lines:
        lines.write((root / "tasks" / "sums.jsonl").read_text().splitlines()[0] + "\n")
    evaluate(asked, **parts | {"root": root}, folder=tmp_path / "results")
    assert measured == ["200K", "1M"] * 2


def test_a_template_makes_the_special_tokens_that_it_spells(parts, tmp_path):
    asked = recipe().model_dump()
    asked["sources"]["prose"] |= {"template": ["<pad>{text}"]}
    facts = evaluate(Recipe.model_validate(asked), **parts, folder=tmp_path)
    assert facts["texts"]["prose"]["specials"] == ["<pad>"]
    assert facts["texts"]["code"]["specials"] == []


def test_a_tokenizer_of_another_model_is_refused(parts, tmp_path, model_folder):
    small = AutoModelForCausalLM.from_pretrained(model_folder("llama"))
    small.resize_token_embeddings(100)
    small.save_pretrained(tmp_path / "small")
    with pytest.raises(ValueError, match="do not belong together"):
        evaluate_model(tmp_path / "small", tokenizer=parts["tokenizer"])


def test_revisions_that_are_not_there_or_not_named_by_tokens_are_refused(parts, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no revisions"):
        evaluate(recipe(), **parts | {"revisions": tmp_path / "empty"}, folder=tmp_path)
    (tmp_path / "odd" / "final").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no revisions in .*odd"):
        evaluate(recipe(), **parts | {"revisions": tmp_path / "odd"}, folder=tmp_path)


def test_any_model_is_measured_without_a_recipe(model_folder, tokenizer_folder, task_folder, text):
    result = evaluate_model(
        model_folder("llama"),
        tokenizer=tokenizer_folder("bos"),
        texts={"mine": ("fi", [text])},
        tasks=[Task(name="sums_choice", path=str(task_folder), limit=2)],
        prompts=["yö"],
        precision="fp32",
    )
    assert result["settings"]["first_token"] == 1
    assert result["settings"]["sequence_length"] == 256
    assert result["sources"]["mine"] == result["languages"]["fi"]
    assert result["tasks"][0]["results"]["sums_choice"]["documents"] == 2
    assert result["samples"][0]["prompt"] == "yö"
    assert result["parameters"] == sum(
        p.numel() for p in AutoModelForCausalLM.from_pretrained(model_folder("llama")).parameters()
    )


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no model"):
        evaluate_model(tmp_path)
