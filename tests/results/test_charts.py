"""Charts stay inside their frame and show what they are given."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from raki.kspace.method import TrainingPoint
from raki.results.charts import mask_paths, training_chart


@settings(derandomize=True, deadline=None)
@given(sampled=npst.arrays(bool, st.integers(1, 70)), acs=st.none() | st.tuples(st.integers(0, 70), st.integers(0, 70)))
def test_the_mask_as_drawn_is_the_mask(sampled, acs):
    acs_lines = None if acs is None else (min(acs), max(acs))
    paths = mask_paths(sampled, acs_lines)
    drawn = {name: np.zeros_like(sampled) for name in ("lattice", "acs")}
    for name, lines in drawn.items():
        for start, stop in re.findall(r"M(\d+) 0H(\d+)V1H\1Z", paths[name]):
            lines[int(start) : int(stop)] = True
    np.testing.assert_array_equal(drawn["lattice"] | drawn["acs"], sampled)
    assert not np.any(drawn["lattice"] & drawn["acs"])
    inside = np.zeros_like(sampled)
    inside[slice(*(acs_lines or (0, 0)))] = True
    np.testing.assert_array_equal(drawn["acs"], sampled & inside)


losses = st.lists(st.tuples(st.floats(1e-8, 1e3), st.floats(1e-8, 1e3)), min_size=2, max_size=30)


@settings(derandomize=True, deadline=None)
@given(losses=losses)
def test_a_lower_loss_is_drawn_lower_and_inside_the_chart(losses):
    curve = [TrainingPoint(step=i, training_loss=a, validation_loss=b) for i, (a, b) in enumerate(losses)]
    chart = training_chart(curve)
    for drawn, values in zip(chart.curves, zip(*losses, strict=True), strict=True):
        x, y = np.array([point.split(",") for point in drawn.points.split()], float).T
        assert np.all(np.diff(x) >= 0)
        assert x.min() >= 0
        assert x.max() <= chart.width
        assert y.min() >= 0
        assert y.max() <= chart.height
        order = np.argsort(values, kind="stable")
        assert np.all(np.diff(y[order]) <= 0)
    heights = [y for _, y in chart.labels()]
    assert abs(heights[0] - heights[1]) >= 15 - 1e-9


def test_a_step_of_ten_in_loss_is_one_height_everywhere():
    points = [TrainingPoint(step=i, training_loss=10.0**-i, validation_loss=math.nan) for i in range(4)]
    chart = training_chart(points)
    assert [curve.label for curve in chart.curves] == ["training"]
    heights = [float(point.split(",")[1]) for point in chart.curves[0].points.split()]
    np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], atol=0.11)
    assert {label for _, label in chart.y_ticks} == {"1", "0.1", "0.01", "0.001"}


@pytest.mark.parametrize("loss", [0.0, -1.0, math.nan, math.inf])
def test_a_loss_that_has_no_logarithm_is_left_out(loss):
    assert training_chart([TrainingPoint(step=i, training_loss=loss, validation_loss=loss) for i in range(5)]) is None


@settings(derandomize=True, deadline=None)
@given(low=st.floats(1e-6, 1e3), ratio=st.floats(1.0, 1e6))
def test_the_axis_of_the_losses_has_at_least_two_marks(low, ratio):
    points = [TrainingPoint(step=i, training_loss=low * ratio**i, validation_loss=low) for i in range(2)]
    chart = training_chart(points)
    assert len(chart.y_ticks) >= 2
    for y, label in chart.y_ticks:
        assert float(label) > 0
        assert 16 - 1e-6 <= y <= chart.height - 40 + 1e-6
