"""Pictures laid over each other, and which are near-copies, by the letter: each step against loops, and where each bound lies."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from dataprops.findings import agreement, align, copy_difference, copy_threshold, copy_words, nearcopies, thumbnails
from dataprops.findings.align import Alignment
from dataprops.findings.candidates import SYMMETRIES, VIEWS, Candidates, border_lines
from dataprops.findings.nearcopies import NearCopies
from dataprops.findings.thumbnails import Stretched
from dataprops.findings.warps import grid_of, positions
from dataprops.util.threads import one_thread

EYE = np.eye(2, 3, dtype=np.float32)


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Small pieces are quicker in one thread."""
    with one_thread():
        yield


def tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def pictures(n: int, side: int, seed: int = 0) -> np.ndarray:
    """Blobs and fine detail, uint8 [n, s, s]."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.zoom(rng.uniform(40, 200, (n, 5, 5)), (1, side / 5, side / 5), order=1)
    fine = ndimage.gaussian_filter(rng.normal(0, 60, (n, side, side)), (0, 0.8, 0.8))
    return np.clip(coarse + fine, 0, 255).astype(np.uint8)


# positions, turns, boxes


def test_positions_are_the_middles_of_pixels_and_maps_lead_from_them() -> None:
    x, y = positions(4)
    assert x[0, 2].tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert y[0, :, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]
    warp = np.random.default_rng(0).normal(size=(3, 2, 3)).astype(np.float32)
    wanted = torch.nn.functional.affine_grid(tensor(warp), [3, 1, 5, 5], align_corners=False)
    np.testing.assert_allclose(grid_of(tensor(warp), 5), wanted, atol=1e-6)


@pytest.mark.parametrize("symmetry", range(8))
def test_a_turned_picture_and_its_box_are_turned_alike(symmetry: int) -> None:
    image = np.random.default_rng(1).normal(size=(2, 6, 6)).astype(np.float32)
    transpose, across, down = SYMMETRIES[symmetry]
    wanted = image.transpose(0, 2, 1) if transpose else image
    wanted = np.flip(wanted, [axis for axis, yes in ((2, across), (1, down)) if yes])
    np.testing.assert_array_equal(align.turn(image, symmetry), wanted)
    np.testing.assert_array_equal(align._turned(torch.from_numpy(image), symmetry), wanted)
    box = np.array([[-0.7, -0.4, 0.3, 1.0]])
    held = agreement.inside(tensor(box), *positions(20))
    turned = agreement.inside(tensor(align._turned_box(box, symmetry)), *positions(20))
    np.testing.assert_array_equal(align.turn(held.numpy(), symmetry), turned)


def test_what_is_inside_a_box_includes_its_sides() -> None:
    line = torch.tensor([[[-0.5, 0.0, 0.5, 0.51, -0.51]]])
    box = torch.tensor([[-0.5, -0.25, 0.5, 0.25]])
    assert agreement.inside(box, line, torch.zeros_like(line)).tolist() == [[[True, True, True, False, False]]]
    down = torch.tensor([[[-0.25, 0.25, 0.26, -0.26, 0.0]]])
    assert agreement.inside(box, torch.zeros_like(down), down).tolist() == [[[True, True, False, False, True]]]


# filters


def test_a_blur_is_a_gaussian_whose_weights_add_up_at_the_edge() -> None:
    images = np.random.default_rng(2).normal(size=(2, 12, 12))
    at = np.arange(12)
    weight = np.exp(-0.5 * ((at[:, None] - at) / 1.5) ** 2)
    weight[weight < 1e-4] = 0
    weight /= weight.sum(1, keepdims=True)
    wanted = np.einsum("ij,njk,lk->nil", weight, images, weight)
    np.testing.assert_allclose(agreement.blurred(tensor(images), 1.5), wanted, atol=1e-5)


def test_a_band_has_a_spread_of_one_within_its_box() -> None:
    images, within = tensor(pictures(3, 24)), torch.zeros(3, 24, 24)
    within[:, 3:20, 5:22] = 1
    band = align._band(images, within)
    rough = (agreement.blurred(images, 0.7) - agreement.blurred(images, 4.0)).numpy()
    for one, before in zip(band.numpy(), rough, strict=True):
        np.testing.assert_allclose(one, before / before[3:20, 5:22].std(), rtol=1e-3, atol=1e-4)
    assert align._band(torch.full((1, 24, 24), 7.0), within[:1]).abs().max() < 1e-2


def test_slopes_are_changes_per_unit_of_position_and_none_at_the_edge() -> None:
    x, y = positions(10)
    across, down = align._slopes(3 * x + 5 * y)
    assert across[0, :, 1:-1].numpy() == pytest.approx(3, abs=1e-5)
    assert down[0, 1:-1].numpy() == pytest.approx(5, abs=1e-5)
    assert not across[0, :, [0, -1]].any()
    assert not down[0, [0, -1]].any()


def step_by_loops(
    a: np.ndarray, b: np.ndarray, warp: np.ndarray, within: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, float]:
    """One step of one pair, with all pixels and parameters written out."""
    side = len(a)
    moved, covered = (
        part[0].numpy() for part in agreement.warped(tensor(b[None]), tensor(warp[None]), tensor(box[None]))
    )
    weight = (covered & within).astype(float)
    cross, power = (weight * a * moved).sum(), (weight * moved * moved).sum()
    correlation = cross / np.sqrt((weight * a * a).sum() * power)
    moved = moved * np.clip(cross / power, 0.3, 3.0)
    residual = a - moved
    weight = weight / (1 + (residual / 0.7) ** 2)
    mean = 0.5 * (a + moved)
    line = (2 * np.arange(side) + 1) / side - 1
    rows = []
    for i in range(side):
        for j in range(side):
            gx = (mean[i, j + 1] - mean[i, j - 1]) * side / 4 if 0 < j < side - 1 else 0.0
            gy = (mean[i + 1, j] - mean[i - 1, j]) * side / 4 if 0 < i < side - 1 else 0.0
            x, y = line[j], line[i]
            rows.append((gx * x, gx * y, gx, gy * x, gy * y, gy))
    jacobian, w, r = np.array(rows), weight.ravel(), residual.ravel()
    normal = jacobian.T @ (w[:, None] * jacobian)
    normal += (1e-3 * np.trace(normal) + 1e-6) * np.eye(6)
    change = np.clip(np.linalg.solve(normal, jacobian.T @ (w * r)), -0.12, 0.12).reshape(2, 3)
    stepped = warp @ np.vstack([change + np.eye(2, 3), [0, 0, 1]])
    lost = not 0.35 < np.linalg.det(stepped[:, :2]) < 2.8
    return (warp if lost else stepped), correlation


def test_a_step_is_that_of_gauss_and_newton_written_out() -> None:
    images = pictures(6, 16, seed=3)
    within = torch.ones(6, 16, 16, dtype=torch.bool)
    within[:, :, :3] = False
    band = align._band(tensor(images), within.float())
    rng = np.random.default_rng(4)
    a, b = band, torch.roll(band, 1, 2) * 1.4 + 0.2 * band.flip(0)
    warp = np.repeat(EYE[None], 6, 0) + rng.normal(0, 0.05, (6, 2, 3)).astype(np.float32)
    warp[4, :, :2] *= np.float32(1.66)  # on the brink of too large a map, and far too small
    warp[5, :, :2] *= np.float32(0.55)
    box = np.repeat([[-0.9, -1.0, 1.0, 0.8]], 6, 0)
    found, correlation = align._step(a, b, tensor(warp), within, tensor(box))
    for i in range(6):
        wanted, agreed = step_by_loops(
            a[i].double().numpy(), b[i].double().numpy(), warp[i].astype(float), within[i].numpy(), box[i]
        )
        np.testing.assert_allclose(found[i], wanted, atol=2e-3)
        assert float(correlation[i]) == pytest.approx(agreed, abs=1e-3)


def test_a_map_that_shrinks_or_stretches_too_far_is_not_followed() -> None:
    band = align._band(tensor(pictures(1, 16)), torch.ones(1, 16, 16))
    box, within = torch.tensor([[-1.0, -1, 1, 1]]), torch.ones(1, 16, 16, dtype=torch.bool)
    for scale, lost in ((0.3, True), (1.95, True), (1.0, False)):
        warp = tensor(EYE[None] * scale)
        found, _ = align._step(band, band.flip(1), warp, within, box)
        assert torch.equal(found, warp) == lost


# agreement


def test_detail_lies_between_two_blurs_within_the_mask() -> None:
    one, two = (tensor(pictures(1, 16, seed)) for seed in (5, 6))
    mask = torch.zeros(1, 16, 16)
    mask[:, 2:14, 3:15] = 1
    found = agreement._details(one, two, mask)
    for image, detail in zip((one, two), found, strict=True):
        parts = [agreement.blurred(image * mask, s) / agreement.blurred(mask, s).clamp_min(1e-3) for s in (0.6, 2.0)]
        torch.testing.assert_close(detail, (parts[0] - parts[1]) * mask)


@pytest.mark.parametrize("side", [16, 20, 64])
def test_blocks_are_correlated_by_themselves_and_weigh_by_their_detail(side: int) -> None:
    rng = np.random.default_rng(7)
    mask = np.zeros((2, side, side))
    mask[:, :, : side - 5] = 1
    strength = np.linspace(0.1, 3, side)[None, :, None]
    one = rng.normal(size=(2, side, side)) * mask * strength
    two = (0.5 * one + rng.normal(size=(2, side, side)) * strength) * mask
    corr, energy = agreement.block_correlation(tensor(one), tensor(two), tensor(mask))
    cell = max(4, -(-side // 8))
    for image in range(2):
        wanted = []
        for i in range(side // cell):
            for j in range(side // cell):
                at = np.s_[image, i * cell : (i + 1) * cell, j * cell : (j + 1) * cell]
                held = mask[at] > 0
                x, y = one[at][held], two[at][held]
                enough = held.mean() >= 0.5 and x.std() * y.std() > 1e-4
                wanted.append((np.corrcoef(x, y)[0, 1], np.sqrt(x.std() * y.std())) if enough else (0.0, 0.0))
        agrees, weighs = np.array(wanted).T
        weighs[weighs < 0.3 * weighs.mean()] = 0
        np.testing.assert_allclose(energy[image], weighs, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(corr[image][weighs > 0], agrees[weighs > 0], atol=1e-3)


def test_a_quantile_over_blocks_is_the_least_that_holds_so_much_of_the_energy() -> None:
    corr = torch.tensor([[0.9, 0.1, 0.5, 0.3]])
    energy = torch.tensor([[4.0, 1.0, 3.0, 2.0]])
    # 0.1, 0.3, 0.5, 0.9 hold 1, 3, 6, 10 of ten
    quantiles = {0.1: 0.1, 0.11: 0.3, 0.3: 0.3, 0.31: 0.5, 0.5: 0.5, 0.6: 0.5, 0.61: 0.9}
    for part, value in quantiles.items():
        assert float(agreement.energy_quantile(corr, energy, part)) == pytest.approx(value)
    assert float(agreement.energy_quantile(corr, energy)) == pytest.approx(0.5)


def test_what_lies_within_a_surround_is_taken_where_three_corners_are_of_one_level() -> None:
    grey = np.full((6, 32, 32), 100.0, np.float32)
    grey += np.random.default_rng(8).uniform(10, 90, grey.shape).astype(np.float32)
    disc = np.hypot(*np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5)) <= 13
    grey[0][~disc] = 5  # a whole surround
    grey[1][~disc] = 5
    grey[1, 0, 0] = 50  # three corners
    grey[2][~disc] = 5
    grey[2, 0, 0] = grey[2, 0, -1] = 50  # two
    grey[3, :2, :] = grey[3, :, 0] = 5  # 2 of 32 rows and a column: 94 of 1,024 pixels are more than a twentieth
    grey[3, 0, 0] = 11  # within six grey levels
    grey[4, 0, [0, -1]] = grey[4, -1, [0, -1]] = 5  # corners alone
    grey[5][~disc] = 5
    grey[5, 15:17, 15:17] = 5  # not joined to the corners
    found = agreement.inner_masks(grey)
    around = ~disc
    for image, corner in ((0, False), (1, True), (5, False)):
        surround = around.copy()
        surround[0, 0] &= not corner
        np.testing.assert_array_equal(found[image], ~ndimage.binary_dilation(surround, iterations=2))
    assert found[2].all()
    assert found[4].all()
    frame = np.zeros((32, 32), bool)
    frame[:2], frame[:, 0] = True, True
    np.testing.assert_array_equal(
        found[3], ~ndimage.binary_dilation(frame, iterations=2) if frame.mean() >= 0.05 else 1
    )


def agreed(a: np.ndarray, b: np.ndarray, own: np.ndarray, **given: Any) -> np.ndarray:
    """`agreement_of` of one pair: detail, covered, gain, offset, differing."""
    one = torch.ones(1, *a.shape)
    warp, box = given.get("warp", EYE), given.get("box", [-1.0, -1, 1, 1])
    inner = given.get("inner", (one, one))
    told = agreement.agreement_of(
        tensor(a[None]), tensor(b[None]), tensor(warp[None]), torch.from_numpy(own[None]), tensor([box]), inner
    )
    return told[0].numpy()


def test_agreement_is_of_the_detail_the_cover_and_the_line_between_grey_levels() -> None:
    a = pictures(1, 32, seed=9)[0].astype(float)
    own = np.ones((32, 32), bool)
    detail, covered, gain, offset, differing = agreed(a, (a - 30) / 0.8, own)
    assert (detail, covered, gain) == pytest.approx((1, 1, 0.8), abs=1e-3)
    assert offset == pytest.approx(30, abs=0.1)
    assert differing == 0
    # of b half of the side is shown: a quarter, and of the larger one a half where a is half as large
    left = own.copy()
    left[:, 16:] = False
    assert agreed(a, a, left)[1] == pytest.approx(0.5)
    box = [-1.0, -1, 0.0, 1]
    assert agreed(a, a, left, box=box)[1] == pytest.approx(1)
    assert agreed(a, a, left, box=box)[0] == pytest.approx(1, abs=1e-3)
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float32)  # a shows a quarter of b
    assert agreed(a, a, own, warp=half)[1] == pytest.approx(1)
    assert agreed(a, a, own, warp=2 * EYE)[1] == pytest.approx(0.25)  # and b a quarter of a: too little
    assert agreed(a, a, own, warp=2 * EYE)[0] == 0
    other = pictures(1, 32, seed=10)[0].astype(float)
    mixed = a.copy()
    mixed[:8] = other[:8]
    told = agreed(a, mixed, own)
    corr, energy = agreement.block_correlation(
        *agreement._details(tensor(a[None]), tensor(mixed[None]), torch.ones(1, 32, 32)), torch.ones(1, 32, 32)
    )
    median, quartile = agreement.energy_quantile(corr, energy), agreement.energy_quantile(corr, energy, 0.25)
    assert told[0] == pytest.approx(float(0.5 * (median + quartile)), abs=1e-4)
    apart = float(energy[corr < 0.5 * median].sum() / energy.sum())
    assert 0.02 < apart < 0.4
    assert told[4] == pytest.approx(apart, abs=1e-4)


def test_within_a_surround_the_detail_must_agree_as_well() -> None:
    a = pictures(1, 32, seed=11)[0].astype(float)
    whole, inner = torch.ones(1, 32, 32), torch.zeros(1, 32, 32)
    inner[:, 8:24, 8:24] = 1
    b = a.copy()
    b[8:24, 8:24] = pictures(1, 32, seed=12)[0][8:24, 8:24]

    def within(one: np.ndarray, two: np.ndarray, held: torch.Tensor = inner) -> float:
        return float(agreement._within(tensor(one[None]), tensor(two[None]), held, whole))

    assert within(a, a) == pytest.approx(1, abs=1e-3)
    assert within(a, b) < 0.4
    assert within(a, b, whole) == 1  # no surround
    few = torch.zeros(1, 32, 32)
    few[:, 10:20, 10:20] = 1  # less than a tenth
    assert within(a, b, few) == 1
    few[:, 10:20, 10:21] = 1
    assert within(a, b, few) < 1
    # without any detail brightness decides
    flat = np.full((32, 32), 90.0)
    assert within(flat, flat + 4.0) == 1
    assert within(flat, flat + 4.1) == 0
    inside = agreed(a, b, np.ones((32, 32), bool), inner=(inner, inner))
    assert inside[0] == pytest.approx(within(a, b), abs=1e-4)
    assert agreed(a, b, np.ones((32, 32), bool))[0] > inside[0]


def test_borders_are_filled_with_the_outermost_lines_of_the_content() -> None:
    thumbs = pictures(2, 24, seed=13)
    thumbs[0, :3], thumbs[0, :, -4:] = 0, 0
    lines = np.array([[0, 3, 4, 0], [0, 0, 0, 0]])
    filled = align._filled(thumbs, lines)
    np.testing.assert_array_equal(filled[0], np.pad(thumbs[0, 3:, :-4], ((3, 0), (0, 4)), mode="edge"))
    np.testing.assert_array_equal(filled[1], thumbs[1])
    made = align._prepared(thumbs, border_lines(thumbs), False)  # a line more is left out: it may be half of the border
    np.testing.assert_allclose(made.boxes, [[-1, -1 + 8 / 24, 1 - 10 / 24, 1], [-1, -1, 1, 1]])
    np.testing.assert_array_equal(made.grey[0], np.pad(thumbs[0, 4:, :-5], ((4, 0), (0, 5)), mode="edge"))
    np.testing.assert_array_equal(made.grey[1], thumbs[1])
    within = np.zeros((24, 24), bool)
    within[4:, :-5] = True
    np.testing.assert_array_equal(made.within[0], within)
    assert made.half is None
    halved = align._prepared(thumbs, border_lines(thumbs), True)
    assert halved.half is not None
    assert halved.half_within is not None
    small = torch.nn.functional.avg_pool2d(halved.grey[:, None], 2)[:, 0]
    torch.testing.assert_close(halved.half, align._band(small, halved.half_within.float()))


def test_maps_begin_where_the_view_says() -> None:
    content = next(i for i, view in enumerate(VIEWS) if view.content and view.b != VIEWS[0].b)
    part = next(i for i, view in enumerate(VIEWS) if not view.content and view.a != view.b)
    view = np.array([0, content, part])
    boxes_a, boxes_b = np.array([[-0.8, -0.6, 0.8, 1.0]] * 3), np.array([[-1.0, -0.9, 0.5, 0.7]] * 3)
    warps = align.start_warps(view, boxes_a, boxes_b)
    np.testing.assert_array_equal(warps[0], EYE)
    for number, warp in zip(view[1:], warps[1:], strict=True):
        one, two = VIEWS[number].a, VIEWS[number].b
        own = (boxes_a[0], boxes_b[0]) if VIEWS[number].content else (np.array([-1, -1, 1, 1.0]),) * 2
        for corner in ((0, 1), (2, 3), (0, 3)):
            at = [
                [box[axis] + window[corner[axis]] * (box[axis + 2] - box[axis]) for axis in (0, 1)]
                for window, box in zip((one, two), own, strict=True)
            ]
            np.testing.assert_allclose(warp @ [*at[0], 1.0], at[1], atol=1e-5)


def pairs(*rows: tuple[int, int, int]) -> Candidates:
    a, b, view = np.array(rows).T
    return Candidates(a, b, view, np.zeros(len(a), np.float32))


def test_copies_come_together_whatever_was_done_to_them_and_others_do_not() -> None:
    large = pictures(3, 80, seed=14)
    thumbs = np.zeros((6, 32, 32), np.uint8)
    thumbs[0], thumbs[1] = large[0, 20:52, 20:52], large[1, 20:52, 20:52]
    thumbs[2] = large[0, 22:54, 19:51]  # moved by two pixels down and one left
    thumbs[3] = np.clip(0.7 * large[0, 20:52, 20:52] + 40, 0, 255)
    for symmetry in (1, 5):
        inverse = next(k for k in range(8) if (align.turn(align.turn(thumbs[0], k), symmetry) == thumbs[0]).all())
        thumbs[4] = align.turn(thumbs[0], inverse)
        view = next(i for i, one in enumerate(VIEWS) if one.symmetry == symmetry)
        found = align.align(thumbs, pairs((0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 4, view), (0, 4, 0)))
        assert found.detail[0] < 0.4
        assert found.detail[1] > 0.9
        np.testing.assert_allclose(found.warp[1], [[1, 0, 2 / 32], [0, 1, -4 / 32]], atol=0.02)
        assert found.covered[1] == pytest.approx(30 * 31 / 32**2, abs=0.03)
        assert found.detail[2] > 0.97
        assert (found.gain[2], found.offset[2]) == pytest.approx((1 / 0.7, -40 / 0.7), abs=1)
        assert found.detail[3] > 0.99
        np.testing.assert_allclose(found.warp[3], EYE, atol=1e-2)
        assert found.detail[4] < 0.4
    # from a map that is given nothing is looked for first
    start = np.array([[[1, 0, 2 / 32], [0, 1, -4 / 32]]], np.float32)
    again = align.align(thumbs, pairs((0, 2, 0)), start)
    np.testing.assert_allclose(again.warp, start, atol=0.02)
    assert again.detail[0] > 0.9
    none = align.align(thumbs, Candidates(*(np.empty(0, np.int64),) * 3, np.empty(0, np.float32)))
    assert [len(part) for part in none] == [0] * 6


# near-copies


def test_the_ratio_for_neighbours_follows_from_the_dimension() -> None:
    table = pd.DataFrame({"local_dimension": [4.0, 8.0, np.nan, np.inf, 0.0, -3.0]})
    dimension = 1 / np.mean([1 / 4, 1 / 8])
    assert copy_threshold.near_ratio(table, 21) == pytest.approx((0.01 / 20) ** (1 / dimension))
    assert copy_threshold.near_ratio(table, 21, 0.001) == pytest.approx((0.001 / 20) ** (1 / dimension))
    assert (copy_threshold.false_fraction(3), copy_threshold.false_fraction(2000)) == (0.01, 0.0005)
    assert copy_threshold.near_ratio(table, 1) == pytest.approx(min(0.5, 0.01 ** (1 / dimension)))
    assert copy_threshold.near_ratio(pd.DataFrame({"local_dimension": [1000.0]}), 5) == 0.5
    assert copy_threshold.near_ratio(pd.DataFrame({"local_dimension": [np.nan]}), 5) == 0.0


def test_the_threshold_of_detail_comes_from_the_tail_of_pairs_that_are_none() -> None:
    null = np.array([0.1, 0.2, 0.4, 0.5, 0.88, 0.95])  # what reaches 0.88 is a copy itself
    passing, start, scale = copy_threshold._tail(null)
    assert (passing, start, scale) == pytest.approx((3 / 5, 0.4, (0.0 + 0.1 + 0.1) / 3))
    for looked_at, wanted in ((3, 0.65), (60, 0.4 + scale * np.log(72)), (10**9, 0.88)):
        assert copy_threshold.detail_threshold(null, looked_at) == pytest.approx(wanted)
    assert copy_threshold.chance(null, 0.6) == pytest.approx(passing * np.exp(-0.2 / scale))
    assert copy_threshold.chance(null, 0.3) == pytest.approx(passing)
    assert copy_threshold._tail(np.empty(0)) == pytest.approx((1, 0.4, 0.1))


def test_images_are_of_one_kind_if_more_than_a_tenth_of_the_look_alikes_agree_as_copies() -> None:
    null = np.r_[np.full(18, 0.3), 0.879, 0.88, 0.95]
    assert copy_threshold.alike_share(null) == 0
    assert copy_threshold.alike_share(null[2:]) == pytest.approx(2 / 19)
    assert copy_threshold.alike_share(np.empty(0)) == 0


def test_of_each_pair_the_best_view_is_confirmed_the_simplest_of_equals() -> None:
    found = nearcopies._best_views(
        pairs((0, 1, 3), (1, 0, 0), (0, 1, 20), (2, 3, 9), (2, 3, 12), (4, 5, 0), (6, 7, 0)),
        np.array([0.801, 0.8, 0.81, 0.5, 0.501, 0.39, 0.4]),
    )
    # 0.8, and 0.801 of the mirror image; 0.81 - 0.018; of the tenth view on there is no difference
    assert found.tolist() == [0, 1, 4, 6]


def test_pairs_as_they_are_are_those_of_the_nearest_six_by_their_ratio() -> None:
    images = pd.DataFrame(
        {
            "image": range(8),
            "duplicate_of": [0, 1, 2, 3, 0, 5, 6, 7],
            "knn_distance": [10.0, 20, 5, 8, 10, 9, 9, np.nan],
        }
    )
    rows = [
        (0, 1, 1, 4.0),
        (1, 0, 2, 4.0),
        (4, 2, 1, 3.0),  # image 4 is image 0
        (0, 4, 2, 0.0),
        (2, 3, 6, 4.0),
        (2, 1, 7, 4.5),  # seventh
        (5, 6, 1, 0.0),
        (7, 0, 1, 2.0),  # what is known of one is enough
    ]
    neighbours = pd.DataFrame(rows, columns=["image", "neighbour", "rank", "distance"])
    place = np.array([0, 1, 2, 3, -1, 4, 5, -1])
    found = nearcopies._plain(images, neighbours, place)
    assert found.to_numpy().tolist() == [[0, 1, 4.0, 0.4], [0, 2, 3.0, 0.6], [2, 3, 4.0, 0.8]]


def test_pairs_that_are_none_are_farther_neighbours() -> None:
    rows = [(i, (i + r) % 9, r, float(r)) for i in range(9) for r in range(1, 7)]
    neighbours = pd.DataFrame(rows, columns=["image", "neighbour", "rank", "distance"])
    first, place = np.array([0, 0, *range(2, 9)]), np.array([0, -1, *range(1, 8)])
    found = nearcopies._null(neighbours, first, place, 0)
    wanted = [(place[first[i]], place[first[j]]) for i, j, r, _ in rows if r >= 3 and first[i] != first[j]]
    assert list(zip(found.a, found.b, strict=True)) == wanted
    assert not found.view.any()
    many = pd.DataFrame([(i, i + 1, 4, 1.0) for i in range(400)], columns=["image", "neighbour", "rank", "distance"])
    drawn = nearcopies._null(many, np.arange(401), np.arange(401), 3)
    assert len(drawn.a) == 300
    assert (np.diff(drawn.a) > 0).all()
    near = pd.DataFrame([(0, 1, 1, 1.0), (1, 0, 2, 0.0), (2, 3, 2, 1.0)], columns=neighbours.columns)
    assert nearcopies._null(near, np.arange(4), np.arange(4), 0).a.tolist() == [2]


def test_what_has_too_little_contrast_is_near_to_all() -> None:
    def enough(thumbs: np.ndarray) -> list[bool]:
        gain = np.array([1, 1, 1, 1, 4.0])  # the last one was stretched
        stretched = thumbs * gain[:, None, None]
        return nearcopies._contrasts(Stretched(stretched, gain, np.zeros(5))).tolist()

    thumbs = np.zeros((5, 4, 4))
    thumbs[:, :2] = np.array([80, 40, 19.9, 20, 0])[:, None, None]  # spreads of half as much; the middle one is 10
    assert enough(thumbs) == [True, True, True, True, False]
    thumbs[:, :2] = np.array([200, 200, 200, 16, 15.9])[:, None, None]
    assert enough(thumbs) == [True, True, True, True, False]


def test_what_shows_no_detail_beyond_rounding_takes_no_part() -> None:
    rng = np.random.default_rng(5)
    rounded = rng.integers(0, 2, (2, 64, 64))
    thumbs = np.stack([np.full((64, 64), 90), 90 + rounded[0], 90 + 8 * rounded[1]]).astype(np.uint8)
    shows = nearcopies._shows_enough(Stretched(thumbs, np.array([1, 1, 8.0]), np.zeros(3)))
    assert shows.tolist() == [False, False, False]
    assert nearcopies._shows_enough(Stretched(thumbs, np.ones(3), np.zeros(3))).tolist() == [False, False, True]


def test_the_original_side_is_the_median_of_the_shorter_ones() -> None:
    table = pd.DataFrame({"width": [100, 300, 50, np.nan, 0], "height": [200, 100, 60, np.nan, 10]})
    assert nearcopies._original_side(table, np.arange(5)) == 100
    assert nearcopies._original_side(table, np.array([2])) == 50
    assert nearcopies._original_side(table, np.array([3, 4])) == float("inf")
    assert nearcopies._original_side(table[["width"]], np.arange(5)) == float("inf")


def alignment(*rows: dict[str, Any]) -> Alignment:
    """Of pairs as they are with these differences."""
    plain = {"detail": 0.95, "warp": EYE, "covered": 1.0, "gain": 1.0, "offset": 0.0, "differing": 0.0}
    parts = {name: [row.get(name, value) for row in rows] for name, value in plain.items()}
    return Alignment(**{name: np.array(values, np.float32) for name, values in parts.items()})


def decided(view: int = 0, ratio: float | None = None, **given: Any) -> bool | None:
    """Whether a pair is a copy at a threshold of 0.7; None as it is."""
    plain = pd.DataFrame({"a": [0], "b": [1], "distance": [1.0], "ratio": [0.9 if ratio is None else ratio]})
    best = nearcopies._decide(pairs((1, 0, view)), alignment(given), plain, 0.5, 0.7)
    if not len(best):
        return False
    assert best[["low", "high"]].to_numpy().tolist() == [[0, 1]]
    return None if best["as_it_is"].item() else True


def test_near_pictures_agree_beyond_what_other_pictures_of_the_dataset_do() -> None:
    """Two patients' knees were half as far from each other as from the rest, and agreed in detail as many others do."""
    plain = pd.DataFrame({"a": [0], "b": [1], "distance": [1.0], "ratio": [0.4]})
    for ordinary, copies in ((0.0, 1), (0.39, 1), (0.41, 0)):
        best = nearcopies._decide(pairs((1, 0, 0)), alignment({"detail": 0.4}), plain, 0.5, 0.7, ordinary)
        assert len(best) == copies
    null = np.r_[np.zeros(100), np.linspace(0, 0.5, 101), 0.95]  # the last is a copy itself
    assert copy_threshold.ordinary_detail(null) == pytest.approx(np.quantile(null[:-1], 0.99))
    assert copy_threshold.ordinary_detail(np.array([0.99])) == 0.0


