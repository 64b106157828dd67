"""More members of each kind of data as people have them: layouts, masks, tables, spellings, several labels, ids, 16-bit colour."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataprops.errors import DatapropsError
from dataprops.experiment.grid_options import experiment_from
from dataprops.imaging.decode import UnreadableImage, decode, decode_values, value_facts
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.account import IN_DOUBT
from dataprops.sources.labels import one_spelling, several
from dataprops.sources.masks import choose, find_masks
from dataprops.sources.structure import infer
from dataprops.sources.tablefile import read_table
from tests.test_cases import encoded, look, picture, put, shard

# 1. ranges


def png(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits for each sample, colour, with or without transparency."""
    height, width, bands = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 16, 6 if bands == 4 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(
    samples: np.ndarray, order: str = "<", packed: bool = False, photometric: int = 2, signed: bool = False
) -> bytes:
    """A TIFF of 16 bits for each sample, as one strip."""
    height, width = samples.shape[:2]
    bands = samples.shape[2] if samples.ndim == 3 else 1
    body = samples.astype(f"{order}{'i' if signed else 'u'}2").tobytes()
    body = zlib.compress(body) if packed else body
    short, long = 3, 4
    tags = [
        *(
            (256, short, 1, width),
            (257, short, 1, height),
            (258, short, bands, None),
            (259, short, 1, 8 if packed else 1),
        ),
        *((262, short, 1, photometric), (273, long, 1, None), (277, short, 1, bands), (278, short, 1, height)),
        *((279, long, 1, len(body)), (339, short, bands, None)),
    ]
    at = 8 + 2 + 12 * len(tags) + 4
    places = {258: at, 339: at + 2 * bands, 273: at + 4 * bands}
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, kind, count, value in tags:
        if tag in (258, 339) and bands == 1:
            value = 16 if tag == 258 else 2 if signed else 1
        value = places[tag] if value is None else value
        inline = kind == short and count == 1
        out += struct.pack(
            f"{order}HHIHH" if inline else f"{order}HHII", tag, kind, count, *((value, 0) if inline else (value,))
        )
    each = [16] * bands + [2 if signed else 1] * bands
    return out + struct.pack(f"{order}I{len(each)}H", 0, *each) + body


def colours(seed: int, bands: int = 3, top: int = 65535) -> np.ndarray:
    samples = np.random.default_rng(seed).integers(0, top + 1, (7, 5, bands)).astype(np.uint16)
    samples[0, 0] = top
    return samples


def ppm(samples: np.ndarray, top: int = 65535) -> bytes:
    return f"P6 {samples.shape[1]} {samples.shape[0]} {top}\n".encode() + samples.astype(">u2").tobytes()


WIDE = {
    "png": png,
    "tiff": tiff,
    "tiff of a Macintosh": lambda samples: tiff(samples, ">"),
    "deflated tiff": lambda samples: tiff(samples, packed=True),
    "deflated tiff of a Macintosh": lambda samples: tiff(samples, ">", packed=True),
    "ppm": ppm,
}


@pytest.mark.parametrize("form", WIDE)
def test_colour_of_sixteen_bits_keeps_them_all(form: str) -> None:
    samples = colours(1)
    raw = decode_values(WIDE[form](samples))
    np.testing.assert_array_equal(raw.pixels, samples)
    assert value_facts(WIDE[form](samples)) == ("integers", samples.min(), samples.max())
    np.testing.assert_allclose(decode(WIDE[form](samples)).pixels, samples / 257, rtol=1e-6)


def test_transparency_of_sixteen_bits_lies_over_black_and_a_damaged_file_is_a_reason() -> None:
    samples = colours(2, 4)
    wanted = np.rint(samples[..., :3] * (samples[..., 3:] / 65535))
    np.testing.assert_allclose(decode_values(png(samples)).pixels, wanted, atol=1)
    for data in (png(samples)[:80], tiff(colours(3))[:-9], ppm(colours(3))[:-9]):
        with pytest.raises(UnreadableImage, match="damaged"):
            decode_values(data)


