"""Where a model is that a user names: a Hugging Face folder, a run, or an id of the hub."""

from pathlib import Path
from typing import NamedTuple

from tokka.recipe.sizes import parse_size

_FILES = ["*.json", "*.jinja", "*.safetensors"]


class Located(NamedTuple):
    """A model on this machine: the folder of its weights and that of its tokenizer."""

    model: Path
    tokenizer: Path


def locate(name: str, revision: str | None = None) -> Located:
    """Return where the model ``name`` lies, fetched first if the hub has it and this machine does not.

    Args:
        name: a Hugging Face folder; a run folder, whose latest revision is meant; or a hub id. An id is also
            found without a network where its files are in the hub's cache (``HF_HUB_CACHE``).
        revision: of a run or a hub id: ``200K``. None for the latest.

    Raises:
        FileNotFoundError: there is no such model or revision.
    """
    folder = Path(name).expanduser()
    if (folder / "training" / "revisions").is_dir():
        return Located(_revision(folder, revision), folder / "tokenizer")
    if (folder / "config.json").is_file():
        if revision is not None:
            raise FileNotFoundError(
                f"{name} is the folder of one model and has no revisions; name a run, or leave --revision out"
            )
        return Located(folder, folder)
    if folder.is_dir():
        raise FileNotFoundError(
            f"{name} is no model (it has no config.json) and no run with revisions (training/revisions); "
            f"name one of these, or an id of the hub"
        )
    fetched = _fetch(name, revision)
    return Located(fetched, fetched)


def revisions_in(folder: Path) -> list[Path]:
    """Return the folders in ``folder`` that are named by tokens, fewest first; others are no revisions."""
    sizes = {path: _tokens(path.name) for path in folder.iterdir() if path.is_dir()}
    return sorted((path for path in sizes if sizes[path]), key=lambda path: sizes[path])


def _tokens(name: str) -> int:
    """Return the tokens that a revision is named by, 0 for another name."""
    try:
        return parse_size(name)
    except ValueError:
        return 0


def _revision(run: Path, revision: str | None) -> Path:
    by_name = {path.name: path for path in revisions_in(run / "training" / "revisions")}
    if not by_name:
        raise FileNotFoundError(f"{run} has no revision yet; `tokka run` publishes the first as it trains")
    if revision is None:
        return list(by_name.values())[-1]
    if revision not in by_name:
        raise FileNotFoundError(f"{run} has no revision {revision!r}; it has {', '.join(by_name)}")
    return by_name[revision]


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except Exception as error:  # no network, or no such model there
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except Exception:
        wanted = f"{name} at revision {revision!r}" if revision else name
        raise FileNotFoundError(f"{wanted} is no folder, and no model that the hub gives: {reason}") from None
