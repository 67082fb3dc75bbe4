import math
import re

import pytest
import torch
from small_models import EXAMPLES, bloom, built, difference, every_architecture, llama, random_tokens
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tokka.models.bloom import ALIBI_WIDTH
from tokka.models.llama import RMSNorm
from tokka.models.spec import spec_for
from tokka.recipe.model import Bloom, Llama, RopeScaling

PORO_34B = Bloom(
    architecture="bloom", n_layers=54, n_heads=56, d_model=7168, vocab_size=128_000, init_std=0.0048
)
LLAMA_8B = Llama(
    architecture="llama",
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    d_model=4096,
    d_ffn=14336,
    vocab_size=128_256,
    rope_scaling=RopeScaling(),
)
LLAMA_70B = LLAMA_8B.model_copy(update={"n_layers": 80, "n_heads": 64, "d_model": 8192, "d_ffn": 28672})


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(PORO_34B, 34_216_949_760), (LLAMA_8B, 8_030_261_248), (LLAMA_70B, 70_553_706_496)],
)
def test_parameters_of_the_published_models(config, parameters):
    assert spec_for(config).count_parameters(config) == parameters


@every_architecture
def test_parameters_counted_are_those_built(config):
    spec = spec_for(config)
    assert spec.count_parameters(config) == sum(p.numel() for p in spec.build(config).parameters())


def test_flops_are_those_that_the_poro_paper_reports():
    """49,618 TFLOP/s at 174,378 tokens/s are hardware FLOPs: the blocks' forward pass is computed twice."""
    head = 6 * PORO_34B.vocab_size * PORO_34B.d_model
    blocks = spec_for(PORO_34B).flops_per_token(PORO_34B, 2048) - head
    assert 174_378 * (blocks * 4 / 3 + head) == pytest.approx(49_618e12, rel=1e-4)


@every_architecture
def test_flops_count_each_matrix_product_three_times(config):
    length = 32
    model = spec_for(config).build(config)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(random_tokens(config, 1, length))
    # The counter also sees the columns that hold ALiBi, which are a manner of computing and not of the model.
    columns = config.n_heads * ALIBI_WIDTH if isinstance(config, Bloom) else 0
    forward = spec_for(config).flops_per_token(config, length) / 3
    assert counter.get_total_flops() / length == forward + 4 * config.n_layers * columns * length


@every_architecture
def test_a_model_built_without_storage_becomes_the_same_as_one_built_with_it(config):
    spec = spec_for(config)
    direct, late = spec.build(config), spec.build_meta(config)
    assert all(parameter.is_meta for parameter in late.parameters())
    late.to_empty(device="cpu")
    for model in (direct, late):
        spec.initialise(model, config, seed=5)
    tokens = random_tokens(config, 2, 20)
    assert torch.equal(direct(tokens), late(tokens))
    assert not list(direct.buffers())


@every_architecture
def test_initial_values_depend_on_name_and_seed_alone(config):
    spec = spec_for(config)
    whole, backwards = spec.build(config), spec.build(config)
    torch.manual_seed(1)
    spec.initialise(whole, config, seed=3)
    torch.manual_seed(2)
    for name, parameter in reversed(list(backwards.named_parameters())):
        parameter.data = spec.initial_value(config, name, parameter.shape, seed=3)
    values = dict(whole.named_parameters())
    for name, parameter in backwards.named_parameters():
        assert torch.equal(parameter, values[name])
    matrices = {name: p for name, p in values.items() if p.dim() == 2}
    other = {name: spec.initial_value(config, name, p.shape, seed=4) for name, p in matrices.items()}
    assert not any(torch.equal(other[name], p) for name, p in matrices.items())
    alike = [p.flatten()[:20].tolist() for p in matrices.values()]
    assert len({tuple(values) for values in alike}) == len(alike)


@pytest.mark.parametrize(
    "config",
    [
        llama(n_layers=8, d_model=128, d_ffn=256, vocab_size=500, init_std=0.03),
        bloom(n_layers=8, d_model=96, vocab_size=500, init_std=0.0048),
    ],
    ids=["llama", "bloom"],
)
def test_initial_values_are_distributed_as_published(config):
    spec = spec_for(config)
    model = spec.build(config)
    spec.initialise(model, config, seed=0)
    scaled = re.compile(r"(o_proj|down_proj|dense|dense_4h_to_h)\.weight$")
    seen = set()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name or "ln_f" in name:
            assert (parameter == 1).all(), name
        else:
            is_scaled = bool(scaled.search(name))
            seen.add(is_scaled)
            std = config.init_std / (math.sqrt(2 * config.n_layers) if is_scaled else 1)
            error = 5 * std / math.sqrt(parameter.numel())
            assert abs(parameter.std() - std) < error, name
            assert abs(parameter.mean()) < error, name
            kurtosis = (parameter / parameter.std()).pow(4).mean()
            assert abs(kurtosis - 3) < 25 / math.sqrt(parameter.numel()), name
    assert seen == {True, False}


@every_architecture
def test_the_tensor_parallel_plan_has_a_style_for_every_module_with_parameters(config):
    spec = spec_for(config)
    model = spec.build_meta(config)
    styles = {nn.Embedding: {"vocab"}, nn.LayerNorm: {"sequence"}, RMSNorm: {"sequence"}}
    named = dict(model.named_modules())
    matched: dict[str, str] = {}
    for pattern, style in spec.tensor_parallel_plan.items():
        names = [
            name for name in named if re.fullmatch(pattern.replace(".", r"\.").replace("*", "[^.]+"), name)
        ]
        assert names or pattern == "lm_head"
        matched |= dict.fromkeys(names, style)
    for name, module in named.items():
        if list(module.parameters(recurse=False)):
            assert matched.pop(name) in styles.get(type(module), {"colwise", "rowwise"}), name
    for name, style in matched.items():
        assert style == ("heads" if hasattr(named[name], "heads") else "gather"), name


@pytest.mark.parametrize("name", ["llama", "llama_tied", "bloom"])
def test_stages_cut_from_the_parts_compute_what_the_whole_computes(name):
    config = EXAMPLES[name]
    model = built(config)
    spec = spec_for(config)
    outside = {name for name, _ in model.named_parameters() if not name.startswith(f"{spec.blocks}.")}
    assert {name.rpartition(".")[0] for name in outside} == {
        name for name in (*spec.entry, *spec.exit) if name in dict(model.named_modules())
    }
    assert model.get_submodule(spec.entry[0]).weight.shape[0] == config.vocab_size
    assert model.get_submodule(spec.blocks) is model.blocks

    tokens = random_tokens(config, 2, 20)
    documents = (torch.arange(20) >= 8).int().expand(2, -1)
    hidden = model.embed(tokens)
    for part in (["0"], ["1"]):
        context = model.context(20, hidden, documents, None)
        for index in part:
            hidden = model.blocks[index](hidden, context)
    hidden = model.normalise(hidden)
    logits = torch.cat([model.unembed(chunk) for chunk in hidden.split(6, dim=1)], dim=1)
    assert difference(logits, model(tokens, documents=documents)) < 1e-6
