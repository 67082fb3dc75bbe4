"""Which held-out text is scored: as much as asked for, the same every time, whatever the order of files."""

import heapq
from collections.abc import Iterable
from hashlib import blake2b


def select_texts(texts: Iterable[str], max_bytes: int) -> list[str]:
    """Return ``texts`` of at most ``max_bytes`` of UTF-8 in all.

    Documents are taken in the order of a hash of their content until ``max_bytes`` is full; the last one is
    cut there, at a character. So neither the order of files nor a document's length decides whether it is
    taken, and a larger limit scores the same text and more. Memory: ``max_bytes`` and one document.
    """
    chosen: list[tuple[int, str, int]] = []  # a heap, the largest hash first
    total = 0
    for text in texts:
        content = text.encode()
        number = int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
        heapq.heappush(chosen, (-number, text, len(content)))
        total += len(content)
        while total - chosen[0][2] >= max_bytes:
            total -= heapq.heappop(chosen)[2]
    ordered = [text for _, text, _ in sorted(chosen, key=lambda entry: (-entry[0], entry[1]))]
    if total > max_bytes:
        last = ordered.pop().encode()
        ordered.append(last[: len(last) - (total - max_bytes)].decode(errors="ignore"))
    return [text for text in ordered if text]
