"""Data as people have them: each public report of lost images, labels or false alarms as a small input with the right answer."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import nibabel
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataprops.audit.config import AuditConfig
from dataprops.audit.stages.decode import decode
from dataprops.audit.stages.scan import scan
from dataprops.audit.workspace import start_run
from dataprops.errors import DatapropsError
from dataprops.imaging.ranges import Facts, decide
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.masks import find_masks
from dataprops.sources.patients import group_of
from dataprops.sources.structure import infer
from dataprops.util.tools import inline_tools
from tests.make_images import encoded

SIDE = 12


def picture(seed: int, bright: bool = True) -> np.ndarray:
    """A random image of 8 bits that reaches from 0 to 255."""
    pixels = np.random.default_rng(seed).integers(0, 256 if bright else 64, (SIDE, SIDE)).astype(np.uint8)
    pixels[0, :2] = 0, 255
    return pixels


def put(root: Path, *names: str, kind: str = "PNG", first: int = 0) -> Path:
    """Distinct images at these paths."""
    for number, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(picture(first + number), kind))
    return root


class Looked(NamedTuple):
    """What the first two stages say of a source."""

    images: pd.DataFrame
    left_out: dict[str, str]
    decisions: dict[str, dict[str, str]]
    range: str
    spellings: list[tuple[str, dict[str, int]]]

    def column(self, name: str) -> dict[str, Any]:
        values = self.images[name].astype(object)
        return dict(zip(self.images["path"], values.where(values.notna(), None), strict=True))

    def count(self, name: str) -> dict[Any, int]:
        return self.images[name].fillna("-").value_counts().to_dict()


def look(source: str | Path, tmp_path: Path, **options: Any) -> Looked:
    config = AuditConfig(str(source), store=str(tmp_path / "store"), **{"size": SIDE, **options})
    run = start_run(config)
    tools = inline_tools(threads=1)
    scanned, decoded = scan(run, tools), decode(run, tools)
    told = {decision["what"]: decision for decision in (*scanned.decisions, *decoded.decisions)}
    return Looked(
        run.files.files.read(), dict(scanned.left_out), told, decoded.preprocess.range, list(scanned.spellings)
    )


# 1. one range for the set


def pixels_of(looked: Looked, tmp_path: Path) -> np.ndarray:
    """Largest grey level of each image."""
    return looked.images["peak"].to_numpy()


def test_a_rounding_error_above_one_turns_no_image_black(tmp_path: Path) -> None:
    images = np.stack([picture(i) for i in range(9)]).astype(np.float32) / 255
    images[4, 0, 1] = np.nextafter(np.float32(1), np.float32(2))
    images[5] *= 1.2  # overshoot of a resampling
    np.savez(tmp_path / "one.npz", images=images, labels=np.arange(9) % 2)
    looked = look(tmp_path / "one.npz", tmp_path)
    assert looked.range == "floats=0:1"
    assert looked.images["peak"].min() > 250
    assert looked.decisions["range"]["option"] == "--range"


def test_a_dark_image_among_bytes_as_floats_stays_dark(tmp_path: Path) -> None:
    images = np.stack([picture(i) for i in range(9)]).astype(np.float32)
    images[5] = np.random.default_rng(0).random((SIDE, SIDE))
    np.savez(tmp_path / "dark.npz", images=images, labels=np.arange(9) % 2)
    looked = look(tmp_path / "dark.npz", tmp_path)
    assert looked.range == "floats=0:255"
    assert looked.images["peak"].tolist()[5] <= 1
    bright = look(tmp_path / "dark.npz", tmp_path, range="image")
    assert bright.images["peak"].tolist()[5] > 200  # each by itself, as asked for


@pytest.mark.parametrize(("bits", "top"), [(10, 1000), (12, 3900), (14, 16000), (16, 65000)])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_twelve_bits_in_sixteen_use_the_whole_range(tmp_path: Path, bits: int, top: int, ending: str) -> None:
    for number in range(4):
        values = (picture(number).astype(np.float64) * top / 255).astype(np.uint16)
        file = tmp_path / "set" / "ab"[number % 2] / f"{number}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(file)
    looked = look(tmp_path / "set", tmp_path)
    assert looked.range == f"integers=0:{2**bits - 1}"
    assert looked.decisions["range"]["value"].startswith(f"{bits} bits")
    assert looked.images["peak"].min() > 230
    # a second audit reads no file, and decides alike
    assert look(tmp_path / "set", tmp_path).range == looked.range


def test_sets_of_eight_bits_keep_the_shards_that_they_have(tmp_path: Path) -> None:
    looked = look(put(tmp_path / "set", "a/1.png", "b/2.png"), tmp_path)
    assert looked.range == "image"
    assert "range" not in looked.decisions
    assert (tmp_path / "store" / "shards" / f"{SIDE}x{SIDE}x1-full-range-v1").is_dir()


def facts(kind: str, *pairs: tuple[float, float]) -> Facts:
    low, high = zip(*pairs, strict=True)
    return Facts([kind] * len(pairs), np.array(low, float), np.array(high, float))


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (facts("floats", (0, 1), (0, 0.2)), "floats=0:1"),
        (facts("floats", (-0.08, 1.1), (0, 1)), "floats=0:1"),
        (facts("floats", (-1, 1), (-0.9, 0.7)), "floats=-1:1"),
        (facts("floats", (-0.5, 0.5), (-0.4, 0.5)), "floats=-0.5:0.5"),
        (facts("floats", (0, 255), (0, 0.9)), "floats=0:255"),
        (facts("floats", (-12.5, 263.2)), "floats=0:255"),
        (facts("floats", *[(0, 1)] * 19, (0, 3.7)), "floats=0:1"),  # a hot pixel
        (facts("floats", (-2.1, 2.6), (-2, 2.4)), "floats=-2.1:2.6"),  # by mean and deviation
        (facts("floats", (0, 4070.5), (0, 900)), "floats=0:4095"),
        (facts("integers", (-1024, 3071), (-1000, 400)), "integers=-1024:3071"),
        (facts("integers", (0, 200), (0, 3)), "integers=0:255"),
        (facts("integers", (0, 1), (0, 1)), "integers=0:1"),
        (facts("", (np.nan, np.nan)), "image"),
    ],
)
def test_the_range_follows_from_the_whole_set(seen: Facts, text: str) -> None:
    assert decide(seen)[0].text == text


def test_a_range_that_still_holds_stays_and_numbers_compare() -> None:
    assert decide(facts("integers", (0, 3000)), previous="integers=0:16383")[0].text == "integers=0:16383"
    assert decide(facts("integers", (0, 30000)), previous="integers=0:16383")[0].text == "integers=0:65535"


@pytest.mark.parametrize(("option", "text"), [("12bit", "integers=0:4095"), ("-1:1", "integers=-1:1")])
def test_a_range_can_be_asked_for(option: str, text: str) -> None:
    assert decide(facts("integers", (0, 70)), option)[0].text == text
    with pytest.raises(DatapropsError, match="range must be auto"):
        AuditConfig("x", range="some")


# 2. what is the class?

SPLIT = [f"{split}/{name}/{number}.png" for split in ("train", "test") for name in ("no", "yes") for number in "123"]
OWN = {"train": "train", "test": "test"}


@pytest.mark.parametrize(
    ("names", "labels", "splits"),
    [
        (SPLIT, {"no": 6, "yes": 6}, {"train": 6, "test": 6}),
        ([f"chest-v1/{name}" for name in SPLIT], {"no": 6, "yes": 6}, {"train": 6, "test": 6}),
        ([*SPLIT, "unlabeled/a.png"], {"no": 6, "yes": 6, None: 1}, {"train": 6, "test": 6, None: 1}),
        ([f"{n.split('/')[0]}ing_set/{n.split('/', 1)[1]}" for n in SPLIT], {"no": 6, "yes": 6}, OWN),
        (
            [n.replace("train/", "seg_train/seg_train/").replace("test/", "seg_test/seg_test/") for n in SPLIT],
            None,
            OWN,
        ),
        (["{1}/{0}/{2}".format(*n.split("/")) for n in SPLIT], {"no": 6, "yes": 6}, {"train": 6, "test": 6}),
        (["train/images/no/1.png", "val/images/yes/2.png"], {"no": 1, "yes": 1}, {"train": 1, "val": 1}),
        (["train2017/1.jpg", "val2017/2.jpg"], {None: 2}, {"train": 1, "val": 1}),
        (["train/a/1.png", "bus/2.png"], {"train": 1, "bus": 1}, {None: 2}),  # vehicles
        (["images/1.png", "images/2.png"], {None: 2}, {None: 2}),
        (["images_001/images/1.png", "images_002/images/2.png"], {None: 2}, {None: 2}),
    ],
)
def test_splits_are_no_classes_and_folders_that_hold_everything_are_neither(names, labels, splits) -> None:
    found = infer(names)
    labels = {"no": 6, "yes": 6} if labels is None else labels
    assert Counter(found.label) == labels
    assert set(found.split) == set(splits)


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_a_second_copy_of_the_set_in_itself_is_left_out_and_told(tmp_path: Path, form: str) -> None:
    put(tmp_path / "scans", *SPLIT)
    put(tmp_path / "scans" / "scans", *SPLIT)
    source = packed(tmp_path / "scans", tmp_path / f"out.{form}", form)
    looked = look(source, tmp_path)
    assert looked.count("split") == {"train": 6, "test": 6}
    assert looked.count("label") == {"no": 6, "yes": 6}
    assert list(looked.left_out.values()) == ["second copy of the dataset"] * 12
    assert looked.decisions["copies"]["option"] == "--include '*'"


def packed(root: Path, out: Path, form: str) -> Path:
    """The files below a folder as another form."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if form == "folder":
        return root
    if form == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            for path in files:
                archive.write(path, path.relative_to(root))
    else:
        with tarfile.open(out, "w:gz" if form == "tar.gz" else "w") as archive:
            for path in files:
                archive.add(path, path.relative_to(root))
    return out


