"""A first recipe for a language, commented, to run as it is and to grow from."""

import json
import re
from os import PathLike, fspath
from pathlib import Path

from tokka.recipe.languages import find_language

_TEMPLATE = Path(__file__).with_name("new.yaml.jinja")
_LONGEST_NAME = 80  # the hub allows 96 characters, the organisation counted in


def new_recipe(language: str, name: str, texts: str | PathLike[str] | None = None) -> str:
    """Return the text of a recipe that trains a small model from scratch.

    Args:
        language: ISO 639-1 or 639-3 code, such as ``fi`` or ``smn``.
        name: of the run and the model.
        texts: the user's own texts, a file or folder as seen from the recipe; without them, web text of the
            language from FineWeb-2 (of English, WikiText).

    Raises:
        ValueError: ``language`` or ``name`` has not the form it must have.
    """
    import jinja2

    if not re.fullmatch(r"\w+(?:[.-]\w+)*", name) or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"{name!r} cannot name a model; use letters, digits and `_`, and single `.` or `-` between"
        )
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        code=language,
        language=find_language(language),
        name=name,
        texts=None if texts is None else fspath(texts),
    )
