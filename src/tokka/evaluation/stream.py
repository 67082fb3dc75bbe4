"""Text as it comes: whole characters out of tokens, and an end at a stop string."""

from collections.abc import Callable, Iterable, Iterator, Sequence

_INCOMPLETE = "\ufffd"


def stream_text(tokens: Iterable[int], decode: Callable[[Sequence[int]], str]) -> Iterator[str]:
    """Yield the text of ``tokens`` piece by piece, each as soon as its last character is whole.

    A byte-level token may hold half a character; it waits for the other half. All pieces together are
    ``decode`` of all tokens; bytes at the end that make no character come out as U+FFFD.
    """
    # Text is compared after that of the tokens before it, for decoders that trim the beginning of a text.
    before: list[int] = []
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        piece = decode(before + waiting)[len(decode(before)) :]
        if piece and not piece.endswith(_INCOMPLETE):
            yield piece
            before, waiting = waiting, []
    if waiting:
        yield decode(before + waiting)[len(decode(before)) :]


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yield the text of ``pieces`` up to the first of ``stops`` that is complete, which is not yielded.

    What may be the beginning of a stop string waits until it is known.
    """
    waiting = ""
    for piece in pieces:
        waiting += piece
        found = [(at + len(stop), at) for stop in stops if (at := waiting.find(stop)) >= 0]
        if found:
            _, begin = min(found)
            yield waiting[:begin]
            return
        kept = max((_overlap(waiting, stop) for stop in stops), default=0)
        ready, waiting = waiting[: len(waiting) - kept], waiting[len(waiting) - kept :]
        if ready:
            yield ready
    if waiting:
        yield waiting


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of ``text`` begin ``stop``."""
    return next((size for size in range(min(len(text), len(stop)), 0, -1) if text.endswith(stop[:size])), 0)
