"""Charts as inline SVG: a few kilobytes each, sharp at any size, coloured by the page's style sheet.

The classes ``c0`` to ``c7`` are its colours, so that one drawing serves the light page and the dark one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from markupsafe import Markup

from tokka.recipe.sizes import format_size
from tokka.release.axis import Axis, Floats
from tokka.release.figures import rate

COLORS = 8


@dataclass(frozen=True)
class Frame:
    """The size of a drawing in pixels, and the room at its edges for labels."""

    width: float
    height: float
    left: float = 50.0

    @property
    def right(self) -> float:
        return self.width - 12.0

    @property
    def top(self) -> float:
        return 10.0

    @property
    def bottom(self) -> float:
        return self.height - 26.0


WIDE, NARROW = Frame(760.0, 264.0), Frame(400.0, 180.0)


@dataclass(frozen=True)
class Series:
    """One line of a chart: ``x`` and ``y`` float64 [points], NaN where there is no value.

    ``raw``, the points (x, y) that the line smooths, is drawn faintly behind it. ``color`` is 0 to 7. A
    ``dashed`` line is what the others are compared with; it has no points.
    """

    name: str
    x: Floats
    y: Floats
    color: int = 0
    raw: tuple[Floats, Floats] | None = None
    dashed: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    frame: Frame = WIDE,
    from_zero: bool = False,
    points: bool = False,
    marks: Sequence[float] = (),
) -> Markup:
    """Draw lines over tokens; empty where no line has a finite value.

    Args:
        series: lines on a common x axis.
        label: what the chart shows, for those who cannot see it.
        frame: size of the drawing.
        from_zero: let the y axis begin at zero; else it is logarithmic where the values span much.
        points: draw and name every point; for lines of a few measurements.
        marks: tokens at which a vertical line stands, such as those of skipped steps.
    """
    series = [line for line in series if np.isfinite(line.y).any()]
    if not series:
        return Markup("")
    values = np.concatenate([line.raw[1] if line.raw else line.y for line in series])
    x = Axis.along(np.concatenate([line.x for line in series]), frame.left, frame.right)
    y = Axis.around(values, frame.bottom, frame.top, from_zero=from_zero)
    parts = [_grid(x, y, frame)]
    parts += [_path("mark", [f"{x.at(mark):.1f} {frame.top}V{frame.bottom}"]) for mark in marks]
    parts += [_path(f"raw c{line.color}", _pieces(x, y, *line.raw)) for line in series if line.raw]
    for line in series:
        classes = f"line dashed c{line.color}" if line.dashed else f"line c{line.color}"
        parts.append(_path(classes, _pieces(x, y, line.x, line.y)))
    if points:
        parts += [_dots(x, y, line) for line in series if not line.dashed]
    return _svg(label, parts, frame)


def area_chart(
    names: Sequence[str],
    tokens: Floats,
    shares: Floats,
    *,
    label: str,
    wanted: Sequence[tuple[tuple[float, float], Sequence[float]]],
) -> Markup:
    """Draw shares of a whole as stacked areas over tokens.

    Args:
        names: one an area, from the bottom up.
        tokens: float64 [points].
        shares: percentages, float64 [names, points]; each column adds up to 100.
        label: what the chart shows.
        wanted: from where to where in tokens, the percentage that was asked for of each name; dashed lines
            between the areas.
    """
    x = Axis.along(tokens, WIDE.left, WIDE.right)
    y = Axis(0.0, 100.0, WIDE.bottom, WIDE.top)
    tops = np.vstack([np.zeros_like(tokens), np.cumsum(shares, axis=0)])
    parts = []
    for index, name in enumerate(names):
        outline = np.concatenate([tops[index + 1], tops[index][::-1]])
        drawn = _points(x.place(np.concatenate([tokens, tokens[::-1]])), y.place(outline))
        title = Markup("<title>{}</title>").format(name)
        parts.append(_path(f"area c{index % COLORS}", [f"{'L'.join(drawn)}Z"], title))
    for span, percents in wanted:
        begin, end = (min(max(x.at(place), WIDE.left), WIDE.right) for place in span)
        for level in np.cumsum(np.asarray(percents, dtype=np.float64))[:-1].tolist():
            parts.append(_path("wanted", [f"{begin:.1f} {y.at(level):.1f}H{end:.1f}"]))
    return _svg(label, [*parts, _grid(x, y, WIDE)], WIDE)


def bar_chart(bars: Sequence[tuple[str, float]], *, label: str) -> Markup:
    """Draw named horizontal bars from zero, each with its value; empty where there is none."""
    if not bars:
        return Markup("")
    left, height, thickness = 130.0, 28.0, 16.0
    longest = max(value for _, value in bars) or 1.0
    parts = []
    for index, (name, value) in enumerate(bars):
        middle = (index + 0.5) * height
        width = value / longest * (WIDE.right - left - 50)
        bar = Markup('<rect class="bar c0" x="{}" y="{:.1f}" width="{:.1f}" height="{}" rx="2"/>')
        parts.append(bar.format(left, middle - thickness / 2, width, thickness))
        parts.append(_text(name, left - 10, middle, "end"))
        parts.append(_text(f"{value:.2f}", left + width + 8, middle, "start"))
    return _svg(label, parts, Frame(WIDE.width, height * len(bars)))


def _grid(x: Axis, y: Axis, frame: Frame) -> Markup:
    parts = []
    for value in y.ticks(5 if frame.height > 200 else 4):
        parts.append(_path("grid-line", [f"{frame.left} {y.at(value):.1f}H{frame.right}"]))
        parts.append(_text(_tick(value), frame.left - 8, y.at(value), "end"))
    for value in x.ticks(7 if frame.width > 500 else 4):
        parts.append(_text(format_size(round(value)), x.at(value), frame.bottom + 16, "middle"))
    parts.append(_path("axis", [f"{frame.left} {frame.bottom}H{frame.right}"]))
    if y.log:
        parts.append(_text("log scale", frame.right, frame.top + 4, "end"))
    return Markup("").join(parts)


def _tick(value: float) -> str:
    """Return a round value as short as it is told apart: ``20K``, ``2.5``, ``5e-5``."""
    if abs(value) >= 10_000:
        return format_size(round(value))
    return rate(value) if abs(value) < 0.01 else f"{value:.6g}"


def _pieces(x: Axis, y: Axis, xs: Floats, ys: Floats) -> list[str]:
    """Return the pieces of a line that is broken where a value is missing."""
    known = np.isfinite(ys)
    runs = np.split(np.arange(len(xs)), np.flatnonzero(np.diff(known)) + 1)
    drawn = [_points(x.place(xs[run]), y.place(ys[run])) for run in runs if known[run[0]]]
    return ["L".join(points if len(points) > 1 else points * 2) for points in drawn]


def _dots(x: Axis, y: Axis, line: Series) -> Markup:
    dot = Markup(
        '<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}, {}: {:.4g}</title></circle>'
    )
    return Markup("").join(
        dot.format(line.color, x.at(at), y.at(value), line.name, format_size(round(at)), value)
        for at, value in zip(line.x.tolist(), line.y.tolist(), strict=True)
        if isfinite(value)
    )


def _points(xs: Floats, ys: Floats) -> list[str]:
    return [f"{px:.1f} {py:.1f}" for px, py in zip(xs.tolist(), ys.tolist(), strict=True)]


def _path(classes: str, pieces: Sequence[str], inside: Markup = Markup("")) -> Markup:  # noqa: B008
    drawn = "".join(f"M{piece}" for piece in pieces)
    return Markup('<path class="{}" d="{}">{}</path>').format(classes, drawn, inside)


def _text(text: str, x: float, y: float, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" dy=".35em" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _svg(label: str, parts: Sequence[Markup], frame: Frame) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">')
    return head.format(frame.width, frame.height, label) + Markup("").join(parts) + Markup("</svg>")
