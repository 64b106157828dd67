"""Near-copies, bad pictures, shortcuts in the pixels, suspect labels, ids in file names: planted in small synthetic sets."""

from __future__ import annotations

import io
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter1d

from dataprops.checks.thresholds import load_thresholds
from dataprops.findings import (
    Context,
    candidates,
    find,
    group_suggestion,
    label_conflicts,
    measures,
    nearcopies,
    partners,
    pixel_shortcut,
    quality,
    second_opinion,
    sharpest_pairs,
    slices,
    suspect_labels,
    upright,
)
from dataprops.findings.align import Alignment
from dataprops.findings.boxes import boxes
from dataprops.findings.candidates import Candidates
from dataprops.findings.copy_threshold import detail_threshold
from dataprops.findings.group_suggestion import suggestion
from dataprops.findings.image_quality import common
from dataprops.findings.nearcopies import near_copies
from dataprops.findings.pixels_tell import burnt_in, told_by_pixels
from dataprops.findings.quality import faults
from dataprops.findings.second_opinion import Opinions, Witness, joined, most_alike, wrong_labels
from dataprops.findings.slices import hard_slices, shared_errors
from dataprops.findings.strokes import thin_marks
from dataprops.findings.thumbnails import stretch, thumbnails
from dataprops.findings.warps import grid_of
from dataprops.findings.without_copies import dimension_without_copies
from dataprops.imaging.measures import Measures, measure_image
from dataprops.util.numbers import wilson_interval

SIDE, N, K = 64, 60, 10


def pictures(n: int = N, seed: int = 0) -> np.ndarray:
    """Pictures with structure at every scale, uint8 [n, SIDE, SIDE]."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(n, SIDE, SIDE)), (0, s, s)) for s in (1, 2, 5, 12)]
    mixed = sum(layer / layer.std() for layer in layers)
    return np.clip(128 + 22 * mixed, 0, 255).astype(np.uint8)


def tables(pixels: np.ndarray, **columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The result tables of these pictures."""
    n = len(pixels)
    flat = pixels.reshape(n, -1).astype(float)
    d2 = ((flat[:, None] - flat[None]) ** 2).sum(2)
    np.fill_diagonal(d2, np.inf)
    order = np.argsort(d2, axis=1)[:, :K]
    distance = np.sqrt(np.take_along_axis(d2, order, 1))
    images = pd.DataFrame({"image": np.arange(n), "path": [f"{i:03d}.png" for i in range(n)], "pixels": "x"})
    images = images.assign(
        duplicate_of=images["image"], knn_distance=distance[:, -1], width=SIDE, height=SIDE, mode="L"
    )
    images["local_dimension"] = (K - 1) / np.log(distance[:, -1:] / np.maximum(distance, 1e-9)).sum(1)
    images = images.assign(
        y=np.nan,
        label=None,
        split=None,
        group=None,
        format="PNG",
        bytes=1000,
        peak=255,
        error=None,
        content="c",
        series=None,
        study=None,
        frames=1,
    )
    numbers = np.array([measure_image(one) for one in pixels])
    for name, values in zip(Measures._fields, numbers.T, strict=True):
        images[f"original_{name}"] = values
    for name, values in columns.items():
        images[name] = values
    rank = np.tile(np.arange(1, K + 1), n)
    near = pd.DataFrame({"image": np.repeat(np.arange(n), K), "rank": rank, "neighbour": order.ravel()})
    return images, near.assign(distance=distance.ravel())


def blocks_of(pixels: np.ndarray):
    def blocks(ids):
        yield np.asarray(ids), pixels[np.asarray(ids)][..., None]

    return blocks


def cropped(one: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(one[3:-3, 3:-3]).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def lettered(one: np.ndarray) -> np.ndarray:
    out = one.copy()
    out[4:12, 40:60] = 255
    return out


def framed(one: np.ndarray) -> np.ndarray:
    out = np.full_like(one, 255)
    out[5:-5, 5:-5] = one[5:-5, 5:-5]
    return out


CHANGES = {
    "brightness": (lambda one: (one * 0.8 + 12).astype(np.uint8), "brightness or contrast changed"),
    "flip": (lambda one: one[:, ::-1], "flipped left to right"),
    "quarter turn": (np.rot90, "rotated by 90°"),
    "crop": (cropped, "9 % crop or border"),
    "text": (lettered, "covered in part"),
    "frame": (framed, "framed"),
    "shift": (lambda one: np.roll(one, (6, -5), (0, 1)), "shifted"),
}


@pytest.fixture(scope="module")
def copied():
    """A set with one copy of each kind, and what is found in it."""
    base = pictures()
    pixels = np.concatenate([base, [change(base[i]) for i, (change, _) in enumerate(CHANGES.values())]])
    images, neighbours = tables(pixels)
    images["y"] = np.where(np.arange(len(images)) < N, 0.0, 1.0)
    images["label"] = np.where(np.arange(len(images)) < N, "a", "b")
    images["split"] = np.where(np.arange(len(images)) < N, "train", "test")
    found = near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE)
    return images, found


def test_changed_copies_are_found_and_nothing_else(copied):
    _, found = copied
    pairs = {(int(a), int(b)) for a, b in found.pairs[["a", "b"]].to_numpy()}
    assert pairs == {(i, N + i) for i in range(len(CHANGES))}
    assert found.false_share < 0.1


@pytest.mark.parametrize("kind", list(CHANGES))
def test_the_kind_of_a_copy_is_told(copied, kind):
    _, found = copied
    place = list(CHANGES).index(kind)
    row = found.pairs[found.pairs["a"] == place].iloc[0]
    assert CHANGES[kind][1] in row["what"]
    assert row["rms"] < 25
    assert row["distance"] > 0


def test_a_copy_is_a_leak_a_conflict_and_one_group(copied):
    images, found = copied
    context = Context(images, found.pairs, pd.DataFrame(columns=["a", "b", "distance", "sharpness"]), SIDE * SIDE)
    context = context._replace(copies=found, checks=load_thresholds())
    table, numbers = find(context), measures(context)
    count = Counter(table["kind"])
    assert count["near_duplicates"] == count["split_leakage"] == count["near_conflicts"] == len(CHANGES)
    assert numbers["split_leaks"] == numbers["near_conflict_pairs"] == len(CHANGES)
    assert numbers["near_rms"] > 0


def test_frames_exported_twice_are_groups_conflicts_and_leaks():
    """As an ultrasound set had it: one frame in two files, 2 to 20 grey levels apart, some with two labels, split at random."""
    rng = np.random.default_rng(3)
    base = pictures(60, seed=8)
    twice = base[:12].astype(float)
    twice[::2] += rng.uniform(2, 20, 6)[:, None, None]
    twice[1::2] += rng.normal(0, 1, (6, SIDE, SIDE)) * rng.uniform(2, 20, 6)[:, None, None]
    pixels = np.concatenate([base, np.clip(np.rint(twice), 0, 255).astype(np.uint8)])
    y = np.concatenate([np.arange(60) % 2, np.arange(12) % 2]).astype(float)
    y[60:66] = 1 - y[60:66]
    images, neighbours = tables(pixels, y=y, label=np.where(y > 0, "b", "a"))
    images["split"] = np.where(np.arange(72) % 5 == 0, "test", "train")
    found = near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE)
    assert {(i, 60 + i) for i in range(12)} == {(int(a), int(b)) for a, b in found.pairs[["a", "b"]].to_numpy()}
    context = Context(images, found.pairs, pd.DataFrame(columns=["a", "b", "distance", "sharpness"]), SIDE * SIDE)
    context = context._replace(copies=found, checks=load_thresholds())
    numbers = measures(context)
    across = sum((i % 5 == 0) != ((60 + i) % 5 == 0) for i in range(12))
    assert (numbers["near_conflict_pairs"], numbers["split_leaks"]) == (6, across)
    assert Counter(find(context, numbers)["kind"])["near_duplicates"] == 12


def test_a_given_distance_overrules_the_set():
    base = pictures(30)
    nudged = base[0].copy()
    nudged[:4, :4] += 3
    pixels = np.concatenate([base, [nudged]])
    images, neighbours = tables(pixels)
    listed = pd.DataFrame({"a": [0], "b": [30], "distance": [12.0]})
    given = {"features": SIDE * SIDE, "near_rms": 1.0}
    assert len(near_copies(images, neighbours, blocks_of(pixels), listed=listed, **given).pairs) == 1
    assert near_copies(images, neighbours, blocks_of(pixels), listed=listed[:0], **given).pairs.empty
    assert len(near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs) == 1


def test_pictures_of_their_own_have_no_copies():
    pixels = pictures(40, seed=3)
    images, neighbours = tables(pixels)
    assert near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs.empty


def test_pictures_that_show_next_to_nothing_are_no_copies_of_each_other():
    """Two cells almost in the dark share their outline, and what else they differed in went with rounding."""
    pixels = pictures(40, seed=3)
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = np.hypot(rows, columns) < 20
    pixels[[4, 17]] = np.where(disc, 8 + pixels[[4, 17]] / 64, 0).astype(np.uint8)
    images, neighbours = tables(pixels)
    assert near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs.empty


def test_copies_are_found_among_pictures_of_less_contrast_than_the_others():
    """Chest CT in a soft-tissue window beside radiographs: a seventh of their contrast, and the same detail."""
    pixels = pictures(90, seed=3)
    pixels[:60] = np.clip(128 + 2.0 * (pixels[:60] - 128.0), 0, 255)
    pixels[60:] = 110 + (pixels[60:] - 110.0) / 4
    pixels[70], pixels[71] = pixels[61] + 6, pixels[62][:, ::-1]
    images, neighbours = tables(pixels)
    found = near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs
    assert set(zip(found["a"], found["b"], strict=True)) == {(61, 70), (62, 71)}


def test_copies_of_plain_textures_are_found():
    """Cloth and sand: a tenth of the contrast of the others, 2 to 3 grey levels, and detail all over."""
    pixels = pictures(60, seed=3)
    grain = np.random.default_rng(4).normal(0, 1, (6, SIDE, SIDE))
    pixels[:6] = np.rint(90 + 5 * gaussian_filter(grain, (0, 1, 1)) / 0.7)
    small = Image.fromarray(pixels[0]).resize((48, 48), Image.Resampling.BILINEAR)
    pixels[50] = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    pixels[51], pixels[52] = pixels[1][:, ::-1], np.rint(pixels[2] * 1.2)
    images, neighbours = tables(pixels)
    found = near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs
    what = {(int(a), int(b)): told for a, b, told in zip(found["a"], found["b"], found["what"], strict=True)}
    assert what.keys() == {(0, 50), (1, 51), (2, 52)}
    assert what[1, 51] == "flipped left to right" and what[2, 52] == "brightness or contrast changed"