def test_twelve_bits_of_colour_in_sixteen_use_the_whole_range(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / "set", f"{'ab'[number % 2]}/{number}.png")
        (tmp_path / "set" / "ab"[number % 2] / f"{number}.png").write_bytes(png(colours(number, top=4095)))
    looked = look(tmp_path / "set", tmp_path)
    assert looked.range == "integers=0:4095"
    assert looked.images["peak"].min() > 200


def test_tiffs_of_sixteen_bits_with_signs_or_white_as_zero(tmp_path: Path) -> None:
    signed = np.random.default_rng(0).integers(-1000, 3000, (7, 5)).astype(np.int16)
    for order in "<>":
        np.testing.assert_array_equal(decode_values(tiff(signed, order, photometric=1, signed=True)).pixels, signed)
    black = colours(5)[..., 0]
    for packed in (False, True):
        np.testing.assert_array_equal(decode_values(tiff(black, packed=packed, photometric=0)).pixels, 65535 - black)
    for number, shift in enumerate((0, 200, 400)):  # one range for the set: the shift is seen
        file = tmp_path / "set" / "ab"[number % 2] / f"{number}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tiff((signed // 2 + shift).astype(np.int16), photometric=1, signed=True))
    looked = look(tmp_path / "set", tmp_path)
    assert looked.range.startswith("integers=-")
    assert sorted(looked.images["peak"]) == looked.images.sort_values("path", key=lambda p: p.str[-5])["peak"].tolist()


# 2. classes, splits, patients


def tree(*tops: str, classes: tuple[str, ...] = ("A1", "B1"), n: int = 2) -> list[str]:
    return [f"{top}/{name}/{number}.png" for top in tops for name in classes for number in range(n)]


@pytest.mark.parametrize(
    ("names", "labels", "splits", "groups"),
    [
        (tree("Train", "Valid", "Test"), {"A1", "B1"}, {"train", "val", "test"}, {None}),
        (tree("train", "eval"), {"A1", "B1"}, {"train", "val"}, {None}),
        (tree("train", "holdout"), {"A1", "B1"}, {"train", "test"}, {None}),
        (tree("train", "external_test", "Unseen"), {"A1", "B1"}, {"train", "test", "unseen"}, {None}),
        (tree("train", "bus", classes=("a",)), {"train", "bus"}, {None}, {None}),
        (tree("train", "bus", "car", classes=("front", "side")), {"train", "bus", "car"}, {None}, {None}),
        (tree("train", "internal_test"), {"A1", "B1"}, {"train", "test"}, {None}),
        (tree("fold1", "fold2"), {"A1", "B1"}, {None}, {None}),
        (tree("siteA", "siteB"), {"A1", "B1"}, {None}, {None}),
        (tree("original", "augmented"), {"A1", "B1"}, {None}, {None}),
        (tree("v1", "v2"), {"A1", "B1"}, {None}, {None}),
        (tree("benign", "malignant", classes=("40X", "100X")), {"benign", "malignant"}, {None}, {None}),
        (
            tree(*["10253", "10254", "8863", "9035", "9036"], classes=("0", "1")),
            {"0", "1"},
            {None},
            {"10253", "10254", "8863", "9035", "9036"},
        ),
        (
            tree(*(f"grade_{n:03d}" for n in range(5)), classes=("left", "right")),
            {f"grade_{n:03d}" for n in range(5)},
            {None},
            {None},
        ),
        (["JPEGImages/1.jpg", "JPEGImages/2.jpg"], {None}, {None}, {None}),
        (["train/train/cat.1.jpg", "train/train/dog.1.jpg", "test1/test1/1.jpg"], {None}, {"train", "test"}, {None}),
        (["train/train/1.jpg", "train/bus/1.jpg", "test/bus/1.jpg"], {"train", "bus"}, {"train", "test"}, {None}),
        (["CXR_png/1.png", "CXR_png/2.png"], {None}, {None}, {None}),
    ],
)
def test_more_layouts_of_classes_splits_and_patients(names, labels, splits, groups) -> None:
    found = infer(names)
    assert (set(found.label), set(found.split), set(found.group)) == (labels, splits, groups)