def rotated(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0]], np.float32)


def test_copies_reach_the_threshold_and_more_where_more_could_fit() -> None:
    assert decided(detail=0.7001)
    assert decided(detail=0.699) is False
    flipped = next(i for i, view in enumerate(VIEWS) if view.symmetry)
    assert decided(flipped, detail=0.801)  # a third of the way from 0.7 to 1
    assert decided(flipped, detail=0.799) is False
    assert decided(detail=0.799, warp=rotated(1.6)) is False
    assert decided(detail=0.799, warp=rotated(-1.6)) is False
    assert decided(detail=0.799, warp=rotated(1.4))
    assert decided(detail=0.819, differing=0.016) is False  # two fifths
    assert decided(detail=0.821, differing=0.016)
    assert decided(detail=0.71, differing=0.0149)
    assert decided(flipped, detail=0.879, differing=0.016) is False  # both: two fifths of what a third leaves
    assert decided(flipped, detail=0.881, differing=0.016)


def test_what_is_near_as_it_is_lies_as_it_is_and_agrees_by_half() -> None:
    assert decided(ratio=0.5, detail=0.351) is None
    assert decided(ratio=0.5, detail=0.349) is False
    assert decided(ratio=0.51, detail=0.36) is False
    moved = EYE + np.array([[0, 0, 0.05], [0, 0, 0]], np.float32)
    assert decided(ratio=0.4, detail=0.6, warp=moved + np.float32(1e-4)) is False
    assert decided(ratio=0.4, detail=0.6, warp=EYE + np.array([[0, 0, 0.049], [0, 0, 0]], np.float32)) is None
    flipped = next(i for i, view in enumerate(VIEWS) if view.symmetry)
    assert decided(flipped, ratio=0.4, detail=0.6) is False


