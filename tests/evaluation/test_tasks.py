"""Finding, refusing and running tasks."""

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness (the extra `eval`)")

from tokka.evaluation.beginning import beginning_of
from tokka.evaluation.harness import HarnessModel
from tokka.evaluation.tasks import load_tasks, run_task
from tokka.models.weights import load_hf
from tokka.recipe.evaluation import Task
from tokka.tokenizer.load import load_tokenizer

LOCAL = """
dataset_path: json
dataset_kwargs: {data_files: {test: docs.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: 0
doc_to_choice: ["yes", "no"]
"""


@pytest.fixture(scope="module")
def model(model_folder, tokenizer_folder) -> HarnessModel:
    network, _ = load_hf(model_folder("llama"), dtype=torch.float32)
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    return HarnessModel(
        network, tokenizer, beginning=beginning_of(tokenizer), stop_ids={2}, sequence_length=128
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "docs.jsonl").write_text('{"question": "Is it winter?"}\n{"question": "Is it dark?"}\n')
    return tmp_path


def load(folder: Path, name: str, yaml: str = ""):
    if yaml:
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{LOCAL}{yaml}")
    (loaded,) = load_tasks([Task(name=name, path=str(folder))], Path())
    return loaded


def test_shots_and_limit_of_the_recipe_win_even_over_a_task_that_states_none(task_folder, model):
    tasks = [Task(name="sums_written", path=str(task_folder), shots=2, limit=3)]
    found = run_task(load_tasks(tasks, Path())[0], model)
    assert found["results"]["sums_written"]["shots"] == 2
    assert found["results"]["sums_written"]["documents"] == 3
    assert found["results"]["sums_written"]["version"] == 1.5
    assert found["limit"] == 3


def test_a_group_has_its_own_figure_and_those_of_its_members(task_folder, model):
    found = run_task(load_tasks([Task(name="sums", path=str(task_folder))], Path())[0], model)
    assert found["results"].keys() == {"sums", "sums_choice", "sums_written"}
    assert found["results"]["sums_choice"]["metrics"]["acc"]["higher_is_better"] is True
    assert "exact_match,number" in found["results"]["sums_written"]["metrics"]


def test_a_loaded_task_gives_the_same_result_every_time(task_folder, model):
    (loaded,) = load_tasks([Task(name="sums", path=str(task_folder), shots=3)], Path())
    assert run_task(loaded, model) == run_task(loaded, model)


def test_data_files_are_found_beside_the_task_wherever_the_recipe_is(
    task_folder, model, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    task = Task(name="sums_choice", path=task_folder.name)
    (loaded,) = load_tasks([task], task_folder.parent)
    assert loaded.error == ""
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    ("name", "yaml", "reason"),
    [
        ("runs", "unsafe_code: true\n", "runs code that the model wrote"),
        ("judged", "metric_list: [{metric: code_eval}]\n", "code_eval of judged would be fetched as code"),
        ("fetched", "metric_list: [{metric: acc, hf_evaluate: true}]\n", "would be fetched as code"),
        ("gone", "dataset_kwargs: {data_files: {test: elsewhere.jsonl}}\n", "elsewhere.jsonl"),
        ("split", "test_split: dev\n", "dev"),
    ],
)
def test_a_task_that_cannot_run_says_why_and_the_others_run(folder, model, capsys, name, yaml, reason):
    load(folder, "good", "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n")
    (folder / f"{name}.yaml").write_text(f"task: {name}\n{_replacing(LOCAL, yaml)}")
    tasks = [Task(name=each, path=str(folder)) for each in (name, "good")]
    bad, good = [run_task(loaded, model) for loaded in load_tasks(tasks, Path())]
    assert reason in bad["error"]
    assert f"task {name}: " in capsys.readouterr().err
    assert good["results"]["good"]["documents"] == 2


def _replacing(template: str, yaml: str) -> str:
    key = yaml.partition(":")[0]
    return (
        "".join(line for line in template.splitlines(keepends=True) if not line.startswith(f"{key}:")) + yaml
    )


def test_a_group_with_a_member_that_runs_code_is_refused(folder):
    load(folder, "runs", "unsafe_code: true\n")
    (folder / "all.yaml").write_text("group: all\ntask: [{group: inner, task: [runs]}]\n")
    assert "runs runs code" in load(folder, "all").error


def test_a_tag_with_a_member_that_runs_code_is_refused(folder):
    load(folder, "runs", "unsafe_code: true\ntag: [tagged]\n")
    assert "runs runs code" in load(folder, "tagged").error


def test_code_beside_a_refused_task_is_never_imported(folder):
    (folder / "evil.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nf = 0\n"
    )
    loaded = load(folder, "runs", "unsafe_code: true\nprocess_docs: !function evil.f\n")
    assert "runs code" in loaded.error
    assert not (folder / "ran").exists()


@pytest.mark.slow  # indexing the harness's own fourteen thousand task files
def test_the_harness_own_tasks_are_found_and_those_that_run_code_refused():
    tasks = [Task(name="humaneval"), Task(name="arc_chalenge")]
    code, misspelt = load_tasks(tasks, Path())
    assert "humaneval runs code that the model wrote" in code.error
    assert "did you mean arc_challenge?" in misspelt.error


def test_a_name_that_is_no_task_gets_the_names_there_are(folder):
    load(folder, "good", "tag: [t]\n")
    (folder / "more").mkdir()
    assert load(folder, "bad").error.endswith("there are good, t")
    assert "there is no folder" in load(folder / "nowhere", "bad").error


def test_without_the_harness_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ImportError, match=r"pip install 'tokka\[eval\]'"):
        load_tasks([Task(name="arc")], Path())
