"""Decode the bytes of an image file to the canonical image of an audit.

Rules, in order:

1. Decode with Pillow (supported formats: `formats`; the first of several frames) and apply the EXIF orientation; DICOM as in
   `dicom`, with the selected window.
2. Convert to grey levels in [0, 255]: 8-bit values are kept; 1-bit becomes 0 and 255; integers of more bits and floats are mapped
   by the range of the whole set (`ranges`). Without such a range (a single image): 16-bit integers are divided by 257; 32-bit
   integers and floats are kept if within [0, 255] (floats within [0, 1] times 255), else rescaled from minimum to maximum. NaN
   and infinity: unreadable. 16-bit colour is read from PNG, TIFF and PPM (`sixteen`); of other formats Pillow gives the upper
   8 bits.
3. Convert to 1 or 3 channels: palettes are expanded, transparency is composited over black, colour becomes grey by ITU-R 601
   luma, grey becomes colour by repetition.
4. Resize to size x size by bilinear interpolation with antialiasing, ignoring the aspect ratio.
5. Optionally x * 255 / max of the image, as in Konz & Mazurowski 2024.
6. Rounded to uint8, half to even.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dataprops.errors import DatapropsError, printable
from dataprops.imaging import dicom, dicom_header, sixteen
from dataprops.imaging.formats import opened, plain_depth, silence_libtiff
from dataprops.imaging.ranges import FLOATS, IMAGE, INTEGERS, on_levels, parsed
from dataprops.imaging.windows import window_key, window_numbers
from dataprops.util.budget import OVER, need
from dataprops.util.guard import guarded, let_through, reason_of, said

VERSION = 1  # version of these rules, part of the key of the shards
SCALES = ("full-range", "per-image-max")
UNSUPPORTED = "not an image in a supported format (what Pillow opens but EPS and WMF, or DICOM)"
# prefixes of reasons that may no longer apply (more memory, another version, a newly installed plug-in): such files are retried
PASSING = (
    "not an image in a supported format (PNG, JPEG, BMP, TIFF, WebP)",
    "not an image in a supported format (PNG, JPEG, BMP, TIFF, WebP, DICOM)",
    dicom.NEEDS_EXTRA,
    OVER,
)
# Coloured marks and JPEG's colour noise leave 86 to 94 % of the images of real X-ray and MRI sets exactly grey; of the
# images of natural sets, 1 to 2 % are.
GREY_FRACTION = 0.75
TILE = (322, 323)  # TIFF tags TileWidth and TileLength
PHOTOMETRIC = 262  # TIFF tag PhotometricInterpretation: whether 0 is white
# maximum bytes per pixel by Pillow mode, measured by tests/test_budget.py, with a margin
BYTES_OF_PIXEL = {
    **{"1": 8, "L": 8, "P": 20, "RGB": 20, "YCbCr": 24, "CMYK": 24, "I;16": 24, "I": 36, "F": 36, "RGBA": 40},
    **{"RGB;16": 58, "RGBA;16": 66},
}


_MAY_HAVE_FRAMES = re.compile(rb"II[*+]\x00|MM\x00[*+]|GIF8|RIFF....WEBPVP8X|....ftypavi[fs]|\x89PNG", re.DOTALL)
_BEFORE_PIXELS = 4096  # bytes within which an animated PNG declares itself
_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # keys of Pillow's info with an orientation
_NO_TAGS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP")  # formats with no other place for it
NOT_FINITE = "holds NaN or infinite values"
_NO_FACTS = ("", float("nan"), float("nan"))


class UnreadableImage(Exception):
    """An image cannot be read; the message is a short reason, which becomes a finding."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason))


class RawImage(NamedTuple):
    """A decoded image.

    Attributes
    ----------
    pixels : uint8 or float32 [height, width] or [height, width, 3]
        In [0, 255]; numbers of any type and range if `values` is set.
    format, mode : str
        Of the file, by Pillow's names.
    width, height : int
        After the EXIF orientation.
    values : str
        "integers" or "floats" if the range of the pixels is yet to be decided (see `ranges`), else "".
    jpeg_step : float
        Mean quantisation step of a JPEG's luma, from its first table: 9 at quality 92, 35 at 70; NaN for other formats.
    """

    pixels: np.ndarray
    format: str
    mode: str
    width: int
    height: int
    values: str = ""
    jpeg_step: float = math.nan


