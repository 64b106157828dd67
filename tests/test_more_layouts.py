"""Layouts of November 2026: split folders in other languages, copies of all splits, masks of readers, tables in texts, codes apart."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from dataprops.sources import open_source
from dataprops.sources.structure import second_copies
from tests.test_doubts import doubts
from tests.test_published_layouts import Layout, keeps, table

PETS = ("cat", "dog")
KINDS = ("ill", "well")
ROWS = [
    f"{split}/{kind}/{split}_{kind}{n}.png"
    for split, many in (("train", 4), ("test", 2))
    for kind in KINDS
    for n in range(many)
]


def abroad(*names: str) -> Layout:
    return Layout(
        [f"{name}/{kind}/{n}.png" for name in names for kind in KINDS for n in range(3)],
        {},
        "",
        dict.fromkeys(KINDS, 9),
        {"train": 6, "val": 6, "test": 6},
    )


LAYOUTS = {
    "German": abroad("Training", "Validierung", "Prüfung"),
    "Spanish": abroad("entrenamiento", "validación", "prueba"),
    "French": abroad("apprentissage", "validation", "test"),
    "Portuguese": abroad("treino", "validação", "teste"),
    "Italian": abroad("addestramento", "convalida", "prova"),
    "all images of the splits again, with their classes": Layout(
        [*ROWS, *(f"all/{name.partition('/')[2]}" for name in ROWS)],
        {},
        "",
        {"ill": 6, "well": 6},
        {"train": 8, "test": 4},
        told="all left out, 12 files",
    ),
    "all images of the splits again, without": Layout(
        [*ROWS, *(f"all/{name.rpartition('/')[2]}" for name in ROWS)],
        {},
        "",
        {"ill": 6, "well": 6},
        {"train": 8, "test": 4},
        told="all left out, 12 files",
    ),
    "images beside the splits are no copies if the splits have the same names": Layout(
        [f"{split}/{kind}/{n}.png" for split in ("train", "test") for kind in KINDS for n in range(3)]
        + [f"more/{kind}/{n}.png" for kind in KINDS for n in range(3)],
        {},
        "",
        {"ill": 9, "well": 9},
        {"train": 6, "test": 6, "more": 6},
    ),
    "masks and maps of gaze below the folder of an expert": Layout(
        [f"{place}/{n}.jpg" for place in ("Radiographs", "Expert/mask", "Expert/gaze_map/gray") for n in range(12)],
        {},
        "",
        {"Radiographs": 12},
        told="24 left out",
    ),
    "a class with masks beside one without keeps its images": Layout(
        [f"{split}/{kind}/{n}.jpg" for split in ("train", "val") for kind in ("mask", "no_mask") for n in range(6)],
        {},
        "",
        {"mask": 12, "no_mask": 12},
        {"train": 12, "val": 12},
    ),
    "a folder of data with classes beside a test set without": Layout(
        [*(f"DATA/{kind}/{n}.png" for kind in KINDS for n in range(3)), *(f"TEST/{n}.png" for n in range(3))],
        {},
        "",
        {"ill": 3, "well": 3, None: 3},
        {"train": 6, "test": 3},
    ),
    "numbers and names in other scripts are classes beside augmented copies": Layout(
        [f"augmented/{n}.png" for n in range(12)] + [f"{('1', '猫')[n % 2]}/{n}.png" for n in range(12)],
        {},
        "",
        {"1": 12, "猫": 12},
        told="1, 猫",
    ),
    "a folder of masks whose name occurs in the name of the folder around it": Layout(
        [f"{place}/{n}.png" for place in ("unmasked/mask", "unmasked/no_hat", "other/no_hat") for n in range(12)],
        {},
        "",
        {"unmasked": 24, "other": 12},
    ),
    "a text that only begins like UTF-16 is no table": Layout(
        [f"{kind}/{n}.png" for kind in PETS for n in range(3)],
        {"notes.txt": b"\xff\xfeabc"},
        "",
        {"cat": 3, "dog": 3},
    ),
    "columns whose names differ only in a blank": Layout(
        [f"{n}.png" for n in range(6)],
        {"list.csv": table("file,label,label ", *(f"{n}.png,{KINDS[n % 2]},{n}" for n in range(6)))},
        "",
        {"ill": 3, "well": 3},
    ),
    "test cases beside the classes are no class": Layout(
        [f"{kind} cases/{n}.png" for kind in ("Benign", "Normal", "Test") for n in range(3)],
        {},
        "",
        {"Benign cases": 3, "Normal cases": 3, None: 3},
        told="Test cases: not a class",
    ),
    "names with blanks in the table, with hyphens on the disk": Layout(
        [f"set/Case-{n}-A{n}-2{n}.jpg" for n in range(6)],
        {
            "features.csv": table(
                "image.name,classification", *(f"Case {n} A{n}-2{n}.jpg,{KINDS[n % 2]}" for n in range(6))
            )
        },
        "",
        {"ill": 3, "well": 3},
    ),
    "a table of images and segmented images in a text with tabs": Layout(
        [f"images/{n}.jpg" for n in range(6)] + [f"cut/{n}.png" for n in range(6)],
        {
            "list.txt": table(
                "id\timage_path\tsegmented_path\tspecies",
                *(f"{n}\timages/{n}.jpg\tcut/{n}.png\t{KINDS[n % 2]}" for n in range(6)),
            )
        },
        "",
        {"ill": 3, "well": 3},
        told="'segmented_path' are masks",
        options={"layout": "none"},
    ),
    "split lists with commas in the names": Layout(
        [f"{kind}/tile({kind},{n}).png" for kind in KINDS for n in range(4)],
        {
            f"{split}.csv": table("image_id,x", *(f'"tile({kind},{n}).png",1' for kind in KINDS for n in some))
            for split, some in (("train", (0, 1, 2)), ("test", (3,)))
        },
        "",
        {"ill": 4, "well": 4},
        {"train": 6, "test": 2},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_keep_their_labels_splits_and_groups(tmp_path: Path, name: str) -> None:
    keeps(LAYOUTS[name], tmp_path / "set")


def test_of_several_copies_of_the_splits_always_the_same_one_is_left_out() -> None:
    copies = [f"{letter}/{n}.png" for letter in "abcdefgh" for n in range(2)]
    assert set(second_copies([*copies, "train/0.png", "test/1.png"]).values()) == {"a"}


SPLIT_CODES = {
    f"{split}.csv": table(
        "image,label,label_name", *(f"{split}{n}.png,{n % 2 ^ swap},{KINDS[n % 2]}" for n in range(6))
    )
    for split, swap in (("train", 0), ("test", 1))
}
OBJECTS = {
    "images": [{"id": n, "file_name": f"x{n}.png"} for n in range(6)],
    "annotations": [{"image_id": n, "category_id_1": n % 2, "category_id_3": n % 3} for n in range(6)],
    "categories_1": [],
    "categories_3": [],
}
DOUBTS = {
    "0 and 1 swapped between splits": (
        Layout([f"{split}/{split}{n}.png" for split in ("train", "test") for n in range(6)], SPLIT_CODES, "", {}),
        "0 of label is well in test and ill in train, by label_name",
        "--label-column label_name",
    ),
    "the only folder": (
        Layout([f"Leaves/{n}.png" for n in range(6)], {}, "", {}),
        "Leaves, the name of the only folder, is the class of all images",
        "--layout none",
    ),
    "the only folder of the splits": (
        Layout([f"{split}/Leaves/{split}{n}.png" for split in ("train", "test") for n in range(6)], {}, "", {}),
        "Leaves, the name of the only folder, is the class of all images",
        "--layout split",
    ),
    "folders below classes of which one may be a split in another language": (
        Layout(
            [
                f"{split}/{kind}/{part}/{split}{n}.png"
                for split in ("train", "val")
                for kind in ("teste", "mani")
                for part in "xy"
                for n in range(4)
            ],
            {},
            "",
            {},
        ),
        "each class folder contains x, y",
        "--layout 'split/*/class'",
    ),
    "and below folders of images": (
        Layout(
            [
                f"{kind}/images/{part}/{kind}{part}{n}.png"
                for kind in ("prova", "cane")
                for part in "xy"
                for n in range(4)
            ],
            {},
            "",
            {},
        ),
        "each class folder contains x, y",
        "--layout 'split/*/class'",
    ),
    "two masks of each image": (
        Layout(
            [f"{kind}/{kind}{n}{end}" for kind in KINDS for n in range(6) for end in (".jpg", "_OC.png", "_OD.png")],
            {},
            "",
            {},
        ),
        "24 have the name of another file with _OC or _OD appended",
        "--exclude '*_OC.*' --exclude '*_OD.*'",
    ),
    "objects of an unknown form": (
        Layout([f"part{c}/x{n}.png" for c in "ab" for n in range(6)], {"parta/all.json": json.dumps(OBJECTS)}, "", {}),
        "all.json matches 12 of 12 images and has values of category_id_1, category_id_3",
        "giving it in place of the folder",
    ),
    "a sheet that is not read": (
        Layout([f"scans of eyes/{n}.png" for n in range(6)], {"found.ods": b"PK"}, "", {}),
        "tables lie beside the images: found.ods",
        "saving it as .xlsx or .csv",
    ),
    "a label that is a mask is none": (
        Layout(
            [f"{n}.png" for n in range(6)],
            {"list.csv": table("image,label", *(f"{n}.png,labels/{n}.nii.gz" for n in range(6)))},
            "",
            {},
        ),
        "tables lie beside the images: list.csv",
        "giving the table",
    ),
    "series are no labels": (
        Layout(
            [f"{n}.png" for n in range(8)],
            {
                "list.csv": table(
                    "SOPInstanceUID,SeriesInstanceUID,lesion_type", *(f"{n},s{n // 2},{KINDS[n % 2]}" for n in range(8))
                )
            },
            "",
            {},
        ),
        "list.csv names images, and has the columns",
        "--label-column lesion_type",
    ),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_what_may_be_wrong_is_told_with_the_way_out(tmp_path: Path, name: str) -> None:
    layout, why, option = DOUBTS[name]
    doubts(layout, tmp_path)
    told = open_source(str(tmp_path)).scan().attrs["decisions"]
    assert any(why in one["why"] and option in one["option"] for one in told), told


@pytest.mark.parametrize("folder", ["datasets", "datasets.h5"])
def test_hdf5_files_in_a_folder_of_the_folder_are_found(tmp_path: Path, folder: str) -> None:
    for split, number in (("train", 6), ("test", 4)):
        file = io.BytesIO()
        with h5py.File(file, "w") as made:
            made[f"{split}_set_x"] = np.random.default_rng(number).integers(0, 255, (number, 8, 8, 3), np.uint8)
            made[f"{split}_set_y"] = np.arange(number) % 2
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{split}_pets.h5").write_bytes(file.getvalue())
    source = open_source(str(tmp_path))
    listing = source.scan()
    assert listing["split"].value_counts().to_dict() == {"train": 6, "test": 4}
    assert listing["label"].value_counts().to_dict() == {"0": 5, "1": 5}
    image = source.read(listing["key"][0])
    assert not isinstance(image, bytes) and image.pixels.shape == (8, 8, 3)
    assert len(set(source.version_tokens(listing["key"].tolist()))) == 2
