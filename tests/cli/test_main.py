"""The command line as a whole: quick to start, one clear message where something is wrong."""

import json
import subprocess
import sys

import pytest
from workshop import REPOSITORY, tokka


def test_help_imports_nothing_heavy():
    heavy = {
        "torch",
        "transformers",
        "tokenizers",
        "pydantic",
        "pyarrow",
        "numpy",
        "rich",
        "datasets",
        "yaml",
    }
    script = f"import sys, tokka.cli.main; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_help_names_every_verb():
    shown = tokka("--help").stdout
    verbs = ("run", "train", "launch", "status", "new", "doctor")
    verbs += ("generate", "chat", "evaluate", "report", "upload")
    groups = ("recipe", "corpus", "tokenizer", "verify")
    assert all(f"\n  {verb} " in shown for verb in (*verbs, *groups))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "missing.yaml"), "missing.yaml"),
        (("report", "missing"), "no run in missing"),
        (("generate", "missing", "x"), "missing"),
        (
            ("recipe", "validate", REPOSITORY / "recipes" / "demo.yaml", "--set", "training.tokns=1"),
            "`tokens`",
        ),
        (("tokenizer", "fertility", "missing", "--texts", f"fi={__file__}"), "no folder missing"),
        (("tokenizer", "fertility", "missing", "--texts", "fi=missing"), "'missing' matches no file"),
        (("evaluate", "missing", "--texts", "fi"), "fi=my_texts.jsonl"),
        (("new", "not a language"), "not a language"),
    ],
)
def test_what_a_user_can_mend_is_a_message_not_a_stack_of_calls(arguments, message, tmp_path):
    done = tokka(*arguments, cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_shown_recipe_is_the_recipe_with_defaults_and_overrides(tmp_path):
    path = REPOSITORY / "recipes" / "demo.yaml"
    shown = tokka("recipe", "show", path, "--set", "training.tokens=2M")
    (tmp_path / "shown.yaml").write_text(shown.stdout, encoding="utf-8")
    again = tokka("recipe", "show", tmp_path / "shown.yaml", "--json")
    content = json.loads(again.stdout)
    assert content["training"]["tokens"] == 2_000_000
    assert content["training"]["optimizer"]["betas"] == [0.9, 0.95]


def test_a_mixture_is_printed_as_table_and_as_json():
    path = REPOSITORY / "recipes" / "poro2-70b.yaml"
    assert "49.6B" in tokka("corpus", "mix", path).stdout
    rows = json.loads(tokka("corpus", "mix", path, "--json").stdout)["rows"]
    assert {row["source"]: round(row["percent"]) for row in rows} == {
        "finnish": 30,
        "english": 30,
        "code": 30,
        "math": 10,
    }
