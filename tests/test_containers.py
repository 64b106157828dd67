"""Containers: the same images give the same audit however they are packed, nothing is unpacked, and hostile files are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprops.audit import audit
from dataprops.audit.config import AuditConfig
from dataprops.audit.stages.decode import decode as decode_stage
from dataprops.audit.stages.scan import scan
from dataprops.audit.workspace import start_run
from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage, UnreadableImage, decode, resolved
from dataprops.sources import OpenSource, SourceOptions, open_source, parquetfile
from dataprops.sources.containers import archive_index, parquet, tars
from dataprops.util.budget import bounded
from dataprops.util.cache import Cache
from dataprops.util.tools import inline_tools
from tests import make_paper
from tests.make_images import SIZE, encoded, noise, random_folder, save

QUICK = {"size": SIZE, "k": 5, "draws": 2, "estimators": ("mle",), "probe": False}


def pngs(n: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [encoded(noise(rng)) for _ in range(n)]


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            add(archive, name, data)
    return path


def zip_of(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def run(source: Path | str, tmp_path: Path, **options) -> dict:
    return audit(source, store=str(tmp_path / "store"), **{**QUICK, **options})


def looked(source: Path | str, tmp_path: Path, **options) -> dict:
    """The first two stages alone: what is listed, what cannot be read and why, what was left out."""
    config = AuditConfig(str(source), store=str(tmp_path / "store"), **{**QUICK, **options})
    tools = inline_tools(threads=2)
    run = start_run(config)
    scanned, decoded = scan(run, tools), decode_stage(run, tools)
    images = run.files.files.read()
    bad = images[images["error"].notna()]
    return {
        "n_images": scanned.n_images,
        "n_unreadable": decoded.n_unreadable,
        "left_out": scanned.ignored,
        "unreadable": [f"{path}: {error}" for path, error in zip(bad["path"], bad["error"], strict=True)],
        "pixels": images["pixels"].dropna().tolist(),
    }


def findings(summary: dict, kind: str) -> list[str]:
    table = pd.read_parquet(Path(summary["results"]) / "findings.parquet")
    return table.loc[table["kind"] == kind, "detail"].tolist()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict]:
    """Files of a folder with a broken one, and what an audit of the folder says."""
    root = tmp_path_factory.mktemp("plain")
    random_folder(root / "set", {"cat": 14, "dog": 12})
    (root / "set/cat/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    files = {p.relative_to(root / "set").as_posix(): p.read_bytes() for p in sorted((root / "set").rglob("*.png"))}
    return files, run(root / "set", root)


MEASURED = ("intrinsic_dimension", "label_sharpness", "labels", "n_images", "n_unreadable")


def test_kept_things_are_made_once_and_bounded() -> None:
    made = []
    kept: Cache[int] = Cache(100, lambda value: value)
    threads = [threading.Thread(target=lambda: kept.get("a", lambda: made.append(1) or 60)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    kept.get("b", lambda: 60)
    assert list(kept.values) == ["b"]
    kept.put("b", 500)
    assert (list(kept.values), kept.weight) == (["b"], 500)


PACKERS = {
    "set.zip": lambda path, files: zip_of(path, files),
    "stored.zip": lambda path, files: zip_of(path, files, zipfile.ZIP_STORED),
    "set.tar": tar_of,
    "set.tar.gz": lambda path, files: tar_of(path, files, "w:gz"),
    "set.tgz": lambda path, files: tar_of(path, files, "w:gz"),
    "set.tar.bz2": lambda path, files: tar_of(path, files, "w:bz2"),
    "set.tar.xz": lambda path, files: tar_of(path, files, "w:xz"),
}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("root", ["", "scans/", "./"])
def test_an_archive_lists_and_gives_what_its_folder_does(name: str, root: str, plain, tmp_path: Path) -> None:
    files, _ = plain
    shuffled = list(files)
    np.random.default_rng(1).shuffle(shuffled)  # in no order, as tar packs what a disk gives
    path = PACKERS[name](tmp_path / name, {root + key: files[key] for key in shuffled})
    source = open_source(str(path))
    table = source.scan()
    assert [p.removeprefix("scans/") for p in table["path"]] == list(files)
    assert table["label"].tolist() == [key.split("/")[0] for key in files]
    assert [source.read(key) for key in table["key"]] == list(files.values())
    assert [file.name for file in tmp_path.iterdir()] == [name]  # nothing was unpacked


@pytest.mark.parametrize("name", ["set.zip", "set.tar.xz"])
def test_an_audit_of_an_archive_equals_that_of_its_folder(name: str, plain, tmp_path: Path) -> None:
    files, of_folder = plain
    summary = run(PACKERS[name](tmp_path / name, files), tmp_path)
    assert {key: summary[key] for key in MEASURED} == {key: of_folder[key] for key in MEASURED}
    assert summary["dataset"] == "set"
    assert "cat/broken.png" in findings(summary, "unreadable")[0]


@pytest.mark.parametrize("name", ["set.tar.gz", "packed.npz"])
def test_what_has_no_random_access_is_read_in_few_passes(name: str, tmp_path: Path, monkeypatch) -> None:
    """300 images: more than a piece of work holds, in another order than their names'."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, SIZE, SIZE)).astype(np.uint8)
    if name.endswith("gz"):
        order = rng.permutation(300)
        tar_of(tmp_path / name, {f"{'ab'[i % 2]}/{i:03d}.png": encoded(images[i]) for i in order}, "w:gz")
    else:
        np.savez_compressed(tmp_path / name, images=images, labels=np.arange(300) % 2)
    passes = []
    original, rows = tars._members, zipfile.ZipFile.open

    def counted(*args):
        passes.append(args[0])
        return original(*args)

    def counted_rows(self, member, *args, **more):
        if getattr(member, "filename", member) == "images.npy":
            passes.append("images.npy")
        return rows(self, member, *args, **more)

    monkeypatch.setattr(tars, "_members", counted)
    monkeypatch.setattr(zipfile.ZipFile, "open", counted_rows)
    seen = looked(tmp_path / name, tmp_path, channels=1)
    assert (seen["n_images"], seen["n_unreadable"], len(set(seen["pixels"]))) == (300, 0, 300)
    assert len(passes) == 3  # the list (or the header), the contents, the decoding
    passes.clear()
    assert looked(tmp_path / name, tmp_path, channels=1)["pixels"] == seen["pixels"]
    assert len(passes) == 0  # an archive that did not change is not even opened again by this process