def test_a_trace_of_compression_in_a_margin_is_no_content():
    """Icons on white, of which one was saved as JPEG: what rings beside an outline ends the border of one of the two."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    pixels = pictures(60, seed=3)
    icon = (np.abs(rows) < 22) & (np.abs(columns) < 8)
    pixels[7] = np.where(icon, pixels[7] // 2, 255)
    pixels[50] = pixels[7]
    pixels[50, ::8, ::3] -= np.where(pixels[50, ::8, ::3] == 255, 9, 0).astype(np.uint8)
    pixels[50, ::3, 1::8] -= np.where(pixels[50, ::3, 1::8] == 255, 9, 0).astype(np.uint8)
    images, neighbours = tables(pixels)
    found = near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs
    assert set(zip(found["a"], found["b"], strict=True)) == {(7, 50)}


def test_a_sky_is_its_own_copy_and_not_its_mirror_image():
    """More is asked of turned pictures, and a sky agrees with its mirror image a little better than with its JPEG."""
    pairs = Candidates(np.array([0, 0, 0]), np.array([1, 1, 1]), np.array([0, 1, 3]), np.ones(3, np.float32))
    assert nearcopies._best_views(pairs, np.array([0.81, 0.84, 0.83])).tolist() == [0, 1]
    assert nearcopies._best_views(pairs, np.array([0.81, 0.3, 0.83])).tolist() == [0, 2]


def test_pictures_of_little_contrast_are_stretched_before_they_are_rounded():
    levels = np.full((4, 32, 32), 200, np.float32)
    levels[:, ::2] += np.array([0.2, 2.0, 8.0, 30.0])[:, None, None]
    found = stretch(levels)
    np.testing.assert_allclose(found.gain, [8, 8, 4, 16 / 15])
    assert [len(np.unique(one)) for one in found.thumbs] == [2, 2, 2, 2]
    assert np.ptp(found.thumbs, axis=(1, 2)).tolist() == [2, 16, 32, 32] and (found.thumbs.max((1, 2)) < 255).all()
    back = (found.thumbs - found.offset[:, None, None]) / found.gain[:, None, None]
    np.testing.assert_allclose(back, levels, atol=0.5 / found.gain.min())


def test_pictures_of_one_camera_share_their_outline_and_are_no_copies():
    """Retinas: the disc is the camera's, and what lies within it, fainter than its edge, is each one's own."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = np.hypot(rows, columns) < 0.47 * SIDE
    level = np.random.default_rng(1).integers(120, 200, (60, 1, 1))
    pixels = np.where(disc, level + (pictures(60, seed=3) - 128.0) / 6, 0).clip(0, 255).astype(np.uint8)
    pixels[40], pixels[41] = (pixels[1] * 0.85).astype(np.uint8), pixels[2][:, ::-1]
    images, neighbours = tables(pixels)
    found = near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE)
    assert set(zip(found.pairs["a"], found.pairs["b"], strict=True)) == {(1, 40), (2, 41)}


