"""What a decoded image looks like in numbers: brightness, contrast, focus, noise, compression; measured on the original.

Images of more than `SIDE` pixels along a side are first reduced by a whole factor (means of square cells), so that an image
costs about the same whatever its size; what that would hide is measured on the middle `FINE` x `FINE` pixels as they are. All are of
the grey levels on [0, 255] (ITU-R 601 luma).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 256
FINE = 128  # pixels along a side of the middle part that is measured at full resolution
SATURATED = 253  # grey levels from which a pixel counts as white
FLAT = 3  # grey levels around the commonest one that count as one colour


class Measures(NamedTuple):
    """Numbers of one image.

    Attributes
    ----------
    mean, spread : float
        Of the grey levels.
    low, high : float
        1 % and 99 % quantile of the grey levels.
    quarter : float
        25 % quantile.
    white : float
        Fraction of the pixels at `SATURATED` or above.
    flat : float
        Fraction of the pixels within `FLAT` grey levels of the commonest one.
    focus : float
        Mean difference of adjacent pixels over that of pixels four apart (a blur lowers it, noise brings it to 1); NaN where the
        image shows nothing.
    noise : float
        Standard deviation of the noise, grey levels (Immerkaer 1996).
    blockiness : float
        Mean step across the borders of 8 x 8 blocks over that within them, minus 1; of images that were not reduced, else NaN.
    gaps : float
        Fraction of the grey levels between `low` and `high` that no pixel has (a tone curve leaves some out); of images that were
        not reduced, else NaN.
    colour : float
        Mean difference between adjacent channels; 0 for grey.
    grain : float
        As `noise`, of the smoothest eighth of the 8 x 8 blocks: texture leaves some smooth, noise none.
    holes, spikes : float
        Fraction of the grey levels with far fewer, and far more, pixels than the levels around them, where these are many enough to
        tell: the comb of a tone curve.
    quantised : float
        How much more often fine 8 x 8 cosine coefficients vanish on the grid of JPEG than half a block beside it, in octaves; 0
        without compression.
    clipped : float
        Fraction of the pixels at the greatest grey level beyond what the levels below it let expect; a range that was cut.
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


NOTHING = Measures(*[float("nan")] * len(Measures._fields))


