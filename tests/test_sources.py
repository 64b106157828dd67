"""Sources: what is listed, with which label, split and group, and what is said where that cannot be done."""

from __future__ import annotations

import math
import os
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources import SOURCES, SourceOptions, open_source
from dataprops.sources import manifest as manifests
from dataprops.sources.columns import binary_columns
from dataprops.sources.labels import label_values
from dataprops.sources.table import shown
from dataprops.util.cells import plain_cell


def touch(root: Path, *names: str) -> Path:
    """Files that hold their own name: a scan looks at names only."""
    for name in names:
        file = Path(os.fsdecode(os.fsencode(root) + b"/" + os.fsencode(name)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(name))
    return root


def listed(root: Path, *columns: str, **options: str) -> list[tuple]:
    table = open_source(str(root), SourceOptions(**options)).scan()
    return list(table[list(columns)].itertuples(index=False, name=None))


def test_class_folders_give_labels_and_deeper_folders_belong_to_their_class(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.JPG", "cat/a.png", "cat/site 1/x.tiff", "cat/B.webp", "dog/c.jpeg", "dog/d.bmp", "dog/e.TIF")
    assert listed(tmp_path, "path", "label", "split", "group") == [
        ("cat/B.webp", "cat", None, None),
        ("cat/a.png", "cat", None, None),
        ("cat/site 1/x.tiff", "cat", None, None),
        ("dog/b.JPG", "dog", None, None),
        ("dog/c.jpeg", "dog", None, None),
        ("dog/d.bmp", "dog", None, None),
        ("dog/e.TIF", "dog", None, None),
    ]


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("VAL", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("Dev", "val"),
        ("test", "test"),
        ("TESTING", "test"),
    ],
)
def test_split_folders_are_recognised_in_any_case(tmp_path: Path, folder: str, split: str) -> None:
    touch(tmp_path, f"{folder}/cat/a.png", f"{folder}/dog/deep/b.png")
    assert listed(tmp_path, "label", "split") == [("cat", split), ("dog", split)]


def test_splits_are_classes_unless_every_folder_with_images_is_one(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "bus/b.png")
    assert listed(tmp_path, "label", "split") == [("bus", None), ("train", None)]


def test_a_folder_without_images_does_not_hide_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "test/cat/b.png", "docs/readme.txt", "c.png")
    assert listed(tmp_path, "path", "label", "split") == [
        ("c.png", None, None),
        ("test/cat/b.png", "cat", "test"),
        ("train/cat/a.png", "cat", "train"),
    ]


def test_splits_without_classes_are_unlabelled_and_not_two_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.png", "test/b.png")
    assert listed(tmp_path, "label", "split") == [(None, "test"), (None, "train")]


def test_what_is_left_out_is_listed(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "cat/notes.txt", ".git/x.png", "cat/.hidden.png", "cat/noextension")
    (tmp_path / "dog").mkdir()
    table = open_source(str(tmp_path)).scan()
    assert table["path"].tolist() == ["cat/a.png"]
    assert table.attrs["ignored"] == [".git", "cat/.hidden.png", "cat/noextension", "cat/notes.txt"]
    assert table.attrs["empty_classes"] == ["dog"]


def test_empty_classes_of_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "test/cat/b.png", "test/dog/readme.txt")
    assert open_source(str(tmp_path)).scan().attrs["empty_classes"] == ["test/dog"]


def test_link_loops_end_and_a_real_folder_goes_before_a_link_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "z_real/a.png", "z_real/deep/b.png")
    (tmp_path / "z_real" / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "z_real" / "self").symlink_to("self")
    (tmp_path / "a_link").symlink_to("z_real")
    table = open_source(str(tmp_path)).scan()
    assert table["path"].tolist() == ["z_real/a.png", "z_real/deep/b.png"]
    assert table.attrs["ignored"] == ["a_link", "z_real/deep/up", "z_real/self"]


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path: Path) -> None:
    outside = touch(tmp_path / "outside", "a.png")
    root = touch(tmp_path / "set", "dog/b.png")
    (root / "cat").symlink_to(outside)
    (root / "dog" / "c.png").symlink_to(outside / "a.png")
    assert listed(root, "path", "label") == [("cat/a.png", "cat"), ("dog/b.png", "dog"), ("dog/c.png", "dog")]


