"""The ``sources`` and ``mixture`` sections: where documents come from, and how much of each is trained on."""

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PositiveFloat, field_validator, model_validator

from tokka.recipe.curation import Curate
from tokka.recipe.section import Section
from tokka.recipe.sizes import Bytes, Tokens
from tokka.recipe.template import parse_template

Format = Literal["auto", "jsonl", "parquet", "text", "megatron", "warc", "html"]


def _as_list(written: object) -> object:
    return [written] if isinstance(written, str) else written


Texts = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(min_length=1),
    BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
]
"""One string or a list of strings."""


class HubDataset(Section):
    """A data set of the Hugging Face Hub, or a local folder in its layout, read as a stream."""

    id: str = Field(description="Hub id (`HuggingFaceFW/fineweb-2`), or a local folder.")
    name: str | None = Field(None, description="Configuration of the data set, such as `fin_Latn`.")
    split: str = Field("train", description="Which split of it.")
    revision: str | None = Field(
        None, description="Branch, tag or commit; state one for a repeatable corpus."
    )


class Source(Section):
    """One named source of documents."""

    path: Texts | None = Field(
        None,
        description="Files, folders or globs, relative to the recipe. `{stdlib}` is the running Python's "
        "standard library, `{demo}` the corpus that ships with tokka.",
    )
    hub: HubDataset | None = Field(None, description="A data set of the Hugging Face Hub instead of `path`.")
    format: Format = Field("auto", description="How to read the files; `auto` goes by their names.")
    language: str = Field(
        min_length=1,
        description="Language code, or `code` / `math` where that says more: fi, en, code.",
    )
    text: str = Field("text", description="The field that holds the text.")
    template: Texts | None = Field(
        None,
        description="Documents made of several fields: `<|user|>Translate: {en} <|assistant|>{fi}`. "
        "With several templates each record gives one document a template.",
    )
    tokenizer: str | None = Field(
        None, description="Only for `megatron`: the tokenizer the ids were made with (folder or hub id)."
    )
    max_bytes: Bytes = Field(
        10 * 2**20, le=2**30, description="A longer record or document is kept aside as monstrous."
    )
    size: Tokens | None = Field(
        None, description="Tokens of one epoch, as declared; planning uses it until the tokens are counted."
    )
    heldout: float | None = Field(
        None, ge=0, lt=1, description="Share of documents held out of this source; else `evaluation.heldout`."
    )
    curate: Curate = Field(
        None, description="What is done to its documents: `true`, or a section; default: nothing."
    )
    notes: str = Field("", description="Shown in the data table of the model card.")

    @field_validator("template")
    @classmethod
    def _template_is_well_formed(cls, templates: Texts | None) -> Texts | None:
        for template in templates or []:
            parse_template(template)
        return templates

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either `path` or `hub`, one of them")
        if self.hub is not None and self.format != "auto":
            raise ValueError("`format` belongs to `path`; a hub data set knows its own")
        if self.format == "megatron" and self.template is not None:
            raise ValueError("`template` needs fields, and a megatron source has only tokens")
        return self

    @model_validator(mode="after")
    def _curates_a_language(self) -> Self:
        languages = self.curate and self.curate.language
        codes = [] if not languages or languages.keep else self.language.split("-")
        for code in codes:
            if not re.fullmatch("[a-z]{2,3}", code):
                raise ValueError(
                    f"`curate.language` cannot tell whether a text is in {self.language!r}; "
                    f"name languages in `curate.language.keep`, or write `language: false` there"
                )
        return self


class Share(Section):
    """How much of the training tokens one source gives: exactly one of four statements."""

    percent: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Percentage of all training tokens; 0 to measure the source and not train on it.",
    )
    epochs: PositiveFloat | None = Field(
        None, description="How many times the source is read; may be a fraction."
    )
    tokens: Tokens | None = Field(None, description="An absolute count of tokens.")
    rest: Literal[True] | None = Field(
        None, description="`true`: whatever the others leave; at most one source."
    )
    max_epochs: PositiveFloat | None = Field(
        None, description="Refuse the mixture if it repeats the source more often."
    )

    replay: bool = Field(
        False,
        description="Of what the base model knew already, mixed in so that it is kept; the card says it.",
    )

    @model_validator(mode="after")
    def _states_one_thing(self) -> Self:
        stated = [key for key in ("percent", "epochs", "tokens", "rest") if getattr(self, key) is not None]
        if len(stated) != 1:
            found = " and ".join(f"`{key}`" for key in stated) or "none"
            raise ValueError(f"give exactly one of `percent`, `epochs`, `tokens`, `rest`; found {found}")
        return self
