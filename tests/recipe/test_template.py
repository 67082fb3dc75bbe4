import pytest
from pydantic import ValidationError

from tokka.recipe.sources import Source
from tokka.recipe.template import Piece, parse_template


def test_a_template_is_literal_text_and_fields_with_doubled_braces_for_braces():
    assert parse_template("<|user|>{en} {{x}}\n{meta.fi}!") == [
        Piece("<|user|>", "en"),
        Piece(" {", None),
        Piece("x}", None),
        Piece("\n", "meta.fi"),
        Piece("!", None),
    ]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("{en", "expected '}'"),
        ("en}", "Single '}'"),
        ("{}", "name of a field"),
        ("{en!r}", "name of a field"),
        ("{en:>10}", "name of a field"),
        ("no field, {{braces}} only", "has no {field}"),
        ("", "has no {field}"),
    ],
)
def test_what_is_no_template_is_refused_with_the_reason(written, why):
    with pytest.raises(ValueError, match="is not a template") as caught:
        parse_template(written)
    assert why in str(caught.value)


def test_a_recipe_with_a_bad_template_is_refused_before_anything_starts():
    with pytest.raises(ValidationError, match="template"):
        Source(path="x.jsonl", language="fi", template=["{ok}", "{open"])
