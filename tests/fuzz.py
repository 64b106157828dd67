"""Damaged and hostile input by structure, for every reader and parser: ``python -m tests.fuzz --cases 10000``.

A case is a small valid file of one format with one to three faults: a field of its headers set to an odd number, a part left out,
repeated, swapped, cut or taken from another file, a token of a text replaced. It is read as an audit reads it. A reader may refuse:
with a `DatapropsError` that names the place, or with the reason of one image, in one line. Anything else is a failure - another
exception, ten seconds, memory beyond the limit, a message of several lines. The command prints counts and writes what failed into a
folder; what was mended stays in `tests/fuzz_cases.jsonl`, which `test_fuzz.py` replays.
"""

from __future__ import annotations

import argparse
import base64
import faulthandler
import gzip
import io
import json
import multiprocessing
import pickle
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import traceback
import unicodedata
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dataprops.errors import DatapropsError, MachineError
from dataprops.imaging import dicom_identity
from dataprops.imaging.decode import (
    Preprocess,
    RawImage,
    UnreadableImage,
    canonical,
    decode_values,
    quiet,
    resolved,
    value_facts,
)
from dataprops.imaging.ranges import Facts, decide, wanted
from dataprops.imaging.windows import window_numbers
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.labels import label_values, one_spelling, several, without_missing
from dataprops.sources.masks import find_masks, matches
from dataprops.sources.resolve import forward_slashes
from dataprops.sources.structure import infer
from dataprops.sources.table import key_of, shown
from dataprops.store.hashing import read_reason
from dataprops.util.budget import bounded, one_image
from dataprops.util.redact import HIDDEN, redacted, reveal, withhold
from tests import make_paper
from tests.make_dicoms import dicom_bytes

SECONDS = 10
MEMORY = 2**28  # bytes that reading may take
SLACK = 2**28  # bytes that the process may grow by otherwise: libraries loaded late, arenas
SIDE = 6
READ = 3  # images of a source that are read
CLASS = re.compile(r"\b[A-Z]\w+(Error|Exception|error)\b")  # of exceptions
ODD = (
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    16,
    127,
    128,
    255,
    256,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**40,
    2**63,
)
TOKENS = (
    *(
        b"",
        b"\0",
        b"\n",
        b'"',
        b"'",
        b",",
        b";",
        b"|",
        b"\t",
        b"[",
        b"]",
        b"{",
        b"}",
        b"\\",
        b"../",
        b"/",
        b"C:\\",
        b"file:///etc/passwd",
    ),
    *(
        b"nan",
        b"-1",
        b"1e999",
        b"9" * 40,
        b"null",
        b"true",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xe9",
        b"=cmd()",
        b"%s{}",
        b"\r",
        b"a" * 3000,
    ),
    *(
        b"7" * 5000,
        b"\xd9\xa3",
        b"0" * 30,
        b"[" * 2000,
        b"http://me:pw@h/x?y=z",
        "\u202e\u0301".encode(),
        b"path",
        b"label",
        b"images",
        b"<script>",
    ),
)


class Target(NamedTuple):
    """A reader: its valid files, the name under which one lies in a folder of its own, and what looks at it."""

    seeds: Callable[[], list[bytes]]
    look: Callable[[Path], None]
    name: str = "file"
    text: bool = False
    beside: Callable[[Path], None] = lambda folder: None
    warmed: bool = True