def test_a_changed_archive_is_read_again(tmp_path: Path) -> None:
    a, b = pngs(8), pngs(8, seed=1)
    path = tmp_path / "set.zip"
    first = looked(zip_of(path, {f"{'xy'[i % 2]}/{i}.png": data for i, data in enumerate(a)}), tmp_path)
    path.unlink()
    second = looked(zip_of(path, {f"{'xy'[i % 2]}/{i}.png": data for i, data in enumerate(b)}), tmp_path)
    assert not set(first["pixels"]) & set(second["pixels"])


def test_an_open_archive_travels_and_is_read_by_many_threads(plain, tmp_path: Path) -> None:
    files, _ = plain
    source: OpenSource = pickle.loads(pickle.dumps(open_source(str(zip_of(tmp_path / "a.zip", files)))))  # noqa: S301
    keys = source.scan()["key"].tolist() * 20
    wrong = []

    def work() -> None:
        wrong.extend(key for key in keys if source.read(key) != files[key])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_carried_images_are_those_asked_for_even_if_some_are_gone(plain, tmp_path: Path) -> None:
    files, _ = plain
    source = open_source(str(tar_of(tmp_path / "a.tar.gz", files, "w:gz")))
    keys = [list(files)[i] for i in (1, 2, 5, 7)] + ["cat/gone.png"]
    order = source.order(keys)
    assert order is not None
    keys = [keys[i] for i in order]
    carried = list(source.read_ahead([keys[:2], keys[2:]]))
    for bearer, batch in zip(carried, (keys[:2], keys[2:]), strict=True):
        assert set(bearer.held) == set(batch)
        for key in batch:
            if key in files:
                assert bearer.read(key) == files[key]
            else:
                with pytest.raises(OSError, match="no longer holds"):
                    bearer.read(key)


# WebDataset


def test_webdataset_shards(tmp_path: Path) -> None:
    data = pngs(12)
    for shard, split in enumerate(("train", "train", "val")):
        files = {}
        for i in range(4):
            name = f"{shard}{i}"
            files[f"{name}.png"] = data[4 * shard + i]
            if i == 0:
                files[f"{name}.cls"] = b"3\n"
            elif i == 1:
                files[f"{name}.json"] = json.dumps({"label": "owl", "group": "p7", "width": 3}).encode()
            elif i == 2:
                files[f"{name}.txt"] = b"cat"
            else:
                files[f"{name}.txt"] = b"A long report.\nIt is no label."
        tar_of(_made(tmp_path / "shards") / f"{split}-{shard:03d}.tar", files)
    for spec in (tmp_path / "shards", tmp_path / "shards" / "train-{000..001}.tar"):
        source = open_source(str(spec))
        table = source.scan()
        assert source.kind == "tar"
        rows = list(table[["path", "label", "split", "group"]].itertuples(index=False, name=None))
        assert rows[:4] == [
            ("train-000.tar/00.png", "3", "train", None),
            ("train-000.tar/01.png", "owl", "train", "p7"),
            ("train-000.tar/02.png", "cat", "train", None),
            ("train-000.tar/03.png", None, "train", None),
        ]
        assert len(rows) == (12 if spec.is_dir() else 8)
        assert table.attrs["ignored"] == []
        assert [source.read(key) for key in table["key"]] == data[: len(rows)]
    other = open_source(str(tmp_path / "shards"), SourceOptions(label_column="width")).scan()
    assert other["label"].tolist()[1] == "3"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# Parquet


def hub_table(data: list[bytes | None], labels: list, names: list[str] | None = None) -> pa.Table:
    rows = [{"bytes": item, "path": f"P{i:02d}_a.png"} for i, item in enumerate(data)]
    table = pa.table(
        {
            "image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "label": pa.array(labels, pa.int64()),
        }
    )
    features: dict = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    return table.replace_schema_metadata(meta) if names else table


def test_parquet_as_the_hub_writes_it(tmp_path: Path) -> None:
    data = pngs(12)
    folder = _made(tmp_path / "hub" / "data")
    names = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]
    for shard, name in enumerate(names):
        part = hub_table(data[4 * shard : 4 * shard + 4], [0, 1, -1, None], ["cat", "dog"])
        pq.write_table(part, folder / f"{name}.parquet", row_group_size=3)
    (tmp_path / "hub" / "README.md").write_text("a dataset card")
    source = open_source(str(tmp_path / "hub"), SourceOptions(group_pattern=r"/(P\d+)_"))
    table = source.scan()
    assert source.kind == "parquet"
    assert table["split"].tolist() == ["test"] * 4 + ["train"] * 8
    assert table["label"].tolist() == ["cat", "dog", None, None] * 3
    assert table["group"].tolist()[:2] == ["P00", "P01"]
    assert table["path"][0] == "data/test-00000-of-00001.parquet/0/P00_a.png"
    assert [source.read(key) for key in table["key"]] == [*data[8:], *data[:8]]
    single = open_source(str(folder / "train-00000-of-00002.parquet"))
    assert [single.read(key) for key in single.scan()["key"]] == data[:4]
    summary = run(tmp_path / "hub", tmp_path)
    assert summary["dataset"] == "hub"
    assert summary["labels"]["classes"] == {"cat": 3, "dog": 3}
    assert len(findings(summary, "unlabelled")) == 6


