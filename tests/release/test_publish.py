"""Publishing, proved with plain transformers in a process that has never heard of tokka."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir
from release_runs import make_run

from tokka.recipe.recipe import Recipe
from tokka.release.hub import LATEST, HubRepo, link_or_copy
from tokka.release.publish import publish

NAME = "herd/Tiny-1"
REVISIONS = ["65.536K", "131.072K", "196.608K"]

COMPARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
name, cache, plain, *pairs = sys.argv[1:]
text = "Suomen talvi on pitkä\\n\\tdef parse(😀)"
for revision, folder in zip(pairs[::2], pairs[1::2]):
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, cache_dir=cache)
    released = AutoModelForCausalLM.from_pretrained(name, revision=revision, cache_dir=cache)
    trained = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == text
    with torch.no_grad():
        assert torch.equal(released(ids).logits, trained(ids).logits), revision
written = pipeline("text-generation", plain)(text, max_new_tokens=5)
assert written[0]["generated_text"].startswith(text)
assert not any(module == "tokka" or module.startswith("tokka.") for module in sys.modules)
"""


@pytest.fixture(scope="module", params=["bloom", "llama"])
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, Path]:
    """A published run, its weights in several shards."""
    run = tmp_path_factory.mktemp(request.param)
    recipe = make_run(run, architecture=request.param, shard_bytes=100_000)
    publish(recipe, run=run, folder=run / "release")
    return recipe, run


def offline(code: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python without a network, away from the repository."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def tree(folder: Path) -> dict[str, bytes | str]:
    """Return the content of every file and the target of every link below ``folder``."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_every_revision_and_the_plain_folder_load_in_transformers_with_the_trained_logits(
    published: tuple[Recipe, Path],
) -> None:
    _, run = published
    pairs = [part for name in REVISIONS for part in (name, run / "training" / "revisions" / name)]
    pairs += ["main", run / "training" / "revisions" / REVISIONS[-1]]
    done = offline(COMPARE, NAME, run / "release" / "hub", run / "release" / "main", *pairs)
    assert done.returncode == 0, done.stderr


def test_the_code_in_a_card_runs_as_it_stands(tmp_path: Path) -> None:
    publish(make_run(tmp_path), run=tmp_path, folder=tmp_path)
    card = HubRepo(tmp_path / "hub", NAME).files(REVISIONS[0])["README.md"].read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL))
    assert f'revision="{REVISIONS[0]}"' in code
    done = offline(code, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Suomen talvi on")


def test_the_hub_library_finds_nothing_wrong_with_the_cache(published: tuple[Recipe, Path]) -> None:
    _, run = published
    found = scan_cache_dir(run / "release" / "hub")
    assert not found.warnings
    (repo,) = found.repos
    assert repo.repo_id == NAME
    assert repo.refs.keys() == {*REVISIONS, "main"}
    assert repo.refs["main"].commit_hash == repo.refs[REVISIONS[-1]].commit_hash
    assert all(re.fullmatch("[0-9a-f]{40}", revision.commit_hash) for revision in repo.revisions)


def test_every_revision_has_all_that_a_model_on_the_hub_has(published: tuple[Recipe, Path]) -> None:
    _, run = published
    repo = HubRepo(run / "release" / "hub", NAME)
    for revision in (*REVISIONS, LATEST):
        files = repo.files(revision)
        assert {
            "README.md",
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "model.safetensors.index.json",
        } < files.keys()
        assert sum(name.endswith(".safetensors") for name in files) > 1
        assert not files.keys() & {"manifest.json", "begun.json"}


def test_weights_lie_on_the_disk_once(published: tuple[Recipe, Path]) -> None:
    _, run = published
    repo = HubRepo(run / "release" / "hub", NAME)
    for revision in REVISIONS:
        for name, blob in repo.files(revision).items():
            if name.endswith(".safetensors"):
                trained = run / "training" / "revisions" / revision / name
                assert blob.samefile(trained)
                assert revision != REVISIONS[-1] or (run / "release" / "main" / name).samefile(trained)


def test_links_are_relative_so_that_a_release_can_be_moved(
    published: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, run = published
    publish(recipe, run=run, folder=tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    files = HubRepo(tmp_path / "there" / "hub", NAME).files(LATEST)
    assert all((tmp_path / "there") in blob.parents for blob in files.values())


def test_the_same_run_gives_the_same_bytes(published: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, run = published
    publish(recipe, run=run, folder=tmp_path)
    assert tree(tmp_path) == tree(run / "release")


def test_publishing_a_later_revision_leaves_the_earlier_ones_as_they_are(tmp_path: Path) -> None:
    recipe = make_run(tmp_path)
    after = publish(recipe, run=tmp_path, folder=tmp_path / "after")["revisions"]
    (tmp_path / "training" / "manifest.json").rename(tmp_path / "manifest.json")
    latest = tmp_path / "training" / "revisions" / REVISIONS[-1]
    latest.rename(tmp_path / "unborn")
    manifest = (tmp_path / "manifest.json").read_text()
    trimmed = re.sub(rf'"revisions/{REVISIONS[-1]}[^}}]*}},?', "", manifest)
    (tmp_path / "training" / "manifest.json").write_text(trimmed)
    before = publish(recipe, run=tmp_path, folder=tmp_path / "before")["revisions"]
    assert before[REVISIONS[0]] == after[REVISIONS[0]]


def test_a_release_of_before_is_replaced(tmp_path: Path) -> None:
    recipe = make_run(tmp_path)
    stale = tmp_path / "release" / "hub" / "models--old--name" / "refs" / "main"
    stale.parent.mkdir(parents=True)
    stale.write_text("0" * 40)
    facts = publish(recipe, run=tmp_path, folder=tmp_path / "release")
    assert not stale.exists()
    blobs = list((tmp_path / "release" / "hub").glob("*/blobs/*"))
    assert facts["files"] == len(blobs)
    assert facts["bytes"] == sum(blob.stat().st_size for blob in blobs)
    assert facts["latest"] == REVISIONS[-1]


def test_weights_that_changed_after_training_are_refused(tmp_path: Path) -> None:
    recipe = make_run(tmp_path)
    weights = tmp_path / "training" / "revisions" / REVISIONS[1] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{REVISIONS[1]}/model.safetensors is not what training wrote"):
        publish(recipe, run=tmp_path, folder=tmp_path / "release")
    assert not (tmp_path / "release" / "hub").exists()


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_revision_that_lacks_a_file_is_refused(tmp_path: Path, name: str) -> None:
    recipe = make_run(tmp_path)
    (tmp_path / "training" / "revisions" / REVISIONS[1] / name).unlink()
    with pytest.raises(ValueError, match=r"safetensors|config.json"):
        publish(recipe, run=tmp_path, folder=tmp_path / "release")


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    recipe = make_run(tmp_path, until="mixture")
    with pytest.raises(ValueError, match="stage training is not finished"):
        publish(recipe, run=tmp_path, folder=tmp_path / "release")


def test_a_file_of_another_disk_is_copied(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    source = elsewhere / f"tokka-test-{os.getpid()}"
    try:
        source.write_text("weights")
        link_or_copy(source, tmp_path / "copy")
    finally:
        source.unlink()
    assert (tmp_path / "copy").read_text() == "weights"
