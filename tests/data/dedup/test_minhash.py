"""How surely bands bring documents together."""

import numpy as np
import pytest

from tokka.data.dedup.minhash import MOST_HASHES, Banding, band_keys, banding_for
from tokka.data.dedup.words import Sets


def pairs_of(similarity, count, size=60, seed=0):
    """Return twice ``count`` random sets; the one at i and at ``count`` + i have this Jaccard similarity."""
    draw = np.random.default_rng(seed)
    shared = round(2 * size * similarity / (1 + similarity))
    sets = [[], []]
    for _ in range(count):
        numbers = draw.choice(2**32, 2 * size - shared, replace=False).astype(np.uint32)
        sets[0].append(np.sort(numbers[:size]))
        sets[1].append(np.sort(numbers[size - shared :]))
    both = sets[0] + sets[1]
    return Sets(np.concatenate(both), np.cumsum([0, *map(len, both)])), shared / (2 * size - shared)


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("size", [12, 300])
def test_pairs_meet_as_often_as_the_formula_says(similarity, size):
    count, banding = 2000, Banding(17, 5)
    sets, true = pairs_of(similarity, count, size)
    keys = band_keys(sets, banding)
    met = (keys[:, :count] == keys[:, count:]).any(axis=0).mean()
    expected = banding.recall(true)
    assert abs(met - expected) < 4 * np.sqrt(expected * (1 - expected) / count) + 0.005


def test_strangers_never_meet():
    sets, _ = pairs_of(0.0, 2000)
    keys = band_keys(sets, Banding(17, 5))
    assert all(len(np.unique(row)) == 4000 for row in keys)


def test_equal_sets_have_equal_keys_and_bands_differ():
    sets = Sets(np.array([1, 5, 9, 1, 5, 9], np.uint32), np.array([0, 3, 6]))
    keys = band_keys(sets, Banding(4, 3))
    assert (keys[:, 0] == keys[:, 1]).all()
    assert len(np.unique(keys)) == 4


def test_a_key_does_not_depend_on_the_other_sets():
    sets, _ = pairs_of(0.5, 700, size=300)
    keys = band_keys(sets, Banding(5, 4))
    own = Sets(sets.hashes[sets.begins[3] : sets.begins[4]], np.array([0, 300]))
    assert np.array_equal(band_keys(own, Banding(5, 4))[:, 0], keys[:, 3])


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_the_banding_finds_pairs_at_the_threshold_with_few_hashes(threshold):
    banding = banding_for(threshold)
    assert banding.bands * banding.rows <= MOST_HASHES
    assert banding.recall(threshold) >= 0.95
    assert banding.recall(threshold / 2) < 0.9


def test_the_default_threshold_finds_what_is_four_fifths_alike():
    assert banding_for(0.7).recall(0.8) > 0.998
