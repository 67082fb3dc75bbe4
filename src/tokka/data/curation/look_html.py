"""A look at corpora as one web page that needs nothing else; the texts in it are untrusted and stay text."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from tokka.data.curation.look import Look

_MOST_CHARACTERS = 4000


def page_of_looks(looks: Sequence[Look], title: str) -> str:
    """Return the page: for each source what the steps took, and kept and removed documents side by side.

    Everything is escaped, and the page forbids its browser to run or to fetch anything.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("look.html.jinja")
    return template.render(looks=looks, title=title, most=_MOST_CHARACTERS)
