import numpy as np
import pytest

from tokka.data.indexed import DamagedError, IndexedWriter
from tokka.data.origins import write_origins
from tokka.data.store import TokenStore
from tokka.workspace.files import write_json

SHARDS = [[[1, 2, 3], [4]], [], [[5, 6], [7, 8, 9, 10], [11]]]
ORIGINS = [[("a.jsonl", 1), ("a.jsonl", 3)], [], [("b.jsonl", 1), ("a.jsonl", 9), ("b.jsonl", 2**40)]]
DOCUMENTS = [document for shard in SHARDS for document in shard]


@pytest.fixture
def folder(tmp_path):
    for number, (documents, origins) in enumerate(zip(SHARDS, ORIGINS, strict=True)):
        prefix = tmp_path / f"{number:05d}"
        with IndexedWriter(prefix, 100) as writer:
            for document in documents:
                writer.add(np.array(document))
        write_json(prefix.with_suffix(".json"), {"files": write_origins(prefix, origins)})
    return tmp_path


def test_shards_are_one_sequence_of_documents(folder):
    store = TokenStore(folder)
    assert len(store) == len(DOCUMENTS)
    assert store.tokens == 11
    for index, document in enumerate(DOCUMENTS):
        assert store.size(index) == len(document)
        assert store.read(index, 0, len(document)).tolist() == document
    assert store.read(3, 1, 3).tolist() == [8, 9]


def test_sizes_of_many_documents_come_in_the_order_asked_for(folder):
    asked = np.array([4, 0, 3, 3, 1, 2])
    assert TokenStore(folder).sizes(asked).tolist() == [1, 3, 4, 4, 1, 2]
    assert TokenStore(folder).sizes(asked).dtype == np.int64
    assert TokenStore(folder).sizes(np.array([], np.int64)).tolist() == []


def test_every_document_knows_where_it_came_from(folder):
    store = TokenStore(folder)
    found = [store.origin(index) for index in range(len(store))]
    assert found == [origin for shard in ORIGINS for origin in shard]


def test_token_files_that_tokka_did_not_make_are_their_own_origin(folder):
    for path in (*folder.glob("*.npy"), *folder.glob("*.json")):
        path.unlink()
    assert TokenStore(folder).origin(3) == (str(folder / "00002.bin"), 2)


@pytest.mark.parametrize("document", [-1, 5])
def test_a_document_that_is_not_there_is_refused(folder, document):
    store = TokenStore(folder)
    for ask in (
        lambda: store.read(document, 0, 0),
        lambda: store.size(document),
        lambda: store.origin(document),
    ):
        with pytest.raises(IndexError, match=f"document {document} of .*, which has 5"):
            ask()
    with pytest.raises(IndexError):
        store.sizes(np.array([0, document]))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no encoded documents"):
        TokenStore(tmp_path)


def test_a_damaged_shard_is_refused_by_name(folder):
    path = folder / "00002.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DamagedError, match=r"00002\.idx describes 14 bytes of tokens, but the \.bin has 12"):
        TokenStore(folder)
