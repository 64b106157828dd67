"""Image-quality faults: what is wrong with a single image compared with the rest of its dataset.

Measured on the originals where resolution matters (`imaging.measures`). A fault has two conditions: the image is beyond a fence
computed from the dataset (quartiles and interquartile range, as Tukey's), and beyond a fixed limit, so that in a very uniform dataset
tiny differences are not faults. A blank image has no other fault, except overexposure if it is white.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings import tones
from dataprops.findings.blank import is_blank
from dataprops.findings.image_quality import COMMON
from dataprops.findings.thumbnails import Blocks
from dataprops.findings.upright import likeness
from dataprops.imaging.measures import quality_of, reduction
from dataprops.util.numbers import percent

LEAST = 20  # minimum images for computing fences
TAIL = (0.15, 0.25)  # quantiles of the images within the quartile fences that define an exponential tail
CHANGED = -0.2  # maximum likeness of a transformed image: 1 is typical of the dataset, -1 of transformed images
SURE = 0.75  # fraction of the likeness that all but one in twenty images reach
LIKE_TAIL = (0.05, 0.15)  # as `TAIL`, for likeness, whose tail falls faster
BLOCKY, LEAST_BLOCKS = 0.7, 64  # excess of steps at block borders (JPEG quality 10 to 20); pixels along a side
# in mixed datasets the fences lie far outside each kind: an image is also odd at no more than `APART` of the value that all but `RARE`
# of the images exceed
APART, RARE = 0.33, 0.1
HEAVY, FINE = 115.0, 29.0  # mean quantisation steps of JPEG quality 25 and 75
USUAL = 0.03  # fraction of images from which the opposite orientation of a shape is normal
# octaves of the side, or of width over height, from which an image is odd: beyond the quartiles (a quarter of the area is one octave),
# if that is also twice the interquartile range; beyond all but `RARE` of the images, in any dataset
ODD, ODDER = 0.7, 1.0
FORMAT, FORMAT_IMAGES, SAME = 0.1, 10, 0.03  # another format: fraction of images; images; octaves
DARK, FLAT = 78, 50  # grey levels: maximum 99 % quantile of a dark image; maximum range of low contrast
# minimum score of an image that looks like copies of the others with this fault (`tones`), and the fault in words; the scores were
# chosen on 12 sets (tests/benchmarks/findings.md)
TONES = {
    "dark": (0.5, "is dark: 99 % of its pixels are at most {:.0f} of 255"),
    "overexposed": (0.4, "is overexposed: the mean of its grey levels is {:.0f} of 255"),
    "low_contrast": (0.5, "has little contrast: its grey levels span {:.0f} of 255"),
    "clipped_range": (0.4, "has a clipped range: {1} of its pixels are cut off at white, and others at black"),
    "clipped_white": (0.65, "has a clipped range: {1} of its pixels are cut off at white"),
}
# maximum fraction of the images that look cut off, or dark, rather than not: more have white skies or paper (of 15 sets, three have
# 0.095 and more, the others 0.05 at most), or are taken by night
LOOK_SO = 0.1
PAPER = 0.3  # fraction of white pixels along three sides, from which white is the ground and not clipped
# fraction of pixels at white: minimum if the range is clipped at both ends, at white only, and in an overexposed image
CUT, CLIPPED, ANY_WHITE = 0.03, 0.05, 0.01
# minimum grey level of the darkest pixels of an overexposed image; the same without white pixels
LIFTED, ALL_BRIGHT = 25, 200
GRAINY, VERY_GRAINY = 7.0, 22.0  # grey levels of noise in the smoothest parts; the same in a grainy dataset
EVEN = (0.9, 1.5)  # bounds of the noise of the whole image, relative to that
# grey levels of noise per channel; factor for noise equal in all channels, which may be texture (grass, gravel, fur)
BY_CHANNEL, GRAINIER = 10.0, 1.5
# fraction of pixels of one level; standard deviation of the grey levels, and the fraction of one level required with it
EMPTY, FAINT, SOME_EVEN = 0.85, 25.0, 0.5
SINGLE = 0.02  # fraction of isolated black or white pixels
COLOURED = (0.2, 1.0)  # grey levels between channels: maximum of a grey image, minimum of a coloured one
# maximum `edges` and `half_edges` of a blurred image; maximum ratio to the dataset's median
BLURRED, HALF_BLURRED, SOFTER = 0.25, 0.33, 0.75
# for blur in one direction: maximum `edges`, and minimum octaves by which the perpendicular direction is sharper
MOVED, STREAK = 0.35, 0.45
NO_EDGE, SHARP = 0.19, 0.35  # maximum `edges` of an image without sharp edges; minimum median of a sharp dataset


class Fault(NamedTuple):
    """A fault of an image: its id, the fault's name, the measured value, and a description."""

    image: int
    fault: str
    value: float
    words: str