def test_parquet_of_plain_bytes_and_rows_without_an_image(tmp_path: Path) -> None:
    data = pngs(3)
    pq.write_table(pa.table({"png": [data[0], None, data[2]], "y": ["a", "b", "a"]}), tmp_path / "x.parquet")
    source = open_source(str(tmp_path / "x.parquet"), SourceOptions(label_column="y"))
    assert source.scan()["label"].tolist() == ["a", "b", "a"]
    assert source.read("x.parquet/2") == data[2]
    with pytest.raises(OSError, match="no image"):
        source.read("x.parquet/1")
    with pytest.raises(DatapropsError, match=r"no column 'z' \(it has png, y\)"):
        open_source(str(tmp_path / "x.parquet"), SourceOptions(label_column="z")).scan()


def test_a_parquet_manifest_stays_a_manifest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": [b"a.png"], "label": ["x"]}), tmp_path / "m.parquet")
    assert open_source(str(tmp_path / "m.parquet")).kind == "manifest"


def test_several_class_columns_must_be_chosen_from(tmp_path: Path) -> None:
    table = hub_table(pngs(2), [0, 1]).rename_columns(["img", "coarse"]).append_column("fine", pa.array([1, 0]))
    one = {"_type": "ClassLabel", "names": ["u", "v"]}
    meta = {"huggingface": json.dumps({"info": {"features": {"img": {"_type": "Image"}, "coarse": one, "fine": one}}})}
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "c.parquet")
    with pytest.raises(DatapropsError, match=r"coarse, fine.*--label-column"):
        open_source(str(tmp_path / "c.parquet")).scan()
    fine = open_source(str(tmp_path / "c.parquet"), SourceOptions(label_column="fine")).scan()
    assert fine["label"].tolist() == ["v", "u"]


# HDF5 and NumPy


def arrays(n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (n, 6, 6, 3)).astype(np.uint8)
    return images, np.arange(n) % 3


def write_h5(path: Path, **values) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file.create_dataset(name.replace("__", "/"), data=value)
    return path


def write_npz(path: Path, **values) -> Path:
    np.savez(path, **values)
    return path


def write_packed(path: Path, **values) -> Path:
    np.savez_compressed(path, **values)
    return path


WRITERS = {"s.h5": write_h5, "s.npz": write_npz, "packed.npz": write_packed}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("first", [False, True])
def test_arrays_and_labels_by_name(name: str, first: bool, tmp_path: Path) -> None:
    images, y = arrays()
    stored = np.moveaxis(images, -1, 1) if first else images
    path = WRITERS[name](tmp_path / name, images=stored, labels=y[:, None], ids=np.arange(9))
    source = open_source(str(path))
    table = source.scan()
    assert table["label"].tolist() == ["0", "1", "2"] * 3
    for key, pixels in zip(table["key"], images, strict=True):
        image = source.read(key)
        assert isinstance(image, RawImage)
        np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("name", WRITERS)
def test_split_arrays_as_medmnist_has_them(name: str, tmp_path: Path) -> None:
    images, y = arrays()
    parts = {}
    for split, at in (("train", slice(6)), ("val", slice(6, 9))):
        parts |= {f"{split}_images": images[at], f"{split}_labels": y[at]}
    table = open_source(str(WRITERS[name](tmp_path / name, **parts))).scan()
    assert table["split"].tolist() == ["train"] * 6 + ["val"] * 3
    assert table["label"].tolist() == ["0", "1", "2"] * 3


@pytest.mark.parametrize("name", WRITERS)
def test_names_that_tell_nothing_are_chosen_by_rule(name: str, tmp_path: Path) -> None:
    images, y = arrays()
    path = WRITERS[name](tmp_path / name, a=images, b=images[::-1].copy(), c=y, d=np.stack([y, y == 1], 1), p=y + 5)
    with pytest.raises(DatapropsError, match=r"a \[9, 6, 6, 3\].*--rule images=NAME"):
        open_source(str(path)).scan()
    chosen = open_source(str(path), SourceOptions(rules=("images=b", "labels=c", "groups=p")))
    table = chosen.scan()
    assert (table["label"].tolist()[1], table["group"].tolist()[1]) == ("1", "6")
    np.testing.assert_array_equal(chosen.read(table["key"][0]).pixels, images[-1])
    several = ("images=a", "labels=d")
    with pytest.raises(DatapropsError, match=r"2 labels for each image.*column=0 to column=1"):
        open_source(str(path), SourceOptions(rules=several)).scan()
    assert open_source(str(path), SourceOptions(rules=(*several, "column=1"))).scan()["label"].tolist()[1] in (
        "1",
        "True",
    )
    with pytest.raises(DatapropsError, match=r"no array 'zz'.*it has a \[9"):
        open_source(str(path), SourceOptions(rules=("images=zz",))).scan()
    with pytest.raises(DatapropsError, match="no rule 'image'"):
        open_source(str(path), SourceOptions(rules=("image=a",))).scan()


