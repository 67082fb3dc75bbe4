"""Bits per byte against transformers and against what they must be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from tokka.evaluation.perplexity import Score, Text, by_language, score_texts, windows
from tokka.models.weights import load_hf
from tokka.tokenizer.load import load_tokenizer

END = 2


@given(st.integers(2, 200), st.integers(1, 40))
def test_each_token_is_scored_once_after_at_least_half_a_window(count, length):
    tokens = np.arange(count)
    cut = list(windows(tokens, length))
    scored = np.concatenate([window.tokens[-window.scored :] for window in cut])
    assert scored.tolist() == list(range(1, count))
    for window in cut:
        assert len(window.tokens) <= length + 1
        for place in range(len(window.tokens) - window.scored, len(window.tokens)):
            seen, there_are = place, window.tokens[place]
            assert seen == there_are or seen >= length / 2


def test_a_text_of_one_window_has_the_bits_of_transformers_loss(model_folder, tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    model, _ = load_hf(model_folder("bloom"), dtype=torch.float32)
    poro = "Poro etsii jäkälää lumen alta."
    score = score_texts(model, tokenizer, {"fi": Text("fi", [poro])}, first=END, sequence_length=256)["fi"]

    tokens = torch.tensor([[END, *tokenizer.encode(poro)]])
    with torch.no_grad():
        reference = AutoModelForCausalLM.from_pretrained(model_folder("bloom"), dtype=torch.float64)
        loss = reference(tokens, labels=tokens).loss.item()
    assert score.bits == pytest.approx(loss * (tokens.shape[1] - 1) / math.log(2), rel=1e-6)
    assert score.bits_per_byte == score.bits / len(poro.encode())
    assert score.character_perplexity == 2 ** (score.bits / len(poro))
    assert (score.documents, score.characters, score.tokens) == (1, 30, tokens.shape[1] - 1)
    assert score.bytes == 34


def test_a_long_text_has_the_bits_of_a_window_that_slides_by_half(model_folder, tokenizer_folder, text):
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    model, _ = load_hf(model_folder("llama"), dtype=torch.float32)
    length = 32
    score = score_texts(model, tokenizer, {"all": Text("fi", [text])}, first=END, sequence_length=length)[
        "all"
    ]

    reference = AutoModelForCausalLM.from_pretrained(model_folder("llama"), dtype=torch.float64)
    tokens = [END, *tokenizer.encode(text)]
    assert len(tokens) > 4 * length
    nats = 0.0
    for target in range(1, len(tokens)):
        # Where the window that scores this token ends: the first window, or the next half that holds it.
        halves = max(0, math.ceil((target - length) / (length // 2)))
        last = min(length + halves * (length // 2), len(tokens) - 1)
        seen = tokens[max(0, last - length) : target]
        with torch.no_grad():
            nats -= reference(torch.tensor([seen])).logits[0, -1].log_softmax(-1)[tokens[target]].item()
    assert score.bits == pytest.approx(nats / math.log(2), rel=1e-6)


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary_for_each_token(
    model_folder, tokenizer_folder, text
):
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    model, config = load_hf(model_folder("llama"), dtype=torch.float32)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    score = score_texts(model, tokenizer, {"all": Text("fi", [text, "käki"])}, first=END, sequence_length=64)[
        "all"
    ]
    assert score.bits == pytest.approx(score.tokens * math.log2(config.vocab_size), rel=1e-6)


def test_the_batch_and_the_order_do_not_change_a_score(model_folder, tokenizer_folder, text):
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    model, _ = load_hf(model_folder("bloom"), dtype=torch.float32)
    lines = text.splitlines()

    def score(documents: list[str], batch_tokens: int) -> float:
        found = score_texts(
            model,
            tokenizer,
            {"x": Text("fi", documents)},
            first=END,
            sequence_length=48,
            batch_tokens=batch_tokens,
        )
        return found["x"].bits

    assert score(lines[::-1], 1) == pytest.approx(score(lines, 8192), rel=1e-7)


def test_bf16_comes_near_fp32(model_folder, tokenizer_folder, text):
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    bits = []
    for dtype in (torch.float32, torch.bfloat16):
        model, _ = load_hf(model_folder("bloom"), dtype=dtype)
        bits.append(
            score_texts(model, tokenizer, {"x": Text("fi", [text])}, first=END, sequence_length=64)["x"].bits
        )
    assert bits[1] == pytest.approx(bits[0], rel=1e-2)
    assert bits[1] != bits[0]


def test_sources_are_apart_and_languages_add_up():
    scores = {
        "news": Score(100, 2, 50, 40, 20),
        "books": Score(20, 1, 50, 50, 10),
        "web": Score(7, 1, 7, 7, 7),
    }
    found = by_language(scores, {"news": "fi", "books": "fi", "web": "en"})
    assert found == {"fi": Score(120, 3, 100, 90, 30), "en": scores["web"]}
    assert found["fi"].bits_per_byte == 1.2


def test_a_source_without_documents_has_no_score(model_folder, tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    model, _ = load_hf(model_folder("llama"), dtype=torch.float32)
    found = score_texts(
        model, tokenizer, {"none": Text("fi", []), "some": Text("fi", ["yö"])}, first=END, sequence_length=64
    )
    assert list(found) == ["some"]


def test_special_tokens_count_where_the_documents_may_spell_them(model_folder, tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder("plain"))
    model, _ = load_hf(model_folder("llama"), dtype=torch.float32)
    texts = {"data": Text("fi", ["<pad>yö<pad>"]), "template": Text("fi", ["<pad>yö<pad>"], ["<pad>"])}
    found = score_texts(model, tokenizer, texts, first=END, sequence_length=64)
    assert found["template"].tokens == 2 + len(tokenizer.encode("yö"))
    assert found["data"].tokens > found["template"].tokens
    assert found["data"].bytes == found["template"].bytes
