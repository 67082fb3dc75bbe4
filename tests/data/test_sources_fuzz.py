"""Whatever bytes a source holds: nothing crashes, and every record is kept or kept aside, once."""

import gzip
import json
import random
import tempfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokka.data.documents import Document, Reason, Rejected
from tokka.data.sources.read import read_source
from tokka.recipe.sources import Source

MAX_BYTES = 2000
PACK = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
WHY_AN_ARCHIVE_BREAKS = {Reason.TRUNCATED_ARCHIVE, Reason.DAMAGED_FILE}

good_line = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50).map(
    lambda text: json.dumps({"text": f"good {text}"}, ensure_ascii=len(text) % 2 == 0).encode()
)
bad_line = st.one_of(
    st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" ")),
    good_line.map(lambda line: line[: len(line) // 2]),
    st.sampled_from(
        [
            b"",
            b"   ",
            b"null",
            b"\0" * 20,
            b'{"text": "\0"}',
            rb'{"text": "\udfff"}',
            b'{"text": 5}',
            b'{"text": ""}',
            b'{"other": "x"}',
            b'{"text": "\xff\xfe"}',
            b"\xef\xbb\xbf",
            b"{" * 3000,
            b'{"text": "' + b"long" * 1000 + b'"}',
        ]
    ),
)
lines = st.lists(st.tuples(good_line, st.just(True)) | st.tuples(bad_line, st.just(False)), max_size=12)


def read(name, data, **options):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)
        return list(
            read_source(Source(path=name, language="x", max_bytes=MAX_BYTES, **options), Path(folder))
        )


def is_record(number, line):
    """Blank lines are no records, and a byte order mark before the first line is no part of it."""
    return bool((line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip())


@given(lines, st.sampled_from(list(PACK)), st.booleans())
def test_every_line_is_one_record_and_every_good_one_is_kept(given_lines, suffix, final_newline):
    data = b"\n".join(line for line, _ in given_lines) + b"\n" * final_newline
    found = read(f"x.jsonl{suffix}", PACK[suffix](data))
    numbered = list(enumerate((line for line, _ in given_lines), start=1))
    assert [item.record for item in found] == [number for number, line in numbered if is_record(number, line)]
    kept = {item.record: item.text for item in found if isinstance(item, Document)}
    for number, (line, good) in enumerate(given_lines, start=1):
        if good:
            assert kept[number] == json.loads(line)["text"]
    for item in found:
        if isinstance(item, Rejected):
            assert given_lines[item.record - 1][0][: 64 * 1024] in (
                item.excerpt,
                b"\xef\xbb\xbf" + item.excerpt,
            )


@given(st.binary(max_size=500), st.sampled_from([".jsonl", ".txt", ".parquet"]), st.sampled_from(list(PACK)))
@example(b"PAR1PAR1", ".parquet", "")
@example(b"\x1f\x8b\x08", ".jsonl", "")
def test_random_bytes_under_any_name_never_crash(data, kind, suffix):
    for content in (data, PACK[suffix](data)):
        found = read(f"x{kind}{suffix}", content, format={".parquet": "parquet"}.get(kind, "auto"))
        if kind != ".jsonl":
            assert len(found) == 1


@given(lines, st.sampled_from([".gz", ".zst"]), st.floats(0, 1, exclude_max=True))
def test_of_a_truncated_archive_the_readable_lines_are_kept_and_the_rest_is_one_record(
    given_lines, suffix, where
):
    data = b"".join(line + b"\n" for line, _ in given_lines)
    packed = PACK[suffix](data)
    cut = packed[: int(len(packed) * where)]
    found, whole = read(f"x.jsonl{suffix}", cut), read("x.jsonl", data)
    if not cut:
        assert found == []
        return
    assert found[-1].reason == Reason.TRUNCATED_ARCHIVE
    strip = [(item._replace(file=""),) for item in whole]
    assert [(item._replace(file=""),) for item in found[:-1]] == strip[: len(found) - 1]
    if suffix == ".gz":
        readable = zlib.decompressobj(31).decompress(cut).split(b"\n")[:-1]
        records = sum(is_record(number, line) for number, line in enumerate(readable, start=1))
        assert len(found) == records + 1


@given(lines, st.sampled_from([".gz", ".zst"]), st.data())
def test_a_flipped_byte_in_an_archive_is_noticed_or_changed_nothing(given_lines, suffix, data):
    content = b"".join(line + b"\n" for line, _ in given_lines)
    packed = bytearray(PACK[suffix](content))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    found = read(f"x.jsonl{suffix}", bytes(packed))
    whole = read(f"x.jsonl{suffix}", PACK[suffix](content))
    assert found == whole or found[-1].reason in WHY_AN_ARCHIVE_BREAKS


ROWS = 90


def parquet(**options):
    buffer = pa.BufferOutputStream()
    texts = [f"row {row} " + "yö" * (row % 7) for row in range(ROWS)]
    pq.write_table(pa.table({"text": texts}), buffer, row_group_size=30, **options)
    return buffer.getvalue().to_pybytes()


PARQUET = [
    parquet(compression=compression, write_page_checksum=checksum, use_dictionary=checksum)
    for compression in ("none", "snappy", "zstd", "gzip")
    for checksum in (False, True)
]


@given(
    st.sampled_from(PARQUET), st.randoms(use_true_random=False), st.sampled_from(["flip", "footer", "cut"])
)
@settings(max_examples=200)
def test_of_a_damaged_parquet_file_every_row_is_kept_or_counted_or_the_file_is_one_record(whole, chance, how):
    data = bytearray(whole)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    if how == "cut":
        start = chance.randrange(len(data))
        del data[start : start + chance.randrange(200)]
    else:
        first = len(data) - footer if how == "footer" else 0
        for _ in range(chance.choice([1, 2, 8])):
            data[chance.randrange(first, len(data))] = chance.randrange(256)
    found = read("x.parquet", bytes(data))
    records = sum(item.records if isinstance(item, Rejected) else 1 for item in found)
    unopened = len(found) == 1 and found[0].reason == Reason.DAMAGED_FILE
    in_pages = bytes(data[-footer:]) == whole[-footer:] and len(data) == len(whole)
    assert unopened or records == ROWS or not in_pages


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_megabytes_of_noise_between_good_lines_lose_nothing(seed):
    chance = random.Random(seed)
    good = [f"good line {number}" for number in range(1000)]
    data = b""
    for text in good:
        noise = chance.randbytes(chance.randrange(5000)).replace(b"\n", b"\r")
        data += noise + b"\n" + json.dumps({"text": text}).encode() + b"\n"
    for suffix, pack in PACK.items():
        found = read(f"x.jsonl{suffix}", pack(data))
        assert [item.text for item in found if isinstance(item, Document)] == good
        assert len(found) == sum(
            is_record(number, line) for number, line in enumerate(data.split(b"\n"), start=1)
        )
