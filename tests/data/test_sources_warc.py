"""Pages of the web: their text, from WARC files and HTML, whole or damaged."""

import gzip
import io
import random

import pytest

pytest.importorskip("trafilatura")
pytest.importorskip("warcio")

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tokka.data.documents import Document, Reason, Rejected
from tokka.data.sources.html import decode_page
from tokka.data.sources.read import find_inputs, read_input, read_source
from tokka.recipe.sources import Source

SENTENCE = (
    "Tämä on kappale {n}, jossa kerrotaan pitkästi ja kauniisti Suomen luonnosta ja sen tuhansista järvistä."
)
PAGE = (
    '<html><head><meta charset="{charset}"><title>Järvet</title></head><body>'
    '<nav><a href="/">Etusivu</a><a href="/b">Palvelut</a></nav><article><h1>Järvet</h1>'
    + "".join(f"<p>{SENTENCE.format(n=n)}</p>" for n in range(4))
    + "</article><footer>Kaikki oikeudet pidätetään</footer></body></html>"
)
TEXT = "\n".join(SENTENCE.format(n=n) for n in range(4))


def page(charset="utf-8"):
    return PAGE.format(charset=charset).encode(charset)


def response(writer, body, kind="text/html", status="200 OK", headers=(), rec_type="response"):
    http = StatusAndHeaders(status, [("Content-Type", kind), *headers], protocol="HTTP/1.1")
    url = "https://esimerkki.fi/järvet"
    is_http = rec_type == "response"
    writer.write_record(
        writer.create_warc_record(
            url,
            rec_type,
            payload=io.BytesIO(body),
            http_headers=http if is_http else None,
            warc_content_type=None if is_http else "text/plain",
        )
    )


def write_warc(path, packed):
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=packed)
        writer.write_record(writer.create_warcinfo_record("a.warc", {"software": "test"}))
        response(writer, page())
        response(writer, page("iso-8859-1"), kind="text/html; charset=ISO-8859-1")
        response(writer, b"\x89PNG" * 100, kind="image/png")
        response(writer, page(), status="404 Not Found")
        response(writer, b"<html><body></body></html>")
        response(writer, "Suora teksti. Äiti.".encode(), rec_type="conversion")
        response(writer, gzip.compress(page()), headers=[("Content-Encoding", "gzip")])


def read(root, **source):
    return list(read_source(Source(language="fi", **source), root))


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
def test_pages_of_a_crawl_become_their_text_and_the_rest_is_kept_aside(tmp_path, name):
    write_warc(tmp_path / name, packed=name.endswith(".gz"))
    items = read(tmp_path, path=name)
    assert [item.record for item in items] == [2, 3, 4, 5, 6, 7, 8], "the crawler's own note is no record"
    for item in (items[0], items[1], items[6]):
        assert TEXT in item.text
        assert "Etusivu" not in item.text
        assert "oikeudet" not in item.text
    assert items[5].text == "Suora teksti. Äiti."
    reasons = [item.reason for item in items if isinstance(item, Rejected)]
    assert reasons == [Reason.NOT_A_PAGE, Reason.FAILED_REQUEST, Reason.NO_TEXT]
    assert len(items[2].excerpt) == 256


def test_addresses_come_along_where_domains_are_blocked(tmp_path):
    write_warc(tmp_path / "a.warc.gz", packed=True)
    source = Source(path="a.warc.gz", language="fi", curate={"block_domains": ["domains.txt"]})
    [one] = find_inputs(source, tmp_path)
    kept = [item for item in read_input(one, source) if not isinstance(item, Rejected)]
    assert {item.url.split("/")[2] for item in kept} == {"esimerkki.fi"}


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
def test_of_a_file_that_ends_too_early_what_came_before_is_kept(tmp_path, name):
    write_warc(tmp_path / name, packed=name.endswith(".gz"))
    whole, content = read(tmp_path, path=name), (tmp_path / name).read_bytes()
    for share in (0.2, 0.4, 0.6, 0.8, 0.95):
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])
        items = read(tmp_path, path=name)
        assert len(items) <= len(whole)
        assert items[:-1] == whole[: len(items) - 1]
        is_told = getattr(items[-1], "reason", "") in (Reason.TRUNCATED_ARCHIVE, Reason.DAMAGED_FILE)
        assert is_told or (not name.endswith(".gz") and items[-1] == whole[len(items) - 1])


