"""What a decoded image looks like in numbers: brightness, contrast, focus, noise, compression; measured on the original.

Images of more than `SIDE` pixels along a side are first reduced by a whole factor (means of square cells), so that an image
costs about the same whatever its size. All are of the grey levels on [0, 255] (ITU-R 601 luma).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 256
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
    )


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