def _fence(
    values: np.ndarray, spread: float, tail: tuple[float, float] = TAIL, beyond: float = 2.0
) -> tuple[float, float, float]:
    """Median, lower and upper fence; NaN if nothing was measured.

    A fence is `beyond` interquartile ranges (of at least `spread`) beyond its quartile, and at least where the dataset's own tail, an
    exponential through two of its quantiles (`tail`), is expected to leave one image: widely spread datasets have no outliers in their
    tails.
    """
    known = values[~np.isnan(values)]
    if not len(known):  # images of a few pixels have neither focus nor noise values
        return float("nan"), float("nan"), float("nan")
    low, middle, high = (float(v) for v in np.quantile(known, [0.25, 0.5, 0.75]))
    width = max(high - low, spread)
    fences = [low - 2 * width, high + 2 * width]
    usual = known[(known >= fences[0]) & (known <= fences[1])]  # so that outliers do not affect the tail
    outer, inner = tail
    left = max(np.log(outer * len(usual)), 0.0) / np.log(inner / outer)  # times the quantiles' distance
    far, near, near_top, far_top = np.quantile(usual, [outer, inner, 1 - inner, 1 - outer]).tolist()
    below, above = low - beyond * width, high + beyond * width
    return middle, min(below, far - (near - far) * left), max(above, far_top + (far_top - near_top) * left)


def faults(images: pd.DataFrame, blocks: Blocks, seed: int = 0) -> list[Fault]:
    """Faults of a dataset's readable images, sorted by image.

    Parameters
    ----------
    images : DataFrame
        The result table, with the measures of the originals.
    blocks : callable
        See `Context.pixels`.
    """
    used = images[images["pixels"].notna()]
    if "original_mean" not in used or used["original_mean"].notna().sum() < LEAST:
        return []
    found = [
        *_blank(used),
        *_tones(used, blocks, seed),
        *_sharpness(used),
        *_compression(used),
        *_shape(used),
        *_colour(used),
    ]
    # grey or small images still show their orientation and polarity
    spoilt = {fault.image for fault in found if fault.fault not in ("grey_among_colour", "odd_size", "odd_aspect")}
    found += _lying(used, blocks, seed, spoilt)
    blank, noise = ({fault.image for fault in found if fault.fault == name} for name in ("blank", "noise"))
    kept = (f for f in found if f.fault in ("blank", "overexposed") or f.image not in blank)
    # contrast is measured after downscaling, which averages noise to grey
    kept = (f for f in kept if f.fault != "low_contrast" or f.image not in noise)
    return sorted(kept, key=lambda f: (f.image, f.fault))


def _rows(used: pd.DataFrame, at: np.ndarray, name: str, value: np.ndarray, words: str) -> list[Fault]:
    ids = used["image"].to_numpy(np.int64)
    told = [(int(i), float(value[i])) for i in np.nonzero(at)[0]]
    return [Fault(int(ids[i]), name, number, words.format(number, percent(number / 100))) for i, number in told]


def _column(used: pd.DataFrame, name: str) -> np.ndarray:
    return used[f"original_{name}"].to_numpy(float)


def _blank(used: pd.DataFrame) -> list[Fault]:
    within = _column(used, "high") - _column(used, "low")
    # line drawings are all nearly of one colour
    usual = float(np.nanmedian(is_blank(used)))
    return _rows(used, is_blank(used) & (usual < 0.5), "blank", within, "shows nothing: all grey levels within {:.0f}")


