"""What happens when a step goes wrong: it is skipped, recorded, and after too many in a row the run stops."""

import math
from statistics import median
from typing import Any

from tokka.recipe.training import Guard as Settings

_WINDOW = 128
"""Good steps whose gradient norms make the running median."""

_ENOUGH = 16
"""Good steps before the median means something."""


class TrainingStoppedError(ValueError):
    """Too many bad steps in a row: going on would only burn time."""


class Guard:
    """Judges each step before it changes any weight."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._norms: list[float] = []
        self._bad = 0

    def judge(self, loss: float, norm: float) -> str | None:
        """Return why a step with this loss and gradient norm must be skipped; None when it is good."""
        reason = self._what_is_wrong(loss, norm)
        if reason is None:
            self._bad = 0
            self._norms = [*self._norms, norm][-_WINDOW:]
        else:
            self._bad += 1
        return reason

    @property
    def gives_up(self) -> bool:
        """Whether ``max_bad_steps`` steps in a row were bad."""
        return self._bad >= self._settings.max_bad_steps

    def forget_norms(self) -> None:
        """Begin the running median anew: what the norm is of has changed."""
        self._norms = []

    def state(self) -> dict[str, Any]:
        """Return recent gradient norms and the count of bad steps, as JSON content."""
        return {"norms": self._norms, "bad": self._bad}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self._norms, self._bad = list(state["norms"]), state["bad"]

    def _what_is_wrong(self, loss: float, norm: float) -> str | None:
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(norm):
            return f"the gradient norm is {norm}"
        if self._settings.spike is not None and len(self._norms) >= _ENOUGH:
            usual = median(self._norms)
            if norm > self._settings.spike * usual:
                return (
                    f"the gradient norm {norm:.3g} is {norm / usual:.1f} times its running median {usual:.3g}"
                )
        return None
