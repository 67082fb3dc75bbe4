"""What a source's curation needs and lacks is told before anything starts."""

import pytest

from tokka.pipeline import preflight_sources
from tokka.pipeline.preflight_sources import check_source
from tokka.recipe.sources import Source
from tokka.workspace.hub import Hub


@pytest.fixture
def root(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "Suomen talvi on pitkä."}\n')
    (tmp_path / "words.txt").write_text("sana\n")
    (tmp_path / "a.html").write_text("<p>Suomen talvi on pitkä.</p>")
    return tmp_path


def problems(root, **source):
    found = check_source("sources.web", Source(language="fi", **source), root, Hub())
    return [(problem.key, problem.message) for problem in found]


def test_lists_and_models_that_are_not_there_are_named_with_their_keys(root):
    curate = {
        "block_words": ["words.txt", "more.txt"],
        "block_domains": ["domains.txt"],
        "language": {"model": "glotlid.bin"},
    }
    found = dict(problems(root, path="a.jsonl", curate=curate))
    assert list(found) == [
        "sources.web.curate.language.model",
        "sources.web.curate.block_domains",
        "sources.web.curate.block_words",
    ]
    assert "'more.txt' is no file below" in found["sources.web.curate.block_words"]
    assert problems(root, path="a.jsonl", curate={"block_words": ["words.txt"]}) == []


def test_the_extra_is_asked_for_where_it_is_needed_and_only_there(root, monkeypatch):
    monkeypatch.setattr(preflight_sources, "missing_modules", lambda extra: ("ftfy",))
    assert problems(root, path="a.jsonl") == []
    [(key, why)] = problems(root, path="a.jsonl", curate=True)
    assert key == "sources.web.curate"
    assert "pip install 'tokka[curate]'" in why
    assert problems(root, path="a.html", format="html")[0][0] == "sources.web.format"
