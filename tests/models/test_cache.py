"""Decoding with a cache equals the full forward pass."""

import pytest
import torch
from small_models import built, difference, every_architecture, random_tokens

from tokka.models.cache import KeyValueCache, LayerCache


@every_architecture
@pytest.mark.parametrize("steps", [[1] * 24, [10, 1, 1, 12], [23, 1], [5, 7, 12]], ids=str)
def test_cached_decoding_equals_the_full_forward_pass(config, steps):
    model = built(config)
    tokens = random_tokens(config, 3, 24)
    cache = KeyValueCache(config.n_layers, capacity=24)
    logits = [model(part, cache=cache) for part in tokens.split(steps, dim=1)]
    assert cache.length == 24
    assert difference(torch.cat(logits, dim=1), model(tokens)) < 1e-5


@every_architecture
def test_cached_decoding_of_documents_equals_the_full_forward_pass(config):
    model = built(config)
    tokens = random_tokens(config, 2, 24)
    documents = torch.stack((torch.arange(24) >= 5, torch.arange(24) >= 17)).int()
    cache = KeyValueCache(config.n_layers, capacity=30)
    logits = [
        model(part, documents=numbers, cache=cache)
        for part, numbers in zip(tokens.split(4, dim=1), documents.split(4, dim=1), strict=True)
    ]
    assert difference(torch.cat(logits, dim=1), model(tokens, documents=documents)) < 1e-5


def test_a_full_cache_is_refused_with_what_is_needed():
    layer = LayerCache(capacity=3)
    layer.append(torch.zeros(1, 2, 2, 4), torch.zeros(1, 2, 2, 4))
    with pytest.raises(ValueError, match="holds 3 tokens, 4 are needed"):
        layer.append(torch.zeros(1, 2, 2, 4), torch.zeros(1, 2, 2, 4))


def test_documents_for_some_calls_only_are_refused():
    cache = KeyValueCache(1, capacity=4)
    cache.append_documents(None)
    cache.layers[0].append(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))
    with pytest.raises(ValueError, match="every call"):
        cache.append_documents(torch.zeros(1, 1, dtype=torch.int32))
