"""Recognise DICOM files and read their elements, with damage reported as a reason.

Recognised by DICM at byte 128 or, without a preamble, by a first element of group 2 or 8.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from dataprops.util.guard import guarded, reason_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

HEAD = 132  # bytes needed to recognise a file
SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_INFLATED = 2**29  # maximum inflated bytes of a deflated file
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META = 4096  # bytes within which a file names its transfer syntax
_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UC UI UL UN UR US UT".split())
IDS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID")
SIZE_TAGS = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames", "PhotometricInterpretation"]


class UnreadableDicom(Exception):
    """A DICOM file gives no image; the message is the reason, which quotes no value of the file."""


def is_dicom(head: bytes) -> bool:
    """Whether bytes begin like a DICOM file; the first `HEAD` are enough.

    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(bytes([8, 0, 5, 0]) + b"CS" + bytes(20)), is_dicom(bytes(132))
    (True, True, False)
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 12 or head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    if head[4:6] in _VRS:
        return True
    # implicit VR: a usual first element of group 8, with a short, even length
    length = int.from_bytes(head[4:8], "little")
    return head[:2] == b"\x08\x00" and head[3] == 0 and head[2] <= 0x18 and length % 2 == 0 and length <= 256


def read_header(source: bytes | Path, tags: list[str] | None = None, *, pixels: bool = False) -> Dataset:
    """Read the elements of a file given as bytes or path; with `tags`, only those.

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
    """Reason for a file that pydicom fails on, without pydicom's message, which may quote the file."""
    if isinstance(error, OSError) and error.errno is not None:  # an I/O error
        return error
    reason = reason_of(error)
    return UnreadableDicom(reason if isinstance(error, MemoryError) else f"damaged DICOM: {reason}")


def _refuse_inflation(data: bytes) -> None:
    """Check the inflated size of a deflated file before pydicom inflates it as a whole."""
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


def value_of(header: Dataset, name: str) -> Any:
    """A value; None if it is missing or does not parse."""
    try:
        return header.get(name)
    except Exception:  # noqa: BLE001 - pydicom parses values on access
        return None


def text_of(header: Dataset, name: str) -> str:
    """A value as text without padding; "" if missing."""
    value = value_of(header, name)
    return "" if value is None else str(value).strip(" \0")


def whole(header: Dataset, name: str) -> int | None:
    """A value as an integer; None if it is not one."""
    try:
        return int(value_of(header, name))
    except (TypeError, ValueError, OverflowError):
        return None


def number_of(header: Dataset, name: str) -> float | None:
    """The first finite number of an element; None without one."""
    value = value_of(header, name)
    try:
        first = float(value if isinstance(value, int | float | str) else value[0])
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return first if math.isfinite(first) else None


def syntax_of(header: Dataset) -> UID:
    """The transfer syntax; for files without one, the encoding with which they were read."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = header.file_meta
    if "TransferSyntaxUID" not in meta:
        implicit, little = header.original_encoding
        encoding = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        meta.TransferSyntaxUID = encoding if little else ExplicitVRBigEndian
    return meta.TransferSyntaxUID


class FrameSize(NamedTuple):
    """Size of a file's frames; `bits` is BitsAllocated."""

    rows: int
    columns: int
    samples: int
    bits: int
    frames: int


def frame_size(header: Dataset) -> FrameSize | None:
    """Size and number of frames; None if missing from the header or invalid."""
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    samples = whole(header, "SamplesPerPixel") or 1
    bits = 32 if "FloatPixelData" in header else 64 if "DoubleFloatPixelData" in header else None
    bits = bits or whole(header, "BitsAllocated") or None
    frames = whole(header, "NumberOfFrames") if value_of(header, "NumberOfFrames") not in (None, "") else 1
    if frames is None and "NumberOfFrames" in header:
        return None
    if not rows or not columns or not bits or min(rows, columns, samples, bits) < 1:
        return None
    return FrameSize(rows, columns, samples, bits, max(1, frames or 1))


def frame_bits(header: Dataset, size: FrameSize) -> int:
    """Bits of one uncompressed frame."""
    subsampled = text_of(header, "PhotometricInterpretation") == "YBR_FULL_422"
    return size.rows * size.columns * (2 if subsampled else size.samples) * size.bits