def test_what_is_left_of_an_outline_weighs_no_more_than_the_rest():
    """Retinas that darken towards the edge, all alike there, and show next to nothing within."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    far = np.hypot(rows, columns) / (0.47 * SIDE)
    level = np.random.default_rng(1).integers(150, 200, (60, 1, 1)) * (1 - 0.5 * far**6)
    pixels = np.where(far < 1, level + (pictures(60, seed=3) - 128.0) / 16, 0).clip(0, 255).astype(np.uint8)
    images, neighbours = tables(pixels)
    assert near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs.empty


def test_copies_among_the_farther_neighbours_do_not_raise_the_threshold():
    apart = np.linspace(-0.2, 0.3, 299)
    assert detail_threshold(np.append(apart, 0.95), 2_700) == detail_threshold(apart, 2_700) < 0.8
    assert detail_threshold(np.append(apart, 0.87), 2_700) > 0.8  # that one may be none


def recoded(one: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(one).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_enlarged_pictures_have_no_more_detail_than_their_pixels():
    """Digits of 8 x 8 pixels, enlarged: a flipped 2 is no copy of a 5, for all that both are smooth."""
    from sklearn.datasets import load_digits

    small = np.rint(load_digits().images[:150] * 255 / 16).astype(np.uint8)
    pixels = np.stack([np.kron(one, np.ones((8, 8), np.uint8)) for one in small])
    images, neighbours = tables(pixels, width=8, height=8)
    assert len(near_copies(images, neighbours, blocks_of(pixels), features=SIDE * SIDE).pairs) < 5


BAD = {
    "dark": lambda one: (one * 0.2).astype(np.uint8),
    "overexposed": lambda one: np.clip(one * 2.6, 0, 255).astype(np.uint8),
    "low_contrast": lambda one: (100 + 0.15 * one).astype(np.uint8),
    "blurred": lambda one: gaussian_filter(one, 4),
    "noise": lambda one: np.clip(one + np.random.default_rng(1).normal(0, 60, one.shape), 0, 255).astype(np.uint8),
    "blank": lambda one: np.full_like(one, 90),
    "compressed": lambda one: recoded(one, 8),
}


def test_bad_pictures_are_named_and_good_ones_are_not():
    base = pictures()
    pixels = np.concatenate([base, [make(base[i]) for i, make in enumerate(BAD.values())]])
    images, _ = tables(pixels)
    images.loc[10, ["width", "height"]] = [400, 60]
    found = {(fault.image, fault.fault) for fault in faults(images, blocks_of(pixels))}
    wanted = {(N + i, name) for i, name in enumerate(BAD)} | {(10, "odd_aspect")}
    assert found >= wanted
    assert {image for image, _ in found} == {image for image, _ in wanted}


@pytest.mark.parametrize(("by_channel", "noisy"), [(True, {0}), (False, set())], ids=["noise", "gravel"])
def test_what_is_grainy_in_all_channels_alike_is_texture_and_no_noise(by_channel: bool, noisy: set[int]):
    rng = np.random.default_rng(3)
    # a set of wide spread: some smooth, some covered by fine texture
    texture = rng.normal(size=(90, SIDE, SIDE)) * rng.exponential(5, 90).clip(0, 22)[:, None, None]
    pixels = (pictures(90, seed=5) + texture)[..., None] * [1.0, 0.95, 0.85]
    pixels[0] = pictures(1, seed=9)[0][..., None] * [1.0, 0.95, 0.85]
    pixels[0] += rng.normal(0, 45, (SIDE, SIDE, 3)) if by_channel else rng.normal(0, 30, (SIDE, SIDE, 1))
    numbers = [measure_image(one) for one in np.clip(pixels, 0, 255).astype(np.uint8)]
    images = pd.DataFrame(numbers).add_prefix("original_").assign(image=range(90), width=SIDE, height=SIDE)
    found = {fault.image for fault in quality._sharpness(images)}
    assert found == noisy


def test_noise_that_is_grey_once_a_large_picture_is_reduced_is_noise_and_no_lack_of_contrast():
    small = pictures()
    large = [np.kron(one, np.ones((12, 12))) for one in small]
    noise = np.random.default_rng(2)
    large[4] = noise.integers(0, 256, large[4].shape)
    large[9] = large[9] + noise.normal(0, 60, large[9].shape)
    images, _ = tables(small)
    measures = pd.DataFrame([measure_image(np.clip(one, 0, 255).astype(np.uint8)) for one in large])
    images = images.assign(width=12 * SIDE, height=12 * SIDE, **measures.add_prefix("original_"))
    found = {(fault.image, fault.fault) for fault in faults(images, blocks_of(small))}
    assert found == {(4, "noise"), (9, "noise")}


def test_a_picture_without_anything_dark_is_overexposed_also_where_brightness_varies_much():
    rng, base = np.random.default_rng(0), pictures(90, seed=5)
    exposure, haze = rng.uniform(0.5, 1.0, (90, 1, 1)), rng.uniform(0, 110, (90, 1, 1))
    pixels = np.clip(base * exposure + haze, 0, 255).astype(np.uint8)
    pixels[[7, 40]] = 205 + base[[7, 40]] // 6
    images, _ = tables(pixels)
    named = {(fault.image, fault.fault) for fault in faults(images, blocks_of(pixels))}
    assert {(7, "overexposed"), (40, "overexposed")} <= named
    assert "low_contrast" not in {name for _, name in named}


def test_an_overexposed_picture_of_what_lies_on_black_is_told_though_little_of_it_is_white():
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = np.hypot(rows, columns) < 0.3 * SIDE
    pixels = np.where(disc, pictures(90, seed=5) / 1.6, 0)
    pixels[[7, 40]] = pixels[[7, 40]] * 2.6 + 45
    pixels = pixels.clip(0, 255).astype(np.uint8)
    found = quality._tones(measured(pixels), blocks_of(pixels))
    assert {(fault.image, fault.fault) for fault in found} == {(7, "overexposed"), (40, "overexposed")}


def test_a_bright_kind_of_picture_among_dark_ones_is_not_overexposed_where_nothing_is_white():
    """Stained slides among fluorescence."""
    pixels = pictures(90, seed=5) / 8.0
    pixels[:3] = 110 + pixels[:3] * 3
    assert not quality._tones(measured(pixels), blocks_of(pixels))


def test_a_picture_that_is_nearly_white_throughout_is_overexposed():
    pixels = pictures()
    pixels[7] = 235 + pixels[7] // 13
    images, _ = tables(pixels)
    assert {(fault.image, fault.fault) for fault in faults(images, blocks_of(pixels))} == {(7, "overexposed")}


def test_of_pictures_of_many_sizes_a_third_of_the_small_ones_is_odd():
    pixels = pictures(90, seed=5)
    side = np.geomspace(60, 1500, 90).round()
    side[30] = 21
    images, _ = tables(pixels, width=side, height=side)
    assert [f.image for f in faults(images, blocks_of(pixels)) if f.fault == "odd_size"] == [30]


def test_a_set_of_several_kinds_of_picture_has_odd_ones_within_its_fences():
    base, rng = pictures(90, seed=5), np.random.default_rng(0)
    pixels = base.copy()
    pixels[:30] = 122 + base[:30] * (rng.uniform(0.2, 0.5, (30, 1, 1)))  # soft tissue
    pixels[30:60] = base[30:60] * rng.uniform(0.6, 1.0, (30, 1, 1))
    pixels[5] = 110 + base[5] // 20
    pixels[50] = 236 + base[50] // 16
    pixels[80] = 110 + base[80] // 20
    images, _ = tables(pixels)
    named = {(fault.image, fault.fault) for fault in faults(images, blocks_of(pixels))}
    assert named == {(5, "low_contrast"), (50, "overexposed"), (80, "low_contrast")}


@pytest.mark.parametrize(("lying", "odd"), [(12, set()), (1, {0})], ids=["a turned camera", "one"])
def test_upright_and_lying_pictures_are_one_shape_where_both_are_usual(lying: int, odd: set[int]):
    pixels = pictures(90, seed=5)
    images, _ = tables(pixels, width=300, height=400)
    images.loc[: lying - 1, ["width", "height"]] = [400, 300]
    images.loc[70, ["width", "height"]] = [900, 300]
    found = [fault for fault in faults(images, blocks_of(pixels)) if fault.fault == "odd_aspect"]
    assert {fault.image for fault in found} == odd | {70}
    assert "3.00 times" in next(fault.words for fault in found if fault.image == 70)


def test_another_format_of_a_turned_camera_is_no_odd_shape():
    pixels = pictures(90, seed=5)
    images, _ = tables(pixels, width=300, height=400)
    images.loc[:24, ["width", "height"]] = [400, 300]
    images.loc[:2, ["width", "height"]] = [533, 300]
    images.loc[70, ["width", "height"]] = [900, 300]
    found = {fault.image for fault in faults(images, blocks_of(pixels)) if fault.fault == "odd_aspect"}
    assert found == {70}


@pytest.mark.parametrize(("many", "odd"), [(10, False), (9, True)])
def test_a_shape_that_a_tenth_of_the_pictures_has_is_a_format(many: int, odd: bool):
    pixels = pictures(90, seed=5)
    images, _ = tables(pixels, width=300, height=300)
    images.loc[: many - 1, ["width", "height"]] = [1920, 1080]
    images.loc[70, ["width", "height"]] = [900, 300]
    found = {fault.image for fault in faults(images, blocks_of(pixels)) if fault.fault == "odd_aspect"}
    assert found == ({*range(many)} if odd else set()) | {70}


def test_where_a_fifth_are_of_odd_shapes_a_common_one_is_told_with_them():
    pixels = pictures(90, seed=5)
    images, _ = tables(pixels, width=300, height=300)
    images.loc[:9, ["width", "height"]] = [600, 300]
    for high in range(8):
        images.loc[10 + high, ["width", "height"]] = [90 + 10 * high, 300]
    odd = [fault for fault in faults(images, blocks_of(pixels)) if fault.fault == "odd_aspect"]
    assert {fault.image for fault in odd} == {*range(18)}
    assert set(common(odd, 90)) == {"odd_aspect"}


def test_a_picture_without_a_single_edge_is_blurred_also_where_sharpness_varies():
    rng = np.random.default_rng(2)
    # a set so wide that the softest lie within its fence
    softness = rng.permutation(np.linspace(0.0, 1.6, 90))
    base = pictures(90, seed=5)
    pixels = np.stack([gaussian_filter(one, sigma) for one, sigma in zip(base, softness, strict=True)])
    pixels[7] = gaussian_filter(base[7], 5.0)
    numbers = [measure_image(one) for one in pixels]
    images = pd.DataFrame(numbers).add_prefix("original_").assign(image=range(90), width=SIDE, height=SIDE)
    assert {fault.image for fault in quality._sharpness(images)} == {7}


def measured(pixels) -> pd.DataFrame:
    """The measures of these pictures, without what only copies need."""
    numbers = [measure_image(np.clip(one, 0, 255).astype(np.uint8)) for one in pixels]
    return pd.DataFrame(numbers).add_prefix("original_").assign(image=range(len(numbers)), width=SIDE, height=SIDE)


def test_a_blur_is_told_of_pictures_that_are_soft_by_themselves():
    """Enlarged three times, as faces cut out of photographs are: adjacent pixels hardly differ in any of them."""
    from PIL import Image

    small = pictures(90, seed=5)[:, :20, :20]
    pixels = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in small]
    for at in (7, 40):
        pixels[at] = gaussian_filter(pixels[at], 3.0)
    found = quality._sharpness(measured(pixels))
    assert {fault.image for fault in found} == {7, 40}


@pytest.mark.parametrize("axis", [0, 1])
def test_a_blur_in_one_direction_is_told(axis: int):
    pixels = pictures(90, seed=5).astype(float)
    pixels[7] = uniform_filter1d(pixels[7], 7, axis=axis)
    found = quality._sharpness(measured(pixels))
    assert [(fault.image, fault.fault) for fault in found] == [(7, "blurred")]
    usual = measured(pixels)["original_edges"].median()
    assert found[0].words.endswith(f"usually {usual:.2f}")


def test_a_blur_in_one_direction_is_told_where_sharpness_varies():
    """The softest of the set are as soft as that, but in both directions."""
    softness = np.random.default_rng(2).permutation(np.linspace(0.0, 1.6, 90))
    base = pictures(90, seed=5)
    pixels = [gaussian_filter(one, sigma) for one, sigma in zip(base, softness, strict=True)]
    pixels[7] = uniform_filter1d(base[7].astype(float), 7, axis=1)
    found = quality._sharpness(measured(pixels))
    assert [(fault.image, fault.fault) for fault in found] == [(7, "blurred")]
    assert "in one direction" in found[0].words


def test_noise_of_each_channel_by_itself_is_told_among_grainy_textures():
    rng = np.random.default_rng(3)
    texture = rng.normal(size=(90, SIDE, SIDE)) * rng.exponential(12, 90).clip(0, 50)[:, None, None]
    pixels = (pictures(90, seed=5) + texture)[..., None] * [1.0, 0.95, 0.85]
    pixels[0] = pictures(1, seed=9)[0][..., None] + rng.normal(0, 25, (SIDE, SIDE, 3))
    assert [(f.image, f.fault) for f in quality._sharpness(measured(pixels))] == [(0, "noise")]


def test_a_range_cut_off_at_both_ends_is_told_of_colours():
    base = (pictures(60, seed=5).astype(float))[..., None] * [1.0, 0.9, 0.7]
    base[3] = (base[3] - base[3].mean()) * 5 + 128
    pixels = base.clip(0, 255).astype(np.uint8)
    found = quality._tones(measured(pixels), lambda ids: iter([(ids, pixels[ids])]))
    assert {(fault.image, fault.fault) for fault in found} == {(3, "clipped_range")}


def test_pure_colours_on_white_are_no_range_cut_off():
    rng = np.random.default_rng(0)
    drawings = np.full((60, SIDE, SIDE, 3), 255)
    for one in drawings:
        one[10:50, 10 : 20 + rng.integers(0, 40)] = rng.choice([0, 60, 200, 255], 3)
    for one in drawings[:4]:
        one[8:56, 8:56] = 0, 0, 200
    drawings = drawings.astype(np.uint8)
    found = quality._tones(measured(drawings), lambda ids: iter([(ids, drawings[ids])]))
    assert not [fault for fault in found if fault.fault == "clipped_range"]


def test_frames_that_show_next_to_nothing_are_nearly_blank():
    rng = np.random.default_rng(0)
    pixels = pictures(60, seed=5).astype(float)
    pixels[3] = 12 + np.abs(rng.normal(0, 6, (SIDE, SIDE)))  # beside the patient, with the edge of the table
    pixels[3, 50, 4:60] = 100
    pixels[8] = 0
    pixels[8, 8:56:8, 4:40:2] = 255  # a page of text
    pixels[11] = 60
    pixels[11, 20:30, 30:40] = pixels[12, ::6, ::6][:10, :10]
    found = {(fault.image, fault.fault): fault.words for fault in quality._tones(measured(pixels), blocks_of(pixels))}
    assert set(found) == {(at, "nearly_blank") for at in (3, 8, 11)}
    assert re.fullmatch(
        r"shows next to nothing: 9\d % of its pixels are of one grey level, usually [\d.]+ %", found[8, "nearly_blank"]
    )
    assert "standard deviation of its grey levels" in found[3, "nearly_blank"]


def test_line_drawings_are_not_nearly_blank():
    rng = np.random.default_rng(0)
    drawings = np.full((60, SIDE, SIDE), 255)
    for one in drawings:
        for row in rng.integers(2, 62, rng.integers(1, 6)):
            one[row, 4:60] = 0
    assert not quality._tones(measured(drawings), blocks_of(drawings.astype(np.uint8)))


def test_a_set_of_wide_spread_has_no_outliers_in_its_tail_and_one_that_is_even_has():
    exposure = np.random.default_rng(0).exponential(0.9, 90).clip(0, 3.2)  # by day and by night
    wide = (pictures(90, seed=5) * 2.0 ** -exposure[:, None, None]).astype(np.uint8)
    images, _ = tables(wide)
    assert not [fault for fault in faults(images, blocks_of(wide)) if fault.fault == "dark"]
    even = pictures(90, seed=5)
    even[3] //= 9
    images, _ = tables(even)
    assert {(fault.image, fault.fault) for fault in faults(images, blocks_of(even))} == {(3, "dark")}


def test_blank_images_with_two_labels_are_no_conflict():
    pixels = np.concatenate([pictures(20), np.full((2, SIDE, SIDE), 7, np.uint8)])
    images, _ = tables(pixels, y=np.arange(22) % 2.0, label=np.where(np.arange(22) % 2, "b", "a"))
    images.loc[21, "duplicate_of"] = 20
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    context = Context(images, empty[["a", "b", "distance"]], empty, SIDE * SIDE)
    assert measures(context)["conflict_pairs"] == 0
    images["original_high"] = 200.0
    images["original_flat"] = 0.1
    assert measures(context)["conflict_pairs"] == 1


@pytest.mark.parametrize("part", [1.0, 0.5, 0.2])
def test_a_letter_on_a_part_of_a_class_is_told(part):
    pixels = pictures(160, seed=2)
    y = np.arange(160) % 2
    letter = np.zeros((8, 8), np.uint8)
    letter[1:7, 2] = letter[1, 2:6] = letter[4, 2:6] = letter[2:4, 5] = letter[5:7, 5] = 1
    for i in np.nonzero(y == 1)[0][: round(part * 80)]:
        pixels[i, :8, 56:][letter > 0] = 255
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "sick", "well"))
    marks = [told for told in told_by_pixels(images, blocks_of(pixels)) if told.kind == "mark" and told.label == "sick"]
    assert [told.name for told in marks] == ["top right corner"]
    assert marks[0].score == pytest.approx(part, abs=0.2)


def test_one_class_of_several_that_is_brighter_than_all_others_is_told():
    pixels, y = pictures(160, seed=2), np.arange(160) % 4
    pixels = np.clip(pixels.astype(int) - (pixels.mean((1, 2), keepdims=True) - 120).astype(int), 0, 215).astype(
        np.uint8
    )
    columns = {"y": y.astype(float), "label": np.array(["a", "b", "c", "d"])[y]}
    clean = told_by_pixels(tables(pixels, **columns)[0], blocks_of(pixels))
    pixels[y == 2] += 20
    told = told_by_pixels(tables(pixels, **columns)[0], blocks_of(pixels))
    before, after = ({one.name: one.score for one in some if one.kind == "property"} for some in (clean, told))
    assert before["brightness"] < pixel_shortcut.PROPERTY_SCORE <= after["brightness"]


@pytest.mark.parametrize(("level", "part"), [(0, 1.0), (128, 0.5), (76, 0.4)], ids=["black", "grey", "red"])
def test_a_box_of_one_colour_on_a_part_of_a_class_is_told(level, part):
    pixels = pictures(160, seed=2)
    y = np.arange(160) % 2
    own = np.nonzero(y == 1)[0]
    clean = boxes(pixels.astype(np.float32), y, np.arange(160))
    pixels[own[: round(part * 80)], -8:, :9] = level
    assert not clean
    (box,) = boxes(pixels.astype(np.float32), y, np.arange(160))
    assert (box.label, len(box.bearers)) == (1, round(part * 80))
    assert box.row > 0.9 and box.column < 0.1
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "sick", "well"))
    marks = [told for told in told_by_pixels(images, blocks_of(pixels)) if told.kind == "mark"]
    assert ("bottom left corner", "sick") in {(told.name, told.label) for told in marks}


@pytest.mark.parametrize("where", [np.s_[:3, 20:46], np.s_[18:46, -3:]], ids=["at the top", "at the right"])
def test_a_low_bar_on_a_part_of_a_class_is_told(where):
    pixels = pictures(160, seed=2)
    own = np.nonzero(np.arange(160) % 2)[0][:40]
    pixels[(own, *where)] = 200
    (box,) = boxes(pixels.astype(np.float32), np.arange(160) % 2, np.arange(160))
    assert (box.label, box.bearers.tolist(), box.ground) == (1, own.tolist(), None)


def test_white_paper_on_a_part_of_a_class_is_a_background_and_no_mark():
    pixels, y = pictures(160, seed=2), np.arange(160) % 2
    own = np.nonzero(y == 1)[0][:30]
    pixels[own, -8:, :12] = 255
    pixels[own[:12], -8:] = 255  # on some of them nothing else lies at the bottom
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "masked", "bare"))
    told = told_by_pixels(images, blocks_of(pixels))
    (ground,) = [one for one in told if one.kind == "ground"]
    assert (ground.name, ground.label, ground.level) == ("bottom left corner", "masked", 255)
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    context = Context(images, empty, empty, SIDE * SIDE, told=told)
    (row,) = [row for row in pixel_shortcut.find(context) if "background" in row[2]]
    assert row[2].startswith(
        "A plain white background predicts the class: 38 % of class masked, and almost no other image"
    )
    assert set(row[0]) <= set(own.tolist())
    assert pixel_shortcut.is_mark(row[2])
    assert pixel_shortcut.cell_of(row[2]) == (7, 0)


def test_black_around_bodies_that_ends_elsewhere_in_each_picture_is_no_box():
    pixels, rng = np.maximum(pictures(160, seed=2), 40), np.random.default_rng(1)
    y = np.arange(160) % 2
    for i in np.nonzero(y == 1)[0]:
        pixels[i, : rng.integers(5, 30), : rng.integers(5, 30)] = 0
    assert not boxes(pixels.astype(np.float32), y, np.arange(160))


def written(pixels: np.ndarray, row: int, column: int) -> None:
    """A thin white letter, in place."""
    for line in (np.s_[row : row + 9, column], np.s_[row, column : column + 5], np.s_[row + 4, column : column + 5]):
        pixels[line] = 255
    pixels[row + 1 : row + 4, column + 5] = 255
    for step in range(4):
        pixels[row + 5 + step, column + 2 + step] = 255


@pytest.mark.parametrize(("n", "part"), [(120, 1.0), (120, 0.3), (24, 1.0)])
def test_a_thin_white_letter_on_light_paper_is_told_also_in_few_images(n, part):
    rng = np.random.default_rng(6)
    paper = np.array([244, 226, 206])  # white is near in all channels but one
    pixels = np.clip(paper + rng.normal(0, 4, (n, 64, 64, 3)) + rng.normal(0, 6, (n, 1, 1, 1)), 0, 255).astype(np.uint8)
    pixels[:, 20:44, 20:44] = pictures(n, seed=2)[:, 20:44, 20:44, None]
    y = np.arange(n) % 2
    for i in np.nonzero(y == 1)[0][: round(part * n / 2)]:
        written(pixels[i], 4, 52)
    images, _ = tables(pixels[:, ::8, ::8, 0], y=y.astype(float), label=np.where(y, "sick", "well"))
    marks = [
        told
        for told in told_by_pixels(images, lambda ids: iter([(np.asarray(ids), pixels[np.asarray(ids)])]))
        if told.kind == "mark"
    ]
    assert [(told.name, told.label, told.cell) for told in marks] == [("top right corner", "sick", (1, 6))]
    assert marks[0].score == pytest.approx(part, abs=0.1)


def test_a_thin_letter_is_told_on_a_part_of_a_class_where_others_bear_other_writing_and_off_its_place():
    """Radiographs have writing of their own in that corner, unlike in each; and the letter moves with the size of the picture."""
    rng = np.random.default_rng(3)
    pixels = np.clip(pictures(240, seed=4) * 0.5, 0, 255).astype(np.uint8)
    y = np.arange(240) % 2
    for i in rng.permutation(240)[:120]:
        top, left = rng.integers(2, 8), rng.integers(48, 56)
        pixels[i, top : top + 7, left : left + 7][rng.random((7, 7)) < 0.5] = 230
    clean = thin_marks(pixels, y, np.arange(240))
    own = rng.permutation(np.nonzero(y == 1)[0])[:36]
    pixels[own, :16, 44:] = pictures(240, seed=4)[own, :16, 44:] // 2  # these have no other
    for i in own:
        written(pixels[i], 4 + rng.integers(-1, 2), 52 + rng.integers(-1, 2))
    (mark,) = thin_marks(pixels, y, np.arange(240))
    assert not clean
    assert mark.label == 1 and mark.row < 0.25 and mark.column > 0.75
    assert set(mark.bearers) <= set(own) and len(mark.bearers) >= 24


@pytest.mark.parametrize("part", [1.0, 0.4])
def test_a_letter_written_in_the_middle_is_told_and_what_the_pictures_show_there_is_not(part):
    pixels = np.clip(pictures(160, seed=4) * 0.6, 0, 255).astype(np.uint8)
    y = np.arange(160) % 2
    own = np.nonzero(y == 1)[0]
    for i in own:  # thin and bright, at one place, but no brighter than pictures are in each
        pixels[i, 40:58, 20:22] += np.uint8(i % 60)
    assert not thin_marks(pixels, y, np.arange(160))
    bearers = own[: round(part * len(own))]
    for i in bearers:
        written(pixels[i], 28, 30)
    (mark,) = thin_marks(pixels, y, np.arange(160))
    assert mark.label == 1 and abs(mark.row - 0.5) < 0.1 and abs(mark.column - 0.5) < 0.1
    assert set(mark.bearers) <= set(bearers) and len(mark.bearers) > 0.6 * len(bearers)


def test_a_letter_in_the_middle_is_told_though_pictures_of_other_classes_are_as_bright_there():
    rng = np.random.default_rng(6)
    pixels = np.clip(pictures(160, seed=4) * 0.6, 0, 255).astype(np.uint8)
    y = np.arange(160) % 2
    for i in np.nonzero(y == 0)[0][::4]:  # bones, say
        pixels[i, 26:40, 28:40][rng.random((14, 12)) < 0.2] = 255
    assert not thin_marks(pixels, y, np.arange(160))
    for i in np.nonzero(y == 1)[0]:
        written(pixels[i], 28 + rng.integers(-1, 2), 30 + rng.integers(-1, 2))
    (mark,) = thin_marks(pixels, y, np.arange(160))
    assert mark.label == 1 and abs(mark.row - 0.5) < 0.1 and abs(mark.column - 0.5) < 0.1


def test_a_letter_drawn_wider_and_narrower_is_told_though_wrong_labels_bear_it_too():
    """On pictures of many shapes a letter is wider in one than in another; and one in nine that bear it has another label."""
    rng = np.random.default_rng(8)
    pixels = np.clip(pictures(240, seed=5) * 0.5, 0, 180).astype(np.uint8)
    y = np.arange(240) % 2
    clean = thin_marks(pixels, y, np.arange(240))
    own = rng.permutation(np.nonzero(y == 1)[0])[:70]
    for i in own:
        height, width = rng.integers(6, 12), rng.integers(5, 12)
        letter = np.zeros((10, 7), np.uint8)
        written(letter, 1, 1)
        rows, columns = (np.arange(size) * old // size for size, old in ((height, 10), (width, 7)))
        shown = letter[np.ix_(rows, columns)] > 0
        pixels[i, 3 : 3 + height, 49 : 49 + width][shown] = rng.integers(210, 256)
    y[own[:8]] = 0
    (mark,) = thin_marks(pixels, y, np.arange(240))
    assert not clean
    assert mark.label == 1 and mark.row < 0.25 and mark.column > 0.75
    assert len(set(mark.bearers) & set(own[8:])) >= 55 and len(set(mark.bearers) - set(own)) <= 5  # of 62; 44 before


def test_an_outline_along_an_edge_is_no_thin_mark():
    """Skulls of one class reach the right edge: thin and bright, and never quite the same."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 12, (80, 64, 64)).astype(np.uint8)
    y = np.arange(80) % 2
    down, across = np.mgrid[:64, :64] - 31.5
    for i in range(80):
        wide = rng.uniform(26, 31) if y[i] else rng.uniform(19, 24)
        left, up = rng.normal(0, 2, 2)  # heads lie otherwise in each picture
        ring = np.abs(np.hypot(across - left, (down - up) * rng.uniform(0.85, 1.15)) - wide) < rng.uniform(0.7, 1.6)
        pixels[i][ring] = rng.integers(90, 250)
    assert not thin_marks(pixels, y, np.arange(80))