def pixels(seed: int = 0, side: int = SIDE, bands: int = 0) -> np.ndarray:
    """Small random pixels."""
    shape = (side, side, bands) if bands else (side, side)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def saved(kind: str, image: Image.Image, **options: Any) -> bytes:
    """An image as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# the valid files


def _pictures(kind: str) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        grey, colour = Image.fromarray(pixels(1, 24)), Image.fromarray(pixels(2, 24, 3))
        images = {
            "grey": grey,
            "colour": colour,
            "clear": colour.convert("RGBA"),
            "palette": colour.convert("P"),
            "bits": grey.convert("1"),
        }
        images |= {
            "deep": Image.fromarray(pixels(3, 24).astype(np.uint16) * 200),
            "float": Image.fromarray(pixels(4, 24).astype(np.float32)),
        }
        out = []
        for image in images.values():
            try:
                out.append(saved(kind, image))
            except (OSError, ValueError, KeyError):  # the format has no such mode
                continue
        if kind == "TIFF":
            out += [saved(kind, colour, compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
        if kind == "GIF":
            out.append(saved(kind, grey, save_all=True, append_images=[grey.rotate(90), grey.rotate(180)]))
        return out

    return make


KINDS = (
    *(
        "PNG",
        "JPEG",
        "GIF",
        "TIFF",
        "BMP",
        "WEBP",
        "PPM",
        "TGA",
        "ICO",
        "JPEG2000",
        "AVIF",
        "DDS",
        "SGI",
        "PCX",
        "MPO",
        "IM",
        "MSP",
    ),
    *("SPIDER", "XBM", "QOI"),
)


def _dicoms() -> list[bytes]:
    from pydicom.uid import ImplicitVRLittleEndian, RLELossless

    grey, deep = pixels(0, 8), pixels(1, 8).astype(np.uint16) * 16
    out = [
        *(
            dicom_bytes(grey),
            dicom_bytes(deep, RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="40", WindowWidth="400"),
        ),
        *(dicom_bytes(deep.astype(np.int16)), dicom_bytes(pixels(2, 8, 3)), dicom_bytes(np.stack([deep] * 3))),
        dicom_bytes(grey, syntax=ImplicitVRLittleEndian, PatientID="P1", PatientName="A^B"),
    ]
    from pydicom import dcmread

    for data in (dicom_bytes(grey), dicom_bytes(deep)):
        packed = dcmread(io.BytesIO(data))
        packed.compress(RLELossless)
        file = io.BytesIO()
        packed.save_as(file, enforce_file_format=True)
        out.append(file.getvalue())
    return out


def _niftis() -> list[bytes]:
    import nibabel

    volume = np.random.default_rng(0).integers(0, 900, (8, 8, 3))
    one = nibabel.Nifti1Image(volume.astype(np.int16), np.eye(4)).to_bytes()
    return [one, nibabel.Nifti2Image(volume.astype(np.float32), np.eye(4)).to_bytes(), gzip.compress(one, 1)]


def _hdf5s() -> list[bytes]:
    import h5py

    out = []
    for options in ({}, {"compression": "gzip", "chunks": (2, SIDE, SIDE)}):
        file = io.BytesIO()
        with h5py.File(file, "w") as made:
            made.create_dataset("x", data=np.stack([pixels(i) for i in range(4)]), **options)
            made["y"] = np.arange(4) % 2
        out.append(file.getvalue())
    return out


def _npzs() -> list[bytes]:
    out = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, images=np.stack([pixels(i) for i in range(4)]), labels=np.arange(4) % 2)
        out.append(file.getvalue())
    return out


def _npys() -> list[bytes]:
    out = []
    for values in (np.stack([pixels(i) for i in range(4)]), np.random.default_rng(0).random((4, 3, SIDE, SIDE))):
        file = io.BytesIO()
        np.save(file, values)
        out.append(file.getvalue())
    return out


def _columns() -> pa.Table:
    held = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    rows = [{"bytes": saved("PNG", Image.fromarray(pixels(i))), "path": f"{i}.png"} for i in range(4)]
    table = pa.table({"image": pa.array(rows, held), "label": pa.array([0, 1, 0, 1])})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _parquets() -> list[bytes]:
    out = []
    for table in (_columns(), pa.table({"path": ["a/0.png", "b/1.png"], "label": ["a", "b"]})):
        file = io.BytesIO()
        pq.write_table(table, file)
        out.append(file.getvalue())
    return out


def _arrows() -> list[bytes]:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, _columns().schema) as writer:
        writer.write_table(_columns())
    return [file.getvalue()]


def _tars(mode: str = "w") -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        out = []
        for names in (("a/0.png", "b/1.png"), ("0.png", "0.cls", "1.png", "1.json")):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode=mode) as archive:
                for number, name in enumerate(names):
                    data = saved("PNG", Image.fromarray(pixels(number))) if name.endswith("png") else b'{"label": "a"}'
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
                link = tarfile.TarInfo("a/link.png")
                link.type, link.linkname = tarfile.SYMTYPE, names[0]
                archive.addfile(link)
            out.append(file.getvalue())
        return out

    return make


def _zips() -> list[bytes]:
    out = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for number, name in enumerate(("a/0.png", "b/1.png", "b\\2.png", "notes.txt")):
                archive.writestr(
                    name, saved("PNG", Image.fromarray(pixels(number))) if name.endswith("png") else b"text"
                )
        out.append(file.getvalue())
    return out


def _mats() -> list[bytes]:
    from scipy.io import savemat

    out = []
    for packed in (False, True):
        file = io.BytesIO()
        held = {
            "X": np.random.default_rng(0).integers(0, 256, (32, 32, 3, 3)).astype(np.uint8),
            "y": np.array([[1], [10], [1]], np.uint8),
        }
        savemat(file, held, do_compression=packed)
        out.append(file.getvalue())
    return out


def _tables_of_matlab() -> list[bytes]:
    from scipy.io import savemat

    rows = np.array([[("0.png", 1), ("1.png", 2)]], dtype=[("fname", "O"), ("class", "O")])
    out = []
    for packed in (False, True):
        savemat(file := io.BytesIO(), {"annotations": rows, "labels": [[1, 2]]}, do_compression=packed)
        out.append(file.getvalue())
    return out


def _batches() -> list[bytes]:
    data = np.random.default_rng(0).integers(0, 256, (3, 3072)).astype(np.uint8)
    held = {"batch_label": "x", "labels": [0, 1, 2], "data": data, "filenames": ["x.png"] * 3}
    return [pickle.dumps(held, protocol=4), make_paper.python2_batch(data, [0, 1, 2])]


# what lies beside them


def _images(folder: Path) -> None:
    for number, name in enumerate(("a/0.png", "b/1.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(saved("PNG", Image.fromarray(pixels(number))))


def _mnist_labels(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(make_paper.idx(np.arange(3).astype(np.uint8)))


def _cifar_others(folder: Path) -> None:
    for name in make_paper.CIFAR_BATCHES[1:]:
        (folder / name).write_bytes(_batches()[0])
    names = {b"label_names": [name.encode() for name in make_paper.CIFAR]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))


# how they are looked at


def check_image(image: bytes | RawImage) -> None:
    """An image as the stages of an audit read it."""
    with bounded(MEMORY), one_image():
        facts = value_facts(image)
        decided, _ = decide(Facts([facts[0]], np.array([facts[1]]), np.array([facts[2]])))
        raw = decode_values(image) if isinstance(image, bytes) else image
        made, _ = canonical(resolved(raw, decided.text), Preprocess(8, 1))
        assert made.shape == (8, 8, 1), made.shape
        assert made.dtype == np.uint8


def look_at_file(path: Path) -> None:
    """A file as an image, and whose it is."""
    data = path.read_bytes()
    with quiet():
        found = dicom_identity.identity(data, "ab" * 32)
    assert found.frames >= 1
    check_image(data)


def look_at_source(spec: str) -> Callable[[Path], None]:
    """A place as an audit reads it; `spec` has {} for the file and {folder} for its folder."""

    def look(path: Path) -> None:
        with bounded(MEMORY):
            source = open_source(spec.format(path, folder=path.parent), SourceOptions(salt="ab" * 32))
            table = source.scan()
            label_values(table["label"].tolist(), "auto", table["path"].tolist())
            keys = table["key"].tolist()[:READ]
            assert len(source.version_tokens(keys)) == len(keys)
            for key, bearer in zip(keys, source.read_ahead([key] for key in keys), strict=True):
                try:
                    check_image(bearer.read(key))
                except UnreadableImage as error:
                    one_line(str(error))
                except OSError as error:
                    one_line(read_reason(error))

    return look


def look_at_text(path: Path) -> None:
    """A text as names, labels, options and addresses: these functions refuse options, and nothing else."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    lines = text.splitlines() or [""]
    assert key_of(shown(text)) == text
    for line in lines[:20]:
        assert ":pw@" not in redacted(line) or "://" not in line, line
        if HIDDEN not in line:  # what hides already is refused, rightly: nobody has the rest
            assert isinstance(reveal(withhold(line)), str)
        forward_slashes(line)
        for read in (wanted, window_numbers):
            try:
                read(line)
            except DatapropsError as error:
                one_line(str(error))
        matches(lines[0], line)
    names = [line.strip("/") or "x" for line in lines]
    found = infer(names)
    assert len(found.label) == len(found.split) == len(found.group) == len(names)
    assert find_masks(names) <= set(names)
    labels: list[str | None] = list(lines)
    kept, _ = one_spelling(without_missing(labels)[0])
    assert len(kept) == len(labels)
    several(labels)


