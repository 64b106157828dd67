"""DICOM files: their pixels as grey levels.

Recognised by the letters DICM at byte 128, or, where the preamble is missing, by a first element of group 2 or 8.

Pixels, in order:

1. One frame is decoded by pydicom and its plug-ins; YBR becomes RGB. Of several frames the middle one (the source `dicom:` gives
   them all, one by one).
2. Palettes are looked up. Colour of more than 8 bits is divided by its full range.
3. Grey values: modality LUT or rescale slope and intercept (of the file, or of the frame's functional group), then the window:

   - "auto": the file's own window (VOI LUT sequence, else the first centre and width with its function); without one: CT the preset
     soft-tissue, unsigned 8-bit values as they are, everything else by percentiles;
   - "file": the same; without one the full range of the stored bits;
   - "percentiles": 0.5 % to 99.5 % of the image's values, PixelPaddingValue left out;
   - a preset: for CT (and files of no modality, or in HU); others as "auto";
   - CENTRE/WIDTH: for every grey image. Presets and numbers are cut off as VOILUTFunction LINEAR says (PS3.3 C.11.2.1.2.1).

4. MONOCHROME1 is inverted: bright is bright.

Privacy: no value of a file but its pixels, its size, its colour model and its bits leaves this module (and what `dicom_identity` makes
of ids). Messages of pydicom may quote values: they are never passed on, nor are its logs and warnings (`decode` keeps them quiet).
"""

from __future__ import annotations

import io
import math
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dataprops.imaging.levels import linear_window, percentile_levels, to_levels
from dataprops.imaging.windows import PRESETS, window_numbers
from dataprops.util.budget import need
from dataprops.util.guard import guarded, reason_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

HEAD = 132  # bytes that tell
SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_PIXELS = 178_956_970  # of one frame; Pillow refuses as many
BYTES_OF_VALUE = 32  # at most, of one value while it becomes a grey level: as stored, rescaled and windowed in float64
MAX_INFLATED = 2**29  # bytes of a deflated file
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", *COLOUR)
NEEDS_EXTRA = "this JPEG needs the extra dicom-gpl: pip install 'dataprops[dicom-gpl]'"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META = 4096  # bytes in which a file names its transfer syntax
_JPEG = "1.2.840.10008.1.2.4."  # and a number: the whole JPEG family
_LIBJPEG = tuple(f"{_JPEG}{number}" for number in (50, 51, 57, 70))  # JPEG proper
_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UC UI UL UN UR US UT".split())
IDS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
SIZE_TAGS = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames", "PhotometricInterpretation"]
_DICOM_ROOT = "1.2.840.10008."


class UnreadableDicom(Exception):
    """The reason why a DICOM file gives no image; it quotes no value of the file."""


class Grey(NamedTuple):
    """A decoded frame: pixels (uint8, or float32 on [0, 255]; [height, width] or [height, width, 3]) and its colour model."""

    pixels: np.ndarray
    mode: str


def is_dicom(head: bytes) -> bool:
    """Whether bytes begin like a DICOM file; `HEAD` of them are enough.

    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(bytes([8, 0, 5, 0]) + b"CS" + bytes(20)), is_dicom(bytes(132))
    (True, True, False)
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 12 or head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    if head[4:6] in _VRS:
        return True
    # implicit: an element of group 8 that files begin with, and a short, even length
    length = int.from_bytes(head[4:8], "little")
    return head[:2] == b"\x08\x00" and head[3] == 0 and head[2] <= 0x18 and length % 2 == 0 and length <= 256


def read_header(source: bytes | Path, tags: list[str] | None = None, *, pixels: bool = False) -> Dataset:
    """The elements of a file, given as bytes or by its path; with `tags`, those alone.

    Raises
    ------
    UnreadableDicom
        With the reason.
    OSError
        If the file cannot be opened.
    """
    import pydicom

    if not isinstance(source, bytes):
        with source.open("rb") as file:
            if _DEFLATED in file.read(_META):
                source = source.read_bytes()
    if isinstance(source, bytes):
        _refuse_inflation(source)
    with guarded(damaged, passing=(UnreadableDicom,)), _opened(source) as file:
        return pydicom.dcmread(file, force=True, stop_before_pixels=not pixels, specific_tags=tags if tags else None)


@contextmanager
def _opened(source: bytes | Path) -> Iterator[IO[bytes]]:
    """The file, open."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    else:
        with source.open("rb") as file:
            yield file


def damaged(error: BaseException) -> BaseException:
    """Reason given for a file that pydicom fails on: not its message, which may quote the file."""
    if isinstance(error, OSError) and error.errno is not None:  # of the disk
        return error
    return UnreadableDicom(
        reason_of(error) if isinstance(error, MemoryError) else f"damaged DICOM: {type(error).__name__}"
    )


