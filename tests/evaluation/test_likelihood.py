"""Likelihoods against transformers and against a float64 softmax."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tokka.evaluation.likelihood import Window, likelihoods
from tokka.models.weights import load_hf


def random_windows(count: int, seed: int = 0) -> list[Window]:
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        length = int(draw.integers(1, 70))
        tokens = draw.integers(0, 384, length + 1)
        made.append(Window(tokens, scored=int(draw.integers(1, length + 1))))
    return made


@pytest.fixture(params=["llama", "bloom"])
def folder(request, model_folder):
    return model_folder(request.param)


def test_likelihoods_equal_a_float64_softmax_of_transformers_logits(folder):
    model, _ = load_hf(folder, dtype=torch.float32)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    windows = random_windows(40)
    for window, found in zip(windows, likelihoods(model, windows), strict=True):
        with torch.no_grad():
            logits = reference(torch.from_numpy(window.tokens[None, :-1])).logits[0]
        targets = torch.from_numpy(window.tokens[1:])
        log = logits.log_softmax(-1).gather(-1, targets[:, None])[-window.scored :].sum().item()
        assert found.log == pytest.approx(log, rel=1e-5, abs=1e-4)
        greedy = (logits.argmax(-1) == targets)[-window.scored :].all().item()
        assert found.greedy == greedy


def test_likelihoods_equal_transformers_own_loss(folder):
    model, _ = load_hf(folder, dtype=torch.float32)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = np.random.default_rng(1).integers(0, 384, 100)
    with torch.no_grad():
        inputs = torch.from_numpy(tokens[None])
        loss = reference(inputs, labels=inputs).loss.item()
    (found,) = likelihoods(model, [Window(tokens, scored=99)])
    assert -found.log / 99 == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("batch_tokens", [1, 64, 500])
def test_the_batch_does_not_change_a_likelihood(folder, batch_tokens):
    model, _ = load_hf(folder, dtype=torch.float32)
    windows = random_windows(30)
    together = likelihoods(model, windows)
    apart = likelihoods(model, windows[::-1], batch_tokens=batch_tokens)[::-1]
    assert [one.log for one in apart] == pytest.approx([one.log for one in together], abs=1e-4)
    assert [one.greedy for one in apart] == [one.greedy for one in together]


def test_windows_that_differ_in_the_last_token_only_go_through_the_model_once(model_folder):
    model, _ = load_hf(model_folder("llama"), dtype=torch.float32)
    rows: list[int] = []
    embed = model.embed
    model.embed = lambda tokens: rows.append(len(tokens)) or embed(tokens)
    question = np.arange(20)
    choices = [Window(np.append(question, answer), scored=1) for answer in range(100, 104)]
    found = likelihoods(model, choices)
    assert sum(rows) == 1
    alone = [likelihoods(model, [choice])[0] for choice in choices]
    assert [one.log for one in found] == pytest.approx([one.log for one in alone], abs=1e-5)
    assert len({one.log for one in found}) == 4


def test_the_greedy_continuation_is_known_as_such(model_folder):
    model, _ = load_hf(model_folder("llama"), dtype=torch.float32)
    tokens = [5, 6, 7]
    for _ in range(4):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    other = [*tokens[:-1], (tokens[-1] + 1) % 384]
    found = likelihoods(model, [Window(np.array(tokens), scored=4), Window(np.array(other), scored=4)])
    assert [one.greedy for one in found] == [True, False]
