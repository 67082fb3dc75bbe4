"""A file of the Hugging Face Hub, read where it lies; where a connection breaks the next one goes on."""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from tokka.recipe.sources import Format
from tokka.workspace.hub import refusal
from tokka.workspace.progress import say

_BLOCK = 2**23
"""So much is asked for at a time."""

_ATTEMPTS = 12
"""Connections in a row that bring not one byte; about four minutes."""

_LONGEST_WAIT = 60.0


class HubError(ConnectionError):
    """The hub does not give a file, or not any more. That is no damage: the same command goes on later."""


@dataclass(frozen=True)
class RemotePath:
    """Where a file of a data set is; opened like a :class:`pathlib.Path`.

    Attributes:
        repository: id of the data set.
        revision: its commit.
        path: in the repository.
        size: bytes.
    """

    repository: str
    revision: str
    path: str
    size: int

    @property
    def suffix(self) -> str:
        """The last suffix of its name, such as ``.gz``."""
        name = self.path.rpartition("/")[2]
        return f".{name.rpartition('.')[2]}" if "." in name else ""

    def open(self, mode: str = "rb", buffering: int = _BLOCK) -> BinaryIO:
        """Open it to read bytes, in order or anywhere; nothing is kept on disk."""
        assert mode == "rb"
        return io.BufferedReader(_RemoteFile(self), max(buffering, _BLOCK))


@dataclass(frozen=True)
class HubFile:
    """A file of a data set, as :class:`tokka.data.sources.files.InputFile` is one of this machine.

    Attributes:
        path: where it is.
        name: the data set's id and the path in it.
        format: how to read it.
    """

    path: RemotePath
    name: str
    format: Format

    @property
    def size(self) -> int:
        return self.path.size

    @property
    def identity(self) -> list[str | int]:
        """What it is as long as it does not change."""
        return [self.name, self.format, self.size, self.path.revision]

    weight = 2**62  # each is read by itself, so that a killed build has little to fetch again


class _RemoteFile(io.RawIOBase):
    """The bytes of a file of the hub; a read asks for what it needs, until it has all of it."""

    def __init__(self, file: RemotePath) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = max(begin + offset, 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        stop = min(self._position + len(buffer), self._file.size)
        begin, failures = self._position, 0
        while self._position < stop:
            try:
                for chunk in self._ask(self._position, stop):
                    at = self._position - begin
                    buffer[at : at + len(chunk)] = chunk
                    self._position += len(chunk)
                    failures = 0
                if self._position < stop:
                    raise EOFError("the answer ended too early")
            except Exception as error:  # whatever the HTTP client makes of a bad connection
                failures += 1
                self._wait(error, failures)
        return max(stop - begin, 0)

    def _ask(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield bytes ``start`` to ``stop`` as they come; fewer where the connection ends too early."""
        from huggingface_hub import constants, get_session, hf_hub_url
        from huggingface_hub.utils._headers import build_hf_headers
        from huggingface_hub.utils._http import hf_raise_for_status

        file = self._file
        url = hf_hub_url(file.repository, file.path, repo_type="dataset", revision=file.revision)
        headers = build_hf_headers() | {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        with get_session().stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        ) as response:
            if response.status_code != 206:
                response.read()
                hf_raise_for_status(response)
                raise ValueError(f"the hub answers {response.status_code} to a request for a part of a file")
            if response.headers["Content-Range"] != f"bytes {start}-{stop - 1}/{file.size}":
                raise ValueError(f"the hub gives {response.headers['Content-Range']} of {file.size} bytes")
            for chunk in response.iter_raw():
                yield chunk[: stop - start]
                start += len(chunk)

    def _wait(self, error: Exception, failures: int) -> None:
        """Wait before the next attempt; raise where there is to be none."""
        file = self._file
        name = f"{file.repository}/{file.path}"
        refused = refusal(error, "dataset", file.repository, file.revision)
        if refused:
            raise HubError(refused) from error
        if failures == _ATTEMPTS:
            raise HubError(
                f"{name}: {failures} connections in a row gave nothing after byte {self._position} "
                f"({error or type(error).__name__}); the same command goes on later"
            ) from error
        if failures == 2:
            say(f"{name}: the connection fails at byte {self._position} ({error}); trying again")
        time.sleep(min(0.1 * 2**failures, _LONGEST_WAIT) if failures > 1 else 0)
