"""Taking over a tokenizer that exists."""

from pathlib import Path
from typing import Any

from tokka.recipe.tokenizer import Tokenizer
from tokka.tokenizer.load import load_tokenizer, save_copy


def copy_tokenizer(section: Tokenizer, root: Path, folder: Path) -> dict[str, Any]:
    """Copy the files of the tokenizer that ``section`` loads into ``folder``.

    Returns:
        Facts: ``loaded`` and ``revision`` as stated, ``vocab_size`` and the count of ``special_tokens``.

    Raises:
        ValueError: it cannot be loaded; see :func:`tokka.tokenizer.load.load_tokenizer`.
    """
    loaded = load_tokenizer(located(section, root), section.revision)
    save_copy(loaded, folder)
    return {
        "loaded": section.load,
        "revision": section.revision,
        "vocab_size": loaded.size,
        "special_tokens": len(loaded.specials),
    }


def fingerprint(section: Tokenizer, root: Path) -> dict[str, str]:
    """Return the digest of a local tokenizer, or the stated revision of one on the hub."""
    place = located(section, root)
    known = load_tokenizer(place).digest if Path(place).is_dir() else (section.revision or "main")
    return {str(section.load): known}


def located(section: Tokenizer, root: Path) -> str:
    """Return the folder that the section's ``load`` names, relative to the recipe, or else the hub id."""
    assert section.load is not None
    beside = root / section.load
    return str(beside) if beside.is_dir() else section.load
