"""What the sources of a recipe or of a run hold, and what a budget would make of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tokka.pipeline.folder import Run, noted_run
from tokka.recipe.load import load_recipe
from tokka.workspace.machine import usable_cores
from tokka.workspace.manifest import Manifest

if TYPE_CHECKING:
    from tokka.data.stats import SourceStats, Unit
    from tokka.tokenizer.fertility import Fertility


@dataclass(frozen=True)
class Stats:
    """What was found.

    Attributes:
        sources: what each source holds, by name.
        languages: the language of each source.
        tokens: of each source by the run's own tokenizer, else by the first of those that were named, for
            which it is estimated from the sample; absent where neither is there.
        near_duplicates: documents that deduplication took out of each source as near duplicates; only of a
            run that deduplicates.
        fertility: of the named tokenizers on the sources' samples.
        epochs: how often each source is read when it gives its share of the budget; empty without a budget.
    """

    sources: "dict[str, SourceStats]"
    languages: dict[str, str]
    tokens: dict[str, int]
    near_duplicates: dict[str, int]
    fertility: "list[Fertility]"
    epochs: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return all of it but the samples as JSON content: ``sources``, ``languages``, ``fertility``."""
        sources = {}
        for name, found in self.sources.items():
            content = {key: value for key, value in vars(found).items() if key != "sample"}
            sources[name] = content | {
                "language": self.languages[name],
                "tokens": self.tokens.get(name),
                "near_duplicates": self.near_duplicates.get(name),
                "mean_confidence": found.mean_confidence,
                "epochs": self.epochs.get(name),
            }
        languages: dict[str, Counter[str]] = {}
        for name, language in self.languages.items():
            if name in self.sources:
                amounts = {key: sources[name][key] or 0 for key in ("documents", "bytes", "words", "tokens")}
                languages.setdefault(language, Counter()).update(amounts)
        return {
            "sources": sources,
            "languages": {language: dict(amounts) for language, amounts in languages.items()},
            "fertility": [asdict(row) for row in self.fertility],
        }


def stats(place: Path, *, tokenizers: Sequence[str] = (), budget: int | None = None) -> Stats:
    """Look through the sources of the recipe or the run at ``place``.

    Of a run, what it trains on and what it holds out; of a recipe, what its sources would give, before
    curation and deduplication.

    Args:
        place: a recipe, or the folder of a run whose documents are ready.
        tokenizers: folders or hub ids.
        budget: tokens of a training that takes its shares from the recipe.

    Raises:
        ValueError: there is no such recipe or run, a run's documents are not ready, a tokenizer is not there,
            or the recipe's shares have no solution for the budget.
    """
    from tokka.data.stats import look_through
    from tokka.tokenizer.fertility import fertility
    from tokka.tokenizer.load import load_tokenizer

    is_run = place.is_dir()
    run = noted_run(place) if is_run else Run(load_recipe(place), place.resolve().parent, place)
    recipe = run.recipe
    with TemporaryDirectory() as aside:
        units = list(_shards(run, Path(aside)) if is_run else _inputs(run, Path(aside)))
        size = sum(each.stat().st_size if isinstance(each, Path) else each.size for _, _, each, _ in units)
        found = look_through(units, workers=usable_cores(), total=size or None)
    languages = {name: source.language for name, source in recipe.sources.items()}
    samples = {name: (languages[name], each.sample) for name, each in found.items() if each.words}
    rows = fertility({name: load_tokenizer(name) for name in tokenizers}, samples) if tokenizers else []
    tokens = {row.source: round(found[row.source].bytes / row.bytes_per_token) for row in reversed(rows)}
    tokens |= _counted(run) if is_run else {}
    return Stats(
        sources=found,
        languages=languages,
        tokens=tokens,
        near_duplicates=_near_duplicates(run) if is_run else {},
        fertility=rows,
        epochs=_epochs(run, tokens, budget) if budget else {},
    )


def _shards(run: Run, aside: Path) -> "Iterator[Unit]":
    """Yield the shards of a run's documents."""
    from tokka.data.shards import shard_paths
    from tokka.data.stats import Unit

    number = 0
    for name, source in run.recipe.sources.items():
        run.facts(f"{run.recipe.documents}/{name}")
        for split in ("train", "heldout"):
            for path in shard_paths(run.of(f"{run.recipe.documents}/{name}"), split):
                yield Unit(name, source, path, aside / str(number))
                number += 1


def _inputs(run: Run, aside: Path) -> "Iterator[Unit]":
    """Yield the inputs of a recipe's sources."""
    from tokka.data.sources.files import SourceError
    from tokka.data.sources.read import find_inputs
    from tokka.data.stats import Unit

    number = 0
    for name, source in run.recipe.sources.items():
        try:
            inputs = find_inputs(source, run.root)
        except SourceError as error:
            raise SourceError(f"sources.{name}.{error}") from error
        for one in inputs:
            yield Unit(name, source, one, aside / str(number))
            number += 1


def _counted(run: Run) -> dict[str, int]:
    """Return the tokens of an epoch of each source, as far as the run counted them."""
    manifests = {name: Manifest.read(run.of(f"tokens/{name}")) for name in run.recipe.sources}
    return {name: found.facts["tokens"] for name, found in manifests.items() if found is not None}


def _near_duplicates(run: Run) -> dict[str, int]:
    found = Manifest.read(run.of("duplicates"))
    if found is None:
        return {}
    return {name: each["removed"].get("near_duplicate", 0) for name, each in found.facts["sources"].items()}


def _epochs(run: Run, tokens: dict[str, int], budget: int) -> dict[str, float]:
    """Return how often each source is read when it gives its percentage of ``budget`` tokens."""
    from tokka.data.mixture_table import planned_mixture

    unknown = [name for name in run.recipe.sources if not tokens.get(name)]
    if unknown:
        raise ValueError(
            f"the tokens of {', '.join(unknown)} are not known, so epochs are not; name a --tokenizer to "
            f"estimate them by, or a run that has counted them"
        )
    rows = planned_mixture(run.recipe, tokens).rows
    return {row.source: row.percent / 100 * budget / tokens[row.source] for row in rows}