def test_a_choice_between_two_levels_is_told_with_the_option() -> None:
    _, told = infer(tree("benign", "malignant", classes=("40X", "100X"))).decisions
    assert (told.value, told.why, told.option) == (
        IN_DOUBT,
        "each class folder contains 100X, 40X, which may be the classes",
        "--layout '*/class'",
    )


def test_classes_in_names_of_files_are_told_and_read_by_a_pattern(tmp_path: Path) -> None:
    put(
        tmp_path / "set", *(f"train/{name}.{number}.jpg" for name in ("cat", "dog") for number in range(3)), kind="JPEG"
    )
    told = look(tmp_path / "set", tmp_path).decisions["classes"]
    assert "file names begin with cat 3, dog 3" in told["why"]
    assert told["option"].startswith("--label-pattern")
    looked = look(tmp_path / "set", tmp_path, label_pattern=r"([a-z]+)\.\d")
    assert looked.count("label") == {"cat": 3, "dog": 3}
    assert looked.count("split") == {"train": 6}
    with pytest.raises(DatapropsError, match=r"the label pattern '[(]' is not a valid"):
        look(tmp_path / "set", tmp_path, label_pattern="(")


# 3. masks


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["A/im1.png", "B/im2.png"], ["A/im1_GT.png", "B/im2_GT.png"]),
        (["A/im1.png", "B/im2.png"], ["A/im1-seg.png", "B/im2-seg.png"]),
        (["A/im1.png", "B/im2.png"], ["A/im1Mask.png", "B/im2Mask.png"]),
        (["A/im1.JPG", "B/im2.JPG"], ["A/im1_MASK.PNG", "B/im2_MASK.PNG"]),
        (["image_1.png", "image_2.png"], ["mask_1.png", "mask_2.png"]),
        (["1_img.png", "2_img.png"], ["1_label.png", "2_label.png"]),
        (["case0.nii.gz", "case1.nii.gz"], ["case0_label.nii.gz", "case1_label.nii.gz"]),
        (["CXR_png/1.png", "CXR_png/2.png"], ["ManualMask/leftMask/1.png", "ManualMask/leftMask/2.png"]),
        ([f"{s}/{c}/{i}.png" for s in ("Train", "Test") for c in ("WithMask", "WithoutMask") for i in "12"], []),
        (["A/im1.png", "B/im2.png"], ["A/im1_overlay.png", "B/im2_overlay.png"]),
        (["A/1.png", "B/2.png"], ["A/thumbs/1.png", "B/thumbs/2.png"]),
        (["rgb/1.png", "rgb/2.png"], ["depth/1.png", "depth/2.png"]),
        (["images/depth/1.png", "images/flat/2.png"], []),  # classes
        (["Kvasir-SEG/images/1.jpg", "Kvasir-SEG/images/2.jpg"], ["Kvasir-SEG/masks/1.jpg", "Kvasir-SEG/masks/2.jpg"]),
        (["Image_01L.jpg", "Image_01R.jpg"], ["Image_01L_1stHO.png", "Image_01R_2ndHO.png"]),
        (["s/0a/images/0a.png", "s/1b/images/1b.png"], ["s/0a/masks/77.png", "s/0a/masks/78.png", "s/1b/masks/79.png"]),
        (["train_1.bmp", "testA_1.bmp"], ["train_1_anno.bmp", "testA_1_anno.bmp"]),
        (["train/x1.png", "test/x1.png"], ["trainannot/x1.png", "testannot/x1.png"]),
        (
            [f"leftImg8bit/val/bonn/bonn_{n}_leftImg8bit.png" for n in "12"],
            [f"gtFine/val/bonn/bonn_{n}_gtFine_{kind}.png" for n in "12" for kind in ("color", "labelIds")],
        ),
        (["WithMask/1.png", "WithoutMask/1.png", "WithMask/2.png", "WithoutMask/2.png"], []),
    ],
)
def test_more_names_of_masks(images: list[str], masks: list[str]) -> None:
    assert find_masks([*images, *masks]) == set(masks)