def test_subjects_of_a_bids_tree_are_groups_and_no_classes(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        file = tmp_path / "bids" / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_T1w.nii.gz"
        file.parent.mkdir(parents=True)
        volume = np.random.default_rng(number).integers(0, 900, (8, 8, 3)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), file)
        mask = file.with_name(f"sub-{number:02d}_desc-brain_mask.nii.gz")
        nibabel.save(nibabel.Nifti1Image((volume > 400).astype(np.uint8), np.eye(4)), mask)
    looked = look(f"nifti:{tmp_path / 'bids'}", tmp_path)
    assert looked.images["label"].isna().all()
    assert looked.count("group") == {"sub-01": 3, "sub-02": 3, "sub-03": 3}
    assert list(looked.left_out.values()) == ["mask of an image"] * 3


def test_classes_below_patients_are_told_from_the_folders_that_patients_share() -> None:
    found = infer([f"patient{p:03d}/{c}/{i}.png" for p in range(4) for c in ("benign", "malignant") for i in "12"])
    assert set(found.label) == {"benign", "malignant"}
    assert len(set(found.group)) == 4


def test_the_layout_can_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "set", "siteA/train/x/1.png", "siteB/test/y/2.png")
    looked = look(tmp_path / "set", tmp_path, layout="class/split/group")
    assert looked.count("label") == {"siteA": 1, "siteB": 1}
    assert looked.count("group") == {"x": 1, "y": 1}
    with pytest.raises(DatapropsError, match="layout is 'klass'"):
        look(tmp_path / "set", tmp_path, layout="klass")


