import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tokka.data.documents import Document, Reason, Rejected
from tokka.data.sources.read import read_source
from tokka.recipe.sources import Source


def read(root, **options):
    return list(read_source(Source(path="x.parquet", language="fi", **options), root))


def write(root, columns, **options):
    pq.write_table(pa.table(columns), root / "x.parquet", **options)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_rows_are_records_whatever_the_type_of_their_text(tmp_path, kind):
    write(
        tmp_path,
        {"text": pa.array(["yö", "", None, "päivä"]).cast(kind), "n": [1, 2, 3, 4]},
        row_group_size=3,
    )
    first, empty, missing, last = read(tmp_path)
    assert (first, last) == (Document("yö", "x.parquet", 1), Document("päivä", "x.parquet", 4))
    assert (empty.record, empty.reason) == (2, Reason.EMPTY)
    assert (missing.record, missing.reason, missing.excerpt) == (3, Reason.MISSING_FIELD, b'{"text":null}')


def test_templates_reach_into_nested_columns(tmp_path):
    pairs = [{"en": "night", "fi": "yö"}, {"en": "day", "fi": None}]
    write(tmp_path, {"translation": pairs, "a.b": ["dotted", "too"]})
    kept, rejected = read(tmp_path, template="{translation.en}={translation.fi} ({a.b})")
    assert kept == Document("night=yö (dotted)", "x.parquet", 1)
    assert (rejected.record, rejected.reason) == (2, Reason.MISSING_FIELD)


@pytest.mark.parametrize("nested", [False, True])
def test_a_row_that_is_not_utf8_is_kept_aside_alone(tmp_path, nested):
    texts = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary()).view(pa.string())
    columns = {"m": pa.StructArray.from_arrays([texts], names=["text"])} if nested else {"text": texts}
    write(tmp_path, columns)
    found = read(tmp_path, text="m.text" if nested else "text")
    assert [getattr(item, "reason", "kept") for item in found] == ["kept", Reason.INVALID_UTF8, "kept"]
    assert rb"caf\\xe9" in found[1].excerpt


def test_rows_without_the_field_and_fields_without_text_are_kept_aside(tmp_path):
    write(tmp_path, {"n": [1, 2], "l": [["a"], ["b"]]})
    assert [item.reason for item in read(tmp_path)] == [Reason.MISSING_FIELD] * 2
    assert [item.reason for item in read(tmp_path, text="n")] == [Reason.NOT_TEXT] * 2
    assert [item.reason for item in read(tmp_path, text="l")] == [Reason.NOT_TEXT] * 2


def test_a_file_without_rows_is_fine(tmp_path):
    write(tmp_path, {"text": pa.array([], pa.string())})
    assert read(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no Parquet at all" * 9000])
def test_a_file_that_cannot_be_opened_is_one_rejected_record(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    assert read(tmp_path) == [
        Rejected("x.parquet", 1, Reason.DAMAGED_FILE, len(content), content[: 64 * 1024])
    ]


def test_a_truncated_file_is_one_rejected_record(tmp_path):
    write(tmp_path, {"text": ["a", "b"]})
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[:-3])
    assert [item.reason for item in read(tmp_path)] == [Reason.DAMAGED_FILE]


@pytest.mark.parametrize("checksum", [False, True])
def test_a_damaged_row_group_is_kept_aside_with_the_count_of_its_rows(tmp_path, checksum):
    texts = [f"row {i} " + str(i**40) for i in range(300)]
    write(tmp_path, {"text": texts}, row_group_size=100, write_page_checksum=checksum, use_dictionary=False)
    column = pq.read_metadata(tmp_path / "x.parquet").row_group(1).column(0)
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    data[middle : middle + 40] = bytes(40)
    (tmp_path / "x.parquet").write_bytes(data)
    found = read(tmp_path)
    kept = [item for item in found if isinstance(item, Document)]
    (rejected,) = [item for item in found if isinstance(item, Rejected)]
    assert (rejected.record, rejected.reason, rejected.records) == (101, Reason.DAMAGED_FILE, 100)
    assert [d.text for d in kept] == texts[:100] + texts[200:]
    assert [d.record for d in kept] == [*range(1, 101), *range(201, 301)]