def _look_at_thresholds(path: Path) -> None:
    from dataprops.checks.thresholds import load_thresholds

    load_thresholds(path)


def _look_at_operations(path: Path) -> None:
    from deployments.datasets import read_operations

    read_operations(path)


def _look_at_grid(path: Path) -> None:
    from dataprops.experiment.grid_options import load_grid

    load_grid(path)


def _pixel_tables() -> list[bytes]:
    cells = [",".join(map(str, pixels(number, 8).ravel())) for number in range(3)]
    names = ",".join(f"pixel{number}" for number in range(64))
    wide = f"label,{names}\n" + "".join(f"{number},{row}\n" for number, row in enumerate(cells))
    one = "emotion,pixels,Usage\n" + "".join(f"1,{row.replace(',', ' ')},Training\n" for row in cells)
    return [wide.encode(), one.encode()]


def _one_array() -> list[bytes]:
    file = io.BytesIO()
    np.save(file, pixels(0, 8))
    return [file.getvalue()]


def _other_arrays(folder: Path) -> None:
    for number in range(1, 12):
        (folder / "b").mkdir(exist_ok=True)
        np.save(folder / "b" / f"{number}.npy", pixels(number, 8))


def _numbered_images(folder: Path) -> None:
    for number in range(1, 9):
        (folder / f"image_{number:05}.png").write_bytes(saved("PNG", Image.fromarray(pixels(number))))


