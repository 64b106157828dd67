"""Errors and rare branches of readers, stores and words: what is said where a file, a value or a server is not as it should be."""

from __future__ import annotations

import copy
import errno
import io
import logging
import tarfile
import threading
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dataprops.audit import since
from dataprops.errors import DatapropsError
from dataprops.findings import spelling
from dataprops.imaging import levels, ranges
from dataprops.imaging.formats import is_image
from dataprops.report.terminal_laws import print_fit
from dataprops.sources import arrays, lists, published
from dataprops.sources.account import REPEATED
from dataprops.sources.companions import Companions
from dataprops.sources.containers import archives, numpyfiles, pixeltables
from dataprops.sources.remote import connections, filesystems, readers
from dataprops.sources.table import SourceOptions, image_table
from dataprops.store import pass_cache
from dataprops.store.folder import open_salt, open_store, other_summaries, previous_summary
from dataprops.util import memory, toml, version
from dataprops.util.helper import _Child

OPTIONS = SourceOptions()


# arrays


class Broken:
    """A Dataset whose items are given, or raised."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> Any:
        if isinstance(self.items[at], Exception):
            raise self.items[at]
        return self.items[at]


@pytest.mark.parametrize(
    ("label", "says"), [(np.array([1, 2]), "a label has 2 values, expected one"), ([1], "expected one class or number")]
)
def test_a_label_of_several_values_is_refused(label, says):
    with pytest.raises(DatapropsError, match=says):
        arrays.label_text(label)


def test_a_label_in_bytes_is_text():
    assert (arrays.label_text(b"cat"), arrays.label_text(b"\xff")) == ("cat", "\\xff")


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (Broken(np.zeros((4, 4))), [0], "labels can be given only with an array"),
        (np.zeros((3, 4, 4)), [0, 1], "3 images and 2 labels"),
        (np.zeros((3, 4)), None, "images have shape"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(images, labels, says):
    with pytest.raises(DatapropsError, match=says):
        arrays.hold(images, labels)


def test_a_source_that_was_named_only_is_no_array_of_this_process():
    with pytest.raises(DatapropsError, match="there is no array 'array:x' in this process"):
        arrays.scan("array:x", OPTIONS)
    with pytest.raises(DatapropsError, match="holds no images"):
        arrays.scan(arrays.hold(np.zeros((0, 4, 4), np.uint8)), OPTIONS)


def test_a_held_array_is_not_copied():
    held = arrays.hold(np.zeros((2, 4, 4), np.uint8))
    assert copy.copy(held) is held and copy.deepcopy(held) is held


def test_the_side_of_a_dataset_is_that_of_its_first_readable_item():
    first = OSError(errno.EIO, "damaged")
    assert arrays.square_side(arrays.hold(Broken(first, np.zeros((6, 6), np.uint8)))) == 6
    assert arrays.square_side(arrays.hold(Broken(first, np.zeros((6, 5), np.uint8)))) is None
    assert arrays.square_side(arrays.hold(Broken(first))) is None


def test_an_item_that_cannot_be_read_says_why():
    held = arrays.hold(Broken(OSError(errno.EIO, "damaged"), KeyError("gone"), np.ones((6, 6), bool)))
    with pytest.raises(OSError, match="damaged"):
        arrays.read(held, "0", OPTIONS)
    with pytest.raises(OSError, match="the dataset raised an error for this item: KeyError"):
        arrays.read(held, "1", OPTIONS)
    assert arrays.read(held, "2", OPTIONS).pixels.tolist() == [[255] * 6] * 6
    assert arrays.scan(held, OPTIONS)["label"].isna().all()


def test_pixels_that_are_none_are_refused_and_opacity_is_on_its_own_scale():
    with pytest.raises(OSError, match="no pixels"):
        arrays.raw_image(np.zeros((0, 4)))
    half = np.full((2, 2, 4), 100.0)
    half[..., 3] = 127.5  # floats on [0, 255]
    np.testing.assert_allclose(arrays.raw_image(half).pixels, 50.0)


def test_three_rows_of_three_are_channels_last_but_in_a_tensor():
    import torch

    pixels = np.zeros((3, 2, 3), np.uint8)
    pixels[0] = 9
    assert arrays.to_raw(pixels).pixels.shape == (3, 2, 3)
    assert arrays.to_raw(torch.from_numpy(pixels)).pixels.shape == (2, 3, 3)


# tables of pixels, published sets, lists


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a,b\n1,2,3\n",  # rows of other lengths
        b",".join([b"1"] * 50) + b"\n" + b",".join([b"1"] * 50),  # 50 is no side, nor 49 with a label... of letters
        b",".join([b"1"] * 65) + b"\n" + b",".join([b"x"] * 65),
    ],
)
def test_what_holds_no_pixels_is_no_table_of_them(head):
    form = pixeltables.form_of(head)
    assert form is None or len(form.columns) == 49


def test_a_table_of_pixels_that_is_gone_or_another_is_refused(tmp_path):
    assert not pixeltables.holds_pixels(tmp_path / "gone.csv")
    with pytest.raises(DatapropsError, match=r"gone\.csv cannot be read: No such file"):
        pixeltables.scan(str(tmp_path / "gone.csv"), OPTIONS)
    (tmp_path / "paths.csv").write_text("path,label\na.png,1\n")
    with pytest.raises(DatapropsError, match="its first rows have no pixel columns"):
        pixeltables.scan(str(tmp_path / "paths.csv"), OPTIONS)


def test_a_row_that_a_table_of_pixels_does_not_have_is_not_found(tmp_path):
    names = ",".join(f"pixel{n}" for n in range(49))
    file = tmp_path / "pixels.csv"
    file.write_text(f"label,{names}\n" + f"a,{','.join(['7'] * 49)}\n")
    assert pixeltables.read(str(file), "0", OPTIONS).pixels.tolist() == [[7] * 7] * 7
    for key in ("1", "x"):
        with pytest.raises(OSError, match="no such row"):
            pixeltables.read(str(file), key, OPTIONS)


def test_a_published_set_without_its_table_says_what_was_looked_for(tmp_path):
    with pytest.raises(DatapropsError, match=r"aptos: no table below .* \(looked for train\.csv, train\*\.csv\)"):
        published.table_of("aptos", tmp_path)
    with pytest.raises(DatapropsError, match="is not a directory: give the folder"):
        published.table_of("aptos", tmp_path / "gone")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train.txt", OSError(errno.EACCES, "no")),
        ("train.json", b"{"),
        ("train.json", b'{"images": [{"id": 3}]}'),
        ("train.json", b"[" * 100_000),
        ("train.txt", b"0.png\n" * (lists.MOST // 6 + 1)),
    ],
)
def test_lists_that_cannot_be_read_name_nothing(name, data):
    def read(_: str) -> bytes:
        if isinstance(data, OSError):
            raise data
        return data

    assert lists._named(name, Companions(["0.png"], [name], read, SourceOptions())) == []


def beside_three(read) -> Companions:
    return Companions([f"{n}.png" for n in range(3)], ["list_eval_partition.txt"], read, SourceOptions())


@pytest.mark.parametrize(
    "text", ["0.png 0\n1.png 5\n2.png 1\n", "0.png 0\nother.png 1\nno.png 2\nnor.png 2\nthis.png 2\n"]
)
def test_numbers_that_are_no_splits_or_of_other_images_split_nothing(text):
    table = image_table([f"{n}.png" for n in range(3)], [None] * 3, [None] * 3, [None] * 3)
    assert not lists._numbered(table, beside_three(lambda _: text.encode()))
    assert table["split"].isna().all()


def test_a_list_of_numbers_that_cannot_be_read_splits_nothing():
    table = image_table([f"{n}.png" for n in range(3)], [None] * 3, [None] * 3, [None] * 3)

    def read(_: str) -> bytes:
        raise OSError(errno.EACCES, "no")

    assert not lists._numbered(table, beside_three(read))


# archives and NumPy's files


def png() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(out, "png")
    return out.getvalue()


def test_archives_without_images_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("a.txt", "nothing")
    with pytest.raises(DatapropsError, match="none of its archives holds an image"):
        archives.scan(str(tmp_path), OPTIONS)
    with pytest.raises(OSError, match="there is no such archive"):
        archives.read(str(tmp_path), "a/0.png", OPTIONS)


def test_a_name_twice_in_an_archive_counts_once_and_is_told(tmp_path):
    for suffix in ("zip", "tar"):
        place = tmp_path / f"twice.{suffix}"
        with pytest.warns(UserWarning) if suffix == "zip" else pytest.MonkeyPatch.context():
            if suffix == "zip":
                with zipfile.ZipFile(place, "w") as archive:
                    for _ in range(2):
                        archive.writestr("a/0.png", png())
            else:
                with tarfile.open(place, "w") as tar:
                    for _ in range(2):
                        info = tarfile.TarInfo("a/0.png")
                        info.size = len(png())
                        tar.addfile(info, io.BytesIO(png()))
        table = archives.scan(str(place), OPTIONS)
        assert len(table) == 1
        assert REPEATED in str(table.attrs["ignored"]) + str(table.attrs.get("reasons", ""))


def test_what_streams_from_an_archive_that_changed_is_an_error_for_each(tmp_path):
    place = tmp_path / "set.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("a/0.png", png())
    archives.scan(str(place), OPTIONS)
    ((key, content),) = archives.stream(str(place), ["a/gone.png"], OPTIONS)
    assert key == "a/gone.png" and isinstance(content, OSError)


def test_an_array_of_a_new_format_or_cut_off_is_refused(tmp_path):
    file = tmp_path / "images.npy"
    np.save(file, np.zeros((4, 8, 8), np.uint8))
    data = bytearray(file.read_bytes())
    data[6] = 9
    file.write_bytes(data)
    with pytest.raises(DatapropsError, match=r"format \(9, 0\) is not known"):
        numpyfiles.scan(str(file), OPTIONS)


# remote


def test_what_the_server_leaves_out_is_an_error_or_no_mark(tmp_path, monkeypatch):
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")
    assert filesystems.read_bytes(str(file)) == b"abc"
    assert filesystems._token({"size": None}) == -1
    assert connections._judged(ValueError("no such bucket"))[0] == connections._judged(ValueError("other"))[0]
    with pytest.raises(OSError, match="not a file"):
        readers._local(str(tmp_path))


# stores


def test_a_salt_that_is_too_short_is_damaged(tmp_path):
    store = open_store(tmp_path / "store")
    (store / "salt").write_text("abcd\n")
    with pytest.raises(DatapropsError, match=r"salt is damaged \(it is too short\): restore it, or delete it"):
        open_salt(store)


def test_a_store_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatapropsError, match="cannot be written: Not a directory: choose another --store"):
        open_store(tmp_path / "file" / "store")


def test_a_damaged_summary_is_passed_over(tmp_path, caplog):
    store = open_store(tmp_path / "store")
    for run in ("20260101T000000Z-aa", "20260102T000000Z-bb"):
        folder = store / "results" / "scans" / run
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text("{")
        (folder / "manifest.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert previous_summary(store, "scans", "20260103") is None
        assert other_summaries(store, "others") == []
    assert [record.message.partition(" cannot")[0] for record in caplog.records] == [
        "the summary of run 20260102T000000Z-bb",
        "the summary of run 20260101T000000Z-aa",
    ] * 2


def test_what_the_last_pass_knew_is_dropped_where_it_is_damaged(tmp_path, caplog):
    (tmp_path / "pass.npz").write_bytes(b"PK\3\4 not a zip file")
    assert pass_cache.load_known(tmp_path / "pass.npz", ("a", "b")) is None
    assert "recomputing all pairs" in caplog.text


# values


def test_levels_of_nothing_and_of_one_value_are_black():
    assert levels.percentile_levels(np.array([np.nan, np.inf])) == (0.0, 0.0)
    assert levels.to_levels(np.array([3.0, 4.0]), (5.0, 5.0)).tolist() == [0, 0]
    assert levels.linear_window(np.array([0.0, 1.0]), 1.0, 1.0).tolist() == [0, 255]
    assert ranges.on_levels(np.array([1.0, 2.0]), 2, 2).tolist() == [0, 0]


def facts(kind: str, *ends: tuple[float, float]) -> ranges.Facts:
    return ranges.Facts([kind] * len(ends), np.array([e[0] for e in ends]), np.array([e[1] for e in ends]))


@pytest.mark.parametrize(
    ("given", "option", "told"),
    [
        (facts("", (0, 255)), "0:255", []),
        (facts("", (0, 255)), "0:100", [("0:100: per cent, 0 to 100", "asked for")]),
        (facts(ranges.FLOATS, (np.nan, np.nan)), "auto", []),
        (facts(ranges.INTEGERS, (0, 100), (0, 99)), "auto", [("per cent, 0 to 100", "of")]),
        (facts(ranges.FLOATS, (0, 4000.5)), "auto", [("12 bits, 0 to 4095", "of")]),
        (facts(ranges.FLOATS, (-2000, 3000)), "auto", [("-2000 to 3000", "of")]),
        (facts(ranges.INTEGERS, (0, 9)), "image", [("of each image", "asked for")]),
    ],
)
def test_ranges_of_rare_kinds_are_told(given, option, told):
    found = ranges.decide(given, option)[1]
    assert [value for value, _ in found] == [value for value, _ in told]
    assert all(why in reason for (_, why), (_, reason) in zip(told, found, strict=True))


def test_what_ends_within_its_header_is_an_image_and_what_is_none_is_not():
    assert is_image(b"DDS \x7c\0\0\0", "a.dds")
    assert not is_image(b"x" * 50, "a.dds")


def test_classes_of_several_spellings_are_told_with_their_numbers():
    ((ids, count, words),) = spelling.find(SimpleNamespace(spellings=[("cat", {"cat": 1200, "Cat ": 3})]))
    assert (ids, count) == ((), 1203.0)
    assert words == "The class 'cat' is written as 'cat' (1,200), 'Cat ' (3): write 'cat' everywhere."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = " + "9" * 1000, "too many digits"),
        (".".join(["a"] * 70) + " = 1", "more than 64 parts"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = 2026-02-30T00:00:00Z", "Invalid date"),
    ],
)
def test_toml_that_is_meant_badly_is_no_toml(text, says):
    with pytest.raises(tomllib.TOMLDecodeError, match=says):
        toml.toml_of(text)


def test_a_toml_file_of_megabytes_is_refused(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"#" * (toml.MOST_BYTES + 1))
    with pytest.raises(OSError, match=r"it has 1,048,577 bytes, more than 1,048,576"):
        toml.text_of(tmp_path / "a.toml")


def test_memory_and_version_are_known_where_the_usual_way_is_shut(monkeypatch):
    usual = memory.own_memory()

    def shut(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EACCES, "no /proc")

    monkeypatch.setattr(Path, "read_text", shut)
    assert memory.own_memory() >= usual  # resident: pages of files count
    monkeypatch.setattr(version, "version", lambda name: (_ for _ in ()).throw(version.PackageNotFoundError(name)))
    assert version.package_version.__wrapped__() == "unknown"


# a fit on a terminal, what changed since an audit


def test_a_fit_is_told_with_intervals_what_is_fixed_and_what_is_missing():
    out = io.StringIO()
    result = {
        "rows": 1200,
        "datasets": ["one", "two"],
        "families": ["resnet18"],
        "laws": {
            "bounded": {"n": 1200, "violations": 0.25, "violations_interval": (0.1, 0.4)},
            "lacking": {"rows": 3, "missing": "no row has k_f"},
            "generalization": {
                "rows": 1200,
                "free": {
                    "slopes": {
                        "log_n": {"value": -0.5, "low": -0.7, "high": -0.3, "theory": -0.25},
                        "log_k": {"value": 1.0, "fixed": True},
                        "rest": {"value": 2.0, "low": None, "high": None},
                    },
                    "intervals": "bootstrap-t",
                },
                "fixed": {"missing": "the terms do not vary"},
            },
        },
        "lodo": {},
        "baselines": {},
        "verdicts": {},
        "verdict": "No law could be judged.",
        "forms": {"resnet18": {"test_loss": {"sentence": "The probe is better."}}},
        "notes": ["one row was left out"],
        "folder": "store/calibrations/one",
    }
    print_fit(result, Console(file=out, width=160))
    told = out.getvalue()
    for words in (
        "share of 1,200 rows above the bound",
        "0.250 (0.100 to 0.400)",
        "slope of log n (theory -0.250)",
        "-0.500 (-0.700 to -0.300)",
        "1 (fixed)",
        "slopes fixed: the terms do not vary",
        "No law could be judged.",
        "one source held out at a time",
        "The probe is better.",
        "Note: one row was left out.",
        "store/calibrations/one",
    ):
        assert words in told, f"{words}\n{told}"


def test_a_class_that_is_new_names_where_its_images_were():
    before = pd.DataFrame({"image": range(4), "label": ["a", "a", "b", "b"]})
    now = pd.DataFrame({"image": range(4), "label": ["a", "c", "b", "c"]})
    told = since.changed_classes(before, now, np.array([0, 1, 2, -1]))
    assert told == [
        ("The class “c” is new: 1 of its 2 images came with it; of the others 1 were labelled “a” before.", (1, 3))
    ]
    told = since.changed_classes(before, now, np.array([0, -1, 2, -1]))
    assert told == [("The class “c” is new: 2 of its 2 images came with it.", (1, 3))]


# the helper


def test_a_helper_that_has_ended_takes_no_job():
    child = object.__new__(_Child)
    child._lock, child._ended = threading.Lock(), True
    with pytest.raises(OSError, match="it has ended"):
        child.send(("os", "getcwd", ()))


# rooms whose names are imported when they are asked for, tables of READMEs


def test_names_are_imported_when_they_are_asked_for_and_others_are_none():
    import dataprops.audit
    import dataprops.probe
    from dataprops.audit.audited import Audited
    from dataprops.probe.measure import run_probe

    assert dataprops.probe.run_probe is run_probe and dataprops.audit.Audited is Audited
    for room in (dataprops.audit, dataprops.probe):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            room.nothing  # pyright: ignore[reportAttributeAccessIssue]


def test_the_tables_of_readmes_are_written_where_they_stand(tmp_path, monkeypatch, capsys):
    from dataprops import reference

    whole = next(path for path in reference.readmes() if "findings" in str(path))
    here = tmp_path / "README.md"
    text = whole.read_text(encoding="utf-8")
    here.write_text(text.replace("| `outliers` |", "| `out` |"), encoding="utf-8")
    monkeypatch.setattr(reference, "readmes", lambda: [here])
    reference.main()
    assert here.read_text(encoding="utf-8") == text
    assert capsys.readouterr().out == f"{here}\n"


# more of NumPy's files, volumes and published files that are cut off


def test_rows_beyond_the_end_of_a_file_are_errors_and_the_others_images(tmp_path):
    pixels = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    np.savez_compressed(tmp_path / "images.npz", images=pixels)
    place = str(tmp_path / "images.npz")
    keys = numpyfiles.scan(place, OPTIONS)["key"].tolist()
    found = dict(numpyfiles.stream(place, keys, OPTIONS))
    assert [found[key].pixels.tolist() for key in keys] == pixels.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(numpyfiles.read(place, keys[2], OPTIONS).pixels, pixels[2])
    beyond = keys[0].replace(keys[0].rpartition("/")[2], "9")
    assert isinstance(dict(numpyfiles.stream(place, [beyond], OPTIONS))[beyond], OSError)
    with pytest.raises(OSError, match="the file ends within it"):
        numpyfiles.read(place, beyond, OPTIONS)
    np.save(tmp_path / "plain.npy", pixels)
    place = str(tmp_path / "plain.npy")
    (key, *_) = numpyfiles.scan(place, OPTIONS)["key"].tolist()
    beyond = key.replace(key.rpartition("/")[2], "9")
    ((_, content),) = numpyfiles.stream(place, [beyond], OPTIONS)
    assert isinstance(content, OSError) and content.strerror == "the file ends within it"


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ((9, 8, 7), "its segmentation has 9 x 8 x 7 voxels, the volume 8 x 8 x 8"),
        (None, "its segmentation cannot be read"),
    ],
)
def test_a_volume_whose_segmentation_does_not_fit_says_why(tmp_path, mask, says):
    import nibabel

    from dataprops.imaging.decode import UnreadableImage
    from dataprops.sources import open_source

    voxels = np.random.default_rng(0).uniform(0, 9, (8, 8, 8)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    if mask is None:
        (tmp_path / "a_seg.nii").write_bytes(b"damaged")
    else:
        nibabel.save(nibabel.Nifti1Image(np.ones(mask, np.float32), np.eye(4)), tmp_path / "a_seg.nii")
    source = open_source(f"nifti:{tmp_path}", SourceOptions(rules=("segmentation=_seg",)))
    (key,) = source.scan()["key"]
    with pytest.raises(UnreadableImage, match=says):
        source.read(key)


def test_a_damaged_part_of_cifar_100_is_one_image_that_cannot_be_read(tmp_path, caplog):
    from dataprops.sources import open_source
    from tests.test_paper_sources import cifar100

    cifar100(tmp_path, "python", np.zeros((6, 3072), np.uint8))
    (tmp_path / "cifar-100-python/test").write_bytes(b"no pickle")
    (tmp_path / "cifar-100-python/meta").write_bytes(b"no pickle")
    source = open_source(f"cifar100:{tmp_path}")
    table = source.scan()
    assert table["key"].tolist().count("test") == 1 and len(table) == 4
    assert set(table["label"].dropna()) == {"10", "11", "12"}  # called by their numbers
    assert "it counts as one image that cannot be read" in caplog.text
    (tmp_path / "cifar-100-python/train").unlink()
    with pytest.raises(OSError, match="the file is gone"):
        source.read("train/00001")


def test_an_image_of_stl_10_that_is_cut_off_is_an_error(tmp_path):
    from dataprops.sources import open_source

    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}_X.bin").write_bytes(bytes(2 * 27_648 - 5))
        (folder / f"{split}_y.bin").write_bytes(bytes([1, 2]))
    (folder / "class_names.txt").write_text("airplane\nbird\n")
    source = open_source(f"stl10:{tmp_path}")
    assert not source.scan()["key"].str.startswith("unlabeled").any()
    with pytest.raises(OSError, match=r"train_X\.bin is cut off in image 1"):
        source.read("train/000001")


# what is kept on disk


def test_a_damaged_audit_serves_no_prediction(tmp_path):
    from dataprops.audit.config import AuditConfig
    from dataprops.audit.serving import serving_audit

    store = open_store(tmp_path / "store")
    folder = store / "results" / "digits" / "20260101T000000Z-aa"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("{")
    assert serving_audit(store, AuditConfig(source="digits:", store=str(store)), None) is None


def test_kernels_are_compiled_where_nothing_can_be_kept(monkeypatch):
    from dataprops.util import compiled

    usual, asked = compiled.numba.njit, []

    def njit(**options: Any) -> Any:
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return usual(**options)

    monkeypatch.setattr(compiled, "numba", SimpleNamespace(njit=njit))
    assert compiled.njit(nogil=True, cache=True)(lambda x: x + 1)(2) == 3
    assert asked == [{"cache": True, "nogil": True}, {"nogil": True}]


def test_an_error_of_a_kernel_that_is_not_of_the_cache_is_raised(monkeypatch):
    from dataprops.util import compiled

    def njit(**options: Any) -> Any:
        raise RuntimeError("no such target")

    monkeypatch.setattr(compiled, "numba", SimpleNamespace(njit=njit))
    with pytest.raises(RuntimeError, match="no such target"):
        compiled.njit(cache=True)(lambda x: x)
