"""Where a model is: a folder, a run, the hub's cache; and what is said where it is not."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from tokka.evaluation.locate import Located, locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder in which a fourth revision is being written, and where somebody left other folders."""
    for name in ("900K", "200K", "1.5M", ".2M.part", "old", "1.5M.bak", "logs"):
        (tmp_path / "run" / "training" / "revisions" / name).mkdir(parents=True)
    return tmp_path / "run"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds org/model, with no hub behind it."""
    repo = tmp_path / "models--org--model"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    for revision in ("main", "200K"):
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / revision).write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return snapshot


def test_a_hugging_face_folder_is_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate(str(tmp_path)) == Located(tmp_path, tmp_path)


def test_a_run_is_its_latest_whole_revision(run: Path) -> None:
    assert locate(str(run)) == Located(run / "training" / "revisions" / "1.5M", run / "tokenizer")


def test_a_revision_of_a_run_is_named_by_its_tokens(run: Path) -> None:
    assert locate(str(run), "200K").model == run / "training" / "revisions" / "200K"


def test_a_revision_that_is_not_there_is_answered_with_those_that_are(run: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no revision '300K'; it has 200K, 900K, 1\.5M"):
        locate(str(run), "300K")


def test_a_run_before_its_first_revision(tmp_path: Path) -> None:
    (tmp_path / "training" / "revisions").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has no revision yet"):
        locate(str(tmp_path))


def test_a_revision_of_a_plain_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has no revisions"):
        locate(str(tmp_path), "200K")


def test_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model \(it has no config.json\) and no run"):
        locate(str(tmp_path))


@pytest.mark.parametrize("revision", [None, "main", "200K"])
def test_an_id_is_found_in_the_cache_without_a_network(cache: Path, revision: str | None) -> None:
    assert locate("org/model", revision).model == cache


@pytest.mark.parametrize("name", ["org/other", "no such folder", "../none/of/these"])
def test_a_name_that_leads_nowhere_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name} is no folder, and no model that the hub gives"):
        locate(name)


def test_a_revision_that_is_not_in_the_cache_is_refused(cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match="org/model at revision '300K'"):
        locate("org/model", "300K")
