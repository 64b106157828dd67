"""Layouts that nobody had tried before, each kind small: splits, patients and labels that stand where other sets have none."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dataprops.errors import DatapropsError
from dataprops.sources import open_source
from dataprops.sources.columns import plain_name
from tests.test_published_layouts import Layout, keeps, made, numbered, table

PETS = ("cat", "dog")
SCANS = numbered("scan_{}.png", 12)
EIGHT: dict[str | None, int] = {f"p{n}": 2 for n in range(4)}
TRAPS = json.dumps(
    {
        "images": [
            {"id": f"{n}{k}", "file_name": f"B0{k}/{n}{k}.png", "seq_id": f"p{2 * k + n // 2}"}
            for k in (0, 1)
            for n in range(4)
        ],
        "annotations": [{"image_id": f"{n}{k}", "category_id": n % 2} for k in (0, 1) for n in range(4)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(PETS)],
    }
)
LAYOUTS = {
    "fetal planes: the column of patients is called after their number, that of the split has a blank": Layout(
        numbered("images/{}.png", 8),
        {
            "data.csv": table(
                "Image_name;Patient_num;Class;Train ", *(f"{n};p{n // 2};ab;{n % 4 // 2}" for n in range(8))
            )
        },
        "",
        {"ab": 8},
        {"train": 4, "test": 4},
        EIGHT,
    ),
    "Spanish, with accents and a mark of UTF-8": Layout(
        numbered("imagenes/{}.png", 8),
        {
            "datos.csv": "\ufeff"
            + table(
                "imagen,diagnóstico,ID paciente", *(f"{n}.png,{('sano', 'malo')[n % 2]},p{n // 2}" for n in range(8))
            )
        },
        "",
        {"sano": 4, "malo": 4},
        group=EIGHT,
    ),
    "German, of Windows": Layout(
        numbered("Bilder/{}.png", 8),
        {
            "befunde.csv": table(
                "Bild;Befund;Patientennummer", *(f"{n}.png;{('Läsion', 'frei')[n % 2]};p{n // 2}" for n in range(8))
            ).encode("latin-1")
        },
        "",
        {"Läsion": 4, "frei": 4},
        group=EIGHT,
    ),
    "RANZCR: patients of a training set of which two tables tell other labels": Layout(
        [*numbered("train/a{}.png", 8), *numbered("test/b{}.png", 2)],
        {
            "train.csv": table("image,label,PatientID", *(f"a{n},{n % 2},p{n // 2}" for n in range(8))),
            "train_annotations.csv": table("image,label", *(f"a{n},{(n + 1) % 2}" for n in range(8))),
        },
        "",
        {None: 10},
        {"train": 8, "test": 2},
        EIGHT | {None: 2},
        told="give the same images different labels",
    ),
    "ISIC 2018: lesions of the training set alone": Layout(
        [*numbered("train/a{}.png", 8), *numbered("test/b{}.png", 4)],
        {
            "truth_train.csv": table("image,label", *(f"a{n},{n % 2}" for n in range(8))),
            "truth_test.csv": table("image,label", *(f"b{n},{n % 2}" for n in range(4))),
            "groups.csv": table("image,lesion_id,confirmed", *(f"a{n},p{n // 2},histology" for n in range(8))),
        },
        "",
        {"0": 6, "1": 6},
        {"train": 8, "test": 4},
        EIGHT | {None: 4},
    ),
    "GlaS: names of files begin with splits, of which one is in two parts": Layout(
        [f"{part}_{n}.bmp" for part in ("train", "testA", "testB") for n in range(4)],
        {},
        "",
        {None: 12},
        {"train": 4, "test": 8},
        told="all file names begin with one",
    ),
    "WILDS: one folder train, and a table of splits": Layout(
        numbered("train/{}.png", 8),
        {
            "metadata.csv": table(
                ",split,y,seq_id,filename",
                *(f"{n},{('train', 'val', 'test')[n % 3]},{n % 2},p{n // 2},{n}.png" for n in range(8)),
            )
        },
        "",
        {"0": 4, "1": 4},
        {"train": 3, "val": 3, "test": 2},
        EIGHT,
    ),
    "iWildCam: sequences in COCO's list of images, also of the test": Layout(
        [*numbered("train/{}.png", 8), *numbered("test/b{}.png", 2)],
        {
            "train_annotations.json": json.dumps(
                {
                    "images": [{"id": n, "file_name": f"{n}.png", "seq_id": f"p{n // 2}"} for n in range(8)],
                    "annotations": [{"image_id": n, "category_id": n % 2} for n in range(8)],
                    "categories": [{"id": n, "name": name} for n, name in enumerate(PETS)],
                }
            ),
            "test_information.json": json.dumps(
                {"images": [{"id": n, "file_name": f"b{n}.png", "seq_id": "t"} for n in range(2)], "categories": []}
            ),
        },
        "",
        {"cat": 4, "dog": 4, None: 2},
        {"train": 8, "test": 2},
        EIGHT | {"t": 2},
    ),
    "BBBC039: lists name the images by another ending": Layout(
        numbered("images/{}.tif", 6),
        {"training.txt": "0.png\n1.png\n2.png\n", "validation.txt": "3.png\n", "test.txt": "4.png\n5.png\n"},
        "",
        {None: 6},
        {"train": 3, "val": 1, "test": 2},
    ),
    "Stanford Online Products: lists with names of columns": Layout(
        [f"{c}_final/{n}.png" for c in PETS for n in range(4)],
        {
            f"Ebay_{split}.txt": table(
                "image_id class_id path", *(f"{n} 1 {c}_final/{n}.png" for c in PETS for n in some)
            )
            for split, some in (("train", (0, 1)), ("test", (2, 3)))
        },
        "",
        {"cat_final": 4, "dog_final": 4},
        {"train": 4, "test": 4},
    ),
    "BigEarthNet: a JSON for the bands of each patch": Layout(
        [f"S2A_2017061{n}T101031_{n}_53/B{b:02}.tif" for n in range(6) for b in (2, 3)],
        {
            f"S2A_2017061{n}T101031_{n}_53/labels_metadata.json": json.dumps(
                {"labels": [["Sea"], ["Land principally occupied by agriculture", "Sea"]][n % 2], "corner": {"x": 1}}
            )
            for n in range(6)
        },
        "",
        {"Sea": 6, "Land principally occupied by agriculture|Sea": 6},
        group={f"S2A_2017061{n}T101031_{n}_53": 2 for n in range(6)},
    ),
    "x.png.json beside x.png, the class within": Layout(
        numbered("{}.png", 4),
        {f"{n}.png.json": json.dumps({"annotation": {"class": PETS[n % 2]}, "size": [1, 2]}) for n in range(4)},
        "",
        {"cat": 2, "dog": 2},
    ),
    "DeepLesion: the table joins folder and file": Layout(
        [f"Images/{n:06}_01_0{s}/{k}.png" for n in range(1, 4) for s in (1, 2) for k in (103, 104)],
        {
            "info.csv": table(
                "File_name,Patient_index,label",
                *(f"{n:06}_01_0{s}_{k}.png,{n},{s}" for n in range(1, 4) for s in (1, 2) for k in (103, 104)),
            )
        },
        "",
        {"1": 6, "2": 6},
        group={f"{n}": 4 for n in range(1, 4)},
    ),
    "folders that are the numbers of users are no classes": Layout(
        [f"{30601258 + user}@N0{user % 4}/{k}.png" for user in range(6) for k in range(2)],
        {},
        "",
        {None: 12},
        group={f"{30601258 + user}@N0{user % 4}": 2 for user in range(6)},
    ),
    "files of no known form are told": Layout(
        numbered("images/{}.png", 4),
        {f"annotations/{n}_exp.npy": "x" for n in range(4)},
        "",
        {None: 4},
        told="files lie beside the images: annotations/0_exp.npy",
    ),
    "VLCS: splits of three names below the classes": Layout(
        [f"{c}/{split}/{n}.png" for c in PETS for split in ("train", "crossval", "test") for n in range(2)],
        {},
        "",
        {"cat": 6, "dog": 6},
        {"train": 4, "val": 4, "test": 4},
    ),
    "BUS-BRA: masks are called after another word; cases are the patients": Layout(
        [
            f"{kind}s/{word}_{n:02}-{side}.png"
            for kind, word in (("Image", "bus"), ("Mask", "mask"))
            for n in range(4)
            for side in "lr"
        ],
        {
            "data.csv": table(
                "ID,Case,Pathology", *(f"bus_{n:02}-{side},p{n},{PETS[n % 2]}" for n in range(4) for side in "lr")
            )
        },
        "",
        {"cat": 4, "dog": 4},
        group=EIGHT,
    ),
    "a case or a control is no patient": Layout(
        numbered("images/{}.png", 8),
        {"data.csv": table("image,case,label", *(f"{n}.png,{n % 2},{PETS[n // 4]}" for n in range(8)))},
        "",
        {"cat": 4, "dog": 4},
    ),
    "studies where no column names patients": Layout(
        numbered("images/{}.png", 8),
        {"data.csv": table("image_id,study_id,label", *(f"{n},p{n // 2},{PETS[n % 2]}" for n in range(8)))},
        "",
        {"cat": 4, "dog": 4},
        group=EIGHT,
    ),
    "EyePACS: cropped beside resized, each in a folder of its own name": Layout(
        [
            f"{kind}/{kind}/{n}_{eye}.png"
            for kind in ("resized_train", "resized_train_cropped")
            for n in (10, 13, 15)
            for eye in ("left", "right")
        ],
        {
            "labels.csv": table(
                "image,level", *(f"{n}_{eye},{n % 2}" for n in (10, 13, 15) for eye in ("left", "right"))
            )
        },
        "",
        {"0": 4, "1": 8},
        told="6 have the names of others that have one",
    ),
    "Places: classes in drawers, and a validation without folders": Layout(
        [f"data_256/{c[0]}/{c}/{n}.png" for c in ("airfield", "alley", "bar", "beach") for n in range(3)]
        + numbered("val_256/v{}.png", 4),
        {},
        "",
        {"airfield": 3, "alley": 3, "bar": 3, "beach": 3, None: 4},
        {"val": 4, None: 12},
    ),
    "fMoW: places are numbers after the name of their class": Layout(
        [f"{c}/{c}_{n}/{c}_{n}_{k}.png" for c in PETS for n in range(6) for k in range(2)],
        {},
        "",
        {"cat": 12, "dog": 12},
        group={f"{c}/{c}_{n}": 2 for c in PETS for n in range(6)},
    ),
    "SICAP: patients of the slides that names begin with, in another table": Layout(
        [f"tiles/16B00{n // 2}_{n}.png" for n in range(12)],
        {
            "train.csv": table("image_name,label", *(f"16B00{n // 2}_{n}.png,{n % 2}" for n in range(12))),
            "slides.csv": table("slide_id,patient_id,score", *(f"16B00{n},p{n // 2},{n}" for n in range(6))),
        },
        "",
        {"0": 6, "1": 6},
        group={f"p{n}": 4 for n in range(3)},
        told="'patient_id' of slides.csv (values of slide_id",
    ),
    "LERA: folders and labels without names of columns": Layout(
        [f"{10 + n}/XR {('FOOT', 'KNEE')[n % 2]}/{k}.png" for n in range(6) for k in range(2)],
        {"labels.csv": "".join(f"{10 + n},{n % 3 % 2}\n" for n in range(6))},
        "",
        {"0": 8, "1": 4},
        group={f"{10 + n}": 2 for n in range(6)},
    ),
    "camera traps: annotations that are not the folders are told, sequences taken": Layout(
        [f"B0{site}/{n}{site}.png" for site in range(2) for n in range(4)],
        {"serengeti.json": TRAPS},
        "",
        {"B00": 4, "B01": 4},
        group=EIGHT,
        told="serengeti.json labels 8 of 8 images differently from their folders: cat 4, dog 4",
    ),
    "camera traps: the annotations, where the folders are to tell nothing": Layout(
        [f"B0{site}/{n}{site}.png" for site in range(2) for n in range(4)],
        {"serengeti.json": TRAPS},
        "",
        {"cat": 4, "dog": 4},
        group=EIGHT,
        options={"layout": "none"},
    ),
    "ISIC 2017: a second version of the test": Layout(
        [f"{part}_Data/{part[0]}{n}.png" for part in ("Training", "Validation", "Test_v2") for n in range(2)],
        {},
        "",
        {None: 6},
        {"train": 2, "val": 2, "test": 2},
    ),
    "NIH: a sample of its labels is no example of an answer": Layout(
        numbered("images/{}.png", 4),
        {"sample_labels.csv": table("Image Index,Finding Labels", *(f"{n}.png,{PETS[n % 2]}" for n in range(4)))},
        "",
        {"cat": 2, "dog": 2},
    ),
    "Duke's OCT: classes with the numbers of patients are told": Layout(
        [f"{c}{n}/TIFFs/{k}.tif" for c in ("AMD", "DME") for n in range(1, 4) for k in range(2)],
        {},
        "",
        {f"{c}{n}": 2 for c in ("AMD", "DME") for n in range(1, 4)},
        told="without their numbers they are AMD, DME (--label-pattern",
    ),
    "Duke's OCT: classes without the numbers, by the pattern that was told": Layout(
        [f"{c}{n}/TIFFs/{k}.tif" for c in ("AMD", "DME") for n in range(1, 4) for k in range(2)],
        {},
        "",
        {"AMD": 6, "DME": 6},
        options={"label_pattern": "([^/0-9]*[^/0-9_. -])[-_. ]?[0-9]+/"},
    ),
    "Herbarium: COCO with ids and names of its own": Layout(
        [f"{n}.png" for n in range(4)],
        {
            "train_metadata.json": json.dumps(
                {
                    "images": [{"image_id": f"i{n}", "file_name": f"{n}.png"} for n in range(4)],
                    "annotations": [{"image_id": f"i{n}", "category_id": n % 2} for n in range(4)],
                    "categories": [{"category_id": n, "scientificName": name} for n, name in enumerate(PETS)],
                }
            )
        },
        "",
        {"cat": 2, "dog": 2},
    ),
    "GTSDB: a class after its box": Layout(
        numbered("{}.ppm", 6),
        {"gt.txt": "".join(f"{n}.ppm;774;411;815;446;{n % 2}\n" for n in range(6))},
        "",
        {"0": 3, "1": 3},
    ),
    "COVIDx-CT: a class before its box": Layout(
        numbered("{}.png", 6),
        {"train_ct.txt": "".join(f"{n}.png {n % 2} 9 25 488 387\n" for n in range(6))},
        "",
        {"0": 3, "1": 3},
    ),
    "spoofs: a development set beside an evaluation, which is the test": Layout(
        [
            f"FASD_{s}/{c}/{c[::-1]}_{s[0]}{n}.png"
            for s in ("training", "development", "evaluation")
            for c in PETS
            for n in (1, 2)
        ],
        {},
        "",
        {"cat": 6, "dog": 6},
        {"train": 4, "val": 4, "test": 4},
    ),
    "LIMUC: train and validation in one": Layout(
        [
            f"{s}/Mayo {c}/{s[:2]}{n}.png"
            for s in ("train_and_validation_sets", "test_set")
            for c in (0, 1)
            for n in (1, 2)
        ],
        {},
        "",
        {"Mayo 0": 4, "Mayo 1": 4},
        {"train": 4, "test": 4},
    ),
    "DeepWeeds: numbers whose names are another column": Layout(
        numbered("images/{}.png", 6),
        {"labels.csv": table("Filename,Label,Species", *(f"{n}.png,{8 * (n % 2)},{PETS[n % 2]}" for n in range(6)))},
        "",
        {"cat": 3, "dog": 3},
        told="names of labels.csv",
    ),
    "bone marrow: what short names of classes stand for is no table of patients": Layout(
        [f"{c}/{c}_{n}.png" for c in ("ABE", "BAS", "EOS") for n in (1, 2)],
        {"abbreviations.csv": "ABE;Abnormal eosinophil\nBAS;Basophil\nEOS;Eosinophil\n"},
        "",
        {"ABE": 2, "BAS": 2, "EOS": 2},
    ),
    "augmented beside original, each with a word more": Layout(
        [f"{v}Dataset/{c}/{v[0]}{n}.png" for v in ("AugmentedBrain", "Original") for c in PETS for n in (1, 2)],
        {},
        "",
        {"cat": 4, "dog": 4},
    ),
    "a folder of splits, twice of its name, beside a test": Layout(
        [
            *(
                f"Plants(New)/Plants(New)/{s}/{c}/{s[0]}{c}{n}.png"
                for s in ("train", "valid")
                for c in PETS
                for n in (1, 2)
            ),
            *(f"test/test/{c}{n}.png" for c in ("x", "y") for n in (1, 2)),
        ],
        {},
        "",
        {"cat": 4, "dog": 4, None: 4},
        {"train": 4, "val": 4, "test": 4},
    ),
    "two sets with splits, each in a folder twice of its name": Layout(
        [
            f"{d} Data/{d} Data/{s}/{c}/{d[0]}{s[0]}{c}{n}.png"
            for d in ("Lung", "Infection")
            for s in ("Train", "Test")
            for c in PETS
            for n in (1, 2)
        ],
        {},
        "",
        {"cat": 8, "dog": 8},
        {"train": 8, "test": 8},
        options={"layout": "*/*/split/class"},
    ),
    "the table that names most images is the one whose columns are told": Layout(
        numbered("images/{}.png", 8),
        {
            "about.csv": table("Case ID,Sex", "0,M", "1,F"),
            "ages.csv": table("id,months,male", *(f"{n},{12 * (n % 4)},{bool(n % 2)}" for n in range(8))),
        },
        "",
        {None: 8},
        told="has the columns months, male) --label-column months",
    ),
    "lines of JSON for each split, of which the test's have no labels": Layout(
        numbered("data/img/{:05d}.png", 8),
        {
            f"data/{s}.jsonl": "".join(
                json.dumps(
                    {"id": n, "img": f"img/{n:05d}.png", "text": "a, b"} | ({} if s == "test" else {"label": n % 2})
                )
                + "\n"
                for n in rows
            )
            for s, rows in (("train", range(4)), ("dev", range(4, 6)), ("test", range(6, 8)))
        },
        "",
        {"0": 3, "1": 3, None: 2},
        {"train": 4, "val": 2, "test": 2},
    ),
    "monkeys: a letter and a number, and their names in a list": Layout(
        [f"training/training/n{c}/n{c}0{n}.jpg" for c in range(2) for n in (18, 19, 20)],
        {
            "monkey_labels.txt": "Label, Latin Name      , Common Name    , Train Images\n"
            + "".join(f"n{c}   , alouatta_{c}\t  , {PETS[c]}    , 131\n" for c in range(2))
        },
        "",
        {"cat": 3, "dog": 3},
        {"train": 6},
        told="n0 is cat",
    ),
    "elpv: a table whose values stand between blanks": Layout(
        numbered("images/cell{:04d}.png", 8),
        {"labels.csv": "".join(f"images/cell{n:04d}.png  {n % 2}.0   {('mono', 'poly')[n // 4]}\n" for n in range(8))},
        "",
        {"0.0": 4, "1.0": 4},
        told="taken as path, label, column 3",
    ),
    "kaokore: 0 and 1 are no names of images, and splits no labels": Layout(
        numbered("images/{:08d}.jpg", 8),
        {"labels.csv": table("image,gender,status,set", *(f"{n:08d}.jpg,{n % 2},{n % 4},train" for n in range(8)))},
        "",
        {None: 8},
        told="labels.csv names images, and has the columns gender, status) --label-column status",
    ),
    "half of a second table has 0 and 1 the other way round": Layout(
        numbered("images/{}.png", 10),
        {
            "a.csv": table("image,label", *(f"{n}.png,{n % 2}" for n in range(10))),
            "b.csv": table("image,label", *(f"{n}.png,{1 - n % 2}" for n in range(4))),
        },
        "",
        {None: 10},
        told="a.csv and b.csv give the same images different labels",
    ),
    "iNaturalist: splits by COCO's files below one folder, whose species are the deeper folders": Layout(
        [
            f"train_val_images/{c}/{k}/{n}.jpg"
            for c, k in (("Aves", "owl"), ("Aves", "tit"), ("Fungi", "cep"))
            for n in range(4)
        ],
        {
            f"{split}2017.json": json.dumps(
                {
                    "images": [
                        {"id": f"{k}{n}", "file_name": f"train_val_images/{c}/{k}/{n}.jpg"}
                        for c, k in (("Aves", "owl"), ("Aves", "tit"), ("Fungi", "cep"))
                        for n in some
                    ],
                    "annotations": [
                        {"image_id": f"{k}{n}", "category_id": k} for k in ("owl", "tit", "cep") for n in some
                    ],
                    "categories": [{"id": k, "name": k} for k in ("owl", "tit", "cep")],
                }
            )
            for split, some in (("train", (0, 1, 2)), ("val", (3,)))
        },
        "",
        {"owl": 4, "tit": 4, "cep": 4},
        {"train": 9, "val": 3},
    ),
    "BBBC041: lists of objects, and the image in a record of its own": Layout(
        numbered("malaria/images/{}.png", 12),
        {
            f"malaria/{name}.json": json.dumps(
                [
                    {
                        "image": {"checksum": "ab", "pathname": f"/images/{n}.png", "shape": {"r": 12, "c": 16}},
                        "objects": [
                            {"box": {"r": k}, "category": c}
                            for k, c in enumerate(("cell", "cell", *["ring"] * (n % 2)))
                        ],
                    }
                    for n in some
                ]
            )
            for name, some in (("training", range(8)), ("test", range(8, 12)))
        },
        "",
        {"cell": 6, "cell|ring": 6},
        {"train": 8, "test": 4},
    ),
    "BreastPathQ: two columns make the name": Layout(
        [
            f"{split}/{slide}_{n}.tif"
            for split, slides in (("train", (998, 999)), ("validation", (1001,)))
            for slide in slides
            for n in range(4)
        ],
        {
            "train_labels.csv": table("slide,rid,y", *(f"{s},{n},{n % 2}" for s in (998, 999) for n in range(4))),
            "val_labels.csv": table("slide,rid,y", *(f"1001,{n},{n % 2}" for n in range(4))),
        },
        "",
        {"0": 6, "1": 6},
        {"train": 8, "val": 4},
    ),
    "nnU-Net with PNG: the first channel's name is longer than the mask's": Layout(
        [
            *numbered("D1/imagesTr/kid_{:03d}_0000.png", 6),
            *numbered("D1/labelsTr/kid_{:03d}.png", 6),
            *numbered("D1/imagesTs/kid_9{:02d}_0000.png", 4),
        ],
        {"D1/dataset.json": "{}"},
        "",
        {None: 10},
        {"train": 6, "test": 4},
    ),
    "WSSS4LUAD: names end with the few values of the label": Layout(
        [f"train/{n * 13}-{n % 9}-{5001 + n}-[1, {n % 2}, 0].png" for n in range(12)],
        {},
        "",
        {None: 12},
        {"train": 12},
        told="file names end with [1, 0, 0] 6, [1, 1, 0] 6",
    ),
    "COIL: names begin with the number of the object": Layout(
        [f"coil/obj{o}__{a}.png" for o in range(1, 8) for a in range(0, 360, 60)],
        {},
        "",
        {"coil": 42},
        told="file names begin with 7 ids of classes or patients: obj1, obj2, obj3, obj4, ...",
    ),
    "frames of videos: names that begin with a person or a part are no classes": Layout(
        [f"video{v:02d}_{f:04d}.png" for v in range(4) for f in range(6)], {}, "", {None: 24}
    ),
    "FER+: boxes and votes without names of columns name no label": Layout(
        numbered("train/{}.png", 12),
        {"train/label.csv": "".join(f'{n}.png,"(0, 0, 48, 48)",{n % 9},{n % 2},0\n' for n in range(12))},
        "",
        {None: 12},
        {"train": 12},
        told="label.csv names images, and has the columns column 3, column 4",
    ),
    "vectors of 0 and 1: the positions of the ones are the labels": Layout(
        numbered("{}.png", 6),
        {"train.jsonl": "".join(f'{{"image": "{n}.png", "label": [1, {n % 2}, 0]}}\n' for n in range(6))},
        "",
        {"0": 3, "0|1": 3},
    ),
    "DomainNet: a layout that names the classes leaves lists their splits": Layout(
        [f"{d}/{c}/{d}{n}.png" for d in ("clipart", "real") for c in PETS for n in range(4)],
        {
            f"{d}_{s}.txt": "".join(f"{d}/{c}/{d}{n}.png 0\n" for c in PETS for n in some)
            for d in ("clipart", "real")
            for s, some in (("train", (0, 1, 2)), ("test", (3,)))
        },
        "",
        {"cat": 8, "dog": 8},
        {"train": 12, "test": 4},
        options={"layout": "*/class"},
    ),
    "G1020: a column that was asked for goes before annotations beside the images": Layout(
        numbered("Images/{}.png", 8),
        {f"Images/{n}.json": json.dumps({"shapes": [{"label": "disc"}], "imagePath": f"{n}.png"}) for n in range(8)}
        | {"G1020.csv": table("imageID,binaryLabels", *(f"{n}.png,{n % 2}" for n in range(8)))},
        "",
        {"0": 4, "1": 4},
        options={"layout": "none", "label_column": "binaryLabels"},
    ),
    "STARE: codes between tabs, names of several words": Layout(
        numbered("stare-images/im{:04d}.ppm", 6),
        {"all-mg-codes.txt": "".join(f"im{n:04d}\t{n % 2}\t{('Normal', 'Drusen, many')[n % 2]}\n" for n in range(6))},
        "",
        {"0": 3, "1": 3},
    ),
    "FGVC: lists of long numbers and names of several words": Layout(
        numbered("images/{:07d}.jpg", 8),
        {
            f"images_family_{s}.txt": "".join(f"{n:07d} {('A300', 'Boeing 737')[n % 2]}\n" for n in some)
            for s, some in (("train", range(5)), ("test", range(5, 8)))
        },
        "",
        {"A300": 4, "Boeing 737": 4},
        {"train": 5, "test": 3},
    ),
    "lists of two kinds for each split: those that disagree are named": Layout(
        numbered("images/{:07d}.jpg", 8),
        {
            f"images_{kind}_{s}.txt": "".join(f"{n:07d} {names[n // by % 2]}\n" for n in some)
            for kind, names, by in (("family", ("A300", "B737"), 1), ("maker", ("Airbus", "Boeing"), 2))
            for s, some in (("train", range(4)), ("test", range(4, 8)))
        },
        "",
        {None: 8},
        {"train": 4, "test": 4},
        told="images_family_test.txt and images_maker_test.txt give the same images different labels",
    ),
    "a sheet beside the images that is none": Layout(
        [f"{c}/{n}.png" for c in PETS for n in (1, 2)], {"about.xlsx": b"PK"}, "", {"cat": 2, "dog": 2}
    ),
    "SLAKE: a folder for each image with its mask, and questions about it in a list of each split": Layout(
        [f"imgs/case{n}/{kind}.png" for n in range(14) for kind in ("source", "mask")],
        {
            f"{part}.json": json.dumps(
                [{"img_name": f"case{n}/source.png", "question": f"{q} {n}?"} for n in some for q in ("What", "Where")]
            )
            for part, some in {"train": range(9), "validate": range(9, 12), "test": range(12, 14)}.items()
        },
        "",
        {None: 14},
        {"train": 9, "val": 3, "test": 2},
        {f"case{n}": 1 for n in range(14)},
        told="14 files are named like masks of other images, such as imgs/case0/mask.png",
    ),
    "ROCO: the label of a part of a table with too few rows to tell it": Layout(
        [f"{part}/{part}{n}.png" for part, images in (("train", 9), ("test", 2)) for n in range(images)],
        {
            f"{part}_concepts.csv": table("ID,CUIs", *(f"{part}{n},C0{n % 3}" for n in range(images)))
            for part, images in (("train", 9), ("test", 2))
        },
        "",
        {"C00": 4, "C01": 4, "C02": 3},
        {"train": 9, "test": 2},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_tried_last_keep_their_labels_splits_and_groups(tmp_path: Path, name: str) -> None:
    keeps(LAYOUTS[name], tmp_path / "set")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            ["train/axial/0.npy", "train/axial/1.npy", "acl.csv"],
            r"2 arrays such as train/axial/0\.npy, not one image each",
        ),
        (["labels.csv"], r"give that file itself, with --images DIR if its images are elsewhere"),
        (["1.heic", "2.heic"], r"2 in a format that is not read, such as 1\.heic: save them as PNG"),
        (["cat/", "dog/"], r"its folders are empty, such as cat"),
        (["set.zip"], r"they hold files of other kinds \(1\), such as a\.txt"),
    ],
)
def test_a_folder_without_images_is_told_with_the_way_out(tmp_path: Path, files: list[str], told: str) -> None:
    for name in files:
        place = tmp_path / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if name.endswith(".npy"):
            np.save(place, np.zeros((24, 64, 64)))
        elif name.endswith(".zip"):
            with zipfile.ZipFile(place, "w") as archive:
                archive.writestr("a.txt", "x")
        elif not name.endswith("/"):
            place.write_text("image,label\n1.png,0\n")
    with pytest.raises(DatapropsError, match=told):
        open_source(str(tmp_path)).scan()


def test_a_layout_that_was_given_leaves_no_question_of_splits(tmp_path: Path) -> None:
    lists = {f"{s}{k}.txt": f"cat/{k}.png\n" for s in ("train", "test") for k in range(3)}
    layout = Layout([f"{c}/{n}.png" for c in PETS for n in range(3)], lists, "", {})
    asked = layout._replace(options={"layout": "class"})
    for given, some in ((layout, True), (asked, False)):
        listing = made(given, tmp_path / str(some)).scan()
        assert any(told["value"] == "none" for told in listing.attrs["decisions"]) == some


def test_names_of_columns_are_plain_in_every_script() -> None:
    assert [plain_name(name) for name in ("Bild-Nr.", "DIAGNÓSTICO", "标签")] == ["bildnr", "diagnostico", "标签"]


def test_annotations_of_the_folders_own_classes_are_no_remark(tmp_path: Path) -> None:
    names = [f"{c}/{n}.png" for c in PETS for n in range(4)]
    whole = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "annotations": [{"image_id": n, "category_id": n // 4} for n in range(8)],
        "categories": [{"id": 0, "name": "Felis catus"}, {"id": 1, "name": "Canis"}],
    }
    listing = made(Layout(names, {"train.json": json.dumps(whole)}, "", {}), tmp_path).scan()
    assert [told["what"] for told in listing.attrs["decisions"]] == ["classes"]


def test_a_text_with_columns_that_nobody_read_is_told(tmp_path: Path) -> None:
    names = [f"{c}/{n}.png" for c in PETS for n in range(4)]
    text = "user_id\tage\tgender\n" + "1\t(25, 32)\tf\n" * 8
    listing = made(Layout(names, {"fold_0_data.txt": text, "readme.txt": "Faces.\n"}, "", {}), tmp_path).scan()
    (told,) = (told for told in listing.attrs["decisions"] if told["what"] == "labels")
    assert told["why"] == "fold_0_data.txt lies beside them, in an unknown format"


def test_an_archive_within_an_archive_is_named(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("cat/1.png", b"")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("train.zip", inner.getvalue())
    with pytest.raises(
        DatapropsError, match=r"an image; train\.zip is an archive within one of them: unpack that first"
    ):
        open_source(str(tmp_path)).scan()