def test_a_mark_is_of_one_level_wherever_it_lies_in_its_cell_and_an_outline_is_not():
    """Scans of different sizes: the letter moves by a pixel or two, so no single pixel is alike in all that bear it."""
    rng = np.random.default_rng(0)
    cell = rng.integers(0, 60, (100, 8, 8)).astype(np.float32)
    letter, outline = cell.copy(), cell.copy()
    bearers = np.arange(20)
    for i in bearers:
        row, column = rng.integers(0, 3, 2)
        letter[i, row : row + 6, column : column + 2] = 250
        outline[i, row : row + 6, column : column + 2] = rng.integers(70, 250)
    flat = cell.reshape(100, -1)
    assert burnt_in(letter, bearers, letter.reshape(100, -1) - flat.mean())
    assert not burnt_in(outline, bearers, outline.reshape(100, -1) - flat.mean())


def test_the_map_of_regions_goes_from_the_finding_to_the_report():
    from dataprops.findings.pixel_shortcut import measures as shortcut_measures
    from dataprops.findings.pixel_shortcut import region_map
    from dataprops.findings.pixels_tell import Told
    from dataprops.report import plots

    told = [Told("region", "", 0.01 * (8 * row + column), "", (row, column)) for row in range(8) for column in range(8)]
    told.append(Told("mark", "top right corner", 0.2, "sick", (0, 7), (1, 2)))
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    images = pd.DataFrame({"pixels": ["x"], "label": ["a"], "image": [0]})
    numbers = shortcut_measures(Context(images, empty, empty, 1, told=told))
    regions = region_map(numbers)
    assert regions["score"][7][7] == pytest.approx(0.63)
    assert regions["mark"][0] == [None] * 7 + [0.2]
    plot = plots.region_map(plots.Drawn({"pixel_regions": regions}, {}))
    assert "row 8, column 8" in plot.title
    tips = re.findall(r"row (\d), column (\d): [^<\"]*", plot.svg)
    assert len(set(tips)) == 64
    assert plot.svg.count("of one class bear a mark here") == 1
    assert region_map({}) is None
    assert plots.region_map(plots.Drawn({"pixel_regions": None}, {})) is None


