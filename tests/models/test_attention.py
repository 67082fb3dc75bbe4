"""Documents: attention stays within one, positions restart, and padding changes nothing."""

import pytest
import torch
from small_models import built, difference, every_architecture, random_tokens

from tokka.models.attention import attend, document_starts, place
from tokka.models.cache import KeyValueCache

LENGTHS = [(7, 1, 22), (30,), (15, 15), (1, 1, 28)]


@every_architecture
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_documents_packed_together_give_what_each_gives_alone(config, lengths):
    model = built(config)
    tokens = random_tokens(config, 2, sum(lengths))
    documents = torch.repeat_interleave(torch.tensor(lengths)).int().expand(2, -1)
    packed = model(tokens, documents=documents)
    alone = torch.cat([model(part) for part in tokens.split(lengths, dim=1)], dim=1)
    assert difference(packed, alone) < 1e-5


@every_architecture
def test_no_gradient_crosses_a_document_boundary(config):
    model = built(config)
    tokens = random_tokens(config, 1, 20)
    first, second = torch.unique(tokens[0, :8]), torch.unique(tokens[0, 8:])
    only_first = first[~torch.isin(first, second)]
    assert len(only_first)
    documents = (torch.arange(20) >= 8).int()[None]
    model.hidden(tokens, documents=documents)[:, 8:].square().sum().backward()
    embedding = next(model.parameters())
    assert embedding.grad[second].abs().sum() > 0
    assert not embedding.grad[only_first].any()


@every_architecture
def test_rows_of_a_batch_may_have_different_documents(config):
    model = built(config)
    tokens = random_tokens(config, 2, 20)
    documents = torch.stack((torch.arange(20) >= 5, torch.arange(20) >= 13)).int()
    together = model(tokens, documents=documents)
    apart = torch.cat([model(t[None], documents=d[None]) for t, d in zip(tokens, documents, strict=True)])
    assert difference(together, apart) < 1e-5


@every_architecture
def test_one_document_is_the_same_as_none_stated(config):
    model = built(config)
    tokens = random_tokens(config, 2, 20)
    stated = model(tokens, documents=torch.full((2, 20), 7, dtype=torch.int32))
    assert difference(stated, model(tokens)) < 1e-5


@every_architecture
def test_a_token_sees_none_after_it(config):
    model = built(config)
    tokens = random_tokens(config, 1, 20)
    changed = tokens.clone()
    changed[0, 12:] = (changed[0, 12:] + 1) % config.vocab_size
    torch.testing.assert_close(model(tokens)[:, :12], model(changed)[:, :12])


def test_document_starts_follow_changes_not_numbers():
    documents = torch.tensor([[4, 4, 1, 1, 1, 4], [0, 1, 2, 2, 3, 3]])
    assert document_starts(documents).tolist() == [[0, 0, 2, 2, 2, 5], [0, 1, 2, 2, 4, 4]]


def test_a_first_pass_and_a_single_next_token_need_no_mask():
    like = torch.zeros(())
    cache = KeyValueCache(1, 8)
    assert place(5, like, None, cache).mask is None
    cache.layers[0].append(torch.zeros(1, 1, 5, 2), torch.zeros(1, 1, 5, 2))
    assert place(1, like, None, cache).mask is None
    assert place(2, like, None, cache).mask.shape == (1, 1, 2, 7)


class TwoStretches:
    """Some tokens of a sequence of 16: four from each of two positions on."""

    def stretches(self, length):
        return 4, 12

    def total_length(self, length):
        return 16

    def append_documents(self, documents):
        return documents


@pytest.mark.parametrize("lengths", [None, (6, 1, 9)])
def test_stretches_of_a_sequence_see_what_they_see_in_the_whole(lengths):
    generator = torch.Generator().manual_seed(0)
    query, keys, values = (torch.randn(1, heads, 16, 8, generator=generator) for heads in (4, 2, 2))
    documents = None if lengths is None else torch.repeat_interleave(torch.tensor(lengths)).int()[None]
    whole, part = place(16, query, documents, None), place(8, query, documents, TwoStretches())
    chosen = [4, 5, 6, 7, 12, 13, 14, 15]
    assert part.positions.tolist() == whole.positions[:, chosen].tolist()
    assert [mask.shape[-1] for mask in part.mask] == [8, 16]
    expected = attend(query, keys, values, whole.mask, 0.3)[:, chosen]
    assert difference(attend(query[:, :, chosen], keys, values, part.mask, 0.3), expected) < 1e-6