# 3. masks


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["b/b (1).png", "m/m (1).png"], ["b/b (1)_mask.png", "b/b (1)_mask_1.png", "m/m (1)_mask.png"]),
        (["N/images/1.png", "P/images/2.png"], ["N/masks/1.png", "P/masks/2.png"]),
        (["images/a/1.png", "images/b/2.png"], ["masks/a/1.png", "masks/b/2.png"]),
        (["ISIC_1.jpg", "ISIC_2.jpg"], ["ISIC_1_segmentation.png", "ISIC_2_segmentation.png"]),
        (["images/21_training.tif"], ["mask/21_training_mask.gif", "1st_manual/21_manual1.gif"]),
        (["test/broken/000.png"], ["ground_truth/broken/000_mask.png"]),
        (["imagesTr/p1.png", "imagesTr/p2.png"], ["labelsTr/p1.png", "labelsTr/p2.png"]),
        (["with_mask/1.png", "without_mask/1.png"], []),  # faces
        (["mask/1.png", "no_mask/1.png", "mask/2.png", "no_mask/2.png"], []),
        (["a/first_mask.png", "b/second_mask.png"], []),  # nothing that they would be masks of
    ],
)
def test_masks_are_known_by_their_names_and_their_partners(images: list[str], masks: list[str]) -> None:
    assert find_masks([*images, *masks]) == set(masks)


