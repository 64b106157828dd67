"""Limits in bytes: projected before memory is taken, counted over threads, and never exceeded."""

from __future__ import annotations

import gzip
import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from dataprops.audit.composition import audit
from dataprops.errors import DatapropsError
from dataprops.imaging.decode import PASSING, Preprocess, UnreadableImage, canonical, decode, decode_values, projected
from dataprops.sources import open_source
from dataprops.store import hashing
from dataprops.util import budget
from dataprops.util.budget import OverBudget, bounded, ledger, need, one_image, read_whole
from dataprops.util.memory import measured_memory
from tests.make_dicoms import dicom_bytes
from tests.make_images import random_folder

SIDES = (3000, 2000)
KINDS = {
    "1": "PNG",
    "L": "PNG",
    "P": "PNG",
    "RGB": "JPEG",
    "RGBA": "PNG",
    "LA": "PNG",
    "CMYK": "JPEG",
    "I;16": "PNG",
    "F": "TIFF",
}


def encoded(mode: str, size: tuple[int, int] = SIDES) -> bytes:
    image = Image.new("L" if mode == "I;16" else mode, size)
    if mode == "I;16":
        image = Image.fromarray(np.zeros(size[::-1], np.uint16))
    out = io.BytesIO()
    image.save(out, KINDS[mode])
    return out.getvalue()


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_decoding_takes_no_more_than_is_projected(mode, channels):
    data = encoded(mode)
    decode(encoded(mode, (8, 8)))
    with Image.open(io.BytesIO(data)) as image:
        wanted = projected(image.mode, *image.size, len(data))
    with measured_memory() as peak:
        canonical(decode(data), Preprocess(64, channels))
    assert peak.bytes < wanted
    assert wanted < 60 * SIDES[0] * SIDES[1]  # and what is projected is not out of all proportion


@pytest.mark.parametrize("bands", [3, 4])
def test_colour_of_sixteen_bits_takes_no_more_than_is_projected(bands):
    from tests.test_kinds import png

    data = png(np.zeros((1000, 1500, bands), np.uint16))
    decode(png(np.zeros((4, 4, bands), np.uint16)))
    wanted = projected("RGB;16" if bands == 3 else "RGBA;16", 1500, 1000, len(data))
    with measured_memory() as peak:
        canonical(decode(data, "auto", "integers=0:4095"), Preprocess(64, 3))
    assert peak.bytes < wanted < 70 * 1000 * 1500
    with bounded(wanted - 1), one_image(), pytest.raises(UnreadableImage, match="--memory"):
        decode(data)


def test_a_tile_that_is_larger_than_its_image_counts():
    from tests.test_kinds import tiff

    honest = tiff(np.zeros((8, 8), np.uint16), photometric=1)
    at = honest.index(struct.pack("<HHIHH", 277, 3, 1, 1, 0))  # samples of a pixel: 1, as is the default
    sides = struct.pack("<HHII", 322, 4, 1, 60_000), struct.pack("<HHII", 323, 4, 1, 60_000)
    rows = honest.index(struct.pack("<HHIHH", 278, 3, 1, 8, 0))
    # a tile's width and height in place of two tags, and its place for that of the strip
    data = honest[:at] + sides[0] + honest[at + 12 : rows] + sides[1] + honest[rows + 12 :]
    with bounded(2**28), one_image(), pytest.raises(UnreadableImage, match="takes more memory"):
        decode(data)
    with bounded(2**28), one_image():
        decode(honest)


def test_an_image_that_takes_too_much_is_a_reason_that_may_pass():
    for data in (encoded("RGBA"), dicom_bytes(np.zeros((2000, 2000), np.uint16))):
        with bounded(2**26), one_image(), pytest.raises(UnreadableImage) as caught:
            decode(data)
        assert str(caught.value).startswith(PASSING)
        assert "of 64.0 MiB" in str(caught.value)
        with bounded(2**30), one_image():
            decode(data)


def test_threads_together_stay_within_the_limit_and_give_everything_back():
    most, now, lock = 0, 0, threading.Lock()

    def work():
        nonlocal most, now
        with bounded(100):
            for _ in range(5):
                with one_image():
                    need(10)
                    need(40)
                    with lock:
                        now += 40
                        most = max(most, now)
                    time.sleep(0.002)
                    with lock:
                        now -= 40

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 80
    assert ledger.held == 0


def test_one_that_needs_all_there_is_still_has_its_turn():
    with bounded(100), one_image():
        need(100)
        with pytest.raises(OverBudget, match="101 bytes of 100 bytes"):
            need(101)
    assert ledger.held == 0


def test_what_an_image_claimed_is_given_back_when_it_fails():
    with bounded(100), pytest.raises(ValueError, match="no"), one_image():
        need(50)
        raise ValueError("no")
    assert ledger.held == 0


def test_a_file_with_holes_is_not_read(tmp_path):
    random_folder(tmp_path / "scans", {"cat": 6, "dog": 6})
    with (tmp_path / "scans/cat/hole.jpg").open("wb") as file:
        file.truncate(6 * 2**30)
    with measured_memory() as peak:
        with pytest.raises(OSError, match="more than an image file should have"):
            read_whole(tmp_path / "scans/cat/hole.jpg")
        source = open_source(str(tmp_path / "scans"))
        prints = hashing.fingerprint_batch(source, 0, ["cat/000.png", "cat/hole.jpg"], 2**26)
    assert peak.bytes < 2**27
    assert prints.content[0]
    assert "more than an image file should have" in prints.error[1]