def _refuse_inflation(data: bytes) -> None:
    """Deflated files are inflated as a whole by pydicom: not before it is known that the result is no bomb."""
    if _DEFLATED not in data[:_META]:
        return
    from pydicom.filereader import read_dataset

    stream = io.BytesIO(data)
    with guarded(damaged):
        stream.seek(132 if data[128:132] == b"DICM" else 0)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if str(meta.get("TransferSyntaxUID", "")).encode() != _DEFLATED:
            return
    inflate, size, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, stream.read()
    try:
        while rest:
            size += len(inflate.decompress(rest, 2**20))
            rest = inflate.unconsumed_tail
            if size > MAX_INFLATED:
                raise UnreadableDicom("inflates to far more than an image (decompression bomb?)")
    except zlib.error:
        raise UnreadableDicom("damaged DICOM: its deflated part cannot be inflated") from None


def _value(header: Dataset, name: str) -> Any:
    """A value, or None: what does not parse is not there."""
    try:
        return header.get(name)
    except Exception:  # noqa: BLE001 - pydicom parses values when they are asked for
        return None


def text_of(header: Dataset, name: str) -> str:
    """A value as text without padding; empty where it is not there."""
    value = _value(header, name)
    return "" if value is None else str(value).strip(" \0")


def whole(header: Dataset, name: str) -> int | None:
    """A value as a whole number; None where it is none."""
    try:
        return int(_value(header, name))
    except (TypeError, ValueError, OverflowError):
        return None


def _number(header: Dataset, name: str) -> float | None:
    """The first of the finite numbers of an element."""
    value = _value(header, name)
    try:
        first = float(value if isinstance(value, int | float | str) else value[0])
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return first if math.isfinite(first) else None


def read_grey(data: bytes, window: str = "auto") -> Grey:
    """The middle frame of a DICOM file, as the rules of this module say.

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
    """The values of the middle frame as they are stored; YBR as RGB. Rescale and window of the frame are lifted into the header."""
    from pydicom.pixels import get_decoder, pixel_array

    held = [name for name in _PIXELS if name in header]
    if not held:
        raise UnreadableDicom(f"a DICOM file without pixels{_kind(header)}")
    size = frame_size(header)
    if size is None:
        raise UnreadableDicom("damaged DICOM: it does not say how large its image is")
    rows, columns, samples, _, frames = size
    if rows * columns * max(1, samples) > MAX_PIXELS:
        raise UnreadableDicom("far more pixels than an image should have (decompression bomb?)")
    need(len(header[held[0]].value or b"") + BYTES_OF_VALUE * rows * columns * max(1, samples))
    syntax = _syntax(header)
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


def _syntax(header: Dataset) -> UID:
    """The transfer syntax; files without one are as they were read."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = header.file_meta
    if "TransferSyntaxUID" not in meta:
        implicit, little = header.original_encoding
        encoding = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        meta.TransferSyntaxUID = encoding if little else ExplicitVRBigEndian
    return meta.TransferSyntaxUID


def _kind(header: Dataset) -> str:
    """What a file is, by the name the standard has for its class."""
    from pydicom.uid import UID, UID_dictionary

    uid = text_of(header, "SOPClassUID")
    return f" ({UID(uid).name})" if uid in UID_dictionary else ""


class FrameSize(NamedTuple):
    """Of the frames of a file; bits are those allocated to a sample."""

    rows: int
    columns: int
    samples: int
    bits: int
    frames: int


def frame_size(header: Dataset) -> FrameSize | None:
    """Size and number of frames; None if the header does not say, or says nonsense."""
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    samples = whole(header, "SamplesPerPixel") or 1
    bits = 32 if "FloatPixelData" in header else 64 if "DoubleFloatPixelData" in header else None
    bits = bits or whole(header, "BitsAllocated") or None
    frames = whole(header, "NumberOfFrames") if _value(header, "NumberOfFrames") not in (None, "") else 1
    if frames is None and "NumberOfFrames" in header:
        return None
    if not rows or not columns or not bits or min(rows, columns, samples, bits) < 1:
        return None
    return FrameSize(rows, columns, samples, bits, max(1, frames or 1))


def frame_bits(header: Dataset, size: FrameSize) -> int:
    """Bits of one frame that is not compressed."""
    subsampled = text_of(header, "PhotometricInterpretation") == "YBR_FULL_422"
    return size.rows * size.columns * (2 if subsampled else size.samples) * size.bits


def plausible_frames(header: Dataset, nbytes: int) -> int:
    """Number of frames of a file of this size; 1 if it claims more than it can hold (reading it then gives the reason)."""
    size = frame_size(header)
    if size is None:
        return 1
    try:
        syntax = _syntax(header)
        least = 8 * 8 if syntax.is_encapsulated else frame_bits(header, size)  # an item's head at least
        room = MAX_INFLATED if syntax.is_deflated else nbytes
    except Exception:  # noqa: BLE001 - a transfer syntax that is none
        return 1
    return size.frames if size.frames * least <= 8 * room else 1


