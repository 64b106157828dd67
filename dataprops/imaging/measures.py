"""Quality measures of a decoded image: brightness, contrast, focus, noise, compression; measured on the original.

Images with a side above `SIDE` pixels are first downscaled by an integer factor (block means), so that the cost hardly depends on
image size; measures that need full resolution use the central `FINE` x `FINE` pixels. All are of grey levels in [0, 255] (ITU-R 601
luma).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

SIDE = 256
LEAST_STEP = 0.5  # grey levels, added to both steps, since in dark images invisible steps can have a large ratio
LARGEST = 0.1  # fraction of the lines with the largest steps, which are excluded from the blockiness
FINE = 128  # side of the central part that is measured at full resolution, pixels
ALONE = 40  # minimum grey-level difference of a single black or white pixel to its neighbours
SATURATED = 253  # grey level from which a pixel counts as white
EVEN_SLOPE = 0.02  # grey levels
FLAT = 3  # grey levels around the most frequent one that count as one colour
QUALITIES = range(5, 96)  # JPEG qualities tested for in the pixels
# noise model of decoded coefficients: standard deviation, and fraction of outliers
ROUNDED, ANYWHERE = 0.4, 0.1
TRACE = 10.0  # minimum log-likelihood gain of a quality over no compression, nats
MOST_BLOCKS = 48  # blocks examined


class Measures(NamedTuple):
    """Measures of one image.

    Attributes
    ----------
    mean, spread : float
        Mean and standard deviation of the grey levels.
    low, high : float
        1 % and 99 % quantile of the grey levels.
    quarter : float
        25 % quantile.
    white : float
        Fraction of the pixels at `SATURATED` or above.
    flat : float
        Fraction of the pixels within `FLAT` grey levels of the most frequent one.
    focus : float
        Mean difference of adjacent pixels over that of pixels four apart (lowered by blur, near 1 for noise); NaN for blank images.
    noise : float
        Standard deviation of the noise, grey levels (Immerkaer 1996).
    blockiness : float
        Mean step across the borders of 8 x 8 blocks over that within them, minus 1, without the largest tenth of both; the smaller
        of the values along rows and columns (stripes have borders in one direction); NaN for downscaled images.
    gaps : float
        Fraction of the grey levels between `low` and `high` that no pixel has (as after a tone curve); NaN for downscaled images.
    colour : float
        Mean difference between adjacent channels; 0 for grey.
    grain : float
        As `noise`, for the smoothest eighth of the 8 x 8 blocks, which texture leaves smooth but noise does not.
    holes, spikes : float
        Fraction of the grey levels with far fewer, and far more, pixels (of all channels) than adjacent levels, where those have
        enough pixels: comb artefacts of a tone curve.
    quantised : float
        log2 ratio of the frequency of vanishing high-frequency 8 x 8 DCT coefficients on the JPEG grid to that half a block off it; 0
        without compression.
    clipped : float
        Excess fraction of pixels at the highest grey level over that expected from the levels below: clipping.
    step : float
        Mean quantisation step of an earlier JPEG compression, estimated from the 8 x 8 DCT coefficients (35 at quality 70); 0: no
        trace, or shifted or resized since.
    edges : float
        Mean absolute second difference over the mean difference of pixels four apart, the smaller of the values along rows and
        columns: lowered by blur, including motion blur. NaN below 12 pixels along a side.
    half_edges : float
        As `edges`, of 2 x 2 means, rows and columns combined; upscaled images have no finer edges.
    streak : float
        `edges` in the sharper direction over those in the softer one: 1 if isotropic, large after motion blur.
    colour_grain : float
        `grain` of red - green: noise is independent between channels, texture is not; 0 for grey.
    cut_low, cut_high : float
        Fraction of the pixels at the three lowest, and highest, levels in excess of the nine adjacent levels, mean of the channels:
        clipped values.
    single : float
        Fraction of the pixels of the central part that are black or white and differ strongly from all four neighbours.
    """

    mean: float
    spread: float
    low: float
    high: float
    quarter: float
    white: float
    flat: float
    focus: float
    noise: float
    blockiness: float
    gaps: float
    colour: float
    grain: float
    holes: float
    spikes: float
    quantised: float
    clipped: float
    step: float
    edges: float
    half_edges: float
    streak: float
    colour_grain: float
    cut_low: float
    cut_high: float
    single: float


NOTHING = Measures(*[float("nan")] * len(Measures._fields))


class Part(NamedTuple):
    """The pixels from which an image is measured, of bounded size.

    Attributes
    ----------
    levels : uint8 [h, w] or [h, w, 3]
        The image, downscaled to at most `SIDE` pixels along a side.
    fine : uint8 [f, g] or [f, g, 3]
        Its central part of at most `FINE` x `FINE` pixels at full resolution, aligned to the JPEG grid.
    whole : bool
        Whether `levels` is not downscaled.
    """

    levels: np.ndarray
    fine: np.ndarray
    whole: bool

    @property
    def key(self) -> tuple:
        """Equal for parts that can be measured in one batch."""
        return self.levels.shape, self.fine.shape, self.whole


def reduction(longer: ArrayLike) -> np.ndarray:
    """The integer downscaling factor for images with this longer side."""
    return np.maximum(1, np.ceil(np.asarray(longer) / SIDE))


def part_of(pixels: np.ndarray) -> Part:
    """Extract the `Part` of an image, uint8 or float32 [height, width] or [height, width, 3] in [0, 255]."""
    step = int(reduction(max(pixels.shape[:2])))
    levels = pixels if pixels.dtype == np.uint8 else np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    top, left = ((length - FINE) // 16 * 8 if length > FINE else 0 for length in levels.shape[:2])
    fine = levels[top : top + FINE, left : left + FINE]
    if step == 1:
        return Part(levels, fine, True)
    small = Image.fromarray(np.ascontiguousarray(levels)).reduce(step)
    return Part(np.asarray(small), fine.copy(), False)  # a view would keep the whole image in memory


def measure_image(pixels: np.ndarray) -> Measures:
    """Measure an image, uint8 or float32 [height, width] or [height, width, 3] in [0, 255]."""
    return Measures(*measure_parts([part_of(pixels)])[0].tolist())


def measure_parts(parts: Sequence[Part]) -> np.ndarray:
    """Measure several images: float64 [n, measures] in the order of `Measures`; results do not depend on the batch.

    Images of equal size are measured together, which amortises the call overhead of small ones.
    """
    out = np.empty((len(parts), len(Measures._fields)))
    together: dict[tuple, list[int]] = {}
    for at, part in enumerate(parts):
        together.setdefault(part.key, []).append(at)
    for (_, _, whole), at in together.items():
        some = [parts[i] for i in at]
        out[at] = _measured(np.stack([p.levels for p in some]), np.stack([p.fine for p in some]), whole)
    return out


def _measured(levels: np.ndarray, fine: np.ndarray, whole: bool) -> np.ndarray:
    """`measure_parts` of images of one size, [n, h, w] or [n, h, w, 3]."""
    missing = np.full(len(levels), np.nan)
    grey = _grey(levels)
    counts = _histograms(grey)
    colour, cut = np.zeros(len(levels)), _cut(counts)
    if levels.ndim == 4:
        few = levels[:, ::2, ::2].astype(np.int16)
        apart = [np.abs(few[..., i] - few[..., i + 1]).mean((1, 2)) for i in (0, 1)]
        colour = (apart[0] + apart[1]) / 2
        cut = np.mean([_cut(_histograms(few[..., i])) for i in range(3)], axis=0)
    n, below = grey[0].size, counts.cumsum(axis=1)
    mean = counts @ _LEVELS / n
    low, quarter, high = ((below < share * n).sum(axis=1) for share in (0.01, 0.25, 0.99))
    held = np.pad(below, ((0, 0), (1, 0)))
    most = (held[:, _BAND_END] - held[:, _BAND_START]).max(axis=1)  # the most frequent band of grey levels
    wide = grey.astype(np.int16)
    second = _second_differences(wide)
    small = fine.shape == levels.shape  # the central part is the whole image
    columns = (
        mean,
        np.sqrt(np.maximum(0.0, counts @ _LEVELS**2 / n - mean * mean)),
        low,
        high,
        quarter,
        counts[:, SATURATED:].sum(axis=1) / n,
        most / n,
        _focus(wide),
        _noise(second),
        _blockiness(wide) if whole else missing,
        _gaps(counts, low, high) if whole else missing,
        colour,
        *(_fine(fine, grey, counts, second) if small else _fine(fine)),
        *_edges(wide),
        _colour_grain(fine),
        *cut,
        _single(grey if small else _grey(fine)),
    )
    return np.stack(columns, axis=1)


def _grey(levels: np.ndarray) -> np.ndarray:
    """Luma as Pillow rounds it, uint8 [n, h, w], of images of equal size, converted as one stacked image."""
    if levels.ndim == 3:
        return levels
    n, high, wide, channels = levels.shape
    column = Image.fromarray(np.ascontiguousarray(levels).reshape(n * high, wide, channels))
    return np.asarray(column.convert("L")).reshape(n, high, wide)


def _histograms(values: np.ndarray) -> np.ndarray:
    """Grey-level histograms, int64 [n, 256], of uint8 [n, ...]."""
    flat = values.reshape(len(values), -1)
    offset = 256 * np.arange(len(flat))[:, None]
    return np.bincount((flat + offset).ravel(), minlength=256 * len(flat)).reshape(len(flat), 256)


def _fine(
    levels: np.ndarray,
    grey: np.ndarray | None = None,
    counts: np.ndarray | None = None,
    second: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """Measures at full resolution, `grain` to `step`; grey levels, histograms and second differences may be given."""
    grey = _grey(levels) if grey is None else grey
    second = _second_differences(grey.astype(np.int16)) if second is None else second
    if levels.ndim == 4:
        counts = _histograms(levels[..., 1])
    elif counts is None:
        counts = _histograms(levels)
    return (_grain(second), *_comb(_all_channels(levels, counts)), _quantised(grey), _clipped(counts), _step(levels))


def _all_channels(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pixels of each grey level in all channels together, a tone curve goes over each of them; one channel's where they are alike."""
    if levels.ndim == 3:
        return counts
    few = levels[:, ::8, ::8]
    coloured = (few != few[..., 1:2]).any(axis=(1, 2, 3))
    if not coloured.any():
        return counts
    out = counts.copy()
    out[coloured] = _histograms(levels[coloured])
    return out