def test_npy_with_labels_beside_it(tmp_path: Path) -> None:
    images, y = arrays()
    np.save(tmp_path / "x.npy", images[..., 0] / 255.0)
    np.save(tmp_path / "y.npy", y)
    source = open_source(str(tmp_path / "x.npy"), SourceOptions(rules=("labels=y.npy",)))
    table = source.scan()
    assert table["label"].tolist() == ["0", "1", "2"] * 3
    read = source.read(table["key"][4])
    assert read.values == "floats"  # their range is decided for the set
    np.testing.assert_allclose(resolved(read).pixels, images[4, ..., 0], rtol=1e-6)
    np.save(tmp_path / "y.npy", y[:4])
    with pytest.raises(DatapropsError, match=r"4 values .* 9 images"):
        source.scan()
    np.save(tmp_path / "f.npy", np.asfortranarray(images))
    with pytest.raises(DatapropsError, match="ascontiguousarray"):
        open_source(str(tmp_path / "f.npy")).scan()


def test_hdf5_of_encoded_images_and_text_labels(tmp_path: Path) -> None:
    data = pngs(4)
    with h5py.File(tmp_path / "e.h5", "w") as file:
        encoded = file.create_dataset("scan/files", (4,), h5py.vlen_dtype(np.uint8))
        for i, item in enumerate(data):
            encoded[i] = np.frombuffer(item, np.uint8)
        file["scan/label"] = ["a", "b", "a", "b"]
    source = open_source(str(tmp_path / "e.h5"))
    table = source.scan()
    assert table["label"].tolist() == ["a", "b", "a", "b"]
    assert [source.read(key) for key in table["key"]] == data


def test_an_audit_of_arrays_in_files_equals_that_of_arrays_in_memory(tmp_path: Path) -> None:
    images, y = arrays(30)
    options = {"size": 6, "k": 4, "draws": 2, "estimators": ("mle",)}
    held = audit(images, y, store=str(tmp_path / "held"), **options)
    packed = run(write_packed(tmp_path / "packed.npz", images=images, labels=y), tmp_path, **options)
    for summary in (packed, held):
        del summary["label_sharpness"]["sharpest_pair"]  # named by the arrays' names
    assert {key: packed[key] for key in MEASURED} == {key: held[key] for key in MEASURED}
    seen = [
        looked(writer(tmp_path / name, images=images, labels=y), tmp_path, size=6) for name, writer in WRITERS.items()
    ]
    assert seen[0]["pixels"] == seen[1]["pixels"] == seen[2]["pixels"]


# hostile and broken files


def test_a_png_of_50000_by_50000_is_an_unreadable_image(plain, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )
    with pytest.raises(UnreadableImage, match="decompression bomb"):
        decode(bomb)
    files, _ = plain
    seen = looked(zip_of(tmp_path / "b.zip", {**files, "cat/bomb.png": bomb}), tmp_path)
    assert any("bomb.png" in text and "decompression bomb" in text for text in seen["unreadable"])


@pytest.mark.parametrize("honest", [True, False])
def test_a_zip_member_that_inflates_a_thousand_times_is_not_inflated(
    honest: bool, plain, tmp_path: Path, monkeypatch
) -> None:
    files, _ = plain
    size = 64 * 2**20
    path = zip_of(tmp_path / "b.zip", {**files, "cat/bomb.png": bytes(size)})
    if not honest:  # the directory promises little
        data = bytearray(path.read_bytes())
        at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"cat/bomb.png"))
        data[at + 24 : at + 28] = struct.pack("<I", 1000)
        path.write_bytes(bytes(data))
    largest = []
    original = zlib.decompressobj

    class Watched:
        def __init__(self, *args):
            self.inner = original(*args)

        def decompress(self, data, most=0):
            out = self.inner.decompress(data, most)
            largest.append(len(out))
            return out

        def __getattr__(self, name):
            return getattr(self.inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(OSError, match=r"inflates 1,0.. times|damaged"):
        open_source(str(path)).read("cat/bomb.png")
    assert sum(largest) < 2**20
    monkeypatch.undo()
    assert "bomb.png" in " ".join(looked(path, tmp_path)["unreadable"])


def test_a_packed_array_that_inflates_a_thousand_times_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "b.npz", images=np.zeros((80, 1000, 1000), np.uint8))
    with pytest.raises(DatapropsError, match=r"inflates [\d,]+ times to 80,000,128 bytes .*np.savez"):
        open_source(str(tmp_path / "b.npz")).scan()


def test_a_packed_tar_that_is_a_bomb_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tars, "LARGEST", 2**20)
    tar_of(tmp_path / "b.tar.gz", {"a/x.png": bytes(2**25)}, "w:gz")
    with pytest.raises(DatapropsError, match="decompression bomb"):
        open_source(str(tmp_path / "b.tar.gz")).scan()


EVIL = ["../../evil.png", "/abs/evil.png", "a/../../evil\n.png", "C:/evil.png", "..\\evil.png"]


@pytest.mark.parametrize("name", ["slip.zip", "slip.tar", "slip.tar.gz"])
def test_members_that_would_leave_the_folder_are_refused_and_shown_escaped(name: str, plain, tmp_path: Path) -> None:
    files, _ = plain
    data = encoded(np.zeros((4, 4), np.uint8))
    place = _made(tmp_path / "deep" / "er")
    path = PACKERS[name.replace("slip", "set")](place / name, {**files, **dict.fromkeys(EVIL, data)})
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    source = open_source(str(path))
    table = source.scan()
    assert table["path"].tolist() == list(files)
    assert sorted(table.attrs["ignored"]) == sorted(e.replace("\\", "\\\\").replace("\n", "\\n") for e in EVIL)
    for evil in EVIL:
        with pytest.raises(OSError, match="no such member"):
            source.read(evil)
    assert len(looked(path, tmp_path / "out")["left_out"]) == len(EVIL)
    assert not list(tmp_path.rglob("*evil*"))
    assert {p: p.stat().st_mtime_ns for p in place.rglob("*")} == {
        p: t for p, t in before.items() if p.is_relative_to(path)
    }


