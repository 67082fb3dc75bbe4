"""What a model has before the first token of a document."""

from typing import NamedTuple

from tokka.tokenizer.load import LoadedTokenizer


class Beginning(NamedTuple):
    """The token before every document.

    Attributes:
        token: its id.
        added: whether the tokenizer itself puts it before a text.
    """

    token: int
    added: bool


def beginning_of(tokenizer: LoadedTokenizer) -> Beginning:
    """Return what a document begins with: the token that the tokenizer itself adds, as Llama 3's does.

    Most tokenizers, those that tokka trains among them, add none; then it is the end token, which closed the
    document before it in training. A beginning token that exists but was never trained on is thus never used.

    Raises ValueError for a tokenizer without an end token.
    """
    if tokenizer.begin_id is not None:
        return Beginning(tokenizer.begin_id, added=True)
    if tokenizer.eos_id is None:
        raise ValueError(f"the tokenizer in {tokenizer.folder} names no end token (eos_token)")
    return Beginning(tokenizer.eos_id, added=False)
