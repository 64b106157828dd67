"""Volumes (NIfTI, Analyze) and their slices.

A volume is float32 [x, y, z] in the closest canonical orientation (RAS+): x runs from the patient's left to right, y from back to
front, z from feet to head. Grey levels come from percentiles of the WHOLE volume, so that its slices are comparable. Slices are
displayed with the head, or the front, up; x, or y in sagittal slices, runs to the right.

Volumes are cached, up to `CACHE_BYTES`: slices are requested one at a time, from several threads, and twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataprops.imaging.decode import RawImage, UnreadableImage, damage, quiet
from dataprops.imaging.levels import percentile_levels, to_levels
from dataprops.util.budget import need
from dataprops.util.cache import Cache
from dataprops.util.guard import guarded

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
MAX_VOXELS = 2**29  # per volume: 2 GiB in float32
CACHE_BYTES = 2**30
BYTES_OF_VOXEL = 24  # peak while reading: as stored, float64, float32, reoriented


class Volume(NamedTuple):
    """A volume in memory.

    Attributes
    ----------
    voxels : float32 [x, y, z]
        Rescaled by the header, in canonical orientation; NaN and infinite values are replaced by the minimum finite value.
    spacing : tuple of 3 floats
        Voxel size along x, y, z, mm.
    levels : tuple of 2 floats
        `percentile_levels` of the voxels.
    calibrated : tuple of 2 floats or None
        cal_min and cal_max of the header: the intended display range.
    """

    voxels: np.ndarray
    spacing: tuple[float, float, float]
    levels: tuple[float, float]
    calibrated: tuple[float, float] | None


def is_volume(name: str) -> bool:
    """Whether a file name is that of a volume; true for both files of a pair .hdr + .img."""
    return name.lower().endswith(SUFFIXES)


def load_volume(path: str | Path, time: int = 0) -> np.ndarray:
    """Voxels of `open_volume`: float32 [x, y, z], canonical; read-only."""
    return open_volume(path, time).voxels


def open_volume(path: str | Path, time: int = 0) -> Volume:
    """Read a volume, or get it from the cache. Thread-safe.

    Parameters
    ----------
    path : str or Path
        .nii, .nii.gz, or either file of a pair .hdr + .img.
    time : int
        Index of the volume in a 4D file (time point, echo or channel); further dimensions are flattened.

    Raises
    ------
    UnreadableImage
        With the reason: not a volume, corrupt, too large, or no such time index.
    OSError
        If the file cannot be opened.
    """
    file = Path(path)
    stat = file.stat()
    key = (str(file), time, stat.st_size, stat.st_mtime_ns)
    return _held.get(key, lambda: _read(file, time))


_held: Cache[Volume] = Cache(CACHE_BYTES, lambda volume: volume.voxels.nbytes)


def _read(file: Path, time: int) -> Volume:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.orientations import apply_orientation, io_orientation

    try:
        with quiet(), guarded(damage, passing=(ImageFileError,)):
            image = nibabel.load(file)
    except ImageFileError:
        raise UnreadableImage("no volume in a supported format (NIfTI, Analyze)") from None
    shape = tuple(int(side) for side in image.shape)
    if not isinstance(image, nibabel.spatialimages.SpatialImage) or sum(side > 1 for side in shape) < 2:
        raise UnreadableImage(f"not a volume of voxels ({type(image).__name__}, shape {_shape(shape)})")
    if len(shape) < 3:
        shape = (*shape, 1)
    if np.prod([float(side) for side in shape[:3]]) > MAX_VOXELS:
        raise UnreadableImage(f"far more voxels than a volume should have ({_shape(shape)})")
    need(BYTES_OF_VOXEL * int(np.prod([float(side) for side in shape[:3]])))
    if image.get_data_dtype().names is not None or image.get_data_dtype().kind == "c":
        raise UnreadableImage("colour or complex voxels are not supported")
    times = int(np.prod(shape[3:]))
    if not 0 <= time < times:
        raise UnreadableImage(f"it has no volume {time} (it holds {times})")
    at = np.unravel_index(time, shape[3:]) if len(shape) > 3 else ()
    with np.errstate(all="ignore"), guarded(damage):  # truncated, invalid gzip, unknown dtype
        values = np.asarray(image.dataobj[(..., *(int(i) for i in at))], np.float32).reshape(shape[:3])
        orientation = io_orientation(image.affine)
    finite = np.isfinite(values)
    if not finite.any():
        raise UnreadableImage("holds no finite number")
    if not finite.all():
        values = np.where(finite, values, values[finite].min())
    spacing = np.abs(np.resize(image.header.get_zooms()[:3], 3)).astype(float)
    if np.isfinite(orientation).all():  # otherwise an axis has no direction: keep as stored
        values = apply_orientation(values, orientation)
        spacing = spacing[np.argsort(orientation[:, 0])]
    values = np.ascontiguousarray(values, np.float32)
    values.flags.writeable = False
    low, high = (float(image.header.get(name, 0) or 0) for name in ("cal_min", "cal_max"))
    return Volume(values, tuple(spacing.tolist()), percentile_levels(values), (low, high) if high > low else None)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def plane(volume: np.ndarray, axis: str | int, index: int) -> np.ndarray:
    """A slice in display orientation: [height, width], head up (front up in axial slices).

    Parameters
    ----------
    axis : str or int
        A name of `AXES`, or 0, 1, 2 for x, y, z.
    """
    return np.rot90(np.take(volume, index, axis=AXES[axis] if isinstance(axis, str) else axis))


def slice_image(
    volume: np.ndarray,
    axis: str | int,
    index: int,
    levels: tuple[float, float] | None = None,
) -> RawImage:
    """A slice of a volume as an image.

    Parameters
    ----------
    volume : float32 [x, y, z]
        Canonical, as returned by `load_volume`.
    axis : str or int
        "axial", "coronal", "sagittal", or 0, 1, 2 for x, y, z.
    index : int
    levels : tuple of 2 floats, optional
        Values mapped to 0 and 255; default: `percentile_levels` of the volume. Pass them when cutting many slices.
    """
    pixels = to_levels(plane(volume, axis, index), percentile_levels(volume) if levels is None else levels)
    return RawImage(np.ascontiguousarray(pixels), "NIFTI", "F", pixels.shape[1], pixels.shape[0])