def test_of_the_views_of_a_pair_the_one_that_agrees_best_is_kept() -> None:
    nothing = pd.DataFrame({"a": [], "b": [], "distance": [], "ratio": []}).astype({"a": np.int64, "b": np.int64})
    wanted = pairs((0, 1, 0), (1, 0, 9), (0, 1, 30))
    best = nearcopies._decide(
        wanted, alignment({"detail": 0.9}, {"detail": 0.917}, {"detail": 0.919}), nothing, 0.5, 0.7
    )
    assert best["number"].tolist() == [2]
    best = nearcopies._decide(
        wanted, alignment({"detail": 0.9}, {"detail": 0.917}, {"detail": 0.917}), nothing, 0.5, 0.7
    )
    assert best["number"].tolist() == [0]


def test_with_a_given_distance_unchanged_pairs_are_the_listed_ones() -> None:
    flipped = next(i for i, view in enumerate(VIEWS) if view.symmetry)
    nothing = pd.DataFrame({"a": [], "b": [], "distance": [], "ratio": []}).astype({"a": np.int64, "b": np.int64})
    changes = [{}, {}, {"gain": 1.06}, {"gain": 1.04, "offset": 5.9}, {"offset": 6.1}]
    moved = [{"warp": EYE + np.float32(0.031)}, {"warp": EYE + np.float32(0.029)}]
    rows = [(0, 1, 0), (2, 3, flipped), (4, 5, 0), (6, 7, 0), (8, 9, 0), (10, 11, 0), (12, 13, 0)]
    best = nearcopies._decide(pairs(*rows), alignment(*changes, *moved), nothing, 0.5, 0.7)
    listed = pd.DataFrame({"a": [21, 9], "b": [20, 8], "distance": [1.0, 2.0]})
    found = nearcopies._overruled(best, listed, np.arange(22))
    both = found[["a", "b"]].to_numpy().tolist()
    assert both[:2] == [[20, 21], [8, 9]]
    assert sorted(both[2:]) == [[2, 3], [4, 5], [10, 11]]
    given = found.iloc[0]
    assert (given["view"], given["detail"], given["gain"], given["offset"]) == (0, 1, 1, 0)
    assert (given["differing"], given["covered"], given["as_it_is"]) == (0, 1, True)
    assert float(found.iloc[1]["offset"]) == pytest.approx(6.1)


