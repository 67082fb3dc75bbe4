"""What charts are drawn from: few points that show what many hold."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.release.axis import Axis
from tokka.release.charts import Series, area_chart, bar_chart, line_chart
from tokka.release.metrics import envelope, read_metrics, smooth, thin


def coordinates(chart: str) -> list[float]:
    return [
        float(number)
        for path in re.findall(r'd="([^"]*)"', chart)
        for number in re.findall(r"-?[\d.]+", path)
    ]


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12).filter(lambda width: width > 1e-9), st.booleans())
def test_ticks_lie_on_the_axis_and_rise(low: float, width: float, log: bool) -> None:
    values = np.array([abs(low) + 1e-6, (abs(low) + 1e-6) * (5 + width)] if log else [low, low + width])
    axis = Axis.around(values, 0.0, 100.0)
    ticks = axis.ticks()
    assert axis.log or not log
    assert len(ticks) >= 2
    slack = 1e-9 * max(abs(axis.low), abs(axis.high))
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_a_steep_fall_is_drawn_on_a_logarithmic_axis() -> None:
    assert Axis.around(np.array([0.5, 9.0]), 0, 1).log
    assert not Axis.around(np.array([3.0, 9.0]), 0, 1).log
    assert not Axis.around(np.array([0.5, 9.0]), 0, 1, from_zero=True).log
    assert not Axis.around(np.array([0.0, 9.0]), 0, 1).log


@given(
    st.lists(st.one_of(st.floats(0, 1e6), st.just(float("nan"))), min_size=1, max_size=300),
    st.integers(1, 50),
)
def test_thinning_keeps_the_mean_and_the_envelope_the_extremes(values: list[float], points: int) -> None:
    y = np.array(values)
    x = np.arange(len(y), dtype=np.float64)
    known = y[np.isfinite(y)]
    thin_x, means = thin(x, y, points)
    assert len(means) == len(thin_x) == min(points, len(y))
    assert np.isfinite(means).any() == bool(len(known))
    drawn_x, drawn = envelope(x, y, 2 * points)
    assert len(drawn) == len(drawn_x) <= max(2 * points, 2)
    if len(known):
        assert np.nanmax(drawn) == known.max()
        assert np.nanmin(drawn) == known.min()
        assert known.min() <= np.nanmin(means) + 1e-6
        assert np.nanmax(means) <= known.max() * (1 + 1e-9)


def test_a_spike_does_not_spread() -> None:
    y = np.ones(100)
    y[50] = 1000.0
    assert np.allclose(smooth(y, 8), 1.0)
    y[50] = np.nan
    assert np.allclose(smooth(y, 8), 1.0)


def test_a_line_breaks_where_a_value_is_missing() -> None:
    y = np.array([1.0, 2.0, np.nan, 3.0, 2.0])
    chart = line_chart([Series("loss", np.arange(5.0), y)], label="Loss")
    (line,) = re.findall(r'class="line c0" d="([^"]*)"', chart)
    assert line.count("M") == 2
    assert "nan" not in chart


@pytest.mark.parametrize("value", [0.0, 1e-12, 3.0, 1e15])
def test_one_point_and_equal_values_can_be_drawn(value: float) -> None:
    for count in (1, 4):
        x = np.full(count, value)
        chart = line_chart([Series("a", x, x)], label="a", points=True, marks=[value])
        assert all(-1 <= number <= 800 for number in coordinates(chart))


def test_nothing_to_draw_is_nothing() -> None:
    assert line_chart([Series("a", np.arange(3.0), np.full(3, np.nan))], label="a") == ""
    assert bar_chart([], label="a") == ""


def test_areas_fill_the_whole() -> None:
    shares = np.array([[25.0, 50.0], [75.0, 50.0]])
    chart = area_chart(["a", "<b>"], np.array([1.0, 2.0]), shares, label="mix", wanted=[((0, 2), [40, 60])])
    assert "<title>&lt;b&gt;</title>" in chart
    assert chart.count('class="wanted"') == 1
    assert min(coordinates(chart)) >= 0


def test_records_without_a_number_are_gaps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first, second = '{"step": 1, "loss": null}', '{"step": 2, "loss": 3, "sources": {"a.b": 5}}'
    path.write_text(f"{first}\n{second}\n")
    metrics = read_metrics(path, ["a.b", "c"])
    assert np.isnan(metrics["loss"][0])
    assert metrics["loss"][1] == 3
    assert metrics.sources["a.b"][1] == 5
    assert np.isnan(metrics.sources["c"]).all()
    assert len(metrics) == 2