def _tones(used: pd.DataFrame, blocks: Blocks, seed: int = 0) -> list[Fault]:
    """Images that look like spoilt copies of the others and are beyond a fixed limit, and nearly blank ones."""
    blank = is_blank(used)
    mean, low, high = (_column(used, name) for name in ("mean", "low", "high"))
    white = np.fmax(_column(used, "white"), _column(used, "cut_high"))
    limits = {
        "dark": high <= DARK,
        "overexposed": (low >= LIFTED) & (white >= ANY_WHITE) | (low >= ALL_BRIGHT),
        "low_contrast": high - low <= FLAT,
        "clipped_range": white >= CUT,
        "clipped_white": white >= CLIPPED,
    }
    asked = np.any(list(limits.values()), axis=0)
    like = tones.likeness(blocks, used["image"].to_numpy(np.int64), seed, learnt=~blank, asked=asked)
    told = {name: limits[name] & (score >= TONES[name][0]) for name, score in like.score.items()}
    for name in {"clipped_range", "clipped_white"} & set(told):
        told[name] &= (like.score[name] > 0).mean() <= LOOK_SO
    if "clipped_white" in told:
        told["clipped_white"] &= like.paper < PAPER
    if "dark" in told and (like.score["dark"] > 0).mean() > LOOK_SO:  # by night all are
        told["dark"] &= np.log2(high + 8) < _fence(np.log2(high + 8), 0.15)[1]
    pale = (low >= ALL_BRIGHT) & bool(np.nanmedian(low) < ALL_BRIGHT / 2)  # of white alone, where others have black
    if "overexposed" in told:
        told["overexposed"] |= pale
        like.kind["overexposed"][pale] = np.inf
    likest = np.max([np.where(told[name], like.kind[name], -np.inf) for name in told] or [blank], axis=0)
    burnt = told.get("overexposed", blank)
    told = {name: some & (like.kind[name] == likest) for name, some in told.items()}
    if "clipped_white" in told:  # what is overexposed may be cut off as well: both are told
        told["overexposed"] |= burnt & told["clipped_white"]
    found = _nearly_blank(used, np.any([blank, *told.values()], axis=0))
    values = {"dark": high, "overexposed": mean, "low_contrast": high - low}
    for name, at in told.items():
        value, words = values.get(name, 100 * white), TONES[name][1]
        found += _rows(used, at, name.replace("clipped_white", "clipped_range"), value, words)
    return found


def _nearly_blank(used: pd.DataFrame, known: np.ndarray) -> list[Fault]:
    """Images showing almost nothing (empty frames, pages of text): nearly all of one level, or almost without contrast; not those
    `known`."""
    even, spread = _column(used, "flat"), _column(used, "spread")
    rest = 1.01 - even
    usual, bottom, _ = _fence(np.log2(rest), 0.3)
    empty = (np.log2(rest) < bottom) | (rest <= APART * np.nanquantile(rest, RARE))
    empty &= (even >= EMPTY) & ~known
    most, bottom, _ = _fence(np.log2(spread + 4), 0.3)
    faint = (np.log2(spread + 4) < bottom) & (spread + 4 <= APART * 2**most) & (spread <= FAINT) & (even >= SOME_EVEN)
    faint &= ~empty & ~known
    level = f"shows next to nothing: {{1}} of its pixels are of one grey level, usually {percent(1.01 - 2**usual)}"
    contrast = (
        f"shows next to nothing: the standard deviation of its grey levels is {{:.0f}}, usually {2**most - 4:.0f}"
    )
    return [
        *_rows(used, empty, "nearly_blank", 100 * even, level),
        *_rows(used, faint, "nearly_blank", spread, contrast),
    ]


