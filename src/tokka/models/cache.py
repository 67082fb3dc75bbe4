"""Keys and values of tokens already seen, so that generation computes each token once."""

from typing import Protocol

import torch
from torch import Tensor


class KeysAndValues(Protocol):
    """What one layer attends to beyond the tokens of the pass."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of all tokens of the sequence, given ``keys`` and ``values`` of some."""
        ...


class Cache(Protocol):
    """The rest of the sequence of which a pass computes some tokens."""

    def stretches(self, length: int) -> tuple[int, ...]:
        """Return where in their sequence the ``length`` tokens of this pass stand.

        They are equally long stretches of consecutive tokens; these are the positions at which each begins.
        """
        ...

    def total_length(self, length: int) -> int:
        """Return the number of keys that a pass of ``length`` tokens has."""
        ...

    def append_documents(self, documents: Tensor | None) -> Tensor | None:
        """Return the documents of all tokens of the sequence, given those that the caller has."""
        ...


class LayerCache:
    """The keys and values of one layer; storage for ``capacity`` tokens is taken at the first use."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append ``keys`` and ``values`` [batch, heads, new, width] and return all so far.

        Raises ValueError when the capacity is exceeded.
        """
        batch, heads, new, _ = keys.shape
        end = self.length + new
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens, {end} are needed; make it larger")
        if self._keys is None or self._values is None:
            self._keys = keys.new_empty(batch, heads, self.capacity, keys.shape[-1])
            self._values = values.new_empty(batch, heads, self.capacity, values.shape[-1])
        self._keys[:, :, self.length : end] = keys
        self._values[:, :, self.length : end] = values
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]


class KeyValueCache:
    """The caches of all layers, and the documents of the tokens in them.

    Args:
        n_layers: blocks of the model.
        capacity: the most tokens of a sequence, prompt included.
    """

    def __init__(self, n_layers: int, capacity: int) -> None:
        self.layers = [LayerCache(capacity) for _ in range(n_layers)]
        self._documents: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens of each sequence whose keys and values are held, by all layers."""
        return min(layer.length for layer in self.layers)

    def stretches(self, length: int) -> tuple[int, ...]:
        """Return where the next ``length`` tokens stand: after those that are held."""
        return (self.length,)

    def total_length(self, length: int) -> int:
        """Return how many tokens there are once the next ``length`` are appended."""
        return self.length + length

    def truncate(self, length: int) -> None:
        """Forget all tokens after the first ``length``, and what a pass broken off left in some layers."""
        length = min(length, self.length)
        for layer in self.layers:
            layer.length = length
        if self._documents is not None:
            self._documents = self._documents[:, :length]

    def append_documents(self, documents: Tensor | None) -> Tensor | None:
        """Append ``documents`` [batch, new]; return those of all tokens [batch, all], or None without any.

        Raises ValueError when documents were given for some calls and left out for others.
        """
        if self.length and (documents is None) != (self._documents is None):
            raise ValueError("give `documents` with every call that shares a cache, or with none")
        if documents is not None and self._documents is not None:
            documents = torch.cat((self._documents, documents), dim=1)
        self._documents = documents
        return documents
