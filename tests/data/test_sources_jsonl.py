"""JSON Lines and text files: what is kept, what is kept aside, and why."""

import gzip
import tracemalloc

import pytest
import zstandard

from tokka.data.documents import Document, Reason, Rejected
from tokka.data.sources.read import read_source
from tokka.recipe.sources import Source


def read(root, data, name="x.jsonl", **options):
    (root / name).write_bytes(data)
    return list(read_source(Source(path=name, language="fi", **options), root))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "open', Reason.BROKEN_JSON),
        (b"not json", Reason.BROKEN_JSON),
        (b'{"text": "a\0b"}', Reason.BROKEN_JSON),
        (b'{"text": "tab\there"}', Reason.BROKEN_JSON),
        (b"[" * 100_000, Reason.BROKEN_JSON),
        (b'{"n": ' + b"1" * 5000 + b', "text": "a"}', Reason.BROKEN_JSON),
        (b'["text"]', Reason.NOT_AN_OBJECT),
        (b"NaN", Reason.NOT_AN_OBJECT),
        (b'"text"', Reason.NOT_AN_OBJECT),
        (b'{"text": "\xff"}', Reason.INVALID_UTF8),
        (b'{"text": "caf\xe9"}', Reason.INVALID_UTF8),
        (b'{"text": "\xed\xa0\x80"}', Reason.INVALID_UTF8),
        (rb'{"text": "\ud800"}', Reason.LONE_SURROGATE),
        (rb'{"text": "\udc00\ud800"}', Reason.LONE_SURROGATE),
        (b'{"txt": "a"}', Reason.MISSING_FIELD),
        (b'{"text": null}', Reason.MISSING_FIELD),
        (b'{"text": 1}', Reason.NOT_TEXT),
        (b'{"text": ["a"]}', Reason.NOT_TEXT),
        (b'{"text": ""}', Reason.EMPTY),
        (rb'{"text": " \n\u00a0"}', Reason.EMPTY),
        (rb'{"text": "a\u0000b\u0000"}', Reason.CONTROL_CHARACTERS),
        (b'{"text": "' + b"a" * 2**20 + b'"}', Reason.MONSTROUS),
        (b'{"text": "a", "other": "' + b"a" * 2**20 + b'"}', Reason.MONSTROUS),
    ],
)
def test_a_bad_line_is_kept_aside_with_its_place_reason_and_bytes_and_the_others_are_kept(
    tmp_path, line, reason
):
    found = read(tmp_path, b'{"text": "before"}\n' + line + b'\n{"text": "after"}', max_bytes=200_000)
    assert found == [
        Document("before", "x.jsonl", 1),
        Rejected("x.jsonl", 2, reason, len(line), line[: 64 * 1024]),
        Document("after", "x.jsonl", 3),
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (rb'{"text": "\ud834\udd1e"}', "𝄞"),
        (rb'{"text": "a", "other": "\ud800"}', "a"),
        (b'{"text": "a", "score": NaN, "more": [Infinity]}', "a"),
        (b'{"text": "a", "id": 123456789012345678901234567890}', "a"),
        (rb'{"text": "one \u0000 in a long line of text"}', "one \0 in a long line of text"),
        (b'{"text": "crlf"}\r', "crlf"),
        (b' \t{"text": "first", "text": "twice"} ', "twice"),
        ('{"text": "yö\u2028\u0085"}'.encode(), "yö\u2028\u0085"),
    ],
)
def test_what_much_software_writes_is_read_as_it_was_meant(tmp_path, line, text):
    assert read(tmp_path, line + b"\n") == [Document(text, "x.jsonl", 1)]


def test_a_byte_order_mark_and_blank_lines_are_no_records(tmp_path):
    data = b'\xef\xbb\xbf{"text": "a"}\n\n \r\n{"text": "b"}\n\n'
    assert read(tmp_path, data) == [Document("a", "x.jsonl", 1), Document("b", "x.jsonl", 4)]
    assert read(tmp_path, b"") == []
    assert read(tmp_path, b"\xef\xbb\xbf") == []


def test_fields_may_be_mapped_nested_or_have_a_dot_in_their_name(tmp_path):
    data = b'{"meta": {"body": "nested"}, "a.b": "dotted", "a": {"b": "not this"}}'
    assert [d.text for d in read(tmp_path, data, text="meta.body")] == ["nested"]
    assert [d.text for d in read(tmp_path, data, text="a.b")] == ["dotted"]
    assert [d.reason for d in read(tmp_path, data, text="meta.other")] == [Reason.MISSING_FIELD]
    assert [d.reason for d in read(tmp_path, data, text="meta")] == [Reason.NOT_TEXT]


