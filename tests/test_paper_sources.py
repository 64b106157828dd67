"""The eleven datasets of the paper, each from tiny files in the published layout: labels by every rule, splits, patients."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from dataprops.audit import audit
from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources import SOURCES, OpenSource, SourceOptions, open_source
from dataprops.sources.paper import READERS
from dataprops.sources.paper.unpickle import load_arrays
from dataprops.util.cache import FileCache
from tests import make_paper
from tests.make_paper import WNIDS, png, put, put_csv, put_images


def opened(name: str, root: Path, *rules: str) -> OpenSource:
    return open_source(f"{name}:{root}", SourceOptions(rules=rules))


def listed(name: str, root: Path, *rules: str, columns: tuple[str, ...] = ("path", "label", "split", "group")) -> list:
    table = opened(name, root, *rules).scan()
    return list(table[list(columns)].itertuples(index=False, name=None))


def labels(name: str, root: Path, *rules: str) -> dict[str, str]:
    return dict(listed(name, root, *rules, columns=("path", "label")))


def pixels_of(source: OpenSource, key: str) -> np.ndarray:
    image = source.read(key)
    assert isinstance(image, RawImage)
    assert (image.height, image.width) == image.pixels.shape[:2]
    return image.pixels


# what holds for all


def test_the_eleven_and_two_more_are_sources_that_can_travel() -> None:
    names = [
        "mnist",
        "cifar10",
        "cifar100",
        "stl10",
        "svhn",
        "imagenet",
        "brats",
        "dbc",
        "oai",
        "chexpert",
        "mura",
        "rsna",
        "prostate",
    ]
    assert set(READERS) == set(names)
    for name in names:
        assert {"split", "classes", "subset", "subset-seed"} <= set(SOURCES[name].rules)
        source = open_source(f"{name}:somewhere", SourceOptions(rules=("subset=4",)))
        assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 - written a moment ago


@pytest.mark.parametrize(
    ("name", "there", "words"),
    [
        ("mnist", [], ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]),
        ("mnist", ["t10k-images-idx3-ubyte"], ["t10k-labels-idx1-ubyte;"]),
        ("cifar10", [], ["data_batch_1;", "cifar-10-batches-py"]),
        ("cifar100", [], ["train.bin;", "cifar-100-python"]),
        ("stl10", ["readme.txt"], ["train_X.bin;", "stl10_binary"]),
        ("svhn", ["readme.txt"], ["train_32x32.mat;"]),
        ("imagenet", [], ["/train;", "CLS-LOC"]),
        ("imagenet", ["train/cats/a.JPEG"], ["train/n01440764;"]),
        ("imagenet", ["train/n01440764/a.JPEG", "val/b.JPEG"], ["LOC_val_solution.csv;"]),
        ("brats", ["readme.txt"], ["*_seg.nii.gz", "BraTS2021_00000"]),
        ("brats", ["a/a_flair.nii.gz"], ["its *_seg.nii.gz"]),
        ("dbc", [], ["Annotation_Boxes.csv;", "Breast-Cancer-MRI-filepath_filename-mapping"]),
        ("dbc", ["Annotation_Boxes.csv"], ["Breast-Cancer-MRI-filepath_filename-mapping.csv;"]),
        ("oai", ["readme.txt"], ["/0;", "KL0"]),
        ("chexpert", ["valid.csv"], ["train.csv;", "patient00001"]),
        ("chexpert", ["train.csv"], ["/train;"]),
        ("mura", [], ["/train;", "XR_ELBOW"]),
        ("mura", ["train/XR_ELBOW/patient00001/study1/a.png"], ["study*_positive", "XR_ELBOW"]),
        ("rsna", [], ["stage_2_train.csv;"]),
        ("rsna", ["stage_2_train.csv"], ["stage_2_train;"]),
        ("prostate", [], ["Target*Data*.csv;", "series UID"]),
        ("prostate", ["Target Data_2019-12-05.csv"], ["Prostate-MRI-US-Biopsy;"]),
    ],
)
def test_a_wrong_tree_is_told_by_the_first_thing_missing(tmp_path: Path, name: str, there: list, words: list) -> None:
    for file in there:
        put(tmp_path, file, b"")
    with pytest.raises(DatapropsError) as error:
        opened(name, tmp_path).scan()
    for word in (f"{name}: there is no", "expected:", "PATH/", *words):
        assert word in str(error.value)


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatapropsError, match=rf"{name}: there is no .*gone"):
        opened(name, tmp_path / "gone").scan()


# the choice of images


def grades(root: Path, counts: dict[str, int]) -> Path:
    for grade, count in counts.items():
        for number in range(count):
            put(root, f"{grade}/9{number:06d}L.png", png(number))
    return root


def test_a_subset_is_balanced_nested_and_by_seed(tmp_path: Path) -> None:
    grades(tmp_path, {"0": 30, "2": 10, "3": 8})

    def draw(*rules):
        return labels("oai", tmp_path, "label=grade", *rules)

    drawn = draw("subset=9")
    assert sorted(drawn.values()) == ["0"] * 3 + ["2"] * 3 + ["3"] * 3
    assert drawn == draw("subset=9", "subset-seed=0")
    assert set(drawn) < set(draw("subset=15"))
    assert drawn != draw("subset=9", "subset-seed=1")
    assert sorted(draw("subset=8").values()) == ["0"] * 3 + ["2"] * 3 + ["3"] * 2
    # which images of a class are drawn does not depend on the other classes
    assert {path for path in drawn if path[0] in "02"} == set(draw("classes=0,2", "subset=6"))


def test_two_random_classes_by_seed(tmp_path: Path) -> None:
    grades(tmp_path, {str(grade): 2 for grade in range(5)})
    pairs = [
        tuple(sorted(set(labels("oai", tmp_path, "label=grade", "classes=random", f"subset-seed={seed}").values())))
        for seed in range(20)
    ]
    assert {len(pair) for pair in pairs} == {2}
    assert len(set(pairs)) >= 5
    assert pairs[3] == tuple(
        sorted(set(labels("oai", tmp_path, "label=grade", "classes=random", "subset-seed=3").values()))
    )


def test_what_was_chosen_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    grades(tmp_path, {"0": 5, "1": 5, "2": 5})
    with caplog.at_level("INFO"):
        table = opened("oai", tmp_path, "label=grade", "classes=2,0", "subset=4", "subset-seed=7").scan()
    assert table.attrs["chosen"] == {
        "classes": "2,0",
        "subset": "4",
        "subset-seed": "7",
        "images": 4,
        "of": 15,
        "labels": ("2", "0"),
    }
    assert "4 of 15 images by the rules classes=2,0, subset=4, subset-seed=7" in caplog.text
    assert table.index.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (("classes=0,9",), ["'classes'", "'9'", "0, 1, 2"]),
        (("subset=40",), ["'subset'", "14 of the class '0', which has 5", "15 at most"]),
        (("subset=2",), ["'subset'", "at least 3"]),
        (("subset=many",), ["'subset'", "'many'", "whole number"]),
        (("subset-seed=-1",), ["'subset-seed'", "whole number"]),
        (("split=test",), ["'split'", "'test'", "none"]),
        (("colour=red",), ["no rule 'colour'", "label", "subset-seed"]),
        (("label=kl",), ["'label'", "osteoarthritis, grade"]),
        (("classes=0", "classes=random"), []),  # the last one counts
    ],
)
def test_wrong_rules_are_named(tmp_path: Path, rules: tuple[str, ...], words: list[str]) -> None:
    grades(tmp_path, {"0": 5, "1": 5, "2": 5})
    rules = rules if any(rule.startswith("label") for rule in rules) else ("label=grade", *rules)
    if not words:
        assert len(set(labels("oai", tmp_path, *rules).values())) == 2
        return
    with pytest.raises(DatapropsError) as error:
        opened("oai", tmp_path, *rules).scan()
    for word in words:
        assert word in str(error.value)


def test_one_class_alone_gives_no_random_pair(tmp_path: Path) -> None:
    grades(tmp_path, {"0": 2})
    with pytest.raises(DatapropsError, match="only one class"):
        opened("oai", tmp_path, "label=grade", "classes=random").scan()


# what a process keeps


def test_held_values_load_once_in_threads_and_are_bounded(tmp_path: Path) -> None:
    files = [put(tmp_path, str(number), bytes([number])) for number in range(4)]
    loads: list[str] = []

    def load(file: Path) -> tuple[bytes, int]:
        loads.append(file.name)
        return file.read_bytes(), 40_000

    held: FileCache[bytes] = FileCache(limit=100_000)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: held.get(files[0], load), range(64))) == {b"\0"}
    assert loads == ["0"]
    for file in (*files[1:3], files[0]):  # two fit: 0 was given up
        held.get(file, load)
    assert loads == ["0", "1", "2", "0"]
    held.get(files[2], load)
    assert len(loads) == 4
    put(tmp_path, "2", b"changed")
    assert held.get(files[2], load) == b"changed"


def test_held_failures_are_not_tried_again(tmp_path: Path) -> None:
    file = put(tmp_path, "a", b"x")
    tries = []

    def load(path: Path) -> tuple[bytes, int]:
        tries.append(path)
        raise OSError(5, "is damaged")

    held: FileCache[bytes] = FileCache()
    for _ in range(3):
        with pytest.raises(OSError, match="is damaged") as error:
            held.get(file, load)
        assert error.value.strerror == "is damaged"
    assert len(tries) == 1


# MNIST


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
def test_mnist(tmp_path: Path, compressed: bool, inside: str) -> None:
    made = make_paper.mnist(tmp_path / inside, {"train": 23, "t10k": 11}, compressed=compressed)
    source = opened("mnist", tmp_path)
    table = source.scan()
    assert table["key"].tolist() == [f"test/{n:05d}" for n in range(11)] + [f"train/{n:05d}" for n in range(23)]
    assert table["split"].value_counts().to_dict() == {"train": 23, "test": 11}
    for key, label in zip(table["key"], table["label"], strict=True):
        pixels, digits = made["train" if key.startswith("train") else "t10k"]
        assert label == str(digits[int(key[-5:])])
        np.testing.assert_array_equal(pixels_of(source, key), pixels[int(key[-5:])])
    assert set(labels("mnist", tmp_path, "split=test", "classes=3,7").values()) == {"3", "7"}


def test_mnist_reads_the_same_from_many_threads(tmp_path: Path) -> None:
    made = make_paper.mnist(tmp_path, {"train": 200}, compressed=True)
    source = opened("mnist", tmp_path)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: pixels_of(source, f"train/{number:05d}"), range(200)))
    np.testing.assert_array_equal(np.stack(got), made["train"][0])


@pytest.mark.parametrize("compressed", [True, False])
def test_mnist_cut_off_leaves_the_images_before_the_cut(tmp_path: Path, compressed: bool) -> None:
    made = make_paper.mnist(tmp_path, {"train": 40}, compressed=compressed)
    file = next(tmp_path.glob("train-images*"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    source = opened("mnist", tmp_path)
    assert len(source.scan()) == 40
    np.testing.assert_array_equal(pixels_of(source, "train/00003"), made["train"][0][3])
    with pytest.raises(OSError, match=r"is cut off after (18|19|20) of 40 images"):
        source.read("train/00039")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("train-labels-idx1-ubyte", make_paper.idx(np.zeros(9, np.uint8)), ["10 images", "9 labels"]),
        ("train-labels-idx1-ubyte", make_paper.idx(np.zeros(10, np.uint8))[:-3], ["cut off after 7 of 10 labels"]),
        ("train-labels-idx1-ubyte", make_paper.idx(np.zeros((10, 1), np.uint8)), ["has 2 axes; expected 1"]),
        ("train-labels-idx1-ubyte", b"", ["not an idx file"]),
        ("train-images-idx3-ubyte", b"\x89PNG not at all idx", ["not an idx file"]),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0", ["not an idx file"]),
        ("train-images-idx3-ubyte", make_paper.idx(np.zeros((10, 0, 28), np.uint8)), ["0 x 28 pixels"]),
    ],
)
def test_mnist_files_that_do_not_fit_are_named(tmp_path: Path, name: str, data: bytes, words: list[str]) -> None:
    make_paper.mnist(tmp_path, {"train": 10}, compressed=False)
    put(tmp_path, name, data)
    with pytest.raises(DatapropsError) as error:
        opened("mnist", tmp_path).scan()
    for word in (name, *words):
        assert word in str(error.value)


def test_mnist_of_a_damaged_archive_is_named(tmp_path: Path) -> None:
    make_paper.mnist(tmp_path, {"train": 10}, compressed=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    data = bytearray(file.read_bytes())
    data[-8] ^= 255  # the checksum
    file.write_bytes(data)
    with pytest.raises(DatapropsError, match=r"train-images-idx3-ubyte\.gz.*damaged"):
        opened("mnist", tmp_path).scan()


def independent_idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    dimensions = struct.unpack_from(f">{raw[3]}I", raw, 4)
    return np.frombuffer(raw, ">u1", offset=4 + 4 * raw[3]).reshape(dimensions)


def test_the_real_mnist(real_data, tmp_path: Path) -> None:
    root = real_data("mnist")
    source = opened("mnist", root)
    table = source.scan()
    assert table["split"].value_counts().to_dict() == {"train": 60_000, "test": 10_000}
    for split, name in (("train", "train"), ("test", "t10k")):
        pixels = independent_idx(root / f"{name}-images-idx3-ubyte.gz")
        digits = independent_idx(root / f"{name}-labels-idx1-ubyte.gz")
        part = table[table["split"] == split]
        assert part["label"].tolist() == [str(digit) for digit in digits.tolist()]
        for number in range(0, len(pixels), 997):
            np.testing.assert_array_equal(pixels_of(source, f"{split}/{number:05d}"), pixels[number])

    rules = ("classes=3,8", "split=train", "subset=200", "subset-seed=1")
    summary = audit(
        f"mnist:{root}", store=str(tmp_path), size=28, rules=rules, estimators=("mle",), sample=100, probe=False
    )
    assert summary["n_images"] == 200
    assert summary["labels"]["classes"] == {"3": 100, "8": 100}
    # threes and eights differ, and are no noise: Levina and Bickel find about a dozen dimensions in MNIST's digits
    assert 5 < summary["intrinsic_dimension"]["mle"]["value"] < 20


# CIFAR-10


@pytest.mark.parametrize("kind", ["python2", "python3", "binary"])
def test_cifar10(tmp_path: Path, kind: str) -> None:
    made = make_paper.cifar(tmp_path, 12, kind)
    source = opened("cifar10", tmp_path)
    table = source.scan()
    assert table["split"].value_counts().to_dict() == {"train": 60, "test": 12}
    for key, label in zip(table["key"], table["label"], strict=True):
        split, batch, number = key.split("/")
        assert split == ("test" if batch == "test_batch" else "train")
        data, codes = made[batch]
        assert label == make_paper.CIFAR[codes[int(number)]]
        # a row is the red plane, the green one, the blue one
        np.testing.assert_array_equal(pixels_of(source, key)[5, 9], data[int(number)].reshape(3, 1024)[:, 5 * 32 + 9])
    inner = next(tmp_path.iterdir())
    assert len(opened("cifar10", inner).scan()) == 72


def test_cifar10_has_the_names_of_its_own_table(tmp_path: Path) -> None:
    make_paper.cifar(tmp_path, 10, "python2")
    names = [f"class{number}" for number in range(10)]
    put(tmp_path, "cifar-10-batches-py/batches.meta", pickle.dumps({"label_names": names}, protocol=2))
    assert set(labels("cifar10", tmp_path).values()) == set(names)
    put(tmp_path, "cifar-10-batches-py/batches.meta", b"\x80\x02cos\nsystem\n")
    assert set(labels("cifar10", tmp_path).values()) == set(make_paper.CIFAR)


class Attack:
    def __init__(self, call, *arguments) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_runs_nothing_and_is_a_finding(tmp_path: Path, protocol: int) -> None:
    make_paper.cifar(tmp_path / "set", 4, "python3")
    mark = tmp_path / "mark"
    attack = pickle.dumps({"labels": [], "data": Attack(os.system, f"touch {mark}")}, protocol=protocol)
    put(tmp_path, "set/cifar-10-batches-py/data_batch_2", attack)
    source = opened("cifar10", tmp_path / "set", "classes=airplane,bird")
    table = source.scan()
    assert not mark.exists()
    # it stays, though classes are chosen
    assert table["key"][table["label"].isna()].tolist() == ["train/data_batch_2"]
    with pytest.raises(OSError, match=r"system, which plain data do not need: nothing was run"):
        source.read("train/data_batch_2")
    assert not mark.exists()
    # the same pickle does run where it is let: the test has teeth
    pickle.loads(attack)  # noqa: S301
    assert mark.exists()


@pytest.mark.parametrize(
    "attack",
    [
        Attack(eval, "1"),
        Attack(np.memmap, "/etc/hostname"),
        Attack(np.load, "x.npy"),
        Attack(getattr, "x", "upper"),
        Attack(np.ndarray, (10**6,)),
        np.array([print], dtype=object),
        np.float64(1),
        Path("x"),
        1 + 2j,
    ],
    ids=lambda attack: getattr(getattr(attack, "call", None), "__qualname__", str(attack).partition(" at 0x")[0]),
)
def test_only_plain_arrays_are_unpickled(attack: object) -> None:
    with pytest.raises(ValueError, match="the pickle cannot be read"):
        load_arrays(pickle.dumps({"data": attack}, protocol=2))


def test_a_pickle_that_changes_the_reader_changes_it_for_itself_alone() -> None:
    # BUILD with slots on what a name stands for: setattr(dtype, "__defaults__", ...)
    change = b"\x80\x02cnumpy\ndtype\n(N}X\x0c\x00\x00\x00__defaults__K\x01\x85stb."
    for _ in range(2):
        with pytest.raises(ValueError, match="holds no dictionary"):
            load_arrays(change)
    test_arrays_of_numbers_are_unpickled("u1", 2)


@pytest.mark.parametrize(
    "state",
    [
        (1, (3,), None, False, b"abc"),
        (1, (10**9,), np.dtype("u1"), False, b"abc"),
        (1, (-1,), np.dtype("u1"), False, b"abc"),
        (1, (1,), np.dtype("O"), False, b"abcdefgh"),
        (1, (3,), np.dtype("u1"), False, [1, 2, 3]),
        (1, (3,)),
        None,
    ],
)
def test_states_of_arrays_that_do_not_fit_are_refused(state: object) -> None:
    class Wrong:
        def __reduce__(self):
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    with pytest.raises(ValueError, match="the pickle cannot be read"):
        load_arrays(pickle.dumps({"data": Wrong()}, protocol=2))


@pytest.mark.parametrize("dtype", ["u1", "<i4", ">i4", "f8", "?"])
@pytest.mark.parametrize("protocol", range(5))
def test_arrays_of_numbers_are_unpickled(dtype: str, protocol: int) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    held = load_arrays(pickle.dumps({"a": values, "b": [1, "x", None]}, protocol=protocol))
    np.testing.assert_array_equal(held["a"], values)
    assert held["a"].dtype == values.dtype
    assert held["b"] == [1, "x", None]


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        # a place in the memory of the reader, for which it would make room; a text longer than the file
        (b"\x80\x04}r\xff\xff\xff\x0f.", "it holds no dictionary|{}"),
        (b"\x80\x05\x96\x00\x00\x00\x00\x01\x00\x00\x00.", "data do not need"),
        # tuples of tuples of tuples ..., each twice: the hash of the last has 2**60 parts
        (b"\x80\x02}" + b")" + b"".join(b"q%c0h%ch%c\x86" % (n, n, n) for n in range(60)) + b"K\x01s.", "tuple as key"),
        (b"\x80\x02(" + b")" + b"".join(b"q%c0h%ch%c\x86" % (n, n, n) for n in range(60)) + b"K\x01d.", "tuple as key"),
    ],
    ids=["memory", "bytearray", "one key", "keys"],
)
def test_a_small_pickle_takes_no_large_memory_and_no_long_time(attack: bytes, reason: str) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        if "{}" in reason:
            assert load_arrays(attack) == {}
        else:
            with pytest.raises(ValueError, match=reason):
                load_arrays(attack)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_every_cut_of_a_pickle_is_an_error_that_is_told() -> None:
    data = make_paper.python2_batch(np.zeros((2, 3072), np.uint8), [1, 2])
    for end in [*range(0, 200), *range(len(data) - 60, len(data))]:
        with pytest.raises(ValueError, match="the pickle cannot be read"):
            load_arrays(data[:end])
    assert load_arrays(data)["labels"] == [1, 2]


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2]}, "holds 3 images and 2 labels"),
        ({"data": np.zeros((3, 3071), np.uint8), "labels": [1, 2, 3]}, "no data of shape"),
        ({"data": np.zeros((3, 3072), np.int64), "labels": [1, 2, 3]}, "no data of shape"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": ["cat"]}, "no list of labels"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [12]}, "holds the label 12"),
        (["no dictionary"], "holds no dictionary"),
    ],
)
def test_cifar10_batches_that_do_not_fit_are_findings(tmp_path: Path, held: object, words: str) -> None:
    make_paper.cifar(tmp_path, 2, "python3")
    put(tmp_path, "cifar-10-batches-py/test_batch", pickle.dumps(held))
    source = opened("cifar10", tmp_path)
    table = source.scan()
    assert table["key"].tolist()[0] == "test/test_batch"
    assert len(table) == 11
    assert opened("cifar10", tmp_path, "split=train").scan()["label"].notna().all()
    with pytest.raises(OSError, match=words):
        source.read("test/test_batch")


def test_cifar10_binary_cut_off_loses_one_image(tmp_path: Path) -> None:
    made = make_paper.cifar(tmp_path, 5, "binary")
    file = tmp_path / "cifar-10-batches-bin/data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-100])
    source = opened("cifar10", tmp_path)
    assert len(source.scan()) == 30
    np.testing.assert_array_equal(
        pixels_of(source, "train/data_batch_3/00003").transpose(2, 0, 1).reshape(-1), made["data_batch_3"][0][3]
    )
    with pytest.raises(OSError, match=r"data_batch_3\.bin is cut off in image 4"):
        source.read("train/data_batch_3/00004")


def test_cifar10_lacking_a_batch_names_it(tmp_path: Path) -> None:
    make_paper.cifar(tmp_path, 2, "python3")
    (tmp_path / "cifar-10-batches-py/data_batch_4").unlink()
    with pytest.raises(DatapropsError, match=r"there is no .*data_batch_4"):
        opened("cifar10", tmp_path).scan()


def test_cifar10_from_the_command_line(tmp_path: Path) -> None:
    from flows.cli import main

    make_paper.cifar(tmp_path / "set", 40, "python2")
    put(tmp_path, "set/cifar-10-batches-py/data_batch_5", b"\x80\x02 torn")
    options = ["--rule", "classes=airplane,automobile", "--inline", "--size", "32", "--quiet", "--fail-on", "never"]
    store = str(tmp_path / "store")
    result = CliRunner().invoke(main, ["audit", f"cifar10:{tmp_path / 'set'}", "--store", store, "--json", *options])
    assert result.exit_code == 0, result.output
    results = next((tmp_path / "store/results/set").iterdir())
    images = pd.read_parquet(results / "images.parquet")
    assert images["label"].value_counts().to_dict() == {"airplane": 20, "automobile": 20}
    broken = images[images["error"].notna()]
    assert broken["path"].tolist() == ["train/data_batch_5"]
    assert "the pickle cannot be read" in broken["error"].iloc[0]
    findings = pd.read_parquet(results / "findings.parquet")
    assert "unreadable" in set(findings["kind"])


def test_an_mnist_file_that_is_cut_meanwhile_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(make_paper.idx(np.zeros((300, 28, 28), np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(make_paper.idx(np.arange(300).astype(np.uint8) % 10))
    source = opened("mnist", tmp_path)
    key = source.scan()["key"].iloc[-1]
    assert pixels_of(source, key).shape == (28, 28)
    with (tmp_path / "train-images-idx3-ubyte").open("r+b") as file:
        file.truncate(20)
    with pytest.raises(OSError, match="is cut off after 0 of 300 images"):
        source.read(key)


# SVHN


def test_svhn(tmp_path: Path) -> None:
    made = make_paper.svhn(tmp_path, {"train": 25, "test": 12, "extra": 11})
    source = opened("svhn", tmp_path)
    table = source.scan()
    assert table["split"].value_counts().to_dict() == {"train": 25, "test": 12, "extra": 11}
    for key, label in zip(table["key"], table["label"], strict=True):
        split, number = key.split("/")
        pixels, digits = made[split]
        assert label == {10: "0"}.get(int(digits[int(number)]), str(digits[int(number)]))
        np.testing.assert_array_equal(pixels_of(source, key), pixels[..., int(number)])
    assert set(table["label"]) == {str(digit) for digit in range(10)}


def test_svhn_files_that_do_not_fit_are_findings(tmp_path: Path) -> None:
    from scipy.io import savemat

    make_paper.svhn(tmp_path, {"train": 10, "test": 5})
    savemat(tmp_path / "extra_32x32.mat", {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((3, 1), np.uint8)})
    file = tmp_path / "test_32x32.mat"
    file.write_bytes(file.read_bytes()[:-200])
    source = opened("svhn", tmp_path)
    table = source.scan()
    assert table["key"].tolist()[:2] == ["extra", "test"]
    assert len(table) == 12
    with pytest.raises(OSError, match="holds 4 images and 3 labels"):
        source.read("extra")
    with pytest.raises(OSError, match=r"test_32x32\.mat"):
        source.read("test")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"X": np.zeros((32, 32, 3, 1), np.uint8), "y": np.array([[11]], np.uint8)}, "labels from 11"),
        ({"X": np.zeros((32, 32, 1), np.uint8), "y": np.array([[1]], np.uint8)}, r"X has shape \[32, 32, 1\]"),
        ({"X": np.zeros((32, 32, 3, 1), np.uint8)}, "has no y"),
        ({"X": np.zeros((32, 32, 3, 1), np.uint8), "y": np.array([["a"]])}, "not an array of whole numbers"),
        (None, "cannot be read"),
    ],
)
def test_svhn_of_other_contents_is_told(tmp_path: Path, held: dict | None, words: str) -> None:
    from scipy.io import savemat

    if held is None:
        put(tmp_path, "train_32x32.mat", b"no matlab file at all" * 20)
    else:
        savemat(tmp_path / "train_32x32.mat", held)
    source = opened("svhn", tmp_path)
    assert source.scan()["key"].tolist() == ["train"]
    with pytest.raises(OSError, match=words):
        source.read("train")


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_of_a_matlab_file_are_scipys(tmp_path: Path, kind: str, packed: bool) -> None:
    from scipy.io import loadmat, savemat

    from dataprops.sources.matlab import array, variables

    values = np.random.default_rng(0).integers(0, 100, (3, 2, 5)).astype(kind)
    held = {"other": np.array(["text"]), "X": values, "one": values[:1, 0, :1], "floats": values / 3.0}
    savemat(tmp_path / "x.mat", held, do_compression=packed)
    read = loadmat(tmp_path / "x.mat")
    found = {v.name: (v.kind, v.shape, array(v) if v.kind else None) for v in variables(tmp_path / "x.mat", 10**6)}
    assert {name: kind for name, (kind, _, _) in found.items()} == {"other": "", "X": kind, "one": kind, "floats": ""}
    for name in ("X", "one"):
        assert found[name][1] == read[name].shape
        np.testing.assert_array_equal(found[name][2], read[name])


def test_every_cut_of_a_matlab_file_is_told(tmp_path: Path) -> None:
    from scipy.io import savemat

    from dataprops.sources.matlab import Damaged, array, variables

    file = tmp_path / "x.mat"
    for packed in (False, True):
        savemat(file, {"X": np.zeros((2, 3, 4), np.uint8)}, do_compression=packed)
        data = file.read_bytes()
        for end in range(0, len(data) - 8, 3):
            file.write_bytes(data[:end])
            with suppress(Damaged):
                assert not [array(variable) for variable in variables(file, 10**6)], end


# ImageNet


def test_imagenet_in_class_folders(tmp_path: Path) -> None:
    names = [f"{split}/{wnid}/x_{n}.JPEG" for split in ("train", "val") for wnid in WNIDS[:2] for n in range(2)]
    put_images(tmp_path, names)
    put(tmp_path, f"train/{WNIDS[0]}/notes.txt", "")
    (tmp_path / "train" / WNIDS[2]).mkdir()
    table = opened("imagenet", tmp_path).scan()
    assert listed("imagenet", tmp_path) == [(n, n.split("/")[1], n.split("/")[0], None) for n in sorted(names)]
    assert table.attrs["ignored"] == [f"train/{WNIDS[0]}/notes.txt"]
    assert table.attrs["empty_classes"] == [f"train/{WNIDS[2]}"]
    assert opened("imagenet", tmp_path).read(names[0]) == png(0)
    assert listed("imagenet", tmp_path / "train", columns=("label", "split"))[0] == (WNIDS[0], None)


def test_imagenet_as_on_kaggle(tmp_path: Path) -> None:
    base = "ILSVRC/Data/CLS-LOC"
    train = [f"{base}/train/{wnid}/{wnid}_{n}.JPEG" for wnid in WNIDS for n in (1, 2)]
    val = [f"{base}/val/ILSVRC2012_val_0000000{n}.JPEG" for n in (1, 2, 3)]
    put_images(tmp_path, [*train, *val, f"{base}/test/ILSVRC2012_test_00000001.JPEG"])
    rows = [
        ("ILSVRC2012_val_00000002", f"{WNIDS[1]} 1 2 3 4 {WNIDS[1]} 5 6 7 8 "),
        ("ILSVRC2012_val_00000001", f"{WNIDS[0]} 1 2 3 4"),
    ]
    table = put_csv(tmp_path / "LOC_val_solution.csv", ("ImageId", "PredictionString"), rows)
    wanted = [(name, name.split("/")[-2], "train", None) for name in train]
    wanted += [(val[0], WNIDS[0], "val", None), (val[1], WNIDS[1], "val", None), (val[2], None, "val", None)]
    assert listed("imagenet", tmp_path) == sorted(wanted)
    assert len(set(labels("imagenet", tmp_path, "classes=random").values())) == 2
    put_csv(table, ("ImageId", "PredictionString"), [("ILSVRC2012_val_00000001", "cat 1 2 3 4")])
    with pytest.raises(DatapropsError, match=r"row 1, column 'PredictionString'.*cat"):
        opened("imagenet", tmp_path).scan()


# CheXpert

CHEXPERT = (
    ("train/patient00001/study1/view1_frontal.jpg", "Frontal", "1.0", "0.0"),
    ("train/patient00001/study1/view2_lateral.jpg", "Lateral", "0.0", "1.0"),
    ("train/patient00002/study1/view1_frontal.jpg", "Frontal", "-1.0", ""),
    ("train/patient00003/study2/view1_frontal.jpg", "Frontal", "", "-1.0"),
)


def chexpert(root: Path, inside: str = "CheXpert-v1.0-small") -> Path:
    header = ("Path", "Sex", "Frontal/Lateral", "Pleural Effusion", "Edema")
    rows = [(f"CheXpert-v1.0-small/{path}", "Female", view, *values) for path, view, *values in CHEXPERT]
    put_csv(root / inside / "train.csv", header, rows)
    valid = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg"
    put_csv(root / inside / "valid.csv", header, [(valid, "Male", "Frontal", "1.0", "0.0")])
    put_images(root / inside, [path for path, *_ in CHEXPERT] + ["valid/patient64541/study1/view1_frontal.jpg"])
    return root


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ((), ["positive", "negative", "negative", "negative"]),
        (("uncertain=positive",), ["positive", "negative", "positive", "negative"]),
        (("uncertain=drop",), ["positive", "negative", None, "negative"]),
        (("empty=drop",), ["positive", "negative", "negative", None]),
        (("empty=drop", "uncertain=drop"), ["positive", "negative", None, None]),
        (("view=frontal",), ["positive", None, "negative", "negative"]),
        (("view=lateral",), [None, "negative", None, None]),
        (("finding=Edema",), ["negative", "positive", "negative", "negative"]),
        (("finding=Edema", "uncertain=positive", "empty=drop"), ["negative", "positive", None, "positive"]),
    ],
)
def test_chexpert_labels_by_every_rule(tmp_path: Path, rules: tuple[str, ...], wanted: list) -> None:
    got = labels("chexpert", chexpert(tmp_path), "split=train", *rules)
    kept = {path: label for (path, *_), label in zip(CHEXPERT, wanted, strict=True) if label is not None}
    assert got == {f"CheXpert-v1.0-small/{path}": label for path, label in kept.items()}


def test_chexpert_splits_patients_and_files(tmp_path: Path) -> None:
    source = opened("chexpert", chexpert(tmp_path))
    table = source.scan()
    assert table["split"].tolist() == ["train"] * 4 + ["val"]
    assert table["group"].tolist() == [f"patient{n}" for n in ("00001", "00001", "00002", "00003", "64541")]
    assert source.read(table["key"][1]) == png(1)
    assert source.file(table["key"][1]) == tmp_path / table["key"][1]
    inner = opened("chexpert", tmp_path / "CheXpert-v1.0-small")
    assert inner.scan()["path"].tolist()[0] == CHEXPERT[0][0]
    assert inner.read(CHEXPERT[0][0]) == png(0)


def test_chexpert_a_listed_file_that_is_missing_is_a_finding(tmp_path: Path) -> None:
    chexpert(tmp_path)
    (tmp_path / "CheXpert-v1.0-small" / CHEXPERT[0][0]).unlink()
    source = opened("chexpert", tmp_path)
    assert len(source.scan()) == 5
    with pytest.raises(OSError, match="No such file"):
        source.read(f"CheXpert-v1.0-small/{CHEXPERT[0][0]}")


def test_chexpert_of_other_columns_and_values_is_named(tmp_path: Path) -> None:
    chexpert(tmp_path)
    with pytest.raises(DatapropsError, match=r"no column 'Tumor'.*Pleural Effusion"):
        opened("chexpert", tmp_path, "finding=Tumor").scan()
    put_csv(
        tmp_path / "CheXpert-v1.0-small/valid.csv", ("Path", "Frontal/Lateral", "Pleural Effusion"), [("a/b", "", 2)]
    )
    with pytest.raises(DatapropsError, match=r"valid\.csv, row 1, column 'Pleural Effusion': '2'"):
        opened("chexpert", tmp_path).scan()


# MURA


def test_mura(tmp_path: Path) -> None:
    names = {
        "train/XR_ELBOW/patient00011/study1_negative/image1.png": "negative",
        "train/XR_ELBOW/patient00011/study2_positive/image1.png": "positive",
        "train/XR_WRIST/patient00011/study1_negative/image2.png": "negative",
        "valid/XR_WRIST/patient11186/study1_positive/image1.png": "positive",
    }
    put_images(tmp_path / "MURA-v1.1", [*names, "train/XR_WRIST/patient00011/study1_negative/._image2.png"])
    assert listed("mura", tmp_path) == [
        (f"MURA-v1.1/{name}", label, "val" if name[0] == "v" else "train", name.split("/")[2])
        for name, label in names.items()
    ]
    table = opened("mura", tmp_path).scan()
    assert table.attrs["ignored"] == ["MURA-v1.1/train/XR_WRIST/patient00011/study1_negative/._image2.png"]
    assert list(labels("mura", tmp_path / "MURA-v1.1", "part=wrist")) == list(names)[2:]
    with pytest.raises(DatapropsError, match="XR_HAND"):
        opened("mura", tmp_path, "part=hand").scan()


def test_patients_in_two_splits_are_seen(tmp_path: Path) -> None:
    for number in range(24):
        study = ("negative", "positive")[number % 2]
        put(tmp_path, f"set/train/XR_HAND/patient{number:05d}/study1_{study}/image1.png", png(number))
    put(tmp_path, "set/valid/XR_HAND/patient00003/study1_negative/image1.png", png(99))
    summary = audit(f"mura:{tmp_path / 'set'}", store=str(tmp_path / "store"), size=8, estimators=("mle",), probe=False)
    findings = pd.read_parquet(Path(summary["results"]) / "findings.parquet").set_index("kind")
    assert "patient00003" in findings.loc["group_leakage", "detail"]


# RSNA


def rsna(root: Path) -> dict[str, str]:
    names = {"ID_000012eaf": "0", "ID_000039fa0": "1", "ID_00005679d": "0"}
    kinds = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
    rows = [
        (f"{name}_{kind}", value if kind in ("any", "subdural") else "0")
        for name, value in names.items()
        for kind in kinds
    ]
    put_csv(root / "stage_2_train.csv", ("ID", "Label"), [*rows, rows[5]])  # the published table repeats rows
    for name in names:
        put(root, f"stage_2_train/{name}.dcm", f"DICOM of {name}")
    put(root, "stage_2_test/ID_ffff.dcm", "unlabelled")
    return names


@pytest.mark.parametrize(
    ("rules", "positive"),
    [
        ((), {"ID_000039fa0"}),
        (("bleeding=any",), {"ID_000039fa0"}),
        (("bleeding=subdural",), {"ID_000039fa0"}),
        *(
            ((f"bleeding={kind}",), set())
            for kind in ("epidural", "intraparenchymal", "intraventricular", "subarachnoid")
        ),
    ],
)
def test_rsna(tmp_path: Path, rules: tuple[str, ...], positive: set[str]) -> None:
    names = rsna(tmp_path)
    source = opened("rsna", tmp_path, *rules)
    table = source.scan()
    assert dict(zip(table["path"], table["label"], strict=True)) == {
        f"stage_2_train/{name}.dcm": "positive" if name in positive else "negative" for name in names
    }
    assert source.read("stage_2_train/ID_000039fa0.dcm") == b"DICOM of ID_000039fa0"


def test_rsna_prepared_as_pictures_or_below_the_folder_of_kaggle(tmp_path: Path) -> None:
    inner = tmp_path / "rsna-intracranial-hemorrhage-detection"
    names = rsna(inner)
    assert len(opened("rsna", tmp_path).scan()) == 3
    (inner / "stage_2_train").rename(inner / "gone")
    put_images(inner, [f"stage_2_train_png/{name}.png" for name in names])
    source = opened("rsna", inner)
    assert source.scan()["path"].tolist() == [f"stage_2_train_png/{name}.png" for name in names]
    assert source.read("stage_2_train_png/ID_000012eaf.png") == png(0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("ID_1_any", "2")], "row 1, column 'Label': '2'"),
        ([("ID_1_any", "0"), ("ID_1_any", "1")], "'ID_1_any' two labels"),
        ([("ID_1_subdural", "0")], "no row whose ID ends in _any"),
    ],
)
def test_rsna_tables_that_do_not_fit_are_named(tmp_path: Path, rows: list, words: str) -> None:
    rsna(tmp_path)
    put_csv(tmp_path / "stage_2_train.csv", ("ID", "Label"), rows)
    with pytest.raises(DatapropsError, match=words):
        opened("rsna", tmp_path).scan()


# OAI


@pytest.mark.parametrize("before", ["", "KL"])
def test_oai(tmp_path: Path, before: str) -> None:
    wanted = {}
    for split, folder in (("train", "train/"), ("val", "val/"), ("test", "test/")):
        for grade in range(5):
            path = f"{folder}{before}{grade}/9{grade}{len(split)}0000{'LR'[grade % 2]}.png"
            put(tmp_path, path, png(grade))
            wanted[path] = (grade, split, path.rsplit("/", 1)[1][:7])
    assert listed("oai", tmp_path) == [
        (path, "positive" if grade >= 2 else "negative", split, patient)
        for path, (grade, split, patient) in sorted(wanted.items())
    ]
    assert labels("oai", tmp_path, "label=grade") == {path: str(grade) for path, (grade, *_) in wanted.items()}


def test_oai_folders_without_a_grade_of_disease_are_not_taken_for_one_class(tmp_path: Path) -> None:
    put_images(tmp_path, ["0/a.png", "1/b.png"])
    with pytest.raises(DatapropsError, match=r"grades 0, 1.*--rule label=grade"):
        opened("oai", tmp_path).scan()
    assert labels("oai", tmp_path, "label=grade") == {"0/a.png": "0", "1/b.png": "1"}


def test_the_real_knees(real_data) -> None:
    table = opened("oai", real_data("knee_oa_kl5_128")).scan()
    assert table["label"].value_counts().to_dict() == {"negative": 600, "positive": 851}
    assert table["group"].nunique() == 1306


# BraTS


def brats_volumes(shape: tuple[int, int, int] = (10, 12, 8), tumour: tuple[int, ...] = (4, 5)) -> tuple:
    """A volume whose slice 0 is empty and slice 1 nearly so, and its segmentation."""
    rng = np.random.default_rng(5)
    voxels = rng.integers(100, 1000, shape).astype(np.int16)
    voxels[:, :, :2] = 0
    voxels[3, 4, 1] = 7
    seg = np.zeros(shape, np.uint8)
    for number in tumour:
        seg[2, 3, number] = 4
    return voxels, seg


@pytest.mark.parametrize(
    ("case", "flair", "seg", "patient"),
    [
        ("HGG/Brats18_2013_2_1", "Brats18_2013_2_1_flair.nii.gz", "Brats18_2013_2_1_seg.nii.gz", "Brats18_2013_2_1"),
        ("BraTS20_Training_355", "BraTS20_Training_355_flair.nii", "W39_1998.09.19_Segm.nii", "BraTS20_Training_355"),
        ("a/BraTS2021_00000", "BraTS2021_00000_flair.nii.gz", "BraTS2021_00000_seg.nii.gz", "BraTS2021_00000"),
        ("BraTS-GLI-00003-001", "BraTS-GLI-00003-001-t2f.nii.gz", "BraTS-GLI-00003-001-seg.nii.gz", "BraTS-GLI-00003"),
    ],
)
def test_brats(tmp_path: Path, case: str, flair: str, seg: str, patient: str) -> None:
    voxels, mask = brats_volumes()
    make_paper.volume(tmp_path / case / flair, voxels)
    make_paper.volume(tmp_path / case / seg, mask)
    make_paper.volume(tmp_path / case / flair.replace("flair", "t1ce").replace("t2f", "t1c"), voxels[::-1])
    key = f"{case}/{flair}"
    wanted = ["negative"] * 2 + ["positive"] * 2 + ["negative"] * 2
    assert listed("brats", tmp_path) == [
        (f"{key}#{number:03d}", label, None, patient) for number, label in enumerate(wanted, start=2)
    ]
    source = opened("brats", tmp_path)
    got = pixels_of(source, f"{key}#004")
    low, high = np.percentile(voxels[voxels != 0], (0.5, 99.5))
    np.testing.assert_allclose(got, np.clip((voxels[:, :, 4].T - low) * 255 / (high - low), 0, 255), atol=1e-3)
    other = labels("brats", tmp_path, "modality=t1ce")
    assert list(other.values()) == wanted
    assert all("t1c" in path for path in other)


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ((), {2: "negative", 3: "negative", 4: "positive", 5: "positive", 6: "negative", 7: "negative"}),
        (("margin=2",), {2: "negative", 4: "positive", 5: "positive", 7: "negative"}),
        (("margin=3",), {4: "positive", 5: "positive"}),
        (("least-brain=0", "margin=2"), {1: "negative", 2: "negative", 4: "positive", 5: "positive", 7: "negative"}),
    ],
)  # fmt: skip
def test_brats_slices_by_every_rule(tmp_path: Path, rules: tuple[str, ...], wanted: dict[int, str]) -> None:
    voxels, seg = brats_volumes()
    make_paper.volume(tmp_path / "c/c_flair.nii.gz", voxels)
    make_paper.volume(tmp_path / "c/c_seg.nii.gz", seg)
    assert {int(path[-3:]): label for path, label in labels("brats", tmp_path, *rules).items()} == wanted


def test_brats_slices_do_not_depend_on_how_the_file_is_turned(tmp_path: Path) -> None:
    voxels, seg = brats_volumes()
    for case, affine, turned in (
        ("a", np.diag([-1.0, -1, 1, 1]), lambda v: v),
        ("b", np.diag([1.0, 1, 1, 1]), lambda v: v[::-1, ::-1]),
        ("c", np.array([[0, 0, -1.0, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]), lambda v: v.transpose(2, 1, 0)[::-1]),
    ):  # fmt: skip
        make_paper.volume(tmp_path / case / f"{case}_flair.nii.gz", np.ascontiguousarray(turned(voxels)), affine)
        make_paper.volume(tmp_path / case / f"{case}_seg.nii.gz", np.ascontiguousarray(turned(seg)), affine)
    table = opened("brats", tmp_path).scan()
    source = opened("brats", tmp_path)
    by_case = {case: part.reset_index(drop=True) for case, part in table.groupby("group")}
    for case in "bc":
        assert by_case[case]["label"].tolist() == by_case["a"]["label"].tolist()
        for mine, other in zip(by_case[case]["key"], by_case["a"]["key"], strict=True):
            np.testing.assert_array_equal(pixels_of(source, mine), pixels_of(source, other))


def test_brats_damage_is_a_finding_of_its_case_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    voxels, seg = brats_volumes()
    for case in ("a", "b", "c", "d", "e"):
        make_paper.volume(tmp_path / case / f"{case}_flair.nii.gz", voxels)
        make_paper.volume(tmp_path / case / f"{case}_seg.nii.gz", seg)
    for file in ("a/a_flair.nii.gz", "b/b_seg.nii.gz"):
        data = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(data[: len(data) // 2])
    make_paper.volume(tmp_path / "c/c_seg.nii.gz", seg[:, :, :-1])
    (tmp_path / "d/d_seg.nii.gz").unlink()
    source = opened("brats", tmp_path, "subset=4")
    table = source.scan()
    assert table["key"][table["label"].isna()].tolist() == [f"{c}/{c}_flair.nii.gz" for c in "abc"]
    assert table["label"].value_counts().to_dict() == {"negative": 2, "positive": 2}
    assert table.attrs["ignored"] == ["d/d_flair.nii.gz"]
    assert "another shape" in caplog.text
    for case in "abc":
        with pytest.raises(OSError, match=r"damaged|no labels"):
            source.read(f"{case}/{case}_flair.nii.gz")


def test_brats_as_folders_of_slices(tmp_path: Path) -> None:
    put_images(tmp_path, ["train/0/0_12_103.jpg", "train/1/1_12_39.jpg", "val/yes/BraTS2021_00005_flair_077.png"])
    assert listed("brats", tmp_path) == [
        ("train/0/0_12_103.jpg", "negative", "train", "12"),
        ("train/1/1_12_39.jpg", "positive", "train", "12"),
        ("val/yes/BraTS2021_00005_flair_077.png", "positive", "val", "BraTS2021_00005"),
    ]
    assert opened("brats", tmp_path).read("train/1/1_12_39.jpg") == png(1)


# DBC

MAPPING = ("sop_instance_UID", "original_path_and_filename", "classic_path", "descriptive_path", "Unnamed: 4")


def dbc(root: Path, inside: str = "manifest-1607053360376/") -> None:
    """Patients 1 (on the disk, its files counted backwards), 2 (under descriptive names), 3 (not on the disk)."""
    boxes = ("Patient ID", "Start Row", "End Row", "Start Column", "End Column", "Start Slice", "End Slice")
    put_csv(root / "Annotation_Boxes.csv", boxes, [(f"Breast_MRI_00{n}", 1, 2, 3, 4, 11, 14) for n in (1, 2, 3)])
    rows = []
    for patient in (1, 2, 3):
        for sequence in ("pre", "post_1"):
            for number in range(1, 21):
                name = f"Breast_MRI_00{patient}"
                series = f"1.3.6.{patient}/1.3.6.{patient}.{sequence}"
                classic = f"Duke-Breast-Cancer-MRI/{name}/{series}/1-{21 - number:03d}.dcm"
                word = "01-01-1990-NA-MRI BREAST-97538"
                descriptive = (
                    f"Duke-Breast-Cancer-MRI/BreastMRI00{patient}/{word}//{sequence}-1/1-{21 - number:03d}.dcm"
                )
                original = f"DICOM_Images/{name}/{sequence}/{name}_{sequence}_{number:03d}.dcm"
                rows.append((f"1.{patient}.{number}", original, classic, descriptive, ""))
                data = f"{name} {sequence} slice {number}"
                if patient == 1:
                    put(root, f"{inside}{classic[:-7]}{21 - number:02d}.dcm", data)  # two digits on the disk
                if patient == 2:
                    put(root, f"{inside}{descriptive}".replace("BreastMRI00", "Breast_MRI_00").replace("//", "/"), data)
    put_csv(root / "Breast-Cancer-MRI-filepath_filename-mapping.csv", MAPPING, rows)


@pytest.mark.parametrize("inside", ["", "manifest-1607053360376/"])
@pytest.mark.parametrize("sequence", ["pre", "post_1"])
def test_dbc(tmp_path: Path, inside: str, sequence: str) -> None:
    dbc(tmp_path, inside)
    source = opened("dbc", tmp_path, f"sequence={sequence}")
    table = source.scan()
    got = {}
    for key, label, group in zip(table["key"], table["label"], table["group"], strict=True):
        name, seq, _, number = source.read(key).decode().split()
        assert (name, seq) == (group, sequence)
        got[name, int(number)] = label
    # start <= s < end; negative from five slices away
    wanted = dict.fromkeys((11, 12, 13), "positive") | dict.fromkeys((*range(1, 7), 20), "negative")
    assert got == {(f"Breast_MRI_00{n}", number): label for n in (1, 2) for number, label in wanted.items()}


def test_dbc_margin_and_a_missing_slice(tmp_path: Path) -> None:
    dbc(tmp_path)
    table = opened("dbc", tmp_path, "margin=0").scan()
    assert table["label"].value_counts().to_dict() == {"negative": 2 * 16, "positive": 2 * 3}
    gone = next(tmp_path.glob("manifest-*/*/Breast_MRI_001/*/1.3.6.1.pre/1-20.dcm"))
    gone.unlink()
    source = opened("dbc", tmp_path)
    keys = [key for key in source.scan()["key"] if not (tmp_path / key).is_file()]
    assert len(keys) == 1
    with pytest.raises(OSError, match="No such file"):
        source.read(keys[0])


def test_dbc_tables_of_excel(tmp_path: Path) -> None:
    dbc(tmp_path)
    wanted = labels("dbc", tmp_path)
    for file in tmp_path.glob("*.csv"):
        pd.read_csv(file).to_excel(file.with_suffix(".xlsx"), index=False)
        file.unlink()
    assert labels("dbc", tmp_path) == wanted


BOX = ("Patient ID", "Start Slice", "End Slice")
SLICE = "Breast_MRI_001/pre/Breast_MRI_001_pre_011.dcm"


@pytest.mark.parametrize(
    ("file", "header", "row", "words"),
    [
        ("Annotation_Boxes", BOX, ("Breast_MRI_001", "9", "8"), "ends at slice 8"),
        ("Annotation_Boxes", BOX, ("Breast_MRI_001", "x", "8"), "row 1, column 'Start Slice': 'x'"),
        ("Annotation_Boxes", BOX[:2], ("Breast_MRI_001", "9"), "no column 'End Slice'"),
        (
            "Breast-Cancer-MRI-filepath_filename-mapping",
            MAPPING[:4],
            ("1", "a", "b", "c"),
            "no slice of the sequence 'pre'",
        ),
        ("Breast-Cancer-MRI-filepath_filename-mapping", MAPPING[:4], ("1", SLICE, "D/../etc/x", "c"), "there is no"),
    ],
)
def test_dbc_tables_that_do_not_fit_are_named(tmp_path: Path, file: str, header: tuple, row: tuple, words: str) -> None:
    dbc(tmp_path)
    put_csv(tmp_path / f"{file}.csv", header, [row])
    with pytest.raises(DatapropsError, match=words):
        opened("dbc", tmp_path).scan()


def test_dbc_as_folders_of_slices(tmp_path: Path) -> None:
    put_images(tmp_path, ["neg/1-052-876.png", "pos/1-060-876.png", "pos/Breast_MRI_002_pre_060.png"])
    assert listed("dbc", tmp_path) == [
        ("neg/1-052-876.png", "negative", None, "876"),
        ("pos/1-060-876.png", "positive", None, "876"),
        ("pos/Breast_MRI_002_pre_060.png", "positive", None, "Breast_MRI_002"),
    ]


# prostate

SCORES = (
    "Patient ID",
    "seriesInstanceUID_MR",
    "seriesInstanceUID_US",
    "Target No.",
    "UCLA Score (Similar to PIRADS v2)",
)


def prostate(root: Path, inside: str = "manifest-1694710246744/") -> None:
    """Series of 8 slices: scores 1 and 4 (two targets), 2, 1; a fourth series is not on the disk, a fifth row has no score."""
    names = [f"Prostate-MRI-US-Biopsy-000{n}" for n in range(1, 6)]
    rows = [(names[0], "1.1", "9", 1, 1), (names[0], "1.1", "9", 2, 4), (names[1], "1.2", "9", 1, "2.0")]
    rows += [(names[2], "1.3", "9", 1, 1), (names[3], "1.4", "9", 1, 5), (names[4], "1.5", "9", 1, "")]
    put_csv(root / "Target Data_2019-12-05.csv", SCORES, rows)
    for patient, series in ((0, "1.1"), (1, "1.2"), (2, "1.3"), (4, "1.5")):
        for number in range(1, 9):
            folder = f"{inside}Prostate-MRI-US-Biopsy/{names[patient]}/1.0.{patient}/{series}"
            put(root, f"{folder}/1-{number}.dcm", f"{series} {number}")


@pytest.mark.parametrize(
    ("rules", "wanted", "slices"),
    [
        ((), {"1.1": "positive", "1.2": "positive", "1.3": "negative"}, range(3, 7)),
        (("label=cancer", "slices=all"), {"1.1": "positive", "1.2": "positive", "1.3": "negative"}, range(1, 9)),
        (("label=severe",), {"1.1": "positive", "1.2": "negative"}, range(3, 7)),
        (("label=score",), {"1.1": "4", "1.2": "2", "1.3": "1"}, range(3, 7)),
    ],
)
def test_prostate(tmp_path: Path, rules: tuple[str, ...], wanted: dict[str, str], slices: range) -> None:
    prostate(tmp_path)
    source = opened("prostate", tmp_path, *rules)
    table = source.scan()
    got = {source.read(key).decode(): label for key, label in zip(table["key"], table["label"], strict=True)}
    assert got == {f"{series} {number}": label for series, label in wanted.items() for number in slices}
    assert all(group in key for key, group in zip(table["key"], table["group"], strict=True))
    assert table["group"].nunique() == len(wanted)


def test_prostate_scores_as_folders(tmp_path: Path) -> None:
    put_images(tmp_path, [f"{score}/{score}7_33.png" for score in range(6)])
    assert [row[1:] for row in listed("prostate", tmp_path)] == [
        ("positive" if score >= 2 else "negative", None, f"{score}7") for score in range(6)
    ]
    assert list(labels("prostate", tmp_path, "label=severe").values()) == [
        "negative",
        "positive",
        "positive",
        "positive",
    ]
    assert list(labels("prostate", tmp_path, "label=score").values()) == list("012345")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("p", "1.1", "9", 1, 7), "7 is not one of 0 to 5"),
        (("p", "1.1", "9", 1, "high"), "row 1, column 'UCLA Score"),
        (("..", "1.1", "9", 1, 1), "not the name of a patient"),
        (("p", "*", "9", 1, 1), "not the name of a patient"),
        (("p", "1.1", "9", 1, 3), "there is no"),
    ],
)
def test_prostate_tables_that_do_not_fit_are_named(tmp_path: Path, row: tuple, words: str) -> None:
    prostate(tmp_path)
    put_csv(tmp_path / "Target Data_2019-12-05.csv", SCORES, [row])
    with pytest.raises(DatapropsError, match=words):
        opened("prostate", tmp_path).scan()


# CIFAR-100 and STL-10


def cifar100(root: Path, form: str, pixels: np.ndarray) -> Path:
    for split, first in (("train", 0), ("test", 3)):
        rows = pixels[first : first + 3]
        if form == "binary":
            data = b"".join(bytes([n, 10 + n]) + row.tobytes() for n, row in enumerate(rows))
            put(root, f"cifar-100-binary/{split}.bin", data)
        else:
            held = {b"fine_labels": [10, 11, 12], b"coarse_labels": [0, 1, 2], b"data": rows, b"batch_label": b"x"}
            put(root, f"cifar-100-python/{split}", pickle.dumps(held, protocol=2))
    names = {"fine": [f"f{n}" for n in range(100)], "coarse": [f"c{n}" for n in range(20)]}
    for kind, some in names.items() if form == "binary" else ():
        put(root, f"cifar-100-binary/{kind}_label_names.txt", "\n".join(some).encode())
    if form == "python":
        held = {f"{kind}_label_names".encode(): [name.encode() for name in some] for kind, some in names.items()}
        put(root, "cifar-100-python/meta", pickle.dumps(held, protocol=2))
    return root


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar_100_has_two_labels_of_each_image(tmp_path: Path, form: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3072)).astype(np.uint8)
    cifar100(tmp_path, form, pixels)
    for rules, letter, first in (((), "f", 10), (("label=coarse",), "c", 0)):
        told = listed("cifar100", tmp_path, *rules)
        names = [f"{letter}{first + n}" for n in range(3)]
        assert [row[1] for row in told] == names * 2
        assert [row[2] for row in told] == ["test"] * 3 + ["train"] * 3
    source = opened("cifar100", tmp_path)
    np.testing.assert_array_equal(pixels_of(source, "train/00001"), pixels[1].reshape(3, 32, 32).transpose(1, 2, 0))
    with pytest.raises(DatapropsError, match="give it as cifar100:"):
        open_source(str(tmp_path)).scan()
    if form == "binary":
        file = tmp_path / "cifar-100-binary/test.bin"
        file.write_bytes(file.read_bytes()[:-5])
        with pytest.raises(OSError, match="cut off"):
            opened("cifar100", tmp_path).read("test/00002")


def test_stl_10_is_stored_by_columns_and_has_images_without_labels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3)).astype(np.uint8)
    for split, some in (("train", images[:2]), ("test", images[2:4]), ("unlabeled", images[4:])):
        put(tmp_path, f"stl10_binary/{split}_X.bin", some.transpose(0, 3, 2, 1).tobytes())
    put(tmp_path, "stl10_binary/train_y.bin", bytes([1, 2]))
    put(tmp_path, "stl10_binary/test_y.bin", bytes([2, 1]))
    put(tmp_path, "stl10_binary/class_names.txt", b"airplane\nbird\n")
    told = {path: (label, split) for path, label, split, _ in listed("stl10", tmp_path)}
    assert told == {
        "train/000000": ("airplane", "train"),
        "train/000001": ("bird", "train"),
        "test/000000": ("bird", "test"),
        "test/000001": ("airplane", "test"),
        "unlabeled/000000": (None, "unlabeled"),
    }
    np.testing.assert_array_equal(pixels_of(opened("stl10", tmp_path), "test/000001"), images[3])
    with pytest.raises(DatapropsError, match="give it as stl10:"):
        open_source(str(tmp_path)).scan()
