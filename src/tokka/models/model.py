"""What every architecture is to the rest of tokka: embed, run blocks, normalise, unembed."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from tokka.models.cache import Cache, KeyValueCache


class LanguageModel(nn.Module, ABC):
    """A decoder-only language model in five parts, so that a pipeline stage can run any stretch of them.

    ``context`` holds what all blocks of one pass share (positions, masks); it depends on the tokens'
    number and documents alone, so each pipeline stage makes its own. An architecture defines the parts;
    this class defines the order. Module and parameter names are those of the Hugging Face layout.
    """

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleDict:
        """The blocks under the names "0", "1", ...; a stage that holds only some keeps their names."""

    @abstractmethod
    def embed(self, tokens: Tensor) -> Tensor:
        """Embed ``tokens`` [batch, length] int64 as [batch, length, d_model]."""

    @abstractmethod
    def context(self, length: int, like: Tensor, documents: Tensor | None, cache: Cache | None) -> Any:
        """Return what every block needs to know of a pass over ``length`` tokens.

        The length is that of the tokens: sequence parallelism leaves a rank with less of the hidden states.
        ``like`` gives dtype and device.
        """

    @abstractmethod
    def normalise(self, hidden: Tensor) -> Tensor:
        """Apply the last norm to the output of the last block."""

    @abstractmethod
    def unembed(self, hidden: Tensor) -> Tensor:
        """Return the logits [..., vocab_size] of normalised hidden states [..., d_model]."""

    @property
    @abstractmethod
    def output_weight(self) -> Tensor:
        """The matrix [vocab_size, d_model] of :meth:`unembed`, for a loss that never holds all logits."""

    def hidden(
        self, tokens: Tensor, *, documents: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return normalised hidden states [batch, length, d_model], of which :meth:`unembed` makes logits."""
        hidden = self.embed(tokens)
        context = self.context(tokens.shape[1], hidden, documents, cache)
        for index, block in enumerate(self.blocks.values()):
            hidden = block(hidden, context, cache.layers[index] if cache is not None else None)
        return self.normalise(hidden)

    def forward(
        self, tokens: Tensor, *, documents: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return the logits [batch, length, vocab_size] of the token after each of ``tokens``.

        Args:
            tokens: [batch, length] int64.
            documents: [batch, length] int32, the document each token belongs to, one run of equal numbers a
                document. Attention stays within a document and positions start from zero in each. Without
                it a sequence is one document.
            cache: keys and values of the tokens before these; those of ``tokens`` are appended to it.
        """
        return self.unembed(self.hidden(tokens, documents=documents, cache=cache))
