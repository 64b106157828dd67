"""Faults of single pictures by the letter: the fences that a set draws, and on which side of each bound a picture is told."""

from __future__ import annotations

import io
import warnings
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dataprops.findings import Context, common_faults, detail_lost, image_quality, quality
from dataprops.findings.tones import Likeness as Likely
from dataprops.findings.upright import CHANGES, Likeness
from dataprops.imaging.measures import SIDE, measure_image, quality_of

N = 60


def fence(values: np.ndarray, spread: float, tail: tuple[float, float] = (0.15, 0.25), beyond: float = 2.0) -> tuple:
    """Tukey's fences, and an exponential tail through two quantiles of what lies within them, written out."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    width = max(high - low, spread)
    usual = values[(values >= low - 2 * width) & (values <= high + 2 * width)]
    left = max(np.log(tail[0] * len(usual)), 0) / np.log(tail[1] / tail[0])
    far, near, near_top, far_top = np.quantile(usual, [tail[0], tail[1], 1 - tail[1], 1 - tail[0]])
    below, above = low - beyond * width, high + beyond * width
    return middle, min(below, far - (near - far) * left), max(above, far_top + (far_top - near_top) * left)


@pytest.mark.parametrize("seed", range(4))
def test_fences_lie_beyond_the_quartiles_and_beyond_the_sets_own_tail(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, 80) if seed % 2 else rng.uniform(0, 1, 80)
    for spread in (0.1, 3.0):
        for tail in ((0.15, 0.25), (0.05, 0.15)):
            for beyond in (1.0, 2.0):
                wanted = fence(values, spread, tail, beyond)
                holes = np.insert(values, 7, np.nan)
                assert quality._fence(holes, spread, tail, beyond) == pytest.approx(wanted)
    assert quality._fence(np.full(9, 5.0), 1.0) == pytest.approx((5, 3, 7))
    assert all(np.isnan(quality._fence(np.full(3, np.nan), 1.0)))


PLAIN = {
    "mean": 110.0,
    "low": 12.0,
    "high": 235.0,
    "white": 0.0,
    "clipped": 0.0,
    "edges": 0.5,
    "half_edges": 0.55,
    "noise": 1.0,
    "grain": 1.0,
    "colour": 6.0,
    "blockiness": 0.1,
    "step": 20.0,
    "flat": 0.1,
    "spread": 55.0,
    "cut_low": 0.0,
    "cut_high": 0.0,
    "streak": 1.0,
    "colour_grain": 0.5,
    "single": 0.0,
}


def told(
    first: dict[str, Any] | None = None,
    like: dict[str, float] | None = None,
    kind: str = "",
    paper: float = 0.0,
    **of_all: Any,
) -> dict[str, float]:
    """Faults of image 0 of a set of sixty that are nearly as `PLAIN`, and their values; it looks so much `like` spoilt copies."""
    rng = np.random.default_rng(1)
    table: dict[str, Any] = {"image": range(N), "pixels": "x", "format": "PNG", "width": 256.0, "height": 256.0}
    for name, value in (PLAIN | {k: v for k, v in of_all.items() if k in PLAIN}).items():
        table[f"original_{name}"] = value * (1 + 0.02 * rng.standard_normal(N)) if np.ndim(value) == 0 else value
    table |= {name: value for name, value in of_all.items() if name not in PLAIN}
    images = pd.DataFrame(table)
    for name, value in (first or {}).items():
        images.loc[0, f"original_{name}" if name in PLAIN else name] = value
    score = {name: np.r_[(like or {}).get(name, -1.0), np.full(N - 1, -1.0)] for name in quality.TONES}
    kinds = {name: np.full(N, float(name == kind)) for name in quality.TONES}
    with mock.patch.object(quality.tones, "likeness", return_value=Likely(score, kinds, np.full(N, paper))):
        found = [
            fault
            for part in (
                quality._blank,
                lambda used: quality._tones(used, lambda ids: iter(())),
                quality._sharpness,
                quality._compression,
                quality._shape,
                quality._colour,
            )
            for fault in part(images)
        ]
    assert {fault.image for fault in found} <= {0}, found
    return {fault.fault: round(fault.value, 6) for fault in found}


def test_a_set_as_it_is_has_no_faults() -> None:
    assert told() == {}
    assert told(white=np.linspace(0, 0.4, N)) == {}


def test_dark_looks_so_and_has_no_bright_pixel() -> None:
    dark = {"dark": 0.5}
    assert told({"high": 78.0}, dark) == {"dark": 78.0}
    assert told({"high": 78.5}, dark) == told({"high": 78.0}, {"dark": 0.49}) == {}
    assert told({"high": 60.0}, dark, high=np.geomspace(60, 240, N)) == {"dark": 60.0}


@pytest.mark.parametrize(("many", "is_told"), [(6, True), (7, False)])
def test_where_more_than_a_tenth_look_dark_the_tail_of_the_set_decides(many: int, is_told: bool) -> None:
    """By day and by night; three dark ones among images of all lightnesses were not told, since these have no tail."""
    high = np.geomspace(60, 240, N)
    table = pd.DataFrame({f"original_{name}": np.full(N, value) for name, value in PLAIN.items()})
    score = {name: np.where((np.arange(N) < many) & (name == "dark"), 0.6, -1.0) for name in quality.TONES}
    with mock.patch.object(quality.tones, "likeness", return_value=Likely(score, score, np.zeros(N))):
        found = quality._tones(table.assign(image=range(N), original_high=high), lambda ids: iter(()))
    assert [one.image for one in found] == (list(range(many)) if is_told else [])


def test_little_contrast_looks_so_and_spans_few_levels() -> None:
    assert told({"low": 100.0, "high": 150.0}, {"low_contrast": 0.5}) == {"low_contrast": 50.0}
    assert told({"low": 100.0, "high": 151.0}, {"low_contrast": 0.5}) == {}
    assert told({"low": 100.0, "high": 150.0}, {"low_contrast": 0.49}) == {}


def test_of_little_contrast_and_mostly_of_one_level_shows_next_to_nothing() -> None:
    seldom = np.where(np.arange(N) % 2, 0.1, 0.4)
    assert told({"spread": 14.0, "flat": 0.5}, flat=seldom) == {"nearly_blank": 14.0}
    assert told({"spread": 14.0, "flat": 0.49}, flat=seldom) == {}  # a beach in haze


def test_overexposed_looks_so_and_has_white_but_no_black() -> None:
    over, washed = {"overexposed": 0.4}, {"mean": 200.0, "white": 0.01, "low": 25.0, "high": 255.0}
    assert told(washed, over) == told(washed | {"white": 0.0, "cut_high": 0.01}, over) == {"overexposed": 200.0}
    for less in ({"low": 24.0}, {"white": 0.009}):
        assert told(washed | less, over) == {}
    assert told(washed, {"overexposed": 0.39}) == {}
    # white throughout, where others have black
    pale = {"mean": 240.0, "low": 200.0, "high": 255.0}
    assert told(pale) == told(pale, {"low_contrast": 0.9}, "low_contrast") == {"overexposed": 240.0}
    assert told(pale | {"low": 199.0}) == told(pale, low=120.0) == {}


def test_a_range_is_clipped_at_white_alone_or_at_both_ends() -> None:
    assert told({"white": 0.03}, {"clipped_range": 0.4}) == {"clipped_range": 3.0}
    assert told({"white": 0.029}, {"clipped_range": 0.4}) == told({"white": 0.03}, {"clipped_range": 0.39}) == {}
    white = {"clipped_white": 0.65}
    assert told({"cut_high": 0.05}, white) == told({"cut_high": 0.05}, white, paper=0.29) == {"clipped_range": 5.0}
    assert told({"cut_high": 0.049}, white) == told({"white": 0.05}, {"clipped_white": 0.64}) == {}
    assert told({"cut_high": 0.05}, white, paper=0.3) == {}  # an object on white
    assert told({"white": 0.03}, {"clipped_range": 0.4}, paper=0.9) == {"clipped_range": 3.0}


@pytest.mark.parametrize("fault", ["clipped_range", "clipped_white"])
def test_where_more_than_a_tenth_look_cut_off_none_is_told(fault: str) -> None:
    table = pd.DataFrame({f"original_{name}": np.full(N, value) for name, value in (PLAIN | {"white": 0.2}).items()})
    for many, is_told in ((6, True), (7, False)):
        score = {name: np.where((np.arange(N) < many) & (name == fault), 0.7, -1.0) for name in quality.TONES}
        with mock.patch.object(quality.tones, "likeness", return_value=Likely(score, score, np.zeros(N))):
            found = quality._tones(table.assign(image=range(N)), lambda ids: iter(()))
        assert [one.image for one in found] == (list(range(many)) if is_told else [])


def test_of_several_faults_of_tone_the_likest_is_told() -> None:
    all_of_them = dict.fromkeys(quality.TONES, 1.0)
    spoilt = {"low": 30.0, "high": 70.0, "white": 0.2, "mean": 50.0}
    names = {kind: set(told(spoilt, all_of_them, kind)) for kind in quality.TONES}
    wanted = {kind: {kind.replace("clipped_white", "clipped_range")} for kind in quality.TONES}
    assert names == wanted | {"clipped_white": {"clipped_range", "overexposed"}}  # it is both


def test_blurred_is_soft_beside_the_others_and_by_itself() -> None:
    assert told({"edges": 0.25}) == {"blurred": 0.25}
    assert told({"edges": 0.26}) == {}
    assert told({"edges": 0.25}, edges=0.32) == {}  # more than three quarters of the usual
    assert told({"edges": 0.2}, edges=0.3) == {"blurred": 0.2}
    wide = np.linspace(0.2, 0.9, N)
    assert told({"edges": 0.19}, edges=wide) == {"blurred": 0.19}
    assert told({"edges": 0.2}, edges=wide) == {}
    assert told({"edges": 0.19}, edges=np.linspace(0.2, 0.49, N)) == {}  # the usual is no sharp picture
    assert told({"half_edges": 0.33}) == {"blurred": 0.33}
    assert told({"half_edges": 0.34}) == {}
    assert told({"half_edges": 0.2, "edges": 0.2}) == {"blurred": 0.2}


def test_noise_is_alike_in_the_whole_picture_and_its_smoothest_parts() -> None:
    assert told({"grain": 7.0, "noise": 7.0}) == {"noise": 7.0}
    assert told({"grain": 6.9, "noise": 6.9}) == {}
    for noise, is_noise in ((6.3, True), (6.2, False), (10.5, True), (10.6, False)):
        assert ("noise" in told({"grain": 7.0, "noise": noise})) == is_noise
    assert told({"grain": np.nan, "noise": 7.0}) == {"noise": 7.0}  # too small for blocks
    assert told({"grain": 7.0, "noise": 7.0, "edges": 0.2}) == {"blurred": 0.2}
    # single pixels, which leave the smoothest parts as they are
    assert told({"single": 0.02}) == {"noise": 2.0}
    assert told({"single": 0.019}) == {}
    assert told({"single": 0.02}, single=np.linspace(0, 0.05, N)) == {}
    assert told({"single": 0.02, "grain": 7.0, "noise": 7.0}) == {"noise": 2.0}
    assert told({"single": 0.02, "edges": 0.2}) == {"blurred": 0.2}
    # of large pictures noise was more before they were reduced
    large = {"width": 2.0 * SIDE, "height": 2.0 * SIDE}
    assert told({"grain": 14.0, "noise": 7.0}, **large) == {"noise": 14.0}
    assert told({"grain": 14.0, "noise": 14.0}, **large) == {}


def test_a_grainy_set_has_noise_beyond_three_times_its_own() -> None:
    grainy = {"grain": np.geomspace(0.6, 14, N), "noise": np.geomspace(0.6, 14, N)}
    # of what is grainy in all channels alike, as grass and gravel are, half as much again
    assert told({"grain": 32.9, "noise": 32.9}, **grainy) == {}
    assert told({"grain": 33.1, "noise": 33.1}, **grainy) == {"noise": 33.1}
    assert told({"grain": 22.0, "noise": 22.0, "colour": 0.2}, **grainy) == {"noise": 22.0, "grey_among_colour": 0.2}
    assert told({"grain": 21.9, "noise": 21.9, "colour": 0.2}, **grainy) == {"grey_among_colour": 0.2}
    # what is noisy in each channel by itself
    assert told({"grain": 15.0, "noise": 15.0, "colour_grain": 10.0}, **grainy) == {"noise": 15.0}
    assert told({"grain": 15.0, "noise": 15.0, "colour_grain": 9.9}, **grainy) == {}
    much = {"grain": np.geomspace(1, 21, N), "noise": np.geomspace(1, 21, N)}
    most = 1.5 * 3 * float(np.quantile(np.r_[90.0, np.geomspace(1, 21, N)[1:]], 0.75))
    for grain, is_noise in ((most - 0.5, False), (most + 0.5, True)):
        assert ("noise" in told({"grain": grain, "noise": grain}, **much)) == is_noise


def test_compression_is_told_by_blocks_or_by_steps() -> None:
    assert told({"blockiness": 0.7, "step": 0.0}) == {"compressed": 0.7}
    assert told({"blockiness": 0.69, "step": 0.0}) == {}
    assert told({"blockiness": 0.7, "step": 20.0}) == {}  # its pixels were stored well
    assert told({"blockiness": 0.7, "step": 115.0}) == {"compressed": 0.7}
    assert told({"blockiness": 0.7, "step": 0.0, "width": 63.0, "height": 63.0}, width=64.0, height=64.0) == {}
    assert told({"blockiness": 0.7, "step": 0.0}, width=64.0, height=64.0) == {"compressed": 0.7}
    assert told({"step": 115.0}) == {"compressed": quality_of(115.0)}
    assert told({"step": 114.0}) == {}
    assert told({"jpeg_step": 120.0}, jpeg_step=30.0) == {"compressed": quality_of(120.0)}
    assert told({"step": 115.0}, step=np.linspace(29, 114, N)) == {}  # as the others nearly


def test_stripes_of_one_direction_are_no_blocks() -> None:
    """Flags on a grid of eight pixels were called heavily compressed."""
    grain = np.random.default_rng(0).integers(0, 4, (64, 64))
    stripes = 40 * (np.arange(64) // 8 % 2)
    assert measure_image((grain + stripes[:, None]).astype(np.uint8)).blockiness < 0.3
    checks = (stripes[:, None] + stripes) % 80
    assert measure_image((grain + checks).astype(np.uint8)).blockiness > 1


def test_a_fault_that_many_have_is_the_sets_nature_and_told_once() -> None:
    images = pd.DataFrame({"image": range(200), "path": [f"{i}.png" for i in range(200)], "pixels": "x"})
    noisy = [quality.Fault(i, "noise", 9.0, "is noisy") for i in range(39)]
    small = [quality.Fault(i, "odd_size", 9.0, "is small") for i in range(40)]
    turned = [quality.Fault(i, "wrong_orientation", -1.0, "seems turned") for i in range(50, 100)]
    fortieth = quality.Fault(39, "noise", 9.0, "is noisy")

    def shares(faults: list[quality.Fault]) -> tuple[int, float, list[tuple]]:
        empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
        context = Context(images, empty, empty, 64, faults=faults)
        single = len(list(image_quality.FINDING.find(context)))
        return single, image_quality.measures(context)["bad_image_share"], list(common_faults.FINDING.find(context))

    assert shares([*noisy, *small[1:], *turned]) == (128, 90 / 200, [])
    single, share, told = shares([*noisy, fortieth, *small, *turned])
    assert (single, share) == (50, 0.25)
    assert told == [
        (tuple(range(40)), 40, "Noise: 40 of 200 images (20 %); “0.png” is noisy."),
        (tuple(range(40)), 40, "Odd size: 40 of 200 images (20 %); “0.png” is small."),
    ]


def test_odd_sizes_are_beyond_seven_tenths_of_an_octave_or_far_from_all_but_a_tenth() -> None:
    for side, odd in (
        (157, True),
        (158, False),
        (415, False),
        (416, True),
        (128, True),
        (512, True),
    ):  # 256 * 2**0.7 = 415.9
        assert told({"width": side, "height": side}) == ({"odd_size": float(side)} if odd else {})
    formats = np.where(np.arange(N) < 10, 128.0, 256.0)
    assert told(width=formats, height=formats) == {}  # another resolution
    sides = np.linspace(100, 1000, N)
    for share, end in ((0.1, 1.0), (0.9, 1e4)):
        tenth = float(2 ** np.quantile(np.log2(np.r_[end, sides[1:]]), share))
        for part, odd in ((0.49, share < 0.5), (0.51, False), (1.99, False), (2.01, share > 0.5)):
            first = {"width": part * tenth, "height": part * tenth}
            assert ("odd_size" in told(first, width=sides, height=sides)) == odd


def test_odd_shapes_are_those_of_neither_way_that_the_set_has() -> None:
    assert told({"width": 420.0}) == {"odd_aspect": 1.640625}
    assert told({"width": 410.0}) == {}
    assert told({"height": 420.0}) == {"odd_aspect": 0.609524}
    lying = {"width": np.where(np.arange(N) < 3, 300.0, 400.0), "height": np.where(np.arange(N) < 3, 400.0, 300.0)}
    assert told(**lying) == {}  # one in twenty was turned
    few = {"width": np.where(np.arange(N) < 1, 300.0, 400.0), "height": np.where(np.arange(N) < 1, 400.0, 300.0)}
    assert told(**few) == {"odd_aspect": 0.75}
    assert told({"width": 800.0, "height": 300.0}, **lying)
    # where shapes vary much: twice as wide or narrow as all but a tenth
    shapes = np.linspace(-1, 1, N)
    for way in (-1, 1):
        for beyond, odd in ((0.95, False), (1.05, True)):
            shape = way * (0.8 + beyond)
            assert bool(told({"width": 256.0 * 2**shape, "height": 256.0}, width=256.0 * 2**shapes)) == odd


def test_grey_is_odd_where_three_quarters_are_coloured() -> None:
    assert told({"colour": 0.2}) == {"grey_among_colour": 0.2}
    assert told({"colour": 0.21}) == {}
    colours = np.where(np.arange(N) < 15, 0.5, 6.0)
    assert told({"colour": 0.1}, colour=colours) == {"grey_among_colour": 0.1}
    colours[15] = 0.5
    assert told({"colour": 0.1}, colour=colours) == {}


def test_blank_is_told_unless_most_are() -> None:
    assert told({"low": 100.0, "high": 108.0, "mean": 100.0})["blank"] == 8.0
    assert "blank" not in told({"low": 100.0, "high": 108.5, "mean": 100.0})
    level = np.full(N, 100.0)
    for blank, is_told in ((29, True), (30, False)):
        high = np.where(np.arange(N) < blank, 100.0, 235.0)
        table = pd.DataFrame({f"original_{name}": np.full(N, value) for name, value in PLAIN.items()})
        table = table.assign(image=range(N), original_low=level, original_high=high)
        assert [fault.image for fault in quality._blank(table)] == (list(range(blank)) if is_told else [])


def test_faults_of_a_set_are_sorted_and_a_blank_one_has_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame(
        {"image": range(N), "pixels": "x", "format": "PNG", "width": 256.0, "height": 256.0}
        | {f"original_{name}": np.full(N, value) for name, value in PLAIN.items()}
    )
    columns = [f"original_{name}" for name in ("low", "high", "mean", "edges")]
    table.loc[3, columns] = [100.0, 100.0, 100.0, 0.1]
    table.loc[5, ["original_edges", "original_colour"]] = [0.1, 0.0]
    table.loc[7, ["original_low", "original_high", "original_grain", "original_noise"]] = [100.0, 140.0, 9.0, 9.0]
    monkeypatch.setattr(
        quality, "_lying", lambda used, blocks, seed, spoilt: [quality.Fault(9, str(sorted(spoilt)), 0, "")]
    )
    found = quality.faults(table, lambda ids: iter(()))
    assert [(fault.image, fault.fault) for fault in found] == [
        (3, "blank"),
        (5, "blurred"),
        (5, "grey_among_colour"),
        (7, "noise"),
        (9, "[3, 5, 7]"),
    ]
    assert quality.faults(table[:19], lambda ids: iter(())) == []
    assert quality.faults(table[:20], lambda ids: iter(()))
    assert quality.faults(table.drop(columns="original_mean"), lambda ids: iter(())) == []


def test_of_changes_the_likelier_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {CHANGES[0]: [0.9, -0.8, -0.5, -0.9], CHANGES[1]: [0.9, -0.9, -0.6, -0.1]}
    away = {CHANGES[0]: [np.inf, 2.0, 3.0, np.inf], CHANGES[1]: [np.inf, 1.5, np.inf, np.inf]}

    def likeness(blocks: Any, ids: np.ndarray, seed: int, learnt: np.ndarray, bound: Any) -> dict:
        assert learnt.tolist() == [True, True, False, True]
        values = np.linspace(0.5, 1.5, 40)
        # nearly as sure as of all but one in twenty of the pictures if they were changed
        assert bound(values) == -0.75 * float(np.quantile(values, 0.05)) < quality._fence(values, 0.05, (0.05, 0.15))[1]
        doubtful = np.linspace(-0.1, 1.5, 40)
        assert bound(doubtful) == min(quality._fence(doubtful, 0.05, (0.05, 0.15))[1], -0.2)
        assert bound(np.full(40, 1.0)) == -0.2 or bound(np.full(40, 1.0)) < -0.2
        return {change: Likeness(np.array(scores[change]), np.array(away[change]), 0.874) for change in scores}

    monkeypatch.setattr(quality, "likeness", likeness)
    used = pd.DataFrame({"image": [4, 5, 6, 7], **{f"original_{name}": value for name, value in PLAIN.items()}})
    used = used.assign(original_spread=20.0, width=9.0, height=9.0, pixels="x")
    found = quality._lying(used, lambda ids: iter(()), 0, {6})
    assert [(fault.image, fault.fault, fault.value) for fault in found] == [
        (6, "inverted", -0.5),
        (5, "wrong_orientation", -0.9),
    ]
    assert found[0].words == (
        "seems inverted (black and white exchanged): on a scale from -1 (so changed) to 1 (as the others are) it has -0.5;"
        " of the others, 87 % would be recognised if they were so changed"
    )


def test_measures_of_odd_pictures_are_numbers_or_nothing() -> None:
    """Of a pixel, a line, even and exact patterns and heavy JPEGs: no warning, nothing infinite."""
    rng = np.random.default_rng(5)
    sides = (1, 2, 3, 7, 8, 9, 16, 33, 65)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case in range(120):
            high, wide = rng.choice(sides, 2)
            ramp = np.add.outer(np.arange(high), np.arange(wide))
            kinds = [
                np.full((high, wide), rng.choice([0, 1, 254, 255])),
                rng.integers(0, 256, (high, wide)),
                ramp % 2 * 255,
                ramp // 8 % 2 * 200,
                (rng.random((high, wide)) < 0.01) * 255,
                np.where(np.arange(high)[:, None] < high // 2, 0, 255) + np.zeros((1, wide)),
            ]
            image = Image.fromarray(kinds[case % len(kinds)].astype(np.uint8))
            if case % 3 == 0:
                image.convert("RGB").save(file := io.BytesIO(), "JPEG", quality=int(rng.choice([1, 5, 25, 95])))
                image = Image.open(file)
            found = np.array([float(value) for value in measure_image(np.asarray(image))])
            assert not np.isinf(found).any(), (case, found)


@pytest.mark.parametrize(("white", "told"), [(99.7, "99.7 %"), (100.0, "100 %"), (31.4, "31 %")])
def test_all_pixels_are_white_only_where_all_are(white: float, told: str) -> None:
    used = pd.DataFrame({"image": [7]})
    words = "is overexposed: {1} of its pixels are white"
    (fault,) = quality._rows(used, np.array([True]), "overexposed", np.array([white]), words)
    assert fault == (7, "overexposed", white, f"is overexposed: {told} of its pixels are white")


def test_nearly_blank_is_nearly_all_of_one_level_or_of_next_to_no_spread() -> None:
    assert told({"flat": 0.95}) == {"nearly_blank": 95.0}
    assert told({"flat": 0.84}) == {}
    assert told({"flat": 0.95}, flat=np.linspace(0.0, 0.93, N)) == {}  # of sets that are of any evenness
    # beside many: at most a third of what all but a tenth have besides
    many = np.linspace(0.3, 0.5, N)
    rest = 1.01 - float(np.quantile(many[1:], 0.9))
    assert told({"flat": 1.01 - 0.3 * rest}, flat=many) == {"nearly_blank": round(100 * (1.01 - 0.3 * rest), 6)}
    assert told({"spread": 14.0, "flat": 0.6}) == {"nearly_blank": 14.0}
    assert told({"spread": 16.0, "flat": 0.6}) == {}  # 4 grey levels more are above a third of the others'
    assert told({"spread": 14.0, "flat": 0.4}) == {}


def test_nearly_blank_says_what_is_usual() -> None:
    table: dict[str, Any] = {"image": range(N), "flat": 0.1, "spread": 56.0}
    images = pd.DataFrame({name if name == "image" else f"original_{name}": value for name, value in table.items()})
    images.loc[0, "original_flat"] = 0.95
    images.loc[1, ["original_flat", "original_spread"]] = 0.6, 12.0
    even, faint = quality._nearly_blank(images, np.zeros(N, bool))
    assert even.words == "shows next to nothing: 95 % of its pixels are of one grey level, usually 10 %"
    assert faint.words == "shows next to nothing: the standard deviation of its grey levels is 12, usually 56"
    known = np.arange(N) < 2
    assert quality._nearly_blank(images, known) == []


def test_moved_is_soft_in_one_direction_beside_the_others() -> None:
    assert list(told({"edges": 0.34, "streak": 2.0})) == ["blurred"]
    assert told({"edges": 0.36, "streak": 2.0}) == {}
    assert told({"edges": 0.34, "streak": 1.36}) == {}  # 0.44 octaves sharper across
    assert told({"edges": 0.35, "streak": 1.4}, streak=1.6) == {}  # where others have as much
    assert list(told({"edges": 0.35, "streak": 2.2}, streak=1.6)) == ["blurred"]


@pytest.mark.parametrize(("octaves", "odd"), [(-0.55, False), (-0.75, True), (0.55, False), (0.75, True)])
def test_a_shape_is_odd_seven_tenths_of_an_octave_from_the_usual(octaves: float, odd: bool) -> None:
    assert list(told({"width": 256.0, "height": 256.0 * 2**-octaves})) == (["odd_aspect"] if odd else [])


# --- detail that was lost since the previous audit --------------------------------------------------------------------------


def pictures(*rows: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(detail_lost.COLUMNS))


def test_detail_is_lost_with_the_side_or_with_the_focus() -> None:
    before = pictures(*[(200.0, 50.0, 0.6)] * 10)
    after = pictures(
        (140, 35, 0.6),  # 0.7 of the side
        (142, 36, 0.6),
        (200, 50, 0.25 + 0.164),  # 0.37 above a blur and as much as makes a logarithm: half of it, and a little less
        (200, 50, 0.25 + 0.166),
        (200, 50, 0.1),  # a blur is no more than a blur
        (280, 70, 0.3),  # larger, by less than 1 / 0.7
        (290, 72, 0.3),
        (200, 50, np.nan),
        (0, 0, 0.6),
        (100, 25, 0.25),  # smaller: the side counts
    )
    wanted = [-np.log2(0.7), 0, np.log2(0.37 / 0.184), 0, np.log2(0.37 / 0.02), np.log2(0.37 / 0.07), 0, 0, 0, 1]
    np.testing.assert_allclose(detail_lost.lost_detail(before, after), wanted, atol=1e-9)
    of_nothing = detail_lost.lost_detail(pictures((0, 0, 0.6)), pictures((0.25, 1, 0.6)))
    assert of_nothing.tolist() == [1.0]


def test_what_lost_most_is_told_first_and_in_what_way() -> None:
    columns = [
        "image",
        "lost",
        "width",
        "height",
        "width_before",
        "height_before",
        "original_focus",
        "original_focus_before",
    ]
    rows = [
        (3, 1.0, 50, 50, 100, 100, 0.6, 0.6),
        (1, 1.5, 100, 98, 140, 140, 0.3, 0.61),
        (2, 1.0, 70, 70, 100, 100, 0.6, 0.6),
    ]
    detail = pd.DataFrame(rows, columns=columns)
    images = pd.DataFrame({"image": range(4), "path": ["a.png", "b.png", "c.png", None]})
    context = cast("Context", SimpleNamespace(images=images, since=SimpleNamespace(detail=detail, paired=12)))
    found = [(ids, value, words.partition(" ")[2]) for ids, value, words in detail_lost.find(context)]
    assert found == [
        ((1,), 1.5, "is blurred: focus 0.30, 0.61 in the previous audit."),
        ((2,), 1.0, "has 70 x 70 pixels, 100 x 100 in the previous audit."),
        ((3,), 1.0, "has 50 x 50 pixels, 100 x 100 in the previous audit."),
    ]
    assert detail_lost.measures(context) == {"detail_lost_share": 0.25}
    for since in (None, SimpleNamespace(detail=None, paired=12)):
        nothing = cast("Context", SimpleNamespace(images=images, since=since))
        assert (list(detail_lost.find(nothing)), detail_lost.measures(nothing)) == ([], {})
    none_paired = cast("Context", SimpleNamespace(images=images, since=SimpleNamespace(detail=detail[:0], paired=0)))
    assert detail_lost.measures(none_paired) == {}