def test_files_of_one_name_and_two_endings_may_be_masks_and_are_told_with_the_option_that_leaves_them_out() -> None:
    twins = [f"crack/{n}.{ending}" for n in range(6) for ending in ("jpg", "PNG")]
    chosen = choose([*twins, *(f"free/{n}.jpg" for n in range(9))])
    assert len(chosen.keys) == 21
    (told,) = chosen.decisions
    assert (told.what, told.value, told.option) == ("masks", "none left out", "--exclude '*.PNG'")
    left = choose(chosen.keys, exclude=["*.PNG"])
    assert (len(left.keys), left.decisions) == (15, [])
    assert "6 have a file with the same name" in told.why and "crack/0.PNG and crack/0.jpg" in told.why
    assert not choose([*twins, *(f"free/{n}.jpg" for n in range(13))]).decisions  # most have none
    assert not choose(twins[:8]).decisions  # chance
    assert not choose([f"a/{n}.jpg" for n in range(20)]).decisions


# 4. tables


@pytest.mark.parametrize(
    ("name", "text", "encoding", "rows"),
    [
        ("m.csv", "path;label\r\na.png;0,5\r\nb.png;1\r\n", "utf-8-sig", [("a.png", "0.5"), ("b.png", "1")]),
        ("m.tsv", "path\tlabel\na.png\t1,25\nb.png\t2,0\n", "utf-8", [("a.png", "1.25"), ("b.png", "2.0")]),
        ("m.csv", 'path,label\na.png,"1,2"\nb.png,"1"\n', "utf-8", [("a.png", "1,2"), ("b.png", "1")]),  # two labels
        ("m.csv", "a.png,x\nb.png,y\n", "utf-8", [("a.png", "x"), ("b.png", "y")]),
        ("m.csv", "0,a.png\n1,b.png\n", "utf-16", [("a.png", "0"), ("b.png", "1")]),
        ("list.txt", "d/a b.png 0\nd/c.png 1\n", "utf-8", [("d/a b.png", "0"), ("d/c.png", "1")]),
        ("m.json", '[{"path": "a.png", "label": "x"}]', "utf-8", [("a.png", "x")]),
        ("m.csv", "path,label\ra.png,x\rb.png,y\r", "cp1252", [("a.png", "x"), ("b.png", "y")]),
        ("m.csv", "sep=|\r\npath|label\r\na.png|x\r\nb.png|y\r\n", "utf-8", [("a.png", "x"), ("b.png", "y")]),
        (
            "m.csv",
            "# made by hand\n# path of a, b, c\npath,label\na.png,x\nb.png,y\n",
            "utf-8",
            [("a.png", "x"), ("b.png", "y")],
        ),
        ("m.json", '{"a.png": "x", "b.png": "y"}', "utf-8", [("a.png", "x"), ("b.png", "y")]),
        ("m.json", '{"a.png": {"label": 1}, "b.png": {"label": 2}}', "utf-8", [("a.png", "1"), ("b.png", "2")]),
        ("m.json", '[["a.png", "x"], ["b.png", "y"]]', "utf-8", [("a.png", "x"), ("b.png", "y")]),
        (
            "m.json",
            '{"train": [{"path": "a.png", "label": "x"}], "test": [{"path": "b.png", "label": "y"}]}',
            "utf-8",
            [("a.png", "x"), ("b.png", "y")],
        ),
    ],
)
def test_more_tables(name: str, text: str, encoding: str, rows: list) -> None:
    read = read_table(text.encode(encoding), name)
    assert list(zip(read.frame["path"], read.frame["label"], strict=True)) == rows
    told = ";" in text or "\t" in text or ("path" not in text and not name.endswith(".json"))
    assert bool(read.decisions) == told
    if '"train"' in text:
        assert read.frame["split"].tolist() == ["train", "test"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [], "annotations": []}', "COCO annotations: give the folder"),
        ('{"good": [{"path": "a.png"}], "bad": [{"path": "b.png"}]}', "several lists, good, bad: keep one"),
        ("7", "neither a list nor an object"),
    ],
)
def test_json_that_is_no_table_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_table(text.encode(), "m.json")


