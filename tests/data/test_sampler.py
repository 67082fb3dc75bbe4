"""The order of training data, against a plain simulation that holds everything in memory."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokka.data.order import Order, Part
from tokka.data.permutation import Permutation
from tokka.data.sampler import Sampler


class Arrays:
    """Documents in memory; token ids tell document and position."""

    def __init__(self, lengths):
        self.lengths = np.array(lengths, dtype=np.int64)
        self.tokens = sum(lengths)

    def __len__(self):
        return len(self.lengths)

    def sizes(self, documents):
        return self.lengths[documents]

    def read(self, document, start, stop):
        assert 0 <= start < stop <= self.lengths[document]
        return document * 1000 + np.arange(start, stop)


def _stream(name, store, seed, epochs):
    """All tokens of a source over ``epochs``, in training order."""
    tokens = []
    for epoch in range(epochs):
        for document in Permutation(len(store), (seed, name, epoch))(np.arange(len(store), dtype=np.int64)):
            tokens.extend(store.read(int(document), 0, int(store.lengths[document])))
    return np.array(tokens)


def _collect(sampler, batches, sequences):
    """Targets given by each source over some batches."""
    found = {}
    for _ in range(batches):
        batch = sampler.next_batch(sequences)
        for row, source in zip(batch.tokens, batch.sources, strict=True):
            found.setdefault(source, []).append(row)
    return found


@given(st.integers(1, 3000), st.integers(0, 2**63))
def test_a_permutation_holds_every_document_once(size, key):
    places = np.arange(size, dtype=np.int64)
    shuffled = Permutation(size, key)(places)
    assert np.array_equal(np.sort(shuffled), places)


def test_a_permutation_is_well_mixed_and_differs_by_key():
    places = np.arange(10_000, dtype=np.int64)
    first, second = Permutation(10_000, "a")(places), Permutation(10_000, "b")(places)
    assert abs(np.corrcoef(places, first)[0, 1]) < 0.05
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert np.mean(first == places) < 0.001


def test_a_permutation_of_a_trillion_documents_needs_no_memory():
    tracemalloc.start()
    Permutation(10**12, "k")(np.arange(10**11, 10**11 + 1000, dtype=np.int64))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.integers(1, 33),
    st.integers(1, 25),
    st.integers(0, 5),
)
def test_sequences_are_the_shuffled_stream_cut_with_no_token_lost(lengths, length, sequences, seed):
    store = Arrays(lengths)
    sampler = Sampler({"fi": store}, [Part.whole({"fi": length * 1000})], seed=seed, sequence_length=length)
    rows = _collect(sampler, 1, sequences)["fi"]
    epochs = (sequences * length + 1) // sum(lengths) + 1
    expected = _stream("fi", store, seed, epochs)
    for number, row in enumerate(rows):
        assert np.array_equal(row, expected[number * length : (number + 1) * length + 1])


def test_documents_and_origins_tell_where_each_token_came_from():
    store = Arrays([5, 3, 11, 7])
    sampler = Sampler({"fi": store}, [Part.whole({"fi": 800})], seed=1, sequence_length=8)
    batch = sampler.next_batch(20)
    for row, numbers, pieces in zip(batch.tokens, batch.documents, batch.origins, strict=True):
        rebuilt = np.concatenate([store.read(p.document, p.start, p.stop) for p in pieces])
        assert np.array_equal(row, rebuilt)
        lengths = [piece.stop - piece.start for piece in pieces]
        assert np.array_equal(numbers, np.repeat(np.arange(len(pieces)), lengths)[:-1])


def test_each_epoch_is_shuffled_anew():
    store = Arrays([1] * 200)
    sampler = Sampler({"fi": store}, [Part.whole({"fi": 400})], seed=1, sequence_length=1)
    tokens = np.concatenate([sampler.next_batch(1).tokens[0, :1] for _ in range(400)])
    assert np.array_equal(np.sort(tokens[:200]), np.sort(tokens[200:]))
    assert not np.array_equal(tokens[:200], tokens[200:])


@pytest.mark.parametrize("step", [1, 3, 8, 24])
def test_the_mix_is_exact_at_the_end_and_close_at_every_moment(step):
    stores = {name: Arrays([13] * 50) for name in ("fi", "en", "code")}
    budgets = {"fi": 130 * 4, "en": 300 * 4, "code": 2 * 4}
    sampler = Sampler(stores, [Part.whole(budgets)], seed=0, sequence_length=4)
    for drawn in range(step, 433, step):
        sampler.next_batch(step)
        for name, budget in budgets.items():
            assert abs(sampler.tokens[name] - budget * drawn / 432) <= 2 * 4
    assert sampler.tokens == budgets


def test_the_order_within_a_source_does_not_depend_on_the_other_sources():
    stores = {name: Arrays([3, 9, 4, 17, 6] * 9) for name in ("fi", "en", "code")}
    alone = Sampler(stores, [Part.whole({"fi": 8 * 60})], seed=3, sequence_length=8)
    budgets = {"en": 8 * 500, "fi": 8 * 60, "code": 8 * 40}
    mixed = Sampler(stores, [Part.whole(budgets)], seed=3, sequence_length=8)
    expected, found = _collect(alone, 60, 1)["fi"], _collect(mixed, 60, 10)["fi"]
    assert np.array_equal(np.array(expected), np.array(found))


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_the_order_does_not_depend_on_the_number_of_ranks(ranks):
    stores = {"fi": Arrays([3, 9, 4, 17, 6]), "en": Arrays([5] * 11)}
    budgets = {"fi": 8 * 32, "en": 8 * 32}
    whole = Sampler(stores, [Part.whole(budgets)], seed=3, sequence_length=8)
    parts = [Sampler(stores, [Part.whole(budgets)], seed=3, sequence_length=8) for _ in range(ranks)]
    for _ in range(4):
        rows = [
            p.next_batch(16, slice(16 // ranks * r, 16 // ranks * (r + 1))).tokens
            for r, p in enumerate(parts)
        ]
        assert np.array_equal(np.concatenate(rows), whole.next_batch(16).tokens)


def test_a_state_saved_as_json_continues_the_same_order():
    import json

    stores = {"fi": Arrays([3, 9, 4, 17, 6]), "en": Arrays([5] * 11)}
    budgets = {"fi": 8 * 32, "en": 8 * 32}
    whole = Sampler(stores, [Part.whole(budgets)], seed=3, sequence_length=8)
    for cut in range(1, 10):
        first = Sampler(stores, [Part.whole(budgets)], seed=3, sequence_length=8)
        for _ in range(cut):
            first.next_batch(3)
        second = Sampler(stores, [Part.whole(budgets)], seed=3, sequence_length=8)
        second.load_state(json.loads(json.dumps(first.state())))
        whole = Sampler(stores, [Part.whole(budgets)], seed=3, sequence_length=8)
        for _ in range(cut):
            whole.next_batch(3)
        assert np.array_equal(second.next_batch(5).tokens, whole.next_batch(5).tokens)


def test_a_changed_mixture_neither_repeats_nor_drops_a_token():
    stores = {name: Arrays([3, 9, 4, 17, 6] * 5) for name in ("fi", "en", "code")}
    planned = {"fi": 8 * 50, "en": 8 * 50}
    first = Sampler(stores, [Part.whole(planned)], seed=3, sequence_length=8)
    before = _collect(first, 10, 4)
    parts = [Part(planned, 8 * 40), Part.whole({"fi": 8 * 20, "code": 8 * 50, "en": 8 * 90})]
    second = Sampler(stores, parts, seed=3, sequence_length=8)
    second.load_state(first.state())
    after = _collect(second, 40, 4)
    for name, sequences in {"fi": 20 + 20, "en": 20 + 90, "code": 50}.items():
        rows = before.get(name, []) + after.get(name, [])
        assert len(rows) == sequences
        targets = np.concatenate([row[1:] for row in rows])
        epochs = len(targets) // int(stores[name].lengths.sum()) + 2
        assert np.array_equal(targets, _stream(name, stores[name], 3, epochs)[1 : len(targets) + 1])


def test_a_change_of_what_was_given_already_is_refused():
    stores = {name: Arrays([3, 9, 4, 17, 6]) for name in ("fi", "en")}
    first = Sampler(stores, [Part.whole({"fi": 8 * 50, "en": 8 * 50})], seed=3, sequence_length=8)
    first.next_batch(20)
    second = Sampler(stores, [Part.whole({"fi": 8 * 90, "en": 8 * 10})], seed=3, sequence_length=8)
    with pytest.raises(ValueError, match="has given 80 tokens so far, and by the mixture it would be"):
        second.load_state(first.state())


_names = st.sampled_from(["fi", "en", "code", "math"])
_budgets = st.dictionaries(_names, st.integers(1, 30), min_size=1)
_parts = st.lists(st.tuples(_budgets, st.floats(0.05, 1)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(_parts, st.integers(1, 12), st.integers(1, 9), st.integers(0, 3), st.data())
def test_any_schedule_of_changes_gives_what_a_plain_simulation_gives(schedule, length, batch, seed, data):
    """Sources come, go and are weighted anew, at stated counts or cut in mid-run, with stops in between."""
    lengths = st.lists(st.integers(1, 30), min_size=1, max_size=12)
    stores = {name: Arrays(data.draw(lengths, label=name)) for name in ("fi", "en", "code", "math")}
    parts, expected, ends = [], [], []
    for budgets, kept in schedule:
        last = max(round(kept * sum(budgets.values())), 1)
        parts.append(Part({name: n * length for name, n in budgets.items()}, last * length))
        due = sorted((Fraction(2 * k + 1, n), name) for name, n in budgets.items() for k in range(n))
        expected += [name for _, name in due[:last]]
        ends.append(len(expected))
    streams = {
        name: _stream(name, store, seed, len(expected) * length // sum(store.lengths) + 2)
        for name, store in stores.items()
    }
    at, taken, state = 0, dict.fromkeys(stores, 0), {}
    while at < len(expected):
        now = next(number for number, end in enumerate(ends) if at < end)
        known = [*parts[:now], Part.whole(parts[now].budgets)]  # nothing of the changes to come
        sampler = Sampler(stores, known, seed=seed, sequence_length=length)
        sampler.load_state(state)
        count = min(batch, ends[now] - at)
        rows = sampler.next_batch(count).tokens
        sought = Sampler(stores, parts, seed=seed, sequence_length=length)
        sought.seek(at)
        assert np.array_equal(sought.next_batch(count).tokens, rows)
        assert sought.state().items() >= sampler.state().items()
        for row, name in zip(rows, expected[at : at + count], strict=True):
            assert np.array_equal(row, streams[name][taken[name] : taken[name] + length + 1])
            taken[name] += length
        at, state = at + count, sampler.state()


def test_the_order_of_a_trillion_tokens_is_known_at_any_position_at_once():
    budgets = {"slimpajama": 132_227_051 * 4096, "finnish": 31_738_281 * 4096, "code": 80_175_781 * 4096}
    order = Order([Part.whole(budgets)], 4096)
    total = sum(budgets.values()) // 4096
    for position in (0, 1, 12_345_678, total - 1, total):
        given = order.given(position)
        assert sum(given.values()) == position
        for name, budget in budgets.items():
            assert abs(given[name] - budget / 4096 * position / total) <= 2
    assert order.given(total) == {name: budget // 4096 for name, budget in budgets.items()}


def test_a_source_with_a_share_but_no_documents_is_refused():
    with pytest.raises(ValueError, match="source fi has a share of the mixture but no documents"):
        Sampler({"fi": Arrays([])}, [Part.whole({"fi": 8})], seed=0, sequence_length=8)
