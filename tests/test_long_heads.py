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
from dataprops.imaging.decode import RawImage, UnreadableImage, decode, frames_of
from dataprops.imaging.formats import MOST_CHUNKS
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.containers import hdf5
from dataprops.util.budget import bounded
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
    assert any("its name contains a NUL character" in str(text) for text in pd.read_parquet(folder)["detail"])


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


class Counted:
    """A reader of a local file that counts the bytes read of it: of a packed chunk all are read each time it is inflated."""

    def __init__(self, path: str) -> None:
        self.path, self.bytes = path, 0

    def file(self, buffer: int) -> io.BufferedReader:
        counted = self

        class Raw(io.FileIO):
            def readinto(self, into) -> int | None:
                read = super().readinto(into)
                counted.bytes += read or 0
                return read

        return io.BufferedReader(Raw(self.path), 4096)


def chunked(path: Path, chunks: tuple[int, int, int], *, n: int = 60) -> np.ndarray:
    """A file of images in packed chunks of these sides; the images."""
    images = np.random.default_rng(0).integers(0, 256, (n, 64, 64), np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=chunks, compression="gzip")
        file["labels"] = np.arange(n) % 2
    return images


@pytest.mark.parametrize("chunks", [(60, 64, 64), (20, 64, 64), (30, 8, 16), (7, 64, 64)])
def test_a_packed_chunk_of_many_images_is_inflated_once_in_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, int, int]
) -> None:
    path = tmp_path / "set.h5"
    images = chunked(path, chunks)
    reader = Counted(str(path))
    monkeypatch.setattr(hdf5, "open_reader", lambda location, access: reader)
    source = open_source(str(path))
    keys = source.scan()["key"].tolist()
    assert keys == [f"images/{row:02d}" for row in range(60)]
    mixed = np.random.default_rng(1).permutation(60)
    asked = [keys[i] for i in mixed]
    order = source.order(asked)
    assert order is not None
    in_order = [asked[i] for i in order]
    assert in_order == keys
    reader.bytes = 0
    for batch, held in zip(
        (in_order[:25], in_order[25:]), source.read_ahead([in_order[:25], in_order[25:]]), strict=True
    ):
        for key in batch:
            raw = held.read(key)
            assert isinstance(raw, RawImage)
            np.testing.assert_array_equal(raw.pixels, images[int(key.rpartition("/")[2])])
    assert reader.bytes < 1.5 * path.stat().st_size
    summary = audit(path, store=str(tmp_path / "store"), size=16, k=5, probe=False)
    assert (summary["n_images"], summary["n_unreadable"]) == (60, 0)


def test_images_of_chunks_of_their_own_are_read_in_any_order(tmp_path: Path) -> None:
    chunked(tmp_path / "own.h5", (1, 64, 64))
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["images"] = np.zeros((20, 8, 8), np.uint8)
    for name in ("own.h5", "plain.h5"):
        source = open_source(str(tmp_path / name), SourceOptions(rules=("labels=none",)) if name[0] == "p" else None)
        assert source.order(["images/03", "images/01"]) is None


def test_chunks_that_are_too_large_to_be_inflated_are_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.h5"
    chunked(path, (60, 32, 64))
    monkeypatch.setattr(hdf5, "CHUNK", 60 * 64 * 64)
    assert len(open_source(str(path)).scan()) == 60
    monkeypatch.setattr(hdf5, "CHUNK", 60 * 64 * 64 - 1)
    with pytest.raises(DatapropsError, match=r"set\.h5: each image lies in packed chunks of .*chunks=\(1, 64, 64\)$"):
        open_source(str(path)).scan()
    monkeypatch.setattr(hdf5, "CHUNK", 2**30)
    with bounded(60 * 64 * 64 - 1), pytest.raises(DatapropsError, match=r"set\.h5 takes more memory than .*--memory$"):
        open_source(str(path)).scan()


def gif(*, extension: bytes = b"", between: bytes = b"", behind: bytes = b"") -> bytes:
    """A GIF file with more before its image, or behind it."""
    data = encoded("GIF")
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:at] + extension + between + data[at:-1] + behind + data[-1:]


LITTLE = {
    "empty remarks": gif(extension=MOST_CHUNKS * b"!\xfe\0"),
    "one remark in pieces of a byte": gif(extension=b"!\xfe" + MOST_CHUNKS * b"\x01x" + b"\0"),
    "bytes between the pieces": gif(between=MOST_CHUNKS * b"\0"),
    "empty remarks behind the image": gif(behind=MOST_CHUNKS * b"!\xfe\0"),
}


@pytest.mark.parametrize("what", LITTLE)
def test_a_gif_of_empty_pieces_is_refused(what: str) -> None:
    with pytest.raises(UnreadableImage, match=r"damaged: more than 1,000,000 small pieces"):
        decode(LITTLE[what])
    assert frames_of(LITTLE[what]) == 1


def test_a_long_gif_of_pieces_as_encoders_write_them_is_read() -> None:
    piece = b"\xff" + bytes(255)
    long = gif(extension=b"!\xfe" + 5000 * piece + b"\0", behind=b"!\xfe" + 5000 * piece + b"\0")
    assert len(long) > 2 * MOST_CHUNKS
    np.testing.assert_array_equal(decode(long).pixels, decode(encoded("GIF")).pixels)