def _index_of_images(folder: Path) -> None:
    _numbered_images(folder)
    (folder / "images.txt").write_text("".join(f"{n} image_{n:05}.png\n" for n in range(1, 9)))
    (folder / "classes.txt").write_text("1 001.Albatross\n2 002.Auk\n")


def _labels_of_images(folder: Path) -> None:
    _numbered_images(folder)
    (folder / "image_class_labels.txt").write_text("".join(f"{n} {1 + n % 2}\n" for n in range(1, 9)))


def _lists_of_matlab() -> list[bytes]:
    """Labels in the order of images, splits by their numbers, and structs with cells in their cells."""
    from scipy.io import savemat

    boxes = np.empty((1, 2), object)
    boxes[0, 0], boxes[0, 1] = np.ones((1, 2)), np.ones((1, 3))
    rows = [[(f"image_{n:05}.png", "ab"[n % 2], boxes, {"x": n}) for n in range(1, 9)]]
    names = ("name", "class", "boxes", "more")
    lists = {"labels": [[1, 2] * 4], "trnid": [[1, 2, 3, 4]], "valid": [[5, 6]], "tstid": [[7, 8]]}
    out = []
    for held in (lists, {"annotations": np.array(rows, dtype=[(name, "O") for name in names])}):
        for packed in (False, True):
            savemat(file := io.BytesIO(), held, do_compression=packed)
            out.append(file.getvalue())
    return out