def test_small_pictures_are_near_by_distance_alone() -> None:
    images = pd.DataFrame({"knn_distance": [4.0, 8.0, 6.0, np.nan]})
    plain = pd.DataFrame({"a": [0, 1], "b": [1, 2], "distance": [2.0, 5.0], "ratio": [0.5, 0.51]})
    distinct = np.array([3, 7, 9])
    found = nearcopies._by_distance(images, distinct, plain, 0.5, None, None, 16)
    assert found.pairs[["a", "b", "distance", "rms", "what"]].to_numpy().tolist() == [[3, 7, 2.0, 0.5, "the same view"]]
    assert found.near_rms == pytest.approx(0.5 * 6 / 4)
    assert found.false_share == pytest.approx(0.01 * 3 / 2)
    listed = pd.DataFrame({"a": [7, 3], "b": [9, 9], "distance": [8.0, 4.0]})
    given = nearcopies._by_distance(images, distinct, plain, 0.5, 2.0, listed, 16)
    assert given.pairs[["a", "b", "rms"]].to_numpy().tolist() == [[3, 9, 1.0], [7, 9, 2.0]]
    assert (given.near_rms, given.false_share) == (2.0, 0.0)
    none = nearcopies._by_distance(images, distinct, plain, 0.4, None, None, 16)
    assert (len(none.pairs), none.false_share) == (0, 0.0)
    assert nearcopies._median_rms(None, 0.5, images.assign(knn_distance=np.nan), 16) == 0.0


