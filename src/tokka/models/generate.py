"""Text from a model, a token at a time: one prompt streamed, or many at once."""

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from tokka.models.cache import KeyValueCache
from tokka.models.model import LanguageModel

Pick = Callable[[Tensor], Tensor]
"""Chooses a token for each row: logits [batch, vocab_size] to tokens [batch]."""


def generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    stop_ids: Collection[int] = (),
    cache: KeyValueCache | None = None,
) -> Iterator[int]:
    """Yield up to ``max_tokens`` tokens that continue ``prompt_ids``, each as soon as it is known.

    Args:
        model: in any dtype, on any device.
        prompt_ids: at least one token.
        max_tokens: the most tokens to yield.
        temperature: divides the logits; 0 always takes the likeliest token.
        top_p: sample from the fewest likeliest tokens whose probabilities reach this sum
            (Holtzman et al. 2019, arXiv 1904.09751).
        top_k: sample from this many likeliest tokens at most.
        seed: the same arguments and seed give the same tokens.
        stop_ids: tokens that end the text; they are not yielded.
        cache: holds the keys and values of the first tokens of ``prompt_ids``, but not of the last, so that
            they need not be computed again; it needs room for the others and ``max_tokens``.

    Raises:
        ValueError: an empty prompt, or a cache without room.
    """
    pick = _sampler(temperature, top_p, top_k, [seed])
    for tokens in _decode(model, [prompt_ids], max_tokens, pick, cache):
        token = int(tokens[0])
        if token in stop_ids:
            return
        yield token


def generate_batch(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    stop_ids: Collection[int] = (),
) -> list[list[int]]:
    """Return up to ``max_tokens`` tokens that continue each of ``prompts``, without the stop token.

    Arguments are those of :func:`generate`, greedy by default. Each prompt draws from its own random
    numbers, seeded with ``seed`` plus its place. Prompts of like length waste the least padding.
    """
    if not prompts:
        return []
    pick = _sampler(temperature, top_p, top_k, [seed + row for row in range(len(prompts))])
    answers: list[list[int]] = [[] for _ in prompts]
    unfinished = set(range(len(prompts)))
    for tokens in _decode(model, prompts, max_tokens, pick):
        for row, token in enumerate(tokens.tolist()):
            if row not in unfinished:
                continue
            if token in stop_ids:
                unfinished.remove(row)
            else:
                answers[row].append(token)
        if not unfinished:
            break
    return answers


@torch.inference_mode()
def _decode(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    pick: Pick,
    cache: KeyValueCache | None = None,
) -> Iterator[Tensor]:
    """Yield the next token of every prompt [batch], ``max_tokens`` times.

    Shorter prompts are padded on the left; the padding is a document of its own, which nothing attends to.
    """
    if not all(len(prompt) for prompt in prompts):
        raise ValueError("an empty prompt; give at least one token, such as the beginning-of-sequence token")
    device = next(model.parameters()).device
    longest = max(len(prompt) for prompt in prompts)
    padding = [longest - len(prompt) for prompt in prompts]
    tokens = torch.tensor([[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)])
    documents = None
    if any(padding):
        documents = (torch.arange(longest) >= torch.tensor(padding)[:, None]).int().to(device)
    cache = KeyValueCache(len(model.blocks), longest + max_tokens) if cache is None else cache

    tokens = tokens[:, cache.length :].to(device)
    for _ in range(max_tokens):
        hidden = model.hidden(tokens, documents=documents, cache=cache)
        picked = pick(model.unembed(hidden[:, -1]))
        yield picked
        tokens = picked[:, None]
        documents = None if documents is None else torch.ones_like(tokens, dtype=torch.int32)


def _sampler(temperature: float, top_p: float, top_k: int | None, seeds: Sequence[int]) -> Pick:
    """Return what picks a token for each row; the row's seed and the logits decide, not the device."""
    if temperature == 0:
        return lambda logits: logits.argmax(dim=-1)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def pick(logits: Tensor) -> Tensor:
        scores = logits.float().cpu() / temperature
        order = scores.argsort(dim=-1, descending=True, stable=True)
        probabilities = scores.gather(-1, order).softmax(dim=-1)
        if top_k is not None:
            probabilities[:, top_k:] = 0
            probabilities /= probabilities.sum(dim=-1, keepdim=True)
        if top_p < 1:  # a token stays while those before it do not reach top_p, so the likeliest always does
            before = probabilities.cumsum(dim=-1) - probabilities
            probabilities = probabilities.masked_fill(before >= top_p, 0)
        drawn = [torch.multinomial(p, 1, generator=g) for p, g in zip(probabilities, generators, strict=True)]
        return order.gather(-1, torch.stack(drawn))[:, 0].to(logits.device)

    return pick
