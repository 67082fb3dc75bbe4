"""The adapter against lm-evaluation-harness's own Hugging Face model, on the same weights and tasks."""

import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness (the extra `eval`)")

from lm_eval.api.instance import Instance
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tokka.evaluation.beginning import beginning_of
from tokka.evaluation.harness import HarnessModel
from tokka.evaluation.tasks import load_tasks, run_task
from tokka.models.weights import load_hf
from tokka.recipe.evaluation import Task
from tokka.tokenizer.load import load_tokenizer

LENGTH = 128


def ours(model: Path, tokenizer: Path, **settings: Any) -> HarnessModel:
    network, _ = load_hf(model, dtype=torch.float32)
    loaded = load_tokenizer(tokenizer)
    return HarnessModel(
        network,
        loaded,
        beginning=beginning_of(loaded),
        stop_ids={2},
        **({"sequence_length": LENGTH} | settings),
    )


def theirs(model: Path, tokenizer: Path) -> HFLM:
    plain = beginning_of(load_tokenizer(tokenizer)).token
    return HFLM(
        pretrained=str(model),
        tokenizer=str(tokenizer),
        dtype="float32",
        device="cpu",
        batch_size=4,
        max_length=LENGTH,
        prefix_token_id=plain,
    )


@pytest.fixture(
    scope="module", params=[("llama", "plain"), ("bloom", "plain"), ("llama", "bos")], ids="-".join
)
def pair(request, model_folder, tokenizer_folder) -> tuple[HarnessModel, HFLM]:
    model, tokenizer = request.param
    folders = model_folder(model), tokenizer_folder(tokenizer)
    return ours(*folders), theirs(*folders)


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, each, index) for index, each in enumerate(arguments)]


# No two of these are one sequence split in two places: the reference scores the wrong tokens of such a pair.
PAIRS = [
    ("Poro etsii", " jäkälää"),
    ("Poro etsii ", "jäkälää"),
    ("Poro etsii \n", " jäkälää lumen alta."),
    ("", "Kesällä yö on valoisa"),
    ("Kesällä yö on", " valoisa,"),
    ("Kesällä yö on", " pitkä"),
    ("<s>Kesällä yö on", " pitkä"),
    ("pitkä " * 300, "talvi on ohi"),
    ("def count(herd):\n    return", " 42"),
]


def test_log_likelihoods_are_theirs(pair):
    mine, reference = (model.loglikelihood(requests("loglikelihood", PAIRS)) for model in pair)
    assert [log for log, _ in mine] == pytest.approx([log for log, _ in reference], abs=1e-4)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in reference]


def test_greedy_continuations_are_known_as_such_by_both(pair):
    context = "Suomen talvi"
    (answer,) = pair[0].generate_until(
        requests("generate_until", [(context, {"until": [], "max_gen_toks": 5})])
    )
    whole = [(context, answer), (context, " järvi")]
    mine, reference = (model.loglikelihood(requests("loglikelihood", whole)) for model in pair)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in reference]


def test_written_answers_are_theirs(pair):
    ways = [
        {"until": ["\n"], "max_gen_toks": 20, "do_sample": False},
        {"until": ["ä", "e", "poro"], "max_gen_toks": 40},
        {"until": [], "max_gen_toks": 7, "temperature": 0.0},
    ]
    contexts = ["Poro", "Suomen talvi on pitkä ja", "12 + 30 =", "järvi " * 90, "def count(herd):"]
    asked = [(context, dict(way)) for context in contexts for way in ways]
    mine, reference = (model.generate_until(requests("generate_until", asked)) for model in pair)
    assert mine == reference
    assert len(set(mine)) > 5


def test_whole_texts_have_their_log_likelihood(pair, text):
    mine, reference = pair
    if mine._beginning.added:
        pytest.skip("theirs scores the beginning token after itself, which ours does not by design")
    lines = [(line,) for line in [*text.splitlines(), text]]
    found = mine.loglikelihood_rolling(requests("loglikelihood_rolling", lines))
    expected = reference.loglikelihood_rolling(requests("loglikelihood_rolling", lines))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-4)


def test_a_token_that_the_tokenizer_adds_is_not_scored(model_folder, tokenizer_folder):
    folders = [(model_folder("llama"), tokenizer_folder(kind)) for kind in ("plain", "bos")]
    asked = requests("loglikelihood_rolling", [("revontulet",)])
    plain, bos = (ours(*each) for each in folders)
    plain._beginning = plain._beginning._replace(token=1)
    assert plain.loglikelihood_rolling(asked) == pytest.approx(bos.loglikelihood_rolling(asked))


