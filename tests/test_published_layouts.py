"""Sets as they are published, small: tables, lists of splits, annotations, tables of pixels, arrays; each with the right answer."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import UnreadableImage, decode, quiet
from dataprops.imaging.formats import is_image
from dataprops.imaging.ranges import Facts, decide
from dataprops.sources import OpenSource, SourceOptions, open_source
from dataprops.sources.account import ABSENT, COMPANION, COPY, IRREGULAR, MASK, NOT_AN_IMAGE, left_out_of, lost_fraction
from dataprops.sources.structure import infer
from tests.test_cases import encoded, look, picture, put


class Layout(NamedTuple):
    """Images and texts of a set, what is given of it, and how many images have which label, split and group."""

    images: list[str]
    texts: Mapping[str, str | bytes]
    place: str
    label: dict[str | None, int]
    split: Mapping[str | None, int] = MappingProxyType({})
    group: Mapping[str | None, int] = MappingProxyType({})
    told: str = ""  # of the decisions' values and reasons
    options: Mapping[str, Any] = MappingProxyType({})


def table(head: str, *rows: str) -> str:
    return "\n".join((head, *rows)) + "\n"


def numbered(pattern: str, n: int) -> list[str]:
    return [pattern.format(number) for number in range(n)]


XRAYS = numbered("train/patient{:05d}/study1/view1_frontal.jpg", 4)
MURA = [
    f"{split}/XR_{part}/patient{who}/study1_{name}/image1.png"
    for split in ("train", "valid")
    for part in ("ELBOW", "HAND")
    for who, name in (("00001", "positive"), ("00002", "negative"))
]
LAYOUTS = {
    "CheXpert by its table": Layout(
        XRAYS,
        {
            "train.csv": table(
                "Path,Sex,No Finding,Edema,Pleural Effusion",
                *(f"CheXpert-v1.0-small/{path},F,,{-1 + n % 2}.0,1.0" for n, path in enumerate(XRAYS)),
            )
        },
        "train.csv",
        {"Pleural Effusion": 4},
        group=dict.fromkeys(numbered("patient{:05d}", 4), 1),
        told="-1, which counts as 0",
    ),
    "PadChest: lists with a blank before them": Layout(
        numbered("{}.png", 3),
        {"padchest.csv": table("ImageID,Labels", "0.png,\" ['a', 'b']\"", "1.png,\" ['b']\"", "2.png,['a']")},
        "padchest.csv",
        {"a|b": 1, "b": 1, "a": 1},
    ),
    "MURA as folders": Layout(
        MURA,
        {},
        "",
        {"XR_ELBOW": 4, "XR_HAND": 4},
        {"train": 4, "val": 4},
        {f"XR_{part}/patient0000{who}": 2 for part in ("ELBOW", "HAND") for who in (1, 2)},
    ),
    "MURA's list of paths": Layout(
        MURA,
        {"train_image_paths.csv": "".join(f"MURA-v1.1/{path}\n" for path in MURA)},
        "train_image_paths.csv",
        {"XR_ELBOW": 4, "XR_HAND": 4},
        {"train": 4, "val": 4},
        {f"XR_{part}/patient0000{who}": 2 for part in ("ELBOW", "HAND") for who in (1, 2)},
        told="folder names",
    ),
    "RSNA pneumonia: the patient is the file": Layout(
        numbered("stage_2_train_images/{:04x}-ab.png", 4),
        {"labels.csv": table("patientId,x,y,Target", "0000-ab,,,0", "0001-ab,1,2,1", "0001-ab,5,6,1", "0002-ab,,,0")},
        "labels.csv",
        {"0": 2, "1": 1},
        told="only one whose values are file names",
    ),
    "RSNA haemorrhage: a row for each image and label": Layout(
        numbered("im/ID_{:04d}.png", 3),
        {
            "train.csv": table(
                "ID,Label",
                *(
                    f"ID_{n:04d}_{kind},{int(n == row)}"
                    for n in range(3)
                    for row, kind in enumerate(("epidural", "subdural"))
                ),
                *(f"ID_{n:04d}_any,{int(n < 2)}" for n in range(3)),
            )
        },
        "train.csv",
        {"epidural": 1, "subdural": 1, "(none)": 1},
        told="9 rows are one for each image and label",
    ),
    "Messidor: a grade": Layout(
        numbered("Base11/{}_PP.png", 4),
        {"base.csv": table("Image name,Department,Retinopathy grade", *(f"{n}_PP.png,x,{n % 2}" for n in range(4)))},
        "base.csv",
        {"0": 2, "1": 2},
        told="'Retinopathy grade' is the label",
    ),
    "COVIDx: lists with blanks": Layout(
        numbered("train/im{}.png", 4),
        {"train.txt": "".join(f"{n} im{n}.png {['negative', 'positive'][n % 2]} rsna\n" for n in range(4))},
        "train.txt",
        {"negative": 2, "positive": 2},
    ),
    "lists of 0 and 1 for each class": Layout(
        numbered("{}.png", 3),
        {"train.txt": "0.png 1 0 0\n1.png 0 1 1\n2.png 0 0 0\n"},
        "train.txt",
        {"column 2": 1, "column 3|column 4": 1, "(none)": 1},
    ),
    "NIH: lists of splits": Layout(
        numbered("images_001/images/{}.png", 6),
        {
            "Data_Entry_2017.csv": table(
                "Image Index,Finding Labels,Patient ID", *(f"{n}.png,A,{n // 2}" for n in range(6))
            ),
            "train_val_list.txt": "0.png\n1.png\n2.png\n3.png\n",
            "test_list.txt": "4.png\n5.png",
        },
        "nih:",
        {"A": 6},
        {"train": 4, "test": 2},
        {"0": 2, "1": 2, "2": 2},
        told="name 6 of 6 images",
    ),
    "Food-101: lists without endings": Layout(
        [f"images/{name}/{n}.jpg" for name in ("pie", "sushi") for n in range(3)],
        {"meta/train.txt": "pie/0\npie/1\nsushi/0\n", "meta/test.txt": "pie/2\nsushi/1\nsushi/2\n"},
        "",
        {"pie": 3, "sushi": 3},
        {"train": 3, "test": 3},
    ),
    "CUB: a division in numbers is told": Layout(
        [f"images/00{k}.Bird/{n}.jpg" for k in (1, 2) for n in range(2)],
        {"train_test_split.txt": "1 0\n2 1\n", "images.txt": "1 001.Bird/0.jpg\n"},
        "",
        {"001.Bird": 2, "002.Bird": 2},
        {None: 4},
        told="train_test_split.txt may list them",
    ),
    "folds that overlap are no splits": Layout(
        numbered("a/{}.png", 4),
        {"train_1.txt": "0.png\n1.png\n", "test_1.txt": "2.png\n3.png\n", "train_2.txt": "2.png\n3.png\n"},
        "",
        {"a": 4},
        {None: 4},
        told="may list them",
    ),
    "BIDS: participants with groups": Layout(
        numbered("sub-0{}/anat/T1w.png", 4),
        {
            "participants.tsv": table(
                "participant_id\tage\tgroup", *(f"sub-0{n}\t30\t{'AD' if n % 2 else 'CN'}" for n in range(4))
            )
        },
        "",
        {"AD": 2, "CN": 2},
        group=dict.fromkeys(numbered("sub-0{}", 4), 1),
        told="'group' of the participants",
    ),
    "BIDS: a column by its name": Layout(
        numbered("sub-0{}/anat/T1w.png", 4),
        {"participants.tsv": table("participant_id\tage\tgroup", *(f"sub-0{n}\t{n % 2}\tx" for n in range(4)))},
        "",
        {"0": 2, "1": 2},
        group=dict.fromkeys(numbered("sub-0{}", 4), 1),
        options={"label_column": "age"},
    ),
    "Pascal VOC: objects in .xml": Layout(
        numbered("JPEGImages/{}.jpg", 2),
        {
            "Annotations/0.xml": "<annotation><object><part><name>leg</name></part></object></annotation>",
            "Annotations/1.xml": "<annotation><object>\n<name>cat</name></object><object><name>dog</name></object></annotation>",
        },
        "",
        {"leg": 1, "cat|dog": 1},
    ),
    "Stanford dogs: annotations without endings": Layout(
        [f"Images/n0{k}/{n}.jpg" for k in (1, 2) for n in range(2)],
        {"Annotation/n01/0": "<annotation/>", "Annotation/n02/1": "<annotation/>"},
        "",
        {"n01": 2, "n02": 2},
    ),
    "NCT-CRC: splits whose names say more": Layout(
        [
            f"{top}/{name}/{n}.png"
            for top in ("NCT-CRC-HE-100K", "CRC-VAL-HE-7K")
            for name in ("ADI", "DEB")
            for n in range(2)
        ],
        {},
        "",
        {"ADI": 4, "DEB": 4},
        {"nct-crc-he-100k": 4, "val": 4},
    ),
    "PlantVillage: variants": Layout(
        [f"{top}/{name}/{n}.jpg" for top in ("color", "grayscale") for name in ("scab", "rust") for n in range(2)],
        {},
        "",
        {"scab": 4, "rust": 4},
    ),
    "Places: drawers by letter": Layout(
        [f"data/{name[0]}/{name}/{n}.jpg" for name in ("abbey", "bar") for n in range(2)],
        {},
        "",
        {"abbey": 2, "bar": 2},
    ),
    "MIMIC: a table without labels": Layout(
        numbered("files/p10/p1000003{}/s5/d.jpg", 4),
        {
            "split.csv": table(
                "dicom_id,study_id,subject_id,split", *(f"p1000003{n}/s5/d,5,{n // 2},test" for n in range(4))
            )
        },
        "split.csv",
        {None: 4},
        {"test": 4},
        {"0": 2, "1": 2},
        told="no label column",
    ),
    "CreateML": Layout(
        numbered("{}.jpg", 4),
        {
            "_annotations.createml.json": json.dumps(
                [
                    {"image": f"{n}.jpg", "annotations": [{"label": kind} for kind in ("cat", "dog")[: 1 + n % 2]]}
                    for n in range(4)
                ]
            )
        },
        "",
        {"cat": 2, "cat|dog": 2},
    ),
    "a JSON object with a name for each image": Layout(
        numbered("{}.jpg", 4),
        {"annotations.json": json.dumps({f"{n}.jpg": {"label": "cd"[n % 2]} for n in range(4)})},
        "",
        {"c": 2, "d": 2},
    ),
    "CVAT's images": Layout(
        numbered("images/{}.jpg", 4),
        {
            "annotations.xml": "<?xml version='1.0'?><annotations><version>1.1</version><meta><label><name>e</name></label></meta>"
            '<image id="0" name="0.jpg" width="8"><box label="c &amp; f" xtl="1"></box><tag label="d" source="x"/></image>'
            '<image id="1" name="1.jpg"><polygon points="1,2" label="d"><attribute name="e">1</attribute></polygon></image>'
            '<image id="2" name="2.jpg" width="8"></image><image id="3" name="3.jpg"/></annotations>'
        },
        "",
        {"c & f|d": 1, "d": 1, "(none)": 2},
        told="annotations.xml annotates 4 of 4",
    ),
    "CVAT's projects": Layout(
        [f"images/{part}/0.jpg" for part in ("Train", "Test")],
        {
            "annotations.xml": "<annotations>"
            + "".join(
                f'<image id="0" name="0.jpg" subset="{part}"><tag label="{part}s"/></image>'
                for part in ("Train", "Test")
            )
            + "</annotations>"
        },
        "",
        {"Trains": 1, "Tests": 1},
        {"train": 1, "test": 1},
    ),
    "COCO with a list of images without objects": Layout(
        numbered("{}.jpg", 2),
        {
            f"annotations/{name}.json": json.dumps(
                {
                    "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(2)],
                    "categories": [{"id": 1, "name": "c"}],
                    "annotations": objects,
                }
            )
            for name, objects in (("image_info", []), ("instances", [{"image_id": 0, "category_id": 1}]))
        },
        "",
        {"c": 1, "(none)": 1},
    ),
    "DOTA, and YOLO's turned boxes": Layout(
        [f"{split}/images/{n}.png" for split in ("train", "val") for n in range(2)],
        {
            f"{split}/labelTxt/{n}.txt": f"imagesource:GoogleEarth\ngsd:0.1\n1.0 2 3 2 3 4 1 4 {split[0]}-{n} 0\n"
            for split in ("train", "val")
            for n in range(2)
        },
        "",
        {"t-0": 1, "t-1": 1, "v-0": 1, "v-1": 1},
        {"train": 2, "val": 2},
        told=".txt files list the objects of 4 of 4",
    ),
    "KITTI": Layout(
        numbered("training/image_2/{:06d}.png", 3),
        {
            f"training/label_2/{n:06d}.txt": f"{('Car', 'Van', 'Car')[n]} 0.00 0 -1.57 1 2 3 4 1 1 1 0 1 2 -1.5\n"
            "DontCare -1 -1 -10 5 1 6 2 -1 -1 -1 -1000 -1000 -1000 -10\n"
            for n in range(3)
        },
        "",
        {"Car": 2, "Van": 1},
        {"train": 3},
    ),
    "a table of any name beside the images, with ids": Layout(
        numbered("images/s{}.jpg", 4),
        {
            "train.csv": "image_id,age,diagnosis\ns0,4,c\ns1,5,d\ns2,5,c\ns3,9,d\n",
            "sample_submission.csv": "id,label\ns0,c",
        },
        "",
        {"c": 2, "d": 2},
        told="train.csv names 4 of 4",
    ),
    "tables for each split, of objects, with paths of elsewhere": Layout(
        numbered("{}.jpg", 4),
        {
            "train-export.csv": "image,xmin,label\nC:\\in\\0.jpg,1,c\nC:\\in\\0.jpg,0,d\nC:\\in\\1.jpg,0,d\n",
            "test-export.csv": "image,xmin,label\nC:\\in\\2.jpg,1,c\nC:\\in\\3.jpg,0,c\n",
        },
        "",
        {"c|d": 1, "c": 2, "d": 1},
        {"train": 2, "test": 2},
        told="train-export.csv names 2 of 4",
    ),
    "a list with labels beside the images": Layout(
        numbered("images/{}.jpg", 4),
        {"list.txt": "0.jpg c\n1.jpg d\n2.jpg c\n3.jpg c\n"},
        "",
        {"c": 3, "d": 1},
        told="list.txt names 4 of 4 images",
    ),
    "two columns, of which the other is the label": Layout(
        numbered("{}.jpg", 4),
        {"tissue.csv": "image,tissue\n0.jpg,c\n1.jpg,d\n2.jpg,c\n3.jpg,d\n"},
        "",
        {"c": 2, "d": 2},
        told="'tissue' is the label",
    ),
    "two tables that disagree are told": Layout(
        numbered("{}.jpg", 4),
        {f"{one}.csv": f"image,label\n0.jpg,{one}\n1.jpg,d\n2.jpg,c\n3.jpg,d\n" for one in "cd"},
        "",
        {None: 4},
        told="c.csv and d.csv give the same images different labels",
    ),
    "Labelme": Layout(
        numbered("{}.jpg", 4),
        {f"{n}.json": json.dumps({"shapes": [{"label": "cd"[n % 2]}], "imagePath": f"{n}.jpg"}) for n in range(4)},
        "",
        {"c": 2, "d": 2},
    ),
    "a word beside each image": Layout(
        numbered("{}.jpg", 4),
        {f"{n}.txt": "cd"[n % 2] for n in range(4)},
        "",
        {"c": 2, "d": 2},
        told="files beside 4 of 4",
    ),
    "captions beside each image are told": Layout(
        numbered("{}.jpg", 4),
        {f"{n}.txt": f"a photo of the number {n}" for n in range(4)},
        "",
        {None: 4},
        told="tables lie beside the images: 0.txt",
    ),
    "ADNI": Layout(
        [f"{name}/00{n}_S_{n}/{k}.png" for name in ("AD", "CN") for n in range(2) for k in "12"],
        {},
        "",
        {"AD": 4, "CN": 4},
        group={f"{name}/00{n}_S_{n}": 2 for name in ("AD", "CN") for n in range(2)},
    ),
    "sizes are no classes": Layout(
        [f"{size}/{name}/{n}.png" for size in ("224x224", "512x512") for name in ("cat", "dog") for n in range(2)],
        {},
        "",
        {"cat": 4, "dog": 4},
    ),
    "a table of labels, splits in its paths": Layout(
        [f"{split}/{n}.png" for split in ("train", "test") for n in range(2)],
        {"m.csv": table("path,label", *(f"{split}/{n}.png,{n}" for split in ("train", "test") for n in range(2)))},
        "m.csv",
        {"0": 2, "1": 2},
        {"train": 2, "test": 2},
        told="folders are named like splits",
    ),
    "MIMIC as folders": Layout(
        numbered("files/p10/p1000003{}/s5/d.jpg", 4),
        {},
        "",
        {None: 4},
        group=dict.fromkeys(numbered("p1000003{}", 4), 1),
    ),
    "ISIC 2019: lesions in another table": Layout(
        numbered("Input/ISIC_{}.jpg", 4),
        {
            "ISIC_GroundTruth.csv": table("image,MEL,NV", *(f"ISIC_{n},{n % 2},{1 - n % 2}" for n in range(4))),
            "ISIC_Metadata.csv": table("image,age,lesion_id", *(f"ISIC_{n},5,L{n // 2}" for n in range(4))),
        },
        "isic:",
        {"MEL": 2, "NV": 2},
        group={"L0": 2, "L1": 2},
        told="'lesion_id' of ISIC_Metadata.csv",
    ),
    "unlabelled images beside classes": Layout(
        [f"{name}/{n}.png" for name in ("cat", "dog", "unlabeled") for n in range(2)],
        {},
        "",
        {"cat": 2, "dog": 2, None: 2},
        told="unlabeled: not a class",
    ),
    "RSNA breast: one column of 0 and 1 among others": Layout(
        numbered("train_images/{}.png", 6),
        {
            "train.csv": table(
                "site_id,patient_id,image_id,age,cancer,biopsy,implant,difficult_negative_case",
                *(f"1,{n // 2},{n},61,{int(n > 3)},{n % 2},0,False" for n in range(6)),
            )
        },
        "train.csv",
        {"0": 4, "1": 2},
        group={"0": 2, "1": 2, "2": 2},
        told="'cancer' is the label",
    ),
    "SIIM: runs of pixels": Layout(
        numbered("im/{}.png", 4),
        {
            "rle.csv": table(
                "ImageId, EncodedPixels", *(f"{n}, {('-1', '557 2 10 8')[n % 2]}" for n in range(4)), "1, 9 2"
            )
        },
        "rle.csv",
        {"with": 2, "without": 2},
    ),
    "ImageNet's solution": Layout(
        numbered("val/V_{}.JPEG", 4),
        {"LOC.csv": table("ImageId,PredictionString", *(f"V_{n},n0144076{n % 2} 1 2 3 4 " for n in range(4)))},
        "LOC.csv",
        {"n01440760": 2, "n01440761": 2},
    ),
    "IDRiD: splits that are enumerated": Layout(
        [f"Images/{top}/{n}.jpg" for top in ("a. Training Set", "b. Testing Set") for n in range(2)],
        {},
        "",
        {None: 4},
        {"train": 2, "test": 2},
    ),
    "CycleGAN: trainA, testB": Layout(
        [f"{split}{name}/{n}.jpg" for split in ("train", "test") for name in "AB" for n in range(2)],
        {},
        "",
        {"A": 4, "B": 4},
        {"train": 4, "test": 4},
    ),
    "splits with the class in their names": Layout(
        [f"{split}_{name}/{n}.jpg" for split in ("train", "val") for name in ("normal", "tumor") for n in range(2)],
        {},
        "",
        {"normal": 4, "tumor": 4},
        {"train": 4, "val": 4},
    ),
    "COVID-CT: a list for each class and split": Layout(
        [f"Images/{name}/{name}_{n}.png" for name in ("CT_COVID", "CT_Non") for n in range(3)],
        {
            f"Data-split/{name}/{split}CT_{name}.txt": f"CT_{name}_{n}.png\n"
            for name in ("COVID", "Non")
            for n, split in enumerate(("train", "val", "test"))
        },
        "",
        {"CT_COVID": 3, "CT_Non": 3},
        {"train": 2, "val": 2, "test": 2},
    ),
    "a table of images in a folder": Layout(
        numbered("images/im{}.jpg", 4),
        {
            "metadata.csv": table(
                "patientid,finding,folder,filename", *(f"{n // 2},A,images,im{n}.jpg" for n in range(4))
            )
        },
        "",
        {"A": 4},
        group={"0": 2, "1": 2},
        told="names 4 of 4 images",
    ),
    "CelebA: attributes, and a division in numbers": Layout(
        numbered("img_align_celeba/{:06d}.jpg", 6),
        {
            "list_attr_celeba.txt": "6\nSmiling Eyeglasses\n"
            + "".join(f"{n:06d}.jpg  {1 if n % 2 else -1} {1 if n > 3 else -1}\n" for n in range(6)),
            "list_eval_partition.txt": "".join(f"{n:06d}.jpg {n // 2}\n" for n in range(6)),
        },
        "",
        {"(none)": 2, "Smiling": 2, "Eyeglasses": 1, "Eyeglasses|Smiling": 1},
        {"train": 2, "val": 2, "test": 2},
        told="0 is train, 1 is val, 2 is test",
    ),
    "CelebA's division as a table": Layout(
        [f"{name}/{n}.jpg" for name in "ab" for n in range(3 * (name == "b"), 3 + 3 * (name == "b"))],
        {"list_eval_partition.csv": table("image_id,partition", *(f"{n}.jpg,{n % 3}" for n in range(6)))},
        "",
        {"a": 3, "b": 3},
        {"train": 2, "val": 2, "test": 2},
    ),
    "Tiny ImageNet: classes of the validation in a list": Layout(
        [f"train/n0{k}/images/n0{k}_{n}.JPEG" for k in (1, 2) for n in range(3)]
        + numbered("val/images/val_{}.JPEG", 4)
        + numbered("test/images/test_{}.JPEG", 2),
        {"val/val_annotations.txt": "".join(f"val_{n}.JPEG\tn0{1 + n % 2}\t0\t32\t44\t62\n" for n in range(4))},
        "",
        {"n01": 5, "n02": 5, None: 2},
        {"train": 6, "val": 4, "test": 2},
        told="lists 4 of 6 images outside the class folders",
    ),
    "GTSRB: the test's classes in a table, as numbers": Layout(
        [f"Final_Training/Images/0000{k}/{k}_{n}.ppm" for k in (0, 1) for n in range(2)]
        + numbered("Final_Test/Images/{:05d}.ppm", 3),
        {
            "Final_Test/Images/GT-final_test.csv": "Filename;Width;ClassId\n00000.ppm;9;0\n00001.ppm;9;1\n00002.ppm;9;0\n",
            "Final_Training/Images/00000/GT-00000.csv": "Filename;Width;ClassId\n0_0.ppm;9;0\n0_1.ppm;9;0\n",
        },
        "",
        {"00000": 4, "00001": 3},
        {"train": 4, "test": 3},
    ),
    "a table that calls the classes otherwise than the folders tells no more of them": Layout(
        [f"train/{name}/{name}{n}.jpg" for name in ("cat", "dog") for n in range(2)] + numbered("test/{}.jpg", 2),
        {"test.csv": "file,label\n0.jpg,small\n1.jpg,large\n"},
        "",
        {"cat": 2, "dog": 2, None: 2},
        {"train": 4, "test": 2},
    ),
    "masks of instances": Layout(
        [
            path
            for n in range(3)
            for path in (f"training/images/{n}.png", f"instances/{n}.png", f"mots/instances/{n}.png")
        ],
        {},
        "",
        {None: 3},
        {"train": 3},
        told="6 left out",
    ),
    "masks in folders of any name that say it in theirs": Layout(
        [path for n in range(3) for path in (f"PNGImages/f{n}.png", f"PedMasks/f{n}_mask.png")],
        {},
        "",
        {"PNGImages": 3},
        told="3 left out",
    ),
    "numbered folders of masks": Layout(
        [
            f"{name}/{part}/{n}.png"
            for name in ("cat", "dog")
            for part in ("images", "mask-0", "mask-1")
            for n in (1, 2)
        ],
        {},
        "",
        {"cat": 2, "dog": 2},
        told="8 left out",
    ),
    "numbers without the zeros of the file's name": Layout(
        [f"cells/{n:03d}.bmp" for n in range(1, 5)],
        {"classes.csv": "image ID,class label\n1,a\n2,b\n3,a\n4,b\n"},
        "",
        {"a": 2, "b": 2},
        told="'class label' is the label",
    ),
    "twins of which one is PNG": Layout(
        [f"a/{n}.{end}" for n in range(10) for end in ("bmp", "png")],
        {},
        "",
        {"a": 20},
        told="10 have a file with the same name",
    ),
    "splits below the classes are told with the option": Layout(
        [
            f"{top}/{split}/{name}/{n}.png"
            for top in ("spiral", "wave")
            for split in ("train", "test")
            for name in ("ill", "well")
            for n in (1, 2)
        ],
        {},
        "",
        {"spiral": 8, "wave": 8},
        {"train": 8, "test": 8},
        told="in doubt (each class folder contains ill, well, which may be the classes) --layout '*/split/class'",
    ),
    "AutoML: split, address, class": Layout(
        numbered("{}.jpg", 4),
        {"import.csv": "TRAIN,gs://b/0.jpg,c\nTRAIN,gs://b/1.jpg,d\nTEST,gs://b/2.jpg,c\nTEST,gs://b/3.jpg,d\n"},
        "",
        {"c": 2, "d": 2},
        {"train": 2, "test": 2},
    ),
    "MXNet's list": Layout(
        numbered("images/{}.jpg", 4),
        {"all.lst": "".join(f"{n}\t{n % 2}.000000\timages/{n}.jpg\n" for n in range(4))},
        "",
        {"0.000000": 2, "1.000000": 2},
    ),
    "a class at the end of the name is told": Layout(
        [f"CXR_png/CHNCXR_{n:04d}_{n % 2}.png" for n in range(4)],
        {},
        "",
        {None: 4},
        told="file names end with 0 2, 1 2",
    ),
    "several pictures of one thing are no classes": Layout(
        [f"images/{n}_{k}.png" for n in range(3) for k in range(2)],
        {"readme.txt": "\n".join("what the pictures show")},
        "",
        {None: 6},
        told="one folder images",
    ),
    "ImageNet's list of numbers, in the order of the images": Layout(
        numbered("val/V_{}.JPEG", 4),
        {"ground_truth.txt": "3\n4\n3\n4\n"},
        "",
        {"3": 2, "4": 2},
        {"val": 4},
        told="ground_truth.txt labels 4 of 4 images, in the order of their numbers",
    ),
    "a list in the order of images of which one is missing is told": Layout(
        [f"val/V_{n}.JPEG" for n in (0, 1, 2, 4)],
        {"ground_truth.txt": "3\n4\n3\n4\n"},
        "",
        {None: 4},
        {"val": 4},
        told="tables lie beside the images: ground_truth.txt",
    ),
    "a row for each object in a table beside the images": Layout(
        numbered("{}.jpg", 2),
        {"_annotations.csv": table("filename,width,class", "0.jpg,5,cat", "0.jpg,6,dog", "1.jpg,5,cat")},
        "",
        {"cat|dog": 1, "cat": 1},
    ),
    "classes below classes are told with the option": Layout(
        [f"set/{a}_sets/{a}_{b}/{n}.png" for a in ("colon", "lung") for b in ("aca", "n") for n in range(2)],
        {},
        "",
        {"colon_sets": 4, "lung_sets": 4},
        told="the class folders contain colon_aca, colon_n, lung_aca, lung_n, which may be the classes) --layout '*/*/class'",
    ),
    "HAM10000: numbered parts with a name": Layout(
        [f"HAM10000_images_part_{1 + n % 2}/ISIC_{n}.jpg" for n in range(6)],
        {
            "HAM10000_metadata.csv": table(
                "lesion_id,image_id,dx,age", *(f"L{n // 2},ISIC_{n},{('nv', 'mel')[n // 2 % 2]},80" for n in range(6))
            )
        },
        "",
        {"nv": 4, "mel": 2},
        group={"L0": 2, "L1": 2, "L2": 2},
    ),
    "TN3K: trainval beside test": Layout(
        [f"{split}-{kind}/{n}.jpg" for split in ("trainval", "test") for kind in ("image", "mask") for n in range(3)],
        {},
        "",
        {None: 6},
        {"train": 3, "test": 3},
    ),
    "C-NMC: folds in the training alone": Layout(
        [
            f"set/training/fold_{k}/{name}/{name}{k}{n}.bmp"
            for k in range(3)
            for name in ("all", "hem")
            for n in range(2)
        ]
        + numbered("set/validation/prelim/{}.bmp", 4),
        {},
        "",
        {"all": 6, "hem": 6, None: 4},
        {"train": 12, "val": 4},
    ),
    "Office-31: classes below a folder of images are told with the option": Layout(
        [f"{top}/images/{name}/{n}.jpg" for top in ("amazon", "dslr") for name in ("bike", "mug") for n in range(2)],
        {},
        "",
        {"amazon": 4, "dslr": 4},
        told="each class folder contains bike, mug, which may be the classes) --layout '*/*/class'",
    ),
    "landmarks: folders by the beginnings of the names": Layout(
        [f"train/{name[0]}/{name[1]}/{name}.jpg" for name in ("0a1", "1b2", "2c3", "3d4")],
        {
            "train.csv": table(
                "id,landmark_id", *(f"{name},{n % 2}" for n, name in enumerate(("0a1", "1b2", "2c3", "3d4")))
            )
        },
        "",
        {"0": 2, "1": 2},
        {"train": 4},
    ),
    "nuclei: a folder for each image": Layout(
        [f"stage1_train/{n:04x}ab/{kind}/{n}{kind[0]}.png" for n in range(12) for kind in ("images", "masks")],
        {},
        "",
        {None: 12},
        told="12 of 12 folders such as 0000ab hold one image each",
    ),
    "LIDC: folders are ids, and a table of the patients": Layout(
        [f"LIDC/LIDC-IDRI-{who:04d}/study/{n}.png" for who in range(6) for n in range(2)],
        {"diagnosis.csv": table("TCIA Patient ID,Diagnosis", *(f"LIDC-IDRI-{who:04d},{who % 3}" for who in range(6)))},
        "",
        {"0": 4, "1": 4, "2": 4},
        group={f"LIDC-IDRI-{who:04d}": 2 for who in range(6)},
        told="'TCIA Patient ID' of diagnosis.csv names 6 of 6 folders",
    ),
    "LGG: the table has the beginnings of the folders' names": Layout(
        [f"TCGA_CS_494{who}_1996090{who}/{n}.tif" for who in range(6) for n in range(2)],
        {
            "data.csv": table(
                "Patient,RNASeqCluster,death01", *(f"TCGA_CS_494{who},{who},{who % 2}" for who in range(6))
            )
        },
        "",
        {"0": 6, "1": 6},
        group={f"TCGA_CS_494{who}_1996090{who}": 2 for who in range(6)},
    ),
    "tiles of slides, which a table labels": Layout(
        [f"tiles/{slide}/{n}.png" for slide in ("A7-x", "B1-y", "C3-z", "D9-q") for n in range(2)],
        {"labels.csv": table("slide,label,split", "A7-x,c,train", "B1-y,d,train", "C3-z,c,test", "D9-q,d,test")},
        "",
        {"c": 4, "d": 4},
        {"train": 4, "test": 4},
        dict.fromkeys(("A7-x", "B1-y", "C3-z", "D9-q"), 2),
    ),
    "a folder of tests beside classes is none": Layout(
        [f"imgs/{name}/{name}{n}.png" for name in ("health", "tb", "test") for n in range(3)],
        {},
        "",
        {"health": 3, "tb": 3, None: 3},
        told="test: not a class",
    ),
    "State Farm: a table of the same classes names the drivers": Layout(
        [f"c{k}/{k}{n}.jpg" for k in (0, 1) for n in range(4)],
        {
            "drivers.csv": table(
                "subject,classname,img", *(f"p{n // 2},c{k},{k}{n}.jpg" for k in (0, 1) for n in range(4))
            )
        },
        "",
        {"c0": 4, "c1": 4},
        group={"p0": 4, "p1": 4},
        told="'subject' of drivers.csv (it names 8 of 8 images)",
    ),
    "AIROGS: parts of the set as numbers, and a table of other classes": Layout(
        [f"{n % 2}/T{n}.jpg" for n in range(8)],
        {"train_labels.csv": table("challenge_id,class", *(f"T{n},{('RG', 'NRG')[n // 4]}" for n in range(8)))},
        "",
        {"0": 4, "1": 4},
        told="folders, not the table (train_labels.csv labels 8 of 8 images differently from their folders: RG 4, NRG 4)",
    ),
    "CUB: numbers of the images are no labels, and tell its division": Layout(
        [f"images/{k}.{name}/{name}{n}.jpg" for k, name in enumerate(("Albatross", "Auklet")) for n in range(3)],
        {
            "images.txt": "".join(
                f"{1 + n + 3 * k} {k}.{name}/{name}{n}.jpg\n"
                for k, name in enumerate(("Albatross", "Auklet"))
                for n in range(3)
            ),
            "train_test_split.txt": "".join(f"{n} {n % 2}\n" for n in range(1, 7)),
        },
        "",
        {"0.Albatross": 3, "1.Auklet": 3},
        {"train": 3, "test": 3},
        told="by the ids of images.txt; 1 is train, 0 is test",
    ),
    "tables beside classes that nobody read are told": Layout(
        [f"{name}/{name}{n}.jpg" for name in ("FAL", "NEL") for n in range(2)],
        {"meta.csv": table("case,clinic,derm", *(f"{n},NEL/NEL{n}.jpg,FAL/FAL{n}.jpg" for n in range(2)))},
        "",
        {"FAL": 2, "NEL": 2},
        told="meta.csv lies beside them, in an unknown format",
    ),
    "IDRiD: the same names in both splits, a table for each": Layout(
        [f"Images/{top}/{n}.jpg" for top in ("a. Training Set", "b. Testing Set") for n in range(3)],
        {
            f"Groundtruths/{name} Labels.csv": table(
                "Image name,Retinopathy grade,", *(f"{n},{(n + k) % 3}," for n in range(3))
            )
            for k, name in enumerate(("a. Training", "b. Testing"))
        },
        "",
        {"0": 2, "1": 2, "2": 2},
        {"train": 3, "test": 3},
        told="names 3 of 6 images",
    ),
    "ISIC 2016: no row of names, no ending": Layout(
        numbered("ISIC_{}.jpg", 4),
        {"GroundTruth.csv": "".join(f"ISIC_{n},{('benign', 'malignant')[n % 2]}\n" for n in range(4))},
        "",
        {"benign": 2, "malignant": 2},
        told="no header: columns taken as path, label",
    ),
    "NIH: a table of a few boxes beside that of all": Layout(
        numbered("images/{}_000.png", 8),
        {
            "Data_Entry.csv": table(
                "Image Index,Finding Labels,Patient", *(f"{n}_000.png,{'AB'[n % 2]},{n // 2}" for n in range(8))
            ),
            "BBox_List.csv": table("Image Index,Finding Label,x", "0_000.png,B,5", "1_000.png,C,6"),
        },
        "",
        {"A": 4, "B": 4},
        group={str(n): 2 for n in range(4)},
    ),
    "Messidor-2: a grade beside columns of 0 and 1": Layout(
        numbered("{}.png", 6),
        {"data.csv": table("image_id,dr_grade,dme,gradable", *(f"{n}.png,{n % 3},{n % 2},1" for n in range(6)))},
        "",
        {"0": 2, "1": 2, "2": 2},
        told="'dr_grade' is the label",
    ),
    "DeepFashion: a division in words": Layout(
        [f"img/{name}/{n}.jpg" for name in ("Blouse", "Top") for n in range(3)],
        {
            "Eval/list_eval_partition.txt": "6\nimage_name  evaluation_status\n"
            + "".join(
                f"img/{name}/{n}.jpg  {('train', 'val', 'test')[n]}\n" for name in ("Blouse", "Top") for n in range(3)
            )
        },
        "",
        {"Blouse": 3, "Top": 3},
        {"train": 2, "val": 2, "test": 2},
    ),
    "Stanford Dogs: lists of MATLAB are told": Layout(
        [f"Images/{name}/{name}_{n}.jpg" for name in ("n1-pug", "n2-chow") for n in range(2)],
        {f"lists/{split}_list.mat": "x" for split in ("train", "test")},
        "",
        {"n1-pug": 2, "n2-chow": 2},
        told="lists/test_list.mat, lists/train_list.mat may list them",
    ),
    "COCO's annotations of any name": Layout(
        numbered("imgs/{}.jpg", 4),
        {
            "train.json": json.dumps(
                {
                    "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(4)],
                    "annotations": [{"image_id": n, "category_id": n % 2} for n in range(4)],
                    "categories": [{"id": 0, "name": "c"}, {"id": 1, "name": "d"}],
                }
            )
        },
        "",
        {"c": 2, "d": 2},
    ),
    "FairFace: columns that may be the label are named": Layout(
        numbered("{}.jpg", 6),
        {
            "faces.csv": table(
                "file,age,gender,race",
                *(f"{n}.jpg,{('3-9', '10')[n // 3]}y,{'MF'[n % 2]},A{n // 3}" for n in range(6)),
            )
        },
        "",
        {None: 6},
        told="faces.csv names images, and has the columns age, gender, race",
    ),
    "a list for each class is told": Layout(
        numbered("images/{}.jpg", 6),
        {f"{name}.txt": "".join(f"{n + k}.jpg\n" for n in range(3)) for name, k in (("cat", 0), ("dog", 3))},
        "",
        {None: 6},
        told="tables lie beside the images: cat.txt, dog.txt",
    ),
    "UTKFace: parts of the names with few values are told": Layout(
        [f"UTKFace/{20 + n}_{n % 2}_{n % 3}_2017{n:02d}.jpg.chip.jpg" for n in range(18)],
        {},
        "",
        {"UTKFace": 18},
        told="part 2: 0 9, 1 9; part 3: 0 6, 1 6, 2 6",
    ),
    "names of splits are no classes": Layout(
        [f"aligned/{name}_{n}.jpg" for name in ("train", "test") for n in range(3)],
        {},
        "",
        {"aligned": 6},
        {"train": 3, "test": 3},
        told="all file names begin with one",
    ),
    "Herlev: partners whose names say a little more are told": Layout(
        [f"{name}/{n}{end}.bmp" for name in ("columnar", "squamous") for n in range(4) for end in ("", "-d")],
        {},
        "",
        {"columnar": 8, "squamous": 8},
        told="8 have the name of another file with -d appended",
    ),
    "lesions as masks": Layout(
        [f"{name}/{n}{end}.bmp" for name in "ab" for n in range(3) for end in ("", "_lesion")],
        {},
        "",
        {"a": 3, "b": 3},
        told="6 left out",
    ),
    "DeepDRiD: folders are patients by a table that has several labels of each image": Layout(
        [f"Images/{who}/{who}_{eye}.jpg" for who in (1, 2, 265) for eye in "lr"],
        {
            "fundus.csv": table(
                "patient_id,image_id,left_eye_DR_Level,right_eye_DR_Level",
                *(f"{who},{who}_{eye},{who % 3},{(who + 1) % 3}" for who in (1, 2, 265) for eye in "lr"),
            )
        },
        "",
        {None: 6},
        group={"1": 2, "2": 2, "265": 2},
        told="fundus.csv names images, and has the columns patient_id, left_eye_DR_Level",
    ),
    "BRSET: what tells of the person, and what is 1 of all, names no class": Layout(
        numbered("photos/img{}.jpg", 6),
        {
            "labels.csv": table(
                "image_id,patient_id,patient_sex,optic_disc,drusens,hemorrhage",
                *(f"img{n},{n // 3},{n // 3},1,{n % 2},{1 - n % 2}" for n in range(6)),
            )
        },
        "",
        {"drusens": 3, "hemorrhage": 3},
        group={"0": 3, "1": 3},
    ),
    "a diagnosis in JSON beside each image": Layout(
        numbered("data/{}.png", 6),
        {f"data/{n}.json": json.dumps({"patient": f"p{n}", "diagnosis": "cd"[n % 2]}) for n in range(6)},
        "",
        {"c": 3, "d": 3},
        group=dict.fromkeys(numbered("p{}", 6), 1),
        told="files beside 6 of 6 images",
    ),
    "takes of a person are no classes": Layout(
        [f"faces/S{who:03d}/{take:03d}/{n}.png" for who in range(6) for take in range(1, 4) for n in range(2)],
        {},
        "",
        {None: 36},
        group={f"S{who:03d}": 6 for who in range(6)},
    ),
}


def made(layout: Layout, root: Path) -> OpenSource:
    put(root, *layout.images)
    for name, text in layout.texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    place = f"{layout.place}{root}" if layout.place.endswith(":") else str(root / layout.place)
    return open_source(place, SourceOptions(**layout.options))


def keeps(layout: Layout, root: Path) -> None:
    """Made there, it has the labels, splits and groups that are expected, and nothing is lost."""
    listing = made(layout, root).scan()
    assert Counter(listing["label"]) == layout.label
    assert Counter(listing["split"]) == (layout.split or {None: len(listing)})
    assert Counter(listing["group"]) == (layout.group or {None: len(listing)})
    assert layout.told in " ".join(
        f"{told['value']} ({told['why']}) {told['option']}" for told in listing.attrs["decisions"]
    )
    copies = {COPY} if "left out" in layout.told else set[str]()
    assert {why for _, why in left_out_of(listing)} <= {COMPANION, MASK} | copies


TAGS = ("cat", "dog")
EXPORTS: dict[str, dict[str, Any]] = {
    "Datumaro": {
        "annotations/all.json": {
            "categories": {"label": {"labels": [{"name": name} for name in TAGS]}},
            "items": [
                {"id": f"{n}", "annotations": [{"label_id": n % 2}], "image": {"path": f"{n}.jpg"}} for n in range(4)
            ],
        }
    },
    "VoTT": {
        "pets-export.json": {
            "assets": {
                f"id{n}": {"asset": {"name": f"{n}.jpg"}, "regions": [{"tags": [TAGS[n % 2]]}]} for n in range(4)
            }
        }
    },
    "VoTT, a file for each image": {
        f"a{n}-asset.json": {"asset": {"name": f"{n}.jpg"}, "regions": [{"tags": [TAGS[n % 2]]}]} for n in range(4)
    },
    "Label Studio": {
        "project.json": [
            {
                "data": {"image": f"/data/upload/{n}.jpg"},
                "annotations": [{"result": [{"value": {"choices": [TAGS[n % 2]]}}]}],
            }
            for n in range(4)
        ]
    },
    "Label Studio's boxes": {
        "project.json": [
            {
                "data": {"image": f"/data/upload/{n}.jpg"},
                "annotations": [{"result": [{"value": {"x": 1, "rectanglelabels": [TAGS[n % 2]]}}]}],
            }
            for n in range(4)
        ]
    },
    "Label Studio JSON-MIN": {
        "result.json": [{"image": f"/u/{n}.jpg", "choice": TAGS[n % 2], "annotation_id": n, "id": n} for n in range(4)]
    },
    "VIA": {
        "via_region_data.json": {
            f"{n}.jpg99": {"filename": f"{n}.jpg", "regions": [{"region_attributes": {"kind": TAGS[n % 2]}}]}
            for n in range(4)
        }
    },
    "Supervisely": {f"ann/{n}.jpg.json": {"tags": [], "objects": [{"classTitle": TAGS[n % 2]}]} for n in range(4)},
    "Supervisely's tags": {f"ann/{n}.jpg.json": {"tags": [{"name": TAGS[n % 2]}], "objects": []} for n in range(4)},
    "SageMaker": {
        "output.manifest": [
            {"source-ref": f"s3://b/{n}.jpg", "pets": n % 2, "pets-metadata": {"class-name": TAGS[n % 2]}}
            for n in range(4)
        ]
    },
}


@pytest.mark.parametrize("tool", EXPORTS)
def test_exports_of_tools_of_annotation_give_labels(tmp_path: Path, tool: str) -> None:
    texts = {
        name: "\n".join(map(json.dumps, whole)) if name.endswith(".manifest") else json.dumps(whole)
        for name, whole in EXPORTS[tool].items()
    }
    listing = made(Layout(numbered("img/{}.jpg", 4), texts, "", {}), tmp_path).scan()
    assert listing["label"].tolist() == ["cat", "dog", "cat", "dog"]
    (told,) = (told for told in listing.attrs["decisions"] if told["what"] == "labels")
    assert told["why"].startswith(f"{tool.partition(',')[0].removesuffix(' boxes').removesuffix(' tags')[:8]}")
    assert not [why for _, why in left_out_of(listing) if why != COMPANION]


def test_a_task_that_nobody_annotated_has_no_label(tmp_path: Path) -> None:
    tasks = [*EXPORTS["Label Studio"]["project.json"][:3], {"data": {"image": "/u/3.jpg"}, "annotations": []}]
    listing = made(Layout(numbered("img/{}.jpg", 4), {"p.json": json.dumps(tasks)}, "", {}), tmp_path).scan()
    assert listing["label"].tolist() == ["cat", "dog", "cat", None]


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layouts_keep_their_labels_splits_and_groups(tmp_path: Path, name: str) -> None:
    keeps(LAYOUTS[name], tmp_path / "set")


def test_folders_beside_annotated_images_are_no_classes_without_images(tmp_path: Path) -> None:
    images = [*numbered("BCCD/JPEGImages/{}.jpg", 2), "example.jpg"]
    text = "<annotation><object><name>cell</name></object></annotation>"
    beside = {f"BCCD/Annotations/{n}.xml": text for n in range(2)} | {
        "scripts/export.py": "",
        "dataset/notes.txt": "none",
    }
    listing = made(Layout(images, beside, "", {}), tmp_path).scan()
    assert listing["label"].tolist() == ["cell", "cell", None]
    assert not listing.attrs["empty_classes"]


def test_two_columns_of_files_are_a_question(tmp_path: Path) -> None:
    sheet = table(
        "ID,Left-Fundus,Right-Fundus,N,D", *(f"{n},{n}_left.jpg,{n}_right.jpg,{n % 2},{1 - n % 2}" for n in range(4))
    )
    images = [f"{n}_{side}.jpg" for n in range(4) for side in ("left", "right")]
    with pytest.raises(DatapropsError, match="several columns of files, Left-Fundus, Right-Fundus: name one of them"):
        made(Layout(images, {"data.csv": sheet}, "data.csv", {}), tmp_path).scan()
    named = made(Layout([], {}, "data.csv", {}, options={"path_column": "Left-Fundus"}), tmp_path).scan()
    assert Counter(named["label"]) == {"D": 2, "N": 2}


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_tables_in_an_archive_tell_what_they_tell_in_a_folder(tmp_path: Path, form: str) -> None:
    import tarfile

    files = {f"{split}/{n}.jpg": encoded(picture(n), "JPEG") for split in ("train", "valid") for n in range(2)}
    for split in ("train", "valid"):
        files[f"{split}/_classes.csv"] = b"filename, cat, dog\n0.jpg, 1, 0\n1.jpg, 0, 1\n"
    place = tmp_path / f"export.{form}"
    if form == "zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(place, "w:gz" if form == "tar.gz" else "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    listing = open_source(str(place)).scan()
    assert Counter(zip(listing["label"], listing["split"], strict=True)) == {
        (name, split): 1 for name in ("cat", "dog") for split in ("train", "val")
    }
    assert all(isinstance(open_source(str(place)).read(key), bytes) for key in listing["key"])


# tables of pixels, arrays


def pixel_tables(pixels: np.ndarray, labels: list[int]) -> dict[str, str]:
    rows = [row.ravel() for row in pixels]
    sides = f"{pixels.shape[1]}x{pixels.shape[2]}"
    names = [f"pixel{n}" for n in range(rows[0].size)]
    cells = [",".join(map(str, row)) for row in rows]
    return {
        "label first": table(
            ",".join(["label", *names]), *(f"{y},{row}" for y, row in zip(labels, cells, strict=True))
        ),
        "label last": table(",".join([*names, "label"]), *(f"{row},{y}" for y, row in zip(labels, cells, strict=True))),
        "without names": "".join(f"{y},{row}\n" for y, row in zip(labels, cells, strict=True)),
        "in one column": table(
            "emotion,pixels,Usage",
            *(
                f"{y},{row.replace(',', ' ')},{('Training', 'PublicTest')[y]}"
                for y, row in zip(labels, cells, strict=True)
            ),
        ),
        sides: table(
            ",".join(["label", *(f"{i}x{j}" for i in range(pixels.shape[1]) for j in range(pixels.shape[2]))]),
            *(f"{y},{row}" for y, row in zip(labels, cells, strict=True)),
        ),
    }


def test_tables_of_pixels_are_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8)).astype(np.uint8)
    for number, (form, text) in enumerate(pixel_tables(pixels, [0, 1] * 3).items()):
        (tmp_path / f"{number}.csv").write_text(text)
        source = open_source(str(tmp_path / f"{number}.csv"))
        listing = source.scan()
        assert source.kind == "pixels", form
        np.testing.assert_array_equal(np.stack([source.read(key).pixels for key in listing["key"]]), pixels)
        assert listing["label"].tolist() == ["0", "1"] * 3
        assert listing.attrs["decisions"][0]["value"] == "images of 8 x 8"
        assert listing["split"].tolist() == (["train", "val"] * 3 if form == "in one column" else [None] * 6)
    looked = look(tmp_path / "0.csv", tmp_path)
    assert looked.images["pixels"].nunique() == 6


def test_rows_that_are_cut_or_not_square(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
    forms = pixel_tables(pixels, [0, 1] * 2)
    (tmp_path / "colour.csv").write_text(forms["label first"])
    with pytest.raises(DatapropsError, match=r"rows of 192 values: .* --rule shape=8x8x3 or 3x8x8"):
        open_source(str(tmp_path / "colour.csv")).scan()
    source = open_source(str(tmp_path / "colour.csv"), SourceOptions(rules=("shape=8x8x3",)))
    np.testing.assert_array_equal(source.read(source.scan()["key"][1]).pixels, pixels[1])
    lines = pixel_tables(pixels[..., 0], [0, 1] * 2)["in one column"].splitlines()
    lines[2] = lines[2].replace(" ", "", 1)
    (tmp_path / "cut.csv").write_text("\n".join(lines))
    looked = look(tmp_path / "cut.csv", tmp_path)
    assert looked.images["error"].notna().tolist() == [False, True, False, False]


@pytest.mark.parametrize("container", ["npz", "npy", "h5"])
def test_rows_of_a_square_number_of_values_are_images(tmp_path: Path, container: str) -> None:
    import h5py

    pixels = np.random.default_rng(0).integers(0, 256, (5, 64)).astype(np.uint8)
    place = tmp_path / f"x.{container}"
    if container == "npz":
        np.savez_compressed(place, x=pixels, y=np.arange(5) % 2)
    elif container == "npy":
        np.save(place, pixels)
        np.save(tmp_path / "y.npy", np.arange(5) % 2)
    else:
        with h5py.File(place, "w") as file:
            file["x"], file["y"] = pixels, np.arange(5) % 2
    source = open_source(str(place))
    listing = source.scan()
    assert listing["label"].tolist() == ["0", "1", "0", "1", "0"]
    assert {told["what"]: told["value"] for told in listing.attrs["decisions"]}["shape"] == "images of 8 x 8"
    np.testing.assert_array_equal(source.read(listing["key"][3]).pixels, pixels[3].reshape(8, 8))
    asked = open_source(str(place), SourceOptions(rules=("shape=4x16",)))
    assert asked.read(asked.scan()["key"][0]).pixels.shape == (4, 16)
    with pytest.raises(DatapropsError, match=r"rows of 64 values; the rule 'shape' is '5x5'"):
        open_source(str(place), SourceOptions(rules=("shape=5x5",))).scan()


def decisions_of(place: Path, **options: Any) -> dict[str, dict[str, str]]:
    listing = open_source(str(place), SourceOptions(**options)).scan()
    return {
        told["what"]: {**told, "label": listing["label"].tolist(), "group": listing["group"].tolist()}
        for told in listing.attrs["decisions"]
    }


def test_arrays_beside_images_are_labels_and_patients_or_are_told(tmp_path: Path) -> None:
    images, half = np.stack([picture(number) for number in range(6)]), np.arange(6) // 2
    np.savez(tmp_path / "galaxy.npz", images=images, ans=np.arange(6) % 2, ra=np.random.default_rng(0).random(6))
    assert open_source(str(tmp_path / "galaxy.npz")).scan()["label"].tolist() == ["0", "1"] * 3
    np.savez(tmp_path / "patients.npz", images=images, labels=np.arange(6) % 2, patient_ids=half)
    told = decisions_of(tmp_path / "patients.npz")["groups"]
    assert (told["value"], told["group"]) == ("patient_ids", ["0", "0", "1", "1", "2", "2"])
    np.savez(tmp_path / "two.npz", images=images, age=half, sex=half)
    told = decisions_of(tmp_path / "two.npz")["labels"]
    assert (told["label"], told["option"]) == ([None] * 6, "--rule labels=NAME")
    assert "age, sex" in told["why"]
    np.savez(tmp_path / "kmnist-train-imgs.npz", images)
    np.savez(tmp_path / "kmnist-train-labels.npz", half)
    assert decisions_of(tmp_path / "kmnist-train-imgs.npz")["labels"]["label"] == ["0", "0", "1", "1", "2", "2"]


def test_columns_of_parquet_without_features_are_labels_and_patients_or_are_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = pa.array(
        [{"bytes": encoded(picture(number)), "path": None} for number in range(4)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    one, two = ["a", "b", "a", "b"], ["x", "x", "y", "y"]
    pq.write_table(pa.table({"image": images, "fine_label": one, "subject_id": two}), tmp_path / "one.parquet")
    told = decisions_of(tmp_path / "one.parquet")["columns"]
    assert (told["label"], told["group"]) == (one, two)
    pq.write_table(pa.table({"image": images, "fine_label": one, "coarse_label": two}), tmp_path / "two.parquet")
    told = decisions_of(tmp_path / "two.parquet")["labels"]
    assert told["label"] == [None] * 4 and "fine_label, coarse_label" in told["why"]


def test_embeddings_are_not_taken_for_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", embeddings=np.zeros((5, 64), np.float32), y=np.arange(5))
    with pytest.raises(DatapropsError, match="not clear which array holds the images"):
        open_source(str(tmp_path / "e.npz")).scan()


def test_transparency_of_arrays_lies_over_black_as_that_of_files_does(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 4)).astype(np.uint8)
    floats = (pixels / 255).astype(np.float32)
    np.savez(tmp_path / "bytes.npz", images=pixels)
    np.savez(tmp_path / "floats.npz", images=floats)
    source = open_source(str(tmp_path / "bytes.npz"))
    listing = source.scan()
    assert "RGBA over black" in listing.attrs["decisions"][0]["value"]
    for number, key in enumerate(listing["key"]):
        out = io.BytesIO()
        Image.fromarray(pixels[number]).save(out, "PNG")
        np.testing.assert_allclose(source.read(key).pixels, decode(out.getvalue()).pixels, atol=1)
    looked = look(tmp_path / "floats.npz", tmp_path)
    assert (looked.range, looked.images["error"].notna().sum()) == ("floats=0:1", 0)
    np.savez(tmp_path / "four.npz", images=pixels.astype(np.int64))
    assert "save three, or RGBA" in look(tmp_path / "four.npz", tmp_path).images["error"][0]


@pytest.mark.parametrize(
    ("high", "text"),
    [
        ([100.0, 99.0, 100.0, 97.0], "floats=0:100"),
        ([100.4, 99.0, 100.0, 97.0], "floats=0:100"),
        ([100.0, 40.0, 60.0, 50.0], "floats=0:255"),  # one bright image among dark ones
        ([101.5, 99.0, 100.0, 97.0], "floats=0:255"),
    ],
)
def test_per_cent_are_told_from_bytes(high: list[float], text: str) -> None:
    decided, told = decide(Facts(["floats"] * 4, np.zeros(4), np.array(high)))
    assert decided.text == text
    assert told[0][0].startswith("per cent" if "100" in text else "byte")


def test_folders_of_arrays_are_images_of_one_file_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        for root, extra in (("npy", {}), ("npz", {"label": np.array([number % 2])})):
            file = tmp_path / root / ("ab"[number % 2] if root == "npy" else "") / f"{number}.{root}"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (9, 8)).astype(np.uint8)
            np.save(file, pixels) if root == "npy" else np.savez(file, image=pixels, **extra)
    for root, labels in (("npy", {"a": 6, "b": 6}), ("npz", {"0": 6, "1": 6})):
        looked = look(tmp_path / root, tmp_path)
        assert looked.count("label") == labels
        assert looked.images["pixels"].nunique() == 12
        assert "every .npy" in looked.decisions["images"]["value"]
    np.save(tmp_path / "npy" / "a" / "0.npy", np.array([{"no": 1}], dtype=object))  # is not unpickled
    assert look(tmp_path / "npy", tmp_path).images["error"].notna().sum() == 1
    for name in ("x", "y", "z"):
        np.save(tmp_path / f"{name}.npy", np.zeros((500, 64)))  # rows of many images
    with pytest.raises(DatapropsError, match="give that file itself"):
        open_source(str(tmp_path)).scan()


# formats, account


def test_formats_of_pillow_whose_first_bytes_were_not_known() -> None:
    thumb = b"P7 332\n#XVVERSION:Version 2.28\n#END_OF_COMMENTS\n4 2 255\n" + bytes(range(0, 240, 30))
    tools = b"*comment\nwidth 4\nheight 2\npixel n8\n\x0c" + bytes(range(0, 240, 30))
    for data, name in ((thumb, "x.p7"), (tools, "x.imt")):
        assert is_image(data, name)
        assert decode(data).pixels.shape[:2] == (2, 4)
    heads = {
        "x.dcx": b"\xb1\x68\xde\x3a\x04\x10",
        "x.ico": b"\x00\x00\x01\x00\x03\x00\x10\x10",
        "x.fli": b"\x0eB\x00\x00\x12\xaf\x01\x00\x80\x00\x80\x00\x08\x00\x03\x00",
        "x.ara": b"\x00\x00\x00\x00\x00\x00\x00\x04",
    }
    assert all(is_image(head + bytes(100), name) for name, head in heads.items())
    assert not is_image(b"\x00\x00\x01\xba" + bytes(100), "x.mpg")
    with pytest.raises(UnreadableImage):
        decode(b"a text of several words\nand lines\n" * 40)


def test_remarks_of_pillow_are_not_heard() -> None:
    with quiet():
        assert not logging.getLogger("PIL.TiffImagePlugin").isEnabledFor(logging.ERROR)
    assert logging.getLogger("PIL.TiffImagePlugin").isEnabledFor(logging.ERROR)


def test_annotations_without_an_ending_are_no_loss_and_other_files_are(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.png")
    lost = {
        "a/3.exe": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a/4": b"\xff\x00\x01",
        "a/5": b"<!DOCTYPE html><html>not found</html>",
    }
    for name, data in {**lost, "LICENSE": b"As is.\n", "b/6": b"<?xml version='1.0'?>\n<annotation/>"}.items():
        (tmp_path / name).write_bytes(data)
    told = dict(left_out_of(open_source(str(tmp_path)).scan()))
    assert told == {"LICENSE": COMPANION, "b/6": COMPANION, **dict.fromkeys(lost, NOT_AN_IMAGE)}


def test_what_is_no_file_is_left_out_as_what_it_is(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.png")
    os.mkfifo(tmp_path / "a/pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "b/socket"))
    assert dict(left_out_of(open_source(str(tmp_path)).scan())) == dict.fromkeys(("a/pipe.png", "b/socket"), IRREGULAR)
    with pytest.raises(DatapropsError, match=r"pipe\.png is a pipe, a socket or a device: give"):
        open_source(str(tmp_path / "a/pipe.png"))


def test_tables_that_were_joined_in_utf_32_and_tab_files_with_commas_are_read(tmp_path: Path) -> None:
    put(tmp_path, *numbered("{}.png", 4))
    text = table("path,label", "0.png,a", "1.png,b") + "path,label\n2.png,a\n3.png,b\n"
    for name, data in {"x.csv": text.encode("utf-32"), "x.tsv": text.encode(), "y.csv": text.encode()}.items():
        (tmp_path / name).write_bytes(data)
        listing = open_source(str(tmp_path / name)).scan()
        assert listing["label"].tolist() == ["a", "b", "a", "b"], name
        assert [told["why"] for told in listing.attrs["decisions"]] == ["1 rows repeat the column names"], name


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    put(tmp_path, "0.png")
    (tmp_path / "x.jsonl").write_text('{"path": "0.png"}\n\n{"path": \n')
    with pytest.raises(DatapropsError, match=r"x\.jsonl.*line 3 is not valid JSON: Expecting value$"):
        open_source(str(tmp_path / "x.jsonl")).scan()


def test_a_row_without_a_path_is_told_and_many_are_an_error(tmp_path: Path) -> None:
    put(tmp_path, *numbered("{}.png", 30))
    rows = [f"{number}.png,{number % 2}" for number in range(30)]
    (tmp_path / "one.csv").write_text(table("Image name,label", *rows, ",1"))
    listing = open_source(str(tmp_path / "one.csv")).scan()
    assert len(listing) == 30
    assert "1 of 31 rows left out" in [told["value"] for told in listing.attrs["decisions"]]
    (tmp_path / "many.csv").write_text(table("path,label", *rows, *[",1"] * 5))
    with pytest.raises(DatapropsError, match="row 31, column 'path': no path"):
        open_source(str(tmp_path / "many.csv")).scan()


def test_images_that_a_table_names_and_that_are_missing_are_left_out_and_told(tmp_path: Path) -> None:
    put(tmp_path, *numbered("{}.png", 4))
    (tmp_path / "metadata.csv").write_text(
        table("file_name,label", *(f"{number}.png,{number % 2}" for number in range(6)))
    )
    listing = open_source(str(tmp_path)).scan()
    assert dict(left_out_of(listing)) == {"metadata.csv": COMPANION, "4.png": ABSENT, "5.png": ABSENT}
    assert lost_fraction(left_out_of(listing), len(listing)) == pytest.approx(1 / 3)


def test_images_that_a_table_of_any_name_names_and_that_are_missing_are_told(tmp_path: Path) -> None:
    put(tmp_path, *numbered("images/{}.png", 4))
    rows = (f"P{number % 3},{number},{'ab'[number % 2]}" for number in range(6))
    (tmp_path / "cases.csv").write_text(table("patient,image_id,finding", *rows))
    listing = open_source(str(tmp_path)).scan()
    assert dict(left_out_of(listing)) == {"cases.csv": COMPANION, "4": ABSENT, "5": ABSENT}
    assert Counter(listing["group"]) == {"P0": 2, "P1": 1, "P2": 1}
    assert "; 2 listed images are missing" in str(listing.attrs["decisions"])


def test_a_table_beside_a_zip_names_its_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for number in range(4):
            archive.writestr(f"GCC_train_{number}.jpg", encoded(picture(number), "JPEG"))
    told = [{"file_name": f"GCC_train_{number}.jpg", "label": "ab"[number % 2]} for number in range(4)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, told)))
    source = open_source(str(tmp_path))
    listing = source.scan()
    assert listing["label"].tolist() == ["a", "b", "a", "b"]
    assert all(source.read(key) for key in listing["key"])
    assert left_out_of(listing) == [("metadata.jsonl", COMPANION)]


def test_patients_of_dicom_files_are_left_to_the_files() -> None:
    names = [f"{name}/case{n}/1.dcm" for name in ("a", "b") for n in range(3)]
    assert set(infer(names).group) == {None}
    assert set(infer([name.replace(".dcm", ".png") for name in names]).group) == {
        f"{name}/case{n}" for name in ("a", "b") for n in range(3)
    }


@pytest.mark.parametrize("before", [("", "./"), ("./", "")])
def test_links_of_a_tar_are_found_whether_names_begin_with_a_dot_or_not(
    tmp_path: Path, before: tuple[str, str]
) -> None:
    import tarfile

    own, other = before
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name in ("train/a/1.png", "train/b/2.png"):
            info, data = tarfile.TarInfo(own + name), encoded(picture(len(name)))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind, target in (
            ("test/a/3.png", tarfile.LNKTYPE, f"{other}train/a/1.png"),
            ("test/b/4.png", tarfile.SYMTYPE, "../../train/b/2.png"),
        ):
            info = tarfile.TarInfo(own + name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    listing = open_source(str(tmp_path / "set.tar")).scan()
    assert Counter(listing["split"]) == {"train": 2, "test": 2}
    assert left_out_of(listing) == []


def test_ids_of_minus_one_stand_for_nobody(tmp_path: Path) -> None:
    put(tmp_path, *numbered("{:02d}.png", 30))
    for nobody in ("-1", "xxx"):
        ids = [nobody] * 10 + [str(number // 2) for number in range(20)]
        rows = (f"{number:02d}.png,{number % 2},{who}" for number, who in enumerate(ids))
        (tmp_path / "m.csv").write_text(table("path,label,patient_id", *rows))
        assert Counter(open_source(str(tmp_path / "m.csv")).scan()["group"])[None] == 10


def test_coco_in_an_archive(tmp_path: Path) -> None:
    told = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(2)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(("cat", "dog"))],
        "annotations": [{"image_id": n, "category_id": n} for n in range(2)],
    }
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for n in range(2):
            archive.writestr(f"images/{n}.png", encoded(picture(n)))
        archive.writestr("annotations/instances.json", json.dumps(told))
    assert open_source(str(tmp_path / "set.zip")).scan()["label"].tolist() == ["cat", "dog"]


def test_excel_of_before_2007_and_others_are_refused_with_the_way_out(tmp_path: Path) -> None:
    for name, said in (
        ("a.xls", "save it as .xlsx"),
        ("a.tcia", "NBIA Data Retriever"),
        ("a.pkl", "cifar10:"),
        ("a.rar", "unpack"),
    ):
        (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0" * 9)
        with pytest.raises(DatapropsError, match=said):
            open_source(str(tmp_path / name))


def test_splits_that_a_table_tells_are_not_told_as_unknown(tmp_path: Path) -> None:
    texts = {"splits.csv": table("filename,split,class", "0.jpg,train,c", "1.jpg,test,d", "2.jpg,train,d")}
    listing = made(Layout(numbered("{}.jpg", 3), texts, "", {}), tmp_path / "set").scan()
    assert listing["split"].tolist() == ["train", "test", "train"]
    assert not [told for told in listing.attrs["decisions"] if told["what"] == "splits"]
