"""A tokenizer in which no text can spell a special token."""

import secrets
from collections.abc import Collection
from typing import Any


def seal(config: dict[str, Any], special_tokens: Collection[str]) -> dict[str, Any]:
    """Return a ``tokenizer.json`` that reads ``special_tokens`` in a text as the plain characters they are.

    Their entries keep their ids under a random name, in the vocabulary and among the added tokens, and merges
    that would spell one are left out (a tokenizer trained on texts with ``<unk>`` in them has such merges).
    Truncation, padding and the tokens that a post-processor adds are switched off as well.
    """
    secret = secrets.token_hex(16)
    renamed = {token: f"{secret}{token}" for token in special_tokens}
    model = dict(config["model"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {renamed.get(token, token): id for token, id in model["vocab"].items()}
    else:  # Unigram: the place in the list is the id
        model["vocab"] = [[renamed.get(token, token), score] for token, score in model["vocab"]]
    if model.get("unk_token") in renamed:
        model["unk_token"] = renamed[model["unk_token"]]
    if "merges" in model:
        prefix = model.get("continuing_subword_prefix") or ""
        model["merges"] = [
            [left, right]
            for left, right in map(_sides, model["merges"])
            if renamed.keys().isdisjoint({left, right, left + right.removeprefix(prefix)})
        ]
    added = [
        token | {"content": renamed.get(token["content"], token["content"])}
        for token in config.get("added_tokens") or []
    ]
    off = dict.fromkeys(("truncation", "padding", "post_processor"))
    return config | off | {"model": model, "added_tokens": added}


def _sides(merge: str | list[str]) -> tuple[str, str]:
    """Return both sides of a merge, which ``tokenizer.json`` writes as a pair or, formerly, as one string."""
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right
