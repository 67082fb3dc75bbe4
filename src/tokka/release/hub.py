"""The hub's local cache layout, written without a network.

``models--org--name/blobs/<sha256>`` holds every content once; ``snapshots/<commit>/<file>`` are relative
links to blobs; ``refs/<revision>`` names a commit. It is what ``huggingface_hub`` leaves behind after a
download, so any library that reads the cache loads a revision from here as if it had been downloaded.
See https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokka.recipe.model import is_recipe
from tokka.workspace.files import digest_file, digest_json

LATEST = "main"
"""The revision that is loaded when none is named."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

Content = Path | str
"""What a published file holds: an existing file, or text."""


@dataclass(frozen=True)
class HubRepo:
    """One model repository inside a hub cache folder."""

    cache: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.cache / f"models--{self.name.replace('/', '--')}"

    @property
    def revisions(self) -> dict[str, str]:
        """Commit by revision, as ``refs`` states it."""
        refs = self.folder / "refs"
        found = sorted(path for path in refs.rglob("*") if path.is_file()) if refs.is_dir() else []
        return {path.relative_to(refs).as_posix(): path.read_text(encoding="ascii") for path in found}

    def files(self, revision: str) -> dict[str, Path]:
        """Return the files of ``revision``, each with the blob that holds its content.

        Raises KeyError where there is no such revision.
        """
        snapshot = self.folder / "snapshots" / self.revisions[revision]
        found = sorted(path for path in snapshot.rglob("*") if path.is_file())
        return {path.relative_to(snapshot).as_posix(): path.resolve() for path in found}

    def commit(self, revision: str, files: Mapping[str, Content]) -> str:
        """Publish ``files`` as ``revision`` and return the commit.

        A file that exists is linked hard, not copied, where the file system can. The commit is a digest of
        names and contents: the same files give the same commit, whenever and wherever.
        """
        digests = {name: self._add(content) for name, content in sorted(files.items())}
        commit = digest_json(digests)[:40]
        snapshot = self.folder / "snapshots" / commit
        for name, digest in digests.items():
            link = snapshot / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(self._blob(digest), link.parent))
        self.point(revision, commit)
        return commit

    def point(self, revision: str, commit: str) -> None:
        """Let ``revision`` name ``commit``."""
        ref = self.folder / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit, encoding="ascii")

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest

    def _add(self, content: Content) -> str:
        """Store ``content`` as a blob if there is none yet; return its SHA-256."""
        if isinstance(content, str):
            digest = hashlib.sha256(content.encode()).hexdigest()
        else:
            digest = digest_file(content)
        blob = self._blob(digest)
        if not blob.exists():
            blob.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                blob.write_text(content, encoding="utf-8", newline="")
            else:
                link_or_copy(content, blob)
        return digest


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a second name of the file ``source``; a copy where that is impossible."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def is_hub_id(name: str) -> bool:
    """Tell a hub id, organisation/name, from the path of a local folder or of a recipe."""
    return bool(_HUB_ID.fullmatch(name)) and not is_recipe(name) and not Path(name).is_dir()


def public_name(name: str) -> str:
    """Return a hub id as it is, and of a local folder or recipe its own name: paths say nothing to others."""
    if is_hub_id(name):
        return name
    return Path(name).stem if is_recipe(name) else Path(name).name
