"""Recognise image files, by their first bytes and by unambiguous extensions.

All formats that Pillow decodes are read, except those that run another program (EPS, WMF) or that it only identifies (MPEG, HDF5,
GRIB, BUFR). A file with a well-known extension counts as an image, readable or not; others are decided by their first bytes.
"""

from __future__ import annotations

import ctypes
import functools
import io
import posixpath
import re
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dataprops.imaging import dicom_header
from dataprops.util.names import ending_of

LONGEST_HEAD = 2**24  # maximum bytes before the pixels of a JPEG; colour profiles are smaller
MOST_CHUNKS = 10**6  # maximum chunks of a PNG, or small blocks of a GIF
LITTLE = 128  # bytes below which a GIF block is small; encoders write blocks of 255
_JPEG_MARKER = re.compile(rb"\xff+([^\xff\x00])")
_BARE = frozenset(
    bytes([code]) for code in (0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE))
)  # no length follows, to Pillow
HEAD = 4096  # bytes needed to recognise a format (Photo CD has its signature at 2 KiB)
# in the order in which they are tried; the last two have no signature; MPO is opened as JPEG
FORMATS = (
    *("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF", "DIB", "ICO", "CUR", "PSD", "QOI", "DDS"),
    *("SGI", "SUN", "PCX", "DCX", "ICNS", "FITS", "FLI", "IM", "MSP", "PIXAR", "PCD", "XBM", "XPM", "BLP", "FTEX"),
    *("GBR", "MCIDAS", "XVTHUMB", "IMT", "SPIDER", "TGA"),
)
ENDINGS = {  # extensions by Pillow's format names
    "PNG": ("png", "apng"),
    "JPEG": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "BMP": ("bmp", "dib"),
    "TIFF": ("tif", "tiff"),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "JPEG2000": ("jp2", "j2k", "j2c", "jpc", "jpf", "jpx"),
    "AVIF": ("avif",),
    "TGA": ("tga",),
}
SURE = frozenset(f".{ending}" for endings in ENDINGS.values() for ending in endings) | frozenset(dicom_header.SUFFIXES)
# extensions that other file types use too, decided by content
RARE = frozenset(
    f".{ending}"
    for ending in (
        *("pcx", "dcx", "sgi", "rgb", "rgba", "bw", "ras", "xbm", "xpm", "psd", "ico", "cur", "icns", "qoi", "dds"),
        *("im", "fits", "fit", "msp", "pxr", "blp", "ftc", "ftu", "gbr", "pcd", "fli", "flc", "vda", "icb", "vst"),
        *("pfm", "spider", "spi", "avifs", "imt"),
    )
)
_MARK = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|II[*+]\x00|MM\x00[*+]|RIFF....WEBP|P[1-6][ \t\r\n]+[#\d]|P[fFy][ \t\r\n]"
    rb"|\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  |....ftypavi[fs]|8BPS\x00\x01|BLP[12]|DDS |qoif|\x59\xa6\x6a\x95"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00|SIMPLE  = +T|icns|\xb1\x68\xde\x3a|P7 332"
    rb"|\x00\x00[\x01\x02]\x00[\x01-\x40]\x00|.{4}[\x11\x12]\xaf.{8}[\x00\x03]\x00|\x00{7}\x04",
    re.DOTALL,
)


def is_image(head: bytes, name: str = "") -> bool:
    """Whether a file is an image by its first bytes, or by its name for formats without a signature.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes.
    """
    if dicom_header.is_dicom(head[: dicom_header.HEAD]) and posixpath.basename(name).upper() != "DICOMDIR":
        return True
    if _MARK.match(head):
        return True
    return ending_of(name) in RARE and _opens(head)


def _opens(head: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(head), formats=FORMATS):
            return True
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return False
    except Exception:  # noqa: BLE001 - a truncated file of a misidentified format
        return True


def opened(data: bytes) -> Image.Image:
    """Open an image file without decoding its pixels. Limits the metadata before them, which Pillow reads in quadratic time.

    Raises
    ------
    SyntaxError
        If there is far more metadata than any camera writes.
    """
    if data[:3] == b"\xff\xd8\xff" and _begin_of_pixels(data) > LONGEST_HEAD:
        raise SyntaxError(f"more than {LONGEST_HEAD >> 20} MiB before the pixels")
    if data[:4] == b"\x89PNG" and len(data) > 12 * MOST_CHUNKS and _chunks(data) > MOST_CHUNKS:
        raise SyntaxError(f"more than {MOST_CHUNKS:,} pieces")
    if data[:4] == b"GIF8" and len(data) > MOST_CHUNKS and _pieces(data) > MOST_CHUNKS:
        raise SyntaxError(f"more than {MOST_CHUNKS:,} small pieces")
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _begin_of_pixels(data: bytes) -> int:
    """Bytes before the first scan of a JPEG file, up to the limit; small segments count as a kilobyte."""
    at = counted = 2
    while counted <= LONGEST_HEAD and (marker := _JPEG_MARKER.search(data, at)) is not None and marker[1] != b"\xda":
        end = marker.end()
        if marker[1] not in _BARE:
            end += int.from_bytes(data[end : end + 2], "big")
        counted += max(1024, end - at) + 16 * len(marker[0])  # padding is read byte by byte
        at = end
    return counted


def _chunks(data: bytes) -> int:
    """Number of chunks of a PNG file, up to the limit."""
    at, count = 8, 0
    while at < len(data) and count <= MOST_CHUNKS:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        count += 1
    return count


def _pieces(data: bytes) -> int:
    """Number of small blocks of a GIF file, up to the limit; Pillow processes each block, and every byte between them."""
    count = 0
    try:
        at = 13 + _table(data[10])
        while count <= MOST_CHUNKS and (mark := data[at]) != 0x3B:
            at, count = at + 1, count + 1
            if mark == 0x2C:  # an image: its place, its colours, the size of its codes
                at += 10 + _table(data[at + 8])
            elif mark == 0x21:  # an extension, of one kind
                at += 1
            else:
                continue
            while (size := data[at]) and count <= MOST_CHUNKS:
                at, count = at + 1 + size, count + (size < LITTLE)
            at += 1
    except IndexError:  # it ends early
        pass
    return count


def _table(flags: int) -> int:
    """Bytes of a GIF colour table."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def plain_depth(data: bytes) -> bool:
    """Whether a file has at most 8 bits per sample for certain, by its first bytes, so that it need not be opened.

    >>> plain_depth(b"\\xff\\xd8\\xff"), plain_depth(b"II*\\0")
    (True, False)
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return len(data) > 25 and data[24] <= 8
    return data[:3] == b"\xff\xd8\xff" or data[:4] in (b"GIF8", b"RIFF") or data[:2] == b"BM"


@functools.cache
def silence_libtiff() -> None:
    """Stop libtiff from writing warnings to the terminal; Pillow reports why a file cannot be read."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"\s(/\S*libtiff\S*\.so\S*)$", maps, re.MULTILINE)
        library = ctypes.CDLL(found[1]) if found else None
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = getattr(library, name, None)
            if handler is not None:
                handler.restype, handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
                handler(None)
    except OSError:  # another system: it may write
        pass
