"""The ``tokenizer`` section: train one on the corpus, or load one that exists."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from tokka.recipe.section import Section
from tokka.recipe.sizes import Bytes, Tokens


class TrainedTokenizer(Section):
    """A byte-level BPE tokenizer trained on a sample of the corpus."""

    vocab_size: Tokens = Field(ge=257, description="Entries, special tokens and the 256 bytes included.")
    pattern: Literal["bloom", "llama3"] = Field("llama3", description="How text is cut before merging.")
    special_tokens: list[Annotated[str, Field(min_length=1)]] = Field(
        ["<unk>", "<s>", "</s>", "<pad>"], description="They get the ids 0, 1, 2, ... in this order."
    )
    bos: str | None = Field("<s>", description="Beginning of a sequence; one of the special tokens.")
    eos: str = Field("</s>", description="End of a document; one of the special tokens.")
    pad: str | None = Field("<pad>", description="Padding; one of the special tokens.")
    unk: str | None = Field(
        "<unk>", description="Unknown; never produced by byte-level BPE, kept for layout."
    )
    sample_bytes: Bytes = Field(2**30, description="Bytes of text to train on, all sources together.")
    sample: Literal["uniform"] | dict[str, PositiveFloat] = Field(
        "uniform",
        description="`uniform` over languages, or a weight per language: {fi: 2, en: 1, code: 1}; "
        "others are left out.",
    )

    @model_validator(mode="after")
    def _special_tokens_are_consistent(self) -> Self:
        if len(set(self.special_tokens)) != len(self.special_tokens):
            raise ValueError("`special_tokens` holds one twice")
        for role in ("bos", "eos", "pad", "unk"):
            token = getattr(self, role)
            if token is not None and token not in self.special_tokens:
                raise ValueError(f"`{role}: {token}` is not among `special_tokens`; add it there")
        if self.vocab_size < 256 + len(self.special_tokens):
            raise ValueError(
                f"`vocab_size` {self.vocab_size} has no room for 256 bytes and "
                f"{len(self.special_tokens)} special tokens"
            )
        return self


class Tokenizer(Section):
    """Exactly one of ``train`` and ``load``."""

    train: TrainedTokenizer | None = Field(None, description="Train one on the corpus.")
    load: str | None = Field(
        None,
        description="A Hugging Face tokenizer: local folder, hub id, or the recipe that `model.base` names.",
    )
    revision: str | None = Field(None, description="Revision of a tokenizer that is loaded from the hub.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.train is None) == (self.load is None):
            raise ValueError("give either `train` or `load`, one of them")
        return self