def test_links_of_a_tar_are_images_if_they_stay_inside_and_are_not_followed_if_they_leave(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "l.tar", "w") as archive:
        add(archive, "a/x.png", pngs(1)[0])
        for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "a/x.png")):
            link = tarfile.TarInfo(f"a/{kind.decode()}.png")
            link.type, link.linkname = kind, target
            archive.addfile(link)
    source = open_source(str(tmp_path / "l.tar"))
    table = source.scan()
    assert table["path"].tolist() == ["a/1.png", "a/x.png"]
    assert source.read("a/1.png") == source.read("a/x.png") == pngs(1)[0]
    assert table.attrs["reasons"] == {"a/2.png": archive_index.NOWHERE}


class Evil:
    """Pickles to a call that makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", ["e.npy", "e.npz", "packed.npz", "labels.npz"])
def test_a_pickle_that_would_run_code_is_refused(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    evil = np.array([Evil(mark)] * 3, dtype=object)
    images = arrays(3)[0]
    if name == "e.npy":
        np.save(tmp_path / name, evil, allow_pickle=True)
    elif name == "labels.npz":
        np.savez(tmp_path / name, images=images, labels=evil)
    else:
        WRITERS["packed.npz" if "packed" in name else "s.npz"](tmp_path / name, images=evil)
    for use in (lambda s: s.scan(), lambda s: s.read("images/0")):
        with pytest.raises((DatapropsError, OSError), match="holds Python objects, which are not loaded"):
            use(open_source(str(tmp_path / name)))
    with pytest.raises(DatapropsError, match="Python objects"):
        looked(tmp_path / name, tmp_path)
    assert not mark.exists()


def whole(name: str, tmp_path: Path, files: dict[str, bytes]) -> Path:
    images, y = arrays(40)
    path = tmp_path / name
    if name in PACKERS:
        return PACKERS[name](path, files)
    if name == "x.parquet":
        pq.write_table(hub_table(pngs(40), [0] * 40), path)
    elif name == "x.npy":
        np.save(path, images)
    else:
        return WRITERS[name](path, images=images, labels=y)
    return path


@pytest.mark.parametrize("name", ["set.zip", "x.parquet", "s.h5", "s.npz", "packed.npz", "x.npy"])
@pytest.mark.parametrize("share", [0.6, 0.02, 0.0])
def test_a_truncated_file_is_named(name: str, share: float, plain, tmp_path: Path) -> None:
    path = whole(name, tmp_path, plain[0])
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(DatapropsError) as error:
        looked(path, tmp_path)
    assert name in str(error.value)


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.tar.xz"])
def test_a_truncated_tar_gives_what_came_before_and_says_so(name: str, plain, tmp_path: Path) -> None:
    files = plain[0]
    path = PACKERS[name](tmp_path / name, files)
    os.truncate(path, int(path.stat().st_size * 0.6))
    seen = looked(path, tmp_path)
    assert 5 < seen["n_images"] < len(files)
    assert any("truncated" in text for text in seen["left_out"])
    if name == "set.tar":
        os.truncate(path, 1024 + 300)  # within the second member's header or data
    else:
        os.truncate(path, 20)
    source = open_source(str(path))
    try:
        table = source.scan()
    except DatapropsError as error:
        assert name in str(error)
    else:
        assert len(table) == 1


def test_a_zip_that_is_damaged_inside_has_an_unreadable_image(plain, tmp_path: Path) -> None:
    files = plain[0]
    path = zip_of(tmp_path / "d.zip", files)
    data = bytearray(path.read_bytes())
    at = data.index(b"cat/003.png") + 40
    data[at : at + 30] = bytes(30)
    path.write_bytes(bytes(data))
    assert any("cat/003.png" in text and "damaged" in text for text in looked(path, tmp_path)["unreadable"])


def test_an_encrypted_member_is_unreadable(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "e.zip", {"a/x.png": pngs(1)[0]})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(OSError, match="encrypted"):
        open_source(str(path)).read("a/x.png")


def test_hdf5_does_not_lead_out_of_the_file(tmp_path: Path) -> None:
    images, y = arrays()
    write_h5(tmp_path / "secret.h5", images=images)
    np.save(tmp_path / "raw.npy", images)
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["link"] = h5py.ExternalLink("secret.h5", "images")
        file["loop"] = h5py.SoftLink("/")
        layout = h5py.VirtualLayout(images.shape, images.dtype)
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "images", images.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset(
            "outside", images.shape, images.dtype, external=[(str(tmp_path / "raw.npy"), 128, images.nbytes)]
        )
        file["labels"] = y
    with pytest.raises(DatapropsError, match=r"it has labels \[9\].* not followed: link, loop, outside, virtual$"):
        open_source(str(tmp_path / "e.h5")).scan()
    for name in ("virtual", "outside"):
        with pytest.raises(OSError, match="another file"):
            open_source(str(tmp_path / "e.h5")).read(f"{name}/0")


def test_members_named_alike_but_for_slashes_and_dots_are_one_and_the_rest_counts(tmp_path: Path) -> None:
    data = pngs(5)
    names = ["a/0.png", "a/1.png", "b/0.png", "b/1.png", "a/.//1.png"]
    source = open_source(str(zip_of(tmp_path / "x.zip", dict(zip(names, data, strict=True)))))
    table = source.scan()
    assert table["path"].tolist() == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert source.read(table["key"][1]) == data[4]
    assert table.attrs["ignored"] == ["a/1.png"]


def test_a_process_that_read_hdf5_ends_by_itself(tmp_path: Path) -> None:
    images, y = arrays()
    write_h5(tmp_path / "n.h5", images=images, labels=y)
    script = (
        "import sys; from dataprops.util.garbage import collect_seldom; from dataprops.sources import open_source;"
        " collect_seldom(); source = open_source(sys.argv[1]); source.read(source.scan()['key'][0]); print('read')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "n.h5"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "read\n")  # -11: HDF5 closed the file when Python was gone


def test_a_kilobyte_of_parquet_is_not_believed_to_be_small(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    many = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3000, np.int32)), pa.array(["x" * 2**20]))
    for columns in ({"path": many}, {"path": pa.array(["a.png"] * 3000), "note": many}):
        pq.write_table(pa.table(columns), file, compression="zstd", store_schema=False)
        assert file.stat().st_size < 3000
        with (
            bounded(2**30),
            pytest.raises(DatapropsError, match=r"x\.parquet takes more memory than .*23\.4 GiB of 1\.0"),
        ):
            open_source(str(file)).scan()
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2 * 10**6, np.int8)), pa.array(["a.png"]))
    pq.write_table(pa.table({"path": rows}), file, store_schema=False)
    with pytest.raises(DatapropsError, match=r"x\.parquet cannot be read as a table: it declares 2,000,000 rows in"):
        open_source(str(file)).scan()


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_that_share_their_beginnings_are_read_and_counted_as_they_are_read(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four kilobytes may hold 200 MB of them, and nothing in the file says so."""
    file, n = tmp_path / "x.parquet", 3000

    def written(**columns) -> None:
        names = ["image.bytes", "image.path"] if "image" in columns else list(columns)
        told = dict.fromkeys(names, encoding)
        table = pa.table(columns)
        pq.write_table(table, file, use_dictionary=False, column_encoding=told, row_group_size=n, store_schema=False)

    monkeypatch.setattr(parquetfile, "AT_ONCE", 2**16)  # many batches
    paths = [f"a/{i % 2}/{i:04d}.png" for i in range(2 * n)]
    written(path=paths, label=[path[2] for path in paths])
    table = open_source(str(file)).scan()
    assert table["key"].tolist() == sorted(paths)
    assert table["label"].tolist() == [path[2] for path in sorted(paths)]
    data = pngs(1)[0]
    written(image=[{"bytes": data, "path": path} for path in paths])
    source = open_source(str(file))
    keys = source.scan()["key"]
    assert [source.read(keys[i]) == data for i in (0, n - 1, n, 2 * n - 1)] == [True] * 4
    if encoding == "DELTA_BYTE_ARRAY":
        monkeypatch.undo()
        for columns in ({"path": ["x" * 70_000] * n}, {"image": [{"bytes": b"x" * 70_000, "path": "a"}] * n}):
            written(**columns)
            assert file.stat().st_size < 9000
            source = open_source(str(file))
            with bounded(2**25), pytest.raises((DatapropsError, UnreadableImage), match="takes more memory than"):
                source.read(source.scan()["key"][0])


