"""Log-likelihoods of token sequences, exact and in batches of equal length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokka.models.model import LanguageModel
from tokka.workspace.progress import Progress

BATCH_TOKENS = 8192
"""Tokens of one forward pass, padding included."""

_ROWS_AT_ONCE = 256
"""Positions whose logits are held at once."""


@dataclass(frozen=True)
class Window:
    """Tokens of which the last ``scored`` are targets, each predicted from all tokens before it.

    Attributes:
        tokens: int64 [length + 1]: the inputs, and the last target.
        scored: how many tokens at the end are targets, 1 to length.
    """

    tokens: NDArray[np.int64]
    scored: int


class Likelihood(NamedTuple):
    """What a model makes of a window's targets.

    Attributes:
        log: natural logarithm of their joint probability.
        greedy: whether each of them was the most likely token.
    """

    log: float
    greedy: bool


@torch.inference_mode()
def likelihoods(
    model: LanguageModel,
    windows: Sequence[Window],
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> list[Likelihood]:
    """Return the likelihood of each of ``windows``, in their order.

    Windows with the same inputs (the choices of a question that differ in their last token) share one row
    of a batch. Rows are padded on the right, where no scored token can see the padding. The softmax is fp32,
    sums are fp64; so neither the batch nor its order decides a result, beyond the rounding of products.

    Args:
        model: computes on the device and in the dtype of its parameters.
        windows: of any lengths.
        batch_tokens: at most so many tokens go through the model at once, but always one row.
        progress: advanced by the windows' scored tokens.
    """
    log, greedy = np.empty(len(windows)), np.empty(len(windows), dtype=np.bool_)
    for rows in _batches(windows, batch_tokens):
        members = [index for row in rows for index in row]
        log[members], greedy[members] = _score(model, [[windows[index] for index in row] for row in rows])
        if progress is not None:
            progress.advance(sum(windows[index].scored for index in members))
    return [Likelihood(*each) for each in zip(log.tolist(), greedy.tolist(), strict=True)]


def _batches(windows: Sequence[Window], batch_tokens: int) -> list[list[list[int]]]:
    """Return batches of rows of window indices; the windows of a row have the same inputs.

    The longest rows come first, so that a batch too large for the memory fails at once.
    """
    rows: dict[bytes, list[int]] = {}
    for index, window in enumerate(windows):
        rows.setdefault(window.tokens[:-1].tobytes(), []).append(index)
    batches: list[list[list[int]]] = []
    room = 0
    for row in sorted(rows.values(), key=lambda row: -len(windows[row[0]].tokens)):
        if room == 0:
            batches.append([])
            room = max(1, batch_tokens // (len(windows[row[0]].tokens) - 1))
        batches[-1].append(row)
        room -= 1
    return batches


def _score(model: LanguageModel, rows: list[list[Window]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return log-likelihood and greediness of the windows of ``rows``, one after the other."""
    device = next(model.parameters()).device
    windows = [window for row in rows for window in row]
    scored = np.array([window.scored for window in windows])
    row_of = np.repeat(np.repeat(np.arange(len(rows)), [len(row) for row in rows]), scored)
    position = np.concatenate([np.arange(len(w.tokens) - 1 - w.scored, len(w.tokens) - 1) for w in windows])
    targets = np.concatenate([window.tokens[-window.scored :] for window in windows])

    inputs = np.zeros((len(rows), len(rows[0][0].tokens) - 1), dtype=np.int64)
    for row, sharing in enumerate(rows):
        inputs[row, : len(sharing[0].tokens) - 1] = sharing[0].tokens[:-1]
    hidden = model.hidden(torch.from_numpy(inputs).to(device))
    hidden = hidden[torch.from_numpy(row_of).to(device), torch.from_numpy(position).to(device)]
    log, best = _target_log_probabilities(model, hidden, torch.from_numpy(targets).to(device))

    begins = np.cumsum(scored) - scored
    return np.add.reduceat(log, begins), np.logical_and.reduceat(best, begins)


def _target_log_probabilities(
    model: LanguageModel, hidden: Tensor, targets: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the log probability of each of ``targets`` [n] after ``hidden`` [n, d_model]; was it the best?

    The logits are made, reduced in place and dropped a few rows at a time: passes over memory in cache, where
    a log-softmax over all of them would write and read the largest tensor of the whole computation.
    """
    log, best = [], []
    for some, expected in zip(
        hidden.split(_ROWS_AT_ONCE), targets[:, None].split(_ROWS_AT_ONCE), strict=True
    ):
        logits = model.unembed(some).float()
        chosen = logits.gather(-1, expected)
        highest = logits.amax(-1, keepdim=True)
        total = logits.sub_(highest).exp_().sum(-1, keepdim=True)
        log.append(chosen - highest - total.log())
        best.append(chosen == highest)
    return torch.cat(log)[:, 0].double().cpu().numpy(), torch.cat(best)[:, 0].cpu().numpy()
