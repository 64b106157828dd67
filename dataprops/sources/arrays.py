"""Images in memory: arrays or a torch Dataset, as a source that exists only in this process.

uint8 grey levels are used unchanged; booleans become 0 and 255; for other types one range is chosen for the whole dataset (see
`imaging.ranges`). An image with NaN or infinite values is unreadable.
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

# what user code of a Dataset may raise for an item
ITEM_ERRORS = (OSError, ValueError, RuntimeError, SyntaxError, EOFError, LookupError, TypeError, AttributeError)


SHAPES = "[n, height, width], [n, height, width, 1, 3 or 4 (RGBA)] or [n, 1 or 3, height, width]"
_OPAQUE = {"u": {1: 255, 2: 65535}, "f": {2: 1, 4: 1, 8: 1}}  # dtype kind -> itemsize -> alpha of an opaque pixel


class Items:
    """A torch Dataset, or any object with a length and items: (image, label, ...), a dict with image and label, or an image.

    An image is a Pillow image, or a tensor or array [height, width], with 1 or 3 channels first or last (if both fit: first for a
    tensor, last for an array), or with 4 (RGBA) last. Items are read one at a time, since a Dataset need not be thread-safe, and must
    be the same on every read.

    Raises
    ------
    DatapropsError
        If the object has no length or no items by number.
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
        """Image and label of an item (None if it has no label).

        Raises
        ------
        DatapropsError
            If it is a dict without an image.
        """
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
        """Decode one image. Raises OSError if it is not one, and whatever the Dataset raises (`ITEM_ERRORS`)."""
        return to_raw(self.item(number)[0])


class Held(str):
    """A source ``array:name`` that carries its own images: there is no global state that audits could share.

    Pickled as a plain string, since the images exist only in this process.
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
    """The channel axis of a batch of images: the last if of size 1 or 3, else the second if so, else the last if of size 4 (RGBA).

    None for [n, height, width].

    Raises
    ------
    DatapropsError
        If the shape is not that of a batch of images.

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
    """Wrap images in memory as a source ``array:name``.

    Parameters
    ----------
    images : array, Dataset, or pair (images, labels)
        Array [n, height, width], [n, height, width, 1, 3 or 4] or [n, 1 or 3, height, width]; or a Dataset, see `Items`. Grey levels:
        see the module's docstring.
    labels : sequence of n, optional
        Classes or numbers for the images of an array; None or NaN = unlabelled.

    Raises
    ------
    DatapropsError
        If the shape is not that of a batch of images, the numbers of images and labels differ, or labels are given with a Dataset.
    """
    images, labels = paired(images, labels)
    if is_dataset(images):
        if labels is not None:
            raise DatapropsError("labels can be given only with an array; a Dataset's items contain theirs")
        return Held(f"array:{name}", Items(images), None)
    images = as_array(images)
    channels_axis(images.shape)
    if labels is not None and len(labels) != len(images):
        raise DatapropsError(f"there are {len(images)} images and {len(labels)} labels: give one for each")
    texts: list[str | None] = [None] * len(images) if labels is None else [label_text(label) for label in labels]
    return Held(f"array:{name}", images, texts)


def square_side(source: Held) -> int | None:
    """Side of the images in pixels if they are square, else None; for a Dataset, of the first readable item (of at most 10)."""
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
    """Whether images are given item by item rather than as one array or tensor."""
    if isinstance(images, list) and images:
        return isinstance(images[0], tuple | dict) or hasattr(images[0], "getbands")
    return not (isinstance(images, np.ndarray | tuple | list) or hasattr(images, "__array__"))


def as_array(images: Any) -> np.ndarray:
    """Convert an array, a tensor on any device, or a list of arrays of equal shape to an array.

    Raises
    ------
    DatapropsError
        If the shapes differ.
    """
    if hasattr(images, "detach"):
        images = images.detach().cpu()
    try:
        return np.asarray(images)
    except ValueError as error:
        raise DatapropsError(
            f"the images cannot be combined into one array ({error}): give images of several sizes as a list of pairs (image, label)"
        ) from None


def paired(images: Any, labels: Sequence | None) -> tuple[Any, Sequence | None]:
    """Split a tuple (images, labels); anything else is returned unchanged.

    Raises
    ------
    DatapropsError
        If the tuple does not have two items, or labels are also given separately.
    """
    if not isinstance(images, tuple):
        return images, labels
    if len(images) != 2 or labels is not None:
        raise DatapropsError("a tuple is taken as (images, labels): give two arrays, or a Dataset")
    return images


def label_text(label: Any) -> str | None:
    """A label as text; None for None, NaN and the empty string.

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
    """Convert a Pillow image, tensor or array to a decoded image.

    Raises
    ------
    OSError
        If the shape is not that of an image; otherwise as `raw_image`.
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
    """A decoded image from an array [height, width] or with a channel axis; the range of other dtypes than uint8 and bool is chosen
    later (`RawImage.values`).

    Raises
    ------
    OSError
        If it has no pixels, a value is NaN or infinite, or the opaque alpha value of its dtype is unknown.
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
    """Composite RGBA over black; returns RGB of the same dtype.

    Raises
    ------
    OSError
        If the opaque alpha value of the dtype is unknown.
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
    """List the images of an array or a Dataset; see `sources.Source`. Reads all items of a Dataset, for their labels.

    Raises
    ------
    DatapropsError
        If there are no images, or the array is not of this process.
    """
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
    except ITEM_ERRORS:  # reported as a finding when the image is read
        return None


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """Read one image of an array or a Dataset. Raises OSError if it cannot be read."""
    images = _held(location).images
    if isinstance(images, Items):
        try:
            return images.image(int(key))
        except OSError:
            raise
        except ITEM_ERRORS as error:
            raise OSError(0, f"the dataset raised an error for this item: {type(error).__name__}: {error}") from None
    return raw_image(images[int(key)], channels_first=channels_axis(images.shape) == 1)
