"""What the items of tasks say, so that they can be looked for in documents."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
            texts = [list(dict.fromkeys(_texts(task, document))) for document in task.eval_docs]
        except Exception as error:  # a task's own functions may fail in any way there is
            raise ValueError(f"{name}: {error!r}") from error
        shared = Counter(text for each in texts for text in each)
        most = max(_SHARED_BY, len(texts) // 20)
        for number, each in enumerate(texts):
            yield Item(name, number, tuple(text for text in each if shared[text] <= most))


def _texts(task: Any, document: Mapping[str, Any]) -> Iterator[str]:
    prompts, target = _prompts(task, document), _target(task, document)
    fields = list(_strings(document))
    used = [field for field in fields if any(field in prompt for prompt in prompts)]
    telling = [field for field in used if len(field) >= RUN] or [max(used or fields, key=len, default="")]
    for text in (*prompts, *telling):
        if text.strip():
            yield text
            if len(text) < RUN and target:
                yield f"{text} {target}"
    if len(target) >= RUN or not any(prompt.strip() for prompt in prompts):
        yield target


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
