"""Tiny files in the layouts in which the eleven datasets of the paper are published."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n01440764", "n02123045", "n04591713")


def png(number: int, size: int = 8) -> bytes:
    """A PNG of noise; another number, another picture."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (size, size)).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def put(root: Path, name: str, data: bytes | str) -> Path:
    """A file, its folders included."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def put_images(root: Path, names: Iterable[str]) -> None:
    """A PNG of its own for each name."""
    for number, name in enumerate(names):
        put(root, name, png(number))


def put_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> Path:
    """A table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def idx(values: np.ndarray) -> bytes:
    """An idx file of bytes."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


def mnist(root: Path, counts: dict[str, int], *, compressed: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """MNIST with so many digits in "train" and "t10k"; returns their pixels and labels."""
    rng = np.random.default_rng(1)
    made = {}
    for name, count in counts.items():
        pixels = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for what, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            data = idx(values)
            put(root, f"{name}-{what}-ubyte" + ".gz" * compressed, gzip.compress(data) if compressed else data)
        made[name] = pixels, labels
    return made


CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def _python2_text(data: bytes) -> bytes:
    """A str of Python 2 in a pickle: SHORT_BINSTRING or BINSTRING, which Python 3 never writes."""
    return (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + len(data).to_bytes(4, "little")) + data


def python2_batch(pixels: np.ndarray, labels: Sequence[int], batch: bytes = b"training batch 1 of 5") -> bytes:
    """A batch byte by byte as Python 2 and its numpy wrote it: protocol 2, texts of bytes, numpy.core.multiarray."""

    def number(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"J" + int(value).to_bytes(4, "little", signed=True)

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"(cnumpy\nndarray\n"
        + b"(" + number(0) + b"t"
        + _python2_text(b"b")
        + b"tR"
        + b"(" + number(1)
        + b"(" + number(pixels.shape[0]) + number(pixels.shape[1]) + b"t"
        + b"cnumpy\ndtype\n(" + _python2_text(b"u1") + number(0) + number(1) + b"tR"
        + b"(" + number(3) + _python2_text(b"|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + number(0) + b"tb"
        + b"\x89"
        + _python2_text(pixels.tobytes())
        + b"tb"
    )  # fmt: skip
    items = (
        _python2_text(b"batch_label") + _python2_text(batch)
        + _python2_text(b"labels") + b"](" + b"".join(number(label) for label in labels) + b"e"
        + _python2_text(b"data") + array
        + _python2_text(b"filenames") + b"](" + b"".join(_python2_text(b"x.png") for _ in labels) + b"e"
    )  # fmt: skip
    return b"\x80\x02}(" + items + b"u."


def cifar(root: Path, count: int, kind: str) -> dict[str, tuple[np.ndarray, list[int]]]:
    """CIFAR-10 with so many images in each batch; kind: "python2", "python3" or "binary". Returns data [n, 3072], labels."""
    rng = np.random.default_rng(2)
    made = {}
    for place, name in enumerate(CIFAR_BATCHES):
        data = rng.integers(0, 256, (count, 3072)).astype(np.uint8)
        labels = [(number + place) % 10 for number in range(count)]
        if kind == "binary":
            rows = np.concatenate([np.array(labels, np.uint8)[:, None], data], axis=1)
            put(root, f"cifar-10-batches-bin/{name}.bin", rows.tobytes())
        elif kind == "python2":
            put(root, f"cifar-10-batches-py/{name}", python2_batch(data, labels))
        else:
            held = {"batch_label": name, "labels": labels, "data": data, "filenames": ["x.png"] * count}
            put(root, f"cifar-10-batches-py/{name}", pickle.dumps(held, protocol=4))
        made[name] = data, labels
    if kind == "binary":
        put(root, "cifar-10-batches-bin/batches.meta.txt", "\n".join(CIFAR) + "\n\n")
    else:
        names = {b"label_names": [name.encode() for name in CIFAR], b"num_vis": 3072}
        put(root, "cifar-10-batches-py/batches.meta", pickle.dumps(names, protocol=2))
    return made


def svhn(root: Path, counts: dict[str, int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """SVHN's cropped digits: returns X [32, 32, 3, n] and y [n], in which 10 is the digit 0."""
    from scipy.io import savemat

    rng = np.random.default_rng(3)
    made = {}
    root.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        pixels = rng.integers(0, 256, (32, 32, 3, count)).astype(np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": pixels, "y": labels[:, None]}, do_compression=True)
        made[split] = pixels, labels
    return made


def volume(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> None:
    """A NIfTI volume; by default on left-posterior-superior axes, as BraTS has them."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]) if affine is None else affine), path)
