"""The ``training`` section: budget, batches, optimizer, schedule, precision, checkpoints, layout."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from tokka.recipe.section import Section
from tokka.recipe.sizes import Length, Tokens


class Optimizer(Section):
    """AdamW. Biases, norms and (for no architecture here) other vectors are not decayed.

    Defaults are those of Poro 34B and Poro 2: betas 0.9/0.95, weight decay 0.1, clipping at 1.0.
    """

    lr: PositiveFloat = Field(description="Peak learning rate.")
    betas: tuple[float, float] = (0.9, 0.95)
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    clip: PositiveFloat | None = Field(1.0, description="Largest global gradient norm; null for none.")


class Schedule(Section):
    """The learning rate over tokens: a linear warm-up, then one of four shapes."""

    shape: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    warmup: Tokens | Literal[0] = Field(0, description="Tokens of linear warm-up from zero.")
    min_lr: NonNegativeFloat = Field(0.0, description="Learning rate at the end of the decay.")
    decay: Tokens | None = Field(
        None,
        description="Tokens of decay: for `wsd` the last so many (required); "
        "else the decay ends there instead of with the budget.",
    )

    @model_validator(mode="after")
    def _wsd_has_a_decay(self) -> Self:
        if self.shape == "wsd" and self.decay is None:
            raise ValueError("`shape: wsd` needs `decay`, the tokens of its last part")
        return self


class Layout(Section):
    """How ranks are arranged; their product is the number of ranks."""

    data: PositiveInt = 1
    tensor: PositiveInt = 1
    pipeline: PositiveInt = 1
    context: PositiveInt = 1

    @property
    def ranks(self) -> int:
        return self.data * self.tensor * self.pipeline * self.context


class Checkpoints(Section):
    """When training state is saved, and which saves are kept and published."""

    every: Tokens | None = Field(None, description="Tokens between checkpoints; default: as `revisions`.")
    minutes: PositiveFloat | None = Field(None, description="Also save when this much time has passed.")
    keep: PositiveInt = Field(2, description="How many of the last checkpoints stay.")
    revisions: Tokens | None = Field(
        None, description="Tokens between published revisions; default: a tenth of the budget."
    )


class Guard(Section):
    """What happens when a step goes wrong."""

    max_bad_steps: PositiveInt = Field(
        5, description="So many non-finite (or spiking) steps in a row are skipped; then the run stops."
    )
    spike: PositiveFloat | None = Field(
        None,
        gt=1,
        description="Skip a step whose gradient norm exceeds this multiple of the running median.",
    )


class Training(Section):
    """Pretraining, or continued pretraining where ``model.base`` is given."""

    tokens: Tokens | None = Field(
        None, description="The budget; may be left out where the mixture determines it."
    )
    sequence_length: Length
    batch_tokens: Tokens = Field(description="Tokens of one optimizer step; a multiple of sequence_length.")
    micro_batch: PositiveInt = Field(1, description="Sequences of one forward and backward pass, per rank.")
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    precision: Literal["bf16", "fp32"] = "bf16"
    within_document: bool = Field(False, description="Confine attention to the document.")
    activation_checkpointing: Literal["none", "full"] = "none"
    compile: bool | Literal["auto"] = Field("auto", description="`auto`: where it pays (on a GPU).")
    layout: Layout = Layout()
    checkpoints: Checkpoints = Checkpoints()
    guard: Guard = Guard()

    @property
    def batch_sequences(self) -> int:
        return self.batch_tokens // self.sequence_length

    @property
    def accumulation(self) -> int:
        """Micro batches of one step, per data rank."""
        return self.batch_sequences // (self.micro_batch * self.layout.data)

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_tokens % self.sequence_length:
            below = self.batch_tokens // self.sequence_length * self.sequence_length
            raise ValueError(
                f"`batch_tokens` {self.batch_tokens} is not a multiple of `sequence_length` "
                f"{self.sequence_length}; the nearest are {below} and {below + self.sequence_length}"
            )
        per_pass = self.micro_batch * self.layout.data
        if self.batch_sequences % per_pass:
            raise ValueError(
                f"a batch of {self.batch_sequences} sequences does not divide into micro batches of "
                f"{self.micro_batch} on {self.layout.data} data ranks; make `batch_tokens` a multiple of "
                f"{per_pass * self.sequence_length}"
            )
        return self