@pytest.mark.parametrize("form", ["plain", "struct", "list"])
def test_one_picture_in_a_thousand_rows_of_parquet_takes_the_memory_of_one(form: str, tmp_path: Path) -> None:
    file, png = tmp_path / "x.parquet", pngs(1)[0] + bytes(500_000)
    struct = {"bytes": png, "path": None}
    column = {"plain": [png] * 999, "struct": [struct] * 999, "list": [[struct]] * 999}[form]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"plain": pa.binary(), "struct": kind, "list": pa.list_(kind)}
    pq.write_table(pa.table({"image": pa.array([*column, None], types[form])}), file, compression="zstd")
    source = open_source(str(file))
    keys = source.scan()["key"]
    parquet._groups.values.clear()
    assert source.read(keys[7]) == png
    assert [column.nbytes < 2**21 for column in parquet._groups.values.values()] == [True]
    with pytest.raises(OSError, match="no image"):
        source.read(keys[999])


def test_arrays_that_hold_no_images_are_told_by_their_type(tmp_path: Path) -> None:
    images, y = arrays()
    for values, reason in (
        (
            images.astype(complex),
            r"not clear which array holds the images, as none is of numbers .* it has images \[9.*\] of complex128",
        ),
        (images.astype("M8[s]"), r"it has images .* of datetime64\[s\]"),
        (images[:0], r"images is empty, \[0, .*\]: it holds no images"),
        (np.array([None, "a"]), "it holds Python objects"),
    ):
        np.save(tmp_path / "x.npy", values, allow_pickle=True)
        with pytest.raises(DatapropsError, match=reason):
            open_source(str(tmp_path / "x.npy")).scan()
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["images"] = images
        file.create_dataset("labels", data=[file["images"].ref] * len(y), dtype=h5py.ref_dtype)
    with pytest.raises(DatapropsError, match="labels holds references to other arrays, which are no labels"):
        open_source(str(tmp_path / "r.h5")).scan()


def test_headers_that_promise_too_much_are_not_believed(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 8, 8)})
    (tmp_path / "n.npy").write_bytes(header.getvalue() + bytes(64))
    with pytest.raises(DatapropsError, match="truncated"):
        open_source(str(tmp_path / "n.npy")).scan()
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file.create_dataset("images", (10**10, 8, 8), np.uint8, chunks=(1, 8, 8))
        file.create_dataset("large", (2, 10**6, 10**6), np.uint8, chunks=(1, 64, 64))
    for name, word in (("images", "declares 10,000,000,000 images"), ("large", "declares images of")):
        with pytest.raises(DatapropsError, match=word):
            open_source(str(tmp_path / "n.h5"), SourceOptions(rules=(f"images={name}",))).scan()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_what_is_no_archive_is_named(compress, tmp_path: Path) -> None:
    suffix = {gzip.compress: "tar.gz", bz2.compress: "tar.bz2", lzma.compress: "tar.xz", bytes: "tar"}[compress]
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(compress(b"no tar at all" * 100))
    with pytest.raises(DatapropsError, match=f"x.{suffix} cannot be read as an archive"):
        open_source(str(path)).scan()


