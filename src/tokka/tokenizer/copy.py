"""Taking over a tokenizer that exists."""

from pathlib import Path
from typing import Any

from tokka.recipe.tokenizer import Tokenizer
from tokka.tokenizer.load import load_tokenizer, save_copy


def copy_tokenizer(section: Tokenizer, place: str, folder: Path) -> dict[str, Any]:
    """Copy the files of the tokenizer that ``section`` loads into ``folder``.

    Args:
        section: the recipe's ``tokenizer``.
        place: folder or hub id that its ``load`` stands for.
        folder: gets the files.

    Returns:
        Facts: ``loaded`` and ``revision`` as stated, ``vocab_size`` and the count of ``special_tokens``.

    Raises:
        ValueError: it cannot be loaded; see :func:`tokka.tokenizer.load.load_tokenizer`.
    """
    loaded = load_tokenizer(place, section.revision)
    save_copy(loaded, folder)
    return {
        "loaded": section.load,
        "revision": section.revision,
        "vocab_size": loaded.size,
        "special_tokens": len(loaded.specials),
    }


def fingerprint(section: Tokenizer, place: str) -> dict[str, str]:
    """Return the digest of the tokenizer in the folder ``place``, or the revision of one on the hub."""
    known = load_tokenizer(place).digest if Path(place).is_dir() else (section.revision or "main")
    return {str(section.load): known}
