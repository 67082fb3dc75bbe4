"""Tiny random models and tokenizers in the Hugging Face layout, made by transformers and tokenizers alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TEXT = """Suomen talvi on pitkä ja pimeä, mutta revontulet valaisevat yön. Poro etsii jäkälää lumen alta.
The reindeer herd moves slowly across the frozen lake while the children count them aloud.
Kesällä yö on valoisa; järven pinta on tyyni ja käki kukkuu. 12 + 30 = 42, and 7 * 6 = 42 as well.
def count(herd):
    return sum(1 for animal in herd if animal.kind == "poro")
"""
SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]
VOCAB_SIZE = 384

MakeFolder = Callable[[str], Path]


@pytest.fixture(scope="session")
def text() -> str:
    """A few lines of Finnish, English and code."""
    return TEXT


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    """A byte-level BPE tokenizer; ``plain`` adds nothing to a text, ``bos`` begins every text with <s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind in made:
            return made[kind]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCAB_SIZE,
            special_tokens=SPECIALS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator([TEXT], trainer)
        if kind == "bos":
            tokenizer.post_processor = processors.TemplateProcessing(
                single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
            )
        folder = tmp_path_factory.mktemp(f"tokenizer-{kind}")
        roles = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), SPECIALS, strict=True))
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)
        fast.save_pretrained(folder)
        made[kind] = folder
        return folder

    return make


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    """A random model of two layers, ``llama`` or ``bloom``, whose logits are far from uniform."""
    from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind in made:
            return made[kind]
        torch.manual_seed(7)
        ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
        if kind == "llama":
            llama = LlamaConfig(
                vocab_size=VOCAB_SIZE,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                initializer_range=0.3,
                **ids,
            )
            model = LlamaForCausalLM(llama)
        else:
            bloom = BloomConfig(
                vocab_size=VOCAB_SIZE, hidden_size=24, n_layer=2, n_head=3, initializer_range=0.3, **ids
            )
            model = BloomForCausalLM(bloom)
        folder = tmp_path_factory.mktemp(f"model-{kind}")
        model.save_pretrained(folder)
        made[kind] = folder
        return folder

    return make


ARITHMETIC = [(a, b) for a in range(2, 9) for b in (3, 5)]


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three original tasks: multiple choice, written answers, and the likelihood of whole texts."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {
            "question": f"Kuinka monta poroa on {a} + {b} poroa?",
            "choices": [f"{a + b}", f"{a + b + 1} poroa", "ei yhtään poroa"],
            "answer": 0,
            "solution": f"{a} + {b} = {a + b}\n",
        }
        for a, b in ARITHMETIC
    ]
    write_lines(folder / "sums.jsonl", rows)
    write_lines(folder / "lines.jsonl", [{"page": line} for line in TEXT.splitlines() if len(line) < 110])
    (folder / "_sums.yaml").write_text(SUMS)
    (folder / "sums_choice.yaml").write_text(CHOICE)
    (folder / "sums_written.yaml").write_text(WRITTEN)
    (folder / "lines.yaml").write_text(LINES)
    (folder / "sums.yaml").write_text(GROUP)
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


SUMS = """
dataset_path: json
dataset_kwargs: {data_files: {train: sums.jsonl, test: sums.jsonl}}
test_split: test
fewshot_split: train
doc_to_text: "Kysymys: {{question}}\\nVastaus:"
metadata: {version: 1.5}
"""
CHOICE = """
include: _sums.yaml
task: sums_choice
output_type: multiple_choice
doc_to_target: answer
doc_to_choice: choices
num_fewshot: 2
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
WRITTEN = """
include: _sums.yaml
task: sums_written
output_type: generate_until
doc_to_target: solution
generation_kwargs: {until: ["\\n", "a"], max_gen_toks: 24, do_sample: false}
num_fewshot: 0
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
filter_list:
  - {name: whole, filter: [{function: take_first}]}
  - {name: number, filter: [{function: regex, regex_pattern: "(\\\\d)"}, {function: take_first}]}
"""
LINES = """
task: lines
dataset_path: json
dataset_kwargs: {data_files: {test: lines.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{page}}"
metric_list:
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
"""
GROUP = """
group: sums
task: [sums_choice, sums_written]
aggregate_metric_list:
  - {metric: acc, aggregation: mean, weight_by_size: true, filter_list: none}
"""
