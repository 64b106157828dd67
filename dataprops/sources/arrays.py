"""Images that are in memory already: arrays or a torch Dataset of a notebook, as a source of this process alone.

Grey levels: uint8 as they are; booleans are 0 and 255; for other numbers one range is decided for the whole set (see
`imaging.ranges`). NaN and infinity: unreadable.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import NOT_FINITE, RawImage, from_pillow
from dataprops.imaging.ranges import FLOATS, INTEGERS
from dataprops.sources.table import SourceOptions, image_table

# what a dataset's own code raises for an item that it cannot give
ITEM_ERRORS = (OSError, ValueError, RuntimeError, SyntaxError, EOFError, LookupError, TypeError, AttributeError)


SHAPES = "[n, height, width], [n, height, width, 1, 3 or 4 (RGBA)] or [n, 1 or 3, height, width]"
_OPAQUE = {"u": {1: 255, 2: 65535}, "f": {2: 1, 4: 1, 8: 1}}  # of the fourth channel, by kind and bytes of a value


class Items:
    """A torch Dataset, or anything with a length and items: (image, label, ...), a dict with image and label, or an image.

    An image is a Pillow image, or a tensor or array [height, width], with 1 or 3 channels first or last (a tensor: first, if both
    fit), or with 4 (RGBA) last. Items are asked for one at a time, as a Dataset need not be safe for threads, and must be the same
    each time.
    """

    def __init__(self, dataset: Any) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise DatapropsError(
                f"{type(dataset).__name__} has no length or no items by number: give a map-style Dataset, or arrays"
            )
        self.dataset, self._lock = dataset, threading.Lock()

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, number: int) -> tuple[Any, Any]:
        """Image and label (None: none)."""
        with self._lock:
            item = self.dataset[number]
        if isinstance(item, dict):
            label = next((item[name] for name in ("label", "labels", "target") if name in item), None)
            image = next((item[name] for name in ("image", "img", "pixel_values") if name in item), None)
            if image is None:
                raise DatapropsError(f"items have the keys {', '.join(map(str, item))}: expected an image and a label")
            return image, label
        if isinstance(item, tuple | list):
            return item[0], item[1] if len(item) > 1 else None
        return item, None

    def image(self, number: int) -> RawImage:
        """One image."""
        return to_raw(self.item(number)[0])


class Held(str):
    """A source ``array:name`` that carries its images with it: nothing is kept beside the object, so that audits do not meet.

    Pickled it is the bare name: images of this process are not another one's.
    """

    __slots__ = ("images", "labels")
    images: np.ndarray | Items
    labels: list[str | None] | None

    def __new__(cls, source: str, images: np.ndarray | Items, labels: list[str | None] | None) -> Held:
        made = super().__new__(cls, source)
        made.images, made.labels = images, labels
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    def __copy__(self) -> Held:
        return self

    def __deepcopy__(self, memo: object) -> Held:
        return self


def _held(location: str) -> Held:
    if not isinstance(location, Held):
        raise DatapropsError(f"there is no array {location!r} in this process: pass arrays to dataprops.audit.audit")
    return location


def channels_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of the channels of an array of images: 1, 3 or 4 in the last, else 1 or 3 in the second; None: grey without one.

    Raises
    ------
    DatapropsError
        If the shape is of no images.

    >>> channels_axis((9, 8, 8)), channels_axis((9, 8, 8, 3)), channels_axis((9, 1, 8, 8)), channels_axis((9, 8, 8, 4))
    (None, 3, 1, 3)
    """
    if len(shape) == 3:
        return None
    if len(shape) == 4 and shape[-1] in (1, 3):
        return 3
    if len(shape) == 4 and shape[1] in (1, 3):
        return 1
    if len(shape) == 4 and shape[-1] == 4:
        return 3
    raise DatapropsError(f"images have shape {shape}; expected {SHAPES}")


def hold(images: Any, labels: Sequence | None = None, name: str = "array") -> Held:
    """Images of this process as a source to audit, ``array:name``.

    Parameters
    ----------
    images : array, Dataset, or pair (images, labels)
        Array [n, height, width], [n, height, width, 1, 3 or 4] or [n, 1 or 3, height, width]; or a Dataset, see `Items`. Grey levels
        as the module's docstring has them.
    labels : sequence of n, optional
        Classes or numbers of an array's images; None or NaN = unlabelled.

    Raises
    ------
    DatapropsError
        If the shapes do not fit.
    """
    images, labels = paired(images, labels)
    if is_dataset(images):
        if labels is not None:
            raise DatapropsError("labels go with an array; those of a Dataset are in its items")
        return Held(f"array:{name}", Items(images), None)
    images = as_array(images)
    channels_axis(images.shape)
    if labels is not None and len(labels) != len(images):
        raise DatapropsError(f"there are {len(images)} images and {len(labels)} labels: give one for each")
    texts: list[str | None] = [None] * len(images) if labels is None else [label_text(label) for label in labels]
    return Held(f"array:{name}", images, texts)


def square_side(source: Held) -> int | None:
    """Height of the images of a source of `hold`, if they are square: of an array; of a Dataset by its first readable item."""
    images = source.images
    if isinstance(images, Items):
        for number in range(min(len(images), 10)):
            try:
                height, width = images.image(number).pixels.shape[:2]
            except ITEM_ERRORS:
                continue
            return height if height == width else None
        return None
    axis = channels_axis(images.shape)
    height, width = images.shape[2:] if axis == 1 else images.shape[1:3]
    return height if height == width else None


