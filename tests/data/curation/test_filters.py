"""The filters decide as datatrove's do, on the same words; rules beside theirs do what they say."""

import gzip
import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("datatrove")

from datatrove.data import Document
from datatrove.pipeline.filters import fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter

from tokka.data.curation.fineweb import fineweb_flaw
from tokka.data.curation.gopher import gopher_flaw
from tokka.data.curation.page import Page
from tokka.data.curation.prose import prose_flaw
from tokka.data.curation.repetition import repetition_flaw
from tokka.recipe.curation import Quality

STOP_WORDS = ("ja", "on", "se", "ei", "että", "the", "of", "and")
PUBLISHED = Quality()

GOPHER = {
    "gopher_short_doc": "too_few_words",
    "gopher_long_doc": "too_many_words",
    "gopher_below_avg_threshold": "words_too_short",
    "gopher_above_avg_threshold": "words_too_long",
    "gopher_too_many_hashes": "too_many_hashes",
    "gopher_too_many_ellipsis": "too_many_ellipses",
    "gopher_too_many_bullets": "too_many_bullets",
    "gopher_too_many_end_ellipsis": "too_many_ellipsis_lines",
    "gopher_below_alpha_threshold": "too_few_letters",
    "gopher_enough_stop_words": "too_few_stop_words",
}
REPETITION = {
    "dup_para_frac": "duplicate_paragraphs",
    "dup_para_char_frac": "duplicate_paragraph_characters",
    "dup_line_frac": "duplicate_lines",
    "dup_line_char_frac": "duplicate_line_characters",
    **{f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"duplicate_{n}_grams" for n in range(5, 11)},
}
FINEWEB = {
    "line_punct_ratio": "too_few_sentences",
    "short_line_ratio": "short_lines",
    "char_dup_ratio": "repeated_characters",
    "list_ratio": "list",
}


@pytest.fixture
def theirs(monkeypatch):
    """datatrove's filters, with the words of ours: its own tokenizers are another matter."""
    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        monkeypatch.setattr(module, "split_into_words", lambda text, _: Page(text).tokens)
    monkeypatch.setattr(gopher_quality_filter, "PUNCTUATION_SET", Punctuation())
    quality = gopher_quality_filter.GopherQualityFilter(
        stop_words=list(STOP_WORDS), max_non_alpha_words_ratio=None
    )
    repetition = gopher_repetition_filter.GopherRepetitionFilter()
    fineweb = fineweb_quality_filter.FineWebQualityFilter(
        stop_chars=(".", "!", "?", "…", '"', "”", "»", "’", "'", ".)")
    )
    return [(quality, GOPHER), (repetition, REPETITION), (fineweb, FINEWEB)]


class Punctuation:
    """All that is no letter or digit: what our words count as punctuation."""

    def __contains__(self, character):
        return not character.isalnum()


def their_flaws(filters, text):
    for step, names in filters:
        verdict = step.filter(Document(text=text, id="0"))
        yield None if verdict is True else names[verdict[1]]


def our_flaws(text, limits=PUBLISHED):
    page = Page(text)
    limits = limits.model_copy(update={"min_alphabetic_words": None})
    return [gopher_flaw(page, limits, STOP_WORDS), repetition_flaw(page, limits), fineweb_flaw(page, limits)]


def lines_of(shared_data, name, field="text"):
    with gzip.open(shared_data / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line)[field] for line in lines]


def without_blank_lines(text):
    """Return what both read alike: no blank lines, no odd line ends, no capital letters (in stop words)."""
    return "\n".join(line.strip() for line in text.lower().splitlines() if line.strip())


@pytest.mark.parametrize("name", ["wikipedia_fi_train", "turku_ner_docs", "kanteletar"])
def test_real_documents_are_judged_as_by_datatrove(shared_data, theirs, name):
    texts = [without_blank_lines(text) for text in lines_of(shared_data, f"text/fi/{name}.jsonl.gz")]
    texts = [text for text in texts if len(text.split()) >= 50][:250]  # else one n-gram is much of a text
    found = [our_flaws(text) for text in texts]
    assert found == [list(their_flaws(theirs, text)) for text in texts]
    assert {flaw for flaws in found for flaw in flaws} - {None}, "some were thrown out"


@given(
    st.lists(
        st.sampled_from(
            ["ja", "on", "se", "talo", "a b c", "#", "…", "- x", "kissa istuu.", "12", "\n", "\n"]
        ),
        max_size=120,
    ).map(" ".join)
)
@settings(max_examples=200, deadline=None)
def test_made_up_documents_are_judged_as_by_datatrove(text):
    text = without_blank_lines(text.replace(" \n ", "\n") + "\nsanoja riittää varmasti" * 17)
    with pytest.MonkeyPatch.context() as patch:
        assert our_flaws(text) == list(their_flaws(theirs.__wrapped__(patch), text))


def test_a_threshold_of_null_asks_nothing():
    nothing = Quality.model_validate(
        {key: {} if key.endswith("ngrams") else None for key in Quality.model_fields}
    )
    text = "# # # ...\n- x\n- x\n- x\n12 12 12 12 12 12"
    assert our_flaws(text) != [None, None, None]
    page = Page(text)
    assert gopher_flaw(page, nothing, STOP_WORDS) is None
    assert repetition_flaw(page, nothing) is None
    assert fineweb_flaw(page, nothing) is None
    assert prose_flaw(page, nothing, frozenset()) is None


def test_words_with_letters_are_counted_among_words_and_not_among_punctuation():
    limits = Quality(min_words=1, min_stop_words=None, min_mean_word_length=None)
    judge = partial(gopher_flaw, limits=limits, stop_words=())
    assert judge(Page("Tämä, tuo; se: (hän) – “me” ovat!" * 3)) is None
    assert judge(Page("1 2 3 4 kissaa")) == "too_few_letters"


def test_stuffing_is_told_whatever_case_the_keyword_is_in():
    limits = Quality(max_stem_share=0.2)
    stuffed = "Nettikasino auttaa. Nettikasinolla pelaat. Nettikasinoiden kasvu nettikasinosta " * 2
    assert prose_flaw(Page(stuffed), limits, frozenset()) == "keyword_stuffing"
    told = "Nokia on kaupunki. Nokian keskustassa virtaa Nokianvirta, ja Nokialla asuu väkeä. " * 2
    assert prose_flaw(Page(told), limits, frozenset({"ja", "on"})) is None


def test_short_lines_do_not_outweigh_the_text_where_length_is_what_counts():
    article = "Kaupunki sijaitsee joen rannalla, ja siellä asuu noin kymmenen tuhatta ihmistä.\n"
    headings = "Lähteet\nKatso myös\nKaupungit\nJoet\nSuomi\nPaikat\n"
    page = Page(article + headings)
    by_length = Quality(
        min_sentence_characters=0.3,
        min_terminated_lines=None,
        max_short_lines=None,
        max_newlines_per_word=None,
    )
    assert fineweb_flaw(page, Quality(min_terminated_lines=0.25)) == "too_few_sentences"
    assert fineweb_flaw(page, by_length) is None
    assert fineweb_flaw(Page(headings), by_length) == "too_few_sentences"
