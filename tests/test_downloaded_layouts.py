"""Sets as they are downloaded: names of classes in another file, versions of the same pictures, ids, exports; each kind small."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.io

from dataprops.errors import DatapropsError
from dataprops.findings.group_suggestion import suggestion
from dataprops.sources import open_source
from dataprops.sources.account import COMPANION, MASK, left_out_of
from tests.test_joined_layouts import sheet, structs
from tests.test_published_layouts import Layout, Mapping, made, numbered, table

PETS = ("cat", "dog")
FILMS = [f"jpeg/1.3.6.1.4.1.9590.{100 + n}.7/{k}-{n}.jpg" for n in range(12) for k in (1, 2)]
STUDIES = [f"train/57{n // 2:02d}db0c/81{n}f4950/{n}ab.jpg" for n in range(12)]
CELLS = [f"train/00{n:02d}0df0-bbc3_{colour}.png" for n in range(6) for colour in ("blue", "green")]
POX = [f"{who}{n:02d}_01" for who in ("M", "NM") for n in range(1, 5)]
EYES = numbered("{}_left.jpg", 6)
BRANCHES = [("lower", "landmarks", "cecum"), ("lower", "findings", "polyps"), ("upper", "findings", "barretts")]
WORDS = [
    [word for k, word in enumerate(("clear", "haze", "primary", "road", "water")) if m >> k & 1] for m in range(1, 32)
]
TUMOURS = [f"case{n:03d}" for n in range(1, 7)]


def cell(names: list[str]) -> bytes:
    out = io.BytesIO()
    scipy.io.savemat(out, {"class_names": np.array(names, object)[None]})
    return out.getvalue()


def cars(split: str) -> bytes:
    out = io.BytesIO()
    rows = [{"bbox_x1": 4, "class": 1 + n % 2, "fname": f"{n:05d}.jpg"} for n in range(1, 7)]
    scipy.io.savemat(out, {"annotations": structs(rows)})
    return out.getvalue()


def coco(names: list[str]) -> str:
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    return json.dumps({"images": images, "categories": [{"id": 1, "name": "1"}], "annotations": []})


LAYOUTS = {
    "names of classes in JSON, of folders": Layout(
        [f"{split}/{c}/{n}.jpg" for split in ("train", "valid") for c in (1, 10, 21) for n in range(2)],
        {"cat_to_name.json": '{"21": "fire lily", "10": "globe thistle", "1": "pink primrose"}'},
        "",
        {"fire lily": 4, "globe thistle": 4, "pink primrose": 4},
        {"train": 6, "val": 6},
        told="cat_to_name.json has a name for each of 3 numbers, 1 is pink primrose",
    ),
    "ids and names of classes by their numbers, as ImageNet's index has them": Layout(
        [f"{c}/{n}.jpg" for c in (0, 1) for n in range(2)],
        {"imagenet_class_index.json": '{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}'},
        "",
        {"tench": 2, "goldfish": 2},
    ),
    "names of classes as written": Layout(
        [f"{c}/{n}.jpg" for c in (1, 2) for n in range(2)],
        {"cat_to_name.json": '{"1": "fire lily", "2": "globe thistle"}'},
        "",
        {"1": 2, "2": 2},
        options={"as_written": True},
    ),
    "numbers by names, of a table's labels": Layout(
        numbered("train_images/{}.jpg", 6),
        {
            "train.csv": table("image_id,label", *(f"{n}.jpg,{n % 2}" for n in range(6))),
            "label_map.json": '{"blight": 0, "healthy": 1}',
        },
        "",
        {"blight": 3, "healthy": 3},
        {"train": 6},
    ),
    "a table of names, of several the common one": Layout(
        [f"{c}/{n}.jpg" for c in (0, 1) for n in range(3)],
        {"monkey_labels.txt": table("Label,Latin Name,Common Name", "0,alouatta,howler", "1,erythrocebus,patas")},
        "",
        {"howler": 3, "patas": 3},
    ),
    "names that are fewer than the numbers are none of them": Layout(
        [f"{c}/{n}.jpg" for c in (1, 2, 3) for n in range(2)],
        {"classes.txt": "cat\ndog\n"},
        "",
        {"1": 2, "2": 2, "3": 2},
    ),
    "pictures of classes are no names of them": Layout(
        [f"{c}/{n}.jpg" for c in (0, 1) for n in range(3)],
        {"Meta.csv": table("Path,ClassId", "Meta/0.png,0", "Meta/1.png,1")},
        "",
        {"0": 3, "1": 3},
    ),
    "Stanford Cars: names in MATLAB's file": Layout(
        [f"cars_{split}/{n:05d}.jpg" for split in ("train", "test") for n in range(1, 7)],
        {
            "devkit/cars_meta.mat": cell(["AM General Hummer", "Acura RL"]),
            **{f"devkit/cars_{split}_annos.mat": cars(split) for split in ("train", "test")},
        },
        "",
        {"AM General Hummer": 6, "Acura RL": 6},
        {"train": 6, "test": 6},
    ),
    "a number for each image in a folder beside, and names": Layout(
        numbered("images/{}.png", 6),
        {**{f"labels/{n}.txt": f"{n % 2}\n" for n in range(6)}, "classes.txt": "cat\ndog\n"},
        "",
        {"cat": 3, "dog": 3},
    ),
    "splits by tables beside classes": Layout(
        [f"{c}/{c}_{n}.jpg" for c in ("Forest", "Annual Crop") for n in range(5)],
        {
            f"{split}.csv": table(
                ",Filename,Label", *(f"{n},{c}/{c}_{n}.jpg,{c}" for c in ("Forest", "Annual Crop") for n in numbers)
            )
            for split, numbers in (("train", range(3)), ("test", range(3, 5)))
        },
        "",
        {"Forest": 5, "Annual Crop": 5},
        {"train": 6, "test": 4},
    ),
    "splits by COCO's files beside classes": Layout(
        [f"{c}/{c}{n}.jpg" for c in PETS for n in range(5)],
        {
            f"{split}2018.json": coco([f"{c}/{c}{n}.jpg" for c in PETS for n in numbers])
            for split, numbers in (("train", range(3)), ("val", range(3, 5)))
        },
        "",
        {"cat": 5, "dog": 5},
        {"train": 6, "val": 4},
    ),
    "CBIS-DDSM as JPEG: paths of a table lead through the folders": Layout(
        FILMS,
        {
            f"csv/mass_{split}_set.csv": table(
                "patient_id,pathology,image file path",
                *(
                    f"P_{n // 2},{('BENIGN', 'MALIGNANT')[n % 2]},Mass_P_{n}/1.3.6.{n}.5.55555/{FILMS[2 * n].split('/')[1]}/000000.dcm"
                    for n in numbers
                ),
            )
            for split, numbers in (("train", range(8)), ("test", range(8, 12)))
        },
        "",
        {"BENIGN": 12, "MALIGNANT": 12},
        {"train": 16, "test": 8},
        {f"P_{n}": 4 for n in range(6)},
        told="are folders of 24 images",
    ),
    "SIIM-COVID: a table of studies, and one of boxes": Layout(
        STUDIES,
        {
            "train_study_level.csv": table(
                "id,Negative,Typical,Atypical",
                *(f"57{n:02d}db0c_study,{int(n % 3 == 0)},{int(n % 3 == 1)},{int(n % 3 == 2)}" for n in range(6)),
            ),
            "train_image_level.csv": table("id,label", *(f"{n}ab_image,opacity 1 {n} 2 3 4" for n in range(12))),
        },
        "",
        {"Negative": 4, "Typical": 4, "Atypical": 4},
        {"train": 12},
        {f"57{n:02d}db0c": 2 for n in range(6)},
    ),
    "several files of an id, and several labels that are numbers": Layout(
        CELLS,
        {"train.csv": table("Id,Target", *(f"00{n:02d}0df0-bbc3,{('16 0', '5')[n % 2]}" for n in range(6)))},
        "",
        {"0|16": 6, "5": 6},
        {"train": 12},
        {f"00{n:02d}0df0-bbc3": 2 for n in range(6)},
    ),
    "words between blanks are several labels": Layout(
        numbered("train-jpg/train_{}.jpg", 31),
        {"train_v2.csv": table("image_name,tags", *(f"train_{n},{' '.join(words)}" for n, words in enumerate(WORDS)))},
        "",
        {"|".join(words): 1 for words in WORDS},
    ),
    "PadChest: folders of numbers are a column of the table": Layout(
        [f"{n % 3}/{n:06d}x.png" for n in range(12)],
        {
            "labels.csv": table(
                "ImageID,ImageDir,PatientID,Labels",
                *(f"{n:06d}x.png,{n % 3},p{n // 2},['{('normal', 'mass')[n % 2]}']" for n in range(12)),
            )
        },
        "",
        {"normal": 6, "mass": 6},
        group={f"p{n}": 2 for n in range(6)},
        told="the folders are its column 'ImageDir'",
    ),
    "HyperKvasir: a table calls the classes as the deepest folders": Layout(
        [f"images/{'/'.join(way)}/{way[2]}{n}a.jpg" for way in BRANCHES for n in range(4)],
        {
            "images/image-labels.csv": table(
                "Video file,Organ,Finding",
                *(f"{way[2]}{n}a,{way[0][:3]},{way[2]}" for way in BRANCHES for n in range(4)),
            )
        },
        "",
        {way[2]: 4 for way in BRANCHES},
    ),
    "patients by numbers below the classes": Layout(
        [f"{c}/{100 * k + p}/{n}.png" for k, c in enumerate(PETS) for p in range(1, 7) for n in range(2)],
        {},
        "",
        {"cat": 12, "dog": 12},
        group={f"{c}/{100 * k + p}": 2 for k, c in enumerate(PETS) for p in range(1, 7)},
    ),
    "a few numbers below the classes are no patients": Layout(
        [f"{c}/{p}/{n}.png" for c in PETS for p in (40, 100, 200) for n in range(4)], {}, "", {"cat": 12, "dog": 12}
    ),
    "patients of a test without labels": Layout(
        [*numbered("train/a{}.jpg", 8), *numbered("test/b{}.jpg", 4)],
        {
            "train.csv": table("image_name,patient_id,target", *(f"a{n},p{n // 2},{n % 2}" for n in range(8))),
            "test.csv": table("image_name,patient_id", *(f"b{n},p{3 + n // 2}" for n in range(4))),
        },
        "",
        {"0": 4, "1": 4, None: 4},
        {"train": 8, "test": 4},
        {"p0": 2, "p1": 2, "p2": 2, "p3": 4, "p4": 2},
    ),
    "RAF-DB: aligned beside original": Layout(
        [
            f"Image/{kind}/{split}_{n:05d}{end}.jpg"
            for kind, end in (("aligned", "_aligned"), ("original", ""))
            for split in ("train", "test")
            for n in range(4)
        ],
        {"list.txt": "".join(f"{split}_{n:05d}.jpg {1 + n % 2}\n" for split in ("train", "test") for n in range(4))},
        "",
        {"1": 8, "2": 8},
        {"train": 8, "test": 8},
        told="8 have the names of others that have one",
    ),
    "MSLD: augmented beside original and folds": Layout(
        [
            f"{kind}/{kind}/{c}/{name}.jpg"
            for kind, c, names in (
                ("Original Images", "Monkey Pox", POX[:4]),
                ("Original Images", "Others", POX[4:]),
                ("Augmented Images", "Monkeypox_augmented", [f"{name}_{n:02d}" for name in POX[:4] for n in range(2)]),
                ("Augmented Images", "Others_augmented", [f"{name}_{n:02d}" for name in POX[4:] for n in range(2)]),
            )
            for name in names
        ]
        + [
            f"Fold1/Fold1/{split}/{c}/{name}.jpg"
            for split, at in (("Train", slice(0, 3)), ("Test", slice(3, 4)))
            for c, names in (("Monkeypox", POX[:4]), ("Others", POX[4:]))
            for name in names[at]
        ],
        {},
        "",
        {"Monkeypox": 16, "Others": 16},
        {"train": 6, "test": 2, None: 24},
    ),
    "ODIR: the same names once more, preprocessed": Layout(
        [f"preprocessed_images/{eye}" for eye in EYES] + [f"ODIR-5K/Training Images/{eye}" for eye in EYES],
        {"full_df.csv": table("ID,labels,filename", *(f"{n},['{'ND'[n % 2]}'],{eye}" for n, eye in enumerate(EYES)))},
        "",
        {"N": 6, "D": 6},
        {"train": 12},
    ),
    "names that two classes share are no versions": Layout(
        [f"{c}/{n}.jpg" for c in ("enhanced_tumor", "normal") for n in range(4)],
        {},
        "",
        {"enhanced_tumor": 4, "normal": 4},
    ),
    "test cases beside the folder of the classes": Layout(
        [f"The dataset/{c} cases/{c} ({n}).jpg" for c in ("Benign", "Normal") for n in range(3)]
        + numbered("Test cases/{}.jpg", 3),
        {},
        "",
        {"Benign cases": 3, "Normal cases": 3, None: 3},
        {"test": 3, None: 6},
    ),
    "classes that a split calls by their beginning are told": Layout(
        [
            f"{split}/{c}/{n}.jpg"
            for split, some in (("train", ("adeno_left_T2", "normal")), ("test", ("adeno", "normal")))
            for c in some
            for n in range(2)
        ],
        {},
        "",
        {"adeno": 2, "adeno_left_T2": 2, "normal": 4},
        {"train": 4, "test": 4},
        told="adeno (test) and adeno_left_T2 (train) may be one class",
    ),
    "numbers and names in one list": Layout(
        [f"data/{c:03d}/{n}.jpg" for c in range(1, 4) for n in range(2)],
        {"data/classes.txt": "1 auk\n2 gull\n3 tern\n"},
        "",
        {"auk": 2, "gull": 2, "tern": 2},
    ),
    "Hugging Face: objects of a kind in each row": Layout(
        numbered("train/{}.png", 4),
        {
            "train/metadata.jsonl": "\n".join(
                json.dumps({"file_name": f"{n}.png", "objects": {"bbox": [[0, 0, 1, 1]], "categories": [PETS[n % 2]]}})
                for n in range(4)
            )
        },
        "",
        {"cat": 2, "dog": 2},
        {"train": 4},
    ),
    "GAMMA: a column called data, a folder for each image": Layout(
        [f"images/{n:04d}/{n:04d}.jpg" for n in range(1, 13)],
        {"grading.xlsx": sheet([["data", "non", "early"]] + [[n, n % 2, 1 - n % 2] for n in range(1, 13)])},
        "",
        {"non": 6, "early": 6},
    ),
    "REFUGE: JSON by numbers, the names within": Layout(
        [f"{split}/Images/{letter}{n}.jpg" for split, letter in (("train", "g"), ("test", "T")) for n in range(4)],
        {
            f"{split}/index.json": json.dumps(
                {str(n): {"ImgName": f"{letter}{n}.jpg", "Label": n % 2} for n in range(4)}
            )
            for split, letter in (("train", "g"), ("test", "T"))
        },
        "",
        {"0": 4, "1": 4},
        {"train": 4, "test": 4},
    ),
    "Messidor: numbered bases, a table for each": Layout(
        [f"Base{b}/2005{b}_{n}_PP.tif" for b in (11, 12) for n in range(4)],
        {
            f"Base{b}.csv": table("Image name,Grade", *(f"2005{b}_{n}_PP.tif,{n % 2}" for n in range(4)))
            for b in (11, 12)
        },
        "",
        {"0": 4, "1": 4},
    ),
    "masks of an expert, in class folders of their own": Layout(
        [f"Main/{c}/{n}.bmp" for c in PETS for n in range(3)]
        + [f"Ground Truth Segmentation/{c}/area/{n}_expert.bmp" for c in PETS for n in range(3)],
        {},
        "",
        {"cat": 3, "dog": 3},
    ),
    "NuInsSeg: masks in folders that begin with the word": Layout(
        [f"{c}/{kind}/{c}_{n}.png" for c in PETS for kind in ("tissue images", "mask binary") for n in range(3)],
        {},
        "",
        {"cat": 3, "dog": 3},
    ),
    "State Farm: drivers of the training, and a test without labels": Layout(
        [f"imgs/train/c{c}/img_{c}{n}.jpg" for c in range(2) for n in range(4)] + numbered("imgs/test/img_9{}.jpg", 6),
        {
            "driver_imgs_list.csv": table(
                "subject,classname,img", *(f"p{n // 2},c{c},img_{c}{n}.jpg" for c in range(2) for n in range(4))
            )
        },
        "",
        {"c0": 4, "c1": 4, None: 6},
        {"train": 8, "test": 6},
        {"p0": 4, "p1": 4, None: 6},
    ),
    "patients by a letter and a number below the classes": Layout(
        [f"{c}/{c[0]}{p:03d}/slice_{n}.png" for c in PETS for p in range(6) for n in range(2)],
        {},
        "",
        {"cat": 12, "dog": 12},
        group={f"{c}/{c[0]}{p:03d}": 2 for c in PETS for p in range(6)},
    ),
    "a table of ages whose name has a split's word tells no splits, and is asked about": Layout(
        numbered("boneage-training-dataset/{}.png", 6),
        {"boneage-training-dataset.csv": table("id,boneage,weight", *(f"{n},{90 + n // 2},{n}" for n in range(6)))},
        "",
        {"boneage-training-dataset": 6},
        told="names images, and has the columns boneage)",
    ),
    "BrEaST: a classification beside BI-RADS, masks by their column": Layout(
        [f"{name}{end}.png" for name in TUMOURS for end in ("", "_tumor")],
        {
            "clinical.xlsx": sheet(
                [["Image_filename", "Mask_tumor_filename", "Classification", "BIRADS"]]
                + [[f"{n}.png", f"{n}_tumor.png", ("benign", "malignant")[k % 2], "4a"] for k, n in enumerate(TUMOURS)]
            )
        },
        "",
        {"benign": 3, "malignant": 3},
        told="'Mask_tumor_filename' are masks",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_downloaded_keeps_its_labels_splits_and_patients(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    listing = made(layout, tmp_path / "set").scan()
    assert listing["label"].value_counts(dropna=False).to_dict() == layout.label
    assert listing["split"].value_counts(dropna=False).to_dict() == (layout.split or {None: len(listing)})
    assert listing["group"].value_counts(dropna=False).to_dict() == (layout.group or {None: len(listing)})
    assert layout.told in " ".join(f"{told['value']} ({told['why']})" for told in listing.attrs["decisions"])
    assert {why for _, why in left_out_of(listing)} <= {COMPANION, MASK}


def rows(ones: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, ones))


EXPORTS: Mapping[str, dict[str, str]] = {
    "Vertex AI": {
        "import.jsonl": rows(
            [
                {
                    "imageGcsUri": f"gs://b/img/{n}.jpg",
                    "classificationAnnotation": {"displayName": PETS[n % 2]},
                    "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": ("training", "test")[n // 3]},
                }
                for n in range(4)
            ]
        )
    },
    "V7": {
        f"annotations/{n}.json": json.dumps(
            {"item": {"name": f"{n}.jpg", "path": "/"}, "annotations": [{"name": PETS[n % 2], "tag": {}}]}
        )
        for n in range(4)
    },
    "Labelbox": {
        "export.ndjson": rows(
            [
                {
                    "data_row": {"external_id": f"{n}.jpg", "row_data": "https://x/y"},
                    "projects": {
                        "p": {
                            "labels": [
                                {
                                    "annotations": {
                                        "objects": [],
                                        "classifications": [{"name": "animal", "radio_answer": {"name": PETS[n % 2]}}],
                                    }
                                }
                            ]
                        }
                    },
                }
                for n in range(4)
            ]
        )
    },
    "FiftyOne": {"labels.json": json.dumps({"classes": PETS, "labels": {str(n): n % 2 for n in range(4)}})},
}


@pytest.mark.parametrize("tool", EXPORTS)
def test_exports_of_further_tools_give_labels(tmp_path: Path, tool: str) -> None:
    listing = made(Layout(numbered("img/{}.jpg", 4), EXPORTS[tool], "", {}), tmp_path).scan()
    assert listing["label"].tolist() == ["cat", "dog", "cat", "dog"]
    assert listing["split"].tolist() == (["train"] * 3 + ["test"] if tool == "Vertex AI" else [None] * 4)
    (told,) = (told for told in listing.attrs["decisions"] if told["what"] == "labels")
    assert told["why"].startswith(tool)
    assert {why for _, why in left_out_of(listing)} == {COMPANION}


def test_files_of_matlab_of_one_image_each_are_told_with_the_way_out(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    with pytest.raises(DatapropsError, match=r"it holds 0.mat and others: MATLAB arrays; save them as .npz"):
        open_source(str(tmp_path)).scan()


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        ([f"{16 + i % 2}B{1800 + i // 4:05d}_Block_Region_{i % 4}_xini_{i}.jpg" for i in range(0, 80, 2)], 20),
        ([f"SOB_{'BM'[i // 40]}_{'AF'[i % 2]}-14-{22000 + i // 4}AB-{40 + i % 4}-{i:03d}.png" for i in range(80)], 40),
        ([f"CNV/CNV-{1016042 + i // 4}-{i % 4}.jpeg" for i in range(40)], 10),
        ([f"Mild/OAS1_{i // 4:04d}_MR1_mpr-1_{100 + i % 4}.jpg" for i in range(40)], 10),
        ([f"UID_{'H' * (i % 2)}{i // 8}_{i}_1_all.bmp" for i in range(80)], 20),
        ([f"RET{i // 2:03d}O{'DS'[i % 2]}.jpg" for i in range(40)], 20),
        ([f"a/P{i // 4:03d}_S{i % 2:02d}_img{i}.png" for i in range(40)], 10),
        ([f"a/TCGA-{'AB'[i % 8 // 4]}R-A{i // 4:03d}-01Z-00-DX1_{i % 4}.png" for i in range(40)], 10),
        ([f"AD/ADNI_{i // 20:03d}_S_{i // 4:04d}_MR_MPR__Br_S{i}_I{i}.png" for i in range(40)], 10),
        ([f"p1{i % 2}/p1{i // 4:07d}/s{i}/{i}.jpg" for i in range(40)], 10),
        ([f"{i}_{0x6C613A14B80A + i // 4:012x}_MG_R_CC_ANON.png" for i in range(40)], 10),
        ([f"a/LIDC-IDRI-{i // 4:04d}/1-{i % 4:03d}.dcm" for i in range(40)], 10),
        ([f"a/{i // 4}/{i % 4}.jpg" for i in range(40)], 10),
        ([f"a/1.3.6.1.4.1.{i // 4 + 6000}/{i % 4:06d}.dcm" for i in range(40)], 10),
        ([f"images/{i % 10:02d}/{i:06d}.jpg" for i in range(40)], None),
        ([f"a/2005{1 + i % 9:02d}1{i % 3}_{43808 + i}_0100_PP.tif" for i in range(40)], None),
        ([f"a/2019-0{1 + i % 9}-1{i % 3}_{i:04d}.png" for i in range(40)], None),
        ([f"a/s{1 + i // 4:02d}z{40 + i % 4:03d}.png" for i in range(40)], 10),
        ([f"a/1.3.6.1.4.1.{12345 + i // 4}-{40 + i % 4:03d}.png" for i in range(40)], 10),
        ([f"{i}.jpg" for i in range(40)], None),
        ([f"{'cat' if i % 2 else 'dog'}.{i}.jpg" for i in range(40)], None),
        ([f"n{1440764 + i // 4}/n{1440764 + i // 4}_{i}.JPEG" for i in range(40)], None),
        ([f"{i // 4:05d}/{i // 4:05d}_{i % 4 // 2:05d}_{i % 2:05d}.png" for i in range(40)], 20),  # class, track, frame
        ([f"Mass-Training_P_{i // 4:05d}_LEFT_CC_{i % 4}/1-{i}.dcm" for i in range(40)], 10),
        ([f"{i // 20}/{i % 20:05d}.png" for i in range(40)], None),  # numbered afresh in each folder
        ([f"{i // 20}/IMG_201910{1 + i // 2:02d}_{94613 + i}.jpg" for i in range(40)], None),
        ([f"{i % 2}/scan_2019-{1 + i // 4:02d}-{11 + i % 4}_{i:04d}.png" for i in range(40)], None),
        ([f"a/{i // 2}_{('left', 'right')[i % 2]}.jpg" for i in range(40)], 20),
        ([f"a/PPMI_{3102 + i // 4}_MR_br_raw_20110722{100000 + i // 2:06d}_{i}.dcm" for i in range(40)], 10),
    ],
)
def test_beginnings_of_names_that_name_groups_are_proposed(names: list[str], groups: int | None) -> None:
    labels = [name.partition("/")[0] for name in names]
    images = pd.DataFrame({"image": range(len(names)), "path": names, "label": labels, "split": None, "group": None})
    found = suggestion(images)
    assert (None if found is None else found.groups) == groups
    assert found is None or found.matched == len(names)
