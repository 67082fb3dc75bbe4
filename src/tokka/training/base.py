"""A model that is to be continued is looked at first: is it whole, is it what it says, was it trained?"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokka.data.probe import Probe
from tokka.models.identity import Identity
from tokka.models.readings import losses_of, other_readings, stated_reading
from tokka.models.reference import reference_losses
from tokka.models.spec import Config, spec_for
from tokka.models.stored import StoredWeights
from tokka.recipe.model import Llama

_TOLERANCE = 1e-3
"""Nats by which two fp32 computations of a token's loss may differ on average; real ones differ by 1e-5."""

_SIGNIFICANT = 5.0
"""Standard errors by which another reading must be better."""

_WORTH_TELLING = 0.01
"""Share of what the model knows of a text by which another reading must be better as well."""

_BLOCK = 32
"""Neighbouring targets, whose losses depend on one another, that count as one observation."""

_UNTRAINED = 0.95
"""Share of the loss of knowing nothing from which on a model counts as untrained."""

_LLAMA_3_VOCABULARY, _LLAMA_3_LENGTH = 128_256, 8192


@dataclass(frozen=True)
class Text:
    """What a model makes of the text of one source: means in nats.

    Attributes:
        loss: of the model.
        unigram_loss: of knowing only how frequent each token is in that source.
    """

    loss: float
    unigram_loss: float

    @property
    def known(self) -> float:
        """By how much the model is better than frequencies."""
        return self.unigram_loss - self.loss


@dataclass(frozen=True)
class Other:
    """What another way to read the folder makes of the text that the model knows best.

    Attributes:
        loss: mean in nats.
        errors: by how many standard errors that is worse than as stated (negative: better).
        everywhere: the same where it is least in favour of this reading, of all sources that are known.
    """

    loss: float
    errors: float
    everywhere: float


