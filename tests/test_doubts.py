"""Signs that folders, names or tables are read wrong: each is told with an option and is an alert; ordinary sets raise none."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dataprops.sources.account import FOREIGN, IN_DOUBT, left_out_of
from tests import test_downloaded_layouts, test_further_layouts, test_joined_layouts, test_published_layouts
from tests.test_published_layouts import Layout, made, numbered, table

SPLIT = ("train", "test")
PARTS = (("train", range(4)), ("val", range(4, 6)))
CASES: dict[str, tuple[list[str], Mapping[str, str | bytes], str]] = {
    "years": ([f"{c}/{n}.png" for c in (2019, 2020) for n in range(3)], {}, "2019, 2020 look like dates or years"),
    "sizes": ([f"{c}/{n}.png" for c in ("32", "32@2x", "64") for n in range(3)], {}, "look like sizes"),
    "sequences of MRI": (
        [f"{c}/{n}.png" for c in ("T1", "FLAIR") for n in range(3)],
        {},
        "sequences or kinds of recording",
    ),
    "sides": ([f"{c}/{n}.png" for c in ("left", "right") for n in range(3)], {}, "look like sides or views"),
    "days": (
        [f"{c}/{n}.png" for c in ("day1", "day2") for n in range(3)],
        {},
        "day1, day2 look like day plus a number",
    ),
    "subsets": ([f"subset{c}/{n}.png" for c in (0, 1) for n in range(3)], {}, "subset0, subset1 look like subset plus"),
    "ids": ([f"{c}/{n}.png" for c in (100317, 204455, 918273) for n in range(3)], {}, "look like ids"),
    "images beside test": (
        [*numbered("images/{}.png", 4), *(f"more/{n}.png" for n in range(4))],
        {},
        "images name images or splits, not classes",
    ),
    "masks with names of their own": (
        [
            *(f"Scan/i{n}.png" for n in range(6)),
            *(f"Ground/liver_{n}.png" for n in range(5)),
            *(f"Segmentation/seg{n}.png" for n in range(4)),
        ],
        {},
        "classes are named as masks: Ground, Segmentation",
    ),
    "hardly any image of a class": (
        [f"w{chr(97 + c)}/{n}.png" for c in range(14) for n in range(2)],
        {},
        "14 of 14 have 2 images or fewer",
    ),
    "a patient for each class": (
        [f"{c}/{c[0]}{n * n}.png" for c in ("ann", "bob", "cid", "eve") for n in range(4)],
        {"people.csv": table("image,patient_id", *(f"{c}{n * n},P-{c}" for c in "abce" for n in range(4)))},
        "the 4 classes correspond one to one to patients",
    ),
    "files called alike": (
        [f"{c}/{name}.png" for c in ("one", "two") for name in ("btc", "eth", "doge", "xmr")],
        {},
        "files in one, two have the same names, such as btc",
    ),
    "persons, whose files are called after them and otherwise alike": (
        [f"{c}/{c}{e}.png" for c in ("AF01", "AM02", "AF03") for e in ("AFS", "HAHL", "SAS", "DIFR")],
        {},
        "files in AF01, AF03, AM02 have the same names",
    ),
    "what is to be predicted": (
        [f"{c}/{c[0]}{n}.png" for c in ("yes", "no", "pred") for n in range(3)],
        {},
        "pred name images or splits",
    ),
    "many numbers of one word": (
        [f"kos{c:02d}/Part{n}.png" for c in range(14) for n in range(3)],
        {},
        "look like kos plus a number, typical of persons or takes",
    ),
    "a list with columns that nobody used": (
        [f"{c}/{c}{n}.png" for c in ("cat", "dog") for n in range(6)],
        {
            "list.txt": "name | kind\n"
            + "".join(f"{c}{n}.png 2 {1 + n // 2}\n" for c in ("cat", "dog") for n in range(6))
        },
        "list.txt matches 12 of 12 images and has the columns kind, but no label was read from it",
    ),
    "a table of the patients of whom the folders are": (
        [f"{p:03d}/{w}/{n}.png" for p in range(49, 54) for w in ("brain", "bone") for n in (1, 2)],
        {
            "found.csv": table(
                "PatientNumber,SliceNumber,Epidural,None",
                *(f"{p},{n},{n % 2},{1 - n % 2}" for p in range(49, 54) for n in (1, 2)),
            )
        },
        "found.csv matches the folders such as 49 in 'PatientNumber' and has the columns SliceNumber, Epidural, None",
    ),
    "a table that told patients and no labels": (
        [f"{kind}/{kind[0]}P{p}_{view}.png" for kind in ("low", "high") for p in range(4) for view in ("CC", "MLO")],
        {
            "notes.csv": table(
                "Image_name,Patient_ID,Age,Pathology (final)",
                *(f"{k}P{p}_{v},{p},{50 + p},{'ab'[p % 2]}" for k in "lh" for p in range(4) for v in ("CC", "MLO")),
            )
        },
        "notes.csv matches 16 of 16 images and has the columns Pathology (final), but no label was read from it",
    ),
    "splits that share no class": (
        [
            *(f"train/{c}/{n}.png" for c in "ab" for n in range(3)),
            *(f"test/{c}/{n}.png" for c in "cd" for n in range(3)),
        ],
        {},
        "c, d, in no other split; those have a, b",
    ),
    "a test of one class": (
        [*(f"train/{c}/{n}.png" for c in "abc" for n in range(3)), *(f"test/a/{n}.png" for n in range(3))],
        {},
        "all of test is a, other splits have 3 classes",
    ),
    "splits in the names of classes": (
        [f"{c}/{n}.png" for c in ("cat_train", "dog_test", "bird") for n in range(3)],
        {},
        "class names contain splits: cat_train, dog_test",
    ),
    "words that begin the names in every folder": (
        [f"{c}/{name}_{n}.png" for c in ("north", "south") for name in ("cat", "dog") for n in range(3)],
        {},
        "file names begin with the same words in each of north, south: cat 6, dog 6",
    ),
    "sequences of MRI of other names": (
        [f"{q}/{q}{n}.png" for q in ("T1w", "T1wCE", "T2w") for n in range(3)],
        {},
        "T1w, T1wCE, T2w look like sequences or kinds of recording",
    ),
    "pictures of another kind beside each": (
        [f"{c}/{d}/{c}{n * n}.png" for c in ("ill", "well") for d in ("image", "heat") for n in range(5)],
        {},
        "each class folder contains heat, image; image may hold the images",
    ),
    "few numbers of a word whose folders hold files of the same names": (
        [f"kos{c:02d}/Part{n}.png" for c in range(4) for n in range(3)],
        {},
        "look like kos plus a number, typical of persons or takes",
    ),
    "a part of names that says of what it is": (
        [f"{c}/{c}_{n * n}_GT_{n % 3}.png" for c in ("tesla", "zoe") for n in range(7)],
        {},
        "part 4 of the file names is 0, 1, 2 in each of tesla, zoe",
    ),
    "numbers of images": (
        [f"{c}/{s}/{c}{n}.png" for c in ("100k", "10k") for s in ("train", "val") for n in range(3)],
        {},
        "100k, 10k look like numbers of images",
    ),
    "what lies in no split and shares no class with it": (
        [*(f"{c}/{c[0]}{n}.png" for c in ("sick", "well") for n in range(6)), *(f"extra/x{n}.png" for n in range(3))],
        {f"{s}.txt": "".join(f"{c}/{c[0]}{n}.png\n" for c in ("sick", "well") for n in ns) for s, ns in PARTS},
        "images without a split have extra, in no other split",
    ),
    "words in every class, with others behind them": (
        [f"{c}/{w}_{k}_{n}.png" for c in ("convex", "linear") for w in ("Cov", "Reg") for k in "ab" for n in (1, 2)],
        {},
        "file names begin with the same words in each of convex, linear: Cov 8, Reg 8",
    ),
    "codes, and a part of names that has the same values in each": (
        [f"s{c:04d}/s{c:04d}_{40 * c + n:05d}_{n % 2}_01.png" for c in range(1, 5) for n in range(6)],
        {},
        "part 3 of the file names is 0, 1 in each of s0001, s0002, s0003, s0004",
    ),
    "codes, and pictures of two kinds in each": (
        [f"{c:02d}/frame_{n:05d}_{k}.png" for c in range(1, 5) for n in range(3) for k in ("rgb", "ir")],
        {},
        "part 3 of the file names is ir, rgb in each of 01, 02, 03, 04",
    ),
    "classes below letters with which they end": (
        [f"{a}/{b}{a}/{a}{b}{n * n}.png" for a in "DPW" for b in "CU" for n in range(5)],
        {},
        "the class folders contain CD, CP, CW, UD, ..., which may be the classes",
    ),
    "numbers beside a file of MATLAB that nobody read": (
        [f"{c:02d}/nm{100 * n + c}_{n}.png" for c in range(4) for n in range(4)],
        {"people.mat": b"MATLAB 5.0 MAT-file"},
        "they are numbers without names, and people.mat lies beside them",
    ),
    "an archive beside the images": (
        [f"{c}/{n}.png" for c in ("cat", "dog") for n in range(3)],
        {"more.zip": b"PK"},
        "more.zip lies beside them, and may hold more",
    ),
    "a table that nobody used": (
        [f"{c}/{c}{n}.png" for c in ("cat", "dog") for n in range(4)],
        {"about.csv": table("who,what", *(f"{c}{n},{n % 2}" for c in ("cat", "dog") for n in range(4)))},
        "about.csv matches 8 of 8 images and has the columns what, but no label was read from it",
    ),
}


def doubts(layout: Layout, root: Path) -> list[dict[str, Any]]:
    told = made(layout, root).scan().attrs["decisions"]
    assert all(one.keys() == {"what", "value", "why", "option"} for one in told)  # what --json tells of them
    return [one for one in told if one["value"] == IN_DOUBT]


@pytest.mark.parametrize("name", CASES)
def test_a_reading_against_which_something_speaks_is_in_doubt(tmp_path: Path, name: str) -> None:
    images, texts, why = CASES[name]
    found = doubts(Layout(images, texts, "", {}), tmp_path)
    assert any(why in told["why"] and told["option"] for told in found), found


@pytest.mark.parametrize(
    "images",
    [
        [f"{c}/{n:05d}_{k:05d}.png" for c in ("cat", "dog") for n in range(3) for k in range(3)],
        [f"{c}/IMG_{n}.png" for c in ("grade_0", "grade_1", "grade_2") for n in range(4)],
        [f"{c:05d}/{n}.png" for c in range(6) for n in range(3)],
        [f"{c}/v_{c}_g{g}_c1/{n}.png" for c in ("Biking", "Diving") for g in (1, 2) for n in range(3)],
        [f"{c}/face_{c[0]}{n}.png" for c in ("mask", "no_mask") for n in range(4)],
        [f"n{c:08d}/n{c:08d}_{n}.png" for c in (1440764, 2102040) for n in range(3)],
        [f"{s}/{c}/{n}.png" for s in ("train", "test") for c in range(10) for n in range(2)],
        [f"n{c:08d}/{w}_{n}.png" for c in (1440764, 2102040) for w in ("art", "sketch") for n in range(4)],
        [f"KL{c}/{s}_{9000 + n * n}_{c}.png" for c in range(3) for s in ("train", "test", "val") for n in range(2, 5)],
        [f"{c}/bowel_{20 + 3 * c + v}_{c}-{v}_{n:08d}.jpg" for c in range(4) for v in (0, 1) for n in range(1, 5)],
        [f"{c}/{p}/{c}_{n}.png" for c in ("ABE", "BAS") for p, n in (("0001-1000", 1), ("1001-2000", 2)) * 2][::2],
    ],
)
def test_ordinary_folders_are_in_no_doubt(tmp_path: Path, images: list[str]) -> None:
    assert doubts(Layout(images, {}, "", {}), tmp_path) == []


def test_a_reading_that_was_asked_for_is_in_no_doubt(tmp_path: Path) -> None:
    images = [f"{c}/{n}.png" for c in (2019, 2020) for n in range(3)]
    assert doubts(Layout(images, {}, "", {}, options={"layout": "class"}), tmp_path) == []


# of these something else could be meant: the doubt is right
DOUBTFUL = {
    "splits below the classes are told with the option",
    "classes below classes are told with the option",
    "Office-31: classes below a folder of images are told with the option",
    "tables beside classes that nobody read are told",
    "folders of their own name are passed over",
    "a few numbers below the classes are no patients",
    "classes that a split calls by their beginning are told",
    # one folder of images, which is one class
    "folds that overlap are no splits",
    "twins of which one is PNG",
    "names of splits are no classes",
    "masks in folders of any name that say it in theirs",
}


def test_published_layouts_that_are_read_right_are_in_no_doubt(tmp_path: Path) -> None:
    raised: set[str] = set()
    known: dict[str, Layout] = {}
    for tests in (test_published_layouts, test_further_layouts, test_joined_layouts, test_downloaded_layouts):
        known |= tests.LAYOUTS
    for number, (name, layout) in enumerate(known.items()):
        raised |= {name} if doubts(layout, tmp_path / str(number)) else set()
    assert raised <= DOUBTFUL and len(known) > 180


def test_drawings_that_are_not_read_are_no_companions(tmp_path: Path) -> None:
    images = [f"png/{c}/{n}.png" for c in ("cat", "dog") for n in range(3)]
    listing = made(Layout(images, {f"svg/cat/{n}.svg": "<svg/>" for n in range(3)}, "", {}), tmp_path).scan()
    assert {why for _, why in left_out_of(listing)} == {FOREIGN}


def test_a_list_of_the_folders_own_classes_is_in_no_doubt(tmp_path: Path) -> None:
    images = [f"{c}/{c}{n}.png" for c in ("cat", "dog") for n in range(6)]
    text = "".join(f"{name} {name[:3]} 7\n" for name in images)
    assert doubts(Layout(images, {"all.txt": text}, "", {}), tmp_path) == []


def test_a_table_of_the_folders_own_classes_that_told_patients_is_in_no_doubt(tmp_path: Path) -> None:
    images = [f"{c}/{c[0]}{n}.png" for c in ("cat", "dog") for n in range(4)]
    text = table("file,video_id,finding_category,finding_class", *(f"{n[4:]},{n[4]},all,{n[:3]}" for n in images))
    listing = made(Layout(images, {"metadata.csv": text}, "", {}), tmp_path).scan()
    assert not any(told["value"] == IN_DOUBT for told in listing.attrs["decisions"])
    assert listing["group"].nunique() == 2


def test_tables_of_parts_with_other_columns_besides_are_of_one_set(tmp_path: Path) -> None:
    images = [*numbered("train/a{}.png", 6), *numbered("test/b{}.png", 4)]
    texts = {
        "train.csv": table("name,label,rater_A", *(f"train/a{n}.png,{n % 2},{n}" for n in range(6))),
        "test.csv": table("name,label", *(f"test/b{n}.png,{n % 2}" for n in range(4))),
    }
    listing = made(Layout(images, texts, "", {}), tmp_path).scan()
    assert listing["label"].value_counts().to_dict() == {"0": 5, "1": 5}


def test_names_and_numbers_of_several_objects_are_one_column_said_twice(tmp_path: Path) -> None:
    kinds = (("heart",), ("heart", "aorta"), ("none",))
    numbers = {"heart": 3, "aorta": 0, "none": 14}
    rows = [f"{n}.png,{kind},{numbers[kind]}" for n in range(12) for kind in kinds[n % 3]]
    text = table("image_id,class_name,class_id", *rows)
    assert not doubts(Layout(numbered("{}.png", 12), {"train.csv": text}, "", {}), tmp_path)


SKIN = ("melanoma", "nevus", "wart", "cyst")


@pytest.mark.parametrize(
    ("head", "row", "told"),
    [
        ("file,malignant,disease", "{n}.png,{two},{four}", "disease was read, and malignant may be the label too"),
        ("file,tool,phase", "{n}.png,{n2},{three}", "tool was read, and phase may be the label too"),
        ("file,target,fine_label", "{n}.png,{two},{three}", "target was read, and fine_label may be the label too"),
        (
            "file,tool,blood,phase,step",
            "{n}.png,{n2},{n3},{three},{other}",
            "tool, blood was read, and phase, step may be",
        ),
        ("file,tool,blood,hook,phase", "{n}.png,{n2},{n3},{n4},{three}", ""),
        ("file,target,disease", "{n}.png,{four},{other}", ""),
        ("file,target,place", "{n}.png,{four},{three}", ""),
        ("file,target,sex,age", "{n}.png,{four},{n2},{three}", ""),
    ],
)
def test_other_columns_that_may_be_the_label_are_named(tmp_path: Path, head: str, row: str, told: str) -> None:
    rows = []
    for n in range(24):
        ones = {f"n{k}": n // k % 2 for k in (2, 3, 4)}
        rows.append(row.format(n=n, two=n % 4 > 1, four=SKIN[n % 4], three=n % 3, other=f"L{n % 4}", **ones))
    images = numbered("{}.png", 24)
    found = doubts(Layout(images, {"about.csv": table(head, *rows)}, "", {}), tmp_path)
    assert len(found) == bool(told)
    if told:
        assert found[0]["why"].startswith(told)
        other = found[0]["option"].removeprefix("--label-column ")
        asked = Layout(images, {"about.csv": table(head, *rows)}, "", {}, options={"label_column": other})
        assert not doubts(asked, tmp_path / "asked")


@pytest.mark.parametrize(
    ("column", "ones", "told"), [("label", "well", True), ("label", "ill", False), ("healthy", "well", False)]
)
def test_0_and_1_that_contradict_the_names_of_folders_are_told(
    tmp_path: Path, column: str, ones: str, told: bool
) -> None:
    folders = {"well": "healthy", "ill": "glaucoma"}
    images = [f"{folder}/{name}{n}.png" for name, folder in folders.items() for n in range(6)]
    text = table(f"image,{column}", *(f"{name}{n}.png,{int(name == ones)}" for name in folders for n in range(6)))
    found = doubts(Layout(images, {"about.csv": text}, "", {}), tmp_path)
    why = "about.csv has 0 for glaucoma, 1 for healthy: either may be swapped"
    assert [one["why"] for one in found] == ([why] if told else [])


def test_an_id_of_two_values_is_no_label(tmp_path: Path) -> None:
    text = table("path,sign,user_id", *(f"{n}.png,{n % 3}x,{n // 4}" for n in range(8)))
    listing = made(Layout(numbered("{}.png", 8), {"about.csv": text}, "", {}), tmp_path).scan()
    assert listing["label"].isna().all()
    assert "has the columns sign" in str(listing.attrs["decisions"])


def test_numbers_behind_their_names_name_classes(tmp_path: Path) -> None:
    texts = {
        "val.txt": "".join(f"{n}.png {n % 3}\n" for n in range(9)),
        "categories.txt": "/a/airfield 0\n/a/alcove 1\n/b/bay 2\n",
    }
    listing = made(Layout(numbered("{}.png", 9), texts, "", {}), tmp_path).scan()
    assert listing["label"].value_counts().to_dict() == {"/a/airfield": 3, "/a/alcove": 3, "/b/bay": 3}


def test_names_of_two_forms_are_asked_about(tmp_path: Path) -> None:
    images = [f"db/Im{n:03d}{'_g' * (n % 2)}_ACRIMA.jpg" for n in range(10)]
    listing = made(Layout(images, {}, "", {}), tmp_path).scan()
    (told,) = (told for told in listing.attrs["decisions"] if "file names" in told["why"])
    assert "end with _ACRIMA 5, _g_ACRIMA 5" in told["why"]
    pattern = told["option"].removeprefix("--label-pattern '")[:-1]
    read = made(Layout(images, {}, "", {}, options={"label_pattern": pattern}), tmp_path).scan()
    assert read["label"].value_counts().to_dict() == {"_ACRIMA": 5, "_g_ACRIMA": 5}


@pytest.mark.parametrize(
    ("images", "texts", "option", "labels"),
    [
        ([f"{s}/T{k}/{n}.png" for s in ("train", "test") for k in (1, 2) for n in range(3)], {}, "layout", 0),
        (
            [*(f"{c}/{c}{n}.png" for c in ("sick", "well") for n in range(6)), *(f"extra/x{n}.png" for n in range(3))],
            {f"{s}.txt": "".join(f"{c}/{c}{n}.png\n" for c in ("sick", "well") for n in ns) for s, ns in PARTS},
            "exclude",
            2,
        ),
        ([f"subset{k}/{n}.png" for k in (1, 2, 3) for n in range(3)], {}, "layout", 0),
        ([f"{d}/a/{s}/{c}/{n}.png" for d in "xy" for s in SPLIT for c in "cd" for n in range(3)], {}, "layout", 2),
        (
            [f"{n}.png" for n in range(8)],
            {"t.csv": table("path,label,kind", *(f"{n}.png,{2001 + n % 2},{'ab'[n // 4]}" for n in range(8)))},
            "label_column",
            2,
        ),
    ],
)
def test_a_doubt_names_an_option_that_can_be_pasted(
    tmp_path: Path, images: list[str], texts: Mapping[str, str], option: str, labels: int
) -> None:
    told = doubts(Layout(images, texts, "", {}), tmp_path)
    flag, _, value = told[-1]["option"].partition(" ")
    assert flag == f"--{option.replace('_', '-')}"
    (value,) = shlex.split(value)
    asked = {option: (value,) if option == "exclude" else value}
    read = made(Layout(images, texts, "", {}, options=asked), tmp_path).scan()
    assert read["label"].nunique() == labels
    assert not any(one["value"] == IN_DOUBT for one in read.attrs["decisions"] if one["what"] != "images")


def test_columns_that_nobody_read_are_named_with_the_options_that_read_them(tmp_path: Path) -> None:
    images = [f"{c}/{c}{n}.png" for c in ("cat", "dog") for n in range(4)]
    text = table("who,age,illness", *(f"{c}{n},{n % 3},{n % 2}" for c in ("cat", "dog") for n in range(4)))
    (told,) = doubts(Layout(images, {"about.csv": text}, "", {}), tmp_path)
    assert told["option"] == "--layout none --label-column illness"
    asked = {"layout": "none", "label_column": "illness"}
    read = made(Layout(images, {"about.csv": text}, "", {}, options=asked), tmp_path).scan()
    assert read["label"].value_counts().to_dict() == {"0": 4, "1": 4}