def _patches(folder: Path) -> None:
    for number in range(8):
        name = f"patch_patient_{number // 2:03}_node_{number % 2}_x_{number * 32:04}.png"
        (folder / name).write_bytes(saved("PNG", Image.fromarray(pixels(number))))


def _table_of_patches() -> list[bytes]:
    rows = "".join(f"{n // 2:03},{n % 2},{n * 32},{n % 3},{n % 2}\n" for n in range(8))
    return [f"patient,node,x_coord,tumor,split\n{rows}".encode(), f"patient;node;x_coord;tumor;split\n{rows}".encode()]


def _images_and_a_list(folder: Path) -> None:
    _images(folder)
    (folder / "test.txt").write_text("b/1.png\n")


CSV = [
    b"path,label,split,group\na/0.png,x,train,p1\nb/1.png,y,test,p2\n",
    "path;label\r\na\\0.png;0,5\r\nb\\1.png;1,5\r\n".encode("utf-16"),
    b"image,MEL,NV\na/0,1.0,0.0\nb/1,0.0,1.0\n",
    b"a/0.png,x\nb/1.png,y\n",
]
COCO = {
    "images": [{"id": 1, "file_name": "0.png"}, {"id": 2, "file_name": "1.png"}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"image_id": 1, "category_id": 1}],
}
THRESHOLDS = [b'[near_duplicates]\nmax = 0.5\nseverity = "warning"\n\n[left_out]\nmax = 1\n']
OPERATIONS = [
    b'store = "audits"\n[channels.desk]\nkind = "webhook"\nurl = "https://example.org/x"\n'
    b'[datasets.chest]\nsource = "chest"\nschedule = "0 3 * * *"\ntell = ["desk"]\nsize = 64\n'
]
GRID = [b'preset = "quick"\nsizes = "64:128:64"\n[[dataset]]\nsource = "digits:"\nclasses = ["0", "1"]\n']
NAMES = [
    b"train/cat/1.png\ntest/cat/2_mask.png\nsub-01/x (1).nii.gz\nA|B\nNo Finding\n1.0\n-1:1\n40/400\nhttps://me:pw@h/x?sig=1"
]