@dataclass(frozen=True)
class Preprocess:
    """How canonical images are made.

    Attributes
    ----------
    size : int
        Side in pixels.
    channels : int
        1 (grey) or 3 (RGB).
    scale : str
        "full-range" (grey levels as they are) or "per-image-max" (x * 255 / max).
    window : str
        Window of DICOM files; see `windows`.
    range : str
        Values mapped to black and white, as decided for the set: `ranges.Range.text`.
    """

    size: int = 224
    channels: int = 1
    scale: str = "full-range"
    window: str = "auto"
    range: str = IMAGE

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 4096:
            raise DatapropsError(f"size is {self.size}; expected 1 to 4096 pixels")
        if self.channels not in (1, 3):
            raise DatapropsError(f"channels is {self.channels}; expected 1 (grey) or 3 (colour)")
        if self.scale not in SCALES:
            raise DatapropsError(f"scale is {self.scale!r}; expected {' or '.join(SCALES)}")
        window_numbers(self.window)
        parsed(self.range)

    @property
    def features(self) -> int:
        """D, the number of values of a canonical image."""
        return self.size * self.size * self.channels

    @property
    def key(self) -> str:
        """Key of the preprocessing; only images with the same key are comparable."""
        window = "" if self.window == "auto" else f"-window-{window_key(self.window)}"
        values = "" if self.range == IMAGE else f"-range-{re.sub('[:;=]', '_', self.range)}"
        return f"{self.size}x{self.size}x{self.channels}-{self.scale}-v{VERSION}{window}{values}"


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filters: warnings.catch_warnings | None = None
_quiet_here = threading.local()
_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "PIL", "nibabel.global")
_quiet_levels: dict[str, int] = {}


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the libraries' warnings about odd metadata and large images.

    pydicom's must never be shown, since they quote values of the file such as patient names.

    Warning filters are global and images are decoded in threads: the first thread to enter sets them, the last to leave restores them.
    (`catch_warnings` in each thread would restore them in the wrong order.) Nested calls on one thread do nothing, as they would take
    as long as decoding a small image.
    """
    if getattr(_quiet_here, "on", False):
        yield
        return
    _quiet_here.on = True
    try:
        with _quiet_process():
            yield
    finally:
        _quiet_here.on = False


@contextmanager
def _quiet_process() -> Iterator[None]:
    global _quiet_users, _quiet_filters
    with _quiet_lock:
        if _quiet_users == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", DeprecationWarning)  # Pillow's, of rare formats
            for name in _LOGGERS:
                _quiet_levels[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
                for name in _LOGGERS:
                    logging.getLogger(name).setLevel(_quiet_levels[name])


def decode(data: bytes, window: str = "auto", range: str = IMAGE) -> RawImage:
    """Decode the bytes of an image file to pixels in [0, 255].

    Parameters
    ----------
    data : bytes
    window : str
        Of DICOM files; see `windows`.
    range : str
        See `Preprocess`.

    Raises
    ------
    UnreadableImage
        With the reason.
    """
    return resolved(decode_values(data, window), range)


def decode_values(data: bytes, window: str = "auto") -> RawImage:
    """As `decode`, but values whose range is yet to be decided are returned as stored."""
    if not data:
        raise UnreadableImage("the file is empty")
    with guarded(damage, passing=(UnreadableImage,)):
        return _decode(data, window)


def damage(error: BaseException) -> UnreadableImage:
    """Reason given for an image that a decoder fails on."""
    reason = reason_of(error)
    return UnreadableImage(reason if isinstance(error, MemoryError) else f"damaged: {reason}")


def projected(mode: str, width: int, height: int, file_bytes: int) -> int:
    """Maximum bytes needed to decode an image, including its file and all copies made by rules 2 to 5."""
    return file_bytes + width * height * BYTES_OF_PIXEL.get(mode, BYTES_OF_PIXEL["RGBA"])


def _tile_bytes(image: Image.Image) -> int:
    """Bytes of the tile that a TIFF decoder allocates in addition, which may be larger than the image by its header."""
    tags = getattr(image, "tag_v2", None)
    if not tags or TILE[0] not in tags:
        return 0
    width, height = (tags.get(tag, 0) for tag in TILE)
    return int(width) * int(height) * 16  # four samples of 32 bits


def _decode(data: bytes, window: str) -> RawImage:
    if dicom_header.is_dicom(data[: dicom_header.HEAD]):
        try:
            with quiet():
                grey = dicom.read_grey(data, window)
        except dicom_header.UnreadableDicom as reason:
            raise UnreadableImage(str(reason)) from None
        return RawImage(grey.pixels, "DICOM", grey.mode, grey.pixels.shape[1], grey.pixels.shape[0])
    try:
        with quiet(), opened(data) as image:
            name, mode = image.format or "", image.mode
            table = (getattr(image, "quantization", None) or {}).get(0)
            # a step of 0 is invalid and counts as 1
            step = (sum(table) + table.count(0)) / len(table) if table else math.nan
            if name == "TIFF":
                silence_libtiff()
            wide = sixteen.is_wide(image)
            mode += sixteen.SUFFIX if wide else ""
            need(projected(mode, *image.size, len(data)) + _tile_bytes(image))
            # Pillow inverts TIFF files in which 0 is white, except those of 16 bits
            inverted = name == "TIFF" and mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
            if wide:
                pixels, values = sixteen.samples(data), INTEGERS
            else:
                image.load()
                if _may_be_turned(image):
                    ImageOps.exif_transpose(image, in_place=True)  # only if needed, since it copies the image
                pixels, values = _values(image)
            pixels = 65535 - pixels if inverted else pixels
    except UnidentifiedImageError:
        raise UnreadableImage(_no_image(data) or UNSUPPORTED) from None
    except Image.DecompressionBombError:
        raise UnreadableImage("far more pixels than an image should have (decompression bomb?)") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        let_through(error)
        # raised by Pillow's decoders for damaged files; the messages do not quote the file
        raise UnreadableImage(f"damaged: {said(error)}") from None
    return RawImage(pixels, name, mode, pixels.shape[1], pixels.shape[0], values, step)


def _may_be_turned(image: Image.Image) -> bool:
    """Whether a file may have an orientation, in EXIF, XMP or TIFF tags; parsing it takes as long as decoding a small image."""
    return not image.info.keys().isdisjoint(_ORIENTED) or image.format not in _NO_TAGS


def resolved(raw: RawImage, range: str = IMAGE) -> RawImage:
    """The image in [0, 255], by the range of the set or, without one, by its own values (rule 2).

    Raises
    ------
    UnreadableImage
        If a value is NaN or infinite.
    """
    decided = parsed(range)
    if not raw.values:
        if decided.bytes is None or raw.pixels.dtype != np.uint8 or raw.format == "DICOM":
            return raw
        return raw._replace(pixels=on_levels(raw.pixels, *decided.bytes))
    pair = decided.integers if raw.values == INTEGERS else decided.floats
    if pair is None and (raw.mode.startswith("I;16") or raw.mode.endswith(sixteen.SUFFIX)):
        pair = (0.0, 65535.0)
    if pair is None:
        pixels = float_levels(raw.pixels, is_float=raw.values == FLOATS)
    else:
        if not np.isfinite(raw.pixels).all():
            raise UnreadableImage(NOT_FINITE)
        pixels = on_levels(raw.pixels, *pair)
    return raw._replace(pixels=pixels, values="")


def value_facts(image: bytes | RawImage) -> tuple[str, float, float]:
    """Input for `ranges.decide`: kind of values, minimum and maximum; ("", NaN, NaN) for images with a fixed range.

    8-bit files are not decoded. Unreadable files give ("", NaN, NaN).
    """
    if isinstance(image, bytes):
        if plain_depth(image) or dicom_header.is_dicom(image[: dicom_header.HEAD]):
            return _NO_FACTS
        try:
            with guarded(lambda error: UnreadableImage(reason_of(error)), passing=(UnreadableImage,)):
                with quiet(), opened(image) as found:
                    has_range = not _is_open(found.mode) and not sixteen.is_wide(found)
                if has_range:
                    return _NO_FACTS
                image = decode_values(image)
        except UnreadableImage:
            return _NO_FACTS
    if not image.values or not image.pixels.size or not np.isfinite(image.pixels).all():
        return _NO_FACTS
    return image.values, float(image.pixels.min()), float(image.pixels.max())


def frames_of(data: bytes) -> int:
    """Number of frames of a TIFF, GIF, WebP, AVIF or PNG file; 1 for other formats and if unknown.

    Only the first is decoded (rule 1). The second image of an MPO is a preview or a stereo view, and does not count.
    """
    if not _MAY_HAVE_FRAMES.match(data) or (data[:4] == b"\x89PNG" and b"acTL" not in data[:_BEFORE_PIXELS]):
        return 1
    try:
        if data[:2] in (b"II", b"MM"):
            return _directories(data)
        with quiet(), opened(data) as image:
            return max(1, int(getattr(image, "n_frames", 1)))
    except Exception as error:  # noqa: BLE001 - damaged: decoding it gives the reason
        let_through(error)
        return 1


def _directories(data: bytes) -> int:
    """Number of images in a TIFF file's linked list; Pillow walks it anew for each image, seconds for 20,000."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2] == 43 or data[3] == 43
    offset, count, entry = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}I", f"{order}H", 12)
    (at,) = struct.unpack_from(offset, data, 8 if big else 4)
    seen = set()
    while 0 < at < len(data) and at not in seen:
        seen.add(at)
        try:
            (entries,) = struct.unpack_from(count, data, at)
            (at,) = struct.unpack_from(offset, data, at + struct.calcsize(count) + entry * entries)
        except struct.error:  # it ends early
            break
    return max(1, len(seen))