def test_masks_are_left_out_told_and_kept_if_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "busi", "b/b (1).png", "b/b (1)_mask.png", "m/m (1).png", "m/m (1)_mask.png")
    looked = look(tmp_path / "busi", tmp_path)
    assert looked.count("label") == {"b": 1, "m": 1}
    assert looked.decisions["masks"]["value"] == "2 left out"
    assert len(look(tmp_path / "busi", tmp_path, include=("*",)).images) == 4
    only = look(tmp_path / "busi", tmp_path, exclude=("m", "*_mask.png"))
    assert only.images["path"].tolist() == ["b/b (1).png"]
    assert only.left_out["m/m (1).png"] == "excluded by --exclude"
    with pytest.raises(DatapropsError, match="leave none"):
        look(tmp_path / "busi", tmp_path, include=("*.jpg",))


# 4. names from Windows


def test_backslashes_in_a_zip_are_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as archive:
        for number, name in enumerate(SPLIT):
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = "pets\\" + name.replace("/", "\\"), 0
            archive.writestr(info, encoded(picture(number)))
    looked = look(tmp_path / "windows.zip", tmp_path)
    assert looked.count("label") == {"no": 6, "yes": 6}
    assert looked.count("split") == {"train": 6, "test": 6}
    assert looked.images["pixels"].nunique() == 12


ROWS = [("bilder/normal/1.png", "normal"), ("bilder/bös/2.png", "bös")]
TABLES = {
    "plain.csv": "path,label\n" + "".join(f"{p},{y}\n" for p, y in ROWS),
    "backslash.csv": "path,label\r\n" + "".join(f".\\{p},{y}\r\n".replace("/", "\\") for p, y in ROWS),
    "blanks.csv": "path, label\n" + "".join(f"{p}, {y}\n" for p, y in ROWS),
    "semicolon.csv": "path;label\n" + "".join(f"{p};{y}\n" for p, y in ROWS),
    "tab.tsv": "path\tlabel\n" + "".join(f"{p}\t{y}\n" for p, y in ROWS),
    "lines.jsonl": "".join(json.dumps({"path": p, "label": y}) + "\n" for p, y in ROWS),
    "absolute.csv": "path,label\n" + "".join(f"/home/else/data/{p},{y}\n" for p, y in ROWS),
    "drive.csv": "path,label\n" + "".join(f"C:\\data\\{p},{y}\n".replace("/", "\\") for p, y in ROWS),
    "uri.csv": "path,label\n" + "".join(f"file://{{root}}/{p},{y}\n" for p, y in ROWS),
    "names.csv": "file_name,diagnosis\n" + "".join(f"{p.rsplit('/')[-1]},{y}\n" for p, y in ROWS),
    "stems.csv": "image_id,dx\n" + "".join(f"{p.rsplit('/')[-1][:-4]},{y}\n" for p, y in ROWS),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", list(TABLES))
def test_tables_as_windows_and_other_machines_write_them(tmp_path: Path, name: str, encoding: str) -> None:
    put(tmp_path, *(path for path, _ in ROWS))
    (tmp_path / name).write_bytes(
        TABLES[name].format(root=tmp_path).encode(encoding) if name == "uri.csv" else TABLES[name].encode(encoding)
    )
    source = open_source(str(tmp_path / name))
    table = source.scan()
    assert dict(zip(table["path"], table["label"], strict=True)) == dict(ROWS)
    for key in table["key"]:
        assert source.read(key) == (tmp_path / key).read_bytes()


def test_paths_that_are_nowhere_are_one_sentence_with_the_options(tmp_path: Path) -> None:
    put(tmp_path, "im/1.png")
    (tmp_path / "set.csv").write_text("path,label\nx/99,a\nx/98,b\n")
    with pytest.raises(DatapropsError, match=r"none of the 2 paths in column 'path' is a file.*--images DIR.*--suffix"):
        open_source(str(tmp_path / "set.csv")).scan()


# 5. spellings


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["normal", "normal ", "cyst", "Cyst"], {"normal", "cyst"}),
        (["True", "true", "FALSE", "False"], {"true", "FALSE"}),
        (["0", "0.0", "1.0", "1"], {"0", "1"}),
        (["no tumor", "no_tumor", "No-Tumor", "x"], {"no tumor", "x"}),
        (["a", "A", "b", "B"], {"a", "A", "b", "B"}),  # letters
        (["007", "7", "1", "1e0"], {"007", "7", "1", "1e0"}),
    ],
)
def test_one_class_of_two_spellings_is_told_with_the_counts(tmp_path: Path, labels: list[str], classes: set) -> None:
    put(tmp_path, *(f"im/{i}.png" for i in range(4)))
    text = "path,label\n" + "".join(f'im/{i}.png,"{label}"\n' for i, label in enumerate(labels))
    (tmp_path / "set.csv").write_text(text)
    looked = look(tmp_path / "set.csv", tmp_path)
    assert set(looked.images["label"]) == classes
    assert len(looked.spellings) == sum(
        1 for name in classes if labels.count(name) < 4 and len(classes) < 4 and name != "x"
    )
    kept = look(tmp_path / "set.csv", tmp_path, as_written=True)
    assert set(kept.images["label"]) == set(labels)