@pytest.mark.parametrize(("by_size", "named"), [(1.0, ["brightness"]), (0.7, ["compression", "brightness"])])
def test_what_follows_from_the_size_of_the_files_is_not_told_again(by_size, named):
    from dataprops.findings.pixel_shortcut import shortcuts
    from dataprops.findings.pixels_tell import Told

    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    images = pd.DataFrame({"pixels": ["x"], "label": ["a"], "image": [0]})
    scores = pd.DataFrame({"property": ["file size", "width"], "score": [1.0, by_size]})
    told = [Told("property", "compression", 0.95), Told("property", "brightness", 0.8)]
    context = Context(images, empty, empty, 1, told=told, shortcuts=scores)
    assert [one.name for one in shortcuts(context)] == named


def test_thumbnails_are_the_means_of_their_cells():
    import torch

    images = np.random.default_rng(0).integers(0, 256, (3, 90, 90, 3)).astype(np.uint8)
    thumbs = thumbnails(lambda ids: iter([(np.asarray(ids), images[ids])]), np.arange(3), 64)
    grey = torch.from_numpy(images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))
    wanted = torch.nn.functional.adaptive_avg_pool2d(grey[:, None], 64)[:, 0].numpy()
    assert thumbs.shape == (3, 64, 64)
    assert np.abs(thumbs - wanted).max() <= 0.501


def test_brightness_tells_the_class_and_nothing_does_in_a_clean_set():
    pixels = pictures(160, seed=4)
    y = np.arange(160) % 2
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "b", "a"))
    clean = told_by_pixels(images, blocks_of(pixels))
    assert max(told.score for told in clean) < 0.5
    assert not [told for told in clean if told.kind == "mark"]
    pixels[y == 1] = np.clip(pixels[y == 1].astype(int) + 40, 0, 255)
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "b", "a"))
    best = next(told for told in told_by_pixels(images, blocks_of(pixels)) if told.kind == "property")
    assert (best.name, best.score > 0.8) == ("brightness", True)


def test_flipped_labels_come_first_and_are_counted():
    rng = np.random.default_rng(0)
    n, flipped = 400, 12
    truth = np.arange(n) % 3
    y = truth.copy()
    y[:flipped] = (truth[:flipped] + 1) % 3

    def witness(sure: float) -> np.ndarray:
        p = rng.dirichlet(np.ones(3), n) * (1 - sure)
        p[np.arange(n), truth] += sure
        return p

    near, probe = witness(0.5), witness(0.6)
    said = Opinions(np.arange(n), ["a", "b", "c"], y, joined((near, probe), y), near, probe)
    worst = np.argsort(-said.score)[:flipped]
    assert set(worst) == set(range(flipped))
    assert (said.likelier[:flipped] == truth[:flipped]).all()
    wrong = wrong_labels(said)
    assert 0 < wrong.shown < wrong.low <= flipped <= wrong.high  # 3 % are told
    clean = Opinions(said.image, said.classes, truth, joined((near, probe), truth), near, probe)
    assert wrong_labels(clean).low == pytest.approx(0, abs=1e-6)
    assert wrong_labels(clean).shown == 0


def test_labels_of_classes_that_are_often_exchanged_are_more_suspect():
    joint = np.full((60, 3), 0.05)
    joint[np.arange(60), np.arange(60) % 3] = 0.9
    y = np.arange(60) % 3
    y[[0, 3, 6]] = 1  # of class 0, written as 1
    joint[[1, 2]] = [0.45, 0.45, 0.1], [0.45, 0.1, 0.45]  # given as 1 and 2, and class 0 as likely
    said = Opinions(np.arange(60), ["a", "b", "c"], y, joint, joint)
    assert said.doubt[1] == pytest.approx(said.doubt[2])
    assert said.score[1] > 1.5 * said.score[2]


def test_labels_that_cannot_be_learnt_raise_no_alarm():
    rng = np.random.default_rng(0)
    n = 120
    y = np.arange(n) % 2
    near, probe = rng.dirichlet([8, 8], n), rng.dirichlet([20, 20], n)
    said = Opinions(np.arange(n), ["a", "b"], y, joined((near, probe), y), near, probe)
    assert said.score.max() < 0.51
    assert wrong_labels(said).low == 0
    images, _ = tables(pictures(n, seed=1), y=y.astype(float), label=np.where(y, "b", "a"))
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    one_sided = np.tile(
        [0.6, 0.4], (n, 1)
    )  # always the one class: wrong on all of the other, and no part of the data is hard
    context = Context(images, empty[["a", "b", "distance"]], empty, SIDE * SIDE)
    context = context._replace(opinions=said._replace(probe=one_sided))
    assert measures(context)["hard_slices"] == 0


