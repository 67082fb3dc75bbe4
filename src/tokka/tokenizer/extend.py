"""A tokenizer that learns a new language: merges of its own tokens, ranked after all that it has.

As byte-level BPE carries out merges by rank, a text is first cut as the tokenizer always cut it, and only
then joined further; so the old tokens keep their ids and meaning, and every new one stands for a row of them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokka.recipe.tokenizer import Extension
from tokka.tokenizer.load import LoadedTokenizer, load_tokenizer, save_copy
from tokka.tokenizer.merges import NewMerge, Word, learn_merges
from tokka.tokenizer.names import BASE, PIECES
from tokka.tokenizer.sample import Sample, draw_samples
from tokka.tokenizer.seal import seal
from tokka.workspace.files import write_json, write_text
from tokka.workspace.progress import say


def extend_tokenizer(
    section: Extension, base: LoadedTokenizer, texts: Mapping[str, Iterable[str]], folder: Path
) -> dict[str, Any]:
    """Add merges learned from new languages to ``base``, and save it as a Hugging Face fast tokenizer.

    Merges that the other languages would use are left out, so that these are encoded as before; see
    :func:`~tokka.tokenizer.merges.learn_merges`. New ids follow the largest that ``base`` has.

    Args:
        section: the recipe's ``tokenizer.extend``.
        base: a byte-level BPE tokenizer.
        texts: language -> texts, each read once.
        folder: gets the tokenizer's files, ``tokenizer_extension.json``, and in ``base/`` the old tokenizer.

    Returns:
        Facts: ``vocab_size``, ``base_vocab_size``, ``asked_added``, ``added``, ``special_tokens``, and by
        language what the ``sample`` was.

    Raises:
        ValueError: ``base`` is no byte-level BPE tokenizer, or a language has no texts.
    """
    config = _read_config(base)
    is_new = {language: language in section.languages for language in texts}
    new, kept = (
        draw_samples(
            {key: texts[key] for key in texts if is_new[key] is wanted}, section.sample_bytes, "uniform"
        )
        for wanted in (True, False)
    )
    merges = learn_merges(
        _words(base, config, new.values(), kept.values()),
        config["model"]["vocab"],
        section.added,
        kept_weight=_bytes(new.values()) / max(1, _bytes(kept.values())),
    )
    save_copy(base, folder)
    save_copy(base, folder / BASE)
    write_text(
        folder / "tokenizer.json", json.dumps(_extended(config, merges, base.size), ensure_ascii=False)
    )
    write_json(folder / PIECES, {"first": base.size, "pieces": [merge.pieces for merge in merges]})
    if len(merges) < section.added:
        say(f"the sample has no more pairs to merge: {len(merges)} tokens were added, not {section.added}")
    extended = load_tokenizer(folder)
    return {
        "vocab_size": extended.size,
        "base_vocab_size": base.size,
        "asked_added": section.added,
        "added": len(merges),
        "special_tokens": len(extended.specials),
        "sample": {language: sample.facts() for language, sample in (new | kept).items()},
    }


def _read_config(base: LoadedTokenizer) -> dict[str, Any]:
    """Return the content of ``tokenizer.json``; refuse what is no byte-level BPE."""
    config: dict[str, Any] = json.loads((base.folder / "tokenizer.json").read_bytes())
    model, cut = config["model"], json.dumps(config.get("pre_tokenizer"))
    affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    if model.get("type", "BPE") != "BPE" or '"ByteLevel"' not in cut or affixes:
        raise ValueError(
            f"the tokenizer in {base.folder} is no byte-level BPE, as those of GPT-2, BLOOM and Llama 3 are, "
            f"so it cannot be extended; use it as it is (remove tokenizer.extend), or train one"
        )
    return config


def _words(
    base: LoadedTokenizer, config: dict[str, Any], new: Iterable[Sample], kept: Iterable[Sample]
) -> list[Word]:
    """Return the distinct words of the samples, as the tokenizer cuts texts, with their tokens and counts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(seal(config, base.specials)))
    counts, others = _count(tokenizer, new), _count(tokenizer, kept)
    return [
        Word(tuple(token.id for token in tokenizer.model.tokenize(word)), counts[word], others[word])
        for word in sorted(counts.keys() | others.keys())
    ]


def _bytes(samples: Iterable[Sample]) -> int:
    return sum(sample.facts()["bytes"] for sample in samples)


def _count(tokenizer: Any, samples: Iterable[Sample]) -> Counter[str]:
    words: Counter[str] = Counter()
    for sample in samples:
        for text in sample.texts():
            spelled = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
            words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(spelled))
    return words


def _extended(config: dict[str, Any], merges: list[NewMerge], first: int) -> dict[str, Any]:
    """Return ``tokenizer.json`` with the new merges, and their tokens under the ids from ``first`` on."""
    model = config["model"]
    # An added token outside the vocabulary would get the id after its last one, which is now another.
    added = {token["content"]: token["id"] for token in config.get("added_tokens") or []}
    fresh = {merge.left + merge.right: first + index for index, merge in enumerate(merges)}
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    more = [f"{merge.left} {merge.right}" if as_text else [merge.left, merge.right] for merge in merges]
    model = model | {"vocab": added | model["vocab"] | fresh, "merges": [*model["merges"], *more]}
    return config | {"model": model}
