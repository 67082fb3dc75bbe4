"""Generation equals what repeated full forward passes give, one prompt or many."""

import pytest
import torch
from small_models import built, every_architecture, llama, random_tokens

from tokka.models.generate import generate, generate_batch


def greedily(model, prompt: list[int], max_tokens: int) -> list[int]:
    """The same without cache or batch."""
    tokens = list(prompt)
    for _ in range(max_tokens):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


def prompts_of(config, lengths: list[int]) -> list[list[int]]:
    return [random_tokens(config, 1, length, seed=length)[0].tolist() for length in lengths]


@every_architecture
def test_greedy_generation_takes_the_likeliest_token_each_time(config):
    model = built(config)
    (prompt,) = prompts_of(config, [6])
    assert list(generate(model, prompt, max_tokens=12, temperature=0)) == greedily(model, prompt, 12)


@every_architecture
@pytest.mark.parametrize("lengths", [[3, 9, 1, 6], [5, 5]], ids=str)
def test_a_batch_gives_what_each_prompt_gives_alone(config, lengths):
    model = built(config)
    prompts = prompts_of(config, lengths)
    expected = [greedily(model, prompt, 10) for prompt in prompts]
    assert generate_batch(model, prompts, max_tokens=10) == expected


@every_architecture
def test_stop_tokens_end_a_text_and_are_left_out(config):
    model = built(config)
    prompts = prompts_of(config, [4, 7])
    free = generate_batch(model, prompts, max_tokens=10)
    stop = {free[0][3]}
    expected = [text[: min((text.index(s) for s in stop if s in text), default=10)] for text in free]
    assert generate_batch(model, prompts, max_tokens=10, stop_ids=stop) == expected
    assert list(generate(model, prompts[0], max_tokens=10, temperature=0, stop_ids=stop)) == expected[0]


def test_generation_is_lazy():
    model = built(llama())
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    hidden = model.hidden
    model.hidden = lambda *args, **kwargs: calls.append(1) or hidden(*args, **kwargs)
    stream = generate(model, [1, 2], max_tokens=100, temperature=0)
    next(stream), next(stream)
    assert len(calls) == 2


def test_a_seed_decides_the_text():
    model = built(llama())
    texts = [tuple(generate(model, [1, 2, 3], max_tokens=20, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    batch = generate_batch(model, [[1, 2, 3]] * 2, max_tokens=20, temperature=1.0, seed=1)
    assert [tuple(text) for text in batch] == [texts[0], texts[2]]


@pytest.mark.parametrize(
    "limits",
    [{}, {"temperature": 0.3}, {"top_k": 2}, {"top_p": 0.6}, {"top_p": 0.01}, {"top_k": 3, "top_p": 0.8}],
    ids=str,
)
def test_sampling_draws_from_the_allowed_tokens_with_their_probabilities(limits):
    model = built(llama(vocab_size=6))
    with torch.no_grad():
        model.lm_head.weight *= 3
        scores = model(torch.tensor([[1, 2]]))[0, -1] / limits.get("temperature", 1.0)
    likely = sorted(enumerate(scores.softmax(0).tolist()), key=lambda pair: -pair[1])
    likely = likely[: limits.get("top_k", 6)]
    total = sum(share for _, share in likely)
    expected, reached = torch.zeros(6), 0.0
    for token, share in likely:
        if reached < limits.get("top_p", 1.0):
            expected[token] = share
            reached += share / total

    texts = generate_batch(model, [[1, 2]] * 4000, max_tokens=1, **({"temperature": 1.0} | limits))
    drawn = torch.tensor(texts).flatten().bincount(minlength=6) / 4000
    assert torch.equal(drawn > 0, expected > 0)
    torch.testing.assert_close(drawn, expected / expected.sum(), atol=0.03, rtol=0)


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="an empty prompt"):
        generate_batch(built(llama()), [[1], []], max_tokens=3)


def test_no_prompts_give_no_texts():
    assert generate_batch(built(llama()), [], max_tokens=3) == []
