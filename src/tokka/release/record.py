"""All that a finished or half-finished run states of itself: manifests, evaluations, revisions, recipe."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tokka.data.mixture import wanted_until
from tokka.evaluation.against import BASE, MERGED, Against, against_base
from tokka.evaluation.compare import read_result, read_results
from tokka.evaluation.locate import revisions_in
from tokka.recipe.load import load_recipe
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import parse_size
from tokka.workspace.files import read_json
from tokka.workspace.manifest import Manifest


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run. A figure that no stage stated is absent here too; nothing is made up.

    Attributes:
        folder: of the run.
        recipe: what it follows.
        manifests: of the finished stages, by name, in the order of the line.
        results: of the evaluation of each revision, by rising tokens, as
            :func:`tokka.evaluation.measure.measure` describes them.
        base, merged: results of the model that was continued, and of its merge with the last revision; None
            where there is none.
        fertility: rows of ``fertility/fertility.json`` of the run's tokenizer, each the fields of a
            :class:`tokka.tokenizer.fertility.Fertility`; none where it was not measured.
        fertility_before: the same of the tokenizer that it extends; none of another.
    """

    folder: Path
    recipe: Recipe
    manifests: dict[str, Manifest]
    results: list[dict[str, Any]] = field(default_factory=list)
    base: dict[str, Any] | None = None
    merged: dict[str, Any] | None = None
    fertility: list[dict[str, Any]] = field(default_factory=list)
    fertility_before: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, recipe: Recipe | None = None) -> Self:
        """Read the run in ``folder``, with its own ``recipe.yaml`` where no ``recipe`` is given.

        Raises:
            ValueError: ``folder`` is no run, or a manifest in it cannot be read.
        """
        if recipe is None:
            if not (folder / "recipe.yaml").is_file():
                raise ValueError(f"no run in {folder}: it has no recipe.yaml; `tokka run RECIPE` makes a run")
            recipe = load_recipe(folder / "recipe.yaml")
        found = {stage: Manifest.read(folder / stage) for stage in _stages(recipe)}
        path = folder / "fertility" / "fertility.json"
        measured = read_json(path) if path.is_file() else []
        return cls(
            folder=folder,
            recipe=recipe,
            manifests={stage: manifest for stage, manifest in found.items() if manifest is not None},
            results=read_results(folder / "evaluation"),
            base=read_result(folder / "evaluation" / f"{BASE}.json"),
            merged=read_result(folder / "evaluation" / f"{MERGED}.json"),
            fertility=[row for row in measured if row["tokenizer"] == recipe.name],
            fertility_before=[row for row in measured if row["tokenizer"] != recipe.name],
        )

    def facts(self, stage: str) -> dict[str, Any]:
        """Return the facts of ``stage``; empty while it is unfinished."""
        return self.manifests[stage].facts if stage in self.manifests else {}

    @property
    def missing(self) -> list[str]:
        """The stages that are not finished, in the order of the line."""
        return [stage for stage in _stages(self.recipe) if stage not in self.manifests]

    @cached_property
    def revisions(self) -> list[str]:
        """Names of the revisions that training has written, by rising tokens."""
        folder = self.folder / "training" / "revisions"
        found = revisions_in(folder) if folder.is_dir() else []
        return [path.name for path in found if (path / "config.json").is_file()]

    def weights_of(self, revision: str) -> Path:
        """Return the folder of the weights of ``revision``, which may be the merge."""
        return self.folder / ("merge" if revision == MERGED else "training/revisions") / revision

    @property
    def published(self) -> list[str]:
        """All revisions that a release has: those of training, and the merge where the recipe asks for it."""
        return [*self.revisions, *([MERGED] if self.recipe.release.merge else [])]

    def results_until(self, revision: str) -> list[dict[str, Any]]:
        """Return the results of ``revision`` and those before it; of the merge, those of all revisions."""
        if revision == MERGED:
            return self.results
        return [result for result in self.results if result["tokens"] <= parse_size(revision)]

    def against(self, revision: str) -> Against | None:
        """Return ``revision`` against its base; the last one together with the merge of the two."""
        results = self.results_until(revision)
        if self.base is None or not results:
            return None
        is_last = len(results) == len(self.results)
        return against_base(results[-1], self.base, *([self.merged] if self.merged and is_last else []))

    @property
    def realised(self) -> list[dict[str, Any]]:
        """What each revision was trained on: ``name``, ``tokens`` and ``sources``, and what was ``wanted``.

        Of a source its ``tokens``, ``percent``, ``epochs`` and ``skipped_tokens``; wanted are tokens. Empty
        while training is unfinished.
        """
        parts = self.facts("mixture").get("parts", [])
        return [
            {key: revision[key] for key in ("name", "tokens", "sources")}
            | {"wanted": wanted_until(parts, revision["tokens"])}
            for revision in self.facts("training").get("revisions", [])
            if parts and revision.get("sources")
        ]


def _stages(recipe: Recipe) -> list[str]:
    corpora = [f"corpus/{name}" for name in recipe.sources]
    if recipe.decontaminates:
        corpora = ["benchmarks", *corpora, *(f"contamination/{name}" for name in recipe.sources)]
    if recipe.takes_documents_out:
        corpora += [f"documents/{name}" for name in recipe.sources]
    tokens = [f"tokens/{name}" for name in recipe.sources]
    vocabulary = ["vocabulary"] if recipe.tokenizer.extend else []
    base = ["base"] if recipe.model.base else []
    merge = ["merge"] if recipe.release.merge else []
    before = [*corpora, "tokenizer", "fertility", *tokens, "mixture", *vocabulary, *base]
    return [*before, "training", *merge, "evaluation", "release"]