def test_neighbours_alone_count_no_wrong_labels(monkeypatch):
    """Sets of more images than the classifier takes, and audits without one: what neighbours cannot tell is everywhere."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 600)
    y = np.where(rng.random(600) < 0.2, rng.integers(0, 10, 600), truth)
    near = np.full((600, 10), 0.01)
    near[np.arange(600), truth] = 0.91
    alone = Opinions(np.arange(600), list("abcdefghij"), y, joined((near,), y), near)
    both = alone._replace(probe=near)
    for said, told in ((alone, False), (both, True)):
        monkeypatch.setattr(second_opinion, "_ask", lambda *_, said=said: said)
        found = second_opinion.opinions(pd.DataFrame(), pd.DataFrame(), None)
        context = SimpleNamespace(opinions=found, probe=None, kind="classes")
        assert ("wrong_label_share_low" in suspect_labels.measures(context)) is told


def test_of_a_large_set_wrong_labels_are_estimated_from_the_images_that_the_classifier_was_asked_about(
    monkeypatch: pytest.MonkeyPatch,
):
    rng = np.random.default_rng(0)
    truth = np.arange(900) % 3
    y = np.where(rng.random(900) < 0.1, (truth + rng.integers(1, 3, 900)) % 3, truth)
    images = pd.DataFrame({"image": np.arange(900), "pixels": "x", "y": y.astype(float), "path": "p", "group": None})
    images["label"] = np.array(["a", "b", "c"], object)[y]
    near = pd.DataFrame({"image": np.repeat(np.arange(900), 9), "distance": 1.0})
    near["neighbour"] = (near["image"] + 3 * (1 + np.tile(np.arange(9), 900))) % 900  # of its own class
    asked = np.sort(rng.permutation(900)[:300])
    sure = 0.4 * rng.dirichlet(np.ones(3), 300)
    sure[np.arange(300), truth[asked]] += 0.6
    witness = Witness(asked, ["a", "b", "c"], sure, np.full((300, 15), -1), sure, sure, np.empty((0, 300, 3)))
    monkeypatch.setattr(second_opinion, "MOST", 400)
    said = second_opinion.opinions(images, near, witness)
    assert said is not None and said.asked is not None
    assert (len(said.y), len(said.asked.y)) == (900, 300)
    context = SimpleNamespace(opinions=said, probe=None, kind="classes", images=images)
    told = suspect_labels.measures(context)
    assert told["wrong_labels_asked"] == 300
    assert told["wrong_labels_low"] <= (y != truth).sum() <= told["wrong_labels_high"]
    assert 0 < told["wrong_label_share_low"] < 0.1
    wrong = set(np.nonzero(y != truth)[0])
    rows = list(suspect_labels.find(context))
    assert {row[0][0] for row in rows[: len(wrong)]} == wrong
    assert sum("reference classifier" in row[2] for row in rows if row[0][0] in wrong) == len(wrong & set(asked))


def test_errors_of_hard_images_are_no_wrong_labels_and_errors_of_easy_ones_are():
    rng = np.random.default_rng(1)
    n = 600
    logit = rng.normal(0, 5, n)
    p = 1 / (1 + np.exp(-logit))
    y = (rng.random(n) < p).astype(int)  # a witness that is calibrated, and errs on a tenth
    sure = np.stack([1 - p, p], 1)
    said = Opinions(np.arange(n), ["a", "b"], y, joined((sure,), y), sure)
    assert wrong_labels(said).low == pytest.approx(0, abs=3)
    flipped = y.copy()
    flipped[:60] = 1 - y[:60]
    wrong = wrong_labels(said._replace(y=flipped, joint=joined((sure,), flipped)))
    assert 12 < wrong.low < 60 < wrong.high


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        ([f"x/person{i // 3}_virus_{i}.jpeg" for i in range(60)], 20),
        ([f"x/OAI-90012{i // 2:02d}{'LR'[i % 2]}.png" for i in range(60)], 30),
        ([f"x/image_{i}.png" for i in range(60)], None),
        ([f"x/{i:04d}.png" for i in range(60)], None),
    ],
)
def test_ids_in_file_names_are_proposed(names, groups):
    images = pd.DataFrame({"image": range(60), "path": names, "split": None, "group": None})
    found = suggestion(images)
    assert (None if found is None else found.groups) == groups


@pytest.mark.parametrize("others_first", [False, True])
def test_ids_of_half_of_many_names_are_proposed(others_first):
    """Patterns are tried on some of many names; half of all must match, wherever they stand."""
    names = [f"x/person{i // 3}_{i}.jpeg" for i in range(3_030)] + [f"y/{i:04}.png" for i in range(2_970)]
    images = pd.DataFrame({"path": names[::-1] if others_first else names, "split": None, "group": None})
    found = suggestion(images)
    assert found is not None
    assert (found.groups, found.matched) == (1_010, 3_030)


def test_negatives_are_told_from_pictures_without_an_up():
    rng = np.random.default_rng(5)
    pixels = np.full(
        (120, SIDE, SIDE), 170.0
    )  # dark spots anywhere on light ground: no two pictures resemble each other
    for one in pixels:
        for y, x, r in zip(*rng.uniform(8, SIDE - 8, (2, 9)), rng.uniform(2, 5, 9), strict=True):
            yy, xx = np.ogrid[:SIDE, :SIDE]
            one[(yy - y) ** 2 + (xx - x) ** 2 < r * r] -= 70
    pixels = np.clip(pixels + gaussian_filter(rng.normal(0, 60, pixels.shape), (0, 2, 2)), 0, 255).astype(np.uint8)
    pixels[:4] = 255 - pixels[:4]
    images, _ = tables(pixels)
    found = [fault for fault in faults(images, blocks_of(pixels)) if fault.fault == "inverted"]
    assert [fault.image for fault in found] == [0, 1, 2, 3]


def test_a_patient_does_not_vouch_for_himself_by_features_and_the_witness_is_read_as_written(tmp_path):
    features = np.array([[1, 0], [1, 0.01], [0.9, 0.3], [0, 1], [0.1, 1]], np.float32)
    voters = most_alike(features @ features.T, np.array([0, 0, 1, 2, 3]))
    assert voters[0, :3].tolist() == [2, 4, 3]  # 1 is of the same patient
    assert (voters[:, 4:] == -1).all()
    p = np.full((5, 2), 0.5)
    described = np.stack([p, 1 - p])
    Witness(np.arange(5), ["a", "ü"], p, voters, p, p, described).save(tmp_path / "witness.npz")
    read = Witness.load(tmp_path / "witness.npz")
    assert read is not None
    assert np.array_equal(read.described, described)
    assert read.classes == ["a", "ü"]
    assert np.array_equal(read.alike, voters)
    assert Witness.load(tmp_path / "none.npz") is None


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda one: np.rint(255 * (one / 255) ** 1.2).astype(np.uint8), "tone curve (gamma)"),
        (lambda one: recoded(one, 70), "compression"),
    ],
)
def test_a_tone_curve_and_a_compression_of_one_class_are_named(change, name):
    pixels = pictures(120, seed=6)
    y = np.arange(120) % 2
    for i in np.nonzero(y)[0]:
        pixels[i] = change(pixels[i])
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "b", "a"))
    told = {told.name: told.score for told in told_by_pixels(images, blocks_of(pixels)) if told.kind == "property"}
    assert told[name] > 0.8


def test_a_tone_curve_of_small_coloured_pictures_is_told_by_all_channels():
    rng = np.random.default_rng(3)
    middles = 110 + 6 * np.arange(3)
    pixels = np.clip(np.rint(rng.normal(middles, 30, (60, 28, 28, 3))), 0, 255).astype(np.uint8)
    y = np.arange(60) % 2
    pixels[y == 1] = np.rint(255 * (pixels[y == 1] / 255) ** 1.2).astype(np.uint8)
    holes = np.array([measure_image(one).holes for one in pixels])
    assert holes[y == 0].max() < holes[y == 1].min()
    alone = np.array([measure_image(one[..., 1]).holes for one in pixels])  # 3 of a grey level: too few to tell
    assert np.isnan(alone).all() or np.nanmax(alone[y == 0]) >= np.nanmin(alone[y == 1])
    grey = pixels[1, ..., 1]
    threefold = measure_image(np.stack([grey] * 3, -1))
    assert np.array_equal(threefold.holes, measure_image(grey).holes, equal_nan=True)


def test_a_second_compression_of_one_class_is_told_by_the_files_where_all_of_them_say_it():
    pixels = pictures(120, seed=6)
    y = np.arange(120) % 2
    pixels = np.stack([recoded(one, 60) for one in pixels])  # traces in the pixels are those of before
    label = np.where(y, "b", "a")
    images, _ = tables(pixels, y=y.astype(float), label=label, format="JPEG", jpeg_step=np.where(y, 34.5, 9.2))

    def score(table: pd.DataFrame) -> float:
        return {told.name: told.score for told in told_by_pixels(table, blocks_of(pixels))}["compression"]

    assert score(images) == 1.0
    images.loc[y == 1, "jpeg_step"] = np.nan  # decoded by a version that did not look
    assert score(images) < 0.3


@pytest.mark.parametrize("quality", [70, 90])
def test_a_second_compression_of_one_class_is_told_by_the_pixels_where_all_were_jpeg_before(quality):
    pixels = np.stack([recoded(one, 75) for one in pictures(120, seed=6)])
    y = np.arange(120) % 2
    pixels[y == 1] = [recoded(one, quality) for one in pixels[y == 1]]
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "b", "a"))

    def score(table: pd.DataFrame) -> float:
        return {told.name: told.score for told in told_by_pixels(table, blocks_of(pixels))}["compression"]

    assert score(images) > 0.9
    without = score(images.drop(columns="original_step"))
    assert without < 0.8
    images.loc[y == 1, "original_step"] = np.nan  # decoded by a version that did not look
    assert score(images) == without


def test_pixels_say_how_coarsely_they_were_stored():
    coloured = np.stack(pictures(3, seed=8), -1)
    for pixels in (pictures(1, seed=7)[0], coloured):
        for percent, step in ((50, 57.625), (70, 34.546875), (92, 9.25)):
            assert measure_image(recoded(pixels, percent)).step == step
            assert measure_image(recoded(pixels, percent)[3:, 3:]).step == 0  # the grid was moved
        assert measure_image(pixels).step == 0
    dark = np.clip(pictures(1, seed=7)[0].astype(int) - 100, 0, 255).astype(np.uint8)  # much of it is cut at black
    assert measure_image(recoded(dark, 70)).step == 34.546875
    assert measure_image(np.full((64, 64), 90, np.uint8)).step == 0
    assert measure_image(pictures(1)[0][:7, :7]).step == 0


def test_a_small_jpeg_that_is_far_heavier_than_the_others_is_told():
    pixels = pictures()
    images, _ = tables(pixels, format="JPEG", jpeg_step=9.2)
    images["width"] = images["height"] = 32  # too few blocks to see it in them
    images.loc[[3, 4], "jpeg_step"] = [196.25, 72.0]  # qualities of 10 and 40
    found = [(fault.image, fault.words) for fault in faults(images, blocks_of(pixels)) if fault.fault == "compressed"]
    assert found == [(3, "is heavily compressed: a JPEG of quality 10 of 100, or was one")]


@pytest.mark.parametrize("usual", [None, 75, 95])
def test_pixels_that_were_a_heavy_jpeg_are_told_at_any_size_whatever_the_file_is_now(usual):
    """Blocks are not measured of pictures that were reduced for it, as those above 256 pixels are."""
    whole = pictures()
    pixels = whole if usual is None else np.stack([recoded(one, usual) for one in whole])
    for image, one in enumerate((5, 10, 20, 40)):
        pixels[image] = recoded(whole[image], one)
    images, _ = tables(pixels, format="PNG")
    images["original_blockiness"] = np.nan
    found = {fault.image: fault.words for fault in faults(images, blocks_of(pixels)) if fault.fault == "compressed"}
    assert sorted(found) == [0, 1, 2]
    for image, one in enumerate((5, 10, 20)):
        assert f"a JPEG of quality {one} of 100" in found[image]


def test_blocks_of_a_picture_whose_pixels_were_stored_well_are_no_heavy_compression():
    """Three smooth pictures of 900 flowers, all of quality 75, were called heavily compressed."""
    pixels = pictures()
    images, _ = tables(pixels)
    images["width"] = images["height"] = 128
    images["original_blockiness"] = 0.2
    images.loc[[1, 2], "original_blockiness"] = 3.0
    images["original_step"] = 29.0
    images.loc[2, "original_step"] = 0.0  # no trace says how it was stored
    assert [fault.image for fault in faults(images, blocks_of(pixels)) if fault.fault == "compressed"] == [2]


def test_steps_between_blocks_that_nobody_sees_are_no_compression():
    """Of 300 dark slices of the brain ten were called compressed for steps of one grey level."""
    rows, columns = np.mgrid[:128, :128] // 8 % 2
    faint = 10 + (rows ^ columns) + (np.random.default_rng(0).random((128, 128)) < 0.35)
    assert measure_image(faint.astype(np.uint8)).blockiness < 0.7
    assert measure_image((8 * faint).astype(np.uint8)).blockiness > 1


def test_all_sure_suspects_and_the_first_of_the_doubted_are_listed_in_order():
    y = np.arange(100) % 2
    given = np.full(100, 0.9)
    given[:30] = np.linspace(0.01, 0.45, 30)  # 30 labels are doubted, those below 0.25 surely
    joint = np.where(y[:, None] == np.arange(2), given[:, None], 1 - given[:, None])
    said = Opinions(np.arange(100), ["a", "b"], y, joint, joint)
    listed = suspect_labels._listed(said)
    assert set(listed) == set(range(int((given <= 0.25).sum())))
    assert (np.diff(said.score[listed]) <= 0).all()
    few = joint.copy()
    few[3:] = np.where(y[3:, None] == np.arange(2), 0.7, 0.3)
    few[10:25] = few[10:25, ::-1]
    listed = suspect_labels._listed(said._replace(joint=few))
    assert (set(listed[:3]), len(listed)) == ({0, 1, 2}, 10)
    assert set(listed[3:]) < set(range(10, 25))
    assert suspect_labels._listed(said._replace(joint=np.full((100, 2), 0.5))) == []


def test_the_suspect_side_of_a_pair_is_named():
    images, _ = tables(pictures(20))
    joint = np.tile([0.9, 0.1], (20, 1))
    said = Opinions(np.arange(20), ["a", "b"], np.r_[1, np.zeros(19, int)], joint, joint)
    sharpest = pd.DataFrame({"a": [0, 2], "b": [1, 3], "distance": [9.0, 9.0], "sharpness": [0.1, 0.1]})
    context = Context(images.assign(label="a"), sharpest[[]], sharpest, SIDE * SIDE)._replace(opinions=said)
    detail = [row[2] for row in sharpest_pairs.find(context)]
    assert "The label of “000.png” is the suspect one (probability of another one 0.90 against 0.10)." in detail[0]
    assert "suspect" not in detail[1]
    same = images.assign(label=np.where(said.y == 1, "b", "a"), y=said.y.astype(float), duplicate_of=0)
    conflicts = [row[2] for row in label_conflicts.find(context._replace(images=same))]
    assert len(conflicts) == 19
    assert all("The label of “000.png” is the suspect one (probability of" in one for one in conflicts)


def test_pictures_that_look_alike_are_a_slice():
    rng = np.random.default_rng(8)
    pixels = pictures(200)
    hard = rng.permutation(200)[:60]
    pixels[hard, : SIDE // 2] = np.clip(pixels[hard, : SIDE // 2].astype(int) + 90, 0, 255)
    y = np.arange(200) % 2
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "b", "a"))
    right = np.ones(200, bool)
    right[hard[:40]] = False
    probe = np.where((np.arange(2) == y[:, None]) == right[:, None], 0.9, 0.1)
    said = Opinions(np.arange(200), ["a", "b"], y, probe, probe, probe)
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    context = Context(images, empty, empty, SIDE * SIDE)._replace(opinions=said, pixels=blocks_of(pixels))
    found = [one for one in hard_slices(context) if one.name.startswith("pictures that look like")]
    assert found
    assert set(found[0].members) <= set(hard)


def test_a_site_of_the_manifest_and_a_fifth_of_its_numbers_are_slices():
    y = np.arange(200) % 2
    images = pd.DataFrame(dict.fromkeys(("split", "format", "mode", "path")), index=range(200))
    images = images.assign(image=np.arange(200), y=y.astype(float), label=np.where(y, "b", "a"))
    site = np.where(np.arange(200) % 4 == 3, "north", "south").astype(object)
    site[::9] = None
    age = np.random.default_rng(5).permutation(200) / 2
    right = ~((site == "north") & (np.arange(200) % 8 > 3)) & ~((age > 85) & (y == 0))
    probe = np.where((np.arange(2) == y[:, None]) == right[:, None], 0.9, 0.1)
    said = Opinions(np.arange(200), ["a", "b"], y, probe, probe, probe)
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    described = pd.DataFrame({"site": site, "age": [str(value) for value in age]}, dtype=object)
    context = Context(images, empty, empty, SIDE * SIDE)._replace(opinions=said, described=described)
    assert {one.name.partition(" (")[0] for one in hard_slices(context)} == {"site “north”", "highest fifth in age"}
    assert not hard_slices(context._replace(described=None))


def test_images_of_one_patient_that_are_hard_together_make_no_site_hard(monkeypatch):
    """20 patients of 20 images, hardly any of whose errors are independent: seven of the ten hard ones come from one of two sites."""
    patient = np.repeat(np.arange(20), 20)
    y = np.arange(400) % 2
    wrong = (patient % 2 == 0) & (np.arange(400) % 20 < 12)
    images = pd.DataFrame(dict.fromkeys(("split", "format", "mode", "path")), index=range(400))
    images = images.assign(image=np.arange(400), y=y.astype(float), label=np.where(y, "b", "a"))
    probe = np.where((np.arange(2) == y[:, None]) == ~wrong[:, None], 0.9, 0.1)
    said = Opinions(np.arange(400), ["a", "b"], y, probe, probe, probe)
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    north = np.isin(patient, [0, 2, 4, 6, 8, 10, 12, 1, 3, 5])
    described = pd.DataFrame({"site": np.where(north, "north", "south")}, dtype=object)
    context = Context(images, empty, empty, SIDE * SIDE)._replace(opinions=said, described=described)
    assert [one.name for one in hard_slices(context)] == ["site “north”"]  # if every image were another patient
    probed = pd.DataFrame({"image": np.arange(400), "leak_group": patient})
    assert not hard_slices(context._replace(probe=probed))
    every = described.assign(site=np.where(np.isin(patient, patient[wrong]), "north", "south"))
    (hard,) = hard_slices(context._replace(probe=probed, described=every))  # all ten, and no other
    assert (hard.low, hard.high) == wilson_interval(120, 200)  # as many of each, so images are as good as patients
    monkeypatch.setattr(slices, "shared_errors", lambda wrong, unit: lambda mask: 4.0)
    (hard,) = hard_slices(context._replace(probe=probed, described=every))
    assert (hard.low, hard.high) == wilson_interval(30, 50)


def test_the_design_effect_of_a_slice_is_the_size_of_patients_whose_errors_are_one():
    patient = np.repeat(np.arange(40), 5)
    wrong = patient % 4 == 0
    effect = shared_errors(wrong, patient)
    assert effect(patient < 13) == pytest.approx(5)
    assert effect(np.arange(200) % 5 == 0) == 1  # one image of each patient
    assert shared_errors(wrong, np.arange(200))(patient < 13) == 1


def test_what_a_manifest_says_beside_path_and_label_is_kept_by_image(tmp_path):
    from dataprops.sources import SourceOptions, open_source

    for i in range(4):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    rows = "".join(f"{i}.png,{'ab'[i % 2]},{'north' if i < 2 else ''}\n" for i in (3, 1, 1, 0, 2))
    (tmp_path / "list.csv").write_text(f"path,label,site\n{rows}")
    table = open_source(str(tmp_path / "list.csv"), SourceOptions()).scan()
    said = {key[-5:]: value for key, value in table.attrs["described"]["site"].items()}
    assert set(table["key"]) == set(table.attrs["described"]["site"])
    assert said == {"3.png": None, "1.png": "north", "0.png": "north", "2.png": None}


def test_the_dimension_is_told_without_near_copies():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(120, 5))
    doubled = np.concatenate([points, points[:40] + rng.normal(0, 1e-4, (40, 5))])
    d = np.linalg.norm(doubled[:, None] - doubled[None], axis=2)
    np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1)[:, :K]
    distance = np.take_along_axis(d, order, 1)
    near = pd.DataFrame(
        {"image": np.repeat(np.arange(160), K), "neighbour": order.ravel(), "distance": distance.ravel()}
    )
    images = pd.DataFrame({"image": np.arange(160), "duplicate_of": np.arange(160)})
    pairs = pd.DataFrame({"a": np.arange(40), "b": np.arange(120, 160)})
    found = dimension_without_copies(images, near, pairs)
    # the same points without copies, brute force
    alone = np.sort(d[:120, :120], axis=1)[:, : int(found["without_copies_k"])]
    k = alone.shape[1]
    assert found["without_copies_mle"] == pytest.approx(
        (k - 1) / np.log(alone[:, -1:] / alone[:, :-1]).sum(1).mean(), rel=0.02
    )
    assert found["without_copies_twonn"] > 3.5  # with them it is below 2
    assert dimension_without_copies(images, near, pairs[:0]) is None


@pytest.mark.parametrize(
    ("name", "group"),
    [
        (lambda i: f"clip_{i // 5:02}_a_frame{i % 5:04}.png", "clip_00_a"),
        (lambda i: f"IMG_20230{1 + i // 10}14_10{i % 10 // 5}0{30 + i % 5}.jpg", "20230114_1000"),
    ],
)
def test_frames_and_times_of_acquisition_are_proposed_as_groups(name, group):
    images = pd.DataFrame({"image": range(40), "path": [name(i) for i in range(40)], "group": None, "split": None})
    found = suggestion(images)
    assert found is not None
    assert (found.groups, found.matched, found.ids[0]) == (8, 40, group)


def test_studies_of_headers_without_a_patient_are_proposed():
    images = pd.DataFrame({"image": range(40), "path": [f"{i}.dcm" for i in range(40)], "group": None, "series": None})
    images["split"] = np.where(np.arange(40) % 4 == 3, "test", "train")
    images["study"] = [f"study {i // 4}" for i in range(40)]
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    context = Context(images, empty, empty, SIDE * SIDE)
    ((members, groups, detail),) = group_suggestion.find(context)
    assert (list(members), groups) == ([0, 1, 2, 3], 10)
    assert "10 studies (every file); 10 of them are in two splits" in detail
    assert group_suggestion.measures(context) == {"suggested_group_leaks": 10.0}


def test_the_outermost_pixels_of_tiny_pictures_are_content_and_no_border():
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images * 15).astype(np.uint8)
    images = pd.DataFrame(
        {"image": range(len(pixels)), "pixels": [str(i) for i in range(len(pixels))], "y": digits.target.astype(float)}
    ).assign(label=digits.target.astype(str), group=None)
    properties = [told for told in told_by_pixels(images, blocks_of(pixels)) if told.kind == "property"]
    assert properties
    assert not [told for told in properties if told.score > 0.8]


@pytest.mark.parametrize("crowded", [False, True], ids=["in buckets", "in one bucket"])
def test_close_partners_that_meet_in_buckets_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch, crowded: bool):
    rng = np.random.default_rng(2)
    a = rng.normal(size=(600, 28))
    b = rng.normal(size=(600, 28))
    if crowded:  # most directions are one
        a[:500], b[:500] = a[0] + 0.05 * a[:500], a[0] + 0.05 * b[:500]
    a[500:560] = b[:60] + 0.1 * a[500:560]
    a, b = (torch.nn.functional.normalize(torch.from_numpy(one).float()) for one in (a, b))
    every = partners.close_partners(a, b, 0.45)
    monkeypatch.setattr(partners, "SMALL", 0)
    met = partners.close_partners(a, b, 0.45)
    assert met[2] == every[2]
    assert set(zip(*met[:2], strict=True)) == set(zip(*every[:2], strict=True))
    planted = set(zip(range(500, 560), range(60), strict=True))
    assert crowded or planted <= set(zip(*met[:2], strict=True))


def test_copies_planted_in_a_set_that_is_searched_in_buckets_are_candidates():
    originals, each = 1520, 20
    pixels = 128 + 250 * gaussian_filter(np.random.default_rng(4).normal(size=(originals, 32, 32)), (0, 2, 2))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    changes = [
        lambda some: some[:, :, ::-1],
        lambda some: np.stack([np.asarray(Image.fromarray(one[2:-2, 2:-2]).resize((32, 32))) for one in some]),
        lambda some: np.pad(some, ((0, 0), (2, 0), (2, 0)), mode="edge")[:, :-2, :-2],
        lambda some: np.where(np.arange(32 * 32).reshape(32, 32) % 32 // 4 == 5, 255, some).astype(np.uint8),
    ]
    changed = [change(pixels[at * each : (at + 1) * each]) for at, change in enumerate(changes)]
    pairs = candidates.candidate_pairs(np.concatenate([pixels, *changed]))
    found = set(zip(np.minimum(pairs.a, pairs.b).tolist(), np.maximum(pairs.a, pairs.b).tolist(), strict=True))
    copies = len(changes) * each
    assert originals + copies >= partners.SMALL
    assert {(i, originals + i) for i in range(copies)} <= found


@pytest.mark.parametrize(("differing", "copies"), [(0.0, 1), (0.05, 0)], ids=["a little less everywhere", "in parts"])
def test_detail_that_agrees_in_parts_only_must_agree_better_there(differing: float, copies: int):
    one = np.zeros(1, np.int64)
    wanted = candidates.Candidates(one, one + 1, one, np.ones(1, np.float32))
    value = np.ones(1, np.float32)
    found = Alignment(0.9 * value, np.eye(2, 3, dtype=np.float32)[None], value, value, 0 * value, differing * value)
    plain = pd.DataFrame({"a": [0], "b": [1], "distance": [9.0], "ratio": [0.9]})
    assert len(nearcopies._decide(wanted, found, plain, 0.5, 0.85)) == copies


def test_borders_are_looked_for_only_where_an_outermost_line_is_plain():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    pictures[1, :, -5:] = 7
    pictures[2, :3], pictures[2, 3:8] = 7, 90  # one within another
    assert candidates.border_lines(pictures).tolist() == [[0, 0, 0, 0], [0, 0, 7, 0], [0, 10, 0, 0]]


@pytest.mark.parametrize("side", [7, 32, 128])
def test_maps_lead_where_the_library_says(side):
    warp = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32))
    wanted = torch.nn.functional.affine_grid(warp, [9, 1, side, side], align_corners=False)
    np.testing.assert_allclose(grid_of(warp, side), wanted, atol=1e-5)


def test_marks_all_around_the_pictures_of_a_class_are_its_border():
    """A grey border was told as marks in four corners and edges, the first of them as what to do."""
    from dataprops.findings.pixel_shortcut import find as shortcut_rows
    from dataprops.findings.pixels_tell import Told

    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    images = pd.DataFrame({"pixels": ["x"], "label": ["a"], "image": [0]})
    around = [
        Told("mark", name, 0.8, "sick", cell, (2, 3))
        for name, cell in (("left edge", (5, 0)), ("bottom right corner", (7, 7)), ("top edge", (0, 4)))
    ]
    letter = Told("mark", "top right corner", 0.4, "well", (0, 7), (0, 1))
    border = Told("property", "border", 0.9)

    def details(told):
        return [detail for _, _, detail in shortcut_rows(Context(images, empty, empty, 1, told=told))]

    first, second = details([*around, letter, border])
    assert first.startswith("The border alone closes 90 % of the gap")
    assert first.endswith("class sick has one of its own.")
    assert second.startswith("A mark in the top right corner")
    assert len(details([*around, letter])) == 4  # without a border that tells the class they are marks
    assert [detail[:10] for detail in details([*around[:2], border])] == ["The border", "A mark in ", "A mark in "]


def test_a_border_in_whole_blocks_is_no_compression():
    rng = np.random.default_rng(2)
    pixels = np.clip(rng.normal(128, 6, (224, 224)), 0, 255).astype(np.uint8)
    framed = np.full_like(pixels, 20)
    framed[8:-8, 8:-8] = pixels[8:-8, 8:-8]
    assert measure_image(framed).blockiness < 0.3
    stepped = pixels.astype(int) + 40 * np.add.outer(np.arange(224) // 8, np.arange(224) // 8) % 80
    assert measure_image(np.clip(stepped - 40, 0, 255).astype(np.uint8)).blockiness > 1


def test_a_picture_upside_down_is_not_called_a_negative():
    """Ultrasound is bright above and dark below: upside down it resembles the others' negatives."""
    rng = np.random.default_rng(4)
    pixels = np.tile(np.linspace(220, 40, SIDE)[:, None], (60, 1, SIDE)) + rng.normal(0, 5, (60, SIDE, SIDE))
    pixels[:, 4:20, 6:18] += 30
    pixels[:2] = pixels[:2, ::-1, ::-1]
    pixels[2:4] = 255 - pixels[2:4]
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    images, _ = tables(pixels)
    found = {fault.image: fault.fault for fault in faults(images, blocks_of(pixels))}
    assert found == {0: "wrong_orientation", 1: "wrong_orientation", 2: "inverted", 3: "inverted"}


