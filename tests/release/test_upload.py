"""Uploads, against a hub of our own that speaks the real client's protocol."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from release_runs import make_run

from tokka.release.publish import publish
from tokka.release.upload import upload

REVISIONS = ["65.536K", "131.072K", "196.608K", "main"]


class FakeHub(BaseHTTPRequestHandler):
    """The few calls of the hub's API that an upload makes; ``server.repos`` holds what was uploaded."""

    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        found = re.fullmatch(r"/api/models/(\S+?)/tree/([^?]+)\?.*", self.path)
        if found is None:
            return self._answer({"error": "no such page"}, 404)
        files = self.server.repos[found[1]]["branches"][found[2]]
        return self._answer(
            [
                {"type": "file", "path": name, "size": len(content), "oid": git_digest(content)}
                for name, content in files.items()
            ]
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            private = asked.get("private") or asked.get("visibility") == "private"
            fresh = {"private": private, "branches": {"main": {".gitattributes": b"*"}}}
            self.server.repos.setdefault(repo, fresh)
            return self._answer({"url": f"{self.server.address}/{repo}"})
        if self.path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        found = re.fullmatch(r"/api/models/(\S+?)/(branch|preupload|commit)/(\S+)", self.path)
        assert found, self.path
        branches = self.server.repos[found[1]]["branches"]
        if found[2] == "branch":
            if found[3] in branches:
                return self._answer({"error": "exists"}, 409)
            branches[found[3]] = dict(branches["main"])
            return self._answer({})
        if found[2] == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            return self._answer(
                {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
            )
        self.server.commits += 1
        if self.server.commits == self.server.breaks_at:
            return self.connection.close()
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                branches[found[3]][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "deletedFile":
                del branches[found[3]][entry["value"]["path"]]
        return self._answer(
            {"commitOid": "0" * 40, "commitUrl": f"{self.server.address}/{found[1]}/commit/0"}
        )

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub on this machine, with a login."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    server.repos, server.commits, server.breaks_at = {}, 0, None
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    publish(make_run(run), run=run, folder=run / "release")
    return run / "release"


def test_every_revision_becomes_a_branch_and_the_latest_main(hub: Any, release: Path) -> None:
    plans = upload(release)
    assert [plan.revision for plan in plans] == REVISIONS
    branches = hub.repos["herd/Tiny-1"]["branches"]
    assert set(branches) == set(REVISIONS)
    weights = release.parent / "training" / "revisions"
    for revision in REVISIONS[:-1]:
        assert (
            branches[revision]["model.safetensors"] == (weights / revision / "model.safetensors").read_bytes()
        )
        assert branches[revision]["README.md"].startswith(b"---\nlicense: apache-2.0")
    assert branches["main"] == branches["196.608K"]


def test_what_is_there_is_not_sent_again(hub: Any, release: Path) -> None:
    upload(release)
    commits = hub.commits
    again = upload(release)
    assert hub.commits == commits
    assert all(not plan.send and not plan.remove for plan in again)
    hub.repos["herd/Tiny-1"]["branches"]["131.072K"]["config.json"] = b"{}"
    assert [plan.revision for plan in upload(release) if plan.send] == ["131.072K"]
    assert hub.commits == commits + 1


def test_an_upload_that_broke_off_goes_on(hub: Any, release: Path) -> None:
    hub.breaks_at = 2
    with pytest.raises(ConnectionError, match="the same command goes on"):
        upload(release)
    assert len(hub.repos["herd/Tiny-1"]["branches"]) == 3
    plans = upload(release)
    assert not plans[0].send
    assert all(plan.send for plan in plans[1:])


def test_files_that_a_revision_no_longer_has_are_removed(hub: Any, release: Path) -> None:
    upload(release)
    main = hub.repos["herd/Tiny-1"]["branches"]["main"]
    main["model-00001-of-00002.safetensors"] = b"old shard"
    assert upload(release)[-1].remove == ("model-00001-of-00002.safetensors",)
    assert "model-00001-of-00002.safetensors" not in main
    assert ".gitattributes" in main


def test_a_repository_of_another_name_may_be_private(hub: Any, release: Path) -> None:
    upload(release, "other/place", private=True)
    assert hub.repos["other/place"]["private"] is True
    assert "herd/Tiny-1" not in hub.repos


def test_without_a_login_one_line_says_what_to_do(
    release: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="hf auth login") as raised:
        upload(release)
    assert "\n" not in str(raised.value)


def test_a_dry_run_uses_no_network_and_no_login(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    plans = upload(release, dry_run=True)
    assert [plan.revision for plan in plans] == REVISIONS
    assert all("model.safetensors" in plan.send and plan.bytes > 100_000 for plan in plans)
    assert re.fullmatch(
        r"65\.536K: \d+ files to send \(\d+ kB\), 0 there already, 0 to remove", str(plans[0])
    )


def test_a_folder_without_a_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no release in"):
        upload(tmp_path)
