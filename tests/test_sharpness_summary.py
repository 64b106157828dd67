"""Quantiles of the sharpness of each image, and the samples of M images."""

from __future__ import annotations

import numpy as np

from dataprops.sharpness import draw_samples, sharpness_summary


def test_quantiles_leave_missing_values_out():
    values = np.array([np.nan, *np.linspace(0, 1, 101)])
    summary = sharpness_summary(values)
    assert {name: round(value, 12) for name, value in summary.items()} == {
        "q50": 0.5,
        "q95": 0.95,
        "q99": 0.99,
        "max": 1.0,
    }
    assert all(np.isnan(value) for value in sharpness_summary(np.array([np.nan])).values())


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