def test_of_many_small_pictures_half_a_pair_is_near_by_chance() -> None:
    flat = np.random.default_rng(22).integers(0, 256, (1500, 4)).astype(np.uint8)  # a space filled evenly
    flat[7] = flat[3] ^ 1
    images = np.zeros((1500, 8, 8, 1), np.uint8)
    images[:, :2, :2, 0] = flat.reshape(-1, 2, 2)
    table, neighbours = tables_of(images, 20)
    dimension = table.assign(local_dimension=4.0)
    found = nearcopies.near_copies(dimension, neighbours, blocks_of(images), features=64)
    assert [3, 7] in found.pairs[["a", "b"]].to_numpy().tolist()
    assert len(found.pairs) <= 3  # a hundredth of the images: a dozen
    assert found.false_share == pytest.approx(0.5 / len(found.pairs))


def test_the_shown_distance_is_that_of_the_farthest_unchanged_copy() -> None:
    images = pd.DataFrame({"knn_distance": [6.0]})
    best = pd.DataFrame({"view": [0, 0, 0], "gain": [1.0, 1.0, 1.2], "offset": 0.0, "as_it_is": [True, True, True]})
    best["warp"] = [EYE] * 3
    distance = np.array([2.0, 4.0, 9.0])
    assert nearcopies._shown_rms(None, best, distance, 0.5, images, 16) == 1.0
    assert nearcopies._shown_rms(3.0, best, distance, 0.5, images, 16) == 3.0
    assert nearcopies._shown_rms(None, best.assign(as_it_is=False), distance, 0.5, images, 16) == pytest.approx(0.75)


def blocks_of(images: np.ndarray) -> Any:
    def blocks(ids: list[int]) -> Any:
        for start in range(0, len(ids), 3):
            yield ids[start : start + 3], images[ids[start : start + 3]]

    return blocks


def test_compared_are_the_images_as_they_are_and_after_the_best_line() -> None:
    images = pictures(4, 40, seed=15)[..., None]
    images[1] = images[0] * 0.7 + 30
    images[3] = images[2, :, ::-1]
    best = pd.DataFrame({"view": [0, 1, 0], "warp": [EYE] * 3})
    a, b = np.array([0, 2, 0]), np.array([1, 3, 2])
    distance, rms, spread, apart, half, cells, flat = copy_difference.compare(blocks_of(images), a, b, best)
    assert (apart[1], half[1]) == pytest.approx((0, 0), abs=1e-3)
    assert half[0] < nearcopies.MOST_HALF * cells[0] < half[2]
    assert apart[0] < nearcopies.OTHER_TONES < apart[2]
    means = images[[0, 2, 0], ..., 0].astype(float).reshape(3, 8, 5, 8, 5).mean((2, 4)).reshape(3, -1)
    np.testing.assert_allclose(cells, means.std(1), rtol=0.05)
    assert (flat < nearcopies.DRAWN).all()
    flat = images.reshape(4, -1).astype(float)
    np.testing.assert_allclose(distance, [np.linalg.norm(flat[i] - flat[j]) for i, j in zip(a, b, strict=True)])
    assert rms[0] == pytest.approx(np.std(flat[0] - flat[1] / 0.7), rel=0.05)
    assert rms[1] == pytest.approx(0, abs=1e-3)
    correlation = np.corrcoef(flat[0], flat[2])[0, 1]
    assert rms[2] == pytest.approx(flat[0].std() * np.sqrt(1 - correlation**2), rel=1e-3)
    np.testing.assert_allclose(spread, flat[[0, 2, 0]].std(1), rtol=1e-3)


def drawing(ground: tuple[int, int, int], heart: tuple[int, int, int]) -> np.ndarray:
    """A disc on a ground, uint8 [64, 64, 3]."""
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    return np.where(((x - 30) ** 2 + (y - 34) ** 2 < 400)[..., None], heart, ground).astype(np.uint8)


def test_one_drawing_in_two_colours_is_two_and_in_grey_or_darker_is_one() -> None:
    red = drawing((20, 20, 20), (220, 60, 60))
    grey = np.repeat((red @ [0.299, 0.587, 0.114])[..., None], 3, 2)
    written = red.copy()
    written[2:12, 50:60] = 255
    others = [
        drawing((20, 20, 20), (60, 60, 220)),
        drawing((90, 160, 20), (220, 60, 60)),
        0.8 * red + 20,
        grey,
        written,
        drawing((20, 20, 20), (150, 150, 150)),  # a grey one, brighter than the red one
    ]
    images = np.stack([red, *others]).astype(np.uint8)
    b = np.arange(1, 7)
    best = pd.DataFrame({"view": [0] * 6, "warp": [EYE] * 6})
    found = copy_difference.compare(blocks_of(images), np.zeros(6, int), b, best)
    assert (found.flat >= nearcopies.DRAWN).all()
    assert (found.apart > nearcopies.OTHER_TONES).tolist() == [True, True, False, False, False, True]


def test_a_drawing_with_a_large_part_in_a_tone_nearby_is_another() -> None:
    left = (np.arange(64) < 32)[None, :, None]
    images = [np.where(left, 20, right) * np.ones((64, 1, 1)) for right in ((220, 60, 60), (220, 85, 35))]
    best = pd.DataFrame({"view": [0], "warp": [EYE]})
    zero, one = np.zeros(1, int), np.ones(1, int)
    found = copy_difference.compare(blocks_of(np.stack(images).astype(np.uint8)), zero, one, best)
    assert nearcopies.OTHER_TONES < found.apart[0] < copy_difference.MOST_APART


