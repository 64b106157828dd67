"""Volumes and their slices: voxels against nibabel, rules against what was drawn into the volumes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import UnreadableImage, decode
from dataprops.imaging.levels import percentile_levels, to_levels
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.volumes import load_volume, open_volume, plane, slice_image
from dataprops.store.hashing import fingerprint_batch
from dataprops.util.cache import Cache

RAS = np.diag([1.0, 1.0, 2.5, 1.0])


def body(seed: int = 0, shape: tuple[int, int, int] = (16, 14, 12)) -> np.ndarray:
    """Noise in the middle slices (2 to 9 along z), nothing around."""
    volume = np.zeros(shape, np.float32)
    volume[4:12, 4:10, 2:10] = np.random.default_rng(seed).uniform(100, 1000, (8, 6, 8))
    return volume


def write(path: Path, voxels: np.ndarray, affine: np.ndarray = RAS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nibabel.Nifti1Pair if path.suffix in (".hdr", ".img") else nibabel.Nifti1Image
    nibabel.save(kind(voxels, affine), path)
    return path


def rows(spec: str, *rules: str) -> pd.DataFrame:
    return open_source(spec, SourceOptions(rules=rules)).scan()


def test_real_volumes_are_those_nibabel_gives(real_data: Callable[[str], Path]) -> None:
    seen = 0
    for file in sorted(real_data("nifti_samples").iterdir()):
        if file.name == "row_major.dconn.nii":
            with pytest.raises(UnreadableImage, match="not a volume of voxels"):
                open_volume(file)
            continue
        whole = nibabel.as_closest_canonical(nibabel.load(file))
        wanted = whole.get_fdata()
        for time in (0, 1) if wanted.ndim == 4 else (0,):
            volume = open_volume(file, time)
            reference = wanted[..., time] if wanted.ndim == 4 else wanted
            finite = np.isfinite(reference)
            np.testing.assert_array_equal(volume.voxels[finite], reference[finite].astype(np.float32))
            np.testing.assert_allclose(volume.spacing, whole.header.get_zooms()[:3], rtol=1e-5)
            assert np.isfinite(volume.voxels).all()
            np.testing.assert_allclose(volume.levels, np.percentile(volume.voxels, (0.5, 99.5)))
            seen += 1
    assert seen >= 6
    table = rows(f"nifti:{real_data('nifti_samples')}", "step=4")
    assert set(table["path"].str.partition("#")[0]) == {file.name for file in real_data("nifti_samples").iterdir()}
    assert "row_major.dconn.nii" in set(table["key"])


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.hdr"])
def test_orientation_is_canonical_whatever_the_file_has(tmp_path: Path, name: str) -> None:
    # stored with axes (-y, z, x)
    affine = np.array([[0, 0, 1.0, 0], [-2.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1]])
    stored = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    volume = open_volume(write(tmp_path / name, stored, affine))
    assert volume.spacing == (1, 2, 3)
    np.testing.assert_array_equal(volume.voxels, np.transpose(stored, (2, 0, 1))[:, ::-1])
    assert not volume.voxels.flags.writeable


def test_slices_stand_upright() -> None:
    volume = np.zeros((4, 5, 6), np.float32)
    volume[3, 4, 5] = 1  # right, front, head
    for axis, index in (("sagittal", 3), ("coronal", 4), ("axial", 5)):
        shown = plane(volume, axis, index)
        assert shown[0, -1] == 1 and shown.sum() == 1  # top right
    assert plane(volume, "axial", 0).shape == (5, 4)
    image = slice_image(volume * 10, "axial", 5, (0, 20))
    assert image.pixels[0, -1] == 127.5 and image.pixels.dtype == np.float32 and (image.width, image.height) == (4, 5)
    levels = percentile_levels(body())
    np.testing.assert_array_equal(slice_image(body(), 2, 5).pixels, np.rot90(to_levels(body()[..., 5], levels)))


def test_slices_with_content_at_the_spacing_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "tumor" / "1.nii.gz", body(1))
    write(tmp_path / "healthy" / "2.nii", body(2))
    write(tmp_path / "healthy" / "3.hdr", body(3))
    table = rows(f"nifti:{tmp_path}")
    assert table["key"].tolist() == [
        *(
            f"{name}#axial={at:04d}"
            for name in ("healthy/2.nii", "healthy/3.hdr", "tumor/1.nii.gz")
            for at in range(2, 10)
        )
    ]
    assert table["label"].value_counts().to_dict() == {"healthy": 16, "tumor": 8}
    assert table["group"].tolist() == table["path"].str.partition("#")[0].tolist()

    def slices(*rules: str) -> list[int]:
        table = rows(f"nifti:{tmp_path}", *rules)
        return [int(key.rpartition("=")[2]) for key in table["key"] if key.startswith("tumor")]

    assert slices("step=3") == [2, 5, 8]
    assert slices("spacing=5") == [2, 4, 6, 8]  # slices are 2.5 mm apart
    assert slices("spacing=5.1") == [2, 5, 8]
    assert slices("axis=coronal") == list(range(4, 10))
    assert slices("axis=sagittal", "content=0.2") == list(range(4, 12))  # 6 * 8 of 14 * 12 voxels
    with pytest.raises(DatapropsError, match=r"content=0\.9"):
        slices("content=0.9")
    source = open_source(f"nifti:{tmp_path}")
    image = source.read("tumor/1.nii.gz#axial=0005")
    np.testing.assert_array_equal(
        image.pixels, slice_image(load_volume(tmp_path / "tumor/1.nii.gz"), "axial", 5).pixels
    )
    window = open_source(f"nifti:{tmp_path}", SourceOptions(window="300/400")).read("tumor/1.nii.gz#axial=0005")
    np.testing.assert_allclose(window.pixels, np.rot90(np.clip((body(1)[..., 5] - 100) / 400, 0, 1) * 255), atol=1e-3)
    one = rows(f"nifti:{tmp_path / 'tumor' / '1.nii.gz'}", "step=3")
    assert one["key"].tolist() == ["1.nii.gz#axial=0002", "1.nii.gz#axial=0005", "1.nii.gz#axial=0008"]


@pytest.mark.parametrize(
    "rules",
    [
        ("step=0",),
        ("step=2.5",),
        ("content=2",),
        ("spacing=-1",),
        ("time=x",),
        ("axis=z",),
        ("area=nan",),
        ("step=2", "spacing=2"),
        ("x=1",),
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, rules: tuple[str, ...]) -> None:
    write(tmp_path / "1.nii", body())
    with pytest.raises(DatapropsError, match=rules[0].partition("=")[0]):
        rows(f"nifti:{tmp_path}", *rules)


def test_labels_from_a_segmentation(tmp_path: Path) -> None:
    mask = np.zeros(body().shape, np.uint8)
    mask[5:8, 5, 4] = 1  # three voxels
    mask[5:9, 5:9, 5:7] = 4
    for case in ("p1", "p2"):
        for kind in ("flair", "t1"):
            write(tmp_path / "brats" / case / f"{case}_{kind}.nii.gz", body())
        write(tmp_path / "brats" / case / f"{case}_seg.nii.gz", mask)
    write(tmp_path / "brats" / "p3" / "p3_t1.nii.gz", body())
    table = rows(f"nifti:{tmp_path / 'brats'}", "segmentation=_seg", "case=folder")
    assert not table["key"].str.contains("_seg").any()
    told = {
        tuple(part["label"]) for _, part in table[table["group"] != "p3"].groupby(table["key"].str.partition("#")[0])
    }
    assert told == {("without", "without", "with", "with", "with", "without", "without", "without")}
    assert table.loc[table["group"] == "p3", "label"].isna().all()
    assert set(table["group"]) == {"p1", "p2", "p3"}
    few = rows(f"nifti:{tmp_path / 'brats'}", "segmentation=_seg", "area=4")
    first = few[few["key"].str.startswith("p1/p1_t1")]
    assert [int(key[-4:]) for key in first["key"]] == [2, 3, 5, 6, 7, 8, 9]  # three voxels are neither
    assert first["label"].tolist() == ["without"] * 2 + ["with"] * 2 + ["without"] * 3

    write(tmp_path / "msd" / "imagesTr" / "a.nii.gz", body())
    write(tmp_path / "msd" / "labelsTr" / "a.nii.gz", mask)
    table = rows(f"nifti:{tmp_path / 'msd'}", "segmentation=../labelsTr/{case}.nii.gz")
    assert set(table["key"].str.partition("/")[0]) == {"imagesTr"} and (table["label"] == "with").sum() == 3
    with pytest.raises(DatapropsError, match="_mask"):
        rows(f"nifti:{tmp_path / 'msd'}", "segmentation=_mask")


def test_labels_from_a_manifest(tmp_path: Path) -> None:
    write(tmp_path / "v" / "1.nii", body(1))
    write(tmp_path / "v" / "2.nii", body(2))
    (tmp_path / "set.csv").write_text("path,label,split,group\nv/1.nii,glioma,train,p1\nv/2.nii,none,test,p1\n")
    table = rows(f"nifti:{tmp_path / 'set.csv'}", "step=4")
    assert table["key"].tolist() == [f"v/{n}.nii#axial={at:04d}" for n in (1, 2) for at in (2, 6)]
    assert table["label"].tolist() == ["glioma"] * 2 + ["none"] * 2 and set(table["group"]) == {"p1"}
    assert table["split"].tolist() == ["train"] * 2 + ["test"] * 2


def test_one_time_of_a_4d_volume(tmp_path: Path) -> None:
    series = np.stack([body(seed) for seed in range(3)], axis=-1)
    file = write(tmp_path / "s.nii.gz", series)
    for time in range(3):
        np.testing.assert_array_equal(load_volume(file, time), body(time))
    with pytest.raises(UnreadableImage, match="no volume 3"):
        load_volume(file, 3)
    source = open_source(f"nifti:{tmp_path}", SourceOptions(rules=("time=2",)))
    np.testing.assert_array_equal(source.read("s.nii.gz#axial=0004").pixels, slice_image(body(2), "axial", 4).pixels)


def test_faults_are_findings(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a" / "good.nii", body(1))
    write(tmp_path / "set" / "b" / "good.nii", body(2))
    good = write(tmp_path / "short.nii.gz", body(3)).read_bytes()
    (tmp_path / "set" / "a" / "short.nii.gz").write_bytes(good[: len(good) // 2])
    (tmp_path / "set" / "a" / "text.nii").write_text("no volume")
    (tmp_path / "set" / "a" / "empty.nii").write_bytes(b"")
    huge = bytearray(write(tmp_path / "huge.nii", body()).read_bytes())
    huge[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / "set" / "b" / "huge.nii").write_bytes(huge)
    colour = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    write(tmp_path / "set" / "b" / "colour.nii", colour)
    write(tmp_path / "set" / "b" / "nan.nii", np.full((4, 4, 4), np.nan, np.float32))
    source = open_source(f"nifti:{tmp_path / 'set'}")
    keys = source.scan()["key"].tolist()
    whole = [key for key in keys if "#" not in key]
    assert len(keys) == 16 + 6 and len(whole) == 6
    prints = fingerprint_batch(source, 0, keys)
    assert [key for key, content in zip(keys, prints.content, strict=True) if content is None] == whole
    told = dict(zip(keys, prints.error, strict=True))
    for name, words in {
        "a/short.nii.gz": "damaged",
        "a/text.nii": "no volume in a supported format",
        "a/empty.nii": "no volume in a supported format",
        "b/huge.nii": "far more voxels",
        "b/colour.nii": "colour",
        "b/nan.nii": "no finite number",
    }.items():
        assert words in (told[name] or ""), told[name]


def test_a_damaged_header_says_nothing_on_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "x.nii", body())
    data = bytearray(file.read_bytes())
    data[108:112] = np.float32(
        "nan"
    ).tobytes()  # where the voxels begin; nibabel has a remark on it, with a handler of its own
    file.write_bytes(data)
    with pytest.raises(UnreadableImage):
        load_volume(file)
    heard = capfd.readouterr()
    assert heard.err == heard.out == ""


def test_volumes_in_a_plain_folder_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "set" / "a" / "1.nii.gz", body())
    with pytest.raises(DatapropsError, match="nifti:"):
        open_source(str(tmp_path / "set")).scan()
    for path in (file, write(tmp_path / "2.nii", body())):
        with pytest.raises(UnreadableImage, match="nifti:FOLDER"):
            decode(path.read_bytes())
    from tests.make_images import random_folder

    random_folder(tmp_path / "set", {"b": 2})
    assert len(open_source(str(tmp_path / "set")).scan()) == 2
    assert "nifti:" in caplog.text


def test_what_is_held_is_bounded_and_read_once_by_many_threads() -> None:
    held: Cache[bytes] = Cache(100, len)
    reads: list[str] = []
    waiting = threading.Barrier(8)

    def read(name: str) -> bytes:
        reads.append(name)
        return name.encode() * 40

    def ask() -> None:
        waiting.wait()
        assert held.get("a", lambda: read("a")) == b"a" * 40

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == ["a"]
    for name in ("b", "a", "c", "a", "b"):  # c drops b, which was used before a
        held.get(name, lambda name=name: read(name))
    assert reads == ["a", "b", "c", "b"]

    def broken() -> bytes:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        held.get("x", broken)
    assert held.get("x", lambda: b"x") == b"x"