class Frames:
    """A file of several frames, each given as a file of its own; safe for threads (pydicom parses when it is asked)."""

    def __init__(self, data: bytes) -> None:
        self.nbytes = 2 * len(data)  # the bytes, and what pydicom made of them
        self._lock = threading.Lock()
        try:
            self._header, self._error = read_header(data, pixels=True), None
        except UnreadableDicom as reason:
            self._header, self._error = None, str(reason)

    def file(self, frame: int) -> bytes:
        """A DICOM file with this frame (from 0) and what it takes to show it.

        Raises
        ------
        OSError
            With the reason, if there is no such frame or the file is damaged.
        """
        with self._lock:
            if self._header is None:
                raise OSError(0, self._error)
            try:
                with guarded(damaged, passing=(UnreadableDicom,)):
                    return _one_frame(self._header, frame)
            except UnreadableDicom as reason:
                raise OSError(0, str(reason)) from None


def _one_frame(header: Dataset, frame: int) -> bytes:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.pixels.utils import pack_bits, unpack_bits
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

    size, syntax = frame_size(header), _syntax(header)
    name = next((name for name in _PIXELS if name in header), None)
    if size is None or name is None or not 0 <= frame < size.frames:
        raise UnreadableDicom("it has no such frame")
    one = pydicom.Dataset()
    for element in header.group_dataset(0x0028):
        if element.keyword != "NumberOfFrames":  # elements are shared: to set it would change the file's
            one.add(element)
    for keyword in ("SOPClassUID", "Modality", *IDS):
        if keyword in header:
            one.add(header[keyword])
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        if keyword in header:
            one.add(header[keyword])
    lift_frame(one, frame)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        one.pop(keyword, None)
    one.add(pydicom.DataElement("NumberOfFrames", "IS", 1))
    data = header[name].value
    if syntax.is_encapsulated:
        pixels = encapsulate([_encoded_frame(data, header, frame, size.frames)])
    else:
        bits = frame_bits(header, size)
        if len(data) * 8 < bits * (frame + 1):
            raise UnreadableDicom("truncated: its pixels end before this frame")
        first, last = frame * bits // 8, -(-(frame + 1) * bits // 8)
        pixels = data[first:last]
        if bits % 8:  # frames of single bits follow each other within a byte
            offset = frame * bits - 8 * first
            single = unpack_bits(pixels)[offset : offset + bits]
            pixels = pack_bits(single, pad=False)  # pyright: ignore[reportArgumentType]
        pixels += b"\0" * (len(pixels) % 2)
    one.add(pydicom.DataElement(header[name].tag, header[name].VR, pixels))
    if syntax.is_encapsulated:
        one[name].is_undefined_length = True
    one.preamble, one.file_meta = bytes(128), FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    out = io.BytesIO()
    pydicom.dcmwrite(out, one, enforce_file_format=False)
    return out.getvalue()


def _encoded_frame(data: bytes, header: Dataset, frame: int, frames: int) -> bytes:
    from pydicom.encaps import get_frame

    tables = [_value(header, name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    extended = (tables[0], tables[1]) if all(tables) else None
    return get_frame(data, frame, number_of_frames=frames, extended_offsets=extended)


def lift_frame(header: Dataset, frame: int) -> None:
    """Rescale and window of a frame of an enhanced file, from its functional groups into the header."""
    inner = {
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
        "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
    }
    for outer, at in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        groups = _value(header, outer) or []
        if at >= len(groups):
            continue
        for sequence, names in inner.items():
            item = next(iter(_value(groups[at], sequence) or ()), None)
            if item is None:
                continue
            for name in names:
                if name in item:
                    header[name] = item[name]


def _refuse_codestream(data: bytes, header: Dataset, frame: int, frames: int) -> None:
    """A compressed frame may claim another size than the header: refuse the huge before a decoder makes room for it."""
    size = codestream_size(_encoded_frame(data, header, frame, frames))
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise UnreadableDicom(
            "the compressed frame claims far more pixels than an image should have (damaged, or a bomb)"
        )


def codestream_size(stream: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG, JPEG-LS or JPEG 2000 stream claims; None if it does not say."""
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
    """Rule 3: float32 on [0, 255], or uint8 as stored."""
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
        if _value(header, "VOILUTSequence"):
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
    """Which pixels are no part of the picture."""
    value = whole(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = whole(header, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    return (values >= low) & (values <= high)


def _own_window(real: np.ndarray, header: Dataset) -> np.ndarray | None:
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    function = text_of(header, "VOILUTFunction").upper() or "LINEAR"
    if centre is None or width is None or width <= 0:
        return None
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return (255 / (1 + np.exp(-4 * (real.astype(np.float64) - centre) / width))).astype(np.float32)
    if function == "LINEAR_EXACT":
        return to_levels(real, (centre - width / 2, centre + width / 2))
    return linear_window(real, centre, width) if width >= 1 else None