def _colour_grain(fine: np.ndarray) -> np.ndarray:
    if fine.ndim == 3:
        return np.zeros(len(fine))
    return _grain(_second_differences(fine[..., 0].astype(np.int16) - fine[..., 1]))


def _cut(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = (c[:, :3].sum(axis=1) - c[:, 3:12].sum(axis=1) for c in (counts, counts[:, ::-1]))
    n = counts[0].sum()
    return np.maximum(low, 0) / n, np.maximum(high, 0) / n


_LEVELS = np.arange(256, dtype=np.float64)
_BAND_START = np.maximum(np.arange(256) - FLAT, 0)
_BAND_END = np.minimum(np.arange(256) + FLAT + 1, 256)


def _mean_abs(values: np.ndarray) -> np.ndarray:
    """Mean absolute values of integers [n, h, w], exact in float32 since the sums are below 2^24."""
    total = np.abs(values).sum(axis=(1, 2), dtype=np.int64)
    return (total / values[0].size).astype(np.float32).astype(np.float64)


def _focus(grey: np.ndarray) -> np.ndarray:
    if min(grey.shape[1:]) < 12:
        return np.full(len(grey), np.nan)
    fine = _mean_abs(grey[:, 1:] - grey[:, :-1]) + _mean_abs(grey[:, :, 1:] - grey[:, :, :-1])
    coarse = _mean_abs(grey[:, 4:] - grey[:, :-4]) + _mean_abs(grey[:, :, 4:] - grey[:, :, :-4])
    shows = coarse > 0.05
    return np.where(shows, fine / np.where(shows, coarse, 1.0), np.nan)


def _edges(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`edges`, `half_edges` and `streak`."""
    curved, apart = _slopes(grey, 1)
    high, wide = (length // 2 * 2 for length in grey.shape[1:])
    rows = grey[:, :high:2] + grey[:, 1:high:2]
    half = rows[:, :, :wide:2] + rows[:, :, 1:wide:2]
    half_curved, half_apart = _slopes(half, 4)
    edges = curved / apart
    softer = edges.min(axis=0)
    return softer, half_curved.sum(axis=0) / half_apart.sum(axis=0), edges.max(axis=0) / softer


def _slopes(grey: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute second differences, and mean differences of pixels four apart, [2, n]: along columns and along rows."""
    if min(grey.shape[1:]) < 12:
        return np.full((2, len(grey)), np.nan), np.full((2, len(grey)), np.nan)
    curved, apart = [], []
    for one in (grey, grey.swapaxes(1, 2)):
        steps = one[:, 1:] - one[:, :-1]
        curved.append(_mean_abs(steps[:, 1:] - steps[:, :-1]))
        apart.append(_mean_abs(one[:, 4:] - one[:, :-4]))
    least = EVEN_SLOPE * scale  # flat images have no edges
    return np.array(curved) + least, np.array(apart) + least


def _second_differences(grey: np.ndarray) -> np.ndarray:
    rows = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    return np.abs(rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:])


def _noise(second: np.ndarray) -> np.ndarray:
    if min(second.shape[1:]) < 2:
        return np.full(len(second), np.nan)
    both = second.reshape(len(second), -1)
    # the median is robust to edges; 0.6745 is that of the absolute normal distribution
    return np.median(both[:, :: max(1, both.shape[1] // 4096)], axis=1) / (6 * 0.6745)


def _single(grey: np.ndarray) -> np.ndarray:
    if min(grey.shape[1:]) < 3:
        return np.full(len(grey), np.nan)
    middle = grey[:, 1:-1, 1:-1]
    beside = grey[:, :-2, 1:-1], grey[:, 2:, 1:-1], grey[:, 1:-1, :-2], grey[:, 1:-1, 2:]
    dark, bright = reduce(np.minimum, beside), reduce(np.maximum, beside)
    white = (middle >= SATURATED) & (bright <= SATURATED - ALONE)
    black = (middle <= 255 - SATURATED) & (dark >= 255 - SATURATED + ALONE)
    return np.count_nonzero(white | black, axis=(1, 2)) / middle[0].size


def _blockiness(grey: np.ndarray) -> np.ndarray:
    if min(grey.shape[1:]) < 24:
        return np.full(len(grey), np.nan)
    ratios = []
    for axis in (1, 2):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=3 - axis, dtype=np.float32)
        at_border = np.arange(steps.shape[1]) % 8 == 7
        within, at = (_without_largest(steps[:, mask]).mean(axis=1) for mask in (~at_border, at_border))
        shows = within > 1e-3
        ratio = (at.astype(np.float64) + LEAST_STEP) / (within.astype(np.float64) + LEAST_STEP)
        ratios.append(np.where(shows, ratio, 1.0))
    return np.minimum(*ratios) - 1


def _without_largest(steps: np.ndarray) -> np.ndarray:
    """Steps [n, lines] without the fraction `LARGEST` of largest ones, such as drawn borders."""
    kept = steps.shape[1] - math.ceil(LARGEST * steps.shape[1])
    return np.ascontiguousarray(np.sort(steps, axis=1)[:, :kept])  # so that row sums do not depend on the batch size


def _gaps(counts: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    empty = np.pad((counts == 0).cumsum(axis=1), ((0, 0), (1, 0)))
    row = np.arange(len(counts))
    return (empty[row, high + 1] - empty[row, low]) / (high + 1 - low)


def _grain(second: np.ndarray) -> np.ndarray:
    if min(second.shape[1:]) < 16:
        return np.full(len(second), np.nan)
    blocks = _blocks(second).mean(axis=(2, 3), dtype=np.float32)
    # E|x| = sqrt(2 / pi) std for a normal x; the operator has norm 6
    return np.quantile(blocks, 1 / 8, axis=1) * np.sqrt(np.pi / 2) / 6


def _blocks(grey: np.ndarray, offset: int = 0) -> np.ndarray:
    """The 8 x 8 blocks [n, blocks, 8, 8] of [n, height, width], starting at row and column `offset`."""
    high, wide = ((length - offset) // 8 for length in grey.shape[1:])
    cut = grey[:, offset : offset + 8 * high, offset : offset + 8 * wide]
    return cut.reshape(len(grey), high, 8, wide, 8).swapaxes(2, 3).reshape(len(grey), high * wide, 8, 8)


def _comb(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inner = counts[:, 2:-2].astype(np.float64)
    around = (counts[:, :-4] + counts[:, 1:-3] + counts[:, 3:-1] + counts[:, 4:]) / 4.0
    told = around >= 8
    told[:, [0, 1, -1, -2]] = False  # near black and white, where clipped values accumulate
    enough = told.sum(axis=1)
    ratio = inner / np.maximum(around, 8)  # too few pixels to decide
    of = np.where(enough >= 8, enough, np.nan)
    return (told & (ratio < 0.25)).sum(axis=1) / of, (told & (ratio > 1.75)).sum(axis=1) / of


# orthonormal cosines of length 8, and which coefficients are fine
# (in double precision: single precision differs between machines in which coefficients are below a threshold)
_COSINES = np.cos(np.pi / 8 * (np.arange(8) + 0.5) * np.arange(8)[:, None]) * 0.5
_COSINES[0] *= np.sqrt(0.5)
_IS_FINE = np.add.outer(np.arange(8), np.arange(8)) >= 5
# not 1, which many coefficients are but for a rounding that differs from machine to machine
_VANISHED = 0.9995


def _quantised(grey: np.ndarray) -> np.ndarray:
    if min(grey.shape[1:]) < 20:
        return np.full(len(grey), np.nan)
    shares, least = [], np.full(len(grey), np.inf)
    for offset in (0, 4):
        blocks = _blocks(grey, offset)
        flat = (
            np.ptp(blocks.reshape(*blocks.shape[:2], -1), axis=2) >= 12
        )  # flat blocks have no fine detail on any grid
        fine = (_COSINES @ blocks[flat].astype(np.float64) @ _COSINES.T)[:, _IS_FINE]
        vanish = np.bincount(np.nonzero(flat)[0], (np.abs(fine) < _VANISHED).sum(axis=1), minlength=len(grey))
        size = flat.sum(axis=1) * fine.shape[1]
        shares.append(vanish / np.maximum(size, 1))
        least = np.minimum(least, size)
    return np.where(least < 200, np.nan, np.log2((shares[0] + 0.02) / (shares[1] + 0.02)))


def _clipped(counts: np.ndarray) -> np.ndarray:
    top = 255 - np.argmax(counts[:, ::-1] > 0, axis=1)
    row = np.arange(len(counts))
    padded = np.pad(counts, ((0, 0), (8, 0)))  # level `top` is at index top + 8
    below = padded[row[:, None], top[:, None] + np.arange(8)].max(axis=1)
    return np.maximum(0.0, counts[row, top] - 3.0 * below) / counts.sum(axis=1)


# libjpeg's standard luma quantisation table, quality 50
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_SOUGHT = np.nonzero((np.add.outer(np.arange(8), np.arange(8)).ravel() <= 5) & (np.arange(64) > 0))[0]
_BINS = 512  # half a unit wide


@cache
def _tables() -> np.ndarray:
    """Quantisation steps of each of `QUALITIES`, int64 [qualities, 64]."""
    scale = [5000 // q if q < 50 else 200 - 2 * q for q in QUALITIES]
    return np.stack([np.clip((_LUMA.ravel() * factor + 50) // 100, 1, 255) for factor in scale])


def quality_of(step: float) -> int:
    """The JPEG quality, 5 to 95, whose steps have about this mean (e.g. 10 for 196)."""
    return QUALITIES[int(np.abs(_tables().mean(axis=1) - step).argmin())]


@cache
def _gains() -> np.ndarray:
    """Log-likelihood ratio of each quality against no compression, per coefficient, nats: float32 [coefficients x bins, qualities].

    The distance of a coefficient from the nearest multiple of its step is normal, with uniform outliers. Coefficients that round to 0
    are ignored, since smooth images have many.
    """
    steps = _tables()[:, _SOUGHT].T[:, None].astype(np.float64)
    value = np.arange(_BINS)[None, :, None] / 2
    multiple = np.rint(value / steps)
    away = (value - multiple * steps) / ROUNDED
    near = np.exp(-away * away / 2) / (ROUNDED * np.sqrt(2 * np.pi))
    gain = np.log((1 - ANYWHERE) * steps * near + ANYWHERE) * (multiple > 0)
    return gain.reshape(-1, len(QUALITIES)).astype(np.float32)


def _step(levels: np.ndarray) -> np.ndarray:
    """Mean step of the most likely quality of images [n, h, w] or [n, h, w, 3]; 0 if none is significant."""
    out = np.zeros(len(levels))
    if min(levels.shape[1:3]) < 8:
        return out
    channels = [levels] if levels.ndim == 3 else [levels[..., i] for i in range(3)]
    blocks = [_blocks(channel) for channel in channels]
    every = math.ceil(blocks[0].shape[1] / MOST_BLOCKS)
    blocks = [channel[:, ::every].reshape(-1, 64) for channel in blocks]
    whole = np.ones(len(blocks[0]), bool)
    for channel in blocks:  # blocks with clipped pixels are not exact multiples
        whole &= (channel.min(axis=1) > 0) & (channel.max(axis=1) < 255)
    image = np.nonzero(whole)[0] // (len(whole) // len(levels))
    weights = [1.0] if len(blocks) == 1 else (0.299, 0.587, 0.114)
    grey = sum(np.float32(w) * channel[whole] for w, channel in zip(weights, blocks, strict=True))
    # rounded to eighths, so that ties do not depend on the last bit
    bins = (np.abs(grey @ np.kron(_COSINES, _COSINES)[_SOUGHT].T) * 2 + 0.51).astype(np.int32)
    row, column = np.nonzero((bins >= 3) & (bins < _BINS))
    gains = _gains()
    entry = column * _BINS + bins[row, column]
    ends = np.searchsorted(image[row], np.arange(len(levels) + 1))
    mean = _tables().mean(axis=1)
    for at, (start, end) in enumerate(pairwise(ends.tolist())):
        gain = gains[entry[start:end]].sum(axis=0)
        best = int(gain.argmax())
        out[at] = mean[best] if gain[best] >= TRACE else 0.0
    return out
