"""The choice of held-out text."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tokka.evaluation.heldout import select_texts

texts = st.lists(st.text(alphabet="aä€😀 ", min_size=1, max_size=30), max_size=30)


def size(chosen: list[str]) -> int:
    return sum(len(text.encode()) for text in chosen)


@given(texts, st.integers(1, 400), st.randoms())
def test_the_order_of_documents_does_not_matter(documents, limit, shuffler: random.Random):
    chosen = select_texts(documents, limit)
    shuffler.shuffle(documents)
    assert select_texts(documents, limit) == chosen


@given(texts, st.integers(1, 400))
def test_the_limit_is_filled_up_to_a_character_and_never_exceeded(documents, limit):
    chosen = select_texts(documents, limit)
    wanted = min(limit, size(documents))
    assert wanted - 3 <= size(chosen) <= wanted
    assert all(chosen)


@given(texts, st.integers(1, 200), st.integers(0, 200))
def test_a_larger_limit_scores_the_same_text_and_more(documents, limit, more):
    smaller, larger = select_texts(documents, limit), select_texts(documents, limit + more)
    assert "".join(larger).startswith("".join(smaller))
    assert larger[: len(smaller)][:-1] == smaller[:-1]


@given(texts)
def test_all_is_taken_where_the_limit_allows(documents):
    assert sorted(select_texts(documents, 10_000)) == sorted(documents)


def test_long_documents_are_not_less_likely_to_be_taken():
    draw = random.Random(0)
    documents = [f"{number} ".ljust(draw.choice([40, 4000]), "x") for number in range(4000)]
    chosen = select_texts(documents, 4_000_000)
    share = sum(len(text) > 100 for text in chosen) / len(chosen)
    assert 0.46 < share < 0.54
