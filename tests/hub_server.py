"""A small Hugging Face Hub on this machine: data sets of files, over a connection that may be bad."""

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A data set: its files by path, and how badly they are sent.

    Attributes:
        drop_after: of every answer with content only so many bytes are sent, then the connection ends.
        stall_after: so many bytes are sent, once for each file, then nothing more for ``stall_seconds``.
        busy: so many requests for content are first answered with 503.
    """

    files: dict[str, bytes]
    gated: bool = False
    drop_after: int | None = None
    stall_after: int | None = None
    stall_seconds: float = 3.0
    busy: int = 0


@dataclass
class HubServer:
    """What the server has, and what it was asked for.

    Attributes:
        repositories: by id.
        down_after: bytes of content after which nothing is answered any more.
        served: bytes of content sent, by path.
    """

    repositories: dict[str, Repository]
    down_after: int | None = None
    served: Counter[str] = field(default_factory=Counter)
    stalled: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(hub: HubServer) -> Iterator[HubServer]:
    """Serve ``hub`` on a free port of this machine; ``hub.url`` is what HF_ENDPOINT must be."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.down_after is not None and self.hub.served.total() > self.hub.down_after:
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        content = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        api = re.fullmatch(
            r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info|auth-check)(?:/([^/]+))?(?:/(.*))?)?",
            path,
        )
        found = content or api
        repository = self.hub.repositories.get(found[1]) if found else None
        if repository is None:
            self._send(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        elif repository.gated and (content or (api and api[2])):
            self._send(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        elif content:
            self._content(repository, content[3])
        else:
            assert api
            self._api(api, repository, body)

    def _api(self, api: re.Match[str], repository: Repository, body: bytes) -> None:
        if api[2] == "tree":
            self._send(
                200, list(_tree(repository, api[4] or "", recursive="recursive=true" in self.path.lower()))
            )
        elif api[2] == "paths-info":
            paths = _asked(body)
            self._send(200, [_entry(n, c) for n, c in repository.files.items() if n in paths])
        else:
            siblings = [
                {"rfilename": n, "size": len(c), "blobId": _oid(c)} for n, c in repository.files.items()
            ]
            gated = "manual" if repository.gated else False
            self._send(
                200, {"id": api[1], "sha": SHA, "gated": gated, "private": False, "siblings": siblings}
            )

    def _content(self, repository: Repository, name: str) -> None:
        content = repository.files.get(name)
        if content is None:
            self._send(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})
            return
        if repository.busy and self.command == "GET":
            repository.busy -= 1
            self._send(503, {"error": "busy"})
            return
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, stop = (int(span[1]), int(span[2] or len(content) - 1) + 1) if span else (0, len(content))
        stop = min(stop, len(content))
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", f'"{_oid(content)}"')
        self.send_header("X-Repo-Commit", SHA)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._send_badly(repository, name, content[start:stop])

    def _send_badly(self, repository: Repository, name: str, content: bytes) -> None:
        stall = repository.stall_after is not None and name not in self.hub.stalled
        limit = repository.stall_after if stall else repository.drop_after
        sent = content[:limit]
        self.hub.served[name] += len(sent)
        self.wfile.write(sent)
        self.wfile.flush()
        if stall:
            self.hub.stalled.add(name)
            time.sleep(repository.stall_seconds)
        if len(sent) < len(content):
            self.close_connection = True

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _asked(body: bytes) -> list[str]:
    from urllib.parse import parse_qs

    try:
        return list(json.loads(body)["paths"])
    except ValueError:
        return parse_qs(body.decode()).get("paths", [])


def _tree(repository: Repository, folder: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    folders = set()
    for name, content in repository.files.items():
        below = name.removeprefix(prefix)
        if name.startswith(prefix) and ("/" not in below or recursive):
            yield _entry(name, content)
        elif name.startswith(prefix):
            folders.add(prefix + below.split("/")[0])
    yield from ({"type": "directory", "path": each, "size": 0, "oid": ""} for each in sorted(folders))


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
