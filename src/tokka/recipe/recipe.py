"""The recipe: one typed object for the whole line, and the checks that need more than one section."""

import math
from typing import Self

from pydantic import Field, model_validator

from tokka.recipe.deduplicate import Deduplicate
from tokka.recipe.evaluation import Evaluation, Release
from tokka.recipe.mixture import MixtureChange
from tokka.recipe.model import Llama, Model, is_recipe
from tokka.recipe.section import NAME_RULE, Name, Section
from tokka.recipe.sources import Share, Source
from tokka.recipe.tokenizer import Tokenizer
from tokka.recipe.training import Training, divisors


class Recipe(Section):
    """Everything that a run needs to know, and all that decides its result."""

    name: Name = Field(description=f"Name of the run: {NAME_RULE}.")
    seed: int = Field(
        42, strict=True, ge=0, lt=2**63, description="Decides initial weights and the order of data."
    )
    sources: dict[Name, Source] = Field(min_length=1, description="Where documents come from, by name.")
    deduplicate: Deduplicate = Field(
        None, description="Take out what several documents repeat; `true` or a section. Default: nothing."
    )
    mixture: dict[str, Share] = Field(min_length=1, description="How much of each source is trained on.")
    mixture_changes: list[MixtureChange] = Field(
        [], description="Other mixtures from stated token counts on, such as a better one for the decay."
    )
    tokenizer: Tokenizer = Field(description="Train a tokenizer, or load one.")
    model: Model = Field(description="The shape of the network.")
    training: Training = Field(description="Budget, batches, optimizer, schedule, checkpoints, layout.")
    evaluation: Evaluation = Field(Evaluation(), description="What every revision is measured on.")
    release: Release = Field(description="What is published, and what the card says.")

    @property
    def takes_documents_out(self) -> bool:
        """Whether documents are taken out because of others or of benchmarks."""
        return self.deduplicate is not None or self.decontaminates

    @property
    def decontaminates(self) -> bool:
        """Whether documents that hold items of the evaluation's tasks are taken out."""
        return self.evaluation.decontaminate and bool(self.evaluation.tasks)

    @property
    def documents(self) -> str:
        """The group of stages, one a source, that make the documents which are trained on or held out."""
        return "documents" if self.takes_documents_out else "corpus"

    @property
    def mixtures(self) -> list[dict[str, Share]]:
        """The mixtures of the parts of the training, the first one first."""
        return [self.mixture, *(change.mixture for change in self.mixture_changes)]

    @property
    def mixed(self) -> list[str]:
        """The names of all sources that are trained on, in the order in which they are mixed in."""
        return list(dict.fromkeys(name for mixture in self.mixtures for name in mixture))

    @property
    def languages(self) -> list[str]:
        """The languages of the mixed sources, in the order in which they are stated."""
        return list(dict.fromkeys(self.sources[name].language for name in self.mixed))

    @model_validator(mode="after")
    def _mixture_names_sources(self) -> Self:
        unknown = sorted(set(self.mixed) - self.sources.keys())
        if unknown:
            raise ValueError(
                f"mixture: {', '.join(unknown)} is not among the sources {', '.join(self.sources)}"
            )
        unused = sorted(self.sources.keys() - set(self.mixed))
        if unused:
            raise ValueError(
                f"sources: {', '.join(unused)} has no share in the mixture; give it one or remove the source"
            )
        return self

    @model_validator(mode="after")
    def _changes_follow_one_another(self) -> Self:
        batch, before, mixture = self.training.batch_tokens, 0, self.mixture
        for index, change in enumerate(self.mixture_changes):
            key, step = f"mixture_changes.{index}", round(change.at / batch)
            if step <= before:
                raise ValueError(
                    f"{key}.at {change.at} leaves no step of {batch} tokens to the mixture before it; "
                    f"state the changes by rising token counts, a step apart"
                )
            if self.training.tokens is not None and step * batch >= self.training.tokens:
                raise ValueError(
                    f"{key}.at {change.at} is not before the end of the budget, training.tokens "
                    f"{self.training.tokens}; make it smaller"
                )
            if change.cut is not None and change.cut.keys() != mixture.keys():
                raise ValueError(
                    f"{key}.cut states other sources than the mixture before it; remove the change"
                )
            before, mixture = step, change.mixture
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
    def _tokenizer_is_of_the_base(self) -> Self:
        load, base = self.tokenizer.load, self.model.base
        if load is not None and is_recipe(load) and load != base:
            raise ValueError(
                f"tokenizer.load {load} is a recipe, and only that of model.base ({base or 'none'}) is run "
                f"first; name the same in both"
            )
        return self

    @model_validator(mode="after")
    def _extension_fits(self) -> Self:
        extend = self.tokenizer.extend
        if extend is None:
            return self
        if self.model.base is None:
            raise ValueError("tokenizer.extend adds to what a base model knows, and there is no model.base")
        if self.release.merge is not None:
            raise ValueError("release.merge needs a base of the same vocabulary; tokenizer.extend changes it")
        unknown = sorted(set(extend.languages) - set(self.languages))
        if unknown:
            raise ValueError(
                f"tokenizer.extend.languages has {', '.join(unknown)}, which no source has; the languages "
                f"are {', '.join(self.languages)}"
            )
        rows = self.model.vocab_size
        if rows % extend.multiple:
            raise ValueError(
                f"model.vocab_size {rows} is no multiple of tokenizer.extend.multiple {extend.multiple}; "
                f"make it {-(-rows // extend.multiple) * extend.multiple}"
            )
        return self

    @model_validator(mode="after")
    def _merge_has_two_sides(self) -> Self:
        if self.release.merge is not None and self.model.base is None:
            raise ValueError(
                "release.merge merges model.base with what it becomes, and there is no model.base"
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
        split = {"n_heads": model.n_heads}
        if isinstance(model, Llama):
            split |= {"n_kv_heads": model.n_kv_heads, "d_ffn": model.d_ffn}
        for key, count in split.items():
            if count % layout.tensor:
                raise ValueError(
                    f"training.layout.tensor {layout.tensor} does not divide model.{key} {count}; "
                    f"use one of {divisors(count)}"
                )
        if model.vocab_size % layout.tensor:
            raise ValueError(
                f"training.layout.tensor {layout.tensor} does not divide model.vocab_size "
                f"{model.vocab_size}; round it up to a multiple of 128"
            )
        if layout.stages > model.n_layers:
            stages = f" times stages_per_rank {layout.stages_per_rank}" if layout.stages_per_rank > 1 else ""
            raise ValueError(
                f"training.layout.pipeline {layout.pipeline}{stages} exceeds model.n_layers "
                f"{model.n_layers}; a stage needs at least one layer"
            )
        return self

    @model_validator(mode="after")
    def _layout_divides_the_sequence(self) -> Self:
        layout, length = self.training.layout, self.training.sequence_length
        if layout.context > 1 and length % (2 * layout.context):
            raise ValueError(
                f"training.layout.context {layout.context} does not divide training.sequence_length {length} "
                f"into two chunks a rank; make that a multiple of {2 * layout.context}"
            )
        if length % (layout.context * layout.tensor):
            raise ValueError(
                f"training.layout.tensor {layout.tensor} does not divide a rank's share of "
                f"training.sequence_length {length}; make that a multiple of "
                f"{math.lcm(2 * layout.context, layout.context * layout.tensor)}"
            )
        return self