def test_what_programs_write_for_nothing_is_no_class(tmp_path: Path) -> None:
    put(tmp_path, *(f"im/{i}.png" for i in range(4)))
    (tmp_path / "set.csv").write_text("path,label\nim/0.png,NA\nim/1.png,None\nim/2.png,nan\nim/3.png,x\n")
    assert look(tmp_path / "set.csv", tmp_path).count("label") == {"-": 3, "x": 1}


# 6. several labels


def test_several_labels_of_an_image_are_a_set_and_one_can_be_chosen(tmp_path: Path) -> None:
    put(tmp_path / "images_001" / "images", "00000001_000.png", "00000002_000.png")
    put(tmp_path / "images_002" / "images", "00000003_000.png", "00000004_000.png", first=2)
    rows = ["No Finding", "Mass|Effusion", "Effusion", "Mass"]
    text = "Image Index,Finding Labels,Patient ID\n"
    (tmp_path / "Data_Entry_2017.csv").write_text(
        text + "".join(f"{i + 1:08d}_000.png,{label},{i // 2}\n" for i, label in enumerate(rows))
    )
    looked = look(tmp_path / "Data_Entry_2017.csv", tmp_path)
    assert looked.images["label"].tolist() == ["No Finding", "Effusion|Mass", "Effusion", "Mass"]
    assert looked.images["group"].tolist() == ["0", "0", "1", "1"]
    assert "Effusion 2" in looked.decisions["labels"]["why"]
    one = look(tmp_path / "Data_Entry_2017.csv", tmp_path, label="effusion")
    assert one.images["label"].tolist() == ["not Effusion", "Effusion", "Effusion", "not Effusion"]
    with pytest.raises(DatapropsError, match="no image has the label 'Cat': labels are Effusion, Mass"):
        look(tmp_path / "Data_Entry_2017.csv", tmp_path, label="Cat")


# 7. published tables


def test_one_hot_columns_name_the_class(tmp_path: Path) -> None:
    put(tmp_path / "part_1", "ISIC_1.jpg", kind="JPEG")
    put(tmp_path / "part_2", "ISIC_2.jpg", kind="JPEG", first=1)
    (tmp_path / "truth.csv").write_text("image,MEL,NV,age\nISIC_1,1.0,0.0,30\nISIC_2,0.0,1.0,40\n")
    assert look(tmp_path / "truth.csv", tmp_path).images["label"].tolist() == ["MEL", "NV"]
    asked = look(tmp_path / "truth.csv", tmp_path, one_hot="MEL,NV", suffix=".jpg", path_column="image")
    assert asked.images["label"].tolist() == ["MEL", "NV"]
    with pytest.raises(DatapropsError, match=r"no column 'BCC'.*correct --one-hot"):
        look(tmp_path / "truth.csv", tmp_path, one_hot="MEL,BCC")


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a.png", "b.png")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "train.csv").write_text("id_code,diagnosis\na,0\nb,1\n")
    looked = look(tmp_path / "tables" / "train.csv", tmp_path, images=str(tmp_path / "elsewhere"))
    assert looked.images["label"].tolist() == ["0", "1"]
    assert looked.images["pixels"].notna().all()


