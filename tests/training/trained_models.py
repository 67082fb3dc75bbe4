"""Small models that were really trained, on a language that only the right model can know."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tokka.data.probe import Probe
from tokka.models.hugging_face import SpecialTokens
from tokka.models.identity import Identity
from tokka.models.model import LanguageModel
from tokka.models.spec import Config, spec_for
from tokka.parallel.weights import save_hf
from tokka.recipe.model import Bloom, Llama, RopeScaling

VOCABULARY, LENGTH = 48, 96
LAGS = (1, 5, 17, 40)
"""A token follows, most of the time, from the one so many places before it, by a permutation of its own."""

LLAMA = Llama(
    architecture="llama",
    n_layers=3,
    n_heads=4,
    n_kv_heads=4,
    d_model=64,
    d_ffn=128,
    vocab_size=VOCABULARY,
    max_sequence_length=256,
    rope_base=10_000.0,
    rope_scaling=RopeScaling(factor=8, original_length=16),
)
BLOOM = Bloom(architecture="bloom", n_layers=2, n_heads=4, d_model=64, vocab_size=VOCABULARY)


def sentences(rows: int, seed: int) -> NDArray[np.int64]:
    """Return int64 [rows, LENGTH + 1]; two hidden lags decide each row, told by its first two tokens."""
    rng, permutations = np.random.default_rng(seed), np.random.default_rng(0)
    follows = np.stack([permutations.permutation(VOCABULARY) for _ in LAGS])
    tokens = rng.integers(VOCABULARY, size=(rows, LENGTH + 1))
    which = rng.integers(len(LAGS), size=(rows, LENGTH + 1))
    for at in range(1, LENGTH + 1):
        which[:, at] = np.where(rng.random(rows) < 0.8, tokens[:, at - 1] % len(LAGS), which[:, at])
        lag = np.array(LAGS)[which[:, at]]
        source = tokens[np.arange(rows), np.maximum(at - lag, 0)]
        known = (lag <= at) & (rng.random(rows) < 0.9)
        tokens[:, at] = np.where(known, follows[which[:, at], source], tokens[:, at])
    return tokens


@cache
def trained(config: Config, steps: int = 200) -> LanguageModel:
    """Return a model of ``config`` that learned to speak in :func:`sentences`; about ten seconds."""
    spec = spec_for(config)
    model = spec.build(config)
    spec.initialise(model, config, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        tokens = torch.from_numpy(sentences(16, seed=1000 + step))
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


def probe(rows: int = 48) -> Probe:
    """Return sentences that :func:`trained` never saw."""
    tokens = sentences(rows, seed=7)
    counts = np.bincount(sentences(512, seed=8).flatten(), minlength=VOCABULARY) + 1
    unigram = float(-np.log(counts / counts.sum())[tokens[:, 1:]].mean())
    return Probe(tokens, ("sentences",) * rows, {"sentences": unigram})


def written(config: Config, folder: Path, model: LanguageModel | None = None) -> Path:
    """Write ``model``, else a trained one, as a Hugging Face folder."""
    parameters = dict((model or trained(config)).named_parameters())
    identity = Identity.new(config, SpecialTokens(bos=1, eos=2), torch.float32)
    save_hf(parameters, config, folder, identity=identity)
    return folder
