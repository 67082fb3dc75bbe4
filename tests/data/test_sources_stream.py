import gzip
import random
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tokka.data.documents import Reason
from tokka.data.sources import stream
from tokka.data.sources.stream import BrokenStreamError, Line, read_chunks, read_lines

TEXT = b"".join(b"%d: some text that packs well, some that does not %x\n" % (i, i**9) for i in range(20_000))


def zstd(data, **options):
    return zstandard.ZstdCompressor(**options).compress(data)


def unpack(path):
    """Return what can be read of a file, and the reason if it breaks off."""
    parts, reads = [], []
    try:
        for chunk in read_chunks(path, reads.append):
            assert 0 < len(chunk) <= 2**20
            parts.append(chunk)
    except BrokenStreamError as error:
        return b"".join(parts), error.reason
    assert sum(reads) == path.stat().st_size
    return b"".join(parts), None


PACKED = {
    "plain": ("x.txt", TEXT),
    "gzip": ("x.gz", gzip.compress(TEXT)),
    "gzip members": ("x.gz", gzip.compress(TEXT[:7]) + gzip.compress(b"") + gzip.compress(TEXT[7:])),
    "gzip padded": ("x.gz", gzip.compress(TEXT) + bytes(1000)),
    "zstd": ("x.zst", zstd(TEXT)),
    "zstd checksum": ("x.zst", zstd(TEXT, write_checksum=True, level=19)),
    "zstd frames": ("x.zst", zstd(TEXT[:7]) + zstd(b"") + zstd(TEXT[7:])),
    "zstd skippable": ("x.zst", b"\x53\x2a\x4d\x18\x05\0\0\0hello" + zstd(TEXT)),
    "zstd no size": ("x.zst", zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)),
}


@pytest.mark.parametrize("kind", PACKED)
def test_a_file_is_unpacked_whole(tmp_path, kind):
    name, packed = PACKED[kind]
    (tmp_path / name).write_bytes(packed)
    assert unpack(tmp_path / name) == (TEXT, None)


@pytest.mark.parametrize(
    "data", [b"", bytes(10 * 2**20), random.Random(1).randbytes(2**20 + 1), b"a" * 2**17]
)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_empty_highly_repetitive_and_random_data_survive(tmp_path, data, suffix):
    packed = {"": data, ".gz": gzip.compress(data), ".zst": zstd(data)}[suffix]
    (tmp_path / f"x{suffix}").write_bytes(packed)
    assert unpack(tmp_path / f"x{suffix}") == (data, None)


@pytest.mark.parametrize("name", ["x.txt", "x.gz", "x.zst"])
def test_an_empty_file_is_fine(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert unpack(tmp_path / name) == (b"", None)


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.7, 0.9999])
def test_all_that_can_be_read_of_a_truncated_gzip_is_read(tmp_path, share):
    packed = gzip.compress(TEXT)
    cut = packed[: max(1, int(len(packed) * share))]
    (tmp_path / "x.gz").write_bytes(cut)
    assert unpack(tmp_path / "x.gz") == (zlib.decompressobj(31).decompress(cut), Reason.TRUNCATED_ARCHIVE)


def test_what_gzip_still_holds_back_when_its_input_ends_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "_CHUNK", 1000)
    packed = gzip.compress(bytes(150_000))
    for cut in range(1, len(packed)):
        (tmp_path / "x.gz").write_bytes(packed[:cut])
        chunks = []
        with pytest.raises(BrokenStreamError, match="truncated_archive"):
            chunks.extend(read_chunks(tmp_path / "x.gz", lambda _: None))
        assert b"".join(chunks) == zlib.decompressobj(31).decompress(packed[:cut])


def test_a_zstd_file_truncated_anywhere_is_told_from_a_whole_one(tmp_path):
    text = TEXT[:300_000]  # three blocks
    packed = zstd(text, write_checksum=True)
    longest = 0
    for cut in [*range(1, 40), *range(40, len(packed) - 40, 997), *range(len(packed) - 40, len(packed))]:
        (tmp_path / "x.zst").write_bytes(packed[:cut])
        data, reason = unpack(tmp_path / "x.zst")
        assert reason == Reason.TRUNCATED_ARCHIVE
        assert text.startswith(data)
        longest = max(longest, len(data))
    assert longest == len(text)  # only the checksum is missing: all text was read


@pytest.mark.parametrize(
    ("name", "packed", "good"),
    [
        ("x.gz", b"this is no gzip", b""),
        ("x.gz", bytes(100), b""),
        ("x.gz", gzip.compress(TEXT) + b"trailing", TEXT),
        ("x.gz", gzip.compress(TEXT)[:-8] + b"checksum", TEXT),
        ("x.zst", b"this is no Zstandard", b""),
        ("x.zst", zstd(TEXT) + b"trailing", TEXT),
        ("x.zst", zstd(TEXT, write_checksum=True)[:-4] + b"sum.", TEXT),
    ],
)
def test_a_damaged_archive_is_recognised_after_its_good_part(tmp_path, name, packed, good):
    (tmp_path / name).write_bytes(packed)
    assert unpack(tmp_path / name) == (good, Reason.DAMAGED_FILE)


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30))
def test_lines_are_those_of_the_whole_whatever_the_chunks(chunks, limit):
    whole = b"".join(chunks)
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    lines = list(read_lines(chunks, limit))
    assert [line.number for line in lines] == list(range(1, len(expected) + 1))
    assert [line.size for line in lines] == [len(line) for line in expected]
    for line, true in zip(lines, expected, strict=True):
        assert true.startswith(line.data)
        assert line.data == true or line.size > limit


def test_a_stream_that_breaks_off_says_so_in_its_last_line():
    def chunks():
        yield b"first\nsec"
        raise BrokenStreamError(Reason.TRUNCATED_ARCHIVE)

    assert list(read_lines(chunks(), 100)) == [
        Line(1, b"first", 5),
        Line(2, b"sec", 3, Reason.TRUNCATED_ARCHIVE),
    ]