def test_the_split_of_a_table_may_be_written_in_any_case(tmp_path: Path) -> None:
    put(tmp_path, "im/1.png", "im/2.png", "im/3.png")
    (tmp_path / "m.csv").write_text(
        ' Path , Label ,Split,\r\n"im/1.png ",Cat,Train ,\r\n im/2.png,cat,TRAIN,\r\nim/3.png,Dog,valid,\r\n'
    )
    looked = look(tmp_path / "m.csv", tmp_path)
    assert looked.count("split") == {"train": 2, "val": 1}
    assert looked.images["pixels"].notna().all()


def test_an_excel_sheet_is_a_table(tmp_path: Path) -> None:
    put(tmp_path, "im/1.png", "im/2.png")
    rows = {"path": ["im/1.png", "im/2.png"], "label": [1, 2], "age": [None, 30]}
    pd.DataFrame(rows).to_excel(tmp_path / "m.xlsx", index=False)
    assert look(tmp_path / "m.xlsx", tmp_path).images["label"].tolist() == ["1", "2"]
    (tmp_path / "m.xlsx").write_bytes(b"PK no sheet")
    with pytest.raises(DatapropsError, match=r"m\.xlsx cannot be read as a table"):
        open_source(str(tmp_path / "m.xlsx")).scan()


def test_letters_that_macos_writes_apart_are_found(tmp_path: Path) -> None:
    put(tmp_path, "im/e\u0301.png", "im/2.png")
    (tmp_path / "m.csv").write_text("path,label\nim/\u00e9.png,a\nim/2.png,b\n", encoding="utf-8")
    looked = look(tmp_path / "m.csv", tmp_path)
    assert looked.images["pixels"].notna().all()


# 5. spellings


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["yes", "Yes ", "YES", "no"], 2),
        (["1", "1.0", "0"], 2),
        (["cyst", "cyst\u00a0", "\u200bcyst", "mass"], 2),
        (["grade 2", "Grade-2", "grade2", "grade 3"], 2),
        (["notumor", "no_tumor", "No Tumor", "tumor"], 2),
        (["True", "1", "false", "0"], 2),
        (["HER2-", "HER2+", "HER2 "], 3),
        (["I-II", "III", "1-2", "12", "a b", "ab"], 6),
    ],
)
def test_more_spellings(labels: list[str], classes: int) -> None:
    assert len(set(one_spelling(labels)[0])) == classes


# 6. several labels


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (["scab rust", "rust mildew", "scab", "rust", "mildew"], {"mildew": 2, "rust": 3, "scab": 2}),
        (["['a' 'b']", "['a']"], {"a": 2, "b": 1}),
        (["[0 1]", "[1]"], {"0": 1, "1": 2}),
        (["left lung", "right lung", "lung"], None),
        (["no finding", "finding"], None),
    ],
)
def test_more_ways_to_write_several_labels(labels: list[str], counts: dict | None) -> None:
    found = several(labels)
    assert (found and found.counts) == counts


def test_a_row_for_each_label_of_an_image(tmp_path: Path) -> None:
    put(tmp_path, *(f"{number}.png" for number in range(8)))
    rows = [
        (0, "a"),
        (0, "b"),
        (0, "a"),
        (1, "a"),
        (2, "b"),
        (2, "c"),
        (3, "a"),
        (3, "c"),
        *((n, "d") for n in range(4, 8)),
    ]
    text = "image_id,class_name,x\n" + "".join(f"{image},{label},{n}\n" for n, (image, label) in enumerate(rows))
    (tmp_path / "boxes.csv").write_text(text)
    looked = look(tmp_path / "boxes.csv", tmp_path)
    assert looked.images["label"].tolist() == ["a|b", "a", "b|c", "a|c", "d", "d", "d", "d"]
    assert (
        "3 of 8 images have several rows"
        in open_source(str(tmp_path / "boxes.csv")).scan().attrs["decisions"][-2]["why"]
    )
    (tmp_path / "one.csv").write_text("path,label\n" + "".join(f"{n}.png,a\n" for n in range(8)) + "0.png,b\n")
    with pytest.raises(DatapropsError, match="listed twice and differently"):  # one is a mistake
        open_source(str(tmp_path / "one.csv")).scan()


