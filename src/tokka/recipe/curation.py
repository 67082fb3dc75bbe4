"""``sources.NAME.curate``: what is done to the documents of a source before they count as its text."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, model_validator

from tokka.recipe.section import Count, Section

Share = Annotated[float, Field(ge=0, le=1)]
Files = list[Annotated[str, Field(min_length=1)]]
Mask = Literal["email", "phone", "ip", "personal_id"]


class Identification(Section):
    """Which languages a document may be in."""

    keep: list[Annotated[str, Field(min_length=2)]] | None = Field(
        None, description="Codes such as `fi` (ISO 639-1); default: the source's own, `fi-en` being two."
    )
    at_least: Share = Field(
        0.5, description="Least probability of these languages together; CCNet's threshold."
    )
    model: str | None = Field(
        None, description="A fastText model file, such as GlotLID's; default: lid.176, which comes along."
    )


class Quality(Section):
    """Thresholds of the filters; those left out are the language's own (docs/curation.md), then these.

    These are the ones published for English: Gopher (Rae et al. 2021, table A1 and section A.1.1) and
    FineWeb (Penedo et al. 2024), as datatrove has them. Shares are of words, lines or characters; a threshold
    of null asks nothing.
    """

    min_words: Count | None = Field(50, description="Gopher: fewest words.")
    max_words: Count | None = Field(100_000, description="Gopher: most words.")
    min_mean_word_length: PositiveFloat | None = Field(3, description="Gopher: shortest mean word.")
    max_mean_word_length: PositiveFloat | None = Field(10, description="Gopher: longest mean word.")
    max_symbols_per_word: NonNegativeFloat | None = Field(
        0.1, description="Gopher: most `#`, and most ellipses, per word."
    )
    max_bullet_lines: Share | None = Field(0.9, description="Gopher: most lines that begin with a bullet.")
    max_ellipsis_lines: Share | None = Field(0.3, description="Gopher: most lines that end in an ellipsis.")
    min_alphabetic_words: Share | None = Field(0.8, description="Gopher: fewest words with a letter.")
    min_stop_words: Count | None = Field(2, description="Gopher: fewest different stop words.")
    min_stop_word_share: Share | None = Field(None, description="Fewest stop words among all words.")
    max_duplicate_lines: Share | None = Field(0.3, description="Gopher: most repeated lines.")
    max_duplicate_paragraphs: Share | None = Field(0.3, description="Gopher: most repeated paragraphs.")
    max_duplicate_line_characters: Share | None = Field(0.2, description="Gopher: most text in them.")
    max_duplicate_paragraph_characters: Share | None = Field(0.2, description="Gopher: most text in them.")
    max_top_ngrams: dict[Annotated[int, Field(ge=2, le=4)], Share] = Field(
        {2: 0.2, 3: 0.18, 4: 0.16}, description="Gopher: most text in the most frequent n-gram of words."
    )
    max_duplicate_ngrams: dict[Annotated[int, Field(ge=5, le=10)], Share] = Field(
        {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="Gopher: most text in repeated n-grams of words.",
    )
    min_terminated_lines: Share | None = Field(
        0.12, description="FineWeb: fewest lines that end in punctuation."
    )
    max_short_lines: Share | None = Field(0.67, description="FineWeb: most lines of at most 30 characters.")
    max_repeated_characters: Share | None = Field(0.01, description="FineWeb: most text in repeated lines.")
    max_newlines_per_word: NonNegativeFloat | None = Field(
        0.3, description="FineWeb: most line ends per word."
    )
    min_sentence_characters: Share | None = Field(
        None, description="Least text in lines that end in punctuation: FineWeb's share of lines, by length."
    )
    max_stem_share: Share | None = Field(
        None,
        description="Most words that share one beginning, stop words aside: what is stuffed with keywords.",
    )


def _as_section(written: object) -> object:
    return {} if written is True else None if written is False else written


class Curation(Section):
    """The steps, in their order: domains, repair, language, lines, quality, words, masks."""

    url: str = Field("url", description="The field that holds the address; WARC records have their own.")
    block_domains: Files = Field(
        [], description="Files with a domain a line, relative to the recipe; it and its subdomains go."
    )
    repair: bool = Field(
        True, description="Mend Unicode: mojibake, HTML entities, control characters (ftfy)."
    )
    language: Annotated[Identification | None, BeforeValidator(_as_section)] = Field(
        Identification(), description="Which languages a document may be in; `false`: any."
    )
    lines: bool = Field(True, description="Drop lines of boilerplate: cookie notices, menus, share buttons.")
    quality: Annotated[Quality | None, BeforeValidator(_as_section)] = Field(
        Quality(), description="Thresholds of Gopher's and FineWeb's filters; `false`: none."
    )
    block_words: Files = Field(
        [], description="Files with a word or phrase a line; a document with one of them goes."
    )
    mask: list[Mask] = Field(
        ["email", "phone", "ip", "personal_id"], description="Personal data that is written over."
    )

    @model_validator(mode="after")
    def _names_each_mask_once(self) -> Self:
        if len(set(self.mask)) != len(self.mask):
            raise ValueError("`mask` names one kind twice")
        return self


Curate = Annotated[
    Curation | None,
    BeforeValidator(_as_section, json_schema_input_type=bool | dict[str, Any] | None),
]
"""A section, or `true` for one with its defaults."""