def test_an_archive_of_another_kind_than_its_name_says_is_told(tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a/1.png", b"x")
    for name, data, told in (
        ("a.tar", held.getvalue(), "a zip archive: rename it so that it ends in .zip"),
        ("b.tar", gzip.compress(b"x" * 2000), "packed by gzip: rename it so that it ends in .tar.gz"),
        ("c.zip", b"Rar!\x1a\x07\0" + bytes(100), "a RAR archive: unpack it, and give the folder"),
        ("d.zip", held.getvalue()[:40], "is it whole"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DatapropsError, match=f"{name} cannot be read as an archive: .*{told}"):
            open_source(str(tmp_path / name)).scan()


def test_an_archive_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatapropsError, match="holds no images"):
        open_source(str(zip_of(tmp_path / "t.zip", {"readme.txt": b"x"}))).scan()


# what a folder may hold, end to end


def test_odd_folders_are_audited_and_everything_odd_is_said(tmp_path: Path) -> None:
    root = tmp_path / "set"
    images = random_folder(root, {"cat": 12, "dog": 12})
    save(root / "dog" / "twin of a cat.png", images["cat/003.png"])  # one picture, two labels
    save(
        root / "one" / "000.png", noise(np.random.default_rng(9))
    )  # a class with one image; a name that others have, too
    (root / "nothing").mkdir()
    save(root / "lost.png", noise(np.random.default_rng(10)))  # no label
    (root / "cat" / "loop").symlink_to(root)
    for number, name in enumerate([b"new\nline.png", b"caf\xe9.png", b" space .png"]):
        (Path(os.fsdecode(os.fsencode(root / "cat") + b"/" + name))).write_bytes(pngs(4, seed=20)[number])
    summary = run(root, tmp_path)
    assert summary["n_images"] == 30
    assert summary["n_unreadable"] == 0
    assert summary["conflicts"] == [["cat/003.png", "dog/twin of a cat.png"]]
    assert summary["labels"]["classes"] == {"cat": 15, "dog": 13, "one": 1}
    assert any("lost.png" in text for text in findings(summary, "unlabelled"))
    small = " ".join(findings(summary, "small_class"))
    assert "Class one has only 1 readable image." in small
    assert "Class nothing has no images" in small
    assert "cat/loop" in summary["left_out"]["files"]
    paths = pd.read_parquet(Path(summary["results"]) / "images.parquet")["path"]
    assert {r"cat/new\nline.png", r"cat/caf\xe9.png", "cat/ space .png", "cat/000.png", "one/000.png"} <= set(paths)
    report = (Path(summary["results"]) / "report.html").read_text(encoding="utf-8")
    assert "new\nline" not in report


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/scans.tar.gz", "scans"),
        ("s3://bucket/sets/chest.zip", "chest"),
        ("s3://bucket/sets/chest", "chest"),
        ("s3://bucket", "bucket"),
        ("https://me:secret@host:8/x/list.csv?sig=1", "list"),
        ("x/train-{000..012}.tar", "train"),
        ("digits:", "digits"),
    ],
)
def test_the_name_of_a_dataset(source: str, name: str) -> None:
    assert AuditConfig(source).dataset == name


def test_a_real_medical_set_as_tar_gz_equals_its_folder(real_data, tmp_path: Path) -> None:
    folder = real_data("brain_mri_yesno")
    with tarfile.open(tmp_path / "brain.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(folder, "brain_mri_yesno")
    source, packed = open_source(str(folder)), open_source(str(tmp_path / "brain.tar.gz"))
    table, inside = source.scan(), packed.scan()
    assert inside["path"].str.removeprefix("brain_mri_yesno/").tolist() == table["path"].tolist()
    assert inside["label"].tolist() == table["label"].tolist()
    order = packed.order(inside["key"].tolist())
    keys = [inside["key"][i] for i in order]
    for key, bearer in zip(keys, packed.read_ahead([key] for key in keys), strict=True):
        assert bearer.read(key) == source.read(key.removeprefix("brain_mri_yesno/"))


def arrow_file(path: Path, kind: str, batches: int = 3) -> list[bytes]:
    """Batches of four images with labels, as a stream or a file; returns the images."""
    held = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [make_paper.png(seed) for seed in range(4 * batches)]
    schema = pa.schema([("image", held), ("label", pa.string())])
    make = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, make(file, schema) as writer:
        for start in range(0, len(images), 4):
            rows = [{"bytes": data, "path": "x.png"} for data in images[start : start + 4]]
            writer.write_batch(pa.record_batch([pa.array(rows, held), pa.array(["a", "b"] * 2)], schema))
    return images


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_images_of_an_arrow_file_are_read_batch_by_batch(tmp_path: Path, kind: str) -> None:
    images = arrow_file(tmp_path / "x.arrow", kind)
    source = open_source(str(tmp_path / "x.arrow"))
    table = source.scan()
    assert table["label"].tolist() == ["a", "b"] * 6
    order = np.random.default_rng(0).permutation(len(images))
    assert [source.read(table["key"][number]) for number in order] == [images[number] for number in order]


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_an_arrow_file_that_is_cut_meanwhile_is_a_reason(tmp_path: Path, kind: str) -> None:
    arrow_file(tmp_path / "x.arrow", kind)
    source = open_source(str(tmp_path / "x.arrow"))
    keys = source.scan()["key"].tolist()
    with (tmp_path / "x.arrow").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(OSError, match=r"x\.arrow cannot be read as Arrow"):
        source.read(keys[-1])


def test_a_parquet_file_that_promises_more_rows_than_it_can_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataprops.sources.parquetfile.LEAST_ROWS", 10)
    monkeypatch.setattr("dataprops.sources.parquetfile.ROWS_PER_BYTE", 0)
    held = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array([None] * 11, held)}), tmp_path / "x.parquet")
    with pytest.raises(DatapropsError, match=r"x\.parquet cannot be read as Parquet: it declares 11 rows in"):
        open_source(str(tmp_path / "x.parquet")).scan()