def _no_image(data: bytes) -> str | None:
    """A specific reason for a file that is not an image but contains some (a NIfTI volume) or replaces one (a Git LFS pointer)."""
    if data.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS in place of the image: fetch it with 'git lfs pull'"
    head = data[:352]
    if data[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data[:4096], 552)
        except zlib.error:
            return None
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return "a NIfTI volume: give its folder as nifti:FOLDER, which cuts it into slices"
    return None


def from_pillow(image: Image.Image) -> RawImage:
    """Convert a decoded Pillow image by rules 2 and 3; its range may be yet to be decided."""
    pixels, values = _values(image)
    return RawImage(pixels, "array", image.mode, pixels.shape[1], pixels.shape[0], values)


def _is_open(mode: str) -> bool:
    """Whether values of a Pillow mode have no fixed range."""
    return mode in ("I", "F") or mode.startswith("I;")


def _values(image: Image.Image) -> tuple[np.ndarray, str]:
    """Pixels, and the kind of values if a range is yet to be decided."""
    mode = image.mode
    if mode.startswith("I;"):
        # Pillow converts 16-bit files of any byte order to the same values
        return np.asarray(image.convert("I")), INTEGERS
    if mode in ("I", "F"):
        return np.asarray(image), FLOATS if mode == "F" else INTEGERS
    return _bytes(image), ""


