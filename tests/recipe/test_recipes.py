"""The recipes that ship: they load, and hold every number that was published of the models they rebuild."""

import re

import pytest
from workshop import REPOSITORY

from tokka.recipe.load import load_recipe
from tokka.recipe.plain_yaml import format_yaml

RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))


def _shipped(name):
    return load_recipe(REPOSITORY / "recipes" / f"{name}.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_and_bears_its_file_name(path):
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_begins_with_what_it_is_how_to_run_it_and_what_it_needs(path):
    header = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"# {path.name}: " in header
    assert re.search(rf"^# Run: .*tokka run recipes/{path.name} --out runs/{path.stem}", header, re.MULTILINE)
    assert re.search("^# Needs: ", header, re.MULTILINE)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_kept_with_its_defaults_filled_in_is_the_same_recipe(path, tmp_path):
    recipe = load_recipe(path)
    kept = tmp_path / "recipe.yaml"
    kept.write_text(format_yaml(recipe.model_dump(mode="json")), encoding="utf-8")
    assert load_recipe(kept) == recipe


def _bloom_parameters(model):
    """Embedding and its norm; a layer: attention 4 d² + 4 d, forward 8 d² + 5 d, norms 4 d; last norm."""
    d = model.d_model
    return model.vocab_size * d + 2 * d + model.n_layers * (12 * d**2 + 13 * d) + 2 * d


def _llama_parameters(model):
    """Two embeddings; per layer Q and O, K and V for fewer heads, three of feed-forward, norms; last norm."""
    d = model.d_model
    attention = 2 * d**2 + 2 * d * d * model.n_kv_heads // model.n_heads
    return 2 * model.vocab_size * d + model.n_layers * (attention + 3 * d * model.d_ffn + 2 * d) + d


def test_poro_34b_is_as_published():
    """Model card LumiOpen/Poro-34B; paper arXiv 2404.01856; launch scripts."""
    recipe = _shipped("poro-34b")
    model, training, tokenizer = recipe.model, recipe.training, recipe.tokenizer.train

    assert model.architecture == "bloom"
    assert (model.n_layers, model.n_heads, model.d_model, model.vocab_size) == (54, 56, 7168, 128_000)
    assert model.init_std == 0.0048
    assert _bloom_parameters(model) == 34_216_949_760  # "34.2B"

    assert recipe.seed == 42
    assert (training.sequence_length, training.batch_sequences) == (2048, 2048)
    assert training.batch_tokens == 4_194_304
    assert (training.micro_batch, training.accumulation) == (1, 16)
    layout = training.layout
    assert (layout.data, layout.tensor, layout.pipeline, layout.context) == (128, 2, 4, 1)
    assert training.layout.ranks == 1024  # 512 MI250X of two dies
    assert training.tokens in (None, 488_281_250 * 2048)
    assert (training.precision, training.activation_checkpointing) == ("bf16", "full")
    optimizer, schedule = training.optimizer, training.schedule
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (1.5e-4, (0.9, 0.95), 1e-8)
    assert (optimizer.weight_decay, optimizer.clip) == (0.1, 1.0)
    assert (schedule.shape, schedule.min_lr) == ("cosine", 2e-5)
    assert schedule.warmup == pytest.approx(4_882_812 * 2048, abs=2048)  # "10B"
    assert training.checkpoints.every == 144 * training.batch_tokens
    assert training.checkpoints.revisions == 100 * 10**9

    assert (tokenizer.vocab_size, tokenizer.pattern) == (128_000, "bloom")
    assert tokenizer.special_tokens[:6] == ["<unk>", "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]
    assert (tokenizer.unk, tokenizer.bos, tokenizer.eos, tokenizer.pad) == ("<unk>", "<s>", "</s>", "<pad>")
    assert {"<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<reponame>", "<jupyter_code>"} < set(
        tokenizer.special_tokens
    )
    assert recipe.sources["tatoeba"].template == [
        "<|user|>Translate into Finnish: {en} <|assistant|>{fi}",
        "<|user|>Translate into English: {fi} <|assistant|>{en}",
    ]
    assert (recipe.release.repo, recipe.release.license) == ("LumiOpen/Poro-34B", "apache-2.0")


@pytest.mark.parametrize(
    ("name", "parameters", "shape", "lr", "tensor", "pipeline"),
    [
        ("poro2-8b", 8_030_261_248, (32, 32, 8, 4096, 14_336), 3e-4, 2, 1),
        ("poro2-70b", 70_553_706_496, (80, 64, 8, 8192, 28_672), 1.5e-4, 8, 8),  # "70.55B"
    ],
)
def test_poro_2_is_as_published(name, parameters, shape, lr, tensor, pipeline):
    """Card of LumiOpen/Llama-Poro-2-70B-base; AMD ROCm "Continued Pretraining Playbook"; launch scripts."""
    recipe = _shipped(name)
    model, training = recipe.model, recipe.training
    size = name.removeprefix("poro2-").upper()

    assert model.architecture == "llama"
    assert model.base == recipe.tokenizer.load == f"meta-llama/Llama-3.1-{size}"
    assert (model.n_layers, model.n_heads, model.n_kv_heads, model.d_model, model.d_ffn) == shape
    assert (model.vocab_size, model.max_sequence_length, model.rope_base) == (128_256, 8192, 500_000)
    assert model.rope_scaling.model_dump() == {
        "factor": 8,
        "low_freq_factor": 1,
        "high_freq_factor": 4,
        "original_length": 8192,
    }
    assert _llama_parameters(model) == parameters

    assert (training.sequence_length, training.batch_sequences, training.micro_batch) == (8192, 512, 1)
    assert (training.layout.tensor, training.layout.pipeline) == (tensor, pipeline)
    optimizer, schedule = training.optimizer, training.schedule
    assert (optimizer.lr, optimizer.betas, optimizer.clip) == (lr, (0.9, 0.95), 1.0)
    assert optimizer.weight_decay == 0.1
    assert optimizer.eps == (1e-5 if name == "poro2-8b" else 1e-8)
    assert (schedule.shape, schedule.min_lr) == ("cosine", 1e-8)
    assert schedule.warmup == pytest.approx(0.05 * 165e9, rel=0.005)  # 5%
    assert training.precision == "bf16"
    assert recipe.sources["finnish"].size == 49_649_704_835
    assert (recipe.release.repo, recipe.release.license) == (f"LumiOpen/Llama-Poro-2-{size}-base", "llama3.1")


def test_poro_mini_is_poro_34b_made_small():
    mini, poro = _shipped("poro-mini"), _shipped("poro-34b")
    assert mini.model.architecture == poro.model.architecture
    assert mini.model.n_heads & (mini.model.n_heads - 1)  # no power of two, as the 56
    assert 5e6 < _bloom_parameters(mini.model) < 15e6
    assert mini.tokenizer.train.pattern == poro.tokenizer.train.pattern
    assert mini.sources["tatoeba"].template == poro.sources["tatoeba"].template
    assert set(poro.languages) == set(mini.languages)
    assert mini.training.schedule.shape == poro.training.schedule.shape
    assert mini.training.layout.ranks == 1


@pytest.mark.parametrize("name", ["poro2-mini", "demo-poro2"])
def test_a_small_poro_2_continues_its_own_base_in_the_mix_of_poro_2(name):
    recipe = _shipped(name)
    base = _shipped(f"{name}-base")
    assert recipe.model.base == recipe.tokenizer.load == f"{name}-base.yaml"
    assert recipe.model.model_dump(exclude={"base"}) == base.model.model_dump(exclude={"base"})
    percent = {recipe.sources[source].language: share.percent for source, share in recipe.mixture.items()}
    assert percent == {"fi": 30, "en": 30, "code": 30, "math": 10}
    assert base.languages == ["en", "code", "math"]
    assert [share.replay for share in recipe.mixture.values()] == [False, True, True, True]
    for source in base.sources.keys() & recipe.sources.keys():
        assert recipe.sources[source] == base.sources[source]
    assert recipe.evaluation.heldout == base.evaluation.heldout  # nothing held out here was trained on there
    assert recipe.training.optimizer.lr < base.training.optimizer.lr
    assert recipe.training.schedule.warmup >= 0.05 * recipe.training.tokens
    assert base.training.schedule.min_lr <= 0.05 * base.training.optimizer.lr


@pytest.mark.parametrize(
    "name", ["demo", "demo-poro2", "demo-poro2-base", "poro-mini", "poro2-mini", "poro2-mini-base"]
)
def test_what_a_small_machine_shall_run_lies_on_it(name, shared_data):
    """All sources are files that ship, or those of ../shared/data."""
    for source in _shipped(name).sources.values():
        for path in source.path:
            if "{" not in path:
                assert (REPOSITORY / "recipes" / path).resolve().is_relative_to(shared_data.resolve())
                assert (REPOSITORY / "recipes" / path).is_file()