def test_stripes_are_no_border_of_what_lies_between_them() -> None:
    striped = np.repeat(np.repeat([[[200], [90], [30]]], 22, 1), 64, 2)[:, :64].astype(np.uint8)
    framed = pictures(1, 64, seed=3)
    framed[:, :8] = framed[:, -8:] = 0
    assert border_lines(striped).tolist() == [[0, 0, 0, 0]]
    assert border_lines(framed).tolist() == [[0, 10, 0, 10]]


def test_what_was_done_is_told_in_words() -> None:
    table = pd.DataFrame(
        {
            "width": [10, 10, 20, 10],
            "height": [10, 10, 10, 10],
            "mode": ["L", "L", "L", "RGB"],
            "format": ["PNG", "JPEG", "PNG", "PNG"],
        }
    )

    def words(a: int, b: int, **given: Any) -> str:
        row = {"view": 0, "warp": EYE, "gain": 1.0, "offset": 0.0, "differing": 0.0, "covered": 1.0} | given
        best = pd.DataFrame({name: [value] for name, value in row.items()})
        (found,) = copy_words.describe(table, np.array([a]), np.array([b]), best)
        return found

    assert words(0, 0) == "the same view"
    assert words(0, 1) == "re-encoded"
    assert words(0, 2) == "resized"
    assert words(0, 3) == "grey for colour"
    assert words(0, 0, view=1) == "flipped left to right"
    assert words(0, 1, gain=1.06) == words(0, 0, offset=-6.1) == "brightness or contrast changed"
    assert words(0, 0, gain=0.96, offset=6.0) == "the same view"
    assert words(0, 0, differing=0.021) == words(0, 0, covered=0.969) == "marked, framed or covered in part"
    assert words(0, 0, differing=0.02, covered=0.97) == "the same view"
    assert words(0, 0, view=1, covered=0.9) == "flipped left to right"
    assert words(0, 0, warp=rotated(1.1)) == "rotated by 1°"
    assert words(0, 0, warp=rotated(0.9)) == "the same view"
    assert words(0, 0, warp=EYE * np.float32(0.9)) == words(0, 0, warp=EYE / np.float32(0.9)) == "10 % crop or border"
    assert words(0, 0, warp=EYE * np.float32(0.985)) == "the same view"
    shifted = np.array([[1, 0, 0], [0, 1, -0.031]], np.float32)
    assert words(0, 0, warp=shifted) == "shifted"
    assert words(0, 0, warp=np.array([[1, 0, 0.029], [0, 1, 0]], np.float32)) == "the same view"
    assert words(0, 1, warp=EYE * np.float32(0.9)) == "10 % crop or border"
    assert words(0, 3, gain=1.5) == "brightness or contrast changed, grey for colour"
    table["mode"] = ["L", "P", "L", "CMYK"]
    assert words(1, 3) == "other colour mode"


def test_a_series_is_of_one_patient_and_of_pictures_that_moved_or_differ() -> None:
    images = pd.DataFrame({"group": ["p", "p", None, None], "series": ["s", "t", "u", "u"]})
    plain = {"warp": EYE, "detail": 0.95, "differing": 0.05}
    changes = [{}, {"detail": 0.89}, {"differing": 0.11}, {"warp": EYE + np.float32(0.031)}, {"detail": 0.5}]
    rows = [plain | change for change in changes]
    best = pd.DataFrame({name: [row[name] for row in rows] for name in plain})
    a, b = np.array([0, 0, 2, 2, 0]), np.array([1, 1, 3, 3, 2])
    assert nearcopies._series(images, a, b, best) == [False, True, True, True, False]


def test_near_copies_of_a_set_are_found_with_their_distances() -> None:
    images = pictures(40, 32, seed=16)
    images[31] = np.clip(images[3].astype(int) + np.random.default_rng(17).integers(-3, 4, (32, 32)), 0, 255)
    images[32] = images[4, :, ::-1]
    flat = images.reshape(40, -1).astype(float)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1)[:, :8]
    table = pd.DataFrame(
        {
            "image": range(40),
            "duplicate_of": range(40),
            "knn_distance": np.sort(distance, axis=1)[:, 7],
            "local_dimension": 12.0,
        }
    )
    rows = [(i, j, r + 1, distance[i, j]) for i in range(40) for r, j in enumerate(order[i])]
    neighbours = pd.DataFrame(rows, columns=["image", "neighbour", "rank", "distance"])
    found = nearcopies.near_copies(table, neighbours, blocks_of(images[..., None]), features=1024)
    assert found.pairs[["a", "b", "what"]].to_numpy().tolist() == [
        [4, 32, "flipped left to right"],
        [3, 31, "the same view"],
    ]
    np.testing.assert_allclose(found.pairs["distance"], [distance[4, 32], distance[3, 31]])
    assert 0 <= found.false_share < 0.2
    few = nearcopies.near_copies(table[:2], neighbours, blocks_of(images[..., None]), features=1024, near_rms=2.0)
    assert isinstance(few, NearCopies)
    assert (len(few.pairs), few.near_rms) == (0, 2.0)
    small = SimpleNamespace(table=table.assign(width=15, height=15))
    by_distance = nearcopies.near_copies(small.table, neighbours, blocks_of(images[..., None]), features=1024)
    assert by_distance.pairs[["a", "b"]].to_numpy().tolist() == [[3, 31]]
    assert np.isnan(by_distance.detail_threshold)


