"""Whether the Hugging Face Hub would give a repository, asked quickly; and what of it is here already."""

import json
from pathlib import Path
from typing import Literal

Kind = Literal["model", "dataset"]

_PATIENCE_SECONDS = 3.0


class Hub:
    """The hub as seen from here; once it cannot be reached it is not asked again."""

    def __init__(self) -> None:
        self._down = ""

    @property
    def is_down(self) -> bool:
        """Whether it could not be reached."""
        return bool(self._down)

    def why_not(self, kind: Kind, name: str, revision: str | None = None) -> str:
        """Return why the repository ``name`` cannot be had, with a remedy; "" where it can.

        Waits a few seconds at most, for all calls together where the network is down.
        """
        if not self._down:
            why_not = self._ask(kind, name, revision)
            if not self._down:
                return why_not
        return f"{name} is not on this machine, and {self._down}"

    def _ask(self, kind: Kind, name: str, revision: str | None) -> str:
        from huggingface_hub import HfApi, errors

        api = HfApi()
        try:
            found = api.repo_info(name, repo_type=kind, revision=revision, timeout=_PATIENCE_SECONDS)
            if getattr(found, "gated", False):
                api.auth_check(name, repo_type=kind)
        except errors.OfflineModeIsEnabled:
            self._down = "HF_HUB_OFFLINE keeps tokka from the hub; fetch it first, or unset that"
        except Exception as error:  # whatever the HTTP client makes of a network that is not there
            refused = refusal(error, kind, name, revision)
            if refused:
                return refused
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._down = (
                f"{api.endpoint} cannot be reached ({reason}); fetch it where there is a network, "
                f"then name the local folder"
            )
        return ""


def refusal(error: BaseException, kind: Kind, name: str, revision: str | None = None) -> str:
    """Return what the hub's refusal of a repository means, with a remedy; "" where ``error`` is none."""
    from huggingface_hub import HfApi, errors

    page = f"{HfApi().endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if isinstance(error, errors.GatedRepoError):
        return f"{name} is gated; accept its terms on {page} and run `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {revision!r}; name a branch, tag or commit of it"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"the hub has no {kind} {name} that you may see; correct the id, or run `hf auth login`"
    if isinstance(error, errors.HFValidationError):
        return f"{name} is neither a folder that is there nor an id of the hub; correct it"
    return ""


def local_folder(name: str, filename: str, root: Path, revision: str | None = None) -> Path | None:
    """Return the folder of the model or tokenizer ``name`` where it is on this machine, else None.

    Args:
        name: a folder, relative to ``root``, or an id of the hub.
        filename: what an earlier download must have left in the hub's cache.
        root: where relative paths begin.
        revision: of the id.
    """
    from huggingface_hub import errors, try_to_load_from_cache

    if (root / name).is_dir():
        return root / name
    try:
        found = try_to_load_from_cache(name, filename, revision=revision)
    except errors.HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def fetched_model(place: str) -> Path:
    """Return the folder of a local model, or of one of the hub once its files are here.

    Only what is needed of a repository comes: JSON, and the safetensors that its index names.

    Raises ValueError where the hub does not give it.
    """
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        index = Path(snapshot_download(place, allow_patterns=["*.json"])) / "model.safetensors.index.json"
        weights = ["model.safetensors"]
        if index.is_file():
            weights = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return Path(snapshot_download(place, allow_patterns=["*.json", *weights]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"there is no folder {place}, and the hub does not give it: {reason}") from error
