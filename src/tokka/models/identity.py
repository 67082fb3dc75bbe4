"""What a Hugging Face folder states beside its weights, so that a model leaves as it came."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from tokka.models.hugging_face import SpecialTokens
from tokka.models.spec import Config, config_from_hf, spec_for
from tokka.models.stored import StoredWeights, read_object

_GENERATION = "generation_config.json"


@dataclass(frozen=True)
class Identity:
    """Configuration, special tokens and dtypes in the Hugging Face spelling.

    Attributes:
        config: content of ``config.json``, keys that tokka does not know among them.
        generation_config: content of ``generation_config.json``.
        dtype: of the stored parameters.
        other_dtypes: of those parameters that have another.
    """

    config: Mapping[str, Any]
    generation_config: Mapping[str, Any]
    dtype: torch.dtype
    other_dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)

    @classmethod
    def new(cls, config: Config, special_tokens: SpecialTokens, dtype: torch.dtype) -> Self:
        """Return that of a model made here."""
        return cls(
            config=spec_for(config).to_hf_config(config, special_tokens, dtype),
            generation_config={"_from_model_config": True, **special_tokens.to_hf()},
            dtype=dtype,
        )

    @classmethod
    def of(cls, stored: StoredWeights) -> Self:
        """Return that of a folder, key by key."""
        if (stored.folder / _GENERATION).is_file():
            generation = read_object(stored.folder / _GENERATION)
        else:
            ids = ("bos_token_id", "eos_token_id", "pad_token_id")
            generation = {"_from_model_config": True} | {key: stored.hf_config.get(key) for key in ids}
        others = {name: dtype for name, dtype in stored.dtypes.items() if dtype != stored.dtype}
        return cls(stored.hf_config, generation, stored.dtype, others)

    def dtype_of(self, name: str) -> torch.dtype:
        """Return the dtype in which the parameter ``name`` is stored."""
        return self.other_dtypes.get(name, self.dtype)

    def changed_to(self, config: Config) -> Self:
        """Return this with what ``config`` states otherwise, and no other key touched.

        The standard deviation of initial weights that are long gone is not taken over.
        """
        spec, stated = spec_for(config), config_from_hf(self.config)
        wanted = config.model_copy(update={"init_std": stated.init_std, "base": None})
        before, after = (spec.to_hf_config(each, SpecialTokens(), self.dtype) for each in (stated, wanted))
        changed = {key: value for key, value in after.items() if value != before[key]}
        return type(self)({**self.config, **changed}, self.generation_config, self.dtype, self.other_dtypes)

    def as_json(self) -> dict[str, Any]:
        """Return this as JSON content."""
        return {
            "config": dict(self.config),
            "generation_config": dict(self.generation_config),
            "dtype": _name(self.dtype),
            "other_dtypes": {name: _name(dtype) for name, dtype in self.other_dtypes.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return what :meth:`as_json` was made of."""
        return cls(
            content["config"],
            content["generation_config"],
            getattr(torch, content["dtype"]),
            {name: getattr(torch, dtype) for name, dtype in content["other_dtypes"].items()},
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
