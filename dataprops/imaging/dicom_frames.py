"""Multi-frame DICOM files, split into single-frame files."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

from dataprops.imaging.dicom_header import (
    IDS,
    MAX_INFLATED,
    UnreadableDicom,
    damaged,
    frame_bits,
    frame_size,
    read_header,
    syntax_of,
    value_of,
)
from dataprops.util.guard import guarded

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def plausible_frames(header: Dataset, nbytes: int) -> int:
    """Number of frames of a file of this size; 1 if it declares more than fit (reading it then gives the reason)."""
    size = frame_size(header)
    if size is None:
        return 1
    try:
        syntax = syntax_of(header)
        least = 8 * 8 if syntax.is_encapsulated else frame_bits(header, size)  # at least an item header
        room = MAX_INFLATED if syntax.is_deflated else nbytes
    except Exception:  # noqa: BLE001 - an invalid transfer syntax
        return 1
    return size.frames if size.frames * least <= 8 * room else 1


class Frames:
    """A multi-frame file that gives each frame as a single-frame file; thread-safe, although pydicom parses lazily."""

    def __init__(self, data: bytes) -> None:
        self.nbytes = 2 * len(data)  # the bytes, and pydicom's elements
        self._lock = threading.Lock()
        try:
            self._header, self._error = read_header(data, pixels=True), None
        except UnreadableDicom as reason:
            self._header, self._error = None, str(reason)

    def file(self, frame: int) -> bytes:
        """A DICOM file with this frame (from 0) and the elements needed to display it.

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

    size, syntax = frame_size(header), syntax_of(header)
    name = next((name for name in PIXELS if name in header), None)
    if size is None or name is None or not 0 <= frame < size.frames:
        raise UnreadableDicom("it has no such frame")
    one = pydicom.Dataset()
    for element in header.group_dataset(0x0028):
        if element.keyword != "NumberOfFrames":  # elements are shared with the file's dataset
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
        pixels = encapsulate([encoded_frame(data, header, frame, size.frames)])
    else:
        bits = frame_bits(header, size)
        if len(data) * 8 < bits * (frame + 1):
            raise UnreadableDicom("truncated: its pixels end before this frame")
        first, last = frame * bits // 8, -(-(frame + 1) * bits // 8)
        pixels = data[first:last]
        if bits % 8:  # 1-bit frames are packed without byte alignment
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


def encoded_frame(data: bytes, header: Dataset, frame: int, frames: int) -> bytes:
    """The compressed bytes of one frame."""
    from pydicom.encaps import get_frame

    tables = [value_of(header, name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    extended = (tables[0], tables[1]) if all(tables) else None
    return get_frame(data, frame, number_of_frames=frames, extended_offsets=extended)


def lift_frame(header: Dataset, frame: int) -> None:
    """Copy a frame's rescale and window from the functional groups of an enhanced file to the header."""
    inner = {
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
        "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
    }
    for outer, at in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        groups = value_of(header, outer) or []
        if at >= len(groups):
            continue
        for sequence, names in inner.items():
            item = next(iter(value_of(groups[at], sequence) or ()), None)
            if item is None:
                continue
            for name in names:
                if name in item:
                    header[name] = item[name]
