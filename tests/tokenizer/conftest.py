"""Small tokenizers of both patterns, trained on the corpus that ships with tokka."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import REPOSITORY

from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer.load import LoadedTokenizer, load_tokenizer
from tokka.tokenizer.train import train_tokenizer

MakeFolder = Callable[[str], Path]


def demo_texts(name: str) -> list[str]:
    path = REPOSITORY / "src" / "tokka" / "demo" / "corpus" / f"{name}.jsonl"
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def finnish() -> list[str]:
    return demo_texts("finnish_a")


@pytest.fixture(scope="session")
def english() -> list[str]:
    return demo_texts("english")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, finnish: list[str], english: list[str]) -> MakeFolder:
    """The folder of a tokenizer of 3,000 entries, trained with a pattern, ``bloom`` or ``llama3``."""
    made: dict[str, Path] = {}

    def make(pattern: str) -> Path:
        if pattern not in made:
            made[pattern] = tmp_path_factory.mktemp(pattern)
            section = TrainedTokenizer(
                vocab_size=3000,
                pattern=pattern,
                special_tokens=["<unk>", "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"],
                sample_bytes=200_000,
            )
            train_tokenizer(section, {"fi": finnish, "en": english}, made[pattern])
        return made[pattern]

    return make


@pytest.fixture(scope="session", params=["bloom", "llama3"])
def tokenizer(request: pytest.FixtureRequest, trained: MakeFolder) -> LoadedTokenizer:
    """A tokenizer of each pattern."""
    return load_tokenizer(trained(request.param))
