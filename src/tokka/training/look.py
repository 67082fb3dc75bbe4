"""A look at any model, not only at one that a recipe continues."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokka.data.probe import make_probe
from tokka.models.identity import Identity
from tokka.models.spec import spec_for
from tokka.models.stored import StoredWeights
from tokka.tokenizer.load import load_tokenizer
from tokka.training.base import BaseCheck, check_base, targets_for


def describe_model(folder: Path, tokenizer: Path) -> dict[str, str]:
    """Return what the model in ``folder`` is, by name, for people.

    Raises:
        OSError, ValueError: the folder holds no whole model that is known here, or no tokenizer.
    """
    stored, loaded = StoredWeights(folder), load_tokenizer(tokenizer)
    config, identity = stored.config, Identity.of(stored)
    stated = config.model_dump(exclude={"architecture", "base", "init_std"}, exclude_none=True)
    elements = sum(math.prod(shape) for shape in stored.shapes.values())
    return {
        "model": f"{spec_for(config).architecture}, {elements:,} parameters in {len(stored.shapes)} tensors",
        "dtype": str(identity.as_json()["dtype"]),
        "config": ", ".join(f"{key} {value}" for key, value in stated.items()),
        "tokenizer": f"{loaded.size} entries",
        "convention": loaded.convention,
    }


def look_at_model(
    folder: Path, tokenizer: Path, texts: Mapping[str, Sequence[str]], *, length: int
) -> BaseCheck:
    """Return what :func:`tokka.training.base.check_base` finds, with documents of ``texts`` by source."""
    config = StoredWeights(folder).config
    targets = targets_for(spec_for(config).count_parameters(config))
    probe = make_probe(texts, texts, load_tokenizer(tokenizer), length=length, rows=targets // length)
    return check_base(folder, config, probe)[0]
