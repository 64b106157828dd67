"""Published sets whose labels no folder and no single table tells: joined by ids or numbers, of MATLAB, in JSON of another folder."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from dataprops.sources import matlab
from dataprops.sources.account import COMPANION, MASK, left_out_of
from tests.test_published_layouts import Layout, made, numbered, table


def mat(**variables: Any) -> bytes:
    out = io.BytesIO()
    scipy.io.savemat(out, variables, do_compression=True)
    return out.getvalue()


def structs(rows: list[dict[str, Any]]) -> np.ndarray:
    """An array of structs, as MATLAB's files of annotations have it."""
    out = np.zeros((1, len(rows)), dtype=[(name, "O") for name in rows[0]])
    for number, row in enumerate(rows):
        out[0, number] = tuple(row.values())
    return out


BIRDS = numbered("images/{:04d}.jpg", 12)
PETS = [f"{name}_{n}" for name in ("Abyssinian", "beagle", "pug") for n in range(1, 5)]
LAYOUTS = {
    "CUB in one folder: paths, labels, names and a division by ids": Layout(
        BIRDS,
        {
            "images.txt": "".join(f"{n} {path[7:]}\n" for n, path in enumerate(BIRDS, 1)),
            "image_class_labels.txt": "".join(f"{n} {1 + n % 3}\n" for n in range(1, 13)),
            "classes.txt": "1 auk\n2 gull\n3 tern\n",
            "train_test_split.txt": "".join(f"{n} {n % 2}\n" for n in range(1, 13)),
        },
        "",
        {"auk": 4, "gull": 4, "tern": 4},
        {"train": 6, "test": 6},
        told="image_class_labels.txt tells 12 of 12 images, by the ids of images.txt",
    ),
    "numbers of the images alone are no labels": Layout(
        BIRDS, {"images.txt": "".join(f"{n} {path[7:]}\n" for n, path in enumerate(BIRDS, 1))}, "", {None: 12}
    ),
    "Oxford Flowers: labels and splits by the numbers of the images": Layout(
        numbered("jpg/image_{:05d}.jpg", 13)[1:],
        {
            "imagelabels.mat": mat(labels=np.arange(12.0) % 3 + 1),
            "setid.mat": mat(trnid=np.arange(1, 5), valid=np.arange(5, 7), tstid=np.arange(7, 13)),
        },
        "",
        {"1": 4, "2": 4, "3": 4},
        {"train": 4, "val": 2, "test": 6},
        told="imagelabels.mat tells 12 of 12 images, in the order of their numbers",
    ),
    "lists of numbers that leave images out are no splits": Layout(
        numbered("jpg/image_{:05d}.jpg", 5)[1:],
        {"setid.mat": mat(trnid=[1, 2], tstid=[3])},
        "",
        {None: 4},
        told="setid.mat may tell them, in no form that is known",
    ),
    "Stanford Cars: structs of MATLAB for each split, the same names in both": Layout(
        [f"cars_{split}/{n:05d}.jpg" for split in ("train", "test") for n in range(1, 7)],
        {
            f"devkit/cars_{split}_annos.mat": mat(
                annotations=structs(
                    [{"bbox_x1": 4, "class": 1 + (n + k) % 2, "fname": f"{n:05d}.jpg"} for n in range(1, 7)]
                )
            )
            for k, split in enumerate(("train", "test"))
        },
        "",
        {"1": 6, "2": 6},
        {"train": 6, "test": 6},
        told="devkit/cars_train_annos.mat names 6 of 12 images",
    ),
    "Stanford Cars, of before: a mark of the test": Layout(
        numbered("car_ims/{:06d}.jpg", 6),
        {
            "cars_annos.mat": mat(
                annotations=structs(
                    [{"relative_im_path": f"car_ims/{n:06d}.jpg", "class": 1 + n % 2, "test": n // 3} for n in range(6)]
                )
            )
        },
        "",
        {"1": 3, "2": 3},
        {"train": 3, "test": 3},
        told="'test' is the split (1 is test, 0 is train)",
    ),
    "a list without endings under remarks goes before annotations of half of the images": Layout(
        [f"images/{name}.jpg" for name in PETS],
        {
            "annotations/list.txt": "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37\n"
            + "".join(f"{name} {1 + n // 4} {1 + (n > 3)} 1\n" for n, name in enumerate(PETS)),
            **{
                f"annotations/{split}.txt": "".join(
                    f"{name} {1 + n // 4} {1 + (n > 3)} 1\n" for n, name in enumerate(PETS) if n % 2 == odd
                )
                for odd, split in enumerate(("trainval", "test"))
            },
            **{
                f"annotations/xmls/{name}.xml": "<annotation><object><name>%s</name></object></annotation>"
                % ("cat" if name < "a" else "dog")
                for name in PETS[::2]
            },
        },
        "",
        {"1": 4, "2": 4, "3": 4},
        {"train": 6, "test": 6},
        told="annotations/list.txt names 12 of 12 images",
    ),
    "RAF-DB: names that say a little more than the list": Layout(
        numbered("Image/aligned/im_{:05d}_aligned.jpg", 6),
        {"EmoLabel/list_label.txt": "".join(f"im_{n:05d}.jpg {1 + n % 2}\n" for n in range(6))},
        "",
        {"1": 3, "2": 3},
        told="EmoLabel/list_label.txt names 6 of 6 images",
    ),
    "ISIC's archive: JSON without an ending in another folder, the class deep within": Layout(
        numbered("Images/ISIC_{:07d}.jpeg", 6),
        {
            f"Descriptions/ISIC_{n:07d}": json.dumps(
                {
                    "_id": f"x{n}",
                    "meta": {"clinical": {"diagnosis": ("nevus", "melanoma")[n % 2], "patient_id": f"IP_{n // 2}"}},
                    "name": f"ISIC_{n:07d}",
                }
            )
            for n in range(6)
        },
        "",
        {"nevus": 3, "melanoma": 3},
        group={"IP_0": 2, "IP_1": 2, "IP_2": 2},
        told="files beside 6 of 6 images name one of 2",
    ),
    "GRAZPEDWRI: labels by annotations, patients by the table": Layout(
        numbered("images_part1/{:04d}_WRI.png", 60),
        {
            **{
                f"folder/ann/{n:04d}_WRI.png.json": json.dumps(
                    {"tags": [], "objects": [{"classTitle": ("text", "fracture")[n % 2]}]}
                )
                for n in range(60)
            },
            **{
                f"folder/voc/{n:04d}_WRI.xml": f"<annotation><object><name>{('text', 'fracture')[n % 2]}</name></object></annotation>"
                for n in range(60)
            },
            "dataset.csv": table(
                "filestem,patient_id,age,cast,fracture_visible",
                *(f"{n:04d}_WRI,{n // 2},9,{'' if n % 3 else 1},{1 if n % 2 else ''}" for n in range(60)),
            ),
        },
        "",
        {"text": 30, "fracture": 30},
        group={str(n): 2 for n in range(30)},
        told="'patient_id' of dataset.csv (it names 60 of 60 images)",
    ),
    "classes in folders, patients in tables without labels, one for each split": Layout(
        [
            f"{split}/{name}/{split}{name}{n}.jpg"
            for split in ("train", "test")
            for name in ("ill", "well")
            for n in range(4)
        ],
        {
            f"{split}.csv": table(
                "image,patient_id,age",
                *(f"{split}{name}{n}.jpg,{split}{n // 2},40" for name in ("ill", "well") for n in range(4)),
            )
            for split in ("train", "test")
        },
        "",
        {"ill": 8, "well": 8},
        {"train": 8, "test": 8},
        {f"{split}{n}": 4 for split in ("train", "test") for n in range(2)},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_no_single_table_tells_is_joined(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    listing = made(layout, tmp_path / "set").scan()
    assert Counter(listing["label"]) == layout.label
    assert Counter(listing["split"]) == (layout.split or {None: len(listing)})
    assert Counter(listing["group"]) == (layout.group or {None: len(listing)})
    assert layout.told in " ".join(f"{told['value']} ({told['why']})" for told in listing.attrs["decisions"])
    assert {why for _, why in left_out_of(listing)} <= {COMPANION, MASK}


def test_labels_go_to_the_images_that_the_ids_mean(tmp_path: Path) -> None:
    listing = made(LAYOUTS["CUB in one folder: paths, labels, names and a division by ids"], tmp_path / "cub").scan()
    assert dict(zip(listing["key"], listing["label"], strict=True))["images/0000.jpg"] == "gull"  # the id 1
    flowers = "Oxford Flowers: labels and splits by the numbers of the images"
    listing = made(LAYOUTS[flowers], tmp_path / "flowers").scan()
    assert listing["label"].tolist() == ["1", "2", "3"] * 4
    assert listing["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 6


def test_files_of_matlab_are_read_as_scipy_reads_them() -> None:
    held = {
        "number": np.array([[1.5, 2.0], [3.0, 4.0]]),
        "whole": np.arange(6, dtype=np.int16).reshape(2, 3),
        "text": "Grüße",
        "cell": np.array([["a", "b", np.array([[7.0]])]], dtype=object),
        "rows": structs([{"name": "x", "class": 1}, {"name": "y", "class": 2}]),
    }
    for packed in (True, False):
        out = io.BytesIO()
        scipy.io.savemat(out, held, do_compression=packed)
        read = matlab.load(out.getvalue(), 10**6)
        np.testing.assert_array_equal(read["number"], held["number"])
        np.testing.assert_array_equal(read["whole"], held["whole"])
        assert read["text"] == "Grüße"
        assert isinstance(read["cell"], list) and read["cell"][:2] == ["a", "b"] and read["cell"][2].item() == 7
        assert matlab.columns(out.getvalue(), 10**6) == {"name": ["x", "y"], "class": [1, 2]}


def test_every_cut_and_change_of_such_a_file_is_told_or_read() -> None:
    whole = mat(rows=structs([{"name": "x", "class": 1}, {"name": "y", "class": 2}]), labels=np.arange(5))
    out = io.BytesIO()
    scipy.io.savemat(out, {"rows": structs([{"name": "x", "class": 1}]), "cell": np.array([["a", "b"]], dtype=object)})
    for data in (whole, out.getvalue()):
        rng = np.random.default_rng(0)
        changed = [data[:cut] for cut in range(0, len(data), 7)]
        for _ in range(2000):
            other = bytearray(data)
            for at in rng.integers(100, len(data), 3):
                other[at] = rng.integers(0, 256)
            changed.append(bytes(other))
        for one in changed:
            try:
                matlab.columns(one, 10**6)
            except ValueError:  # Damaged: nothing else ends it
                continue
