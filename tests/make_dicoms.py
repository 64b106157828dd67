"""Small DICOM files, written by pydicom."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"


def dicom_bytes(pixels: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """A DICOM file with these pixels; an element of None is left out.

    Parameters
    ----------
    pixels : integers [rows, columns], [frames, rows, columns] or [rows, columns, 3]
    """
    colour = pixels.shape[-1] == 3
    *frames, rows, columns = pixels.shape[:-1] if colour else pixels.shape
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.3",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "Modality": "CT",
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "NumberOfFrames": frames[0] if frames else None,
        "PlanarConfiguration": 0 if colour else None,
        "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2),
        **elements,
    }
    data = pydicom.Dataset()
    for name, value in values.items():
        if value is not None:
            setattr(data, name, value)
    data.preamble, data.file_meta = bytes(128), FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    return out.getvalue()
