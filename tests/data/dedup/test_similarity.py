"""Jaccard similarity from the least hashes, against sets."""

from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokka.data.dedup.similarity import jaccard
from tokka.data.dedup.words import Sets

NUMBERS = st.sets(st.integers(0, 40), max_size=25)


def sets_of(members, limit=1000):
    least = [sorted(each)[:limit] for each in members]
    return Sets(np.array(list(chain.from_iterable(least)), np.uint32), np.cumsum([0, *map(len, least)]))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_of_small_sets_it_is_exact(pairs):
    found = jaccard(sets_of(a for a, _ in pairs), sets_of(b for _, b in pairs), 1000)
    assert found.tolist() == [len(a & b) / max(len(a | b), 1) for a, b in pairs]


def test_of_large_sets_it_is_within_a_few_hundredths():
    draw = np.random.default_rng(0)
    pairs, true = [], []
    for shared in range(1000, 9000, 200):
        numbers = draw.choice(2**32, 20_000 - shared, replace=False).tolist()
        pairs.append((set(numbers[:10_000]), set(numbers[10_000 - shared :])))
        true.append(shared / (20_000 - shared))
    found = jaccard(sets_of((a for a, _ in pairs), 1024), sets_of((b for _, b in pairs), 1024), 1024)
    assert np.abs(found - true).max() < 0.06
    assert np.abs(found - true).mean() < 0.015


def test_a_large_set_and_a_small_one_within_it():
    large = set(range(0, 100_000, 7))
    small = set(sorted(large)[:500])
    found = jaccard(sets_of([large], 1024), sets_of([small], 1024), 1024)
    assert found[0] < 0.5
