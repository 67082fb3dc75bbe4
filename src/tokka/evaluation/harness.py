"""tokka's models inside lm-evaluation-harness; needs the extra ``eval``."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows

from tokka.evaluation.beginning import Beginning
from tokka.evaluation.likelihood import BATCH_TOKENS, Likelihood, Window, likelihoods
from tokka.models.generate import generate_batch
from tokka.models.model import LanguageModel
from tokka.tokenizer.load import LoadedTokenizer
from tokka.workspace.progress import Progress, progress

_SAMPLING = ("temperature", "top_p", "top_k")


class HarnessModel(TemplateLM):
    """Scores and continues the harness's requests, as its own Hugging Face model does.

    Context and continuation are told apart as there (:class:`TemplateLM` holds it): white space at the end
    of the context goes to the continuation, and the continuation's tokens are those of both together after as
    many as the context has alone. What is too long loses tokens on its left. One thing differs: a token that
    the tokenizer adds before every text is context, never scored, in rolling log-likelihoods too.

    Args:
        model: computes on the device and in the dtype of its parameters.
        tokenizer: of the model.
        beginning: what stands before a document.
        stop_ids: tokens that end one.
        sequence_length: tokens that the model sees at a time.
        batch_tokens: tokens of one forward pass.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: LoadedTokenizer,
        *,
        beginning: Beginning,
        stop_ids: Collection[int],
        sequence_length: int,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        super().__init__()
        self._model, self._tokens, self._beginning = model, tokenizer, beginning
        self._stop_ids, self._specials = stop_ids, frozenset(tokenizer.specials.values())
        self._length, self._batch_tokens = sequence_length, batch_tokens

    @property
    def eot_token_id(self) -> int | None:
        return self._tokens.eos_id

    @property
    def prefix_token_id(self) -> int:
        return self._beginning.token

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Return the tokens of ``string``, after the one that the tokenizer adds unless it is there."""
        tokens, first = self._tokens.encode(string, self._tokens.specials), self._beginning.token
        added = self._beginning.added and add_special_tokens is not False and tokens[:1] != [first]
        return [first, *tokens] if added else tokens

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each continuation after its context, and whether it is greedy."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Return the log-likelihood of whole texts, long ones in windows that follow upon each other."""
        texts = self._tokens.encode_batch([request.args[0] for request in requests], self._tokens.specials)
        pieces: list[Window] = []
        owners: list[int] = []
        for owner, tokens in enumerate(texts):
            for inputs, targets in get_rolling_token_windows(
                tokens.tolist(), self.prefix_token_id, max_seq_len=self._length, context_len=1
            ):
                pieces.append(Window(np.array([*inputs, targets[-1]]), scored=len(targets)))
                owners.append(owner)
        scores = [likelihood.log for likelihood in self._score(pieces)]
        return [float(total) for total in np.bincount(owners, weights=scores, minlength=len(texts))]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Continue every context until a stop string, the end token or the most tokens it may have."""
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items())), []).append(index)
        answers: dict[int, str] = {}
        with progress("generating answers", len(requests), "answers") as shown:
            for group in groups.values():
                how = _Generation.of(requests[group[0]].args[1])
                contexts = {index: self._context(requests[index].args[0], how.most) for index in group}
                answers |= self._answer(contexts, how, shown)
        return [answers[index] for index in range(len(requests))]

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        pieces = []
        for (_, continuation), before, after in requests:
            if not 0 < len(after) <= self._length:
                raise ValueError(
                    f"the continuation {continuation[:40]!r} has {len(after)} tokens of its own after its "
                    f"context; 1 to {self._length} can be scored"
                )
            tokens = np.array((before + after)[-(self._length + 1) :])
            pieces.append(Window(tokens, scored=len(after)))
        return [(likelihood.log, likelihood.greedy) for likelihood in self._score(pieces)]

    def _score(self, pieces: Sequence[Window]) -> list[Likelihood]:
        with progress("scoring answers", sum(piece.scored for piece in pieces), "tokens") as shown:
            return likelihoods(self._model, pieces, batch_tokens=self._batch_tokens, progress=shown)

    def _context(self, text: str, most: int) -> list[int]:
        """Return the tokens of a context, cut on the left so that ``most`` more have room after it."""
        room = self._length - most
        if room < 1:
            raise ValueError(
                f"answers of {most} tokens leave no room for a question in {self._length}; "
                f"state a smaller generation_kwargs.max_gen_toks in the task"
            )
        return self.tok_encode(text)[-room:] or [self.prefix_token_id]

    def _answer(
        self, contexts: Mapping[int, list[int]], how: "_Generation", shown: Progress
    ) -> dict[int, str]:
        """Continue ``contexts``, the longest first, in batches of like length."""
        answers: dict[int, str] = {}
        order = sorted(contexts, key=lambda index: -len(contexts[index]))
        while len(answers) < len(order):
            begin = len(answers)
            rows = max(1, self._batch_tokens // (len(contexts[order[begin]]) + how.most))
            batch = order[begin : begin + rows]
            written = generate_batch(
                self._model,
                [contexts[index] for index in batch],
                max_tokens=how.most,
                seed=begin,
                stop_ids=self._stop_ids,
                **how.sampling,
            )
            for index, tokens in zip(batch, written, strict=True):
                text = self._tokens.decode([token for token in tokens if token not in self._specials])
                answers[index] = postprocess_generated_text(text, how.until, None)
            shown.advance(len(batch))
        return answers


@dataclass(frozen=True)
class _Generation:
    """How a task wants its answers.

    Attributes:
        most: tokens of an answer at most.
        until: strings that end it.
        sampling: arguments of :func:`generate_batch`.
    """

    most: int
    until: list[str]
    sampling: dict[str, Any]

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Self:
        """Read a task's ``generation_kwargs``; raises ValueError for what tokka does not do."""
        settings = dict(normalize_gen_kwargs(dict(stated)))
        most, until, sampled = (settings.pop(key) for key in ("max_gen_toks", "until", "do_sample"))
        sampling = {key: settings.pop(key) for key in _SAMPLING if key in settings}
        if settings:
            raise ValueError(f"generation_kwargs {', '.join(sorted(settings))} are not supported")
        return cls(most, until, {"temperature": 1.0} | sampling if sampled else {"temperature": 0.0})