TARGETS: dict[str, Target] = {
    **{kind.lower(): Target(_pictures(kind), look_at_file) for kind in KINDS},
    "dicom": Target(_dicoms, look_at_file),
    "frames": Target(_dicoms, look_at_source("dicom:{folder}"), "a.dcm"),
    "folder": Target(_pictures("PNG"), look_at_source("{folder}"), "c/x.png", beside=_images),
    "nifti": Target(_niftis, look_at_source("nifti:{folder}"), "x.nii"),
    "nifti.gz": Target(_niftis, look_at_source("nifti:{folder}"), "x.nii.gz"),
    "hdf5": Target(_hdf5s, look_at_source("{}"), "x.h5"),
    "npz": Target(_npzs, look_at_source("{}"), "x.npz"),
    "npy": Target(_npys, look_at_source("{}"), "x.npy"),
    "parquet": Target(_parquets, look_at_source("{}"), "x.parquet", beside=_images),
    "arrow": Target(_arrows, look_at_source("{}"), "x.arrow"),
    "tar": Target(_tars(), look_at_source("{}"), "x.tar"),
    "tar.gz": Target(_tars("w:gz"), look_at_source("{}"), "x.tar.gz"),
    "zip": Target(_zips, look_at_source("{}"), "x.zip"),
    "mnist": Target(
        lambda: [make_paper.idx(np.stack([pixels(i, 28) for i in range(3)]))],
        look_at_source("mnist:{folder}"),
        "train-images-idx3-ubyte",
        beside=_mnist_labels,
    ),
    "svhn": Target(_mats, look_at_source("svhn:{folder}"), "train_32x32.mat"),
    "matlab": Target(_tables_of_matlab, look_at_source("{folder}"), "labels.mat", beside=_images),
    "cifar10": Target(_batches, look_at_source("cifar10:{folder}"), "data_batch_1", beside=_cifar_others),
    "csv": Target(lambda: CSV, look_at_source("{}"), "m.csv", text=True, beside=_images),
    "pixels": Target(_pixel_tables, look_at_source("{}"), "m.csv", text=True),
    "arrays": Target(_one_array, look_at_source("{folder}"), "0.npy", beside=_other_arrays),
    "voc": Target(
        lambda: [b"<annotation><object><name>cat</name></object></annotation>"],
        look_at_source("{folder}"),
        "0.xml",
        True,
        lambda folder: (folder / "0.png").write_bytes(saved("PNG", Image.fromarray(pixels()))),
    ),
    "lists": Target(
        lambda: [b"a/0.png\nb/1.png 1\n"],
        look_at_source("{folder}"),
        "train.txt",
        True,
        _images_and_a_list,
    ),
    "index": Target(
        lambda: ["".join(f"{n} image_{n:05}.png\n" for n in range(1, 9)).encode()],
        look_at_source("{folder}"),
        "images.txt",
        True,
        _labels_of_images,
    ),
    "by ids": Target(
        lambda: ["".join(f"{n} {1 + n % 2}\n" for n in range(1, 9)).encode()],
        look_at_source("{folder}"),
        "image_class_labels.txt",
        True,
        _index_of_images,
    ),
    "split by ids": Target(
        lambda: ["".join(f"{n} {n % 2}\n" for n in range(1, 9)).encode()],
        look_at_source("{folder}"),
        "train_test_split.txt",
        True,
        _index_of_images,
    ),
    "in order": Target(
        lambda: [b"cat\ndog\n" * 4, b"1\n2\n" * 4], look_at_source("{folder}"), "labels.txt", True, _numbered_images
    ),
    "lists of matlab": Target(_lists_of_matlab, look_at_source("{folder}"), "imagelabels.mat", beside=_numbered_images),
    "parts": Target(_table_of_patches, look_at_source("{folder}"), "metadata.csv", True, _patches),
    "jsonl": Target(
        lambda: [b'{"path": "a/0.png", "label": ["x", "y"]}\n{"path": "b/1.png"}\n'],
        look_at_source("{}"),
        "m.jsonl",
        True,
        _images,
    ),
    "json": Target(lambda: [b'[{"path": "a/0.png", "label": 1}]'], look_at_source("{}"), "m.json", True, _images),
    "coco": Target(
        lambda: [json.dumps(COCO).encode()],
        look_at_source("{folder}"),
        "annotations.json",
        True,
        lambda folder: _images(folder),
    ),
    "names": Target(lambda: NAMES, look_at_text, text=True),
    "thresholds": Target(lambda: THRESHOLDS, _look_at_thresholds, "t.toml", text=True),
    "operations": Target(lambda: OPERATIONS, _look_at_operations, "datasets.toml", text=True),
    "grid": Target(lambda: GRID, _look_at_grid, "grid.toml", text=True),
}


# the faults


def damaged(rng: random.Random, seeds: list[bytes], text: bool) -> bytes:
    """A valid file with one to three faults."""
    data = bytearray(rng.choice(seeds))
    packed = data[:2] == b"\x1f\x8b" and rng.random() < 0.6
    if packed:  # what is inside, packed again, so that the fault is not the checksum
        data = bytearray(gzip.decompress(bytes(data)))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        fault = rng.choice(TEXT_FAULTS if text else FAULTS)
        fault(rng, data, seeds)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and rng.random() < 0.7:
        data = bytearray(_checksums(bytes(data)))
    return gzip.compress(bytes(data), 1) if packed else bytes(data)


def _checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold: a wrong field is read, not refused."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if at + 12 + size > len(data):
            break
        body = data[at + 4 : at + 8 + size]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return out + data[at:]


def _place(rng: random.Random, data: bytearray) -> int:
    """A place, more often near the ends, where headers and tables of contents are."""
    if not data:
        return 0
    roll = rng.random()
    if roll < 0.5:
        return rng.randrange(min(len(data), 200))
    return rng.randrange(len(data)) if roll < 0.8 else max(0, len(data) - 1 - rng.randrange(min(len(data), 200)))