def test_a_manifest_may_name_pictures_outside_of_its_folder(tmp_path: Path) -> None:
    touch(tmp_path, "away/a.png", "lists/b.png")
    names = ["../away/a.png", str(tmp_path / "away/a.png"), "b.png"]
    pd.DataFrame({"path": names, "label": ["x", "y", "x"]}).to_csv(tmp_path / "lists/set.csv", index=False)
    source = open_source(str(tmp_path / "lists/set.csv"))
    keys = source.scan()["key"].tolist()
    assert sorted(keys) == sorted(names)
    assert all(source.read(key) for key in keys)


def test_names_in_two_forms_of_unicode_are_one(tmp_path: Path) -> None:
    """An é of one character and one of two: a class (told), a patient, a split, and the file that a list names."""
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    touch(tmp_path, f"caf{two}/0.png", f"caf{two}/1.png", f"caf{one}/2.png")
    named = [f"caf{one}/0.png", f"caf{two}/1.png", f"caf{one}/2.png"]
    rows = {"path": named, "label": [f"th{one}", f"th{two}", "x"], "patient": [f"Ren{one}", f"Ren{two}", "b"]}
    pd.DataFrame(rows | {"split": [f"{two}1", f"{one}1", "test"]}).to_csv(tmp_path / "set.csv", index=False)
    source = open_source(str(tmp_path / "set.csv"))
    table = source.scan().sort_values("path")
    assert all(source.read(key) for key in table["key"])
    assert [table[name].nunique() for name in ("path", "label", "group", "split")] == [3, 2, 2, 2]
    assert "spelling" in [decision["what"] for decision in table.attrs["decisions"]]


def test_links_that_lead_nowhere_are_images_that_cannot_be_read_and_pipes_are_none(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "cat" / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    source = open_source(str(tmp_path))
    table = source.scan()
    assert table["path"].tolist() == ["cat/a.png", "cat/gone.png", "cat/self.png"]
    assert table.attrs["ignored"] == ["cat/pipe.png"]
    for key in ("cat/gone.png", "cat/self.png"):
        with pytest.raises(OSError, match=r"gone|self"):
            source.read(key)


def test_odd_names_are_read_and_shown_as_text_that_parquet_can_hold(tmp_path: Path) -> None:
    names = [
        "c t/with space.png",
        "c t/new\nline.png",
        "c t/new\\nline.png",
        os.fsdecode(b"caf\xe9/\xff.png"),
        "日本/é.png",
    ]
    touch(tmp_path, *names)
    source = open_source(str(tmp_path))
    table = source.scan()
    assert sorted(table["path"]) == sorted(
        ["c t/with space.png", r"c t/new\nline.png", r"c t/new\\nline.png", r"caf\xe9/\xff.png", "日本/é.png"]
    )
    assert set(table["label"]) == {"c t", r"caf\xe9", "日本"}
    for key in table["key"]:
        assert source.read(key) == os.fsencode(key)
    pa.table({"path": pa.array(table["path"]), "label": pa.array(table["label"])})


@given(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=12))
def test_two_names_are_never_shown_alike(a: bytes, b: bytes) -> None:
    shown_a, shown_b = shown(os.fsdecode(a)), shown(os.fsdecode(b))
    assert (shown_a == shown_b) == (a == b)
    assert "\n" not in shown_a
    shown_a.encode("utf-8")


