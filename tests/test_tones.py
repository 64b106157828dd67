"""Tones of single pictures beside spoilt copies of the others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dataprops.findings import tones

N, SIDE = 60, 32


def pictures(channels: int, seed: int = 0) -> np.ndarray:
    """Pictures with structure at several scales, uint8 [N, SIDE, SIDE, channels]."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(N, SIDE, SIDE, channels)), (0, s, s, 0)) for s in (1, 4)]
    return np.clip(128 + 30 * sum(layer / layer.std() for layer in layers), 0, 255).astype(np.uint8)


def blocks_of(pixels: np.ndarray):
    """As `Context.pixels`, in two blocks; the last image is unreadable."""

    def blocks(ids):
        ids = np.asarray(ids)
        for some in (ids[:7], ids[7:]):
            some = some[some < len(pixels) - 1]
            yield some, pixels[some]

    return blocks


def likeness(pixels: np.ndarray, learnt: np.ndarray | None = None) -> tones.Likeness:
    """Of all images, learnt from all unless said otherwise."""
    every = np.ones(len(pixels), bool)
    return tones.likeness(blocks_of(pixels), np.arange(len(pixels)), 0, every if learnt is None else learnt, every)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_spoilt_scores_as_the_copies_do_and_is_known_by_its_kind(channels: int) -> None:
    pixels = pictures(channels)
    rng = np.random.default_rng(5)
    for at, way in enumerate(tones.SPOILT):
        pixels[at] = way.copies(pixels[at : at + 1], rng)[0]
    like = likeness(pixels)
    assert list(like.score) == list(like.kind) == [way.fault for way in tones.SPOILT]
    for at, (name, score) in enumerate(like.score.items()):
        assert score[at] > 0.5
        assert (score[len(tones.SPOILT) : -1] < 0).all()
        assert max(like.kind, key=lambda one: like.kind[one][at]) == name


def test_scores_do_not_depend_on_the_order_of_blocks_and_repeat() -> None:
    pixels = pictures(3)
    one, other = likeness(pixels), likeness(pixels)
    for name, score in one.score.items():
        np.testing.assert_array_equal(score, other.score[name])
    ids = np.arange(N)

    def backwards(some):
        yield np.asarray(some)[::-1], pixels[np.asarray(some)[::-1]]

    def forwards(some):
        yield np.asarray(some), pixels[np.asarray(some)]

    every = np.ones(N, bool)
    for name, score in tones.likeness(backwards, ids, 0, every, every).score.items():
        np.testing.assert_allclose(score, tones.likeness(forwards, ids, 0, every, every).score[name], atol=1e-5)


def test_nothing_is_learnt_of_fewer_than_twenty() -> None:
    pixels = pictures(1)
    every = np.ones(N, bool)
    for nothing in (
        likeness(pixels, np.arange(N) < 19),
        tones.likeness(lambda ids: iter(()), np.arange(N), 0, every, every),
    ):
        assert nothing.score == nothing.kind == {}
        assert nothing.paper.tolist() == [0.0] * N
    assert likeness(pixels, np.arange(N) < 20).score


def test_paper_is_white_in_all_channels_along_three_sides() -> None:
    pixels = np.minimum(pictures(3), 200)
    pixels[0, :4], pixels[0, :, :4], pixels[0, :, -4:] = 255, 255, 255
    pixels[1, :4], pixels[1, :, :4] = 255, 255  # two sides
    pixels[2] = pixels[0]
    pixels[2, ..., 0] = 240  # of a colour
    pixels[3, :4], pixels[3, :, :4], pixels[3, :16, -4:] = 255, 255, 255  # half of the third
    paper = likeness(pixels).paper
    assert paper[0] == 1 and paper[1] < 0.2 and paper[2] == 0 and paper[3] == 0.5
    assert not paper[4:].any()


def test_images_not_asked_for_are_not_read_and_the_others_score_the_same() -> None:
    pixels = pictures(3)
    learnt, asked = np.arange(N) < 30, np.arange(N) % 2 == 0
    read: set[int] = set()

    def blocks(ids):
        read.update(ids)
        yield np.asarray(ids), pixels[np.asarray(ids)]

    some = tones.likeness(blocks, np.arange(N), 0, learnt, asked)
    assert read == set(np.nonzero(learnt | asked)[0].tolist())
    every = tones.likeness(blocks, np.arange(N), 0, learnt, np.ones(N, bool))
    for name, score in some.score.items():
        np.testing.assert_allclose(score[learnt | asked], every.score[name][learnt | asked], atol=1e-5)
        assert (score[~learnt & ~asked] == -1).all()


def test_a_cut_range_loses_the_fraction_of_what_is_not_ground() -> None:
    ramp = np.full((1, SIDE, SIDE, 1), 20, np.uint8)  # half of it ground
    ramp[0, SIDE // 2 :, :, 0] = np.linspace(60, 200, SIDE * SIDE // 2).reshape(SIDE // 2, SIDE)
    cut = tones._cut(ramp, np.array([0.1]), np.array([0.25]))
    shown = cut[0, SIDE // 2 :]
    assert (shown == 255).mean() == pytest.approx(0.25, abs=0.02)
    assert (cut == 0).mean() == pytest.approx(0.5 + 0.05, abs=0.02)
    untouched = tones._cut(ramp, np.array([0.0]), np.array([0.0]))
    assert untouched.min() > 0
    even = np.full((1, SIDE, SIDE, 1), 90, np.uint8)
    assert np.ptp(tones._cut(even, np.array([0.1]), np.array([0.1]))) == 0


def test_features_count_the_largest_and_smallest_channel() -> None:
    red = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    red[..., 0] = 255
    white, black = np.full_like(red, 255), np.zeros_like(red)
    of_red, of_white, of_black = (tones.describe(one)[0] for one in (red, white, black))
    ranges = len(tones.ENDS)
    largest, smallest = slice(ranges, 2 * ranges), slice(2 * ranges, 3 * ranges)
    np.testing.assert_array_equal(of_red[largest], of_white[largest])
    np.testing.assert_array_equal(of_red[smallest], of_black[smallest])
    assert tones.describe(red[..., :1]).shape == (1, len(of_red) - 2 * ranges)
