"""The ``training`` section: budget, batches, optimizer, schedule, precision, checkpoints, layout."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from tokka.recipe.section import Count, Section
from tokka.recipe.sizes import Length, Tokens, TokensOrNone

Beta = Annotated[float, Field(ge=0, lt=1)]

Recompute = Literal["none", "selective", "full"]


class Optimizer(Section):
    """AdamW. Biases, norms and (for no architecture here) other vectors are not decayed.

    Defaults are those of Poro 34B and Poro 2: betas 0.9/0.95, weight decay 0.1, clipping at 1.0.
    """

    lr: PositiveFloat = Field(le=1, description="Peak learning rate.")
    betas: tuple[Beta, Beta] = Field((0.9, 0.95), description="Decay of the first and second moments.")
    eps: PositiveFloat = Field(1e-8, description="Added to the root of the second moment.")
    weight_decay: NonNegativeFloat = Field(
        0.1, description="Decoupled decay, times the learning rate, per step."
    )
    clip: PositiveFloat | None = Field(1.0, description="Largest global gradient norm; null for none.")


class Schedule(Section):
    """The learning rate over tokens: a linear warm-up, then one of four shapes."""

    shape: Literal["cosine", "linear", "constant", "wsd"] = Field(
        "cosine", description="How it falls after the warm-up; `wsd` stays, then decays linearly at the end."
    )
    warmup: TokensOrNone = Field(0, description="Tokens of linear warm-up from zero.")
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

    data: Count = Field(1, description="Copies of the model, each with its part of the batch.")
    tensor: Count = Field(1, description="Ranks that share every matrix; divides the heads.")
    pipeline: Count = Field(1, description="Groups of layers, one after the other.")
    context: Count = Field(1, description="Ranks that share every sequence; divides its length.")
    shard: Count | None = Field(
        None,
        description="Ranks over which a copy of weights and optimizer state is sharded; divides `data` times "
        "`context`, its default. `1` is plain replication, the ranks of a node make it hybrid.",
    )
    schedule: Literal["1f1b", "interleaved", "zero_bubble"] = Field(
        "1f1b", description="Order in which pipeline stages take micro batches."
    )
    stages_per_rank: Count = Field(
        1, description="Groups of layers of each pipeline rank, for `interleaved` and `zero_bubble`."
    )

    @property
    def ranks(self) -> int:
        return self.data * self.tensor * self.pipeline * self.context

    @property
    def sharded(self) -> int:
        """Ranks that hold one copy of a parameter together."""
        return self.shard or self.data * self.context

    @property
    def replicas(self) -> int:
        """Copies of a parameter among the ranks of ``data`` and ``context``."""
        return self.data * self.context // self.sharded

    @property
    def stages(self) -> int:
        """Stages of the pipeline."""
        return self.pipeline * self.stages_per_rank

    @model_validator(mode="after")
    def _shard_divides(self) -> Self:
        copies = self.data * self.context
        if self.shard is not None and copies % self.shard:
            raise ValueError(
                f"`shard` {self.shard} does not divide `data` times `context`, {copies}; use one of "
                f"{divisors(copies)}"
            )
        return self

    @model_validator(mode="after")
    def _schedule_has_stages(self) -> Self:
        if self.pipeline == 1 and (self.stages_per_rank > 1 or self.schedule != "1f1b"):
            raise ValueError(
                "`schedule` and `stages_per_rank` are of a pipeline, and `pipeline` is 1; raise it or leave "
                "them out"
            )
        if self.schedule == "1f1b" and self.stages_per_rank > 1:
            raise ValueError(
                f"`schedule: 1f1b` has one stage a rank, not {self.stages_per_rank}; use `interleaved`"
            )
        if self.schedule == "interleaved" and self.stages_per_rank == 1:
            raise ValueError("`schedule: interleaved` needs `stages_per_rank` of 2 or more; else use `1f1b`")
        return self


class Checkpoints(Section):
    """When training state is saved, and which saves are kept and published."""

    every: Tokens | None = Field(None, description="Tokens between checkpoints; default: as `revisions`.")
    minutes: PositiveFloat | None = Field(None, description="Also save when this much time has passed.")
    keep: Count = Field(2, description="How many of the last checkpoints stay.")
    milestones: Tokens | None = Field(
        None, description="Tokens between checkpoints that stay for good; default: none do."
    )
    revisions: Tokens | None = Field(
        None, description="Tokens between published revisions; default: a tenth of the budget."
    )


class Limits(Section):
    """How long things may take before they are given up."""

    hang_minutes: PositiveFloat = Field(
        15, description="A step, or another thing all ranks do together, that takes longer hangs."
    )
    stop_minutes: PositiveFloat = Field(
        5, description="Time to save and end after SIGTERM; then the run ends unsaved."
    )


class Guard(Section):
    """What happens when a step goes wrong."""

    max_bad_steps: Count = Field(
        5, description="So many non-finite (or spiking) steps in a row are skipped; then the run stops."
    )
    spike: PositiveFloat | None = Field(
        None,
        gt=1,
        description="Skip a step whose gradient norm exceeds this multiple of the running median.",
    )
    base: Literal["refuse", "warn"] = Field(
        "refuse",
        description="What a `model.base` that is damaged, untrained or read wrongly does; `warn` goes on.",
    )


class Training(Section):
    """Pretraining, or continued pretraining where ``model.base`` is given."""

    tokens: Tokens | None = Field(
        None, description="The budget; may be left out where the mixture determines it."
    )
    sequence_length: Length = Field(description="Tokens of one training sequence.")
    batch_tokens: Tokens = Field(description="Tokens of one optimizer step; a multiple of sequence_length.")
    embeddings_first: TokensOrNone = Field(
        0,
        description="So many tokens train embedding and output alone, such as the new rows of an extended "
        "vocabulary; then all weights.",
    )
    micro_batch: Count = Field(1, description="Sequences of one forward and backward pass, per rank.")
    optimizer: Optimizer = Field(description="AdamW and its settings.")
    schedule: Schedule = Field(Schedule(), description="The learning rate over tokens.")
    precision: Literal["bf16", "fp32"] = Field(
        "bf16", description="Of the arithmetic; master weights, sums and optimizer state are fp32 in both."
    )
    within_document: bool = Field(False, description="Confine attention to the document.")
    activation_checkpointing: Recompute = Field(
        "none",
        description="`full`: keep only the input of each layer and compute the rest again; saves memory. "
        "`selective`: keep matrix products and attention too, and compute what is cheap again.",
    )
    compile: bool | Literal["auto"] = Field("auto", description="`auto`: where it pays (on a GPU).")
    layout: Layout = Field(Layout(), description="How ranks are arranged.")
    checkpoints: Checkpoints = Field(Checkpoints(), description="What is saved and published when.")
    guard: Guard = Field(Guard(), description="What happens when a step goes wrong.")
    limits: Limits = Field(Limits(), description="How long things may take before they are given up.")

    @property
    def batch_sequences(self) -> int:
        return self.batch_tokens // self.sequence_length

    @property
    def accumulation(self) -> int:
        """Micro batches of one step, per data rank."""
        return self.batch_sequences // (self.micro_batch * self.layout.data)

    @model_validator(mode="after")
    def _budget_holds_a_step(self) -> Self:
        if self.tokens is not None and self.tokens < self.batch_tokens:
            raise ValueError(
                f"`tokens` {self.tokens} is less than one step of `batch_tokens` {self.batch_tokens}; "
                f"lower `batch_tokens`"
            )
        return self

    @model_validator(mode="after")
    def _milestones_come(self) -> Self:
        milestones, budget = self.checkpoints.milestones, self.tokens
        if milestones is not None and budget is not None and milestones > budget:
            raise ValueError(
                f"checkpoints.milestones {milestones} is longer than the budget, training.tokens {budget}; "
                f"shorten it"
            )
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_tokens % self.sequence_length:
            below = self.batch_tokens // self.sequence_length * self.sequence_length
            above = below + self.sequence_length
            raise ValueError(
                f"`batch_tokens` {self.batch_tokens} is not a multiple of `sequence_length` "
                f"{self.sequence_length}; make it {f'{below} or {above}' if below else above}"
            )
        per_pass = self.micro_batch * self.layout.data
        if self.batch_sequences % per_pass:
            raise ValueError(
                f"a batch of {self.batch_sequences} sequences does not divide into micro batches of "
                f"{self.micro_batch} on {self.layout.data} data ranks; make `batch_tokens` a multiple of "
                f"{per_pass * self.sequence_length}"
            )
        return self

    @model_validator(mode="after")
    def _pipeline_is_filled(self) -> Self:
        layout, count = self.layout, self.accumulation
        if layout.pipeline == 1:
            return self
        if count < layout.pipeline:
            raise ValueError(
                f"a step has {count} micro batches a data rank, fewer than the {layout.pipeline} ranks of "
                f"the pipeline; raise `batch_tokens`, or lower `micro_batch` or `layout.data`"
            )
        if layout.schedule != "1f1b" and count % (count // layout.pipeline):
            raise ValueError(
                f"`layout.schedule: {layout.schedule}` takes micro batches in rounds of about "
                f"{layout.pipeline}, and {count} a step do not divide into {count // layout.pipeline} equal "
                f"rounds; make them a multiple of {layout.pipeline}"
            )
        return self

    @model_validator(mode="after")
    def _backward_passes_may_be_split(self) -> Self:
        if self.layout.schedule != "zero_bubble":
            return self
        if self.compile is True:
            raise ValueError(
                "`layout.schedule: zero_bubble` splits backward passes, which compiled blocks do not allow; "
                "set `compile: false`"
            )
        if self.activation_checkpointing == "selective":
            raise ValueError(
                "`layout.schedule: zero_bubble` splits backward passes, which `activation_checkpointing: "
                "selective` does not allow; use `full` or `none`"
            )
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        schedule, budget = self.schedule, self.tokens
        if schedule.min_lr > self.optimizer.lr:
            raise ValueError(
                f"schedule.min_lr {schedule.min_lr:g} exceeds optimizer.lr {self.optimizer.lr:g}"
            )
        if budget is not None and self.embeddings_first >= budget:
            raise ValueError(
                f"embeddings_first {self.embeddings_first} leaves nothing of the budget, training.tokens "
                f"{budget}, to the other weights; shorten it"
            )
        for key in ("warmup", "decay"):
            length = getattr(schedule, key)
            if budget is not None and length is not None and length > budget:
                raise ValueError(
                    f"schedule.{key} {length} is longer than the budget, training.tokens {budget}; shorten it"
                )
        return self


def divisors(count: int) -> str:
    """Return what divides ``count``, up to 1,024, for an error message."""
    return ", ".join(str(d) for d in range(1, min(count, 1024) + 1) if count % d == 0)