def test_order_is_that_of_the_bytes_of_the_path(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.png", "B/2.png", "a b/3.png", "a/4.png", "é/5.png", "b/10.png")
    paths = open_source(str(tmp_path)).scan()["path"].tolist()
    assert paths == sorted(paths, key=lambda path: path.encode())


@pytest.mark.parametrize("pattern", [r"/(\w+?)_", r"(?:a|b)/(?P<group>[^_]+)_", r"(x)?/(?P<group>\w+?)_"])
def test_group_pattern_finds_the_patient(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "a/p1_1.png", "a/p1_2.png", "b/p22_1.png", "b/unknown.png")
    assert listed(tmp_path, "group", group_pattern=pattern) == [("p1",), ("p1",), ("p22",), (None,)]


@pytest.mark.parametrize("what", ["group", "label"])
def test_a_pattern_that_matches_no_path_is_refused_and_one_that_matches_some_says_how_many(
    tmp_path: Path, what
) -> None:
    touch(tmp_path, "a/p1_1.png", "a/p1_2.png", "b/unknown.png")
    with pytest.raises(
        DatapropsError, match=rf"--{what}-pattern '/\(P\\\\d\+\)_' matches none of 3 paths, such as a/p1_1.png"
    ):
        listed(tmp_path, "path", **{f"{what}_pattern": r"/(P\d+)_"})
    options = SourceOptions(**{f"{what}_pattern": r"/(p\d+)_"})
    told = {one["what"]: one["value"] for one in open_source(str(tmp_path), options).scan().attrs["decisions"]}
    assert told[f"{what}s"] == {"group": "of 2 of 3 images", "label": "2 from paths"}[what]


@pytest.mark.parametrize(("pattern", "word"), [("(", "regular expression"), ("p1", r"has no capture group")])
def test_a_bad_group_pattern_is_named(tmp_path: Path, pattern: str, word: str) -> None:
    touch(tmp_path, "a/p1_1.png")
    with pytest.raises(DatapropsError, match=word):
        listed(tmp_path, "group", group_pattern=pattern)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{0}/missing", ["does not exist", "missing"]),
        ("{0}/empty", ["holds no images", "empty", "png"]),
        ("{0}/texts", ["holds no images", "files of other kinds (1), such as a.txt"]),
        ("{0}/records", ["holds no images", "a.tfrecord and others: TensorFlow records; write them out as files"]),
        ("{0}/cifar100", ["holds no images", "files of other kinds (2), such as meta"]),
        ("{0}/idx", ["holds no images", "give it as mnist:{0}/idx"]),
        ("{0}/batches", ["holds no images", "give it as cifar10:{0}/batches"]),
        ("{0}/texts/a.txt", ["single file", "a.txt"]),
        ("digts:", ["unknown source 'digts'", "did you mean digits:", "folder, manifest, digits"]),
        ("zzz:where", ["unknown source 'zzz'", "folder, manifest, digits"]),
        ("~nobody-of-this-name/x", ["does not exist"]),
    ],
)
def test_what_cannot_be_opened_is_told_with_the_way_out(tmp_path: Path, spec: str, words: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "records/a.tfrecord", "records/b.tfrecord", "cifar100/meta", "cifar100/train", "cifar100/.DS_Store")
    touch(tmp_path, "texts/a.txt", "idx/train-images-idx3-ubyte", "batches/cifar-10-batches-py/data_batch_1")
    with pytest.raises(DatapropsError) as error:
        open_source(spec.format(tmp_path)).scan()
    for word in words:
        assert word.format(tmp_path) in str(error.value)


def test_an_open_source_is_plain_text_that_can_travel(tmp_path: Path) -> None:
    source = open_source(str(touch(tmp_path, "a/1.png")))
    assert all(isinstance(value, str) for value in (source.kind, source.location))
    assert all(value is None or isinstance(value, str | bool | tuple) for value in vars(source.options).values())
    assert source.options.rules == ()
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 - written a moment ago


def test_a_new_source_plugs_in_as_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "twice", SOURCES["digits"])
    assert len(open_source("twice:").scan()) == 1797


def test_digits_are_scikit_learns_on_the_full_range() -> None:
    from sklearn.datasets import load_digits

    source = open_source("digits:")
    table = source.scan()
    digits = load_digits()
    assert len(table) == 1797
    assert sorted(set(table["label"])) == [str(digit) for digit in range(10)]
    for key, label in zip(table["key"][::97], table["label"][::97], strict=True):
        number = int(key.split("/")[1])
        image = source.read(key)
        assert isinstance(image, RawImage)
        assert str(digits.target[number]) == label
        np.testing.assert_array_equal(image.pixels, np.floor(digits.images[number] * 255 / 16 + 0.5))
    assert source.file(table["key"][0]) is None


# manifests