def test_hdf5_takes_labels_from_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "pcam").mkdir()
    for split, n in (("train", 6), ("valid", 4), ("test", 4)):
        base = f"camelyonpatch_level_2_split_{split}"
        with h5py.File(tmp_path / "pcam" / f"{base}_x.h5", "w") as file:
            file["x"] = np.stack([np.dstack([picture(n + i)] * 3) for i in range(n)])
        with h5py.File(tmp_path / "pcam" / f"{base}_y.h5", "w") as file:
            file["y"] = (np.arange(n) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)
    alone = look(tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5", tmp_path)
    assert alone.count("label") == {"0": 3, "1": 3}
    whole = look(tmp_path / "pcam", tmp_path)
    assert whole.count("split") == {"train": 6, "val": 4, "test": 4}
    assert whole.count("label") == {"0": 7, "1": 7}


@pytest.mark.parametrize("halves", [("train", "t10k"), ("t10k",), ("train",)])
def test_mnist_in_folders_named_like_its_files_or_one_half_alone(tmp_path: Path, halves: tuple[str, ...]) -> None:
    for name in halves:
        pixels = np.stack([picture(i) for i in range(4)])
        files = {
            f"{name}-images-idx3-ubyte": struct.pack(">IIII", 2051, 4, SIDE, SIDE) + pixels.tobytes(),
            f"{name}-labels-idx1-ubyte": struct.pack(">II", 2049, 4) + bytes([0, 1, 0, 1]),
        }
        for file, data in files.items():
            (tmp_path / "archive" / file).mkdir(parents=True)
            (tmp_path / "archive" / file / file).write_bytes(data)
    looked = look(f"mnist:{tmp_path / 'archive'}", tmp_path)
    assert looked.count("label") == {"0": 2 * len(halves), "1": 2 * len(halves)}


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASSES = {"names": ["cat", "dog"], "_type": "ClassLabel"}


def hub(path: Path, columns: dict[str, pa.Array], features: dict) -> Path:
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def test_the_odder_forms_of_the_hub(tmp_path: Path) -> None:
    put(tmp_path, "pics/0.png", "pics/1.png")
    data = [encoded(picture(i)) for i in range(2)]
    label = pa.array([0, 1])
    held = pa.array([{"bytes": one, "path": None} for one in data], STRUCT)
    outside = pa.array([{"bytes": None, "path": f"pics/{i}.png"} for i in range(2)], STRUCT)
    looked = look(hub(tmp_path / "a.parquet", {"image": outside, "label": label}, {"label": CLASSES}), tmp_path)
    assert looked.images["pixels"].notna().all()
    assert looked.images["label"].tolist() == ["cat", "dog"]
    sets = pa.array([[0, 1], []], pa.list_(pa.int64()))
    for feature in ({"_type": "List", "feature": CLASSES}, {"feature": CLASSES, "length": -1, "_type": "Sequence"}):
        several = hub(tmp_path / "b.parquet", {"image": held, "labels": sets}, {"labels": feature})
        assert look(several, tmp_path, name="b").images["label"].tolist() == ["cat|dog", "(none)"]
    rows = pa.array(
        [[{"bytes": data[0], "path": None}], [{"bytes": one, "path": None} for one in data]], pa.list_(STRUCT)
    )
    lists = look(hub(tmp_path / "c.parquet", {"images": rows, "label": label}, {"label": CLASSES}), tmp_path)
    assert lists.images["label"].tolist() == ["cat", "dog", "dog"]
    mask = pa.array([{"bytes": data[0], "path": None}] * 2, STRUCT)
    both = hub(tmp_path / "d.parquet", {"mask": mask, "image": held, "label": label}, {"label": CLASSES})
    assert look(both, tmp_path).images["pixels"].nunique() == 2
    grids = pa.array([picture(i).tolist() for i in range(2)], pa.list_(pa.list_(pa.uint8())))
    array = hub(
        tmp_path / "e.parquet", {"image": grids, "label": label}, {"image": {"_type": "Array2D"}, "label": CLASSES}
    )
    assert look(array, tmp_path).images["pixels"].tolist() == looked.images["pixels"].tolist()


def test_save_to_disk_is_read_with_its_splits(tmp_path: Path) -> None:
    held = pa.array([{"bytes": encoded(picture(i)), "path": None} for i in range(2)], STRUCT)
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": CLASSES}}})}
    table = pa.table({"image": held, "label": pa.array([0, 1])}).replace_schema_metadata(metadata)
    for split in ("train", "test"):
        (tmp_path / "disk" / split).mkdir(parents=True)
        place = str(tmp_path / "disk" / split / "data-00000-of-00001.arrow")
        with pa.OSFile(place, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
        (tmp_path / "disk" / split / "state.json").write_text("{}")
    looked = look(tmp_path / "disk", tmp_path)
    assert looked.count("split") == {"train": 2, "test": 2}
    assert looked.count("label") == {"cat": 2, "dog": 2}


def test_tables_in_a_folder_of_images_give_the_labels_or_are_told(tmp_path: Path) -> None:
    put(tmp_path / "set", "train/1.png", "train/2.png")
    lines = [{"file_name": "1.png", "label": 0}, {"file_name": "2.png", "label": 1}]
    (tmp_path / "set" / "train" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert look(tmp_path / "set", tmp_path).images["label"].tolist() == ["0", "1"]
    put(tmp_path / "coco", "images/1.png", "images/2.png")
    (tmp_path / "coco" / "annotations").mkdir()
    whole = {
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "images": [{"id": 7, "file_name": "1.png"}, {"id": 8, "file_name": "2.png"}],
        "annotations": [{"image_id": 7, "category_id": 1}, {"image_id": 7, "category_id": 2}],
    }
    (tmp_path / "coco" / "annotations" / "instances.json").write_text(json.dumps(whole))
    assert look(tmp_path / "coco", tmp_path).images["label"].tolist() == ["cat|dog", "(none)"]
    put(tmp_path / "flat", "images/1.png")
    (tmp_path / "flat" / "labels.csv").write_text("image,y\n1,0\n")
    assert "labels.csv" in look(tmp_path / "flat", tmp_path).decisions["labels"]["why"]


# 8. formats

KINDS = (
    "PNG",
    "JPEG",
    "BMP",
    "TIFF",
    "WEBP",
    "GIF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "ICO",
    "PCX",
    "SGI",
    "DDS",
    "TGA",
    "MPO",
)


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
def test_what_pillow_opens_is_read_by_content_and_the_rest_is_told(tmp_path: Path, form: str) -> None:
    names = {}
    for number, kind in enumerate(KINDS):
        pixels = np.dstack([picture(number)] * 3)
        ending = {"TGA": ".tga", "PCX": ".pcx", "SGI": ".sgi", "ICO": ".ico"}.get(
            kind, ["", ".jfif", ".dat"][number % 3]
        )
        names[f"ab/{kind}{ending}"] = encoded(pixels, kind)
    names |= {"ab/notes.txt": b"text", "ab/phone.heic": b"....ftypheic", "ab/x": b"text"}
    for name, data in names.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    looked = look(packed(tmp_path / "set", tmp_path / f"x.{form}", form), tmp_path)
    assert looked.images["pixels"].notna().sum() == len(KINDS), looked.column("error")
    assert looked.left_out == {
        "ab/notes.txt": "companion file",
        "ab/phone.heic": "image in a format that is not read",
        "ab/x": "not an image",
    }


def test_libtiff_does_not_write_to_the_terminal(tmp_path: Path, capfd) -> None:
    data = bytearray(encoded(picture(0), "TIFF"))
    at = data.index(struct.pack("<HHI", 258, 3, 1))
    data[at + 8 : at + 10] = struct.pack("<H", 9)  # bits of a sample that do not exist
    put(tmp_path / "set", "a/1.png", "b/2.png")
    out = io.BytesIO()
    Image.fromarray(picture(1)).save(out, "TIFF", compression="tiff_deflate")
    broken = bytearray(out.getvalue())
    broken[8:40] = bytes(32)
    (tmp_path / "set" / "a" / "x.tif").write_bytes(data)
    (tmp_path / "set" / "a" / "y.tif").write_bytes(broken)
    looked = look(tmp_path / "set", tmp_path)
    assert looked.images["error"].notna().sum() >= 1
    assert capfd.readouterr().err == ""


# 9. links


@pytest.mark.parametrize("form", ["tar", "tar.gz"])
def test_links_within_a_tar_are_images(tmp_path: Path, form: str) -> None:
    put(tmp_path / "set", "train/cat/1.png", "train/dog/2.png")
    (tmp_path / "set" / "test" / "cat").mkdir(parents=True)
    os.link(tmp_path / "set" / "train" / "cat" / "1.png", tmp_path / "set" / "test" / "cat" / "3.png")
    (tmp_path / "set" / "test" / "cat" / "4.png").symlink_to("../../train/dog/2.png")
    looked = look(packed(tmp_path / "set", tmp_path / f"x.{form}", form), tmp_path)
    assert looked.images["path"].tolist() == [
        "test/cat/3.png",
        "test/cat/4.png",
        "train/cat/1.png",
        "train/dog/2.png",
    ]
    assert looked.images["pixels"].nunique() == 2
    assert looked.images["pixels"].notna().all()


# 10. WebDataset


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_webdataset_keys_masks_and_captions(tmp_path: Path) -> None:
    files = {f"scan.1.{i}.png": encoded(picture(i)) for i in range(4)}
    files |= {f"scan.1.{i}.cls": str(i % 2).encode() for i in range(4)}
    files |= {f"scan.1.{i}.seg.png": encoded((picture(i) > 99).astype(np.uint8) * 255) for i in range(4)}
    looked = look(shard(tmp_path / "dots.tar", files), tmp_path)
    assert looked.images["label"].tolist() == ["0", "1", "0", "1"]
    assert "mask of an image" in looked.left_out.values()
    listed = {f"{i}.jpg": encoded(picture(i), "JPEG") for i in range(2)}
    listed |= {"0.json": b'{"label": ["cat", "dog"]}', "1.json": b'{"label": ["cat"]}'}
    assert look(shard(tmp_path / "l.tar", listed), tmp_path).images["label"].tolist() == ["cat|dog", "cat"]
    views = {
        f"{i}.{side}.png": encoded(picture(i * 2 + s)) for i in range(2) for s, side in enumerate(("left", "right"))
    }
    views |= {f"{i}.cls": str(i).encode() for i in range(2)}
    assert look(shard(tmp_path / "v.tar", views), tmp_path).images["label"].tolist() == ["0", "0", "1", "1"]
    told = {f"{i}.png": encoded(picture(i)) for i in range(6)}
    told |= {f"{i}.txt": f"a picture number {i} of a cat".encode() for i in range(6)}
    captions = look(shard(tmp_path / "captions.tar", told), tmp_path)
    assert captions.images["label"].isna().all()
    assert "captions" in captions.decisions["labels"]["why"]


# 11. one id for everybody


@pytest.mark.parametrize(
    ("patient", "groups"),
    [
        (["x"] * 20, "study"),  # one id for all
        ([*["x"] * 15, "p1", "p2", "p3", "p4", "p5"], "study"),  # one for most
        ([f"p{i // 2}" for i in range(20)], "patient"),
        ([None] * 20, "study"),
    ],
)
def test_an_id_that_stands_for_everybody_is_no_patient(patient: list, groups: str) -> None:
    prints = pd.DataFrame(
        {"patient": patient, "study": [f"s{i}" for i in range(20)], "series": [f"r{i}" for i in range(20)]},
        dtype=object,
    )
    found, told = group_of(prints)
    wanted = [
        p if groups == "patient" or p in ("p1", "p2") else s for p, s in zip(patient, prints["study"], strict=True)
    ]
    assert found.tolist()[:15] == wanted[:15]
    assert bool(told) == (groups == "study" and patient[0] is not None)
    assert group_of(prints, "patient")[0].tolist() == patient


def test_one_patient_of_one_study_stays_a_patient() -> None:
    prints = pd.DataFrame({"patient": ["x"] * 20, "study": ["s"] * 20, "series": ["r"] * 20}, dtype=object)
    assert group_of(prints)[0].tolist() == ["x"] * 20


# sources in general


def test_globs_hold_for_every_source(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=np.stack([picture(i) for i in range(3)]), test_images=picture(9)[None])
    table = open_source(str(tmp_path / "x.npz"), SourceOptions(include=("train_images/*",))).scan()
    assert len(table) == 3
    assert table.attrs["reasons"] == {"test_images/0": "not matched by --include"}
