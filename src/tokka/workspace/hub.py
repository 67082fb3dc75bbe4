"""Whether the Hugging Face Hub would give a repository, asked quickly; and what of it is here already."""

from pathlib import Path
from typing import Literal

_PATIENCE_SECONDS = 3.0


class Hub:
    """The hub as seen from here; once it cannot be reached it is not asked again."""

    def __init__(self) -> None:
        self._down = ""

    def why_not(self, kind: Literal["model", "dataset"], name: str, revision: str | None = None) -> str:
        """Return why the repository ``name`` cannot be had, with a remedy; "" where it can.

        Waits a few seconds at most, for all calls together where the network is down.
        """
        if not self._down:
            why_not = self._ask(kind, name, revision)
            if not self._down:
                return why_not
        return f"{name} is not on this machine, and {self._down}"

    def _ask(self, kind: Literal["model", "dataset"], name: str, revision: str | None) -> str:
        from huggingface_hub import HfApi, errors

        api = HfApi()
        try:
            found = api.repo_info(name, repo_type=kind, revision=revision, timeout=_PATIENCE_SECONDS)
            if getattr(found, "gated", False):
                api.auth_check(name, repo_type=kind)
        except errors.GatedRepoError:
            return f"{name} is gated; accept its terms on {api.endpoint}/{name} and run `hf auth login`"
        except errors.RevisionNotFoundError:
            return f"{name} has no revision {revision!r}; name a branch, tag or commit of it"
        except errors.RepositoryNotFoundError:
            return f"the hub has no {kind} {name} that you may see; correct the id, or run `hf auth login`"
        except errors.HFValidationError:
            return f"{name} is neither a folder that is there nor an id of the hub; correct it"
        except errors.OfflineModeIsEnabled:
            self._down = "HF_HUB_OFFLINE keeps tokka from the hub; fetch it first, or unset that"
        except Exception as error:  # whatever the HTTP client makes of a network that is not there
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._down = (
                f"{api.endpoint} cannot be reached ({reason}); fetch it where there is a network, "
                f"then name the local folder"
            )
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
