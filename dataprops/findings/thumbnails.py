"""Thumbnails: small grey versions of the canonical images, used to find copies, pixel shortcuts and image-quality faults.

A thumbnail is the mean grey level (ITU-R 601 luma) over equal cells of the canonical image, at most `SIDE` x `SIDE`. 10,000 of them
take 40 MB, whatever the size of the canonical images, which are read once, block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from dataprops.util.grid import cell_means

SIDE = 64
LEAST_SIDE = 16  # minimum side in pixels of images and thumbnails; below it there is no detail to compare
AT_ONCE = 16  # images per step; the grey levels of a thousand would not fit in the CPU cache
LUMA = (0.299, 0.587, 0.114)
SPREAD = 16.0  # images with a smaller standard deviation of grey levels are stretched to this,
MOST_GAIN = 8.0  # at most by this factor, so that rounding errors stay below two levels
MIDDLE = (64.0, 191.0)  # range their mean is moved into, to avoid clipping

Blocks = Callable[[Sequence[int]], Iterator[tuple[np.ndarray, np.ndarray]]]  # see `Context.pixels`


def luma(images: np.ndarray) -> np.ndarray:
    """Grey levels (luma), float32 [n, height, width], of uint8 [n, height, width, channels]."""
    if images.shape[-1] == 1:
        return images[..., 0].astype(np.float32)
    return images.astype(np.float32) @ np.array(LUMA, np.float32)


def _reduced(grey: np.ndarray, side: int) -> np.ndarray:
    """Cell means of images float32 [n, size, size], by two matrix products: three times faster than adaptive pooling."""
    n, size, _ = grey.shape
    means = cell_means(size, side)
    return means @ (grey.reshape(n * size, size) @ means.T).reshape(n, size, side)


def least(images: np.ndarray) -> np.ndarray:
    """Minimum over the channels, float32 [n, height, width]: white stands out on coloured paper too."""
    planes = np.moveaxis(images, -1, 0)  # numpy is slow at reducing an axis of length three
    return reduce(np.minimum, planes).astype(np.float32)


def pieces(blocks: Blocks, ids: np.ndarray, most: int) -> Iterator[tuple[list[int], np.ndarray]]:
    """Images by id, at most `most` at a time: positions in `ids`, and pixels; unreadable images are skipped."""
    place = {int(image): i for i, image in enumerate(ids)}
    for part, pixels in blocks(ids.tolist()):
        at = [place[int(image)] for image in part]
        for start in range(0, len(at), most):
            yield at[start : start + most], np.asarray(pixels[start : start + most])


def thumbnails(
    blocks: Blocks, ids: np.ndarray, side: int = SIDE, grey: Callable[[np.ndarray], np.ndarray] = luma
) -> np.ndarray:
    """Thumbnails of images by id, uint8 [n, s, s] with s = min(size, side); zeros for unreadable images."""
    out = None
    for at, levels in _levels(blocks, ids, side, grey):
        if out is None:
            out = np.zeros((len(ids), *levels.shape[1:]), np.uint8)
        out[at] = np.rint(levels)
    return np.zeros((len(ids), 1, 1), np.uint8) if out is None else out


class Stretched(NamedTuple):
    """Thumbnails uint8 [n, s, s], equal to `gain` times the grey levels plus `offset`, float32 [n]."""

    thumbs: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


def stretched(blocks: Blocks, ids: np.ndarray, side: int = SIDE) -> Stretched:
    """As `thumbnails`, but low contrast is stretched before rounding, which preserves faint detail (sand, a plain wall)."""
    out = Stretched(np.zeros((len(ids), 1, 1), np.uint8), np.ones(len(ids), np.float32), np.zeros(len(ids), np.float32))
    for at, levels in _levels(blocks, ids, side, luma):
        if out.thumbs.shape[1:] != levels.shape[1:]:
            out = out._replace(thumbs=np.zeros((len(ids), *levels.shape[1:]), np.uint8))
        for whole, part in zip(out, stretch(levels), strict=True):
            whole[at] = part
    return out


def stretch(levels: np.ndarray) -> Stretched:
    """Stretch grey levels float32 [n, s, s]."""
    mean, spread = levels.mean(axis=(1, 2)), levels.std(axis=(1, 2))
    gain = np.clip(SPREAD / np.maximum(spread, 1e-6), 1, MOST_GAIN)
    offset = np.where(gain > 1, np.clip(mean, *MIDDLE) - gain * mean, 0)
    moved = levels * gain[:, None, None] + offset[:, None, None]
    return Stretched(np.rint(np.clip(moved, 0, 255)).astype(np.uint8), gain, offset)


def _levels(
    blocks: Blocks, ids: np.ndarray, side: int, grey: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of positions in `ids`, with the grey levels of these thumbnails, float32 [m, s, s]."""
    for at, pixels in pieces(blocks, ids, AT_ONCE):
        levels = grey(pixels)
        s = min(levels.shape[1], side)
        yield at, levels if s == levels.shape[1] else _reduced(levels, s)
