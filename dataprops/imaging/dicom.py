"""DICOM pixels as grey levels. Elements: `dicom_header`; multi-frame files: `dicom_frames`.

Steps, in order:

1. One frame is decoded by pydicom and its plug-ins; YBR is converted to RGB. Of several frames the middle one is used (the source
   `dicom:` lists all frames).
2. Palettes are expanded. Colour of more than 8 bits is divided by its full range.
3. Grey values: modality LUT or rescale slope and intercept (of the file, or of the frame's functional group), then the window:
   - "auto": the file's own window (VOI LUT sequence, else the first centre and width with its function); if there is none, the
     soft-tissue preset for CT, unsigned 8-bit values unchanged, everything else by percentiles;
   - "file": the same; if there is none, the full range of the stored bits;
   - "percentiles": 0.5 % to 99.5 % of the image's values, without PixelPaddingValue;
   - a preset: for CT (and files without a modality, or in HU); others as "auto";
   - CENTRE/WIDTH: for every grey image. Presets and numbers are applied as VOILUTFunction LINEAR (PS3.3 C.11.2.1.2.1).
4. MONOCHROME1 is inverted.

Privacy: only pixels, size, colour model and bit depth leave these modules (and the hashes of `dicom_identity`). pydicom's messages may
quote values and are never passed on; its logs and warnings are suppressed (`decode.quiet`).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dataprops.imaging.dicom_frames import PIXELS, encoded_frame, lift_frame
from dataprops.imaging.dicom_header import (
    UnreadableDicom,
    damaged,
    frame_bits,
    frame_size,
    number_of,
    read_header,
    syntax_of,
    text_of,
    value_of,
    whole,
)
from dataprops.imaging.levels import linear_window, percentile_levels, to_levels
from dataprops.imaging.windows import PRESETS, window_numbers
from dataprops.util.budget import need
from dataprops.util.guard import guarded

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


MAX_PIXELS = 178_956_970  # of one frame, as in Pillow
BYTES_OF_VALUE = 32  # maximum per value during conversion: as stored, rescaled and windowed in float64
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", *COLOUR)
NEEDS_EXTRA = "this JPEG needs the extra dicom-gpl: pip install 'dataprops[dicom-gpl]'"
_JPEG = "1.2.840.10008.1.2.4."  # and a number: the whole JPEG family
_LIBJPEG = tuple(f"{_JPEG}{number}" for number in (50, 51, 57, 70))  # JPEG proper
_DICOM_ROOT = "1.2.840.10008."


class Grey(NamedTuple):
    """A decoded frame: pixels (uint8, or float32 in [0, 255]; [height, width] or [height, width, 3]) and colour model."""

    pixels: np.ndarray
    mode: str


def read_grey(data: bytes, window: str = "auto") -> Grey:
    """The middle frame of a DICOM file, converted by the rules of this module.

    Raises
    ------
    UnreadableDicom
        With the reason.
    """
    header = read_header(data, pixels=True)
    with guarded(damaged, passing=(UnreadableDicom,)):
        return _decode(header, window)


def _decode(header: Dataset, window: str) -> Grey:
    from pydicom.pixels.processing import apply_color_lut

    photometric = text_of(header, "PhotometricInterpretation")
    values = _stored_values(header)
    bits = whole(header, "BitsStored") or 8 * values.dtype.itemsize
    mode = f"{photometric if photometric in PHOTOMETRIC else 'other'};{bits}"
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(values, header)[..., :3]
        entries = header.RedPaletteColorLookupTableDescriptor[2]
        wide = colours.dtype.itemsize > 1 and not (entries == 8 and colours.max() <= 255)
        return Grey(colours.astype(np.float32) / np.float32(257) if wide else colours.astype(np.uint8), mode)
    if values.ndim == 3:
        if photometric not in COLOUR or values.shape[-1] != 3:
            raise UnreadableDicom("a colour model that is not supported (it is none of RGB, YBR and palette)")
        if values.dtype == np.uint8 and bits == 8:
            return Grey(values, mode)
        return Grey((values * (255 / (2.0**bits - 1))).astype(np.float32), mode)
    levels = _windowed(values, header, bits, window)
    if photometric == "MONOCHROME1":
        levels = 255 - levels
    return Grey(levels, mode)


def _stored_values(header: Dataset) -> np.ndarray:
    """Stored values of the middle frame, YBR as RGB; copies the frame's rescale and window to the header."""
    from pydicom.pixels import get_decoder, pixel_array

    held = [name for name in PIXELS if name in header]
    if not held:
        raise UnreadableDicom(f"a DICOM file without pixels{_kind(header)}")
    size = frame_size(header)
    if size is None:
        raise UnreadableDicom("damaged DICOM: it does not say how large its image is")
    rows, columns, samples, _, frames = size
    if rows * columns * max(1, samples) > MAX_PIXELS:
        raise UnreadableDicom("far more pixels than an image should have (decompression bomb?)")
    need(len(header[held[0]].value or b"") + BYTES_OF_VALUE * rows * columns * max(1, samples))
    syntax = syntax_of(header)
    data = header[held[0]].value
    if syntax.is_private or not str(syntax).startswith(_DICOM_ROOT):
        raise UnreadableDicom("a private transfer syntax, which is not supported")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableDicom(f"the transfer syntax {syntax.name} is not supported") from None
    if not decoder.is_available:
        raise UnreadableDicom(NEEDS_EXTRA if syntax in _LIBJPEG else f"no decoder for {syntax.name} is installed")
    frame = frames // 2
    if syntax.is_encapsulated:
        _refuse_codestream(data, header, frame, frames)
    else:
        wanted = -(-frame_bits(header, size) * frames // 8)
        if len(data) < wanted:
            raise UnreadableDicom(f"truncated: {len(data):,} of {wanted:,} bytes of pixels")
    lift_frame(header, frame)
    try:
        values = pixel_array(header, index=frame)
    except RuntimeError:
        if syntax in _LIBJPEG and find_spec("libjpeg") is None:
            raise UnreadableDicom(NEEDS_EXTRA) from None
        raise UnreadableDicom(f"damaged, or a kind of {syntax.name} that no decoder reads") from None
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _kind(header: Dataset) -> str:
    """The name of the file's SOP class, in brackets; "" if unknown."""
    from pydicom.uid import UID, UID_dictionary

    uid = text_of(header, "SOPClassUID")
    return f" ({UID(uid).name})" if uid in UID_dictionary else ""


def _refuse_codestream(data: bytes, header: Dataset, frame: int, frames: int) -> None:
    """Refuse a compressed frame whose own header declares a huge size, before a decoder allocates memory for it."""
    size = codestream_size(encoded_frame(data, header, frame, frames))
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise UnreadableDicom(
            "the compressed frame claims far more pixels than an image should have (damaged, or a bomb)"
        )


def codestream_size(stream: bytes) -> tuple[int, int] | None:
    """Width and height declared by a JPEG, JPEG-LS or JPEG 2000 stream; None if unknown."""
    at = stream.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at >= 0:  # SIZ: length, capabilities, then the grid and its offset
        numbers = [int.from_bytes(stream[at + i : at + i + 4], "big") for i in (8, 12, 16, 20)]
        return max(0, numbers[0] - numbers[2]), max(0, numbers[1] - numbers[3])
    at = 2
    while stream[:2] == b"\xff\xd8" and at + 9 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return int.from_bytes(stream[at + 7 : at + 9], "big"), int.from_bytes(stream[at + 5 : at + 7], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _windowed(values: np.ndarray, header: Dataset, bits: int, window: str) -> np.ndarray:
    """Rule 3: float32 in [0, 255], or uint8 as stored."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    padding = _padding(values, header)
    rescaled = "ModalityLUTSequence" in header or ("RescaleSlope" in header and "RescaleIntercept" in header)
    real = apply_modality_lut(values, header)
    if real.dtype.kind == "f" and not np.isfinite(real).all():
        raise UnreadableDicom("holds NaN or infinite values")
    numbers = window_numbers(window)
    modality = text_of(header, "Modality")
    hounsfield = modality == "CT" or text_of(header, "RescaleType") == "HU"
    if window in PRESETS and not (hounsfield or not modality):
        window, numbers = "auto", None
    if numbers is not None:
        return linear_window(real, *numbers)
    if window in ("auto", "file"):
        if value_of(header, "VOILUTSequence"):
            top = 2.0 ** int(header.VOILUTSequence[0].LUTDescriptor[2]) - 1
            return (apply_voi(real, header).astype(np.float64) * (255 / top)).astype(np.float32)
        own = _own_window(real, header)
        if own is not None:
            return own
        if bits <= 8 and not rescaled and values.dtype == np.uint8:
            full = 2**bits - 1
            return values if full == 255 else (values * np.float32(255 / full)).astype(np.float32)
        if window == "file" and values.dtype.kind != "f":
            least = 0 if values.dtype.kind == "u" else -(2 ** (bits - 1))
            ends = np.array([least, least + 2**bits - 1], np.int64)
            low, high = sorted(apply_modality_lut(ends, header).tolist())
            return to_levels(real, (low, high))
        if hounsfield:
            return linear_window(real, *PRESETS["soft-tissue"])
    shown = real[~padding] if padding is not None and not padding.all() else real
    return to_levels(real, percentile_levels(shown))


def _padding(values: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Mask of padding pixels; None without padding."""
    value = whole(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = whole(header, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    return (values >= low) & (values <= high)


def _own_window(real: np.ndarray, header: Dataset) -> np.ndarray | None:
    centre, width = number_of(header, "WindowCenter"), number_of(header, "WindowWidth")
    function = text_of(header, "VOILUTFunction").upper() or "LINEAR"
    if centre is None or width is None or width <= 0:
        return None
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return (255 / (1 + np.exp(-4 * (real.astype(np.float64) - centre) / width))).astype(np.float32)
    if function == "LINEAR_EXACT":
        return to_levels(real, (centre - width / 2, centre + width / 2))
    return linear_window(real, centre, width) if width >= 1 else None
