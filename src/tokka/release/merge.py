"""Merging models with their tokenizers: a model that was continued, and what it was continued from."""

from pathlib import Path
from typing import Any

from tokka.evaluation.locate import Located
from tokka.models.merge import Method, merge_weights
from tokka.tokenizer.load import load_tokenizer, save_copy
from tokka.workspace.files import whole_folder


def merge(first: Located, second: Located, folder: Path, *, weight: float, method: Method) -> dict[str, Any]:
    """Write the merge of two models as a Hugging Face folder with tokenizer; see docs/continued.md.

    Args:
        first, second: models of the same shape and tokenizer.
        folder: replaced as a whole, or left as it was.
        weight: of ``second``, in [0, 1].
        method: ``linear`` or ``slerp``; see :func:`tokka.models.merge.merged`.

    Returns:
        Facts: ``method``, ``weight`` and how many ``parameters`` there are.

    Raises:
        ValueError: the models or their tokenizers are not the same, or the weight is out of range.
        OSError: a model is not whole, or the folder cannot be written.
    """
    one, other = load_tokenizer(first.tokenizer), load_tokenizer(second.tokenizer)
    if one.digest != other.digest:
        raise ValueError(
            f"{first.model} and {second.model} cannot be merged: their tokenizers ({one.folder} and "
            f"{other.folder}) differ, so the rows of their embeddings mean different tokens"
        )
    with whole_folder(folder) as aside:
        parameters = merge_weights(first.model, second.model, aside, weight=weight, method=method)
        save_copy(other, aside)
    return {"method": method, "weight": weight, "parameters": parameters}