def measure_image(pixels: np.ndarray) -> Measures:
    """The numbers of an image, uint8 or float32 [height, width] or [height, width, 3] on [0, 255]."""
    step = max(1, -(-max(pixels.shape[:2]) // SIDE))
    levels = pixels if pixels.dtype == np.uint8 else np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(levels))
    if step > 1:
        image = image.reduce(step)
    colour = 0.0
    if levels.ndim == 3:
        few = np.asarray(image)[::2, ::2].astype(np.int16)
        colour = float(np.abs(few[..., 0] - few[..., 1]).mean() + np.abs(few[..., 1] - few[..., 2]).mean()) / 2
        image = image.convert("L")
    grey = np.asarray(image)
    counts = np.asarray(image.histogram())
    n, below = int(counts.sum()), counts.cumsum()
    mean = float(counts @ _LEVELS) / n
    low, quarter, high = np.searchsorted(below, (0.01 * n, 0.25 * n, 0.99 * n)).tolist()
    # the commonest band of grey levels
    held = np.concatenate([np.zeros(1, np.int64), below])
    most = (held[_BAND_END] - held[_BAND_START]).max()
    wide = grey.astype(np.int16)
    return Measures(
        mean,
        float(max(0.0, counts @ _LEVELS**2 / n - mean * mean)) ** 0.5,
        float(low),
        float(high),
        float(quarter),
        float(counts[SATURATED:].sum() / n),
        float(most / n),
        _focus(wide),
        _noise(wide),
        _blockiness(wide) if step == 1 else float("nan"),
        float((counts[low : high + 1] == 0).mean()) if step == 1 else float("nan"),
        colour,
        *_fine(levels),
    )


def _fine(levels: np.ndarray) -> tuple[float, float, float, float, float]:
    """What is measured at full resolution, in the middle `FINE` x `FINE` pixels, on the grid of JPEG: `grain` to `clipped`."""
    top, left = ((length - FINE) // 16 * 8 if length > FINE else 0 for length in levels.shape[:2])
    part = levels[top : top + FINE, left : left + FINE]
    counts = np.bincount((part if part.ndim == 2 else part[..., 1]).ravel(), minlength=256)
    grey = part if part.ndim == 2 else np.asarray(Image.fromarray(np.ascontiguousarray(part)).convert("L"))
    return (_grain(grey.astype(np.int16)), *_comb(counts), _quantised(grey), _clipped(counts))


_LEVELS = np.arange(256, dtype=np.float64)
_BAND_START = np.maximum(np.arange(256) - FLAT, 0)
_BAND_END = np.minimum(np.arange(256) + FLAT + 1, 256)


def _mean_abs(values: np.ndarray) -> float:
    return float(np.abs(values).mean(dtype=np.float32))


def _focus(grey: np.ndarray) -> float:
    if min(grey.shape) < 12:
        return float("nan")
    fine = _mean_abs(grey[1:] - grey[:-1]) + _mean_abs(grey[:, 1:] - grey[:, :-1])
    coarse = _mean_abs(grey[4:] - grey[:-4]) + _mean_abs(grey[:, 4:] - grey[:, :-4])
    return fine / coarse if coarse > 0.05 else float("nan")


def _noise(grey: np.ndarray) -> float:
    if min(grey.shape) < 4:
        return float("nan")
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]).ravel()
    # the median is not moved by the edges of what the picture shows; 0.6745 is that of the normal distribution
    return float(np.median(both[:: max(1, len(both) // 4096)]) / (6 * 0.6745))


def _blockiness(grey: np.ndarray) -> float:
    if min(grey.shape) < 24:
        return float("nan")
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis, dtype=np.float32)
        at_border = np.arange(len(steps)) % 8 == 7
        within = float(steps[~at_border].mean())
        ratios.append(float(steps[at_border].mean()) / within if within > 1e-3 else 1.0)
    return float(np.mean(ratios)) - 1


def _grain(grey: np.ndarray) -> float:
    if min(grey.shape) < 18:
        return float("nan")
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    blocks = _blocks(both).mean((1, 2), dtype=np.float32)
    # mean of |normal| is sqrt(2 / pi) of its standard deviation; the operator has norm 6
    return float(np.quantile(blocks, 1 / 8) * np.sqrt(np.pi / 2) / 6)


def _blocks(grey: np.ndarray, offset: int = 0) -> np.ndarray:
    """The 8 x 8 blocks [n, 8, 8] of [height, width], from `offset` rows and columns."""
    high, wide = ((length - offset) // 8 for length in grey.shape)
    cut = grey[offset : offset + 8 * high, offset : offset + 8 * wide]
    return cut.reshape(high, 8, wide, 8).swapaxes(1, 2).reshape(-1, 8, 8)


def _comb(counts: np.ndarray) -> tuple[float, float]:
    inner = counts[2:-2].astype(np.float64)
    around = (counts[:-4] + counts[1:-3] + counts[3:-1] + counts[4:]) / 4.0
    told = around >= 8
    told[[0, 1, -1, -2]] = False  # beside black and white, which hold whatever was cut
    if told.sum() < 8:
        return float("nan"), float("nan")
    ratio = inner[told] / around[told]
    return float((ratio < 0.25).mean()), float((ratio > 1.75).mean())


# orthonormal cosines of length 8, and which coefficients are fine
_COSINES = np.cos(np.pi / 8 * (np.arange(8) + 0.5) * np.arange(8)[:, None]).astype(np.float32) * 0.5
_COSINES[0] *= np.float32(np.sqrt(0.5))
_IS_FINE = np.add.outer(np.arange(8), np.arange(8)) >= 5


def _quantised(grey: np.ndarray) -> float:
    if min(grey.shape) < 20:
        return float("nan")
    shares = []
    for offset in (0, 4):
        blocks = _blocks(grey, offset).astype(np.float32)
        flat = np.ptp(blocks.reshape(len(blocks), -1), axis=1) >= 12  # what is even has no fine detail on any grid
        fine = (_COSINES @ blocks[flat] @ _COSINES.T)[:, _IS_FINE]
        shares.append((float((np.abs(fine) < 1).mean()), fine.size) if fine.size else (0.0, 0))
    if min(size for _, size in shares) < 200:
        return float("nan")
    return float(np.log2((shares[0][0] + 0.02) / (shares[1][0] + 0.02)))


def _clipped(counts: np.ndarray) -> float:
    used = np.nonzero(counts)[0]
    top = int(used[-1])
    below = counts[max(0, top - 8) : top]
    expected = 3 * float(below.max()) if len(below) else 0.0
    return max(0.0, float(counts[top]) - expected) / float(counts.sum())
