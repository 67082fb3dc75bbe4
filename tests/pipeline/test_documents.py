"""Deduplication and decontamination as stages: what follows reads what they left."""

import json
import random

import pytest

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness (the extra `eval`)")

from workshop import tokka

from tokka.data.corpus import read_documents, read_removed
from tokka.data.store import TokenStore
from tokka.pipeline.run import outlook, run_recipe
from tokka.recipe.load import RecipeError, load_recipe
from tokka.workspace.manifest import Manifest

QUESTION = "Kuinka monta poroa jää tunturiin, jos {} niistä karkaa metsään ennen juhannusta?"
TASK = """
task: porot
dataset_path: json
dataset_kwargs: {data_files: {test: porot.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["yksi", "kaksi"]
doc_to_target: 1
"""
RECIPE = """
name: small
sources:
  a: {path: a.jsonl, language: fi}
  b: {path: b.jsonl, language: fi}
deduplicate: true
mixture: {a: {percent: 50}, b: {rest: true}}
tokenizer: {train: {vocab_size: 400, sample_bytes: 100K}}
model: {architecture: bloom, n_layers: 1, n_heads: 1, d_model: 32, vocab_size: 512}
training:
  tokens: 8K
  sequence_length: 64
  batch_tokens: 512
  micro_batch: 8
  optimizer: {lr: 1.0e-3}
  schedule: {shape: constant}
  checkpoints: {revisions: 4K}
evaluation: {heldout: 0.1, tasks: [{name: porot, path: tasks}]}
release: {repo: tokka/small}
"""


def story(seed):
    draw = random.Random(seed)
    return " ".join(
        f"{draw.choice(['poro', 'hanki', 'kota', 'suo'])}{draw.randrange(500)}" for _ in range(60)
    )


def write_source(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


@pytest.fixture
def workplace(tmp_path):
    """A recipe with two sources: 10 copies of a's in b, and an item of its task in two documents of a."""
    (tmp_path / "tasks").mkdir()
    rows = "".join(json.dumps({"question": QUESTION.format(number)}) + "\n" for number in range(20, 30))
    (tmp_path / "tasks" / "porot.jsonl").write_text(rows)
    (tmp_path / "tasks" / "porot.yaml").write_text(TASK)
    first = [story(seed) for seed in range(40)]
    for place in (3, 17):
        first[place] += "\n" + QUESTION.format(20 + place % 10).upper().replace(" ", " \n ")
    write_source(tmp_path / "a.jsonl", first)
    write_source(
        tmp_path / "b.jsonl",
        [story(seed) for seed in range(100, 130)] + [f"{story(n)} loppu" for n in range(20, 30)],
    )
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def run(workplace, *overrides, to="tokens"):
    recipe = load_recipe(workplace / "r.yaml", overrides)
    run_recipe(recipe, root=workplace, folder=workplace / "run", to=to)


def again(workplace, *overrides):
    """Return the stages that a change would certainly run again, and those that may after them."""
    recipe = load_recipe(workplace / "r.yaml", overrides)
    found = outlook(recipe, root=workplace, folder=workplace / "run", to="tokens")
    pending = {line.stage: line.why for line in found if line.status.value != "done"}
    return {stage for stage, why in pending.items() if not why.startswith("after")}


def texts(workplace, source):
    return [document.text for document in read_documents(workplace / "run" / "documents" / source, "train")]


def documents(workplace, source):
    return Manifest.read(workplace / "run" / "documents" / source).digest


def test_what_is_trained_on_has_neither_duplicates_nor_items_and_both_are_kept_aside(workplace):
    run(workplace)
    folder = workplace / "run"
    assert not any("JUHANNUSTA" in text for text in texts(workplace, "a"))
    assert not any("loppu" in text for text in texts(workplace, "b"))
    removed = {source: list(read_removed(folder / "documents" / source)) for source in "ab"}
    assert sorted((each.step, each.reason, each.detail, each.record) for each in removed["a"]) == [
        ("decontaminate", "porot", "1.00 of item 3", 4),
        ("decontaminate", "porot", "1.00 of item 7", 18),
    ]
    assert {(each.step, each.reason) for each in removed["b"]} == {("deduplicate", "near_duplicate")}
    assert len(removed["b"]) == 10
    for source in "ab":
        assert len(TokenStore(folder / "tokens" / source)) == len(texts(workplace, source))
    shown = tokka("corpus", "contaminated", folder, "--json")
    assert [(item["item"], len(item["documents"])) for item in json.loads(shown.stdout)] == [(3, 1), (7, 1)]


def test_a_change_runs_again_what_depends_on_it_and_no_more(workplace):
    run(workplace)
    before = documents(workplace, "a"), documents(workplace, "b")
    assert again(workplace) == set()
    assert again(workplace, "evaluation.tasks=[{name: porot, path: tasks, shots: 2, limit: 3}]") == set()
    assert again(workplace, "deduplicate={threshold: 0.8}") == {"signatures/a", "signatures/b"}
    assert again(workplace, "evaluation.decontaminate=false") == {"documents/a", "documents/b"}
    assert again(workplace, "deduplicate=false") == {"documents/a", "documents/b"}
    (workplace / "tasks" / "porot.jsonl").write_text(json.dumps({"question": QUESTION.format(27)}) + "\n")
    assert again(workplace) == {"benchmarks"}
    run(workplace)
    assert sum("JUHANNUSTA" in text for text in texts(workplace, "a")) == 1
    assert documents(workplace, "a") != before[0]
    assert documents(workplace, "b") == before[1]


def test_a_source_that_is_added_last_changes_no_documents_of_those_before_it(workplace):
    run(workplace, to="documents")
    before = [documents(workplace, source) for source in "ab"]
    copies = [f"{story(number)} alku" for number in (*range(45), *range(100, 110))]
    write_source(workplace / "c.jsonl", [*copies, story(200)])
    run(workplace, "sources.c={path: c.jsonl, language: fi}", "mixture.c={percent: 10}", to="documents")
    assert [documents(workplace, source) for source in "ab"] == before
    assert story(200) in texts(workplace, "c")
    assert len(texts(workplace, "c")) < 10


def test_without_either_the_stages_are_not_there(workplace):
    recipe = load_recipe(workplace / "r.yaml", ["deduplicate=false", "evaluation.tasks=[]"])
    assert recipe.documents == "corpus"
    stages = [line.stage for line in outlook(recipe, root=workplace, folder=workplace / "none")]
    assert not [
        stage for stage in stages if stage.startswith(("signatures", "duplicates", "documents", "bench"))
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("deduplicate={threshold: 1.5}", "deduplicate.threshold"),
        ("deduplicate={threshold: 0.1}", "deduplicate.threshold"),
        ("deduplicate={words: 0}", "deduplicate.words"),
        ("deduplicate={bands: 3}", "deduplicate.bands"),
        ("evaluation.decontaminate=maybe", "evaluation.decontaminate"),
    ],
)
def test_a_wrong_key_is_refused_by_name(workplace, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(workplace / "r.yaml", [override])


def test_a_task_whose_items_cannot_be_had_stops_the_run_before_anything_is_read(workplace):
    (workplace / "tasks" / "porot.jsonl").unlink()
    with pytest.raises(
        ValueError, match=r"the items of porot cannot be had .* evaluation.decontaminate: false"
    ):
        run(workplace)
    assert not (workplace / "run" / "corpus").exists()
    run(workplace, "evaluation.decontaminate=false", to="documents")