def _number(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    size, order = rng.choice((1, 2, 2, 4, 4, 8)), rng.choice("<>")
    at = _place(rng, data) // min(size, 2) * min(size, 2)
    value = rng.choice(ODD) if rng.random() < 0.8 else rng.getrandbits(8 * size)
    data[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, "little" if order == "<" else "big")


def _near(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    if data:
        at = _place(rng, data)
        data[at] = (data[at] + rng.choice((-1, 1, 2, 64, 128))) % 256


def _cut(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _without(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 2, 4, 8, 12, 64, 512))]


def to_read_again(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    at, size = _place(rng, data), rng.choice((1, 4, 12, 64, 512))
    data[at:at] = bytes(data[at : at + size]) * rng.choice((1, 2, 30))


def _swap(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    size = rng.choice((2, 4, 12, 64))
    one, two = _place(rng, data), _place(rng, data)
    data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]


def _other(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    other = rng.choice(seeds)
    at, size = rng.randrange(len(other) + 1), rng.choice((4, 16, 64, 512, 10**6))
    data[_place(rng, data) :] = other[at : at + size]


def _zeros(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    at, size = _place(rng, data), rng.choice((4, 16, 64))
    data[at : at + size] = rng.choice((b"\0", b"\xff")) * len(data[at : at + size])


def _token(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    found = [match.span() for match in re.finditer(rb"[\w.+-]+|[^\w\s]|\s", bytes(data))]
    start, end = rng.choice(found) if found else (0, 0)
    data[start:end] = rng.choice(TOKENS)


def _insert(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(TOKENS)


def _line(rng: random.Random, data: bytearray, seeds: list[bytes]) -> None:
    lines = bytes(data).split(b"\n")
    at = rng.randrange(len(lines))
    lines[at : at + 1] = rng.choice(([], [lines[at]] * 2, [lines[at] * 2], [rng.choice(TOKENS)]))
    data[:] = b"\n".join(lines)


FAULTS = (_number, _number, _number, _number, _near, _cut, _without, to_read_again, _swap, _other, _zeros)
TEXT_FAULTS = (_token, _token, _token, _insert, _line, _cut, _near, to_read_again)


# one case


class Failed(Exception):
    """What a reader must not do."""


@contextmanager
def in_time() -> Iterator[None]:
    """End what computes for longer than `SECONDS` of processor time, or waits for six times as long."""

    def late(*_: Any) -> None:
        raise Failed(f"took longer than {SECONDS} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, 6 * SECONDS))
    before = [signal.signal(name, late) for name, _, _ in timers]
    faulthandler.dump_traceback_later(30 * SECONDS, exit=True)  # where no signal is heard
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (name, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(name, handler)
        faulthandler.cancel_dump_traceback_later()


def one_line(message: str) -> None:
    """Refuse a message of several lines or with control characters, or none, or one that names an exception of Python."""
    if not message or len(message) > 4000 or any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in message):
        raise Failed(f"its message is not one line of text: {message[:300]!r}")
    if found := CLASS.search(message):
        raise Failed(f"its message names {found[0]}: {message[:300]!r}")


@cache
def seeds_of(name: str) -> list[bytes]:
    """The valid files of a target."""
    return TARGETS[name].seeds()


@cache
def warm(name: str) -> None:
    """Read one valid file of a target without a limit: what is imported on the way takes seconds on a busy machine."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, suppress(Exception):
        file = Path(folder) / target.name
        file.parent.mkdir(parents=True, exist_ok=True)
        target.beside(Path(folder))
        file.write_bytes(seeds_of(name)[0])
        target.look(file)


def look(name: str, data: bytes, folder: Path) -> str:
    """Read one case; "read" or "refused".

    Raises
    ------
    Failed
        With what was wrong.
    """
    target = TARGETS[name]
    if TARGETS[name].warmed:
        warm(name)
    file = folder / target.name
    file.parent.mkdir(parents=True, exist_ok=True)
    target.beside(folder)
    file.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with in_time(), warnings.catch_warnings():
            for kind in (
                UserWarning,
                RuntimeWarning,
            ):  # a library's remark may quote the file, and reaches the terminal
                warnings.simplefilter("error", kind)
            target.look(file)
        outcome = "read"
    except UnreadableImage as error:
        one_line(str(error))
        outcome = "refused"
    except DatapropsError as error:
        one_line(str(error))
        if isinstance(error, MachineError):
            raise Failed(f"blames the machine: {error}") from error
        if str(folder) not in str(error):
            raise Failed(f"does not name the place: {error}") from error
        outcome = "refused"
    except Failed:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        raise Failed(f"{type(error).__name__}: {str(error)[:200]} ({where})") from error
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > MEMORY + SLACK:
        raise Failed(f"took {grown / 2**20:,.0f} MiB")
    return outcome


class Outcome(NamedTuple):
    """Of a case: its target, "read", "refused" or "failed", and what was wrong."""

    target: str
    outcome: str
    what: str = ""


def fuzz(numbers: Iterable[int], seed: int = 0, names: tuple[str, ...] = ()) -> Iterator[Outcome]:
    """These cases, spread evenly over the targets, as they come."""
    base = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for number in numbers:
            name, data = case(number, seed, names)
            folder = base / str(number)
            try:
                yield Outcome(name, look(name, data, folder))
            except Failed as error:
                yield Outcome(name, "failed", str(error))
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def case(number: int, seed: int, names: tuple[str, ...] = ()) -> tuple[str, bytes]:
    """Target and file of a case."""
    chosen = names or tuple(TARGETS)
    name = chosen[number % len(chosen)]
    return name, damaged(random.Random(f"{seed} {number} {name}"), seeds_of(name), TARGETS[name].text)


def forked(cases: int, seed: int = 0, names: tuple[str, ...] = ()) -> Iterator[Outcome]:
    """The same in a process of its own: one that a case ends is a failure, and another goes on with the next case."""
    number = 0
    while number < cases:
        heard, told = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.get_context("fork").Process(target=_tell, args=(told, number, cases, seed, names))
        worker.start()
        told.close()
        while number < cases:
            try:
                yield Outcome(*heard.recv())
            except EOFError:
                worker.join()
                yield Outcome(case(number, seed, names)[0], "failed", f"ended the process, code {worker.exitcode}")
                number += 1
                break
            number += 1
        worker.join()


def _tell(pipe: Any, first: int, cases: int, seed: int, names: tuple[str, ...]) -> None:
    for outcome in fuzz(range(first, cases), seed, names):
        pipe.send(tuple(outcome))


def _keep(failed: Outcome, data: bytes, out: Path) -> None:
    """Add a case that failed to the file of those that did."""
    out.mkdir(parents=True, exist_ok=True)
    held = {"target": failed.target, "what": failed.what, "data": base64.b64encode(data).decode()}
    with (out / "failures.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(held) + "\n")


def main() -> int:
    """Run, print counts for each target, write what failed; 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="Folder for the files that failed.")
    parser.add_argument("targets", nargs="*", help=", ".join(TARGETS))
    asked = parser.parse_args()
    faulthandler.enable()
    counts: Counter[str] = Counter()
    failed, names = 0, tuple(asked.targets)
    for number, seen in enumerate(forked(asked.cases, asked.seed, names)):
        counts[f"{seen.target} {seen.outcome}"] += 1
        if seen.outcome == "failed":
            failed += 1
            print(f"FAILED {number} {seen.target}: {seen.what}", flush=True)
            if asked.out is not None:
                _keep(seen, case(number, asked.seed, names)[1], asked.out)
        if (number + 1) % 1000 == 0:
            print(f"{number + 1:,} cases, {failed:,} failed", flush=True)
    for name in asked.targets or TARGETS:
        told = ", ".join(f"{counts[f'{name} {outcome}']:,} {outcome}" for outcome in ("read", "refused", "failed"))
        print(f"{name}: {told}")
    print(f"{counts.total():,} cases, {failed:,} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