def test_each_record_gives_one_document_a_template(tmp_path):
    data = '{"en": "night", "fi": "yö"}\n{"en": "day"}\n{"en": "dawn", "fi": " "}'.encode()
    templates = ["<|user|>{{fi}}: {en} <|assistant|>{fi}", "{fi}={en}"]
    assert read(tmp_path, data, template=templates) == [
        Document("<|user|>{fi}: night <|assistant|>yö", "x.jsonl", 1),
        Document("yö=night", "x.jsonl", 1),
        Rejected("x.jsonl", 2, Reason.MISSING_FIELD, 13, b'{"en": "day"}'),
        Rejected("x.jsonl", 3, Reason.EMPTY, 25, b'{"en": "dawn", "fi": " "}'),
    ]


def test_a_record_too_long_for_one_of_its_templates_gives_none(tmp_path):
    data = b'{"a": "' + b"x" * 60 + b'", "b": "y"}'
    found = read(tmp_path, data, template=["{b}", "{a}{a}"], max_bytes=100)
    assert [item.reason for item in found] == [Reason.MONSTROUS]


def test_the_lines_before_a_truncation_are_kept_and_it_is_one_rejected_record(tmp_path):
    lines = b"".join(b'{"text": "line %d"}\n' % i for i in range(1000))
    found = read(tmp_path, gzip.compress(lines)[:-100], "x.jsonl.gz")
    *kept, last = found
    assert len(kept) > 500
    assert [d.text for d in kept] == [f"line {i}" for i in range(len(kept))]
    assert (last.record, last.reason) == (len(kept) + 1, Reason.TRUNCATED_ARCHIVE)
    assert lines.split(b"\n")[len(kept)].startswith(last.excerpt)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("content", "result"),
    [
        ("yö\r\n\n".encode(), "yö\r\n\n"),
        (b"\xef\xbb\xbfmark", "mark"),
        (b"\xff\xfeh\0i\0", Reason.INVALID_UTF8),
        (b"h\0i\0", Reason.CONTROL_CHARACTERS),
        (b"", Reason.EMPTY),
        (b"\n \n", Reason.EMPTY),
        (b"x" * 3_000_000, Reason.MONSTROUS),
    ],
)
def test_a_text_file_is_one_document(tmp_path, suffix, content, result):
    packed = gzip.compress(content) if suffix else content
    (item,) = read(tmp_path, packed, f"x.txt{suffix}", max_bytes=100)
    if isinstance(result, str) and not isinstance(result, Reason):
        assert item == Document(result, f"x.txt{suffix}", 1)
    else:
        excerpt = content[: 64 * 1024]
        assert item == Rejected(f"x.txt{suffix}", 1, result, len(content), excerpt)


def test_half_a_text_file_is_no_document(tmp_path):
    (item,) = read(tmp_path, gzip.compress(b"a sentence that ends here.\n" * 100)[:-12], "x.txt.gz")
    assert (item.record, item.reason) == (1, Reason.TRUNCATED_ARCHIVE)
    assert item.excerpt.startswith(b"a sentence")


def test_a_template_may_stand_around_a_text_file(tmp_path):
    assert [d.text for d in read(tmp_path, b"code", "x.py", template="<file>{text}</file>")] == [
        "<file>code</file>"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_line_of_100_mb_is_kept_aside_and_never_held(tmp_path, pack):
    suffix = {gzip.compress: ".gz", zstandard.compress: ".zst"}.get(pack, "")
    size = 100 * 2**20
    data = pack(b'{"text": "a"}\n' + b"x" * size + b'\n{"text": "b"}')
    (tmp_path / f"x.jsonl{suffix}").write_bytes(data)
    del data
    tracemalloc.start()
    try:
        found = list(read_source(Source(path=f"x.jsonl{suffix}", language="fi"), tmp_path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [item.record for item in found] == [1, 2, 3]
    assert found[1] == Rejected(f"x.jsonl{suffix}", 2, Reason.MONSTROUS, size, b"x" * 64 * 1024)
    assert peak < 30 * 2**20  # max_bytes (10 MiB), once in pieces and once joined, and chunks
