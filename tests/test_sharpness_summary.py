"""Quantiles of the sharpness of each image, and the samples of M images."""

from __future__ import annotations

import numpy as np
import pytest

from dataprops.distances.allpairs import all_pairs, array_rows
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from dataprops.properties import tables
from dataprops.properties.distinct import Distinct
from dataprops.properties.sharpness import draw_samples, quantile_interval, sharpness_summary
from dataprops.properties.tables import Drawing, _sharpest_among, sampled_sharpness, sharper_rows
from dataprops.util.tools import inline_tools


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


def passed(seed: int, kind: str, n: int = 60, levels: int = 4) -> tuple:
    """Images, some unlabelled and, with few levels, some copies of others with another label; and what a pass over them found."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, levels, (n, 4)).astype(np.uint8)
    y = rng.integers(0, 3, n).astype(np.float64) if kind == "classes" else rng.normal(size=n).round(1)
    y[rng.random(n) < 0.1] = np.nan
    names = np.array([row.tobytes().hex() for row in pixels], dtype=object)
    content_row = np.array([np.argmax(names == name) for name in names], np.int32)
    primary = content_row == np.arange(n)
    every = np.arange(n)
    images = Distinct(every, every.astype(np.int32), every, names, y, primary, content_row)
    rows = array_rows(pixels, y, primary)
    whole = all_pairs(rows, PassSpec(0, numeric=kind == "numbers"), Plan(n, 1024, 0)).state
    return rows, images, whole


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("size", [2, 3, 10, 40, 60])
@pytest.mark.parametrize("levels", [4, 256])
@pytest.mark.parametrize("few", [0, 512])
def test_samples_are_as_sharp_by_what_all_pairs_tell(
    kind: str, size: int, levels: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where few rows are compared at once: a pass over the whole sample says the same."""
    for seed in range(5):
        rows, images, whole = passed(seed, kind, levels=levels)
        given = (inline_tools(threads=1), rows, images)
        found = []
        for known, most in ((whole, few), (None, 0)):
            monkeypatch.setattr(tables, "FEW_ROWS", most)
            found.append(sampled_sharpness(*given, known, Drawing(size, 8, seed), numeric=kind == "numbers"))
        assert found[0] == found[1]


def test_samples_look_at_few_rows_where_all_pairs_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, images, whole = passed(0, "classes", 400, levels=256)
    looked: list[int] = []

    def counting(rows, chosen, *given):
        looked.append(len(chosen))
        return _sharpest_among(rows, chosen, *given)

    monkeypatch.setattr(tables, "_sharpest_among", counting)
    monkeypatch.setattr(tables, "SAMPLES", ())
    sampled_sharpness(inline_tools(threads=1), rows, images, whole, Drawing(200, 20, 1), numeric=False)
    assert looked
    assert all(rows_seen < 60 for rows_seen in looked)
    found, left = sharper_rows(np.arange(400), whole)
    assert found == whole.sharp.max() and not len(left)
    unlabelled = np.nonzero(np.isnan(rows.y))[0]
    assert sharper_rows(unlabelled, whole)[0] == 0.0