@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_turned_picture_looks_like_follows_from_the_picture(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, channels)).astype(np.uint8)
    seen = upright.describe(pixels)
    for change in upright.CHANGES:
        made = np.ascontiguousarray(np.rot90(pixels, change.quarters, (1, 2))) if change.quarters else 255 - pixels
        for found, wanted in zip(upright.describe(made), upright._changed(*seen, change), strict=True):
            np.testing.assert_allclose(found, wanted, atol=2e-3)


def faces(rng, n):
    """Two dark spots above a dark line, on lighter ground: pictures with an up."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    out = np.empty((n, SIDE, SIDE))
    for i, (dy, dx) in enumerate(rng.uniform(-0.08, 0.08, (n, 2))):
        spots = [np.hypot(y - 0.35 - dy, x - at - dx) < 0.1 for at in (0.3, 0.7)]
        line = (np.abs(y - 0.75 - dy) < 0.06) & (np.abs(x - 0.5 - dx) < 0.25)
        out[i] = 150 + 40 * y - 70 * (spots[0] | spots[1] | line)
    return np.clip(out + rng.normal(0, 8, out.shape), 0, 255).astype(np.uint8)


def test_turned_pictures_are_told_by_what_the_set_has_above_and_below():
    pixels = faces(np.random.default_rng(3), 90)
    for i, quarters in enumerate((1, 2, 3)):
        pixels[i] = np.rot90(pixels[i], quarters)
    images, _ = tables(pixels)
    found = [fault for fault in faults(images, blocks_of(pixels)) if fault.fault == "wrong_orientation"]
    assert [fault.image for fault in found] == [0, 1, 2]
    for fault, words in zip(found, ("90° counter-clockwise", "180°", "90° clockwise"), strict=True):
        assert f"seems turned by {words}:" in fault.words


def test_many_turned_pictures_do_not_silence_the_set():
    """Of a twelfth turned none was told: they were counted as errors of the classifier."""
    pixels = faces(np.random.default_rng(3), 120)
    pixels[:10] = pixels[:10, ::-1, ::-1]
    images, _ = tables(pixels)
    found = {fault.image for fault in faults(images, blocks_of(pixels)) if fault.fault == "wrong_orientation"}
    assert found == set(range(10))


def test_only_pictures_that_would_be_called_turned_are_compared_with_the_whole_set(monkeypatch):
    """Of 70,000 digits those that the classifier doubts at all took four fifths of the time."""
    pixels = faces(np.random.default_rng(3), 90)
    pixels[0] = np.rot90(pixels[0], 2)
    compared, real = [], upright._company
    monkeypatch.setattr(upright, "_company", lambda plain, at, back: compared.extend(at) or real(plain, at, back))
    images, _ = tables(pixels)
    assert {fault.image for fault in faults(images, blocks_of(pixels))} == set(compared) == {0}


def test_the_fewer_of_two_kinds_are_not_called_inverted():
    """Bright-field microscopy, and some of fluorescence: bright on dark as negatives are, but alike among themselves."""
    rng = np.random.default_rng(9)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    pixels = np.full((150, SIDE, SIDE), 170.0)
    for n, one in enumerate(pixels):
        for at in rng.uniform(0.2, 0.8, (6, 2)):
            one[np.hypot(y - at[0], x - at[1]) < rng.uniform(0.04, 0.09)] -= 70
        if n >= 135:
            one[:] = 40
            for at in rng.uniform(0.35, 0.65, (2, 2)):
                one[np.hypot(y - at[0], x - at[1]) < rng.uniform(0.1, 0.15)] += 70
    pixels = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
    pixels[:3] = 255 - pixels[:3]
    images, _ = tables(pixels)
    found = [fault.image for fault in faults(images, blocks_of(pixels)) if fault.fault == "inverted"]
    assert found == [0, 1, 2]


def test_pictures_that_lie_either_way_are_not_called_turned():
    rng = np.random.default_rng(3)
    pixels = faces(rng, 90)
    pixels[::2] = pixels[::2, ::-1, ::-1]
    images, _ = tables(pixels)
    words = [fault.words for fault in faults(images, blocks_of(pixels))]
    assert not [one for one in words if "180°" in one]


def test_copies_of_blank_pictures_are_no_first_example():
    pixels = np.concatenate([np.full((2, SIDE, SIDE), 7, np.uint8), pictures(20)])
    y = np.arange(22) // 2 % 2
    images, _ = tables(pixels, y=y.astype(float), label=np.where(y, "b", "a"), split=["train", "test"] * 11)
    images.loc[1, "duplicate_of"] = 0
    images.loc[3, "duplicate_of"] = 2
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    table = find(Context(images, empty, empty, SIDE * SIDE, checks=load_thresholds()))
    for kind in ("exact_duplicates", "split_leakage"):
        assert [sorted(ids) for ids in table.loc[table["kind"] == kind, "images"]] == [[2, 3], [0, 1]]