def test_only_what_both_show_counts_for_the_line_and_what_is_left() -> None:
    images = pictures(2, 40, seed=18)[..., None]
    images[1, :, 10:] = images[0, :, :-10] // 2 + 50  # a quarter of the side to the right
    images[1, :, :10] = 250 * (np.arange(10) % 2)[None, :, None]
    warp = np.array([[1, 0, 0.5], [0, 1, 0]], np.float32)
    best = pd.DataFrame({"view": [0], "warp": [warp]})
    _, rms, spread, *_ = copy_difference.compare(blocks_of(images), np.array([0]), np.array([1]), best)
    part = images[0, :, :30, 0].astype(float)
    assert spread[0] == pytest.approx(part.std(), rel=0.03)
    assert rms[0] == pytest.approx(np.std(part - 2 * (part // 2)), rel=0.1)
    a, b = (images[i, :, :, 0].astype(float) for i in (0, 1))
    own = np.ones((40, 40), bool)
    detail, covered, gain, offset, _ = agreed(a, b, own, warp=warp)
    assert detail > 0.95
    assert covered == pytest.approx(0.75)
    assert (gain, offset) == pytest.approx((2, -100), rel=0.03)
    left = own.copy()
    left[:, :5] = False  # what is not a's own content does not count either
    again = agreed(np.where(left, a, 255.0), b, left, warp=warp)
    assert again[1] == pytest.approx(25 / 40)  # of b, which is the larger one
    assert again[2:4] == pytest.approx((2, -100), rel=0.03)


def test_the_size_of_b_is_that_of_its_box_in_a() -> None:
    a = pictures(1, 32, seed=19)[0].astype(float)
    own = np.ones((32, 32), bool)
    # b's box is a quarter of it; a map to twice the scale shows it in a sixteenth of a
    quarter = [-0.5, -0.5, 0.5, 0.5]
    assert agreed(a, a, own, box=quarter)[1] == pytest.approx(0.25, abs=0.01)
    small = np.zeros((32, 32), bool)
    small[12:20, 12:20] = True  # a sixteenth
    assert agreed(a, a, small, box=quarter, warp=2 * EYE)[1] == pytest.approx(1, abs=0.02)
    assert agreed(a, a, small, box=quarter)[1] == pytest.approx(0.25, abs=0.02)


def test_detail_within_a_surround_is_held_against_the_part_it_lies_in() -> None:
    """What shows little decides by brightness: a grey level of detail, on average over the part."""
    inner, whole = torch.zeros(1, 32, 32), torch.ones(1, 32, 32)
    inner[:, 10:22, 10:22] = 1  # a seventh
    fine = np.zeros((32, 32))
    fine[10:22, 10:22] = np.where(np.add.outer(np.arange(12), np.arange(12)) % 4 < 2, 1.0, -1.0)
    detail = agreement._details(tensor(fine[None]), tensor(fine[None]), inner)[0]
    power = float((detail**2).mean() / inner.mean()) ** 0.5
    for times, by_detail in ((0.9, False), (1.1, True)):
        one = 90 + fine * times / power
        found = float(agreement._within(tensor(one[None]), tensor(one[None] + 9.0), inner, whole))
        assert found == pytest.approx(1.0 if by_detail else 0.0, abs=0.05)


def test_copies_are_confirmed_at_twice_the_size() -> None:
    large = pictures(4, 128, seed=21)
    large[1] = np.clip(0.9 * large[0] + 20, 0, 255)
    rng = np.random.default_rng(22)
    coarse = ndimage.zoom(ndimage.zoom(large[0].astype(float), 0.5, order=1), 2, order=1)
    fine = ndimage.gaussian_filter(rng.normal(0, 120, (128, 128)), 0.7)
    large[2] = np.clip(coarse + fine - ndimage.gaussian_filter(fine, 2), 0, 255)  # alike on thumbnails alone
    blocks, distinct = blocks_of(large[..., None]), np.arange(4)
    small = nearcopies.stretched(blocks, distinct)
    wanted = pairs((0, 1, 0), (0, 2, 0), (0, 3, 0))
    rough = nearcopies._confirmed(small, None, distinct, wanted)
    assert rough.detail[0] > 0.9
    assert rough.detail[1] > 0.4
    assert rough.detail[2] == 0  # below what is worth confirming
    found = nearcopies._confirmed(small, blocks, distinct, wanted)
    assert found.detail[0] > 0.9
    assert found.detail[1] < rough.detail[1] - 0.2
    np.testing.assert_allclose(found.gain[0], 1 / 0.9, atol=0.05)
    same = nearcopies._confirmed(small, blocks_of(large[:, ::2, ::2, None]), distinct, wanted)  # no more to see
    np.testing.assert_array_equal(same.detail, rough.detail)


def with_copies(seed: int = 16) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Tables of 40 images of which 31 is 3 with noise, and 32 is 4 turned over; and the images."""
    images = pictures(40, 32, seed=seed)
    images[31] = np.clip(images[3].astype(int) + np.random.default_rng(17).integers(-3, 4, (32, 32)), 0, 255)
    images[32] = images[4, :, ::-1]
    return *tables_of(images, 8), images


def tables_of(images: np.ndarray, k: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of images and of their k nearest."""
    n = len(images)
    flat = images.reshape(n, -1).astype(float)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1)[:, :k]
    kth = np.sort(distance, axis=1)[:, k - 1]
    table = pd.DataFrame({"image": range(n), "duplicate_of": range(n), "knn_distance": kth, "local_dimension": 12.0})
    rows = [(i, j, r + 1, distance[i, j]) for i in range(n) for r, j in enumerate(order[i])]
    return table, pd.DataFrame(rows, columns=["image", "neighbour", "rank", "distance"])


@pytest.mark.parametrize("scenes", [1, 12])
def test_products_of_one_kind_are_no_copies_and_frames_of_scenes_are(scenes: int) -> None:
    rng = np.random.default_rng(20)
    shown = pictures(scenes, 32, seed=21)[np.arange(96) % scenes].astype(float)
    images = np.clip(shown + rng.normal(0, 6, shown.shape), 0, 255)
    images[95] = images[95 - scenes] + rng.normal(0, 0.3, (32, 32))  # one picture twice
    found = nearcopies.near_copies(
        *tables_of(images.astype(np.uint8), 12), blocks_of(images.astype(np.uint8)[..., None]), features=1024
    )
    told = found.pairs[["a", "b"]].to_numpy().tolist()
    assert [95 - scenes, 95] in told
    if scenes == 1:
        assert len(told) == 1
    else:
        assert len(told) > 12
    assert found.alike > 0.1
    assert found.detail_threshold <= 0.88


def test_the_share_of_pairs_by_chance_is_that_of_the_tail_among_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    table, neighbours, images = with_copies()
    seen = {}

    def threshold(null: np.ndarray, looked_at: int) -> float:
        seen.update(null=null, looked_at=looked_at)
        return copy_threshold.LEAST_DETAIL

    monkeypatch.setattr(nearcopies, "detail_threshold", threshold)
    found = nearcopies.near_copies(table, neighbours, blocks_of(images[..., None]), features=1024)
    assert len(found.pairs) == 2
    expected = copy_threshold.chance(seen["null"], 0.65) * seen["looked_at"]
    assert found.false_share == pytest.approx(min(1.0, expected / 2))
    # with a distance given, what lies within it is listed, and nothing is by chance
    listed = pd.DataFrame({"a": [3, 0], "b": [31, 1], "distance": [1.0, 2.0]})
    given = nearcopies.near_copies(
        table, neighbours, blocks_of(images[..., None]), features=1024, near_rms=9.0, listed=listed
    )
    assert (given.near_rms, given.false_share) == (9.0, 0.0)
    assert sorted(map(tuple, given.pairs[["a", "b"]].to_numpy().tolist())) == [(0, 1), (3, 31), (4, 32)]


def test_copies_that_correlate_too_little_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    table, neighbours, images = with_copies()
    for left, told in ((0.69, 1), (0.71, 0)):

        def compared(blocks: Any, a: np.ndarray, b: np.ndarray, best: pd.DataFrame, left: float = left) -> Any:
            return (
                np.ones(len(a)),
                np.full(len(a), 10 * left),
                np.full(len(a), 10.0),
                *(np.zeros(len(a)) for _ in range(4)),
            )

        monkeypatch.setattr(nearcopies, "compare", compared)
        found = nearcopies.near_copies(table, neighbours, blocks_of(images[..., None]), features=1024)
        turned = found.pairs[found.pairs["what"] == "flipped left to right"]
        assert len(turned) == told
        assert [3, 31] in found.pairs[["a", "b"]].to_numpy().tolist()  # as it is


def test_enlarged_pictures_are_compared_at_their_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    table, neighbours, images = with_copies()
    asked: list[int] = []

    found = nearcopies.stretched

    def stretched(blocks: Any, ids: np.ndarray, side: int = nearcopies.SIDE) -> Any:
        asked.append(side)
        return found(blocks, ids, side)

    monkeypatch.setattr(nearcopies, "stretched", stretched)
    for side, wanted in ((43, 64), (42, 42), (17, 17), (16, 16), (12, 16)):
        asked.clear()
        sized = table.assign(width=side, height=side + 5)
        nearcopies.near_copies(sized, neighbours, blocks_of(images[..., None]), features=1024)
        assert asked[0] == wanted
    # confirmed at 128 pixels where the originals had 86 at least
    for side, fine in ((85, False), (86, True)):
        asked.clear()
        nearcopies.near_copies(
            table.assign(width=side, height=side), neighbours, blocks_of(images[..., None]), features=1024
        )
        assert (128 in asked) == fine


@pytest.mark.parametrize(
    ("box_a", "box_b", "scale", "shift", "fraction"),
    [
        ((-1, -1, 1, 1), (-0.5, -0.5, 1, 1), 1.0, 0.0, 2.25 / 4),
        ((-1, -1, 1, 1), (-1, -1, 1, 1), 2.0, 0.0, 1 / 4),  # b's picture is half as wide in a
        ((-1, -1, 1, 1), (-1, -1, 1, 1), 0.25, 0.0, 1.0),  # four times as wide: what lies outside of a is not seen
        ((-0.5, 0, 1, 0.5), (0, 0, 0.5, 0.5), 1.0, 0.0, 0.25 / 0.75),
        ((-0.5, 0, 1, 0.5), (-1, -1, 1, 1), 1.0, 0.25, 0.625 / 4),
        ((-1, -1, 0, 0), (0, 0, 1, 1), 1.0, 0.0, 0.0),
    ],
)
def test_what_two_boxes_share_is_a_fraction_of_the_larger(box_a, box_b, scale, shift, fraction) -> None:
    warp = np.array([[[scale, 0, shift], [0, scale, 0]]])
    found = align._shared(np.array([box_a], float), np.array([box_b], float), warp)
    assert found == pytest.approx([fraction])


# --- by the letter: what small changes of these lines left as it was -------------------------------------------------------


def surround(grey: np.ndarray) -> np.ndarray:
    """`inner_masks` of one picture, pixel by pixel."""
    side = len(grey)
    corners = [(0, 0), (0, side - 1), (side - 1, 0), (side - 1, side - 1)]
    level = float(np.median([grey[at] for at in corners]))
    flat = {(i, j) for i in range(side) for j in range(side) if abs(grey[i, j] - level) <= 6}
    if sum(at in flat for at in corners) < 3:
        return np.ones_like(grey)
    around, waiting = set(), [at for at in corners if at in flat]
    while waiting:
        i, j = waiting.pop()
        if (i, j) in flat and (i, j) not in around:
            around.add((i, j))
            waiting += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
    if len(around) < 0.05 * side * side:
        return np.ones_like(grey)
    rim = max(2, round(side / 16))
    return np.array(
        [[all(abs(i - k) + abs(j - m) > rim for k, m in around) for j in range(side)] for i in range(side)],
        np.float32,
    )


def test_a_surround_is_what_joins_the_corners_at_their_level() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.choice([20.0, 26.0, 27.0, 90.0], (150, 9, 9), p=[0.35, 0.35, 0.15, 0.15]).astype(np.float32)
    wide = np.full((2, 64, 64), 20, np.float32)
    wide[0, 12:-12, 12:-12] = 90
    wide[1, 12:-12, 12:-12] = rng.uniform(60, 200, (40, 40))
    for grey in (pictures, wide):
        wanted = np.stack([surround(one) for one in grey])
        np.testing.assert_array_equal(agreement.inner_masks(grey), wanted)
        assert 0 < wanted.mean() < 1


def test_detail_within_a_surround_counts_from_one_level_of_its_own_pixels() -> None:
    rng = np.random.default_rng(0)
    mask = torch.ones(1, 32, 32)
    inner = torch.zeros(1, 32, 32)
    inner[:, 8:24, 8:24] = 1
    for strength, alike in ((0.5, True), (3.8, False)):  # next to no detail: as bright will do; else it must agree
        first, other = rng.normal(0, strength, (2, 1, 32, 32))
        one, two = (torch.from_numpy((100 + d).astype(np.float32)) for d in (first, 0.5 * first + 0.75**0.5 * other))
        details = agreement._details(one, two, inner)
        assert all((float(part[inner > 0].square().mean().sqrt()) < 1) == alike for part in details), details
        assert (((one - two) ** 2)[inner > 0]).mean().sqrt() < 4
        told = float(agreement._within(one, two, inner, mask)[0])
        assert told == 1.0 if alike else told < 0.8


def test_what_differs_is_the_energy_of_blocks_that_agree_less_than_half_as_well() -> None:
    rng = np.random.default_rng(3)
    a = torch.from_numpy(rng.uniform(0, 255, (4, 64, 64)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, 1, (4, 64, 64)).astype(np.float32))
    b = a + noise * torch.linspace(0, 160, 64) + 9
    own = torch.ones(4, 64, 64, dtype=torch.bool)
    whole = torch.tensor([[-1.0, -1, 1, 1]]).repeat(4, 1)
    same = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(4, 1, 1)
    inner = torch.ones(4, 64, 64)
    told = agreement.agreement_of(a, b, same, own, whole, (inner, inner))
    moved, covered = agreement.warped(b, same, whole)
    mask = (covered & own).float()
    corr, energy = agreement.block_correlation(*agreement._details(a, moved, mask), mask)
    median = agreement.energy_quantile(corr, energy)
    for i in range(4):
        less = corr[i] < 0.5 * median[i]
        assert 0 < float(told[i, 4]) < 0.4
        assert float(told[i, 4]) == pytest.approx(float(energy[i, less].sum() / energy[i].sum()), rel=1e-4)


def test_both_boxes_share_what_both_cover_of_the_larger() -> None:
    box_a = np.array([[-1.0, -0.5, 0.5, 1.0], [-1, -1, 1, 1], [-0.4, -0.2, 0.4, 0.6]])
    box_b = np.array([[-0.5, -1.0, 1.0, 0.2], [-1, -1, 1, 1], [-0.4, -0.2, 0.4, 0.6]])
    warp = np.array([[[1.0, 0, 0.1], [0, 1, -0.2]], [[0.5, 0, 0], [0, 0.5, 0]], [[1, 0, 0], [0, 1, 0]]])
    for i, told in enumerate(align._shared(box_a, box_b, warp)):
        one, two = box_a[i], [(box_b[i][k] - warp[i, k % 2, 2]) / warp[i, k % 2, k % 2] for k in range(4)]
        wide, high = (min(one[k + 2], two[k + 2]) - max(one[k], two[k]) for k in (0, 1))
        size_a, size_b = ((b[2] - b[0]) * (b[3] - b[1]) for b in (one, two))
        assert told == pytest.approx(max(wide, 0) * max(high, 0) / max(size_a, min(size_b, 4)))


def test_half_the_size_is_looked_at_first_where_there_is_no_map_and_the_pictures_are_large(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    asked: list[bool] = []
    prepared, stepped = align._prepared, align._step
    steps: list[int] = []
    monkeypatch.setattr(align, "_prepared", lambda *given: asked.append(given[2]) or prepared(*given))
    monkeypatch.setattr(align, "_step", lambda *given: steps.append(given[0].shape[-1]) or stepped(*given))
    start = np.array([[[1, 0, 0], [0, 1, 0]]], np.float32)
    pairs = Candidates(np.array([0]), np.array([1]), np.array([0]), np.ones(1))
    for side, given, halved in ((16, None, False), (24, None, True), (32, None, True), (32, start, False)):
        small = rng.uniform(0, 255, (1, 8, 8)).repeat(-(-side // 8), 1).repeat(-(-side // 8), 2)[:, :side, :side]
        thumbs = np.clip(small + rng.normal(0, 1, (2, side, side)), 0, 255).astype(np.uint8)
        asked.clear()
        steps.clear()
        align.align(thumbs, pairs, given)
        assert asked == [halved]
        assert steps == [side // 2] * (sum(align.COARSE_STEPS) if halved else 0) + [side] * align.FINE_STEPS


def test_thumbnails_of_little_contrast_are_stretched_by_the_letter() -> None:
    rng = np.random.default_rng(0)
    shape = rng.standard_normal((5, 12, 12))
    shape = (shape - shape.mean((1, 2), keepdims=True)) / shape.std((1, 2), keepdims=True)
    mean, spread = np.array([30.0, 100, 230, 120, 128]), np.array([4.0, 8, 0.5, 40, 120])
    levels = (shape * spread[:, None, None] + mean[:, None, None]).astype(np.float32)
    told = thumbnails.stretch(levels)
    gain, middle = (
        [4, 2, 8, 1, 1],
        [64, 100, 191, 120, 128],
    )  # to a spread of 16, at most eightfold; the mean within 64 and 191
    np.testing.assert_allclose(told.gain, gain, rtol=1e-4)
    for i in range(5):
        wanted = np.clip((levels[i] - mean[i]) * gain[i] + middle[i], 0, 255)
        assert np.abs(told.thumbs[i] - wanted).max() <= 0.51
        np.testing.assert_allclose(
            levels[i] * told.gain[i] + told.offset[i], (levels[i] - mean[i]) * gain[i] + middle[i], atol=0.01
        )
    nothing = thumbnails.stretched(lambda ids: iter(()), np.arange(3))
    assert (nothing.thumbs.shape, nothing.gain.tolist(), nothing.offset.tolist()) == ((3, 1, 1), [1] * 3, [0] * 3)
    assert thumbnails.thumbnails(lambda ids: iter(()), np.arange(3)).shape == (3, 1, 1)


def test_thumbnails_of_pictures_that_can_be_read_stand_where_they_belong() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
    blocks = lambda ids: iter([(ids[3:], pixels[3:]), (ids[1:2], pixels[1:2])])  # noqa: E731
    whole = thumbnails.thumbnails(blocks, np.array([7, 5, 6, 9]))
    lowest = thumbnails.thumbnails(blocks, np.array([7, 5, 6, 9]), grey=thumbnails.least)
    for i in range(4):
        read = i in (1, 3)
        np.testing.assert_array_equal(lowest[i], pixels[i].min(2) if read else 0)
        luma = pixels[i] @ np.array([0.299, 0.587, 0.114])
        assert np.abs(whole[i] - (luma if read else 0)).max() <= 0.51
