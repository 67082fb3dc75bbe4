"""Training a byte-level BPE tokenizer."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer.patterns import byte_alphabet, pre_tokenizer
from tokka.tokenizer.sample import Sample, draw_samples
from tokka.workspace.files import write_json, write_text
from tokka.workspace.progress import say


def train_tokenizer(
    section: TrainedTokenizer, texts: Mapping[str, Iterable[str]], folder: Path
) -> dict[str, Any]:
    """Train a tokenizer on a sample of ``texts`` and save it as a Hugging Face fast tokenizer.

    The special tokens get the ids 0, 1, 2, ..., all 256 bytes follow, so that any text can be encoded, then
    come the merges. There is no normaliser: what is encoded is decoded to the same characters. The same
    texts, in any order within a language, give the same tokenizer.

    Args:
        section: the recipe's ``tokenizer.train``.
        texts: language -> texts, each read once.
        folder: gets ``tokenizer.json``, ``tokenizer_config.json`` and ``special_tokens_map.json``.

    Returns:
        Facts: the ``vocab_size`` it has and the one that was ``asked_vocab_size``, ``pattern``,
        ``special_tokens``, and by language what the ``sample`` was and the languages ``left_out`` of it.

    Raises:
        ValueError: a special token is one of the 256 characters that stand for bytes, or a weight is given
            to a language that has no texts.
    """
    single = [token for token in section.special_tokens if token in byte_alphabet()]
    if single:
        raise ValueError(
            f"tokenizer.train.special_tokens: {single[0]!r} already stands for a byte; use a longer name"
        )
    samples = draw_samples(texts, section.sample_bytes, section.sample)
    tokenizer = _train(section, samples.values())
    _save(tokenizer, section, folder)
    facts = {
        "vocab_size": tokenizer.get_vocab_size(),
        "asked_vocab_size": section.vocab_size,
        "pattern": section.pattern,
        "special_tokens": len(section.special_tokens),
        "sample": {language: sample.facts() for language, sample in samples.items()},
        "left_out": [language for language in texts if language not in samples],
    }
    for line in _remarks(facts):
        say(line)
    return facts


def _train(section: TrainedTokenizer, samples: Iterable[Sample]) -> Any:
    from tokenizers import Tokenizer, decoders, models, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(section.pattern)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=section.vocab_size,
        special_tokens=section.special_tokens,
        initial_alphabet=list(byte_alphabet()),
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(_pieces(samples, section.special_tokens), trainer)
    return tokenizer


def _pieces(samples: Iterable[Sample], special_tokens: list[str]) -> Iterator[list[str]]:
    """Yield the texts, cut where one spells a special token.

    Otherwise a sample with many ``<unk>`` in it would teach the merges to spell the special token itself.
    """
    spelled = re.compile("|".join(map(re.escape, sorted(special_tokens, key=len, reverse=True))) or "(?!)")
    for sample in samples:
        for text in sample.texts():
            yield spelled.split(text)


def _save(tokenizer: Any, section: TrainedTokenizer, folder: Path) -> None:
    stated = {"bos": section.bos, "eos": section.eos, "unk": section.unk, "pad": section.pad}
    roles: dict[str, Any] = {f"{role}_token": token for role, token in stated.items() if token is not None}
    others = [token for token in section.special_tokens if token not in stated.values()]
    if others:
        roles["additional_special_tokens"] = others
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # read by transformers 4 and 5 alike
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",  # so that a batch of prompts ends with its last words
    }
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_json(folder / "special_tokens_map.json", roles)
    write_json(folder / "tokenizer_config.json", config | roles)


def _remarks(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["vocab_size"] < facts["asked_vocab_size"]:
        yield (
            f"the sample has no more pairs to merge: the vocabulary has {facts['vocab_size']} entries, "
            f"not {facts['asked_vocab_size']}; give it more text, or ask for fewer"
        )
    for language, drawn in facts["sample"].items():
        if drawn["ran_out"]:
            yield (
                f"tokenizer sample: {language} has {drawn['of_bytes']} bytes, less than its share of "
                f"{drawn['budget_bytes']}; all of it is used"
            )
    if facts["left_out"]:
        yield f"tokenizer sample: {', '.join(facts['left_out'])} left out, having no weight in `sample`"
