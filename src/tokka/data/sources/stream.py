"""Bytes of plain and compressed files, and their lines, in bounded memory."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

from tokka.data.documents import Reason
from tokka.data.sources.remote import RemotePath
from tokka.workspace.workers import Advance

_CHUNK = 2**20
_GZIP = 31  # zlib's window bits for a stream with gzip header and checksum
_ZSTD_WINDOW = 2**31  # what `zstd --long=31` needs; dumps of the web are often packed so

COMPRESSED = (".gz", ".zst")
"""Suffixes of compressed files."""


class BrokenStreamError(Exception):
    """A compressed file ends too early or is damaged; what came before is good."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        number: 1-based.
        data: its bytes without the newline; of an overlong line only the first ones.
        size: its true length in bytes.
        broken: why the file ends within or after this line, if it ends before its time.
    """

    number: int
    data: bytes
    size: int
    broken: Reason | None = None


def read_chunks(path: Path | RemotePath, advance: Advance) -> Iterator[bytes]:
    """Yield the bytes of a plain, ``.gz`` or ``.zst`` file in pieces of at most 1 MiB.

    Raises BrokenStreamError, after the good part, where a compressed file is truncated or damaged.
    """
    unpack = {".gz": _gunzip, ".zst": _unzstd}.get(path.suffix.lower(), _plain)
    with path.open("rb", buffering=_CHUNK) as file:
        position = 0
        for chunk in unpack(file):
            advance(file.tell() - position)
            position = file.tell()
            yield chunk
        advance(file.tell() - position)


def read_lines(chunks: Iterable[bytes], max_bytes: int) -> Iterator[Line]:
    """Yield the lines of a stream, holding little more than ``max_bytes`` and one chunk at a time.

    Where the stream breaks off, the last line says so.
    """
    number, parts, held, size = 1, [b""], 0, 0
    broken: Reason | None = None
    try:
        for chunk in chunks:
            first, *others = chunk.split(b"\n")
            size += len(first)
            if held <= max_bytes:
                parts.append(first)
                held += len(first)
            if not others:
                continue
            yield Line(number, b"".join(parts), size)
            last = others.pop()
            for data in others:
                number += 1
                yield Line(number, data, len(data))
            number, parts, held, size = number + 1, [last], len(last), len(last)
    except BrokenStreamError as error:
        broken = error.reason
    if size or broken:
        yield Line(number, b"".join(parts), size, broken)


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    """Unpack gzip members, however many; zeros that pad a file after them are passed over, as gzip does."""
    member = None
    padded = b""
    while packed := file.read(_CHUNK // 16):
        while packed or member:
            if member is None:
                packed = packed.lstrip(padded)
                if not packed:
                    break
                member = zlib.decompressobj(_GZIP)
            before = member.copy()
            try:
                chunk = member.decompress(packed, _CHUNK)
            except zlib.error:
                yield from _until_damage(before, packed)
                raise BrokenStreamError(Reason.DAMAGED_FILE) from None
            if chunk:
                yield chunk
            packed = member.unconsumed_tail
            if member.eof:
                packed, member, padded = member.unused_data, None, b"\0"
            elif not packed and len(chunk) < _CHUNK:
                break
    if member is not None:
        raise BrokenStreamError(Reason.TRUNCATED_ARCHIVE)


def _until_damage(member: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """Yield what zlib, which gives nothing of a piece with an error in it, had unpacked before the error."""
    for index in range(len(packed)):
        try:
            chunk = member.decompress(packed[index : index + 1])
        except zlib.error:
            return
        if chunk:
            yield chunk


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Unpack Zstandard frames block by block.

    A block unpacks to at most 128 KiB, whatever its ratio, so memory stays bounded; and only by walking the
    blocks can a truncated frame be told from a whole one (RFC 8878, sections 3.1.1 and 3.1.2).
    """
    while magic := file.read(4):
        if len(magic) == 4 and magic[0] & 0xF0 == 0x50 and magic[1:] == b"\x2a\x4d\x18":
            _skip(file, int.from_bytes(_exactly(file, 4), "little"))
            continue
        start = magic + _exactly(file, 5 - len(magic))
        try:
            yield from _unzstd_frame(file, start)
        except zstandard.ZstdError:
            raise BrokenStreamError(Reason.DAMAGED_FILE) from None


def _unzstd_frame(file: BinaryIO, start: bytes) -> Iterator[bytes]:
    header = start + _exactly(file, zstandard.frame_header_size(start) - len(start))
    frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    frame.decompress(header)
    last = 0
    while not last:
        block = _exactly(file, 3)
        fields = int.from_bytes(block, "little")
        last, kind, size = fields & 1, fields >> 1 & 3, fields >> 3
        repeated_byte = kind == 1
        if chunk := frame.decompress(block + _exactly(file, 1 if repeated_byte else size)):
            yield chunk
    if zstandard.get_frame_parameters(header).has_checksum:
        frame.decompress(_exactly(file, 4))


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise BrokenStreamError(Reason.TRUNCATED_ARCHIVE)
    return data


def _skip(file: BinaryIO, count: int) -> None:
    while count:
        count -= len(_exactly(file, min(count, _CHUNK)))
