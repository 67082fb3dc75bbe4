"""What the items of tasks say, so that they can be looked for in documents."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tokka.data.dedup.benchmark import RUN, Item
from tokka.evaluation.tasks import LoadedTask, load_tasks
from tokka.recipe.evaluation import Task

_SHARED_BY = 20
"""A text that more items than this, and more than a twentieth of all, have in common is an instruction."""


def items_of(tasks: Sequence[Task], root: Path) -> list[Item]:
    """Return the items of all tasks; of one that several groups have in common, once.

    Args:
        tasks: names, and where they are found.
        root: where relative task folders begin.

    Raises:
        ImportError: lm-evaluation-harness is not installed.
        ValueError: the items of a task cannot be had, so documents cannot be searched for them.
    """
    items: dict[tuple[str, int], Item] = {}
    for loaded in load_tasks(tasks, root):
        try:
            items |= {(item.task, item.item): item for item in task_items(loaded)}
        except ValueError as error:
            raise ValueError(
                f"evaluation.tasks: the items of {loaded.task.name} cannot be had ({error}), so documents "
                f"cannot be searched for them; make its data available or set evaluation.decontaminate: false"
            ) from error
    return list(items.values())


def task_items(loaded: LoadedTask) -> Iterator[Item]:
    """Yield every item that a task, or each member of a group, is scored on, whatever the task's ``limit``.

    A document holds an item if it holds its prompt, without examples; or a field that the prompt is made of;
    or a target long enough to tell by itself. A short question is looked for together with its answer too.

    Raises ValueError where the task could not be loaded, or its items cannot be read.
    """
    if loaded.error:
        raise ValueError(loaded.error)
    for name, task in loaded.loaded["tasks"].items():
        try:
            parts = [_Parts.of(task, document) for document in task.eval_docs]
        except Exception as error:  # a task's own functions may fail in any way there is
            raise ValueError(f"{name}: {error!r}") from error
        holders = Counter(text for each in parts for text in {*each.prompts, *each.fields})
        most = max(_SHARED_BY, len(parts) // 20)
        instructions = {text for text, count in holders.items() if count > most}
        for number, each in enumerate(parts):
            yield Item(name, number, tuple(dict.fromkeys(each.telling(instructions))))


class _Parts(NamedTuple):
    """The texts of an item: before the answer, in the fields that these are made of, and the answer."""

    prompts: list[str]
    fields: list[str]
    target: str

    @classmethod
    def of(cls, task: Any, document: Mapping[str, Any]) -> Self:
        prompts, fields = _prompts(task, document), list(_strings(document))
        used = [field for field in fields if any(field in prompt for prompt in prompts)]
        return cls(prompts, used or fields, _target(task, document))

    def telling(self, instructions: Collection[str]) -> Iterator[str]:
        """Yield the texts each of which gives the item away."""
        prompts, fields = (
            [text for text in texts if text.strip() and text not in instructions]
            for texts in (self.prompts, self.fields)
        )
        long = [field for field in fields if len(field) >= RUN]
        for text in (*prompts, *(long or [max(fields, key=len)] if fields else [])):
            yield text
            if len(text) < RUN and self.target:
                yield f"{text} {self.target}"
        if len(self.target) >= RUN or not prompts:
            yield self.target


def _prompts(task: Any, document: Mapping[str, Any]) -> list[str]:
    """Return the text before the answer; where the choices are texts before one answer, all of them."""
    prompt = task.doc_to_text(document)
    if isinstance(prompt, str):
        return [prompt]
    return [choice for choice in task.doc_to_choice(document) if isinstance(choice, str)]


def _target(task: Any, document: Mapping[str, Any]) -> str:
    """Return the right answer, the first where there are several; empty where it is no text."""
    target = task.doc_to_target(document)
    if isinstance(target, list):
        target = target[0] if target else ""
    if isinstance(target, int) and task.config.doc_to_choice is not None:
        choices = task.doc_to_choice(document)
        target = choices[target] if 0 <= target < len(choices) else ""
    return target if isinstance(target, str) else ""


def _strings(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts among the fields of an item, those of nested fields too, but none of a list."""
    for value in document.values():
        if isinstance(value, str) and value.strip():
            yield value.strip()
        elif isinstance(value, Mapping):
            yield from _strings(value)