def _bytes(image: Image.Image) -> np.ndarray:
    """Pixels of images with at most 8 bits: uint8 [height, width] or [height, width, 3]."""
    mode = image.mode
    if mode == "1":
        image = image.convert("L")
    if mode in ("P", "PA"):
        image = image.convert("RGBA" if mode == "PA" or "transparency" in image.info else "RGB")
    elif "transparency" in image.info and mode in ("L", "RGB"):
        image = image.convert("RGBA" if mode == "RGB" else "LA")
    if image.mode in ("RGBA", "LA", "La", "RGBa"):
        bands = "RGBA" if image.mode.startswith("RGB") else "LA"
        image = image.convert(bands) if image.mode != bands else image
        black = Image.new(bands, image.size, (0,) * (len(bands) - 1) + (255,))
        image = Image.alpha_composite(black.convert("RGBA"), image.convert("RGBA")).convert(bands[:-1])
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image)


def float_levels(values: np.ndarray, *, is_float: bool) -> np.ndarray:
    """Rule 2 for numbers without a fixed range; float32 in [0, 255].

    Raises
    ------
    UnreadableImage
        If a value is NaN or infinite.
    """
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise UnreadableImage(NOT_FINITE)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if is_float and low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return values.astype(np.float32)


def is_grey(raw: RawImage) -> bool:
    """Whether the image is grey: one channel, or three equal ones."""
    pixels = raw.pixels
    # plane by plane, since numpy is slow along an axis of length three
    return pixels.ndim == 2 or all(bool((pixels[..., 0] == pixels[..., i]).all()) for i in range(1, pixels.shape[2]))


def default_channels(grey: list[bool]) -> int:
    """1 if most of these images are grey (some may have coloured marks), else 3."""
    return 1 if grey and sum(grey) >= GREY_FRACTION * len(grey) else 3


def canonical(raw: RawImage, preprocess: Preprocess) -> tuple[np.ndarray, int]:
    """The canonical image.

    Returns
    -------
    pixels : uint8 [size, size, channels]
    peak : int
        Largest grey level before the per-image scaling.
    """
    pixels = _resized(raw.pixels, preprocess)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype == np.uint8 and preprocess.scale == "full-range":
        return np.ascontiguousarray(pixels), int(pixels.max())
    levels = pixels.astype(np.float64)
    peak = float(levels.max())
    if preprocess.scale == "per-image-max" and peak > 0:
        levels *= 255 / peak
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8), round(peak)


def _resized(pixels: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Rules 3 and 4: convert to the channels and size of the preprocessing, in the pixels' type; 2-D for one channel."""
    size = (preprocess.size, preprocess.size)

    def resized(image: Image.Image) -> np.ndarray:
        return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))

    if pixels.dtype == np.uint8:
        if pixels.shape == (size if preprocess.channels == 1 else (*size, 3)):
            return pixels
        image = Image.fromarray(pixels)
        wanted = "L" if preprocess.channels == 1 else "RGB"
        return resized(image if image.mode == wanted else image.convert(wanted))
    planes = [pixels] if pixels.ndim == 2 else list(np.moveaxis(pixels, -1, 0))
    if preprocess.channels == 1 and len(planes) == 3:
        planes = [np.float32(0.299) * planes[0] + np.float32(0.587) * planes[1] + np.float32(0.114) * planes[2]]
    planes = [resized(Image.fromarray(np.ascontiguousarray(plane, np.float32))) for plane in planes]
    if preprocess.channels == 1:
        return planes[0]
    return np.stack(planes if len(planes) == 3 else planes * 3, axis=-1)
