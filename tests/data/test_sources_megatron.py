"""Megatron pairs, written here byte by byte as Megatron-LM lays them out."""

import struct

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tokka.data.documents import Document, Reason
from tokka.data.sources.files import SourceError
from tokka.data.sources.read import read_source
from tokka.recipe.sources import Source

CODES = {"uint16": 8, "int32": 4, "float32": 7}
END = 0
TEXTS = ["yö ja päivä", "second document", "𝄞 and a \ufffd that was there", "x"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A byte-level tokenizer without merges: one id a byte, 0 ends a document."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"</s>": END} | {letter: id_ for id_, letter in enumerate(letters, start=1)}
    bare = Tokenizer(models.BPE(vocabulary, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bare.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="</s>").save_pretrained(folder)
    return bare, folder


def write_pair(prefix, documents, dtype):
    """Write documents of ids: one sequence a document, as Megatron's preprocessing does."""
    arrays = [np.array(document, dtype) for document in documents]
    sizes = np.array([len(array) for array in arrays], np.int32)
    pointers = np.concatenate([[0], np.cumsum(sizes[:-1], dtype=np.int64)]) * np.dtype(dtype).itemsize
    prefix.with_suffix(".bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    prefix.with_suffix(".idx").write_bytes(
        b"MMIDIDX\0\0"
        + struct.pack("<QBQQ", 1, CODES[dtype], len(arrays), len(arrays) + 1)
        + sizes.tobytes()
        + pointers.astype(np.int64).tobytes()
        + np.arange(len(arrays) + 1, dtype=np.int64).tobytes()
    )


def read(root, folder, **options):
    return list(read_source(Source(path="t", tokenizer=str(folder), language="fi", **options), root))


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_documents_come_back_as_the_text_they_were_made_of_without_the_end_token(tmp_path, tokenizer, dtype):
    bare, folder = tokenizer
    write_pair(tmp_path / "t", [[*bare.encode(text).ids, END] for text in TEXTS], dtype)
    assert read(tmp_path, folder) == [
        Document(text, "t.idx", number) for number, text in enumerate(TEXTS, start=1)
    ]


def test_ids_that_are_no_text_are_kept_aside_alone(tmp_path, tokenizer):
    bare, folder = tokenizer
    half_a_letter = bare.encode("ö").ids[:1]
    documents = [bare.encode("a").ids, [5, 60_000], [*half_a_letter, END], [END], bare.encode("b").ids]
    write_pair(tmp_path / "t", documents, "uint16")
    first, unknown, invalid, empty, last = read(tmp_path, folder)
    assert (first.text, last.text) == ("a", "b")
    assert (unknown.record, unknown.reason) == (2, Reason.UNKNOWN_TOKEN)
    assert unknown.excerpt == np.array([5, 60_000], np.uint16).tobytes()
    assert (invalid.record, invalid.reason) == (3, Reason.INVALID_UTF8)
    assert (empty.record, empty.reason) == (4, Reason.EMPTY)


def test_a_monstrous_document_is_kept_aside_without_being_decoded(tmp_path, tokenizer):
    bare, folder = tokenizer
    write_pair(tmp_path / "t", [bare.encode("a" * 50_000).ids, bare.encode("short").ids], "int32")
    monstrous, short = read(tmp_path, folder, max_bytes=1000)
    assert (monstrous.reason, monstrous.size, len(monstrous.excerpt)) == (
        Reason.MONSTROUS,
        200_000,
        64 * 1024,
    )
    assert short.text == "short"


def test_numbers_that_are_no_ids_are_kept_aside(tmp_path, tokenizer):
    write_pair(tmp_path / "t", [[1.5, 2.0], [3.0]], "float32")
    assert [item.reason for item in read(tmp_path, tokenizer[1])] == [Reason.UNKNOWN_TOKEN] * 2


def test_a_tokenizer_that_cannot_be_loaded_is_an_error_that_begins_with_the_key(tmp_path):
    write_pair(tmp_path / "t", [[1, 2]], "uint16")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"^tokenizer: .*empty has no"):
        read(tmp_path, "empty")


@pytest.mark.parametrize("damage", ["index", "no index", "tokens"])
def test_a_damaged_pair_is_counted_and_never_crashes(tmp_path, tokenizer, damage):
    bare, folder = tokenizer
    write_pair(tmp_path / "t", [bare.encode(text).ids for text in TEXTS], "int32")
    path = tmp_path / ("t.bin" if damage == "tokens" else "t.idx")
    whole = path.read_bytes()
    path.write_bytes(b"" if damage == "no index" else whole[: len(whole) * 2 // 3])
    found = read(tmp_path, folder)
    assert found[-1].reason == Reason.DAMAGED_FILE
