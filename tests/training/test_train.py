"""Training on real text, from files on disk."""

import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_job import make_recipe

from tokka.data.corpus import build_corpus, read_documents
from tokka.data.encode import encode_corpus
from tokka.data.order import Part
from tokka.data.store import TokenStore
from tokka.recipe.sources import Source
from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer.load import load_tokenizer
from tokka.tokenizer.train import train_tokenizer
from tokka.training.train import train

FILES = {
    "finnish": ("fi", "text/fi/kanteletar.jsonl.gz"),
    "english": ("en", "text/en/nltk_inaugural.jsonl.gz"),
}
BUDGETS = {"finnish": 48 * 1024, "english": 16 * 1024}


@pytest.fixture(scope="module")
def line(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real text, encoded: ``tokens/`` and ``tokenizer/`` of a run folder."""
    folder = tmp_path_factory.mktemp("line")
    for name, (language, path) in FILES.items():
        source = Source(path=str(shared_data / path), language=language)
        build_corpus(name, source, folder / "corpus" / name, root=folder, heldout=0.05, workers=1)
    texts = {
        language: (document.text for document in read_documents(folder / "corpus" / name, "train"))
        for name, (language, _) in FILES.items()
    }
    train_tokenizer(TrainedTokenizer(vocab_size=1024, sample_bytes=2**19), texts, folder / "tokenizer")
    for name in FILES:
        tokenizer = load_tokenizer(folder / "tokenizer")
        encode_corpus(folder / "corpus" / name, folder / "tokens" / name, tokenizer, workers=1)
    return folder


def recipe_of(**more: Any) -> Any:
    shape = make_recipe().model.model_dump() | {"vocab_size": 1024, "d_model": 64, "d_ffn": 128}
    settings: dict[str, Any] = {
        "tokens": sum(BUDGETS.values()),
        "sequence_length": 128,
        "batch_tokens": 1024,
        "micro_batch": 8,
        "optimizer": {"lr": 1e-2},
        "schedule": {"warmup": 4096, "min_lr": 1e-3},
        "checkpoints": {"revisions": 32 * 1024},
    }
    return make_recipe(model=shape, **settings | more)


def train_in(folder: Path, line: Path, recipe: Any, budgets: Mapping[str, int] = BUDGETS) -> dict[str, Any]:
    return train(
        recipe,
        tokens=line / "tokens",
        parts=[Part.whole(budgets)],
        tokenizer=line / "tokenizer",
        folder=folder,
    )


def unigram_entropy(line: Path) -> float:
    """Return the loss, in nats, of a model that knows how frequent each token is and nothing else."""
    counts = np.zeros(1024)
    for name, budget in BUDGETS.items():
        store = TokenStore(line / "tokens" / name)
        ids = np.concatenate([store.read(i, 0, store.size(i)) for i in range(len(store))])
        counts += budget * np.bincount(ids, minlength=1024) / len(ids)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def test_loss_falls_on_real_text_below_what_frequencies_alone_explain(line: Path, tmp_path: Path):
    facts = train_in(tmp_path, line, recipe_of())
    losses = [json.loads(row)["loss"] for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(math.log(1024), abs=0.3)
    assert np.mean(losses[-8:]) < unigram_entropy(line) - 0.1
    finnish = facts["sources"]["finnish"]
    size = TokenStore(line / "tokens" / "finnish").tokens
    assert (finnish["tokens"], finnish["percent"]) == (48 * 1024, 75.0)
    assert finnish["epochs"] == pytest.approx(48 * 1024 / size, abs=1e-6)
    assert [revision["name"] for revision in facts["revisions"]] == ["32.768K", "65.536K"]


def test_revisions_name_the_special_tokens_of_the_tokenizer(line: Path, tmp_path: Path):
    train_in(tmp_path, line, recipe_of(batch_tokens=16384, tokens=None, schedule={}, checkpoints={}))
    config = json.loads(next(tmp_path.glob("revisions/*/config.json")).read_text())
    tokenizer = load_tokenizer(line / "tokenizer")
    assert config["eos_token_id"] == tokenizer.eos_id
    assert config["bos_token_id"] == tokenizer.bos_id


def test_skipped_steps_name_file_and_record(line: Path, tmp_path: Path):
    recipe = recipe_of(guard={"spike": 1.0001, "max_bad_steps": 999})
    facts = train_in(tmp_path, line, recipe)
    assert facts["skipped_steps"] > 0
    skipped = json.loads((tmp_path / "skipped.jsonl").read_text().splitlines()[0])
    assert "times its running median" in skipped["reason"]
    document = skipped["documents"][0]
    assert Path(document["file"]).name == Path(FILES[document["source"]][1]).name
    with gzip.open(
        document["file"] if Path(document["file"]).is_absolute() else line / document["file"]
    ) as file:
        assert document["record"] <= sum(1 for _ in file)


def test_missing_tokens_are_named(line: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="swedish"):
        train_in(tmp_path, line, recipe_of(), {"swedish": 64 * 1024})


def test_a_vocabulary_too_small_for_the_tokenizer_is_refused(line: Path, tmp_path: Path):
    small = recipe_of().model.model_copy(update={"vocab_size": 1000})
    with pytest.raises(ValueError, match=r"has 1024 entries, model\.vocab_size is 1000"):
        train_in(tmp_path, line, recipe_of().model_copy(update={"model": small}))
