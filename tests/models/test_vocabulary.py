"""A base with rows for more tokens: what it knew is bit for bit as before."""

import pytest
import torch
from small_models import EXAMPLES, random_tokens, saved
from transformers import AutoModelForCausalLM

from tokka.models.spec import spec_for
from tokka.models.stored import StoredWeights
from tokka.models.vocabulary import extend_vocabulary, extended_rows
from tokka.models.weights import load_hf

FIRST, SIZE = 57, 80  # the base has 61 rows, the last four of no token
PIECES = [[3, 5], [3, 5, 8], [40, 41, 42, 43], [56], [2, 2], [7, 9], [0, 1]]


@pytest.fixture(params=["llama", "llama_tied", "bloom"])
def grown(request, tmp_path):
    """A base, and the same with rows for seven more tokens and twelve of none."""
    config = EXAMPLES[request.param]
    base = saved(config, tmp_path / "base", shard_bytes=9000)
    extend_vocabulary(base, tmp_path / "new", size=SIZE, first=FIRST, pieces=PIECES, rows="mean", seed=1)
    return config, base, tmp_path / "new"


def test_new_rows_are_the_mean_of_their_pieces_and_all_else_is_as_before(grown):
    config, base, folder = grown
    before, after = (dict(load_hf(each)[0].named_parameters()) for each in (base, folder))
    rows = spec_for(config).token_rows & after.keys()
    assert rows
    for name, value in after.items():
        if name not in rows:
            assert torch.equal(value, before[name])
            continue
        old = before[name].double()
        expected = torch.stack([torch.stack([old[i] for i in pieces]).mean(0) for pieces in PIECES])
        assert torch.equal(value[:FIRST], before[name][:FIRST])
        assert (value[FIRST : FIRST + len(PIECES)] - expected).abs().max() < 1e-6
        assert (value[FIRST + len(PIECES) :] - old[:FIRST].mean(0)).abs().max() < 1e-6


def test_transformers_loads_it_and_old_tokens_have_the_same_logits(grown):
    config, base, folder = grown
    tokens = random_tokens(config, 2, 20) % FIRST
    with torch.no_grad():
        old, new = (AutoModelForCausalLM.from_pretrained(each)(tokens).logits for each in (base, folder))
    assert new.shape[-1] == SIZE
    assert torch.allclose(new[..., :FIRST], old[..., :FIRST], atol=1e-6)


def test_rows_of_the_base_that_belong_to_no_token_stay():
    old = torch.arange(20.0).reshape(10, 2)
    grown = extended_rows(old, 12, 6, [[0, 1]], "mean")
    assert torch.equal(grown[7:10], old[7:])
    assert torch.equal(grown[6], torch.tensor([1.0, 2.0]))
    assert torch.equal(grown[10], old[:6].mean(0))


def test_rows_may_begin_at_zero_or_as_those_of_a_new_model(tmp_path):
    config = EXAMPLES["llama"]
    base = saved(config, tmp_path / "base")
    for rows in ("zero", "random"):
        extend_vocabulary(base, tmp_path / rows, size=SIZE, first=FIRST, pieces=PIECES, rows=rows, seed=3)
    zero, random = (load_hf(tmp_path / rows)[0] for rows in ("zero", "random"))
    assert not zero.output_weight[FIRST : FIRST + len(PIECES)].any()
    fresh = random.output_weight[FIRST : FIRST + len(PIECES)]
    assert 0.5 * config.init_std < fresh.std() < 2 * config.init_std
    assert not torch.equal(fresh, random.model.embed_tokens.weight[FIRST : FIRST + len(PIECES)])


def test_bfloat16_stays_and_means_are_taken_in_fp32(tmp_path):
    base = saved(EXAMPLES["llama"], tmp_path / "base", torch.bfloat16)
    extend_vocabulary(base, tmp_path / "new", size=SIZE, first=FIRST, pieces=PIECES, rows="mean", seed=1)
    assert StoredWeights(tmp_path / "new").dtype == torch.bfloat16
    before, after = (load_hf(tmp_path / each)[0].output_weight for each in ("base", "new"))
    expected = before[PIECES[2]].double().mean(0).bfloat16()
    assert torch.equal(after[FIRST + 2], expected)


def test_fewer_rows_than_needed_are_refused(tmp_path):
    base = saved(EXAMPLES["llama"], tmp_path / "base")
    with pytest.raises(ValueError, match=r"model.vocab_size 63 is too small: the base in .* has 61 rows"):
        extend_vocabulary(base, tmp_path / "new", size=63, first=FIRST, pieces=PIECES, rows="mean", seed=1)
    assert not (tmp_path / "new").exists()
