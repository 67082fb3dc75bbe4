"""A recipe whose mixture was edited while its run was stopped: what was trained stays, the rest is new."""

from pathlib import Path
from typing import Any, NamedTuple

from tokka.recipe.load import Problem, RecipeError, load_recipe
from tokka.recipe.mixture import MixtureChange
from tokka.recipe.recipe import Recipe
from tokka.recipe.sizes import format_size
from tokka.recipe.sources import Share
from tokka.workspace.files import read_json
from tokka.workspace.manifest import Manifest
from tokka.workspace.progress import say


class _Span(NamedTuple):
    """A part of the training: the step it begins after, its shares, the budgets that its beginning cut."""

    begin: int
    mixture: dict[str, Share]
    cut: dict[str, int] | None = None


def followed(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe that the run in ``folder`` follows when it is given ``recipe``.

    That is ``recipe``, unless a part of the run is trained: then what it says of the tokens to come is
    followed, and the tokens before keep the mixture that they were trained with. Where the two differ, the
    new mixture becomes a change at the token count of the newest checkpoint, and sources that it drops stay
    among the sources. Where more than the mixture changed, and where nothing is to come, ``recipe`` is
    another training, as without this.

    Raises:
        RecipeError: ``recipe`` states another mixture for tokens that are trained already.
    """
    before = _followed_before(folder)
    if before is None or not _is_same_training(before, recipe, folder):
        return recipe
    is_finished = Manifest.read(folder / "training") is not None
    steps, batch = _steps_trained(folder), recipe.training.batch_tokens
    old, new = _spans(before), _spans(recipe)
    if not steps or old == new:
        return recipe
    if _to_come(old, steps) == _to_come(new, steps):
        _check_past(old, new, steps, recipe)
        return _with_spans(recipe, before, old, folder)
    if is_finished:
        return recipe
    _check_past(old, new, steps, recipe)
    at_a_change = [span for span in old if span.begin == steps]
    cut = at_a_change[0].cut if at_a_change else _budgets_at(steps * batch, folder)
    first, *later = _to_come(new, steps)
    spans = [*(span for span in old if span.begin < steps), first._replace(cut=cut), *later]
    say(
        f"{recipe.name}: the mixture was edited after {format_size(steps * batch)} tokens were trained; they "
        f"stay as they are, and the rest follows the new mixture, as {folder / 'recipe.yaml'} states. To "
        f"train all of it anew, give another --out"
    )
    return _with_spans(recipe, before, spans, folder)


def _followed_before(folder: Path) -> Recipe | None:
    """Return the recipe that the run followed so far; None where there is none that can be read."""
    try:
        return load_recipe(folder / "recipe.yaml") if (folder / "recipe.yaml").is_file() else None
    except RecipeError:
        return None


def _steps_trained(folder: Path) -> int:
    """Return the steps that are trained and saved; of a finished training, all but the last."""
    finished = Manifest.read(folder / "training")
    if finished is not None:
        return int(finished.facts["steps"]) - 1
    saved = (folder / "training" / "checkpoints").glob("step-*")
    numbers = (path.name.removeprefix("step-").removesuffix("-milestone") for path in saved)
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _is_same_training(before: Recipe, now: Recipe, folder: Path) -> bool:
    """Tell whether a training under one recipe goes on under the other, but for the mixture."""
    solved = _solved(folder)
    names = before.sources.keys() & now.sources.keys()
    return (
        "parts" in solved
        and now.training.tokens in (None, solved["tokens"], before.training.tokens)
        and _decides(before) == _decides(now)
        and all(_text_of(before, name) == _text_of(now, name) for name in names)
    )


def _decides(recipe: Recipe) -> Any:
    """Return what decides a training beside its mixture, its budget and the texts."""
    from tokka.pipeline.stages.model import training_stage

    model = training_stage(recipe).decided_by
    tokenizer = recipe.tokenizer.model_dump(mode="json")
    return [model | {"training": model["training"] | {"tokens": None}}, tokenizer]


def _text_of(recipe: Recipe, source: str) -> Any:
    """Return what decides the documents of a source."""
    from tokka.pipeline.stages.corpus import corpus_stage

    return corpus_stage(recipe, source).decided_by


def _spans(recipe: Recipe) -> list[_Span]:
    batch = recipe.training.batch_tokens
    changes = [_Span(round(each.at / batch), each.mixture, each.cut) for each in recipe.mixture_changes]
    return [_Span(0, recipe.mixture), *changes]


def _to_come(spans: list[_Span], steps: int) -> list[_Span]:
    """Return what the spans say of the training after ``steps``."""
    running = max((span for span in spans if span.begin <= steps), key=lambda span: span.begin)
    later = [span for span in spans if span.begin > steps]
    return [_Span(steps, running.mixture), *(span._replace(cut=None) for span in later)]


def _check_past(old: list[_Span], new: list[_Span], steps: int, recipe: Recipe) -> None:
    """Refuse a recipe that states a past which the run has not had.

    The mixture that is stated for now may have been edited, and what was edited before left its cuts: of a
    span that is over the shares must be those that were trained last in it.
    """
    batch = recipe.training.batch_tokens
    begins = {span.begin for span in old}
    for number, span in enumerate(new):
        if span.begin >= steps:
            break
        end = new[number + 1].begin if number + 1 < len(new) else None
        trained = [each for each in old if span.begin <= each.begin and (end is None or each.begin < end)]
        is_over = end is not None and end <= steps
        key = "mixture" if number == 0 else f"mixture_changes.{number - 1}"
        if span.begin not in begins:
            what = f"begins at {format_size(span.begin * batch)} tokens, and {format_size(steps * batch)} "
            what += f"are trained without it; let it begin there: `at: {steps * batch}`"
        elif is_over and (trained[-1].mixture != span.mixture or any(e.cut is None for e in trained[1:])):
            what = (
                f"differs from what its tokens, up to {format_size((end or 0) * batch)}, were trained with; "
            )
            what += "set it back to go on: only what is to come can change"
        else:
            continue
        problem = Problem(key, f"{what}. Or train anew: give another --out")
        raise RecipeError(recipe.name, [problem])


def _budgets_at(tokens: int, folder: Path) -> dict[str, int]:
    """Return the budgets of the part of the training that is going on after ``tokens``."""
    parts = [part for part in _solved(folder)["parts"] if part["begin"] < tokens]
    return dict(parts[-1]["budgets"])


def _solved(folder: Path) -> dict[str, Any]:
    path = folder / "mixture" / "mixture.json"
    return read_json(path) if path.is_file() else {}


def _with_spans(recipe: Recipe, before: Recipe, spans: list[_Span], folder: Path) -> Recipe:
    """Return ``recipe`` with the mixtures ``spans``, the sources of ``before``, and the budget as it was."""
    first, *others = spans
    batch = recipe.training.batch_tokens
    known = {round(each.at / batch): each.at for each in (*before.mixture_changes, *recipe.mixture_changes)}
    changes = [
        MixtureChange(at=known.get(span.begin, span.begin * batch), mixture=span.mixture, cut=span.cut)
        for span in others
    ]
    mixed = {name for span in spans for name in span.mixture}
    content = recipe.model_dump(mode="json") | {
        "mixture": first.mixture,
        "mixture_changes": changes,
        "sources": {
            name: source for name, source in (before.sources | recipe.sources).items() if name in mixed
        },
    }
    if spans != _spans(before):  # the new mixture need not make the budget that followed from the old one
        content["training"]["tokens"] = before.training.tokens or _solved(folder)["tokens"]
    else:
        content["training"]["tokens"] = before.training.tokens
    return Recipe.model_validate(content)