def test_arrays_of_one_hot_and_of_several_labels(tmp_path: Path) -> None:
    images = np.stack([picture(i) for i in range(6)])
    np.savez(tmp_path / "one.npz", x=images, y=np.eye(3)[np.arange(6) % 3])
    assert look(tmp_path / "one.npz", tmp_path).images["label"].tolist() == ["0", "1", "2"] * 2
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]] * 2)
    np.savez(tmp_path / "some.npz", train_images=images, train_labels=labels)
    looked = look(tmp_path / "some.npz", tmp_path)
    assert looked.images["label"].tolist() == ["0|2", "(none)", "1"] * 2
    assert "--label" in looked.decisions["labels"]["option"]
    one = look(tmp_path / "some.npz", tmp_path, label="1")
    assert one.count("label") == {"1": 2, "not 1": 4}


# 7. published tables


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("image,MEL,NV,BCC,sex\n0,1,0,0,1\n1,0,1,0,0\n2,0,0,1,1\n", ["MEL", "NV", "BCC"]),
        ("image,MEL,NV,BCC,biopsied\n0,1,0,0,1\n1,0,1,0,0\n2,0,0,1,1\n", ["MEL", "NV", "BCC"]),
        ("image,MEL,NV,BCC,pale\n0,1,0,0,1\n1,1,1,0,0\n2,0,0,1,1\n", ["MEL|pale", "MEL|NV", "BCC|pale"]),
        (
            "Path,No Finding,Edema,Mass\nim/0.png,1,,\nim/1.png,0,-1,1\nim/2.png,,1,1\n",
            ["No Finding", "Mass", "Edema|Mass"],
        ),
    ],
)
def test_one_hot_columns_beside_others(tmp_path: Path, text: str, labels: list[str]) -> None:
    put(tmp_path, *(f"im/{number}.png" for number in range(3)))
    (tmp_path / "truth.csv").write_text(text)
    assert look(tmp_path / "truth.csv", tmp_path).images["label"].tolist() == labels


def test_yolo_roboflow_and_arrays_with_their_labels_beside_them(tmp_path: Path) -> None:
    for number, names in enumerate(
        ("names: ['cat', 'dog']\n", "names:\n  0: cat\n  1: dog\n", "names:\n- cat\n- dog\n")
    ):
        root = tmp_path / f"yolo{number}"
        put(root, "images/train/1.jpg", "images/val/2.jpg", "images/val/3.jpg", kind="JPEG")
        for name, boxes in (("train/1", "1 .5 .5 .1 .1\n0 .1 .1 .1 .1\n"), ("val/2", "1 .5 .5 .1 .1\n"), ("val/3", "")):
            (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "labels" / f"{name}.txt").write_text(boxes)
        (root / "data.yaml").write_text(f"path: x\n{names}nc: 2\n")
        looked = look(root, tmp_path)
        assert looked.images["label"].tolist() == ["cat|dog", "dog", "(none)"]
        assert looked.count("split") == {"train": 1, "val": 2}
    put(tmp_path / "robo", "train/1.jpg", "valid/1.jpg", kind="JPEG")
    for folder, category in (("train", 1), ("valid", 2)):
        told = {
            "images": [{"id": 0, "file_name": "1.jpg"}],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [{"image_id": 0, "category_id": category}],
        }
        (tmp_path / "robo" / folder / "_annotations.coco.json").write_text(json.dumps(told))
    assert look(tmp_path / "robo", tmp_path).images["label"].tolist() == ["cat", "dog"]
    put(tmp_path / "csv", "train/1.jpg", "train/2.jpg", kind="JPEG")
    (tmp_path / "csv" / "train" / "_classes.csv").write_text("filename, cat, dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n")
    assert look(tmp_path / "csv", tmp_path).images["label"].tolist() == ["cat", "dog"]
    np.save(tmp_path / "x_train.npy", np.stack([picture(i) for i in range(4)]))
    np.save(tmp_path / "y_train.npy", np.arange(4) % 2)
    assert look(tmp_path / "x_train.npy", tmp_path).count("label") == {"0": 2, "1": 2}


