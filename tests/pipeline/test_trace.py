"""What a step was trained on, found without the steps before it."""

import json
from collections import Counter
from pathlib import Path

import pytest
from small_line import BATCH, make_place, recipe
from typer.testing import CliRunner

from tokka.cli.corpus import app
from tokka.pipeline.trace import trace

BETTER = {"at": 8 * BATCH, "mixture": {"english": {"percent": 30}, "code": {"rest": True}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run killed after 11 of 20 steps, with a change on the way and another that was not planned."""
    with pytest.MonkeyPatch.context() as patch:
        place = make_place(tmp_path_factory.mktemp("traced"), patch)
        place.run(recipe(changes=[BETTER]), stop_after=5)
        place.run(recipe({"finnish": {"percent": 10}, "english": {"rest": True}}, [BETTER]), stop_after=11)
    return place.folder


def test_every_step_has_the_tokens_that_training_counted(folder: Path):
    rows = [json.loads(line) for line in (folder / "training" / "metrics.jsonl").open()]
    assert len(rows) == 11
    given = Counter()
    for row in rows:
        for piece in trace(folder, row["step"]):
            given[piece["source"]] += piece["tokens"][1] - piece["tokens"][0]
        assert given == {name: tokens // 32 * 33 for name, tokens in row["sources"].items() if tokens}


def test_file_record_epoch_and_text_are_those_of_the_document(folder: Path):
    texts = {
        f"{name}.jsonl": [json.loads(line)["text"] for line in (folder.parent / f"{name}.jsonl").open()]
        for name in ("finnish", "english", "code")
    }
    pieces = trace(folder, 15)  # still to come
    assert {piece["source"] for piece in pieces} == {"english", "code"}
    for piece in pieces:
        whole = texts[piece["file"]][piece["record"] - 1] + "</s>"
        assert piece["text"] in whole
        assert piece["tokens"][0] > 0 or whole.startswith(piece["text"])
        assert piece["epoch"] == 1


def test_the_command_shows_it_and_refuses_a_step_that_there_is_not(folder: Path):
    def run(*more: str) -> str:
        done = CliRunner().invoke(app, ["trace", str(folder), *more])
        return done.output if done.exit_code == 0 else str(done.exception)

    lines = run("--step", "3").splitlines()
    documents = json.loads(run("--step", "3", "--json"))
    assert len(lines) == len(documents)
    assert {document["sequence"] for document in documents} == set(range(1, 9))
    first = documents[0]
    assert f"{first['file']}:{first['record']}  epoch 1  tokens {first['tokens'][0]}-" in lines[0]
    assert "there is no step 21; the training has the steps 1 to 20" in run("--step", "21")
