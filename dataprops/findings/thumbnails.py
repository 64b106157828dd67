"""Small grey versions of the canonical images: what copies, pixel shortcuts and image quality are looked for in.

A thumbnail is the mean grey level (ITU-R 601 luma) over equal cells of the canonical image, at most `SIDE` x `SIDE`. 10,000 of them
take 40 MB, whatever the size of the canonical images, which are read block by block and once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from dataprops.util.grid import cell_means

SIDE = 64
LEAST_SIDE = 16  # pixels of pictures and thumbnails, below which there is no detail to compare
AT_ONCE = 16  # images: of a thousand the grey levels would leave the cache in between
LUMA = (0.299, 0.587, 0.114)
SPREAD = 16.0  # standard deviation of grey levels to which pictures of less are stretched,
MOST_GAIN = 8.0  # so many times at most: rounding stays below two levels
MIDDLE = (64.0, 191.0)  # where their mean is moved to, that nothing is cut off

Blocks = Callable[[Sequence[int]], Iterator[tuple[np.ndarray, np.ndarray]]]  # see `Context.pixels`


def luma(images: np.ndarray) -> np.ndarray:
    """Grey levels, float32 [n, height, width], of uint8 [n, height, width, channels]."""
    if images.shape[-1] == 1:
        return images[..., 0].astype(np.float32)
    return images.astype(np.float32) @ np.array(LUMA, np.float32)


def _reduced(grey: np.ndarray, side: int) -> np.ndarray:
    """Means over the cells of images float32 [n, size, size]: two products, a third of the time of adaptive pooling."""
    n, size, _ = grey.shape
    means = cell_means(size, side)
    return means @ (grey.reshape(n * size, size) @ means.T).reshape(n, size, side)


def least(images: np.ndarray) -> np.ndarray:
    """The least of the channels, float32 [n, height, width]: white stands out in it on coloured paper as well."""
    planes = np.moveaxis(images, -1, 0)  # plane by plane: along an axis of three numpy is slow
    return reduce(np.minimum, planes).astype(np.float32)


def pieces(blocks: Blocks, ids: np.ndarray, most: int) -> Iterator[tuple[list[int], np.ndarray]]:
    """Images by their ids, at most so many at once: their positions in `ids`, and their pixels; what cannot be read is left out."""
    place = {int(image): i for i, image in enumerate(ids)}
    for part, pixels in blocks(ids.tolist()):
        at = [place[int(image)] for image in part]
        for start in range(0, len(at), most):
            yield at[start : start + most], np.asarray(pixels[start : start + most])


def thumbnails(
    blocks: Blocks, ids: np.ndarray, side: int = SIDE, grey: Callable[[np.ndarray], np.ndarray] = luma
) -> np.ndarray:
    """Thumbnails of images by their ids, uint8 [n, s, s] with s = min(size, side); zeros for what cannot be read."""
    out = None
    for at, levels in _levels(blocks, ids, side, grey):
        if out is None:
            out = np.zeros((len(ids), *levels.shape[1:]), np.uint8)
        out[at] = np.rint(levels)
    return np.zeros((len(ids), 1, 1), np.uint8) if out is None else out


class Stretched(NamedTuple):
    """Thumbnails uint8 [n, s, s] that are `gain` times the grey levels plus `offset`, float32 [n]."""

    thumbs: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


def stretched(blocks: Blocks, ids: np.ndarray, side: int = SIDE) -> Stretched:
    """As `thumbnails`; those of little contrast are stretched before they are rounded: sand and a plain wall have detail, too."""
    out = Stretched(np.zeros((len(ids), 1, 1), np.uint8), np.ones(len(ids), np.float32), np.zeros(len(ids), np.float32))
    for at, levels in _levels(blocks, ids, side, luma):
        if out.thumbs.shape[1:] != levels.shape[1:]:
            out = out._replace(thumbs=np.zeros((len(ids), *levels.shape[1:]), np.uint8))
        for whole, part in zip(out, stretch(levels), strict=True):
            whole[at] = part
    return out


def stretch(levels: np.ndarray) -> Stretched:
    """Of grey levels float32 [n, s, s]."""
    mean, spread = levels.mean(axis=(1, 2)), levels.std(axis=(1, 2))
    gain = np.clip(SPREAD / np.maximum(spread, 1e-6), 1, MOST_GAIN)
    offset = np.where(gain > 1, np.clip(mean, *MIDDLE) - gain * mean, 0)
    moved = levels * gain[:, None, None] + offset[:, None, None]
    return Stretched(np.rint(np.clip(moved, 0, 255)).astype(np.uint8), gain, offset)


def _levels(
    blocks: Blocks, ids: np.ndarray, side: int, grey: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[list[int], np.ndarray]]:
    """A few positions in `ids` at a time, and the grey levels of these thumbnails, float32 [m, s, s]."""
    for at, pixels in pieces(blocks, ids, AT_ONCE):
        levels = grey(pixels)
        s = min(levels.shape[1], side)
        yield at, levels if s == levels.shape[1] else _reduced(levels, s)
