import multiprocessing
import pickle
import signal
import struct
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokka.data.indexed import DamagedError, IndexedDataset, IndexedWriter, dtype_for

DOCUMENTS = [[5, 6, 7], [], [8], list(range(100)), [0, 65_000]]


def read_by_the_book(prefix):
    """An independent reader, from the description of the format: documents as lists of ids."""
    with Path(f"{prefix}.idx").open("rb") as index:
        assert index.read(9) == b"MMIDIDX\x00\x00"
        assert struct.unpack("<Q", index.read(8)) == (1,)
        kind = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 6: "d", 7: "f", 8: "H"}[index.read(1)[0]]
        sequences, boundaries = struct.unpack("<QQ", index.read(16))
        lengths = struct.unpack(f"<{sequences}i", index.read(4 * sequences))
        pointers = struct.unpack(f"<{sequences}q", index.read(8 * sequences))
        edges = struct.unpack(f"<{boundaries}q", index.read(8 * boundaries))
    with Path(f"{prefix}.bin").open("rb") as file:
        content = file.read()
    cut = [
        struct.unpack_from(f"<{length}{kind}", content, pointer)
        for length, pointer in zip(lengths, pointers, strict=True)
    ]
    return [[token for sequence in cut[start:stop] for token in sequence] for start, stop in pairwise(edges)]


def write_by_the_book(prefix, documents, code, modes=False):
    """An independent writer; a document is a list of sequences."""
    kind = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 6: "d", 7: "f", 8: "H"}[code]
    sequences = [sequence for document in documents for sequence in document]
    edges = np.cumsum([0, *map(len, documents)])
    lengths = [len(sequence) for sequence in sequences]
    pointers = (np.cumsum([0, *lengths]) * struct.calcsize(f"<{kind}"))[:-1]
    with Path(f"{prefix}.bin").open("wb") as file:
        for sequence in sequences:
            file.write(struct.pack(f"<{len(sequence)}{kind}", *sequence))
    with Path(f"{prefix}.idx").open("wb") as index:
        index.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sequences), len(edges)))
        index.write(
            struct.pack(f"<{len(lengths)}i{len(pointers)}q{len(edges)}q", *lengths, *pointers, *edges)
        )
        index.write(bytes(len(sequences)) if modes else b"")


def write(prefix, documents, vocab_size=65_001):
    with IndexedWriter(prefix, vocab_size) as writer:
        for document in documents:
            writer.add(np.array(document, np.int64))
    return prefix


@pytest.fixture
def prefix(tmp_path):
    return write(tmp_path / "00000", DOCUMENTS)


@settings(deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 300)), max_size=20),
    vocab_size=st.sampled_from([301, 65_499, 65_500, 128_256]),
)
def test_what_is_written_is_read_by_anyone(tmp_path_factory, documents, vocab_size):
    prefix = write(tmp_path_factory.mktemp("written") / "a.b", documents, vocab_size)
    assert read_by_the_book(prefix) == documents
    dataset = IndexedDataset(prefix)
    assert [dataset.document(index).tolist() for index in range(len(dataset))] == documents
    assert dataset.sizes.tolist() == list(map(len, documents))
    assert dataset.tokens == sum(map(len, documents))


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("modes", [False, True])
def test_files_of_any_dtype_and_of_documents_cut_into_sentences_are_read(tmp_path, code, modes):
    documents = [[[1, 2], [3]], [], [[], [4, 5, 6]], [[7]], [[]]]
    write_by_the_book(tmp_path / "x", documents, code, modes)
    dataset = IndexedDataset(tmp_path / "x")
    whole = [[token for sequence in document for token in sequence] for document in documents]
    assert [dataset.document(index).tolist() for index in range(len(dataset))] == whole
    assert dataset.sizes.dtype == np.int32
    assert dataset.sizes.tolist() == [3, 0, 3, 1, 0]
    assert dataset.read(2, 1, 3).tolist() == [5, 6]


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(2, "u2"), (65_499, "u2"), (65_500, "i4"), (65_536, "i4"), (262_144, "i4")]
)
def test_the_dtype_is_megatrons(vocab_size, dtype):
    assert dtype_for(vocab_size) == np.dtype(dtype)