@pytest.mark.parametrize("name", ["sums", "lines"])
def test_a_task_has_the_same_scores(pair, task_folder, name, monkeypatch):
    if name == "lines" and pair[0]._beginning.added:
        pytest.skip("as above")
    (loaded,) = load_tasks([Task(name=name, path=str(task_folder))], Path())
    found = run_task(loaded, pair[0])

    monkeypatch.chdir(task_folder)
    manager = TaskManager(include_path=str(task_folder), include_defaults=False)
    expected = simple_evaluate(model=pair[1], tasks=[name], task_manager=manager, bootstrap_iters=10)
    assert_equal_results(found, expected)


@pytest.mark.parametrize("name", ["arc", "hellaswag", "gsm8k"])
def test_real_benchmarks_have_the_same_scores(pair, shared_data, tmp_path, name, monkeypatch):
    source, settings = REAL[name]
    with gzip.open(shared_data / "eval" / source, "rt", encoding="utf-8") as lines:
        (tmp_path / "docs.jsonl").write_text("".join(islice(lines, 24)), encoding="utf-8")
    (tmp_path / "task.yaml").write_text(f"task: {name}\n{DOCS}{settings}")
    (loaded,) = load_tasks([Task(name=name, path=str(tmp_path), shots=1, limit=12)], Path())
    found = run_task(loaded, pair[0])

    monkeypatch.chdir(tmp_path)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    expected = simple_evaluate(
        model=pair[1], tasks=[name], task_manager=manager, num_fewshot=1, limit=12, bootstrap_iters=10
    )
    assert_equal_results(found, expected)


DOCS = """
dataset_path: json
dataset_kwargs: {data_files: {test: docs.jsonl}}
test_split: test
fewshot_split: test
"""
CHOICES = """
output_type: multiple_choice
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
REAL = {
    "arc": (
        "arc/arc_challenge_mosaic.jsonl.gz",
        f"{CHOICES}doc_to_text: '{{{{query}}}} Answer:'\ndoc_to_target: gold\ndoc_to_choice: choices\n",
    ),
    "hellaswag": (
        "hellaswag/val.jsonl.gz",
        f"{CHOICES}doc_to_text: '{{{{ctx}}}}'\ndoc_to_target: label\ndoc_to_choice: endings\n",
    ),
    "gsm8k": (
        "gsm8k/test.jsonl.gz",
        """
output_type: generate_until
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer.split('####')[-1].strip()}}"
generation_kwargs: {until: ["Question:"], max_gen_toks: 32, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
filter_list:
  - {name: flexible-extract, filter: [{function: regex, regex_pattern: "(-?[0-9])"}, {function: take_first}]}
""",
    ),
}


def assert_equal_results(found: dict[str, Any], expected: Any) -> None:
    rows = expected["results"] | expected.get("groups", {})
    assert found["results"].keys() == rows.keys()
    for name, row in rows.items():
        for key, value in row.items():
            metric, comma, choice = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            mine = found["results"][name]["metrics"][metric if choice == "none" else key]["value"]
            assert mine == pytest.approx(value, abs=1e-4, rel=1e-4), (name, key)


def test_batches_do_not_change_what_is_written(model_folder, tokenizer_folder):
    folders = model_folder("bloom"), tokenizer_folder("plain")
    asked = [
        (context, {"until": ["\n"], "max_gen_toks": 12}) for context in ("Poro", "12 + 30 = 42, and", "yö")
    ]
    alone = ours(*folders, batch_tokens=1).generate_until(requests("generate_until", asked))
    assert ours(*folders).generate_until(requests("generate_until", asked)) == alone


def test_sampled_answers_repeat_and_differ(model_folder, tokenizer_folder):
    model = ours(model_folder("llama"), tokenizer_folder("plain"))
    way = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0, "top_p": 0.95}
    asked = [("Poro", dict(way))] * 4
    written = model.generate_until(requests("generate_until", asked))
    assert len(set(written)) == 4
    assert model.generate_until(requests("generate_until", asked)) == written


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"until": [], "max_gen_toks": LENGTH}, "leave no room"),
        ({"until": [], "max_gen_toks": 4, "num_beams": 2}, "num_beams are not supported"),
    ],
)
def test_what_cannot_be_done_is_said(model_folder, tokenizer_folder, way, message):
    model = ours(model_folder("llama"), tokenizer_folder("plain"))
    with pytest.raises(ValueError, match=message):
        model.generate_until(requests("generate_until", [("Poro", way)]))


def test_a_continuation_without_a_token_of_its_own_is_refused(model_folder, tokenizer_folder):
    model = ours(model_folder("llama"), tokenizer_folder("plain"))
    with pytest.raises(ValueError, match="0 tokens of its own"):
        model.loglikelihood(requests("loglikelihood", [("Poro", "")]))
