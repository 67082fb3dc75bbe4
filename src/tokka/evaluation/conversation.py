"""A model that writes: it continues a text, or keeps up a conversation."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch

from tokka.evaluation.beginning import beginning_of
from tokka.evaluation.convention import Message, convention_of, stop_ids_of
from tokka.evaluation.locate import Located
from tokka.evaluation.stream import stream_text, until
from tokka.models.cache import KeyValueCache
from tokka.models.generate import generate
from tokka.models.weights import load_hf
from tokka.tokenizer.load import load_tokenizer

MAX_LENGTH = 8192
"""A model that could read more, or like BLOOM states no length, is given so many tokens at most."""


class TooLongError(ValueError):
    """A text leaves the model no room to go on."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; the fields are those of :func:`tokka.models.generate.generate`."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int


class Writer:
    """A model and its tokenizer, and the keys and values of the tokens that it saw last.

    A text that begins like the last one is computed only from where they part.
    """

    def __init__(self, located: Located) -> None:
        """Load the model, in the dtype in which it is stored, to the GPU if there is one.

        Raises OSError or ValueError, with the file, for a folder that holds no whole model.
        """
        self.located = located
        self.tokenizer = load_tokenizer(str(located.tokenizer))
        self.model, config = load_hf(located.model, device="cuda" if torch.cuda.is_available() else "cpu")
        self.length = min(getattr(config, "max_sequence_length", MAX_LENGTH), MAX_LENGTH)
        if self.tokenizer.size > config.vocab_size:
            raise ValueError(
                f"the tokenizer in {located.tokenizer} has {self.tokenizer.size} tokens, the model in "
                f"{located.model} {config.vocab_size}; they do not belong together"
            )
        self._cache = KeyValueCache(config.n_layers, self.length)
        self._seen: list[int] = []

    def write(self, prompt: Sequence[int], sampling: Sampling, stop_ids: Collection[int]) -> Iterator[int]:
        """Return the tokens that continue ``prompt``, each as soon as it is known.

        Raises:
            TooLongError: the prompt is as long as the model can read.
        """
        if len(prompt) >= self.length:
            raise TooLongError(f"the text has {len(prompt)} tokens, the model reads {self.length} at most")
        return self._continue(prompt, sampling, stop_ids)

    def continue_text(self, text: str, sampling: Sampling, stops: Sequence[str] = ()) -> Iterator[str]:
        """Yield what follows ``text``, as the beginning of a document, up to its end or one of ``stops``."""
        specials = self.tokenizer.specials  # whoever writes a prompt may mean them
        prompt = [beginning_of(self.tokenizer).token, *self.tokenizer.encode(text, specials)]
        tokens = self.write(prompt, sampling, stop_ids_of(self.tokenizer, self.located.model))
        return until(stream_text(tokens, self.tokenizer.decode), stops)

    def _continue(
        self, prompt: Sequence[int], sampling: Sampling, stop_ids: Collection[int]
    ) -> Iterator[int]:
        self._cache.truncate(min(_common(self._seen, prompt), len(prompt) - 1))
        self._seen = [*prompt]
        sampling = replace(sampling, max_tokens=min(sampling.max_tokens, self.length - len(prompt)))
        for token in generate(self.model, prompt, **asdict(sampling), stop_ids=stop_ids, cache=self._cache):
            self._seen.append(token)
            yield token


class Conversation:
    """Turns between a user and a model.

    Attributes:
        note: what the user should know of how this model converses.
        messages: all turns so far.
    """

    def __init__(self, writer: Writer, system: str | None = None) -> None:
        self._writer = writer
        self._convention = convention_of(writer.tokenizer, writer.located.model)
        self._system = [Message("system", system)] if system else []
        self.note = self._convention.note
        self.reset()

    def reset(self) -> None:
        """Forget all turns but the system's."""
        self.messages = list(self._system)

    def say(self, text: str, sampling: Sampling) -> Iterator[str]:
        """Yield the answer to ``text``; one that is broken off stays in the conversation as far as it came.

        Each turn draws from its own seed: that of ``sampling`` plus the number of messages before it.

        Raises:
            TooLongError: the conversation is longer than the model can read; this turn is left out of it.
        """
        asked = [*self.messages, Message("user", text)]
        turn = replace(sampling, seed=sampling.seed + len(asked))
        tokens = self._writer.write(self._convention.render(asked), turn, self._convention.stop_ids)
        written: list[int] = []
        answer = Message("assistant", "")
        self.messages = [*asked, answer]
        for piece in stream_text(_noted(tokens, written), self._writer.tokenizer.decode):
            answer = Message("assistant", answer.text + piece, tuple(written))
            self.messages = [*asked, answer]
            yield piece


def _noted(tokens: Iterable[int], written: list[int]) -> Iterator[int]:
    for token in tokens:
        written.append(token)
        yield token


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    pairs = zip(first, second, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
