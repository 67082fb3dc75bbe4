"""How a conversation is written down for a model, and what ends its answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tokka.evaluation.beginning import beginning_of
from tokka.tokenizer.load import LoadedTokenizer
from tokka.workspace.files import read_json

USER, ASSISTANT = "<|user|>", "<|assistant|>"
"""The roles in Poro's translation documents: ``<|user|>Translate into Finnish: {en} <|assistant|>{fi}``."""


class Message(NamedTuple):
    """One turn.

    Attributes:
        role: ``system``, ``user`` or ``assistant``.
        text: what was said.
        tokens: of an answer, as the model wrote them; its text alone might be cut into others.
    """

    role: str
    text: str
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class Convention:
    """What a model expects.

    Attributes:
        note: what a user should know of it.
        render: the messages so far as tokens, up to where the model's answer begins.
        stop_ids: tokens that end an answer.
    """

    note: str
    render: Callable[[Sequence[Message]], list[int]]
    stop_ids: frozenset[int]


def convention_of(tokenizer: LoadedTokenizer, model: Path) -> Convention:
    """Return the convention of the model in the folder ``model``: a chat template, Poro's, or none."""
    stops = stop_ids_of(tokenizer, model)
    if _has_template(tokenizer.folder):
        return Convention("answers by its chat template", _by_template(tokenizer), stops)
    if {USER, ASSISTANT} <= tokenizer.specials.keys():
        note = f"has no chat template; it is asked as in Poro's documents: {USER}question {ASSISTANT}answer"
        roles = {tokenizer.specials[role] for role in (USER, ASSISTANT)}
        return Convention(note, _by_roles(tokenizer), stops | roles)
    note = "is a base model without a form of conversation: it goes on with your text instead of answering it"
    return Convention(note, _by_continuation(tokenizer), stops)


def stop_ids_of(tokenizer: LoadedTokenizer, model: Path) -> frozenset[int]:
    """Return the tokens that end a text: the tokenizer's, and those of the model's configuration."""
    stops = {tokenizer.eos_id}
    for name in ("config.json", "generation_config.json"):
        if (model / name).is_file():
            stated = read_json(model / name).get("eos_token_id")
            stops |= set(stated) if isinstance(stated, list) else {stated}
    return frozenset(stop for stop in stops if stop is not None)


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(read_json(settings).get("chat_template"))


def _by_template(tokenizer: LoadedTokenizer) -> Callable[[Sequence[Message]], list[int]]:
    """Render by the tokenizer's Jinja template, in the sandbox of transformers: it may come from anyone."""
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    renderer = AutoTokenizer.from_pretrained(str(tokenizer.folder))

    def render(messages: Sequence[Message]) -> list[int]:
        content = [{"role": message.role, "content": message.text} for message in messages]
        try:
            text = str(renderer.apply_chat_template(content, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise ValueError(f"the chat template in {tokenizer.folder} refuses: {error}") from error
        return tokenizer.encode(text, tokenizer.specials)

    return render


def _by_roles(tokenizer: LoadedTokenizer) -> Callable[[Sequence[Message]], list[int]]:
    user, assistant = tokenizer.specials[USER], tokenizer.specials[ASSISTANT]
    first = beginning_of(tokenizer).token

    def render(messages: Sequence[Message]) -> list[int]:
        ids, before = [first, user], ""
        for role, text, tokens in messages:
            if role == "system":  # which has no token of its own: it begins what the user says first
                before = f"{text}\n\n"
            elif role == "user":
                ids += [*tokenizer.encode(f"{before}{text} "), assistant]
                before = ""
            else:
                ids += [*tokens, user]
        return ids

    return render


def _by_continuation(tokenizer: LoadedTokenizer) -> Callable[[Sequence[Message]], list[int]]:
    first = beginning_of(tokenizer).token

    def render(messages: Sequence[Message]) -> list[int]:
        ids, before = [first], ""
        for role, text, tokens in messages:
            if role == "system":
                before = f"{text}\n\n"
            elif role == "user":
                ids += tokenizer.encode(f"{before}{text}")
            else:
                ids += tokens
                before = "\n"
        return ids

    return render
