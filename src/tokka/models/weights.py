"""A whole model from a Hugging Face folder, on one device.

What is spread over ranks is read and written by :mod:`tokka.parallel.weights`: ``load_into`` fills parameters
of any layout from a folder, ``save_hf`` writes them to one.
"""

from pathlib import Path

import torch
from torch import nn

from tokka.models.model import LanguageModel
from tokka.models.spec import Config, spec_for
from tokka.models.stored import StoredWeights


def load_hf(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> tuple[LanguageModel, Config]:
    """Return the model in a Hugging Face folder, and its configuration.

    Tensors are read, converted and placed one at a time, so the model and one tensor are the most that is
    held. Only safetensors are read.

    Args:
        folder: holds ``config.json`` and the weights.
        dtype: of the parameters; None keeps what is stored.
        device: of the parameters.

    Raises:
        FileNotFoundError, WeightsError, ValueError: as :class:`~tokka.models.stored.StoredWeights` does.
    """
    stored = StoredWeights(folder)
    model = spec_for(stored.config).build_meta(stored.config)
    for name, tensor in stored.read(dict.fromkeys(stored.shapes, ())):
        owner, _, leaf = name.rpartition(".")
        value = tensor.to(device=device, dtype=dtype or tensor.dtype, copy=True)
        setattr(model.get_submodule(owner), leaf, nn.Parameter(value))
    return model, stored.config