@dataclass(frozen=True)
class BaseCheck:
    """What was found of a base model before anything is trained. Losses are means in nats.

    Attributes:
        loss: of the model as tokka computes it, in fp32.
        reference_loss: as transformers computes it.
        difference: of the two, averaged over the single targets' absolute differences.
        uniform_loss: of knowing nothing.
        texts: what it makes of each source.
        best: the source that it knows best.
        readings: by name, what other ways to read the folder make of that source.
        row_losses: ``loss`` of each sequence of the probe.
        targets: how many losses were averaged.
        parameters: of the model.
        problems: why it should not be continued, each with what is likely wrong.
    """

    loss: float
    reference_loss: float
    difference: float
    uniform_loss: float
    texts: Mapping[str, Text]
    best: str
    readings: Mapping[str, Other]
    row_losses: tuple[float, ...]
    targets: int
    parameters: int
    problems: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what was found, for people."""
        texts = (f"{name} {text.loss:.3f} ({text.unigram_loss:.3f})" for name, text in self.texts.items())
        lines = [
            f"loss {self.loss:.4f} on {self.targets} tokens, {self.reference_loss:.4f} in transformers",
            f"by source, and what frequencies alone give: {', '.join(texts)}",
        ]
        if self.readings:
            name, other = min(self.readings.items(), key=lambda item: item[1].loss)
            stated = self.texts[self.best].loss
            lines.append(
                f"the best of {len(self.readings)} other ways to read it is {name}: {other.loss:.4f} on "
                f"{self.best}, as stated {stated:.4f}"
            )
        return lines + [f"warning: {problem}" for problem in self.problems]

    def complaint(self, base: str) -> str:
        """Return what to say where the run is not started."""
        problems = "\n".join(f"  - {problem}" for problem in self.problems)
        return (
            f"model.base {base} should not be continued, and nothing was trained:\n{problems}\n"
            f"If it is meant to be so, write `training: {{guard: {{base: warn}}}}`"
        )


def check_base(folder: Path, config: Config, probe: Probe) -> tuple[BaseCheck, Identity]:
    """Look at the model in ``folder`` before it is continued; return what was found, and its identity.

    Weights pass through memory a layer at a time, once for tokka and once for transformers, so that a model
    of any size can be looked at on any machine.

    Args:
        folder: in the Hugging Face layout.
        config: as the recipe states it; rows of a larger vocabulary are not looked at.
        probe: text in the folder's own vocabulary.

    Raises:
        FileNotFoundError, WeightsError, ValueError: as :class:`~tokka.models.stored.StoredWeights` does.
    """
    stored = StoredWeights(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokens = torch.from_numpy(probe.tokens)
    config = config.model_copy(update={"vocab_size": stored.config.vocab_size, "base": None})
    readings = [stated_reading(config), *other_readings(stored.config)]
    stated, *others = losses_of(stored, readings, tokens, device)
    reference = reference_losses(folder, tokens, device).cpu()
    of = {name: [row for row, source in enumerate(probe.sources) if source == name] for name in probe.unigram}
    texts = {name: Text(float(stated[rows].mean()), probe.unigram[name]) for name, rows in of.items()}
    best = max(texts, key=lambda name: texts[name].known)
    known = [name for name in texts if texts[name].known > 0] or [best]
    found = BaseCheck(
        loss=float(stated.mean()),
        reference_loss=float(reference.mean()),
        difference=float((stated - reference).abs().mean()),
        uniform_loss=math.log(stored.config.vocab_size),
        texts=texts,
        best=best,
        readings={
            reading.name: Other(
                loss=float(losses[of[best]].mean()),
                errors=_standard_errors((losses - stated)[of[best]]),
                everywhere=max(_standard_errors((losses - stated)[of[name]]) for name in known),
            )
            for reading, losses in zip(readings[1:], others, strict=True)
        },
        row_losses=tuple(stated.mean(1).tolist()),
        targets=stated.numel(),
        parameters=spec_for(stored.config).count_parameters(stored.config),
    )
    problems = (*_problems(found), *_known_faults(stored.config))
    return dataclasses.replace(found, problems=problems), Identity.of(stored)


def targets_for(parameters: int) -> int:
    """Return how many targets to look at: fewer of a model whose every token costs more."""
    affordable = (1e14 if torch.cuda.is_available() else 1e13) / parameters
    return int(min(8192, max(512, affordable)))


class BaseModelError(ValueError):
    """A base model that should not be continued."""


def _standard_errors(differences: Tensor) -> float:
    """Return the mean of ``differences`` [rows, length] in standard errors of that mean."""
    flat = differences.double().flatten()
    blocks = flat[: len(flat) // _BLOCK * _BLOCK].view(-1, _BLOCK).mean(1)
    return float(blocks.mean() / (blocks.std() / math.sqrt(len(blocks))).clamp(min=1e-12))


def _problems(found: BaseCheck) -> Iterator[str]:
    if not found.difference <= _TOLERANCE:  # also where it is not a number
        yield (
            f"its loss is {found.loss:.4f} as tokka computes it and {found.reference_loss:.4f} in "
            f"transformers, on the same {found.targets} tokens (a token differs by {found.difference:.4f} on "
            f"average; rounding makes 0.00001). The model section of the recipe states another model than "
            f"config.json, or its weights are taken for others: compare them key by key, rope_base and "
            f"rope_scaling first"
        )
    text = found.texts[found.best]
    level = min(text.unigram_loss, _UNTRAINED * found.uniform_loss)
    if not text.loss < level:
        yield (
            f"its loss of {text.loss:.4f} is that of an untrained model: on {found.best}, which it knows "
            f"best, guessing each token by how frequent it is gives {text.unigram_loss:.4f}, and knowing "
            f"nothing {found.uniform_loss:.4f}. Its weights are random or mixed up (layers in a wrong order, "
            f"queries and keys exchanged), its tokenizer is another's, or no source is of a language that it "
            f"was trained on"
        )
    worth = text.loss - _WORTH_TELLING * text.known if text.known > 0 else level
    for name, other in found.readings.items():
        if other.errors < -_SIGNIFICANT and other.everywhere < -1 and other.loss < worth:
            yield (
                f"read {name} its loss on {found.best} is {other.loss:.4f}, as stated {text.loss:.4f} "
                f"({-other.errors:.0f} standard errors apart): it was trained that way, and the folder was "
                f"damaged when it was made. Correct it, or fetch it again from whoever trained it"
            )


def _known_faults(config: Config) -> Iterator[str]:
    """Find what no short text shows, where the family of the model is known."""
    if (
        isinstance(config, Llama)
        and config.vocab_size == _LLAMA_3_VOCABULARY
        and config.max_sequence_length > _LLAMA_3_LENGTH
        and config.rope_scaling is None
    ):
        yield (
            f"its config.json states sequences of {config.max_sequence_length} tokens and no rope_scaling; "
            f"Llama 3.1 and 3.2, whose vocabulary this is, go beyond {_LLAMA_3_LENGTH} only by scaling "
            f"(rope_type llama3, factor 8 or 32). Take config.json from the original"
        )


def facts_of(check: BaseCheck, identity: Identity) -> dict[str, Any]:
    """Return the check as JSON content."""
    return {**dataclasses.asdict(check), "dtype": identity.as_json()["dtype"]}
