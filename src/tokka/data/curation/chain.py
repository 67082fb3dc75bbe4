"""The steps of curation, one after the other, and what each of them took."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tokka.data.curation.boilerplate import without_boilerplate
from tokka.data.curation.fineweb import fineweb_flaw
from tokka.data.curation.gopher import gopher_flaw
from tokka.data.curation.identify import Identifier
from tokka.data.curation.language import Language, find_language, quality_of
from tokka.data.curation.lists import BlockedDomains, BlockedWords
from tokka.data.curation.masking import mask
from tokka.data.curation.page import Page
from tokka.data.curation.prose import prose_flaw
from tokka.data.curation.repair import repair
from tokka.data.curation.repetition import repetition_flaw
from tokka.recipe.curation import Curation, Identification, Mask, Quality
from tokka.workspace.files import digest_file


class Removed(NamedTuple):
    """A document that a step took, and why."""

    step: str
    reason: str


@dataclass
class Toll:
    """What one step took.

    Attributes:
        documents: removed.
        bytes: UTF-8 bytes of these as the step got them, and what it cut from the others.
        changed: documents that it changed and let pass.
        reasons: removed documents by reason.
    """

    documents: int = 0
    bytes: int = 0
    changed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is to be done to the documents of one source: its section of the recipe with its files found.

    Attributes:
        section: as the recipe states it.
        language: of the source.
        root: where the section's relative paths begin.
    """

    section: Curation
    language: str
    root: Path

    @property
    def files(self) -> list[Path]:
        """Every file that decides the result."""
        section = self.section
        model = section.language.model if section.language else None
        return [
            self.root / name
            for name in (*section.block_domains, *section.block_words, *filter(None, [model]))
        ]

    @property
    def identity(self) -> list[Any]:
        """What decides the result, as JSON content."""
        return [
            self.section.model_dump(mode="json"),
            self.language,
            [digest_file(path) for path in self.files],
        ]


class Draft:
    """A document on its way through the steps.

    Attributes:
        text: as the steps before left it.
        url: where it came from, if that is known.
    """

    def __init__(self, text: str, url: str | None) -> None:
        self.text, self.url = text, url
        self._page: Page | None = None

    @property
    def page(self) -> Page:
        """The words and lines of the text, found once."""
        if self._page is None or self._page.text is not self.text:
            self._page = Page(self.text)
        return self._page


Step = Callable[[Draft], str | None]
"""Changes a draft, or returns why it must go."""


class Curator:
    """Carries out a plan, record by record, and counts what each step takes.

    Attributes:
        tolls: by name of the step, in the order of the steps.
    """

    def __init__(self, plan: Plan) -> None:
        self._steps = list(_steps(plan))
        self._documents = self._bytes = 0
        self.tolls = {name: Toll() for name, _ in self._steps}

    def curate(self, contents: Sequence[bytes], url: str | None = None) -> list[bytes] | Removed:
        """Return the documents of one record as the steps leave them, or what removed one and so all of them.

        Args:
            contents: in UTF-8.
            url: where the record came from, if that is known.
        """
        self._documents += len(contents)
        self._bytes += sum(map(len, contents))
        kept: list[bytes] = []
        for index, content in enumerate(contents):
            outcome = self._curate(content, url)
            if isinstance(outcome, Removed):
                others = [*kept, *contents[index + 1 :]]
                self._remove(outcome, documents=len(others), size=sum(map(len, others)))
                return outcome
            kept.append(outcome)
        return kept

    def facts(self) -> dict[str, Any]:
        """Return ``documents`` and ``bytes`` that came in, and what each of the ``steps`` took of them."""
        steps = {name: asdict(toll) for name, toll in self.tolls.items()}
        return {"documents": self._documents, "bytes": self._bytes, "steps": steps}

    def _curate(self, content: bytes, url: str | None) -> bytes | Removed:
        draft = Draft(content.decode(), url)
        for name, step in self._steps:
            before = draft.text
            reason = step(draft)
            if reason is not None:
                removed = Removed(name, reason)
                self._remove(removed, documents=1, size=len(content))
                return removed
            if draft.text != before:
                toll, size = self.tolls[name], len(content)
                content = draft.text.encode()
                toll.changed += 1
                toll.bytes += size - len(content)
        return content

    def _remove(self, removed: Removed, *, documents: int, size: int) -> None:
        toll = self.tolls[removed.step]
        toll.documents += documents
        toll.bytes += size
        toll.reasons[removed.reason] = toll.reasons.get(removed.reason, 0) + documents


def merge_tolls(several: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up tolls, each a mapping from step to the fields of a :class:`Toll`."""
    total: dict[str, Any] = {}
    for tolls in several:
        for step, toll in tolls.items():
            sums = total.setdefault(step, asdict(Toll()))
            for key in ("documents", "bytes", "changed"):
                sums[key] += toll[key]
            for reason, count in toll["reasons"].items():
                sums["reasons"][reason] = sums["reasons"].get(reason, 0) + count
    return total


def _steps(plan: Plan) -> Iterator[tuple[str, Step]]:
    """Yield the steps that the plan asks for, cheap ones first where their order does not matter."""
    section, language = plan.section, find_language(plan.language)
    if section.block_domains:
        domains = BlockedDomains(plan.root / name for name in section.block_domains)
        yield "domains", lambda draft: "blocked_domain" if draft.url and domains.blocks(draft.url) else None
    if section.repair:
        yield "repair", _repair
    if section.language is not None:
        yield "language", _language_step(plan, section.language)
    if section.lines:
        yield "lines", lambda draft: _drop_boilerplate(draft, language)
    if section.quality is not None:
        yield from _quality_steps(quality_of(section.quality, language), language)
    if section.block_words:
        words = BlockedWords(plan.root / name for name in section.block_words)
        yield "words", lambda draft: "blocked_word" if words.blocks(draft.page) else None
    if section.mask:
        yield "mask", lambda draft: _mask(draft, section.mask)


def _language_step(plan: Plan, section: Identification) -> Step:
    keep = section.keep or plan.language.split("-")
    identifier = Identifier(keep, plan.root / section.model if section.model else None)

    def step(draft: Draft) -> str | None:
        return None if identifier.probability(draft.text) >= section.at_least else "other_language"

    return step


def _quality_steps(limits: Quality, language: Language) -> Iterator[tuple[str, Step]]:
    stop_words = language.stop_words
    yield "gopher", lambda draft: gopher_flaw(draft.page, limits, stop_words)
    yield "fineweb", lambda draft: fineweb_flaw(draft.page, limits)
    yield "repetition", lambda draft: repetition_flaw(draft.page, limits)
    yield "prose", lambda draft: prose_flaw(draft.page, limits, stop_words)


def _repair(draft: Draft) -> str | None:
    draft.text = repair(draft.text)
    return None if draft.text.strip() else "empty"


def _drop_boilerplate(draft: Draft, language: Language) -> str | None:
    rest = without_boilerplate(draft.text, language)
    if not rest:
        return "boilerplate"
    draft.text = rest
    return None


def _mask(draft: Draft, kinds: Sequence[Mask]) -> None:
    draft.text = mask(draft.text, kinds)
