"""The two patterns that cut text into words before bytes are merged, and the byte-level alphabet."""

from functools import cache
from typing import Any, Literal

Pattern = Literal["bloom", "llama3"]

PATTERNS: dict[Pattern, str] = {
    # A word with the space before it; spaces, full stops, commas, brackets and the like between words. BLOOM
    # (bigscience-workshop/bs-tokenizers), Poro 34B.
    "bloom": " ?[^(\\s|[.,!?…。，、।۔،])]+",
    # Contractions, words, up to three digits, punctuation, line breaks, other space. Llama 3.
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""Regular expressions in Oniguruma's syntax; each match, and each stretch between matches, is one word."""


def pre_tokenizer(pattern: Pattern) -> Any:
    """Return the ``tokenizers`` pre-tokenizer that cuts by ``pattern``, then spells bytes as characters."""
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[pattern]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


@cache
def byte_alphabet() -> tuple[str, ...]:
    """Return the character that stands for each of the 256 bytes in a byte-level vocabulary (GPT-2's table).

    Bytes that Latin-1 prints stand for themselves, the others for U+0100, U+0101, ... in order.
    """
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printed else next(others)) for byte in range(256))