def manifest(tmp_path: Path, text: str, name: str = "set.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_manifest_keeps_labels_as_text_and_paths_beside_it(tmp_path: Path) -> None:
    touch(tmp_path, "im/a.png", "im/b.png")
    path = manifest(tmp_path, "path,label,split,group\nim/b.png,007,Training,p1\nim/a.png,NA,holdout,\n")
    assert listed(path, "path", "label", "split", "group") == [
        ("im/a.png", "NA", "holdout", None),
        ("im/b.png", "007", "train", "p1"),
    ]
    source = open_source(str(path))
    assert source.read("im/a.png") == b"im/a.png"
    assert source.read(str(tmp_path / "im" / "b.png")) == b"im/b.png"


def test_a_manifest_of_numbers_keeps_them_as_they_are_written(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,label,group\n001,007,0012\n002,10,1e3\n")
    assert listed(path, "path", "label", "group") == [("001", "007", "0012"), ("002", "10", "1e3")]


def test_a_manifest_of_thousands_of_columns_is_not_looked_at_cell_by_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(manifests, "plain_cell", lambda cell: (seen.append(cell), plain_cell(cell))[1])
    columns = {"image": [f"{row}.png" for row in range(40)], "note": ["'=1+1", *"x" * 39], "label": ["a", "b"] * 20}
    columns |= {f"f{k}": [f"{row + k / 7:.3f}" for row in range(40)] for k in range(3000)}
    columns |= {"is_test": ["0", "1", "", "1"] * 10, "odd": ["-1", "1"] * 20}
    pd.DataFrame(columns).to_csv(tmp_path / "set.csv", index=False)
    touch(tmp_path, *columns["image"])
    table = open_source(str(tmp_path / "set.csv")).scan()
    assert table["split"].value_counts().to_dict() == {"test": 20, "train": 10}
    assert table["label"].value_counts().to_dict() == {"a": 20, "b": 20}
    assert seen == columns["note"]
    said = table.attrs["described"]
    assert said["note"]["0.png"] == "=1+1"
    assert len(said) == 50
    assert table.head().attrs["described"] is said  # pandas copies attributes with every operation, these are many
    names, of = table.attrs["unused_columns"]
    assert (len(names), of) == (3002, 3005)


def test_columns_of_marks_are_those_of_two_values_and_uncertainty_or_of_an_x_and_blanks() -> None:
    columns = {
        "both": ["0", "1", None],
        "uncertain": ["-1", "1.0", "0"],
        "never": ["-1", "-1", "-1.0"],
        "x": ["X", None, " x"],
        "all x": ["x", "X", "x"],
        "two": ["0", "1", "2"],
        "mixed": ["x", "0", None],
        "empty": [None, None, None],
        "words": ["True", "false", "true"],
    }
    assert binary_columns(pd.DataFrame(columns)) == ["both", "uncertain", "x", "words"]


def test_missing_values_are_none_beside_given_ones(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,label,split,group\na.png,cat,train,\nb.png,,,p\n")
    table = open_source(str(path)).scan()
    assert table["label"].tolist()[0] == "cat"
    for column, row in (("label", 1), ("split", 1), ("group", 0)):
        assert table[column].tolist()[row] is None
    assert label_values(table["label"].tolist())[0] == "classes"


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    path = manifest(tmp_path, "\ufefffile;x,finding,fold,patient\na.png,yes,test,p9\n")
    names = {"path_column": "file;x", "label_column": "finding", "split_column": "fold", "group_column": "patient"}
    assert listed(path, "path", "label", "split", "group", **names) == [("a.png", "yes", "test", "p9")]


def test_parquet_manifests_keep_whole_numbers_whole_where_one_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"path": ["a", "b", "c"], "label": pa.array([3, None, 10], pa.int64())}), path)
    assert listed(path, "path", "label") == [("a", "3"), ("b", None), ("c", "10")]
    pd.DataFrame({"path": ["a", "b"], "label": [0.5, 2.0]}).to_parquet(path)
    assert listed(path, "label") == [("0.5",), ("2.0",)]


def test_equal_rows_are_kept_once_and_counted(tmp_path: Path) -> None:
    table = open_source(str(manifest(tmp_path, "path,label\na,x\nb,\na,x\nb,\n"))).scan()
    assert table["path"].tolist() == ["a", "b"]
    assert table.attrs["repeated_rows"] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["set.csv", "cannot be read"]),
        ("path,label\n", ["set.csv", "no images"]),
        ("file,label\na,b\n", ["set.csv", "'path'", "file, label", "--path-column"]),
        ("path,kind\na,b\n", ["set.csv", "'label'", "--label-column"]),
        ("path,label\na,x\nb,y\na,y\n", ["set.csv", "rows 1 and 3", "'a'"]),
        ("path,label\na,x\n,y\n", ["set.csv", "row 2", "'path'"]),
        ("path,label\na,x,1\nb,y,2\n", ["set.csv", "more values than its header"]),
        ("path,label\na,x\nb,y,2\n", ["set.csv", "cannot be read"]),
    ],
)
def test_an_unusable_manifest_names_file_column_and_row(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(DatapropsError) as error:
        open_source(str(manifest(tmp_path, text))).scan()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["set.csv", "set.parquet"])
