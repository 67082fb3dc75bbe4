"""The whole line: from raw text to a released model, resumed, repeated, and loaded elsewhere."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from workshop import TOKKA, small_run_command, tokka

from tokka.models.weights import load_hf
from tokka.workspace.files import digest_file, read_json

STAGES = ["tokenizer", "mixture", "training", "evaluation", "release", "report"]
SOURCES = ["finnish", "english", "parallel", "mathematics", "code"]


def _weights(run: Path) -> dict[str, str]:
    folder = run / "training" / "revisions"
    return {str(path.relative_to(folder)): digest_file(path) for path in folder.rglob("*.safetensors")}


def _card(run: Path) -> list[str]:
    """Return the card's lines but the one that states measured time and speed."""
    lines = (run / "release" / "main" / "README.md").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("Training ran on")]
    assert len(kept) == len(lines) - 1
    return kept


def test_every_stage_has_a_manifest_with_inputs_recipe_versions_and_facts(small_run):
    for stage in [*STAGES, *(f"{kind}/{source}" for kind in ("corpus", "tokens") for source in SOURCES)]:
        manifest = read_json(small_run / stage / "manifest.json")
        assert manifest["stage"] == stage
        assert manifest["inputs"] or stage == "tokenizer"
        assert manifest["versions"]["torch"]
        assert manifest["facts"] or stage == "report"


def test_a_second_run_with_nothing_changed_does_nothing_and_is_quick(small_run):
    begun = time.monotonic()
    done = tokka(*small_run_command(small_run))
    assert time.monotonic() - begun < 5
    assert done.returncode == 0
    assert "everything is up to date" in done.stderr


def test_the_table_shows_learning_in_every_language(small_run):
    files = (small_run / "evaluation").glob("*K.json")
    results = sorted((json.loads(path.read_text()) for path in files), key=lambda result: result["tokens"])
    assert len(results) >= 4
    first, last = results[0]["languages"], results[-1]["languages"]
    for language in ("fi", "en", "code"):
        assert last[language]["bits_per_byte"] < first[language]["bits_per_byte"] < 8


def test_revisions_load_in_plain_transformers_with_tokkas_logits(small_run, tmp_path):
    script = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
cache, out, *revisions = sys.argv[1:]
for revision in revisions:
    where = {"revision": revision, "cache_dir": cache}
    model = AutoModelForCausalLM.from_pretrained("tokka/demo", dtype=torch.float32, **where)
    tokenizer = AutoTokenizer.from_pretrained("tokka/demo", **where)
    ids = tokenizer("Suomen talvi on pitkä. The reindeer runs.", return_tensors="pt").input_ids
    torch.save({"ids": ids, "logits": model(ids).logits.detach()}, f"{out}/{revision}.pt")
assert not any(name.split(".")[0] == "tokka" for name in sys.modules)
"""
    names = [path.name for path in (small_run / "training" / "revisions").iterdir()]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script, small_run / "release" / "hub", tmp_path, "main", *names]
    subprocess.run(command, env=environment, check=True, timeout=300)
    for name in names:
        found = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        model, _ = load_hf(small_run / "training" / "revisions" / name, dtype=torch.float32, device="cpu")
        logits = model(found["ids"])
        assert (logits - found["logits"]).abs().max() <= 1e-5 * found["logits"].abs().max()


def test_the_realised_mix_is_the_one_asked_for(small_run):
    wanted = {
        row["source"]: row["tokens"] for row in read_json(small_run / "mixture" / "mixture.json")["rows"]
    }
    last = json.loads((small_run / "training" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["sources"] == wanted


def test_a_dry_run_names_what_a_change_would_run_again_and_nothing_else(small_run):
    done = tokka(*small_run_command(small_run, "evaluation.prompts=[Hei]"), "--dry-run")
    status = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    again = {stage for stage, text in status.items() if not text.startswith("done")}
    assert again == {"evaluation", "release", "report"}


def test_bad_recipes_are_refused_before_anything_starts(tmp_path):
    done = tokka(*small_run_command(tmp_path / "run", "sources.finnish.path=[missing.jsonl]"))
    assert done.returncode == 1
    assert "sources.finnish.path" in done.stderr
    assert not (tmp_path / "run" / "corpus").exists()


def test_an_unknown_stage_is_refused_with_the_names_there_are(tmp_path):
    done = tokka(*small_run_command(tmp_path / "run"), "--to", "trainig")
    assert done.returncode == 1
    assert "no stage is called 'trainig'; there are corpus, tokenizer" in done.stderr


@pytest.mark.slow
def test_a_line_killed_at_random_moments_ends_with_the_same_bytes(small_run, tmp_path):
    out, chance, kills = tmp_path / "run", random.Random(0), 0
    while True:
        process = subprocess.Popen(
            [TOKKA, *small_run_command(out)], stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            process.wait(timeout=chance.uniform(1, 5) if kills < 6 else 600)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0, process.stderr.read().decode()
        break
    assert kills >= 2
    assert _weights(out) == _weights(small_run)
    for name in ("tokenizer/tokenizer.json", "mixture/mixture.json"):
        assert (out / name).read_bytes() == (small_run / name).read_bytes(), name
    assert _card(out) == _card(small_run)


def test_a_released_model_can_be_the_base_of_another_run(small_run, tmp_path):
    base = small_run / "release" / "main"
    command = small_run_command(
        tmp_path / "run",
        f"model.base={base}",
        f"tokenizer={{load: {base}}}",
        "training.guard.base=warn",  # so short a training leaves it no better than token frequencies
        "training.tokens=8K",
        "training.schedule={shape: constant}",
        "training.checkpoints.revisions=4K",
        without=("tokenizer.train", "training.schedule"),
    )
    done = tokka(*command)
    assert done.returncode == 0, done.stderr
    before = json.loads((small_run / "training" / "metrics.jsonl").read_text().splitlines()[0])["loss"]
    after = json.loads((tmp_path / "run" / "training" / "metrics.jsonl").read_text().splitlines()[0])["loss"]
    assert after < before - 0.3


def test_how_a_step_is_computed_and_when_a_run_gives_up_may_change(small_run):
    changes = ("training.micro_batch=4", "training.guard.max_bad_steps=9", "training.checkpoints.keep=5")
    done = tokka(*small_run_command(small_run, *changes), "--dry-run")
    assert all(line.split(maxsplit=1)[1].startswith("done") for line in done.stdout.splitlines()), done.stdout


def test_a_source_with_nothing_to_train_on_is_named_before_training(tmp_path):
    (tmp_path / "empty.jsonl").write_text('{"text": ""}\n')
    overrides = (f"sources.finnish.path=[{tmp_path / 'empty.jsonl'}]", "sources.finnish.heldout=0")
    done = tokka(*small_run_command(tmp_path / "run", *overrides), "--to", "mixture")
    assert done.returncode == 1
    assert (
        "mixture.finnish: the source has no training document: 1 records, of which 1 were kept" in done.stderr
    )
