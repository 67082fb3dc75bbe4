"""The ``mixture_changes`` section: from which token count on another mixture is trained on."""

from pydantic import Field

from tokka.recipe.section import Section
from tokka.recipe.sizes import Tokens, TokensOrNone
from tokka.recipe.sources import Share


class MixtureChange(Section):
    """Another mixture from a token count on."""

    at: Tokens = Field(description="Tokens trained before it; the nearest whole step counts.")
    mixture: dict[str, Share] = Field(
        min_length=1,
        description="How much of each source is trained on from there: `percent` and `rest` of this part of "
        "the training, `epochs` and `tokens` counted from the beginning of the run.",
    )
    cut: dict[str, TokensOrNone] | None = Field(
        None,
        min_length=1,
        description="Written by tokka where a mixture was edited in mid-run: the budgets of the mixture "
        "before, which ends here before it is used up.",
    )
