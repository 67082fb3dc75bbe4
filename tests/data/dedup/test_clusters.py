"""Disjoint sets on disk, against sets in memory."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokka.data.dedup.clusters import Clusters

EDGES = st.lists(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=20), max_size=4)


def joined(edges, count):
    """Return the least number of each one's set."""
    sets = {number: {number} for number in range(count)}
    for one, other in edges:
        both = sets[one] | sets[other]
        for member in both:
            sets[member] = both
    return [min(sets[number]) for number in range(count)]


@given(EDGES)
def test_roots_are_the_least_of_what_is_joined(tmp_path_factory, rounds):
    path = tmp_path_factory.mktemp("clusters") / "clusters.npy"
    Clusters.make(path, 30)
    clusters = Clusters(path)
    for edges in rounds:
        clusters.join(*np.array(edges, np.int64).reshape(-1, 2).T)
    expected = joined([edge for edges in rounds for edge in edges], 30)
    assert clusters.roots(np.arange(30)).tolist() == expected
    clusters.flush()
    assert Clusters(path).roots(np.arange(30)).tolist() == expected


def test_a_long_chain_ends_at_its_least(tmp_path):
    Clusters.make(tmp_path / "c.npy", 5000)
    clusters = Clusters(tmp_path / "c.npy")
    clusters.join(np.arange(1, 5000)[::-1], np.arange(0, 4999)[::-1])
    assert not clusters.roots(np.arange(5000)).any()
