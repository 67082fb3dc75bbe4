"""A look shows both sides, samples them fairly, and lets no text of the web act."""

import json
from html.parser import HTMLParser

import pytest
from corpus_of_pages import build_pages, write_pages
from workshop import tokka

pytest.importorskip("datatrove")

from tokka.data import shards
from tokka.data.corpus import build_corpus, read_documents, read_removed
from tokka.data.curation.look import look, toll_rows
from tokka.data.curation.look_html import page_of_looks
from tokka.recipe.sources import Source
from tokka.workspace.files import read_json

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7 * 7 }} \x1b[2J\x1b]0;title\x07 </pre>'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("look")
    write_pages(root / "in", files=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_ROW_GROUP_DOCUMENTS", 7)  # so that samples lie in several row groups
        build_pages(root, root / "run" / "corpus" / "pages")
    hostile = [HOSTILE + " Tämä on kuitenkin aivan tavallinen lause, joka on suomea.", HOSTILE]
    (root / "hostile.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in hostile))
    source = Source(
        path="hostile.jsonl",
        language="fi",
        curate={"repair": False, "quality": False, "language": {"at_least": 0.6}},
    )
    build_corpus("hostile", source, root / "run" / "corpus" / "hostile", root=root, heldout=0.0, workers=1)
    return root / "run"


def test_samples_are_documents_of_the_corpus_and_of_every_reason(run):
    folder = run / "corpus" / "pages"
    found = look(folder, 30)
    kept, removed = list(read_documents(folder, "train")), list(read_removed(folder))
    assert len(found.kept) == len(found.removed) == 30
    assert [document for document in kept if document in found.kept] == found.kept
    assert set(found.removed) <= set(removed)
    assert len(set(found.removed)) == 30
    assert {(one.step, one.reason) for one in found.removed} == {(one.step, one.reason) for one in removed}
    assert look(folder, 30) == found
    assert look(folder, 30, seed=1).kept != found.kept
    assert look(folder, 10_000).kept == kept


def test_the_table_adds_up_and_estimates_tokens(run):
    curation = read_json(run / "corpus" / "pages" / "corpus.json")["facts"]["curation"]
    *steps, total = toll_rows(curation, bytes_per_token=4.0)
    assert [row.step for row in steps] == list(curation["steps"])
    assert total.documents == sum(row.documents for row in steps)
    assert total.share == pytest.approx(sum(row.share for row in steps))
    assert total.tokens == round(total.bytes / 4)
    assert toll_rows(curation)[0].tokens is None


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.attributes = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_what_a_text_says_in_html_stays_text(run):
    page = page_of_looks([look(run / "corpus" / "hostile")], "<b>title</b>")
    tags = Tags(page)
    assert not tags.found & {"script", "img", "iframe", "link"}
    assert not any(name.startswith("on") or name in ("src", "href") for name in tags.attributes)
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_command_line_shows_tables_and_samples_and_no_control_characters(run):
    done = tokka("corpus", "look", str(run), "--count", "3", COLUMNS="160")
    assert done.returncode == 0, done.stderr
    for shown in ("what each step took", "other_language", "kept", "removed", "alert(1)"):
        assert shown in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


def test_the_command_line_writes_one_page_of_all_sources(run, tmp_path):
    done = tokka("corpus", "look", str(run), "--html", str(tmp_path / "look.html"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 2
    assert "http" not in page.replace("http-equiv", "").replace("https://a.fi", "")


def test_a_source_that_is_not_there_is_named(run):
    done = tokka("corpus", "look", str(run), "--source", "web")
    assert done.returncode == 1
    assert "there are: hostile, pages" in done.stderr
