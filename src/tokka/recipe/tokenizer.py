"""The ``tokenizer`` section: train one on the corpus, or load one that exists."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from tokka.recipe.section import Count, Section
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


class Extension(Section):
    """Merges for new languages, added to a loaded tokenizer, whose own tokens stay as they are."""

    added: Annotated[Tokens, Field(gt=0)] = Field(description="Tokens to add.")
    languages: list[str] = Field(
        min_length=1,
        description="The new languages, which the merges are learned from. Merges that the other languages "
        "would use too are left out.",
    )
    sample_bytes: Bytes = Field(
        2**25, description="Bytes of text of the new languages to learn from, and as many of the others."
    )
    rows: Literal["mean", "random", "zero"] = Field(
        "mean",
        description="How the new rows of embedding and output begin: as the mean of those of the old tokens "
        "that each new one is made of, at random, or at zero.",
    )
    multiple: Count = Field(
        64, description="model.vocab_size is a multiple of this; the rows beyond the tokens are never used."
    )


class Tokenizer(Section):
    """Exactly one of ``train`` and ``load``."""

    train: TrainedTokenizer | None = Field(None, description="Train one on the corpus.")
    load: str | None = Field(
        None,
        description="A Hugging Face tokenizer: local folder, hub id, or the recipe that `model.base` names.",
    )
    revision: str | None = Field(None, description="Revision of a tokenizer that is loaded from the hub.")

    extend: Extension | None = Field(
        None, description="Add tokens of new languages to the one that is loaded."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.train is None) == (self.load is None):
            raise ValueError("give either `train` or `load`, one of them")
        if self.extend is not None and self.load is None:
            raise ValueError("`extend` adds to a tokenizer that exists; name it in `load`")
        return self
