"""Published sets whose labels no folder and no single table tells: joined by ids or numbers, of MATLAB, in JSON of another folder."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.io

from dataprops.sources import folder, matlab
from dataprops.sources.companions import Companions
from dataprops.sources.ends import without_zeros
from dataprops.sources.joins import labels_of_lists
from dataprops.sources.parts import rows_by_parts
from dataprops.sources.table import SourceOptions
from tests.test_published_layouts import Layout, keeps, made, numbered, table


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


def sheet(rows: list[list[str]]) -> bytes:
    out = io.BytesIO()
    pd.DataFrame(rows).to_excel(out, index=False, header=False)
    return out.getvalue()


MOLES = [
    f"PH2/IMD{n:03d}/IMD{n:03d}_{kind}/IMD{n:03d}{end}.bmp"
    for n in range(1, 7)
    for kind, end in (("Dermoscopic_Image", ""), ("lesion", "_lesion"), ("roi", "_R1_Label4"))
]
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
        told="image_class_labels.txt labels 12 of 12 images, by the ids of images.txt",
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
        told="imagelabels.mat labels 12 of 12 images, in the order of their numbers",
    ),
    "lists of numbers that leave images out are no splits": Layout(
        numbered("jpg/image_{:05d}.jpg", 5)[1:],
        {"setid.mat": mat(trnid=[1, 2], tstid=[3])},
        "",
        {None: 4},
        told="setid.mat may list them, in an unknown format",
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
    "Camelyon17: the path by parts, patients of several slides": Layout(
        [
            f"patches/patient_{who:03d}_node_{n}/patch_patient_{who:03d}_node_{n}_x_{x}_y_64.png"
            for who in (4, 9, 12)
            for n in (1, 4)
            for x in (32, 64)
        ],
        {
            "metadata.csv": table(
                ",patient,node,x_coord,y_coord,tumor,slide,center,split",
                *(
                    f"{who + n + x},{who:03d},{n},{x},64,{int(x == 64)},{who},1,{int(who == 12)}"
                    for who in (4, 9, 12)
                    for n in (1, 4)
                    for x in (32, 64)
                ),
            )
        },
        "",
        {"0": 6, "1": 6},
        {"0": 8, "1": 4},
        {"004": 4, "009": 4, "012": 4},
        told="'patient', 'node', 'x_coord' name the images (their values occur in the paths)",
    ),
    "MIMIC: labels of studies, splits of images in another table": Layout(
        [
            f"files/p10/p1000003{who}/s5041426{2 * who + n}/{who}{n}{k}-ab.jpg"
            for who in range(3)
            for n in range(2)
            for k in range(2)
        ],
        {
            "chexpert.csv": table(
                "subject_id,study_id,Edema,No Finding,Pneumonia",
                *(
                    f"1000003{who},5041426{2 * who + n},{('1.0', '')[n]},{('', '1.0')[n]},-1.0"
                    for who in range(3)
                    for n in range(2)
                ),
            ),
            "split.csv": table(
                "dicom_id,study_id,subject_id,split",
                *(
                    f"{who}{n}{k}-ab,5041426{2 * who + n},1000003{who},{('train', 'validate', 'test')[who]}"
                    for who in range(3)
                    for n in range(2)
                    for k in range(2)
                ),
            ),
        },
        "",
        {"Edema": 6, "No Finding": 6},
        {"train": 4, "val": 4, "test": 4},
        {f"p1000003{who}": 4 for who in range(3)},
        told="'subject_id', 'study_id' name the images",
    ),
    "CBIS-DDSM: folders of one image or two, three columns of files, one of masks": Layout(
        [
            f"CBIS/Mass_P_{who:05d}_{side}{end}/1.3.6.1.4.{who}/00000{n}.png"
            for who in range(1, 8)
            for side in ("L", "R")
            for end, n in (("", 0), ("_1", 0), ("_1", 1))
        ],
        {
            "mass_train.csv": table(
                "patient_id,left or right,pathology,image file path,cropped image file path,ROI mask file path",
                *(
                    f"P_{who:05d},{side},{('BENIGN', 'MALIGNANT')[who % 2]},"
                    + ",".join(
                        f"Mass_P_{who:05d}_{side}{end}/1.3.6.1.4.{who}/00000{n}.dcm"
                        for end, n in (("", 0), ("_1", 0), ("_1", 1))
                    )
                    for who in range(1, 8)
                    for side in ("L", "R")
                ),
            )
        },
        "",
        {"BENIGN": 12, "MALIGNANT": 16},
        group={f"P_{who:05d}": 4 for who in range(1, 8)},
        told="'ROI mask file path' are masks",
    ),
    "ODIR: two images in a row, whose label both have and which are of one person": Layout(
        [f"Training Images/{n}_{side}.jpg" for n in range(6) for side in ("left", "right")],
        {
            "data.csv": table(
                "ID,Patient Sex,Left-Fundus,Right-Fundus,N,D",
                *(f"{n},F,{n}_left.jpg,{n}_right.jpg,{n % 2},{1 - n % 2}" for n in range(6)),
            )
        },
        "",
        {"N": 6, "D": 6},
        {"train": 12},
        {f"row {n}": 2 for n in range(1, 7)},
        told="'Left-Fundus', 'Right-Fundus' are paths",
    ),
    "ODIR with a second table, of a row for each image, which goes before": Layout(
        [f"Training Images/{n}_{side}.jpg" for n in range(6) for side in ("left", "right")],
        {
            "data.csv": table(
                "ID,Left-Fundus,Right-Fundus,N,D",
                *(f"{n},{n}_left.jpg,{n}_right.jpg,{n % 2},{1 - n % 2}" for n in range(6)),
            ),
            "full.csv": table(
                "ID,Left-Fundus,Right-Fundus,N,D,filename,labels",
                *(
                    f"{n},{n}_left.jpg,{n}_right.jpg,{n % 2},{1 - n % 2},{n}_{side}.jpg,{'ND'[k]}"
                    for n in range(6)
                    for k, side in enumerate(("left", "right"))
                ),
            ),
        },
        "",
        {"N": 6, "D": 6},
        {"train": 12},
        told="full.csv names 12 of 12 images",
    ),
    "RFMiD: splits below splits, the same names in each, a table for each": Layout(
        [
            f"{top}/{n}.png"
            for top in ("Training_Set/Training", "Evaluation_Set/Validation", "Test_Set/Test")
            for n in range(1, 5)
        ],
        {
            f"{name}_Labels.csv": table("ID,DR,MH", *(f"{n},{int(n % 2 == k)},{int(n % 2 != k)}" for n in range(1, 5)))
            for k, name in enumerate(("Training", "Validation"))
        }
        | {"Testing_Labels.csv": table("ID,DR,MH", *(f"{n},1,0" for n in range(1, 5)))},
        "",
        {"DR": 8, "MH": 4},
        {"train": 4, "val": 4, "test": 4},
        told="Validation_Labels.csv names 4 of 12 images",
    ),
    "VinDr: a reader who saw nothing beside one who did": Layout(
        numbered("train/{:032x}.png", 4),
        {
            "labels.csv": table(
                "image_id,rad_id,Nodule,Mass",
                *(f"{n:032x},R{k},{int(n % 2 == 0 and k > 0)},{int(n % 2 == 1)}" for n in range(4) for k in range(3)),
            )
        },
        "",
        {"Nodule": 2, "Mass": 2},
        {"train": 4},
    ),
    "VinDr-Mammo: BI-RADS by the last word of a column's name": Layout(
        [f"images/{s:032x}/{s:016x}{k:016x}.png" for s in range(4) for k in range(2)],
        {
            "breast.csv": table(
                "study_id,laterality,image_id,breast_birads,breast_density,split",
                *(
                    f"{s:032x},{'LR'[k]},{s:016x}{k:016x},BI-RADS {1 + k},C,{('training', 'test')[s // 2]}"
                    for s in range(4)
                    for k in range(2)
                ),
            )
        },
        "",
        {"BI-RADS 1": 4, "BI-RADS 2": 4},
        {"train": 4, "test": 4},
        {f"{s:032x}": 2 for s in range(4)},
    ),
    "folders of their own name are passed over": Layout(
        [
            f"{top}/{top}/{name}/{top[0]}{n}.jpg"
            for top in ("Kidney", "Lung")
            for name in ("ill", "well")
            for n in range(2)
        ],
        {},
        "",
        {"Kidney": 4, "Lung": 4},
        told="each class folder contains ill, well, which may be the classes) --layout '*/*/class'",
    ),
    "FIVES: a letter at the end of the name is told": Layout(
        [f"Original/{n}_{'ADGN'[n % 4]}.png" for n in range(12)],
        {},
        "",
        {None: 12},
        told="file names end with A 3, D 3, G 3, N 3",
    ),
    "PH2: a text with bars around its rows, and masks of regions": Layout(
        MOLES,
        {
            "PH2_dataset.txt": "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry ||\n"
            + "".join(f"|| IMD{n:03d} ||      ||       {n % 3} ||    0 ||\n" for n in range(1, 7))
            + "\nLegend:\n        0 - Common Nevus\n"
        },
        "",
        {"0": 2, "1": 2, "2": 2},
        group={f"IMD{n:03d}": 1 for n in range(1, 7)},
        told="'Clinical Diagnosis' is the label",
    ),
    "PH2: a sheet with titles above its names, and an X for each diagnosis": Layout(
        MOLES,
        {
            "PH2_dataset.xlsx": sheet(
                [
                    ["PH2", "", "", "", ""],
                    ["", "", "Diagnosis", "", ""],
                    ["Image Name", "Nevus", "Atypical", "Melanoma", "Asymmetry"],
                    *([f"IMD{n:03d}", *("X" if n % 3 == k else "" for k in range(3)), str(n % 3)] for n in range(1, 7)),
                ]
            )
        },
        "",
        {"Nevus": 2, "Atypical": 2, "Melanoma": 2},
        group={f"IMD{n:03d}": 1 for n in range(1, 7)},
        told="the column that is 1, of Nevus, Atypical, Melanoma (they contain only X)",
    ),
    "DeepDRiD: folders are patients by two tables, one of each split": Layout(
        [
            f"set/{split}/Images/{who}/{who}_{eye}.jpg"
            for split, some in (("training", (1, 2, 3)), ("validation", (265, 266, 267)))
            for who in some
            for eye in ("l1", "r1")
        ],
        {
            f"set/{split}/{split}.csv": table(
                "patient_id,image_id,left_eye_DR_Level,right_eye_DR_Level,patient_DR_Level",
                *(f"{who},{who}_{eye},{who % 5},{(who + 1) % 5},{who % 4}" for who in some for eye in ("l1", "r1")),
            )
            for split, some in (("training", (1, 2, 3)), ("validation", (265, 266, 267)))
        },
        "",
        {None: 12},
        {"train": 6, "val": 6},
        {str(who): 2 for who in (1, 2, 3, 265, 266, 267)},
        told="names 6 of 6 folders",
    ),
    "INbreast: the table has the beginnings of the names": Layout(
        [f"AllDICOMs/{20586908 + n}_6c61_MG_{'LR'[n % 2]}_CC_ANON.png" for n in range(6)],
        {
            "INbreast.csv": "Patient ID;Laterality;File Name;Bi-Rads\n"
            + "".join(f"removed;{'LR'[n % 2]};{20586908 + n};{1 + n % 3}\n" for n in range(6))
        },
        "",
        {"1": 2, "2": 2, "3": 2},
        told="INbreast.csv names 6 of 6 images",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_no_single_table_tells_is_joined(tmp_path: Path, name: str) -> None:
    keeps(LAYOUTS[name], tmp_path / "set")


def test_labels_go_to_the_images_that_the_ids_mean(tmp_path: Path) -> None:
    listing = made(LAYOUTS["CUB in one folder: paths, labels, names and a division by ids"], tmp_path / "cub").scan()
    assert dict(zip(listing["key"], listing["label"], strict=True))["images/0000.jpg"] == "gull"  # the id 1
    flowers = "Oxford Flowers: labels and splits by the numbers of the images"
    listing = made(LAYOUTS[flowers], tmp_path / "flowers").scan()
    assert listing["label"].tolist() == ["1", "2", "3"] * 4
    assert listing["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 6


def test_the_label_to_hold_against_the_rest_is_not_one_that_all_images_have(tmp_path: Path) -> None:
    texts = {"m.csv": table("path,labels", *(f"{n}.jpg,{'text|fracture' if n % 2 else 'text'}" for n in range(4)))}
    listing = made(Layout(numbered("{}.jpg", 4), texts, "m.csv", {}), tmp_path).scan()
    assert "--label 'fracture'" in [told["option"] for told in listing.attrs["decisions"]]


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


def test_a_table_that_several_rules_look_into_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    real = folder._beside
    monkeypatch.setattr(folder, "_beside", lambda file: asked.update([file.name]) or real(file))
    rows = (f"{name}/{n}.jpg,{name},p{n}" for name in ("cat", "dog") for n in range(4))
    layout = Layout(
        [f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(4)],
        {"meta.csv": table("path,label,patient", *rows)},
        "",
        {"cat": 4, "dog": 4},
        group={f"p{n}": 2 for n in range(4)},
    )
    assert made(layout, tmp_path / "set").scan()["group"].notna().all()
    assert asked["meta.csv"] == 1


def test_a_table_of_matlab_is_read_whatever_lies_in_cells_of_its_cells() -> None:
    ragged = np.empty((1, 2), object)
    ragged[0, 0], ragged[0, 1] = np.ones((1, 2)), np.ones((1, 3))
    rows = [{"name": f"{n}.png", "class": "ab"[n % 2], "boxes": ragged, "one": [[n]]} for n in range(6)]
    found = matlab.columns(mat(annotations=structs(rows)), 10**8)
    assert found == {"name": [f"{n}.png" for n in range(6)], "class": list("ababab"), "one": list(range(6))}


def test_numbers_of_thousands_of_figures_are_texts_like_any_other() -> None:
    long = "7" * 5000
    assert [without_zeros(name) for name in ("007", "000", "7a", "", "00" + long)] == ["7", "0", "7a", "", long]
    assert without_zeros("\u0660\u0663") == "3"  # an Arabic 03
    keys = [f"a/patient_{n:03}_x_{n}.png" for n in range(4)]
    frame = pd.DataFrame({"patient": [f"{n:03}" for n in range(4)], "note": long})
    assert rows_by_parts(keys, frame)[1] == ["patient"]
    names = [*(f"a/{n}.png" for n in range(1, 4)), f"a/{long}.png"]
    for keys, told in ((names, False), ([*names[:3], "a/4.png"], True)):
        beside = Companions(keys, ["labels.txt"], lambda _: b"cat\ndog\ncat\ndog\n", SourceOptions())
        assert (labels_of_lists(beside) is not None) is told