def is_dataset(images: Any) -> bool:
    """Whether images come item by item, rather than as one array or tensor."""
    if isinstance(images, list) and images:
        return isinstance(images[0], tuple | dict) or hasattr(images[0], "getbands")
    return not (isinstance(images, np.ndarray | tuple | list) or hasattr(images, "__array__"))


def as_array(images: Any) -> np.ndarray:
    """An array of an array, a tensor (of any device), or a list of equal arrays."""
    if hasattr(images, "detach"):
        images = images.detach().cpu()
    try:
        return np.asarray(images)
    except ValueError as error:
        raise DatapropsError(
            f"the images do not make one array ({error}): give images of several sizes as a list of pairs (image, label)"
        ) from None


def paired(images: Any, labels: Sequence | None) -> tuple[Any, Sequence | None]:
    """Images and labels that may come as one tuple.

    Raises
    ------
    DatapropsError
        If it has other than two parts, or there are labels beside it.
    """
    if not isinstance(images, tuple):
        return images, labels
    if len(images) != 2 or labels is not None:
        raise DatapropsError("a tuple is taken as (images, labels): give two arrays, or a Dataset")
    return images


def label_text(label: Any) -> str | None:
    """A label as text; None, NaN and empty text are none.

    Raises
    ------
    DatapropsError
        If it is more than one value.

    >>> label_text(np.int64(3)), label_text(0.5), label_text(float("nan")), label_text("cat"), label_text(np.array([2]))
    ('3', '0.5', None, 'cat', '2')
    """
    if hasattr(label, "detach") or isinstance(label, np.ndarray):
        values = as_array(label)
        if values.size != 1:
            raise DatapropsError(f"a label has {values.size} values, expected one: choose the one to audit")
        label = values.reshape(-1)[0]
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, list | tuple | dict):
        raise DatapropsError(f"a label is {label!r}, expected one class or number: choose the one to audit")
    if isinstance(label, bytes):
        label = label.decode("utf-8", "backslashreplace")
    return None if pd.isna(label) or label == "" else str(label)


def to_raw(image: Any) -> RawImage:
    """A Pillow image, tensor or array as a decoded image.

    Raises
    ------
    OSError
        If it is none.
    """
    if hasattr(image, "getbands"):
        return from_pillow(image)
    pixels = as_array(image)
    fits = pixels.ndim == 3 and ({pixels.shape[0], pixels.shape[-1]} & {1, 3} or pixels.shape[-1] == 4)
    if pixels.ndim != 2 and not fits:
        raise OSError(0, f"it has shape {pixels.shape}, expected [height, width] with 1 or 3 channels first or last")
    first = pixels.ndim == 3 and pixels.shape[0] in (1, 3)
    if first and pixels.shape[-1] in (1, 3):
        first = hasattr(image, "detach")
    return raw_image(pixels, channels_first=first)


def raw_image(pixels: np.ndarray, *, channels_first: bool = False) -> RawImage:
    """A decoded image from numbers [height, width] or with channels; its range may still be open (`RawImage.values`).

    Raises
    ------
    OSError
        If a value is NaN or infinite, or there is none.
    """
    if channels_first:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if not pixels.size:
        raise OSError(0, "it has no pixels")
    mode = "L" if pixels.ndim == 2 else "RGB" if pixels.shape[-1] == 3 else "RGBA"
    if mode == "RGBA":
        pixels = _over_black(pixels)
    values = ""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype != np.uint8:
        values = FLOATS if pixels.dtype.kind == "f" else INTEGERS
        if values == FLOATS and not np.isfinite(pixels).all():
            raise OSError(0, NOT_FINITE)
    return RawImage(np.ascontiguousarray(pixels), "array", mode, pixels.shape[1], pixels.shape[0], values)


def _over_black(pixels: np.ndarray) -> np.ndarray:
    """Three channels of four, the last of which is opacity; in the type that they have.

    Raises
    ------
    OSError
        If it cannot be told which value is opaque.
    """
    opaque = _OPAQUE.get(pixels.dtype.kind, {}).get(pixels.dtype.itemsize)
    if opaque is None:
        raise OSError(0, f"it has four channels of {pixels.dtype}: save three, or RGBA as uint8")
    alpha = pixels[..., 3:].astype(np.float64)
    if opaque == 1 and alpha.max() > 1:
        opaque = 255
    colour = pixels[..., :3] * (alpha / opaque)
    return (np.rint(colour) if pixels.dtype.kind == "u" else colour).astype(pixels.dtype)


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of an array or a Dataset; see `sources.Source`. A Dataset's items are read for their labels."""
    held = _held(location)
    images, labels = held.images, held.labels
    if not len(images):
        raise DatapropsError("the array holds no images")
    if labels is None:
        assert isinstance(images, Items)
        labels = [_item_label(images, number) for number in range(len(images))]
    width = len(str(len(images) - 1))
    keys = [f"{number:0{width}d}" for number in range(len(images))]
    table = image_table(keys, labels, [None] * len(keys), [None] * len(keys))
    table.attrs.update(ignored=[], empty_classes=[])
    return table


def _item_label(items: Items, number: int) -> str | None:
    try:
        return label_text(items.item(number)[1])
    except ITEM_ERRORS:  # it becomes a finding when its image is read
        return None


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """One image of an array or a Dataset."""
    images = _held(location).images
    if isinstance(images, Items):
        try:
            return images.image(int(key))
        except OSError:
            raise
        except ITEM_ERRORS as error:
            raise OSError(0, f"the dataset gives no item: {type(error).__name__}: {error}") from None
    return raw_image(images[int(key)], channels_first=channels_axis(images.shape) == 1)
