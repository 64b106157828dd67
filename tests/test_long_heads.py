"""Small files that would take minutes - nearly all head, declared and never written, waited for -: a reason, or a count."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dataprops.audit.composition import audit
from dataprops.errors import DatapropsError
from dataprops.imaging.decode import UnreadableImage, decode, frames_of
from dataprops.imaging.formats import MOST_CHUNKS
from dataprops.sources import open_source
from tests.make_images import random_folder

EXIF = b"\xff\xe1\xff\xff" + b"Exif\0\0".ljust(65533, b"x")


def encoded(form: str, **options: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(out, form, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(directories: int, order: str = "<", *, big: bool = False, last: int = 0) -> bytes:
    """A chain of small directories, of which the last leads to the one of that number, or nowhere."""
    entries = ((256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 16), (277, 1), (278, 16), (279, 256))
    count, offset, entry, start = ("Q", "Q", "HHQQ", 16) if big else ("H", "I", "HHII", 8)
    body = struct.pack(order + count, len(entries)) + b"".join(
        struct.pack(order + entry, tag, 4, 1, value) for tag, value in entries
    )
    first, length = start + 256, len(body) + struct.calcsize(offset)
    mark = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    mark += struct.pack(order + "HHQ", 8, 0, first) if big else struct.pack(order + "I", first)
    follow = [first + i * length for i in range(1, directories)] + [first + (last - 1) * length if last else 0]
    return mark + b"\1" * 256 + b"".join(body + struct.pack(order + offset, to) for to in follow)


JPEG, PNG = encoded("JPEG"), encoded("PNG")
LONG = {
    "the same piece again and again": JPEG[:2] + 300 * EXIF + JPEG[2:],
    "very small pieces": JPEG[:2] + 200_000 * b"\xff\xfe\0\2" + JPEG[2:],
    "padding": JPEG[:2] + b"\xff" * 2**21 + JPEG[2:],
    "what looks like pixels within a piece": JPEG[:2]
    + b"\xff\xd0\xff\xe1\x10\x00"
    + (b"\xff\xda\0\x0c" * 1024)[:4094]
    + 300 * EXIF
    + JPEG[2:],
    "pieces of nobody's before the pixels": PNG[:33] + MOST_CHUNKS * chunk(b"prVt") + PNG[33:],
    "pieces of nobody's behind the pixels": PNG[:-12] + MOST_CHUNKS * chunk(b"prVt") + PNG[-12:],
}


@pytest.mark.parametrize("what", LONG)
def test_an_image_that_is_nearly_all_head_is_refused(what: str) -> None:
    with pytest.raises(UnreadableImage, match=r"damaged: more than (16 MiB before the pixels|1,000,000 pieces)"):
        decode(LONG[what])


def test_heads_that_cameras_and_programs_write_are_read() -> None:
    profile = b"".join(
        b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0" + bytes([part, 255]) + bytes(65519) for part in range(1, 256)
    )
    wanted = decode(JPEG).pixels
    for data in (JPEG[:2] + profile + JPEG[2:], JPEG[:2] + 3 * EXIF + JPEG[2:], JPEG[:2] + b"\xff" * 99 + JPEG[2:]):
        np.testing.assert_array_equal(decode(data).pixels, wanted)
    large = PNG[:33] + chunk(b"prVt", bytes(12 * MOST_CHUNKS)) + 100 * chunk(b"prVt") + PNG[33:]
    np.testing.assert_array_equal(decode(large).pixels, decode(PNG).pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_images_of_a_tiff_file_are_counted_as_far_as_they_go(order: str, big: bool) -> None:
    assert frames_of(tiff(1, order, big=big)) == 1
    assert frames_of(tiff(300, order, big=big)) == 300
    assert frames_of(tiff(3, order, big=big, last=2)) == 3  # in a circle
    assert frames_of(tiff(3, order, big=big)[:-30]) == 3  # the third is cut
    if not big or order == "<":  # what Pillow can open
        with Image.open(io.BytesIO(tiff(5, order, big=big))) as image:
            assert image.n_frames == 5


def test_a_tiff_file_of_half_a_million_images_is_counted() -> None:
    assert frames_of(tiff(500_000)) == 500_000


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="the log of the kernel cannot be read here")
def test_a_file_without_a_size_that_would_be_waited_for_is_empty(tmp_path: Path) -> None:
    random_folder(tmp_path / "set", {"a": 12, "b": 12})
    for name in ("log.png", "log", "labels.csv"):
        (tmp_path / "set" / name).symlink_to("/proc/kmsg")
    summary = audit(tmp_path / "set", store=str(tmp_path / "store"), size=16, k=5, probe=False)
    assert summary["n_unreadable"] == 1


def test_a_name_with_a_nul_character_is_told_as_that(tmp_path: Path) -> None:
    random_folder(tmp_path, {"a": 12, "b": 12})
    rows = [f"{label}/{number:03d}.png,{label}" for label in "ab" for number in range(12)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows, "a\0b.png,a"]))
    summary = audit(tmp_path / "m.csv", store=str(tmp_path / "store"), size=16, k=5, probe=False)
    assert summary["n_unreadable"] == 1
    folder = next((tmp_path / "store/results").rglob("findings.parquet"))
    assert any("no file has a name with a NUL character" in str(text) for text in pd.read_parquet(folder)["detail"])


@pytest.mark.parametrize("written", [0, 1])
def test_hdf5_that_declares_images_that_were_never_written_is_refused(tmp_path: Path, written: int) -> None:
    path = tmp_path / "set.h5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (2**20, 512, 512), "u1", chunks=(1, 64, 64), compression="gzip")
        images[:written] = np.ones((written, 512, 512))
        file["labels"] = np.arange(2**20) % 2
    with pytest.raises(DatapropsError, match=r"images declares 274,877,906,944 bytes.*never written"):
        open_source(str(path)).scan()


def test_hdf5_of_zeros_that_are_packed_as_far_as_they_can_be_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    with h5py.File(path, "w") as file:
        chunks = {"chunks": (1, 1024, 1024), "compression": "gzip", "compression_opts": 9}
        file.create_dataset("images", data=np.zeros((20, 1024, 1024), np.uint8), **chunks)
        file["labels"] = np.arange(20) % 2
    assert len(open_source(str(path)).scan()) == 20