def test_the_memory_of_an_audit_bounds_its_decoding_and_more_of_it_reads_what_was_left(tmp_path):
    random_folder(tmp_path / "scans", {"cat": 6, "dog": 6})
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (2000, 2000, 3)).astype(np.uint8)).save(
        tmp_path / "scans/dog/large.png", compress_level=1
    )
    options = {
        "store": str(tmp_path / "store"),
        "size": 8,
        "k": 4,
        "estimators": ("mle",),
        "channels": 1,
        "probe": False,
    }
    assert audit(tmp_path / "scans", **options, memory=60 * 2**20)["n_unreadable"] == 1
    assert audit(tmp_path / "scans", **options, memory=2**30)["n_unreadable"] == 0


def idx(path, shape, packed=True, body=b""):
    head = struct.pack(">I", 0x800 + len(shape)) + struct.pack(f">{len(shape)}I", *shape)
    pack = zlib.compressobj(9, wbits=31)
    parts = [pack.compress(head + body), *(pack.compress(bytes(2**20)) for _ in range(600)), pack.flush()]
    path.write_bytes(b"".join(parts))


def test_an_mnist_archive_inflates_no_further_than_its_header_says(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 4, 4)).astype(np.uint8)
    idx(tmp_path / "train-images-idx3-ubyte.gz", (3, 4, 4), body=pixels.tobytes())
    with gzip.open(tmp_path / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">II", 0x801, 3) + bytes([0, 1, 2]))
    source = open_source(f"mnist:{tmp_path}")
    with measured_memory() as peak:
        table = source.scan()
        assert [source.read(key).pixels.tolist() for key in table["key"]] == pixels.tolist()
    assert peak.bytes < 2**26


def test_an_mnist_archive_that_promises_too_much_is_refused(tmp_path):
    idx(tmp_path / "train-images-idx3-ubyte.gz", (60_000, 2000, 2000))
    idx(tmp_path / "train-labels-idx1-ubyte.gz", (60_000,))
    with measured_memory() as peak, pytest.raises(DatapropsError, match="more than such a file should have"):
        open_source(f"mnist:{tmp_path}").scan()
    assert peak.bytes < 2**26


def test_a_matlab_file_that_inflates_without_end_is_refused(tmp_path, monkeypatch):
    """A variable y of 64 MiB, deflated to 64 KiB."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content

    shape = element(5, struct.pack("<ii", 2**26, 1))
    begin = (
        struct.pack("<II", 14, 2**26 + 56) + element(6, struct.pack("<II", 9, 0)) + shape + element(1, b"y" + bytes(7))
    )
    pack = zlib.compressobj(9)
    packed = pack.compress(
        begin.replace(struct.pack("<II", 1, 8), struct.pack("<II", 1, 1)) + struct.pack("<II", 2, 2**26)
    )
    packed += b"".join([*(pack.compress(bytes(2**20)) for _ in range(64)), pack.flush()])
    (tmp_path / "train_32x32.mat").write_bytes(bytes(124) + b"\x00\x01IM" + element(15, packed))
    source = open_source(f"svhn:{tmp_path}")
    monkeypatch.setattr("dataprops.sources.paper.svhn.LARGEST_SET", 2**25)
    with measured_memory() as peak:
        (key,) = source.scan()["key"]
        with pytest.raises(OSError, match="more than such a file should have"):
            source.read(key)
    monkeypatch.undo()
    again = tmp_path / "again"
    again.mkdir()
    (tmp_path / "train_32x32.mat").rename(again / "train_32x32.mat")
    with bounded(2**25), measured_memory() as bounded_peak, pytest.raises(OSError, match=budget.OVER):
        open_source(f"svhn:{again}").read(key)
    assert max(peak.bytes, bounded_peak.bytes) < 2**25


def test_a_volume_is_projected_before_it_is_read(tmp_path):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.zeros((300, 300, 300), np.uint8), np.eye(4)), tmp_path / "large.nii.gz")
    source = open_source(f"nifti:{tmp_path}")
    with bounded(2**27), measured_memory() as peak:
        (key,) = source.scan()["key"]
        with pytest.raises(UnreadableImage, match=budget.OVER):
            source.read(key)
    assert peak.bytes < 2**26


def test_a_tiff_of_16_bits_in_which_zero_is_white_is_turned_over():
    values = np.arange(0, 60000, 1000, dtype=np.uint16).reshape(6, 10)
    out = io.BytesIO()
    Image.fromarray(values).save(out, "TIFF")
    plain = out.getvalue()
    entry = struct.pack("<HHI", 262, 3, 1)
    assert plain.count(entry) == 1
    turned = plain.replace(entry + struct.pack("<H", 1), entry + struct.pack("<H", 0))
    assert turned != plain
    np.testing.assert_array_equal(decode_values(plain).pixels, values)
    np.testing.assert_array_equal(decode_values(turned).pixels, 65535 - values.astype(int))
