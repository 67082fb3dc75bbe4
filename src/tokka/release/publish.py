"""Revisions, tokenizer and cards as a repository that plain transformers loads."""

from pathlib import Path
from typing import Any

from tokka.recipe.recipe import Recipe
from tokka.release.card import render_card
from tokka.release.hub import LATEST, Content, HubRepo, link_or_copy
from tokka.release.record import RunRecord
from tokka.workspace.files import whole_folder

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
_MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors.index.json", "*.safetensors")
_NEEDED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def publish(recipe: Recipe, *, run: Path, folder: Path) -> dict[str, Any]:
    """Write every revision of a trained run, and its merge, to ``folder``, ready to load and to upload.

    ``folder/hub`` is a hub cache (``cache_dir=`` of transformers, or ``HF_HUB_CACHE``) with a revision for
    each published checkpoint, named by its tokens, and ``main`` for the latest. ``folder/main`` is the latest
    as a plain folder. Weights are linked hard to those of training: they lie on the disk once.

    Args:
        recipe: names the repository.
        run: folder of a run whose ``training`` and ``tokenizer`` stages are finished.
        folder: where to write; what an earlier call left there is replaced.

    Returns:
        ``repo``, ``latest`` (name of the latest revision), ``revisions`` (commit by revision, ``main``
        included), ``files`` and ``bytes`` (of the blobs, each counted once).

    Raises:
        ValueError: a stage is unfinished, or a revision lacks a file or was changed after training.
    """
    record = RunRecord.read(run, recipe)
    for stage in ("tokenizer", "training"):
        if stage not in record.manifests:
            raise ValueError(f"stage {stage} is not finished in {run}; run it before publishing")
    if not record.revisions:
        raise ValueError(f"no revision in {run / 'training' / 'revisions'}; there is nothing to publish")
    tokenizer = _present(record.folder / "tokenizer", _TOKENIZER_FILES)
    with whole_folder(folder / "hub") as cache:
        repo = HubRepo(cache, recipe.release.repo)
        for revision in record.published:
            files: dict[str, Content] = {
                **_present(record.weights_of(revision), _MODEL_FILES),
                **tokenizer,
                "README.md": render_card(run, recipe, revision),
            }
            _check(revision, files)
            commit = repo.commit(revision, files)
            if revision == record.revisions[-1]:
                repo.point(LATEST, commit)
        _check_blobs(repo, record)
    repo = HubRepo(folder / "hub", recipe.release.repo)
    with whole_folder(folder / LATEST) as view:
        for name, blob in repo.files(LATEST).items():
            link_or_copy(blob, view / name)
    blobs = [path.stat().st_size for path in (repo.folder / "blobs").iterdir()]
    return {
        "repo": recipe.release.repo,
        "latest": record.revisions[-1],
        "revisions": repo.revisions,
        "files": len(blobs),
        "bytes": sum(blobs),
    }


def _present(folder: Path, patterns: tuple[str, ...]) -> dict[str, Content]:
    return {path.name: path for pattern in patterns for path in sorted(folder.glob(pattern))}


def _check(revision: str, files: dict[str, Content]) -> None:
    missing = [name for name in _NEEDED if name not in files]
    if not any(name.endswith(".safetensors") for name in files):
        missing.append("*.safetensors")
    if missing:
        raise ValueError(f"revision {revision} lacks {', '.join(missing)}; train it again to write them")


def _check_blobs(repo: HubRepo, record: RunRecord) -> None:
    """Refuse weights whose bytes are no longer those that training recorded."""
    for path, described in record.manifests["training"].outputs.items():
        if path.endswith(".safetensors") and not (repo.folder / "blobs" / described["sha256"]).exists():
            raise ValueError(
                f"{record.folder / 'training' / path} is not what training wrote (its SHA-256 differs); "
                f"restore it, or remove {record.folder / 'training'} to train again"
            )