def test_what_a_parquet_row_does_not_hold_is_a_reason(tmp_path: Path) -> None:
    held = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    (tmp_path / "beside.png").write_bytes(pngs(1)[0])
    rows = [
        {"bytes": pngs(1)[0], "path": None},
        {"bytes": None, "path": "beside.png"},
        {"bytes": None, "path": "../outside.png"},
        {"bytes": None, "path": None},
    ]
    pq.write_table(pa.table({"image": pa.array(rows, held)}), tmp_path / "x.parquet")
    source = open_source(str(tmp_path / "x.parquet"))
    keys = source.scan()["key"].tolist()
    assert source.read(keys[0]) == source.read(keys[1]) == pngs(1)[0]
    for key, reason in (
        (keys[2], "names a file outside of the table's folder"),
        (keys[3], "the row holds no image"),
        ("x.parquet/9", "there is no such row"),
        ("x.parquet", "there is no such row"),
    ):
        with pytest.raises(OSError, match=reason):
            source.read(key)
    stamps = source.version_tokens(keys)
    assert len(stamps) == 4 and len(set(stamps)) == 1 and stamps[0] != -1


def test_a_parquet_row_of_several_images_and_one_of_none(tmp_path: Path) -> None:
    data = pngs(3)
    rows = pa.array([data[:2], [], data[2:]], pa.list_(pa.binary()))
    pq.write_table(pa.table({"images": rows, "label": ["a", "b", "a"]}), tmp_path / "x.parquet")
    source = open_source(str(tmp_path / "x.parquet"))
    table = source.scan()
    assert table["key"].tolist() == [f"x.parquet/{part}" for part in ("0.0", "0.1", "1.0", "2.0")]
    assert table["label"].tolist() == ["a", "a", "b", "a"]
    assert [source.read(table["key"][at]) for at in (0, 1, 3)] == data
    with pytest.raises(OSError, match="the row holds no image"):
        source.read(table["key"][2])


def test_a_parquet_group_that_is_too_large_to_be_read_at_once_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataprops.sources.containers.parquet.GROUP_BYTES", 100)
    pq.write_table(pa.table({"image": pa.array(pngs(3))}), tmp_path / "x.parquet")
    with pytest.raises(DatapropsError, match=r"row group 0 holds .* more than 100, .*row_group_size=100"):
        open_source(str(tmp_path / "x.parquet")).scan()


def test_a_parquet_group_that_is_damaged_is_a_reason_of_its_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array(pngs(8))}), tmp_path / "x.parquet", compression="gzip", row_group_size=4)
    meta = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(1).column(0)
    with (tmp_path / "x.parquet").open("r+b") as file:
        file.seek(meta.data_page_offset)
        file.write(bytes(200))
    source = open_source(str(tmp_path / "x.parquet"))
    keys = source.scan()["key"].tolist()
    assert source.read(keys[0]) == pngs(8)[0]
    with pytest.raises(OSError, match="the Parquet file is damaged"):
        source.read(keys[-1])


def test_images_of_plain_and_packed_arrays_come_in_one_pass(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "plain.npz", train_images=pixels[0], test_images=pixels[1])
    np.savez_compressed(tmp_path / "packed.npz", train_images=pixels[0], test_images=pixels[1])
    for name in ("plain", "packed"):
        source = open_source(str(tmp_path / f"{name}.npz"))
        keys = source.scan()["key"].tolist()
        order = source.order(keys[::-1])
        assert (order is None) == (name == "plain")
        chosen = keys[::-1] if order is None else [keys[::-1][at] for at in order]
        for key, bearer in zip(chosen, source.read_ahead([key] for key in chosen), strict=True):
            found = bearer.read(key)
            assert np.array_equal(found.pixels.squeeze(), source.read(key).pixels.squeeze())
        with pytest.raises(OSError, match="there is no such array"):
            source.read("nothing/0")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: np.array([{}], object), "holds Python objects, which are not loaded"),
        (lambda: np.zeros(3, [("a", "u1"), ("b", "u1")]), "holds records: save plain numbers"),
    ],
)
def test_arrays_that_are_not_plain_numbers_are_refused(tmp_path: Path, make: Callable, reason: str) -> None:
    np.save(tmp_path / "x.npy", make(), allow_pickle=True)
    with pytest.raises(DatapropsError, match=rf"x\.npy cannot be read as a NumPy file: .* {reason}"):
        open_source(str(tmp_path / "x.npy")).scan()


def test_fields_beside_an_image_of_a_shard_may_be_a_list_or_damaged(tmp_path: Path) -> None:
    data = pngs(3)
    files = {
        "a.png": data[0],
        "a.cls": b'["x", "y"]',
        "b.png": data[1],
        "b.cls": b"[x",
        "c.png": data[2],
        "c.json": b"{",
    }
    table = open_source(str(tar_of(tmp_path / "s.tar", files))).scan()
    assert dict(zip(table["key"].str.rpartition("/")[2], table["label"], strict=True)) == {
        "a.png": "x|y",
        "b.png": "[x",
        "c.png": None,
    }
