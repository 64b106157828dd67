"""The files that pydicom and nibabel test themselves with, and every format that Pillow writes: read, or refused with a reason."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image, features

from dataprops.errors import DatapropsError
from dataprops.imaging import dicom_header
from dataprops.imaging.decode import UnreadableImage, decode, quiet
from dataprops.imaging.formats import FORMATS, SURE, is_image
from dataprops.sources import SourceOptions, open_source

LARGEST = 2**22  # bytes of a file that is tried
DICOMS = sorted(
    path
    for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*")
    if path.is_file() and path.suffix not in (".py", ".json", ".txt", ".md") and path.stat().st_size <= LARGEST
)
VOLUMES = sorted(
    path
    for path in (Path(nibabel.__file__).parent / "tests" / "data").glob("*")
    if path.name.endswith((".nii", ".nii.gz", ".hdr"))
)
# Pillow writes them, and an audit leaves them to others: documents and moving pictures, and what only names a format
NO_PICTURES = frozenset({"PDF", "EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "PALM"})


def pixels_that_pydicom_gives(path: Path) -> bool:
    try:
        with quiet():
            return pydicom.dcmread(path).pixel_array.size > 0
    except Exception:  # noqa: BLE001 - whatever it raises: it gives none
        return False


@pytest.mark.skipif(len(DICOMS) < 40, reason="this pydicom came without its test files")
def test_pydicoms_own_files_are_read_or_refused_with_a_reason() -> None:
    read, refused, unlike = 0, [], []
    for path in DICOMS:
        data = path.read_bytes()
        if not dicom_header.is_dicom(data[: dicom_header.HEAD]):
            continue
        try:
            decode(data)
            read += 1
        except UnreadableImage as reason:
            assert str(reason)
            assert "\n" not in str(reason)
            refused.append(path.name)
            if pixels_that_pydicom_gives(path):
                unlike.append((path.name, str(reason)))
    assert read > 30, refused
    # what pydicom gives pixels for and we do not is no picture: float maps, single bits, planes in a colour model of their own
    assert len(unlike) <= 0.15 * read, unlike


@pytest.mark.skipif(len(VOLUMES) < 5, reason="this nibabel came without its test files")
def test_nibabels_own_volumes_are_read_or_refused_with_a_reason(tmp_path: Path) -> None:
    for path in VOLUMES:
        if path.stat().st_size > LARGEST:
            continue
        folder = tmp_path / path.name
        folder.mkdir()
        for part in {path, path.with_suffix(".img")}:
            if part.is_file():
                (folder / part.name).write_bytes(part.read_bytes())
        try:
            source = open_source(f"nifti:{folder}", SourceOptions())
            table = source.scan()
        except DatapropsError as reason:
            assert str(folder) in str(reason)
            continue
        for key in table["key"][:2]:
            try:
                assert np.isfinite(source.read(key).pixels).all()
            except (OSError, UnreadableImage) as reason:
                assert str(reason)


def written() -> list[tuple[str, str, bytes]]:
    """Every format that Pillow writes, in every mode that it takes: format, mode, file."""
    Image.init()
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8))
    out = []
    for name in sorted(Image.SAVE):
        # icons of all sizes take a second each
        for mode in ("RGB",) if name == "ICNS" else ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"):
            image = (
                Image.fromarray(np.asarray(colour)[..., 0].astype(np.uint16) * np.uint16(200))
                if mode == "I;16"
                else colour.convert(mode)
            )
            file = io.BytesIO()
            try:
                image.save(file, name)
            except Exception:  # noqa: BLE001 - the format has no such mode
                continue
            out.append((name, mode, file.getvalue()))
    return out


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_format_that_pillow_writes_is_read_and_known_by_its_content() -> None:
    seen: set[str] = set()
    by_name = {
        "TGA": ".tga",
        "DIB": ".dib",
        "PCX": ".pcx",
        "SGI": ".sgi",
        "ICO": ".ico",
        "MSP": ".msp",
        "XBM": ".xbm",
        "SPIDER": ".spi",
        "IM": ".im",
    }
    for name, mode, data in written():
        if name in NO_PICTURES:
            assert name not in FORMATS
            continue
        seen.add(name)
        raw = decode(data)
        assert raw.pixels.shape[:2] in ((24, 24), (16, 16), (1024, 1024), (512, 512), (256, 256), (128, 128)), (
            name,
            mode,
        )
        assert raw.pixels.std() > 1, (name, mode)  # a picture, and not a frame without one
        assert name in by_name or is_image(data[:4096], "x"), (name, mode)
        ending = by_name.get(name, ".dat")
        assert ending in SURE or is_image(data[:4096], f"x{ending}"), (name, mode)
    wanted = {
        "PNG",
        "JPEG",
        "GIF",
        "TIFF",
        "BMP",
        "PPM",
        "TGA",
        "ICO",
        "PCX",
        "SGI",
        "DDS",
        "IM",
        "MSP",
        "SPIDER",
        "XBM",
        "MPO",
    }
    wanted |= {
        name
        for name, feature in (("WEBP", "webp"), ("JPEG2000", "jpg_2000"), ("AVIF", "avif"))
        if features.check(feature)
    }
    assert wanted <= seen
