"""A table before it is Markdown or HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Strong:
    """A cell that stands out, such as the best of its row."""

    text: str

    def __html__(self) -> str:
        return Markup("<strong>{}</strong>").format(self.text)


@dataclass(frozen=True)
class Table:
    """Headings, rows of as many cells, and one letter a column that says how it is aligned: l, c or r."""

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    align: str
