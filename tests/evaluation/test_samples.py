"""What a model writes."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from tokka.evaluation.samples import SAMPLING, write_samples
from tokka.models.weights import load_hf
from tokka.tokenizer.load import load_tokenizer


@pytest.fixture
def write(model_folder, tokenizer_folder):
    model, _ = load_hf(model_folder("llama"), dtype=torch.float32)
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    return lambda prompts: write_samples(model, tokenizer, prompts, first=2, stop_ids={2})


def test_the_greedy_continuation_is_transformers(write, model_folder, tokenizer_folder):
    (sample,) = write(["Suomen talvi"])
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    reference = AutoModelForCausalLM.from_pretrained(model_folder("llama"), dtype=torch.float32)
    prompt = torch.tensor([[2, *tokenizer.encode("Suomen talvi")]])
    answer = reference.generate(prompt, max_new_tokens=SAMPLING["max_tokens"], do_sample=False)
    ids = [token for token in answer[0, prompt.shape[1] :].tolist() if token not in (2, 3)]
    assert sample["greedy"] == tokenizer.decode(ids)


def test_samples_repeat_and_differ_from_the_greedy_continuation(write):
    prompts = ["Suomen talvi", "def count", "The"]
    samples = write(prompts)
    assert [sample["prompt"] for sample in samples] == prompts
    assert write(prompts) == samples
    assert all(sample["sampled"] != sample["greedy"] for sample in samples)


def test_without_prompts_nothing_is_written(write):
    assert write([]) == []