def test_captions_beside_images_are_no_boxes(tmp_path: Path) -> None:
    put(tmp_path / "set", "images/1.jpg", "images/2.jpg", kind="JPEG")
    for number in "12":
        (tmp_path / "set" / "images" / f"{number}.txt").write_text("1 cat on a mat\n")
    assert look(tmp_path / "set", tmp_path).images["label"].isna().all()


# 9. links of a zip


def test_a_link_in_a_zip_is_the_image_that_it_leads_to(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number, name in enumerate(("train/A/1.png", "train/B/2.png")):
            archive.writestr(name, encoded(picture(number)))
        for name, target in (("test/A/3.png", "../../train/A/1.png"), ("test/B/4.png", "../../../elsewhere/2.png")):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, target)
    looked = look(tmp_path / "set.zip", tmp_path)
    assert looked.count("split") == {"train": 2, "test": 1}
    assert looked.images["pixels"].nunique() == 2
    assert looked.left_out == {"test/B/4.png": "link that leads out of the archive, or nowhere"}


# 10. WebDataset


def test_fields_of_json_beside_images(tmp_path: Path) -> None:
    files = {f"{i}.jpg": encoded(picture(i), "JPEG") for i in range(4)}
    told = {f"{i}.json": json.dumps({"class": i % 2, "patient_id": f"p{i // 2}"}).encode() for i in range(4)}
    looked = look(shard(tmp_path / "a.tar", files | told), tmp_path)
    assert looked.count("label") == {"0": 2, "1": 2}
    assert looked.count("group") == {"p0": 2, "p1": 2}
    none = {f"{i}.json": json.dumps({"width": 9, "url": "x"}).encode() for i in range(4)}
    missing = look(shard(tmp_path / "b.tar", files | none), tmp_path)
    assert missing.decisions["labels"]["why"] == "the .json beside the images hold width, url"


# 11. one id for everybody, in tables


def test_an_id_of_a_table_that_stands_for_everybody_is_no_patient(tmp_path: Path) -> None:
    put(tmp_path, *(f"im/{number:02d}.png" for number in range(24)))
    for ids, groups in (
        (["ANON"] * 24, {"-": 24}),
        (["p"] * 23 + ["q"], {"-": 23, "q": 1}),
        (["patient", "control"] * 12, {"patient": 12, "control": 12}),
        (["Unknown"] * 4 + [str(number // 2) for number in range(20)], {"-": 4, **{str(n): 2 for n in range(10)}}),
    ):
        table = pd.DataFrame(
            {"path": [f"im/{n:02d}.png" for n in range(24)], "label": ["a", "b"] * 12, "PatientID": ids}
        )
        table.to_csv(tmp_path / "m.csv", index=False)
        looked = look(tmp_path / "m.csv", tmp_path)
        assert looked.count("group") == groups
        told = looked.decisions.get("groups", {"why": ""})["why"]
        assert ("stands for everybody" in told) == ("-" in groups)
        kept = open_source(str(tmp_path / "m.csv"), SourceOptions(as_written=True)).scan()
        assert kept["group"].tolist() == ids


# experiments


def test_sets_of_an_experiment_know_how_sources_are_read(tmp_path: Path) -> None:
    options = {"include": ("a/*",), "exclude": ["*_x.png"], "layout": "*/class", "range": "12bit", "as_written": True}
    (dataset,) = experiment_from({"sources": ["scans/"], "preset": "quick", **options}).datasets
    config = dataset.audit(str(tmp_path), experiment_from({"sources": ["x"], "preset": "quick"}).settings)
    assert (config.include, config.exclude) == (("a/*",), ("*_x.png",))
    assert (config.layout, config.range, config.as_written) == ("*/class", "12bit", True)
    (tmp_path / "grid.toml").write_text(
        'preset = "quick"\n[[dataset]]\nsource = "x:"\nlayout = "class"\npatients = "study"\n'
    )
    (listed,) = experiment_from({"grid": str(tmp_path / "grid.toml")}).datasets
    assert (listed.layout, listed.patients) == ("class", "study")
    with pytest.raises(DatapropsError, match="as_written must be true or false"):
        experiment_from({"sources": ["x"], "as_written": "yes"})
