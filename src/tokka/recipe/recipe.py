"""The recipe: one typed object for the whole line, and the checks that need more than one section."""

from typing import Self

from pydantic import Field, model_validator

from tokka.recipe.evaluation import Evaluation, Release
from tokka.recipe.model import Model
from tokka.recipe.section import NAME_RULE, Name, Section
from tokka.recipe.sources import Share, Source
from tokka.recipe.tokenizer import Tokenizer
from tokka.recipe.training import Training


class Recipe(Section):
    """Everything that a run needs to know, and all that decides its result."""

    name: Name = Field(description=f"Name of the run: {NAME_RULE}.")
    seed: int = Field(
        42, strict=True, ge=0, lt=2**63, description="Decides initial weights and the order of data."
    )
    sources: dict[Name, Source] = Field(min_length=1, description="Where documents come from, by name.")
    mixture: dict[str, Share] = Field(min_length=1, description="How much of each source is trained on.")
    tokenizer: Tokenizer = Field(description="Train a tokenizer, or load one.")
    model: Model = Field(description="The shape of the network.")
    training: Training = Field(description="Budget, batches, optimizer, schedule, checkpoints, layout.")
    evaluation: Evaluation = Field(Evaluation(), description="What every revision is measured on.")
    release: Release = Field(description="What is published, and what the card says.")

    @property
    def languages(self) -> list[str]:
        """The languages of the mixed sources, in the order in which they are stated."""
        return list(dict.fromkeys(self.sources[name].language for name in self.mixture))

    @model_validator(mode="after")
    def _mixture_names_sources(self) -> Self:
        unknown = sorted(self.mixture.keys() - self.sources.keys())
        if unknown:
            raise ValueError(
                f"mixture: {', '.join(unknown)} is not among the sources {', '.join(self.sources)}"
            )
        unused = sorted(self.sources.keys() - self.mixture.keys())
        if unused:
            raise ValueError(
                f"sources: {', '.join(unused)} has no share in the mixture; give it one or remove the source"
            )
        return self

    @model_validator(mode="after")
    def _vocabulary_fits(self) -> Self:
        trained = self.tokenizer.train
        if trained is not None and trained.vocab_size > self.model.vocab_size:
            raise ValueError(
                f"model.vocab_size {self.model.vocab_size} is smaller than tokenizer.train.vocab_size "
                f"{trained.vocab_size}; make it at least as large, best a multiple of 128"
            )
        return self

    @model_validator(mode="after")
    def _sample_weighs_languages(self) -> Self:
        trained = self.tokenizer.train
        if trained is None or trained.sample == "uniform":
            return self
        unknown = sorted(trained.sample.keys() - set(self.languages))
        if unknown:
            raise ValueError(
                f"tokenizer.train.sample weighs {', '.join(unknown)}, which no source has; "
                f"the languages are {', '.join(self.languages)}"
            )
        return self

    @model_validator(mode="after")
    def _sequence_fits(self) -> Self:
        longest = getattr(self.model, "max_sequence_length", None)
        if longest is not None and self.training.sequence_length > longest:
            raise ValueError(
                f"training.sequence_length {self.training.sequence_length} exceeds "
                f"model.max_sequence_length {longest}"
            )
        return self

    @model_validator(mode="after")
    def _layout_divides_the_model(self) -> Self:
        layout, model = self.training.layout, self.model
        heads = {"n_heads": model.n_heads, "n_kv_heads": getattr(model, "n_kv_heads", model.n_heads)}
        for key, count in heads.items():
            if count % layout.tensor:
                raise ValueError(
                    f"training.layout.tensor {layout.tensor} does not divide model.{key} {count}; "
                    f"use one of {_divisors(count)}"
                )
        if layout.pipeline > model.n_layers:
            raise ValueError(
                f"training.layout.pipeline {layout.pipeline} exceeds model.n_layers {model.n_layers}; "
                f"a stage needs at least one layer"
            )
        if self.training.sequence_length % layout.context:
            raise ValueError(
                f"training.layout.context {layout.context} does not divide training.sequence_length "
                f"{self.training.sequence_length}"
            )
        return self


def _divisors(count: int) -> str:
    return ", ".join(str(d) for d in range(1, min(count, 1024) + 1) if count % d == 0)
