"""Quantiles of the sharpness of each image, and the samples of M images."""

from __future__ import annotations

import numpy as np

from dataprops.sharpness import draw_samples, quantile_interval, sharpness_summary


def test_quantiles_leave_missing_values_out():
    values = np.array([np.nan, *np.linspace(0, 1, 101)])
    summary = sharpness_summary(values)
    assert {name: round(figure.value, 12) for name, figure in summary.items()} == {
        "q50": 0.5,
        "q95": 0.95,
        "q99": 0.99,
        "max": 1.0,
    }
    assert all(np.isnan([figure.low, figure.high]).all() for figure in summary.values())
    assert all(np.isnan(figure.value) for figure in sharpness_summary(np.array([np.nan])).values())


def test_of_a_sample_the_largest_is_only_known_from_below():
    summary = sharpness_summary(np.linspace(0, 1, 101), sampled=True)
    assert np.isnan(summary["max"].value)
    assert summary["max"].low == 1.0
    assert summary["q50"].low < summary["q50"].value < summary["q50"].high


def test_quantile_intervals_cover():
    """At least 95 % of the intervals hold the quantile of the distribution, whatever it is."""
    rng = np.random.default_rng(0)
    for q, n in ((0.5, 60), (0.95, 400), (0.99, 1500)):
        truth = -np.log(1 - q)
        held = [
            low <= truth <= high
            for low, high in (quantile_interval(np.sort(rng.exponential(size=n)), q) for _ in range(800))
        ]
        assert np.mean(held) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 800)
    # so few values say nothing on one side
    low, high = quantile_interval(np.arange(20.0), 0.99)
    assert np.isfinite(low)
    assert np.isnan(high)


def test_samples_are_distinct_images_and_repeat_by_seed():
    one, two, other = draw_samples(50, 20, 3, 7), draw_samples(50, 20, 3, 7), draw_samples(50, 20, 3, 8)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0], one[1])
    for draw in one:
        assert len(set(draw.tolist())) == 20
        assert (np.diff(draw) > 0).all()
    assert draw_samples(5, 20, 2, 0)[0].tolist() == [0, 1, 2, 3, 4]
    # the first draws do not depend on how many follow
    assert np.array_equal(draw_samples(50, 20, 9, 7)[2], one[2])
