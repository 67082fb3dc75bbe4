import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokka.tokenizer.sample import Sample, draw_samples


def drawn(texts, budget):
    sample = Sample(budget)
    for text in texts:
        sample.add(text)
    return list(sample.texts()), sample.facts()


@settings(deadline=None)
@given(st.lists(st.text(max_size=30)), st.integers(1, 200))
def test_a_sample_has_its_budget_or_everything(texts, budget):
    kept, facts = drawn(texts, budget)
    there_are = sum(len(text.encode()) for text in texts)
    size = sum(len(text.encode()) for text in kept)
    assert facts["of_bytes"] == there_are
    assert facts["bytes"] == min(budget, there_are)
    assert facts["ran_out"] == (there_are < budget)
    assert size <= budget
    assert size > min(budget, there_are) - 4  # a character may be cut off at the end
    if there_are <= budget:
        assert sorted(kept) == sorted(texts)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30), unique=True), st.randoms())
def test_the_order_of_texts_does_not_matter(texts, shuffle):
    before = drawn(texts, 50)[0]
    shuffle.shuffle(texts)
    assert drawn(texts, 50)[0] == before


def test_texts_are_drawn_from_everywhere():
    texts = [f"text number {number:05d}" for number in range(10_000)]
    kept, facts = drawn(texts, 200 * len(texts[0]))
    places = sorted(texts.index(text) for text in kept)
    assert facts["documents"] == 200
    assert places[50] > 1500
    assert places[150] < 8500


def test_a_long_text_does_not_break_the_budget():
    assert sum(map(len, drawn(["a" * 10**6, "b" * 10, "c" * 10], 100)[0])) == 100


def test_weights_share_the_budget():
    texts = {"fi": ["a" * 1000], "en": ["b" * 1000], "code": ["c" * 1000]}
    samples = draw_samples(texts, 400, {"fi": 3, "en": 1})
    assert {language: sample.facts()["bytes"] for language, sample in samples.items()} == {
        "fi": 300,
        "en": 100,
    }
    uniform = draw_samples(texts, 600, "uniform")
    assert [sample.facts()["bytes"] for sample in uniform.values()] == [200, 200, 200]


def test_a_weight_for_a_language_without_texts_is_refused():
    with pytest.raises(ValueError, match="gives a weight to sv, but the sources' languages are fi, en"):
        draw_samples({"fi": ["a"], "en": ["b"]}, 100, {"fi": 1, "sv": 1})


def test_a_stream_is_read_once_and_only_the_sample_is_kept():
    shuffle = random.Random(1)
    sample = Sample(10_000)
    for _ in range(5000):
        sample.add("".join(shuffle.choices("abcdefgh ", k=100)))
    assert sum(map(len, sample.texts())) == 10_000
    assert sample.facts()["documents"] == 100