def test_a_page_beyond_the_limit_is_monstrous_and_never_held_whole(tmp_path):
    write_warc(tmp_path / "a.warc", packed=False)
    items = read(tmp_path, path="a.warc", max_bytes=300)
    assert [item.reason for item in items[:2]] == [Reason.MONSTROUS] * 2
    assert isinstance(items[5], Document)


def test_crawls_are_found_in_folders_and_web_pages_only_where_they_are_asked_for(tmp_path):
    (tmp_path / "crawl").mkdir()
    write_warc(tmp_path / "crawl" / "a.warc.gz", packed=True)
    (tmp_path / "crawl" / "b.html").write_bytes(page())
    kinds = {one.name: one.format for one in find_inputs(Source(path="crawl", language="fi"), tmp_path)}
    assert kinds == {"crawl/a.warc.gz": "warc", "crawl/b.html": "text"}
    asked = find_inputs(Source(path="crawl", format="html", language="fi"), tmp_path)
    assert [(one.name, one.format) for one in asked] == [("crawl/b.html", "html")]


@pytest.mark.parametrize("suffix", [".html", ".html.gz"])
def test_a_web_page_becomes_its_text(tmp_path, suffix):
    content = page("windows-1252")
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    [document] = read(tmp_path, path=f"a{suffix}", format="html")
    assert TEXT in document.text
    (tmp_path / "b.html").write_bytes(b"")
    [rejected] = read(tmp_path, path="b.html", format="html")
    assert rejected.reason == Reason.NO_TEXT


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("äö".encode(), None, "äö"),
        ("äö".encode("latin-1"), None, "äö"),
        ("äö€".encode("windows-1252"), "iso-8859-1", "äö€"),
        (b'<meta charset="koi8-r">' + "я".encode("koi8-r"), None, '<meta charset="koi8-r">я'),
        ("я".encode("koi8-r"), "koi8-r", "я"),
        ("äö".encode("utf-16"), None, "äö"),
        ("\ufeffäö".encode(), None, "äö"),
        ("äö".encode("latin-1"), "no-such-charset", "äö"),
        ("äö".encode("latin-1"), "base64", "äö"),
        (b'<meta charset="hex">' + "ä".encode("latin-1"), None, '<meta charset="hex">ä'),
        (b"\xff\xfea", None, "\ufffd"),
        (b"\x81", None, "\ufffd"),
    ],
)
def test_pages_are_decoded_in_the_order_of_the_html_standard(content, charset, text):
    assert decode_page(content, charset) == text


@pytest.mark.parametrize("kind", ["warc.gz", "warc", "html"])
def test_damaged_files_crash_nothing(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "html":
        path.write_bytes(page())
    else:
        write_warc(path, packed=kind == "warc.gz")
    content, chance = path.read_bytes(), random.Random(0)
    source = {"path": path.name, "format": "html"} if kind == "html" else {"path": path.name}
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 5, 100))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice((len(damaged), chance.randrange(1, len(damaged))))])
        for item in read(tmp_path, **source):
            assert isinstance(item, Rejected) or item.text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"<" * 100_000,
        b"<div>" * 20_000 + b"sana",
        b"<p>&#xD800;&#0;&#x110000;" + SENTENCE.encode() * 20,
        b"<table><tr><td>" * 5_000,
        b"\x00" * 10_000,
        b"<html><script>" + b"a" * 100_000,
    ],
    ids=["brackets", "depth", "bad entities", "tables", "nul", "script"],
)
def test_hostile_pages_crash_nothing(tmp_path, content):
    (tmp_path / "a.html").write_bytes(content)
    [item] = read(tmp_path, path="a.html", format="html")
    assert isinstance(item, Rejected) or item.text.encode()


def test_a_page_says_the_same_whatever_was_read_before_it(tmp_path):
    """Trafilatura can leave out what it saw before; then a kill in between would change the corpus."""
    (tmp_path / "a.html").write_bytes(page())
    first, *others = [read(tmp_path, path="a.html", format="html") for _ in range(6)]
    assert all(other == first for other in others)
