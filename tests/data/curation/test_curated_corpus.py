"""A curated corpus: everything is somewhere, and it is the same however it was built."""

import json
import random
import subprocess
import sys
import time
from collections import Counter

import pytest
from corpus_of_pages import build_pages, content, pages_source, write_pages

pytest.importorskip("datatrove")

import corpus_of_pages

from tokka.data import group
from tokka.data.corpus import read_documents, read_rejected, read_removed
from tokka.data.sources.read import read_source


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    write_pages(root / "in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "_GROUP_BYTES", 1000)
        facts = build_pages(root, root / "whole")
    return root, facts


def test_every_document_is_kept_or_removed_with_step_and_reason(pages):
    root, facts = pages
    kept = [*read_documents(root / "whole", "train"), *read_documents(root / "whole", "heldout")]
    removed, rejected = list(read_removed(root / "whole")), list(read_rejected(root / "whole"))
    assert len(kept) + len(removed) + len(rejected) == facts["records"] == 8 * 62
    assert facts["curation"]["documents"] == facts["documents"] + facts["removed"]["documents"]
    assert facts["removed"]["documents"] == len(removed) > 100
    assert facts["heldout"]["documents"] > 10
    found = Counter((document.step, document.reason) for document in removed)
    steps = facts["curation"]["steps"]
    assert found == {
        (step, reason): count for step, toll in steps.items() for reason, count in toll["reasons"].items()
    }
    assert found["language", "other_language"] > 50
    assert facts["curation"]["bytes"] - sum(toll["bytes"] for toll in steps.values()) == facts["bytes"]
    assert json.loads(json.dumps(facts)) == facts


def test_what_is_removed_is_kept_as_it_stood_in_the_source(pages):
    root, _ = pages
    source = {(one.file, one.record): getattr(one, "text", "") for one in read_source(pages_source(), root)}
    for document in read_removed(root / "whole"):
        assert document.text == source.pop((document.file, document.record))
    for split in ("train", "heldout"):
        for document in read_documents(root / "whole", split):
            assert "040 123" not in document.text
            assert "040 123" in source.pop((document.file, document.record))
    assert set(source.values()) == {""}, "of all others nothing could be read"


def test_the_number_of_workers_changes_nothing(pages, tmp_path, monkeypatch):
    root, facts = pages
    monkeypatch.setattr(group, "_GROUP_BYTES", 1000)
    assert build_pages(root, tmp_path / "out", workers=2) == facts
    assert content(tmp_path / "out") == content(root / "whole")


def test_a_build_killed_at_any_moment_ends_with_the_same_bytes(pages, tmp_path):
    root, _ = pages
    command = [sys.executable, corpus_of_pages.__file__, str(root), str(tmp_path / "out")]
    chance, seen = random.Random(0), set()
    for kill_after in (1, 2):
        process = subprocess.Popen(command)
        done = len(list(tmp_path.glob("out/.work/0*")))
        while process.poll() is None and len(list(tmp_path.glob("out/.work/0*"))) < done + kill_after:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.wait()
        seen.add(len(list(tmp_path.glob("out/.work/0*"))))
    assert len(seen) > 1, "it was killed in the middle, more than once"
    subprocess.run(command, check=True)
    assert content(tmp_path / "out") == content(root / "whole")


def test_another_list_of_words_builds_the_corpus_anew(tmp_path):
    write_pages(tmp_path / "in", files=1)
    words = tmp_path / "words.txt"
    words.write_text("eisanaollenkaan")
    source = pages_source().model_copy(
        update={"curate": pages_source().curate.model_copy(update={"block_words": ["words.txt"]})}
    )

    def build():
        return corpus_of_pages.build_corpus(
            "pages", source, tmp_path / "out", root=tmp_path, heldout=0.0, workers=1
        )

    first = build()
    assert first["documents"] > 0
    assert build() == first
    words.write_text("kaupunki")
    assert build()["documents"] == 0
