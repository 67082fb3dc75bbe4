"""Stages: done once for given inputs, resumed after a kill, run again exactly when an input changed."""

import pytest

from tokka.pipeline.folder import Run
from tokka.pipeline.stage import Stage, Status, perform, standing
from tokka.workspace.manifest import Manifest


def _run(tmp_path) -> Run:
    return Run(recipe=None, root=tmp_path, folder=tmp_path / "run")  # type: ignore[arg-type]


def _stage(name="first", needs=(), decided_by=None, text="made", outside=None, calls=None):
    def work(run):
        if calls is not None:
            calls.append(name)
        (run.of(name) / "result.txt").write_text(text)
        return {"letters": len(text)}

    return Stage(name, needs, decided_by, work, ("*.txt",), outside or (lambda run: {}))


def _do(stage, run):
    return perform(stage, run, standing(stage, run))


def test_a_finished_stage_is_done_and_records_its_outputs_and_facts(tmp_path):
    run, stage = _run(tmp_path), _stage()
    assert standing(stage, run).status is Status.NEW
    manifest = _do(stage, run)
    assert standing(stage, run).status is Status.DONE
    assert manifest == Manifest.read(run.of("first"))
    assert manifest.outputs["result.txt"]["bytes"] == 4
    assert run.facts("first") == {"letters": 4}
    assert "torch" in manifest.versions


def test_a_changed_part_of_the_recipe_runs_the_stage_again_and_says_why(tmp_path):
    run = _run(tmp_path)
    _do(_stage(decided_by={"size": 1}), run)
    found = standing(_stage(decided_by={"size": 2}), run)
    assert (found.status, found.why) == (Status.CHANGED, "its part of the recipe changed")


def test_a_changed_source_file_runs_the_stage_again_and_is_named(tmp_path):
    run = _run(tmp_path)
    _do(_stage(outside=lambda run: {"fi.jsonl": "a"}), run)
    found = standing(_stage(outside=lambda run: {"fi.jsonl": "b"}), run)
    assert (found.status, found.why) == (Status.CHANGED, "fi.jsonl changed")


def test_a_stage_whose_inputs_came_out_the_same_is_not_run_again(tmp_path):
    run = _run(tmp_path)
    second = _stage("second", needs=("first",))
    _do(_stage(decided_by=1), run)
    _do(second, run)
    _do(_stage(decided_by=2), run)  # runs again, with the same result
    assert standing(second, run).status is Status.DONE
    _do(_stage(decided_by=3, text="other"), run)
    found = standing(second, run)
    assert (found.status, found.why) == (Status.CHANGED, "first changed")


def test_what_was_made_with_other_inputs_is_set_aside_and_comes_back(tmp_path):
    run, calls = _run(tmp_path), []
    for wanted in (1, 2, 1):
        stage = _stage(decided_by=wanted, text=f"text {wanted}", calls=calls)
        _do(stage, run)
        assert (run.of("first") / "result.txt").read_text() == f"text {wanted}"
    assert calls == ["first", "first"]


def test_a_stage_that_was_stopped_goes_on_in_its_own_folder(tmp_path):
    run, attempts = _run(tmp_path), []

    def work(run):
        attempts.append(sorted(path.name for path in run.of("first").glob("*.txt")))
        (run.of("first") / f"{len(attempts)}.txt").write_text("x")
        if len(attempts) == 1:
            raise KeyboardInterrupt
        return {}

    stage = Stage("first", (), None, work, ("*.txt",))
    with pytest.raises(KeyboardInterrupt):
        _do(stage, run)
    assert standing(stage, run).status is Status.RESUME
    _do(stage, run)
    assert attempts == [[], ["1.txt"]]


def test_half_made_work_from_other_inputs_is_not_gone_on_with(tmp_path):
    run = _run(tmp_path)

    def fail(run):
        (run.of("first") / "half.txt").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _do(Stage("first", (), 1, fail, ("*.txt",)), run)
    _do(_stage(decided_by=2), run)
    assert sorted(path.name for path in run.of("first").glob("*.txt")) == ["result.txt"]


@pytest.mark.parametrize("damage", ["remove", "cut"])
def test_an_output_that_is_gone_or_cut_short_is_made_again(tmp_path, damage):
    run, stage = _run(tmp_path), _stage()
    _do(stage, run)
    path = run.of("first") / "result.txt"
    path.unlink() if damage == "remove" else path.write_text("ma")
    found = standing(stage, run)
    assert (found.status, found.why) == (Status.CHANGED, "result.txt is missing or has another size")
    _do(stage, run)
    assert path.read_text() == "made"
    assert (run.folder / "stale" / "first.damaged").is_dir()


def test_a_manifest_that_is_no_manifest_is_refused_with_its_path(tmp_path):
    run, stage = _run(tmp_path), _stage()
    _do(stage, run)
    (run.of("first") / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"manifest\.json is not a manifest .* remove it"):
        standing(stage, run)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_mark_of_begun_work_sets_the_folder_aside(tmp_path, content):
    run, stage = _run(tmp_path), _stage()
    run.of("first").mkdir(parents=True)
    (run.of("first") / "begun.json").write_text(content)
    (run.of("first") / "half.txt").write_text("x")
    _do(stage, run)
    assert sorted(path.name for path in run.of("first").glob("*.txt")) == ["result.txt"]


def test_a_manifest_with_a_damaged_output_is_refused_with_its_path(tmp_path):
    run, stage = _run(tmp_path), _stage()
    _do(stage, run)
    path = run.of("first") / "manifest.json"
    path.write_text(path.read_text().replace('"bytes"', '"bites"'))
    with pytest.raises(ValueError, match=r"manifest\.json is not a manifest"):
        standing(stage, run)
