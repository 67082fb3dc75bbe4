"""The ``curate`` section of a source: short where it may be, refused where it means nothing."""

import pytest
from pydantic import ValidationError

from tokka.recipe.curation import Curation, Quality
from tokka.recipe.plain_yaml import format_yaml, parse_yaml
from tokka.recipe.sources import Source


def source(language="fi", **curate):
    return Source.model_validate({"path": "a", "language": language, **curate})


def test_true_is_a_section_with_its_defaults_and_nothing_is_none():
    assert source(curate=True).curate == source(curate={}).curate == Curation()
    assert source(curate=False).curate is source().curate is None
    assert source(curate={"language": False, "quality": False}).curate.quality is None


def test_a_section_comes_back_from_yaml_as_it_was():
    stated = source(curate={"quality": {"max_top_ngrams": {2: 0.3}}, "language": {"keep": ["fi", "sv"]}})
    written = format_yaml(stated.model_dump(mode="json"))
    assert Source.model_validate(parse_yaml(written)[0]) == stated


@pytest.mark.parametrize("language", ["code", "math", "Finnish", "fi-code"])
def test_a_language_that_no_text_can_be_in_is_refused_with_a_remedy(language):
    with pytest.raises(
        ValidationError, match=r"name languages in `curate.language.keep`, or write `language: fa"
    ):
        source(language, curate=True)
    assert source(language, curate={"language": False}).curate is not None
    assert source(language, curate={"language": {"keep": ["en"]}}).curate is not None


@pytest.mark.parametrize(
    "section",
    [
        {"qualty": {}},
        {"mask": ["name"]},
        {"mask": ["ip", "ip"]},
        {"quality": {"min_words": 0}},
        {"quality": {"max_short_lines": 1.5}},
        {"quality": {"max_top_ngrams": {5: 0.1}}},
        {"language": {"at_least": 2}},
        {"block_domains": [""]},
    ],
)
def test_what_means_nothing_is_refused(section):
    with pytest.raises(ValidationError):
        source(curate=section)


def test_a_threshold_may_be_null():
    assert Quality(min_words=None, max_short_lines=None).min_words is None
