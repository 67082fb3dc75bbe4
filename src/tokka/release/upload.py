"""A release on its way to the hub: one branch a revision, sending only what is not there yet."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokka.evaluation.against import MERGED
from tokka.recipe.sizes import parse_size
from tokka.release.figures import size
from tokka.release.hub import LATEST, HubRepo
from tokka.workspace.progress import say

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_KEPT = (".gitattributes",)
"""Files that the hub itself puts into a repository."""


@dataclass(frozen=True)
class BranchPlan:
    """What a branch of the hub repository needs to become the local revision.

    Attributes:
        revision: name of the branch.
        send: local files to send, by name in the repository.
        remove: files of the branch that the revision does not have.
        same: files that are there already, byte for byte.
    """

    revision: str
    send: dict[str, Path]
    remove: tuple[str, ...]
    same: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Bytes to send."""
        return sum(path.stat().st_size for path in self.send.values())

    def __str__(self) -> str:
        sent = f"{self.revision}: {len(self.send)} files to send ({size(self.bytes)})"
        return f"{sent}, {len(self.same)} there already, {len(self.remove)} to remove"


def upload(
    folder: Path, repo: str | None = None, *, private: bool = False, dry_run: bool = False
) -> list[BranchPlan]:
    """Bring every revision of a release to the hub, by rising tokens, ``main`` last.

    A file whose content is on its branch already is not sent again, so the same call goes on after a break.

    Args:
        folder: what :func:`tokka.release.publish.publish` wrote.
        repo: where to: organisation/name; default: the repository that the release names.
        private: make the repository private, if it has to be made; else as the organisation has it.
        dry_run: only say what an empty repository would need; uses no network.

    Returns:
        What was done, or would be, one plan a branch.

    Raises:
        ValueError: no release in ``folder``, or no login.
        ConnectionError: the hub cannot be reached.
        OSError: the hub refused; its message says what.
    """
    local = _find_release(folder)
    repo = repo or local.name
    if dry_run:
        return [_plan(revision, local, there={}) for revision in _in_order(local)]

    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's

    if get_token() is None:
        raise ValueError("no token for the hub; log in with `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)
        return [_bring(api, repo, revision, local) for revision in _in_order(local)]
    except HTTPError as error:
        if isinstance(error, OSError):
            raise
        message = f"the hub cannot be reached ({error}); the same command goes on when it can"
        raise ConnectionError(message) from error


def _find_release(folder: Path) -> HubRepo:
    found = sorted(folder.glob("hub/models--*--*"))
    if not found:
        raise ValueError(f"no release in {folder}; `tokka run RECIPE` makes one")
    return HubRepo(found[0].parent, found[0].name.removeprefix("models--").replace("--", "/", 1))


def _in_order(local: HubRepo) -> list[str]:
    """Return the revisions by rising tokens, ``main`` last: its card links to branches, which then exist."""
    named = [revision for revision in local.revisions if revision != LATEST]
    by_tokens = sorted((revision for revision in named if revision != MERGED), key=parse_size)
    return [*by_tokens, *([MERGED] if MERGED in named else []), LATEST]


def _plan(revision: str, local: HubRepo, there: Mapping[str, str]) -> BranchPlan:
    """Compare the local revision with ``there``, what the hub holds: digest by name of file."""
    files = local.files(revision)
    same = tuple(name for name, blob in files.items() if name in there and _is_content(blob, there[name]))
    return BranchPlan(
        revision=revision,
        send={name: blob for name, blob in files.items() if name not in same},
        remove=tuple(name for name in there if name not in files and name not in _KEPT),
        same=same,
    )


def _is_content(blob: Path, digest: str) -> bool:
    """Tell whether ``digest``, a SHA-256 or git's SHA-1, is that of ``blob``, named by its SHA-256."""
    if len(digest) == len(blob.name):
        return digest == blob.name
    content = blob.read_bytes()
    return digest == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _bring(api: "HfApi", repo: str, revision: str, local: HubRepo) -> BranchPlan:
    """Make the branch ``revision`` equal to the local one; return what that took."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    if revision != LATEST:
        api.create_branch(repo, branch=revision, exist_ok=True)
    plan = _plan(revision, local, _digests(api, repo, revision))
    if not plan.send and not plan.remove:
        say(f"{repo}@{revision}: already there")
        return plan
    say(f"{repo}@{revision}: sending {len(plan.send)} files, {size(plan.bytes)}")
    api.create_commit(
        repo,
        [
            *(CommitOperationAdd(name, blob) for name, blob in plan.send.items()),
            *(CommitOperationDelete(name) for name in plan.remove),
        ],
        commit_message=f"Checkpoint {revision}",
        revision=revision,
    )
    return plan


def _digests(api: "HfApi", repo: str, revision: str) -> dict[str, str]:
    """Return the hub's digest of each file of a branch: SHA-256 of a large one, git's SHA-1 of others."""
    from huggingface_hub.hf_api import RepoFile

    return {
        entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id
        for entry in api.list_repo_tree(repo, recursive=True, revision=revision)
        if isinstance(entry, RepoFile)
    }
