"""Asking a hub: a server that answers as the hub does, no server at all, and the cache."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi

from tokka.workspace.hub import Hub, fetched_model, local_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Answers(BaseHTTPRequestHandler):
    """``org/open`` is there, ``org/gated`` needs a login, of others nobody knows; ``org/slow`` sleeps."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        repo = "/".join(self.path.split("/")[3:5]).split("?")[0]
        if repo == "org/slow":
            time.sleep(1)
            return None
        if "/revision/" in self.path and not self.path.partition("/revision/")[2].startswith("main"):
            return self.answer(404, {}, "RevisionNotFound")
        if repo == "org/gated" and self.path.endswith("auth-check"):
            return self.answer(403, {}, "GatedRepo")
        if repo in ("org/open", "org/gated"):
            about = {"id": repo, "sha": COMMIT, "gated": "auto" if repo == "org/gated" else False}
            return self.answer(200, about | {"private": False, "tags": [], "downloads": 0, "likes": 0})
        return self.answer(401, {}, "RepoNotFound")

    def answer(self, status: int, content: object, code: str = "") -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this machine; the list holds what it was asked."""
    Answers.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield Answers.asked
        server.shutdown()


def point_at(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    assert HfApi().endpoint == endpoint


def test_a_repository_that_can_be_had(hub: list[str]) -> None:
    assert Hub().why_not("model", "org/open") == ""
    assert Hub().why_not("dataset", "org/open", "main") == ""


def test_a_repository_that_is_not_there(hub: list[str]) -> None:
    assert "the hub has no dataset org/none that you may see" in Hub().why_not("dataset", "org/none")


def test_a_revision_that_is_not_there(hub: list[str]) -> None:
    assert "org/open has no revision '900B'" in Hub().why_not("model", "org/open", "900B")


def test_a_gated_repository_without_access(hub: list[str]) -> None:
    assert "org/gated is gated; accept its terms" in Hub().why_not("model", "org/gated")


def test_a_name_that_can_be_no_id(hub: list[str]) -> None:
    assert "neither a folder" in Hub().why_not("model", "./models/of mine")
    assert hub == []


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(monkeypatch, "http://127.0.0.1:9")
    hub = Hub()
    first, second = hub.why_not("model", "org/open"), hub.why_not("dataset", "org/other")
    assert "org/open is not on this machine, and http://127.0.0.1:9 cannot be reached" in first
    assert "org/other is not on this machine" in second


def test_a_hub_that_does_not_answer_is_waited_for_once(
    hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokka.workspace.hub._PATIENCE_SECONDS", 0.2)
    begun, asking = time.perf_counter(), Hub()
    assert "cannot be reached" in asking.why_not("model", "org/slow")
    assert "cannot be reached" in asking.why_not("model", "org/open")
    assert time.perf_counter() - begun < 10
    assert len(hub) == 1


def test_offline_mode_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE keeps tokka from the hub" in Hub().why_not("model", "org/open")


def test_a_model_in_the_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--org--model"
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    config = repo / "snapshots" / COMMIT / "config.json"
    config.write_text("{}")
    assert local_folder("org/model", "config.json", tmp_path) == config.parent
    assert local_folder("org/model", "config.json", tmp_path, "200K") is None
    assert local_folder("org/model", "tokenizer.json", tmp_path) is None
    assert local_folder("org/other", "config.json", tmp_path) is None
    assert local_folder("../a folder", "config.json", tmp_path) is None


def test_a_folder_is_found_from_where_relative_paths_begin(tmp_path: Path) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert local_folder("org/model", "config.json", tmp_path) == tmp_path / "org" / "model"
    assert local_folder(str(tmp_path), "config.json", Path("elsewhere")) == tmp_path


INDEX = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
FILES = {
    "config.json": b"{}",
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "model-1.safetensors": b"one",
    "model-2.safetensors": b"two",
    "consolidated.safetensors": b"the same again",
    "pytorch_model.bin": b"pickled",
}


class Serves(BaseHTTPRequestHandler):
    """The hub with ``org/model``: two shards, a pickle, and a shard that no index names."""

    fetched: set[str]

    def do_GET(self) -> None:
        self.respond()

    def do_HEAD(self) -> None:
        self.respond()

    def respond(self) -> None:
        name = self.path.partition(f"/resolve/{COMMIT}/")[2]
        about = {"id": "org/model", "sha": COMMIT, "siblings": [{"rfilename": file} for file in FILES]}
        tree = [{"type": "file", "path": file, "size": 1, "oid": file} for file in FILES]
        said = (
            tree
            if "/tree/" in self.path
            else about | {"private": False, "tags": [], "downloads": 0, "likes": 0}
        )
        body = FILES[name] if name else json.dumps(said).encode()
        if name and self.command == "GET":
            self.fetched.add(name)
        self.send_response(200 if "org/model" in self.path else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"' + (name or "about") + '"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None: ...


def test_of_a_model_on_the_hub_only_what_its_index_names_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    Serves.fetched = set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Serves) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        point_at(monkeypatch, endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        folder = fetched_model("org/model")
        server.shutdown()
    wanted = {"config.json", "model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"}
    assert {path.name for path in folder.iterdir()} == wanted == Serves.fetched
    assert fetched_model(str(folder)) == folder


def test_a_model_that_the_hub_does_not_give_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="there is no folder org/model, and the hub does not give it"):
        fetched_model("org/model")