def _sharpness(used: pd.DataFrame) -> list[Fault]:
    edges, half = _column(used, "edges"), _column(used, "half_edges")
    usual, soft = _softer(edges)
    blurred = soft & (edges <= BLURRED)
    # if sharpness varies there is no useful fence, but in a mostly sharp dataset images without sharp edges are blurred
    blurred |= (edges <= NO_EDGE) & (usual >= SHARP)
    half_usual, soft = _softer(half)
    half_blurred = soft & (half <= HALF_BLURRED) & ~blurred
    # in one direction, e.g. motion blur
    streak = np.log2(_column(used, "streak"))
    _, bottom, _ = _fence(np.log2(edges) - streak, 0.4, beyond=1.0)
    moved = (np.log2(edges) - streak < bottom) & (edges <= MOVED) & (streak >= STREAK) & ~blurred & ~half_blurred
    return [
        *_rows(
            used,
            blurred,
            "blurred",
            edges,
            f"is blurred: the sharpness of its edges is {{:.2f}}, usually {usual:.2f}",
        ),
        *_rows(
            used,
            half_blurred,
            "blurred",
            half,
            f"is blurred: at half its size the sharpness of its edges is {{:.2f}}, usually {half_usual:.2f}",
        ),
        *_rows(
            used,
            moved,
            "blurred",
            edges,
            f"is blurred in one direction: the sharpness of its edges is {{:.2f}} there, usually {usual:.2f}",
        ),
        *_noise(used, blurred | half_blurred | moved),
    ]


def _noise(used: pd.DataFrame, blurred: np.ndarray) -> list[Fault]:
    """Noise of all pixels, of single channels, and of isolated pixels; not of blurred images."""
    noise = _column(used, "noise")
    # texture leaves some parts smooth and others coarser; noise is the same everywhere
    grain = np.where(np.isnan(_column(used, "grain")), noise, _column(used, "grain"))  # too small for blocks
    _, _, top = _fence(np.log2(grain + 0.5), 0.4)
    known = grain[~np.isnan(grain)]
    very = max(VERY_GRAINY, 3 * float(np.quantile(known, 0.75)) if len(known) else 0.0)
    texture = _column(used, "colour") > COLOURED[0]
    noisy = (np.log2(grain + 0.5) > top) & (grain >= GRAINY) | (grain >= np.where(texture, GRAINIER * very, very))
    # pixel noise falls by the factor by which a large image was downscaled, texture by less
    alone = noise * reduction(used[["width", "height"]].max(axis=1).to_numpy(float))
    noisy &= (alone >= EVEN[0] * grain) & (alone <= EVEN[1] * grain)
    by_channel = np.nan_to_num(_column(used, "colour_grain"))
    _, _, top = _fence(np.log2(by_channel + 0.5), 0.4)
    noisy |= (np.log2(by_channel + 0.5) > top) & (by_channel >= BY_CHANNEL)
    # isolated black and white pixels do not affect the smoothest parts
    single = np.nan_to_num(_column(used, "single"))
    _, _, top = _fence(np.log2(single + 0.01), 0.3)
    salted = (np.log2(single + 0.01) > top) & (single >= SINGLE)
    return [
        *_rows(used, noisy & ~salted & ~blurred, "noise", grain, "is noisy: {:.0f} grey levels of noise"),
        *_rows(
            used,
            salted & ~blurred,
            "noise",
            100 * single,
            "is noisy: {1} of its pixels are black or white among others",
        ),
    ]


def _softer(edges: np.ndarray) -> tuple[float, np.ndarray]:
    """Median, and which images are less sharp than the dataset's fence, bool [n]."""
    middle, bottom, _ = _fence(np.log2(edges), 0.2, beyond=1.0)
    return 2**middle, (np.log2(edges) < bottom) & (edges <= SOFTER * 2**middle)


def _compression(used: pd.DataFrame) -> list[Fault]:
    blocks = _column(used, "blockiness")
    _, _, top = _fence(blocks, 0.1)
    large = used[["width", "height"]].min(axis=1).to_numpy(float) >= LEAST_BLOCKS
    of_pixels = _column(used, "step")
    # smooth images look blocky: if the pixels show fine quantisation, they are not heavily compressed
    blocky = (blocks > top) & (blocks >= BLOCKY) & large & ~((of_pixels > 0) & (of_pixels < HEAVY))
    # of the file, or of an earlier JPEG recovered from its pixels; steps finer than `FINE` are treated as equal
    of_file = used["jpeg_step"].to_numpy(float) if "jpeg_step" in used else np.full(len(used), np.nan)
    steps = np.fmax(np.fmax(of_file, of_pixels), FINE)
    _, _, most = _fence(np.log2(steps), 0.3)
    heavy = (np.log2(steps) > most) & (steps >= HEAVY)
    quality = np.full(len(used), np.nan)
    quality[heavy] = [quality_of(step) for step in steps[heavy]]
    return [
        *_rows(
            used,
            blocky,
            "compressed",
            blocks,
            "is heavily compressed: the steps at the borders of its 8 x 8 blocks are larger than within them by {:.1f} times",
        ),
        *_rows(
            used,
            heavy & ~blocky,
            "compressed",
            quality,
            "is heavily compressed: a JPEG of quality {:.0f} of 100, or was one",
        ),
    ]