def test_parts_of_a_document_are_views_of_the_file(prefix):
    dataset = IndexedDataset(prefix)
    assert dataset.read(3, 10, 13).tolist() == [10, 11, 12]
    assert dataset.read(4, 0, 2).tolist() == [0, 65_000]
    assert not dataset.read(3, 10, 13).flags.owndata
    assert not dataset.read(3, 10, 13).flags.writeable


@pytest.mark.parametrize("place", [(5, 0, 0), (-1, 0, 0), (0, 0, 4), (0, 2, 1), (0, -1, 2)])
def test_what_is_not_there_is_not_read(prefix, place):
    with pytest.raises(IndexError, match=r"00000, (which has|of) "):
        IndexedDataset(prefix).read(*place)


@pytest.mark.parametrize("ids", [[0, 65_001], [-1]])
def test_an_id_outside_the_vocabulary_is_refused_and_nothing_is_left(tmp_path, ids):
    with pytest.raises(
        ValueError, match=r"document 1 of .*00000 has ids .* the vocabulary has 65001 entries"
    ):
        write(tmp_path / "00000", [[1], ids])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_dataset_is_one(tmp_path):
    dataset = IndexedDataset(write(tmp_path / "00000", []))
    assert (len(dataset), dataset.tokens, dataset.sizes.tolist()) == (0, 0, [])


def test_files_that_are_cut_off_anywhere_are_refused_by_name(prefix):
    for suffix in (".bin", ".idx"):
        path = prefix.with_suffix(suffix)
        whole = path.read_bytes()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            with pytest.raises(DamagedError, match=r"00000\.idx .*; it is cut off or damaged: make it again"):
                IndexedDataset(prefix)
        path.write_bytes(whole + b"\x00\x00")
        with pytest.raises(DamagedError):
            IndexedDataset(prefix)
        path.write_bytes(whole)
    assert len(IndexedDataset(prefix)) == len(DOCUMENTS)


def test_a_changed_bit_in_the_index_is_noticed(prefix):
    path = prefix.with_suffix(".idx")
    whole = path.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                IndexedDataset(prefix)
            except DamagedError:
                continue
            unnoticed.append((place, bit))
    # Only a boundary between two documents can move without contradicting anything else.
    assert all(place >= 34 + 12 * len(DOCUMENTS) for place, _ in unnoticed)


def test_a_missing_file_is_missing(prefix):
    prefix.with_suffix(".bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"00000\.bin"):
        IndexedDataset(prefix)


def test_a_writer_that_fails_leaves_what_was_there(prefix):
    before = {path.name: path.read_bytes() for path in prefix.parent.iterdir()}
    with pytest.raises(ValueError, match="vocabulary"):
        write(prefix, [[1], [2], [65_001]])
    assert {path.name: path.read_bytes() for path in prefix.parent.iterdir()} == before


def test_an_older_index_is_not_left_with_newer_tokens(prefix, monkeypatch):
    monkeypatch.delattr(IndexedWriter, "_write_index")  # as if killed before it
    with pytest.raises(AttributeError):
        write(prefix, DOCUMENTS[::-1])
    with pytest.raises(FileNotFoundError, match=r"00000\.idx"):
        IndexedDataset(prefix)


def _write_until_killed(prefix, begun):
    with IndexedWriter(prefix, 10) as writer:
        writer.add(np.arange(10))
        begun.set()
        time.sleep(60)


def test_a_killed_writer_leaves_nothing_that_can_be_taken_for_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=_write_until_killed, args=(tmp_path / "00000", begun))
    process.start()
    assert begun.wait(30)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "00000.bin").exists()
    assert not (tmp_path / "00000.idx").exists()
    write(tmp_path / "00000", DOCUMENTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.bin", "00000.idx"]


def test_a_dataset_is_sent_to_a_process_as_its_path(prefix):
    sent = pickle.dumps(IndexedDataset(prefix))
    assert len(sent) < 500
    assert pickle.loads(sent).document(0).tolist() == [5, 6, 7]


def test_memory_does_not_grow_with_documents(tmp_path):
    prefix = write(tmp_path / "00000", [[1]] * 50_000)
    dataset = IndexedDataset(prefix)
    held = [value for value in vars(dataset).values() if isinstance(value, np.ndarray)]
    assert len(held) >= 4
    assert not any(array.flags.owndata for array in held)
    assert sum(map(sys.getsizeof, held)) < 2000
