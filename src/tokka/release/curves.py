"""The curves of training, drawn from what it recorded step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tokka.release.axis import Floats
from tokka.release.charts import COLORS, NARROW, Series, area_chart, line_chart
from tokka.release.figures import count, rate, significant
from tokka.release.languages import language_name
from tokka.release.metrics import Metrics, envelope, read_heldout, smooth, thin

_POINTS = 600
_SMOOTHED = 1 / 25
"""Points of a drawn curve, and over which part of them its smoothed form averages."""


_FEW = 40
"""Points of a line that can be told apart, so that each is drawn."""


@dataclass(frozen=True)
class Curve:
    """A chart, its name, in words what it comes to, and the colours of its lines by name."""

    name: str
    chart: Markup
    note: str
    legend: Sequence[tuple[str, int]] = ()


def loss_curve(metrics: Metrics) -> Curve:
    """Draw the loss, smoothed and of each step."""
    loss = metrics["loss"]
    known = loss[np.isfinite(loss)]
    note = f"from {known[0]:.3f} to {_last_mean(known):.3f}" if len(known) else "no finite value"
    chart = line_chart([_smoothed(metrics, loss)], label="Loss over tokens", marks=_marks(metrics))
    return Curve("Loss, nats per token", chart, note)


def heldout_curve(path: Path, *, continued: bool) -> Curve | None:
    """Draw bits per byte of held-out text as training recorded them at ``path``; None where it did not.

    Of a model that was continued each language's first value, the base's own, goes on as a dashed line.
    """
    rows = read_heldout(path)
    if len(rows) < 2:
        return None
    tokens = np.array([row["tokens"] for row in rows], dtype=np.float64)
    lines, bases = [], []
    for index, language in enumerate(rows[0]["languages"]):
        bits = np.array([row["languages"][language] for row in rows], dtype=np.float64)
        name = language_name(language)
        lines.append(Series(name, tokens, bits, index % COLORS))
        bases.append(
            Series(f"{name}, base", tokens, np.full_like(bits, bits[0]), index % COLORS, dashed=True)
        )
    drawn = [*lines, *bases] if continued else lines
    chart = line_chart(drawn, label="Bits per byte of held-out text", points=len(rows) < _FEW)
    note = "the base, before the first step: dashed" if continued else ""
    legend = [(line.name, line.color) for line in lines]
    return Curve("Bits per byte of held-out text, packed as in training", chart, note, legend)


def other_curves(metrics: Metrics) -> list[Curve]:
    """Draw learning rate, gradient norm, throughput and the wait for data, as far as they were recorded."""
    marks = _marks(metrics)
    lr = Series("learning rate", *thin(metrics["tokens"], metrics["lr"], _POINTS))
    waited, seconds = metrics["data_seconds"], metrics["step_seconds"]
    speed = metrics["tokens_per_second"]
    curves = [
        Curve(
            "Learning rate",
            line_chart([lr], label="Learning rate", frame=NARROW, from_zero=True),
            f"peak {rate(float(f'{np.nanmax(lr.y):.3g}'))}",
        ),
        Curve(
            "Gradient norm",
            line_chart(
                [_smoothed(metrics, metrics["grad_norm"], 3)],
                label="Gradient norm",
                frame=NARROW,
                marks=marks,
            ),
            "before clipping",
        ),
        Curve(
            "Throughput, tokens per second",
            line_chart([_smoothed(metrics, speed, 2)], label="Throughput", frame=NARROW, from_zero=True),
            f"median {count(float(np.nanmedian(speed)))}",
        ),
        Curve(
            "Waiting for data, % of a step",
            line_chart(
                [_smoothed(metrics, 100 * waited / seconds, 1)], label="Waiting", frame=NARROW, from_zero=True
            ),
            f"{significant(100 * float(np.nansum(waited) / np.nansum(seconds)), 2)}% of all time",
        ),
    ]
    return [curve for curve in curves if curve.chart]


def mixture_curve(metrics: Metrics, parts: Sequence[Mapping[str, Any]]) -> Curve | None:
    """Draw the realised shares of the sources over tokens; None where they were not recorded.

    Args:
        metrics: the record; its sources are stacked in their order.
        parts: of the solved mixture, as JSON content.
    """
    given = np.stack(list(metrics.sources.values()))
    if not np.isfinite(given).all() or len(metrics) < 2:
        return None
    edges = np.unique(np.linspace(0, len(metrics) - 1, 31).astype(int))
    amounts = np.diff(given[:, edges], axis=1, prepend=0.0)[:, 1:]
    totals = amounts.sum(axis=0)
    shares = 100 * np.divide(amounts, totals, out=np.zeros_like(amounts), where=totals > 0)
    wanted = []
    for part in parts:
        percent = {row["source"]: row["percent"] for row in part["rows"]}
        span = part["begin"], part["begin"] + part["tokens"]
        wanted.append((span, [percent.get(name, 0.0) for name in metrics.sources]))
    label = "Realised mixture over tokens"
    tokens = metrics["tokens"][edges[1:]]
    chart = area_chart(list(metrics.sources), tokens, shares, label=label, wanted=wanted)
    return Curve(label, chart, "wanted: dashed")


def _smoothed(metrics: Metrics, values: Floats, color: int = 0) -> Series:
    tokens, means = thin(metrics["tokens"], values, _POINTS)
    raw = envelope(metrics["tokens"], values, 2 * _POINTS)
    return Series("smoothed", tokens, smooth(means, round(_SMOOTHED * len(means))), color, raw)


def _marks(metrics: Metrics) -> list[float]:
    return [float(tokens) for _, tokens, _ in metrics.skipped[:200]]


def _last_mean(values: Floats) -> float:
    """Return the mean of the last fiftieth of ``values``; single steps are noisy."""
    return float(values[-max(1, len(values) // 50) :].mean())
