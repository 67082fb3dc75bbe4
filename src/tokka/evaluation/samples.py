"""What a model writes when it goes on from a prompt."""

from collections.abc import Collection, Sequence
from typing import Any

from tokka.models.generate import generate_batch
from tokka.models.model import LanguageModel
from tokka.tokenizer.load import LoadedTokenizer

SAMPLING: dict[str, Any] = {"max_tokens": 60, "temperature": 0.8, "top_p": 0.95, "seed": 0}
"""How a continuation is drawn; the greedy one differs in its temperature, zero."""


def write_samples(
    model: LanguageModel,
    tokenizer: LoadedTokenizer,
    prompts: Sequence[str],
    *,
    first: int,
    stop_ids: Collection[int],
) -> list[dict[str, Any]]:
    """Continue each of ``prompts``, as the beginning of a document, until the model ends it.

    Args:
        model: computes on the device and in the dtype of its parameters.
        tokenizer: of the model.
        prompts: they may spell special tokens.
        first: id of the token that stands before every document.
        stop_ids: tokens that end a document.

    Returns:
        For each prompt the ``prompt``, its ``greedy`` continuation and a ``sampled`` one.
    """
    if not prompts:
        return []
    ids = [[first, *tokenizer.encode(prompt, tokenizer.specials)] for prompt in prompts]
    written = {
        kind: generate_batch(model, ids, **(SAMPLING | changed), stop_ids=stop_ids)
        for kind, changed in (("greedy", {"temperature": 0.0}), ("sampled", {}))
    }
    return [
        {"prompt": prompt} | {kind: tokenizer.decode(answers[place]) for kind, answers in written.items()}
        for place, prompt in enumerate(prompts)
    ]