def test_a_manifest_of_other_bytes_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(DatapropsError, match=name):
        open_source(str(tmp_path / name)).scan()


def test_a_listed_file_that_is_missing_stays_and_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    source = open_source(str(manifest(tmp_path, "path,label\ngone.png,x\nfolder.png,x\npipe.png,y\nnul\0.png,y\n")))
    keys = source.scan()["key"].tolist()
    assert len(keys) == 4
    for key in keys:
        with pytest.raises(OSError, match=r"No such file|not a file"):
            source.read(key)


# labels


@pytest.mark.parametrize(
    ("labels", "kind", "classes", "y"),
    [
        (["b", "a", "b"], "classes", ["a", "b"], [1, 0, 1]),
        (["10", "9", "2"], "classes", ["2", "9", "10"], [2, 1, 0]),
        (["10", "9", "x"], "classes", ["10", "9", "x"], [0, 1, 2]),
        (["0.5", "2", None], "numbers", [], [0.5, 2, math.nan]),
        (["0.5", "inf"], "classes", ["0.5", "inf"], [0, 1]),
        (["0.5", "n/a"], "classes", ["0.5", "n/a"], [0, 1]),
        (["1_5", "2.5"], "classes", ["1_5", "2.5"], [0, 1]),
        (["1.0", "1"], "classes", ["1", "1.0"], [1, 0]),
        ([None, "x"], "classes", ["x"], [math.nan, 0]),
        ([None, None], "none", [], [math.nan, math.nan]),
        ([], "none", [], []),
    ],
)
def test_kinds_of_labels(labels: list, kind: str, classes: list[str], y: list[float]) -> None:
    got_kind, got_y, got_classes = label_values(labels)
    assert (got_kind, got_classes) == (kind, classes)
    np.testing.assert_array_equal(got_y, np.array(y, float))
    assert got_y.dtype == np.float64


def test_the_kind_can_be_asked_for() -> None:
    assert label_values(["0.5", "2"], "classes")[0] == "classes"
    kind, y, _ = label_values(["3", None, "-1"], "numbers")
    assert kind == "numbers"
    np.testing.assert_array_equal(y, [3, math.nan, -1])
    with pytest.raises(DatapropsError, match=r"'severe' \(of im/b.png\)"):
        label_values(["1", "severe", "severe"], "numbers", ["im/a.png", "im/b.png", "im/c.png"])


labels_st = st.lists(st.none() | st.text(max_size=4) | st.integers(-20, 20).map(str), max_size=30)


@given(labels_st)
def test_class_codes_lead_back_to_the_labels(labels: list[str | None]) -> None:
    kind, y, classes = label_values(labels, "classes")
    assert len(y) == len(labels)
    assert len(set(classes)) == len(classes)
    assert kind == ("classes" if classes else "none")
    assert [None if math.isnan(code) else classes[int(code)] for code in y] == labels


@given(labels_st, st.randoms(use_true_random=False))
def test_codes_do_not_depend_on_the_order_of_the_images(labels: list[str | None], random) -> None:
    order = list(range(len(labels)))
    random.shuffle(order)
    kind, y, classes = label_values(labels)
    assert (kind, classes) == label_values([labels[i] for i in order])[::2]
    np.testing.assert_array_equal(label_values([labels[i] for i in order])[1], y[order])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_come_back_exactly(values: list[float]) -> None:
    kind, y, classes = label_values([repr(value) for value in values], "numbers")
    assert (kind, classes) == ("numbers", [])
    np.testing.assert_array_equal(y, values)


# real data


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("brain_mri_yesno", {"no_tumor": 98, "tumor": 155}),
        ("covid_cxr3", {"covid19": 124, "no_findings": 300, "pneumonia": 300}),
    ],
)
def test_real_folders_are_listed_whole(real_data, name: str, counts: dict[str, int]) -> None:
    table = open_source(str(real_data(name)), SourceOptions(group_pattern=r"[^/]+/(.{8})")).scan()
    assert table["label"].value_counts().sort_index().to_dict() == counts
    assert table.attrs["empty_classes"] == []
    assert table["group"].notna().mean() > 0.9 if name == "covid_cxr3" else True