def _shape(used: pd.DataFrame) -> list[Fault]:
    width, height = used["width"].to_numpy(float), used["height"].to_numpy(float)
    side = np.log2(np.sqrt(np.maximum(width * height, 1)))
    aspect = np.log2(np.maximum(width, 1) / np.maximum(height, 1))
    # a rotated camera makes no odd shape: if both orientations are common, all count as the usual one
    usual = float(np.median(aspect))
    if abs(usual) >= 0.2 and (np.abs(aspect + usual) < 0.2).mean() >= USUAL:
        aspect = np.copysign(aspect, usual)
    odd = _odd(aspect)
    if odd.mean() < COMMON:  # else shapes vary throughout, which is told once, of all
        odd &= ~_of_a_format(aspect)
    return [
        *_rows(
            used,
            _odd(side) & ~_of_a_format(side),
            "odd_size",
            2**side,
            "is far smaller or larger than the others: {:.0f} pixels along a side",
        ),
        *_rows(
            used,
            odd,
            "odd_aspect",
            width / np.maximum(height, 1),
            "has an odd shape: its width is {:.2f} times its height",
        ),
    ]


def _odd(octaves: np.ndarray) -> np.ndarray:
    """Which sizes, or shapes, are far from the others."""
    low, high = np.quantile(octaves, [0.25, 0.75])
    width = max(2 * (high - low), ODD)
    small, large = np.quantile(octaves, [RARE, 1 - RARE])
    bottom, top = max(low - width, small - ODDER), min(high + width, large + ODDER)
    return (octaves < bottom) | (octaves > top)


def _of_a_format(octaves: np.ndarray) -> np.ndarray:
    """Which sizes, or shapes, many of the images have."""
    in_order = np.sort(octaves)
    alike = np.searchsorted(in_order, octaves + SAME, "right") - np.searchsorted(in_order, octaves - SAME)
    return alike >= max(FORMAT * len(octaves), FORMAT_IMAGES)


def _colour(used: pd.DataFrame) -> list[Fault]:
    colour = _column(used, "colour")
    coloured = float((colour > COLOURED[1]).mean())
    if coloured < 0.75:
        return []
    return _rows(used, colour <= COLOURED[0], "grey_among_colour", colour, "is grey among coloured images")


def _lying(used: pd.DataFrame, blocks: Blocks, seed: int, spoilt: Collection[int]) -> list[Fault]:
    """Images that the dataset's own classifiers consider rotated or inverted; the more likely of these."""
    ids = used.loc[~is_blank(used), "image"].to_numpy(np.int64)
    like = likeness(
        blocks,
        ids,
        seed,
        learnt=~np.isin(ids, list(spoilt)),
        # a transformed image has the opposite score: if all scores are confident, an unconfident image was not transformed
        bound=lambda score: min(_fence(score, 0.05, LIKE_TAIL)[1], CHANGED, -SURE * float(np.quantile(score, 0.05))),
    )
    if not like:
        return []
    least = np.stack([one.score for one in like.values()])
    away = np.stack([one.away for one in like.values()])
    best = away.argmin(0)  # an upside-down scan may resemble a negative
    found = []
    for n, change in enumerate(like):
        text = (
            f"seems {change.words}: on a scale from -1 (so changed) to 1 (as the others are) it has {{:.1f}}; of the others,"
            f" {percent(like[change].told)} would be recognised if they were so changed"
        )
        for i in np.nonzero(np.isfinite(away[n]) & (best == n))[0]:
            value = float(least[n, i])
            found.append(Fault(int(ids[i]), change.fault, value, text.format(value)))
    return found
