"""What a machine lacks for a recipe is told before anything starts: the key, the reason, the remedy."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from tokka.pipeline import preflight
from tokka.pipeline.needs import needs_of
from tokka.pipeline.preflight import check
from tokka.recipe.load import load_recipe
from tokka.recipe.recipe import Recipe
from tokka.workspace import machine

RECIPES = Path(__file__).parents[2] / "recipes"
ROWS = [{"title": f"Poro {number}", "body": "Suomen talvi on pitkä."} for number in range(20)]
LLAMA = {"architecture": "llama", "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_model": 32, "d_ffn": 64}

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that cannot be reached, and an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "no cache"))


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer of 384 entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = (RECIPES / "demo.yaml").read_text() + (RECIPES / "poro-34b.yaml").read_text()
    tokenizer.train_from_iterator([text], trainer)
    folder = tmp_path_factory.mktemp("tokenizer")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture
def base(tmp_path: Path, tokenizer_folder: Path) -> Path:
    """A small Llama of transformers with its tokenizer, as ``base`` beside the recipe."""
    shutil.copytree(tokenizer_folder, tmp_path / "base")
    config = LlamaConfig(
        vocab_size=384,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    )
    config.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def recipe(tmp_path: Path) -> MakeRecipe:
    """A recipe whose one source, ``poro``, reads ``texts.jsonl`` beside it; any section may be replaced."""
    (tmp_path / "texts.jsonl").write_text(lines([{"text": row["body"]} for row in ROWS]))

    def make(**sections: Any) -> Recipe:
        tree = {
            "name": "small",
            "sources": {"poro": {"path": "texts.jsonl", "language": "fi"}},
            "mixture": {"poro": {"rest": True}},
            "tokenizer": {"train": {"vocab_size": 384, "pattern": "bloom"}},
            "model": LLAMA | {"vocab_size": 384},
            "training": {
                "tokens": 4096,
                "sequence_length": 64,
                "batch_tokens": 1024,
                "optimizer": {"lr": 1e-3},
            },
            "release": {"repo": "tokka/small"},
        }
        return Recipe.model_validate(tree | sections)

    return make


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def source(**stated: Any) -> dict[str, Any]:
    return {"poro": {"language": "fi"} | stated}


def problems(recipe: Recipe, root: Path, **more: Any) -> dict[str, str]:
    return {problem.key: problem.message for problem in check(recipe, root, folder=root, **more)}


def test_a_machine_that_has_all_lacks_nothing(recipe: MakeRecipe, tmp_path: Path) -> None:
    assert check(recipe(), tmp_path, folder=tmp_path / "runs") == []


def test_the_shipped_recipes_for_one_machine_run_here(shared_data: Path) -> None:
    for name in ("demo", "poro-mini"):
        assert check(load_recipe(RECIPES / f"{name}.yaml"), RECIPES) == []


def test_poro_34b_tells_everything_that_this_machine_lacks(tmp_path: Path) -> None:
    found = problems(load_recipe(RECIPES / "poro-34b.yaml"), tmp_path)
    assert "matches no file" in found["sources.finnish.path"]
    assert "cerebras/SlimPajama-627B is not on this machine" in found["sources.slimpajama.hub.id"]
    assert found["training.layout"].startswith("asks for 1,024 ranks, and this machine has")
    assert "--set training.layout.data=1 --set training.layout.tensor=1" in found["training.layout"]
    assert "34,216,949,760 parameters need 547.5 GB, 16 bytes each" in found["model"]
    assert "context" not in found["training.layout"]


def test_files_that_are_not_there(recipe: MakeRecipe, tmp_path: Path) -> None:
    found = problems(recipe(sources=source(path=["texts.jsonl", "more/*.jsonl"])), tmp_path)
    assert list(found) == ["sources.poro.path"]
    assert "'more/*.jsonl' matches no file" in found["sources.poro.path"]


def test_a_file_whose_name_tells_no_format(recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "texts.dump").write_text("Suomi\n")
    assert (
        "state `format`"
        in problems(recipe(sources=source(path="texts.dump")), tmp_path)["sources.poro.format"]
    )


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_a_text_field_that_the_records_lack(recipe: MakeRecipe, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text(lines(ROWS))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(lines(ROWS).encode()))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    found = problems(recipe(sources=source(path=path.name)), tmp_path)
    assert found["sources.poro.text"] == (
        f"the first records of rows.{kind} have no `text`; name fields that they have: title, body"
    )
    assert problems(recipe(sources=source(path=path.name, text="body")), tmp_path) == {}


def test_a_template_with_a_field_that_the_records_lack(recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(ROWS))
    found = problems(recipe(sources=source(path="rows.jsonl", template="{title}: {fi}")), tmp_path)
    assert "have no `fi`; name fields that they have: title, body" in found["sources.poro.template"]
    nested = problems(recipe(sources=source(path="rows.jsonl", template="{title.fi}")), tmp_path)
    assert "have no such nested field" in nested["sources.poro.template"]


def test_one_record_without_the_field_is_left_to_the_corpus(recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"title": "no body"}\n' + lines(ROWS))
    assert problems(recipe(sources=source(path="rows.jsonl", text="body")), tmp_path) == {}


def test_a_broken_or_empty_file_is_left_to_the_corpus(recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_bytes(b"\xff\xfe{{{\n")
    (tmp_path / "empty.jsonl").touch()
    assert problems(recipe(sources=source(path=["broken.jsonl", "empty.jsonl"])), tmp_path) == {}


def test_a_data_set_without_the_extra_that_reads_it(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(machine.EXTRAS, "hub", ("no_such_module",))
    found = problems(recipe(sources=source(hub={"id": "org/texts"})), tmp_path)
    assert found == {"sources.poro.hub": "needs no_such_module, not installed here: pip install 'tokka[hub]'"}


def test_a_local_data_set_that_is_not_there(recipe: MakeRecipe, tmp_path: Path) -> None:
    found = problems(recipe(sources=source(hub={"id": "./my/own/data"})), tmp_path)
    assert "./my/own/data is neither a folder that is there nor an id" in found["sources.poro.hub.id"]


def test_a_local_data_set_that_is_there(recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(lines(ROWS))
    assert problems(recipe(sources=source(hub={"id": "data"}, text="body")), tmp_path) == {}
    found = problems(recipe(sources=source(hub={"id": "data"})), tmp_path)
    assert "have no `text`" in found["sources.poro.text"]
    found = problems(recipe(sources=source(hub={"id": "data", "split": "none"})), tmp_path)
    assert "has no split 'none'; it has train" in found["sources.poro.hub.split"]


def test_the_tokenizer_of_a_megatron_source(
    recipe: MakeRecipe, tmp_path: Path, tokenizer_folder: Path
) -> None:
    for name in ("ids.bin", "ids.idx"):
        (tmp_path / name).touch()
    here = recipe(sources=source(path="ids", format="megatron", tokenizer=str(tokenizer_folder)))
    nowhere = recipe(sources=source(path="ids", format="megatron", tokenizer="org/model"))
    assert problems(here, tmp_path) == {}
    assert "org/model is not on this machine" in problems(nowhere, tmp_path)["sources.poro.tokenizer"]


def test_a_mixture_without_a_solution(recipe: MakeRecipe, tmp_path: Path) -> None:
    mixture = {"poro": {"percent": 100, "max_epochs": 2}}
    undeclared = recipe(mixture=mixture)
    declared = recipe(mixture=mixture, sources=source(path="texts.jsonl", size=1500))
    assert problems(undeclared, tmp_path) == {}
    assert "poro" in problems(declared, tmp_path)["mixture"]
    assert problems(recipe(mixture={"poro": {"percent": 90}}), tmp_path).keys() == {"mixture"}
    assert problems(declared, tmp_path, stages=["mixture"]) == {}  # by then the tokens are counted


def test_a_tokenizer_that_is_nowhere(recipe: MakeRecipe, tmp_path: Path) -> None:
    found = problems(recipe(tokenizer={"load": "org/model"}), tmp_path)
    assert "org/model is not on this machine" in found["tokenizer.load"]


def test_a_tokenizer_larger_than_the_embedding(
    recipe: MakeRecipe, tmp_path: Path, tokenizer_folder: Path
) -> None:
    load = {"load": str(tokenizer_folder)}
    assert problems(recipe(tokenizer=load), tmp_path) == {}
    found = problems(recipe(tokenizer=load, model=LLAMA | {"vocab_size": 256}), tmp_path)
    assert "256, but the tokenizer" in found["model.vocab_size"]
    assert "has 384 entries; make it at least 384" in found["model.vocab_size"]


def test_a_folder_without_a_tokenizer(recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in problems(recipe(tokenizer={"load": "empty"}), tmp_path)["tokenizer.load"]


def test_a_new_tokenizer_for_old_weights(recipe: MakeRecipe, tmp_path: Path, base: Path) -> None:
    found = problems(recipe(model=LLAMA | {"vocab_size": 384, "base": "base"}), tmp_path)
    assert list(found) == ["tokenizer.train"]
    assert "`tokenizer: {load: base}`" in found["tokenizer.train"]


def test_a_base_of_another_shape_is_told_key_by_key(recipe: MakeRecipe, tmp_path: Path, base: Path) -> None:
    model = LLAMA | {"vocab_size": 384, "base": "base", "d_ffn": 96, "n_kv_heads": 4, "rope_scaling": {}}
    found = problems(recipe(model=model, tokenizer={"load": "base"}), tmp_path)
    assert found.keys() == {"model.d_ffn", "model.n_kv_heads", "model.rope_scaling"}
    assert found["model.d_ffn"] == "96, but the base has 64; write that"
    assert found["model.rope_scaling"].endswith("but the base has null; write that")


def test_a_base_may_be_continued_on_shorter_sequences_only(
    recipe: MakeRecipe, tmp_path: Path, base: Path
) -> None:
    model = LLAMA | {"vocab_size": 384, "base": "base"}
    shorter = recipe(model=model | {"max_sequence_length": 64}, tokenizer={"load": "base"})
    longer = recipe(model=model | {"max_sequence_length": 16384}, tokenizer={"load": "base"})
    assert problems(shorter, tmp_path) == {}
    assert problems(longer, tmp_path) == {
        "model.max_sequence_length": "16384, but the base has 8192; write that"
    }


def test_a_base_of_another_architecture(recipe: MakeRecipe, tmp_path: Path, base: Path) -> None:
    bloom = {"architecture": "bloom", "n_layers": 2, "n_heads": 4, "d_model": 32, "vocab_size": 384}
    found = problems(recipe(model=bloom | {"base": "base"}, tokenizer={"load": "base"}), tmp_path)
    assert found == {"model.architecture": "bloom, but the base is llama"}


def test_a_base_that_is_nowhere_or_no_model(
    recipe: MakeRecipe, tmp_path: Path, tokenizer_folder: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for base, reason in {"org/model": "not on this machine", "broken": "broken/config.json: "}.items():
        model = LLAMA | {"vocab_size": 384, "base": base}
        found = problems(recipe(model=model, tokenizer={"load": str(tokenizer_folder)}), tmp_path)
        assert reason in found["model.base"]


def test_a_base_with_another_tokenizer(recipe: MakeRecipe, tmp_path: Path, base: Path) -> None:
    vocabulary = json.loads((base / "tokenizer.json").read_text())
    ids = vocabulary["model"]["vocab"]
    ids["a"], ids["b"] = ids["b"], ids["a"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(vocabulary))
    (tmp_path / "other" / "tokenizer_config.json").write_text((base / "tokenizer_config.json").read_text())
    found = problems(
        recipe(model=LLAMA | {"vocab_size": 384, "base": "base"}, tokenizer={"load": "other"}), tmp_path
    )
    assert "and the weights of model.base know it as" in found["tokenizer.load"]
    assert "`tokenizer: {load: base}`" in found["tokenizer.load"]


def test_a_disk_that_is_too_small(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = recipe(sources=source(path="texts.jsonl", size="1T"))
    monkeypatch.setattr(preflight, "disk_free", lambda folder: 2 * 10**12 - 1)
    assert "need 2.0 TB of disk" in problems(large, tmp_path)[""]
    assert problems(large, tmp_path, stages=["corpus/poro", "tokenizer"]) == {}
    monkeypatch.setattr(preflight, "disk_free", lambda folder: 2 * 10**12 + 10**9)
    assert problems(large, tmp_path) == {}


def test_benchmarks_without_the_harness(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(machine.EXTRAS, "eval", ("no_such_module",))
    found = problems(recipe(evaluation={"tasks": [{"name": "hellaswag"}]}), tmp_path)
    assert found == {
        "evaluation.tasks": "needs no_such_module, not installed here: pip install 'tokka[eval]'"
    }


def test_benchmarks_that_nobody_knows(recipe: MakeRecipe, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text("task: summat\ntag: [own_tasks]\ndataset_path: json\n")
    tasks = [
        {"name": "hellaswag"},
        {"name": "summat", "path": "tasks"},
        {"name": "own_tasks", "path": "tasks"},
        {"name": "sumat", "path": "tasks"},
        {"name": "any", "path": "elsewhere"},
    ]
    found = problems(recipe(evaluation={"tasks": tasks}), tmp_path)
    assert found.keys() == {"evaluation.tasks.3.name", "evaluation.tasks.4.path"}
    assert "no task or group is called 'sumat' in" in found["evaluation.tasks.3.name"]


def test_only_what_the_stages_to_be_run_need_is_asked_for(recipe: MakeRecipe, tmp_path: Path) -> None:
    lacking = recipe(
        sources=source(path="gone.jsonl"),
        tokenizer={"load": "org/model"},
        model=LLAMA | {"vocab_size": 384, "base": "org/model"},
        evaluation={"tasks": [{"name": "any", "path": "elsewhere"}]},
    )
    assert problems(lacking, tmp_path).keys() == {
        "sources.poro.path",
        "tokenizer.load",
        "model.base",
        "evaluation.tasks.0.path",
    }
    assert problems(lacking, tmp_path, stages=["corpus/poro"]).keys() == {"sources.poro.path"}
    assert problems(lacking, tmp_path, stages=["training"]).keys() == {"model.base"}
    assert problems(lacking, tmp_path, stages=["release", "report"]) == {}


def test_the_needs_of_poro_34b_are_those_of_its_card() -> None:
    poro = load_recipe(RECIPES / "poro-34b.yaml")
    needs = needs_of(poro)
    assert needs.parameters == 34_216_949_760
    assert needs.memory == 16 * 34_216_949_760
    # Ids of 128,000 entries take four bytes.
    assert needs.token_bytes == {name: 4 * (source.size or 0) for name, source in poro.sources.items()}
    # 49,618 TFLOP/s at 174,378 tokens/s with each layer computed once more: 6 of 8 parts are the model's.
    assert needs.flops is not None
    assert needs.tokens == pytest.approx(1e12, rel=0.01)
    assert needs.flops / needs.tokens == pytest.approx(49_618e12 / 174_378 * 6 / 8, rel=0.01)
