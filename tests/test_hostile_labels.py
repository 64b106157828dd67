"""Files of labels, and names, that were made to take for ever: each is read in the time of its length.

A hang is what fails here: the same files took hours, or would not have ended.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from dataprops.sources import objects, open_source
from dataprops.sources.companions import Companions
from dataprops.sources.table import SourceOptions
from tests.make_images import save

LONG = 300_000  # characters: what takes a look at each pair of them takes minutes, at each three for ever
XML = {
    "images that are not closed": "<annotations>" + "<image>" * (LONG // 7),
    "images without an end": "<annotations>" + "<image " * (LONG // 7),
    "shapes without an end": '<annotations><image name="a.png">' + "<box " * (LONG // 5) + "</image>",
    "objects that are not closed": "<annotation>" + "<object>" * (LONG // 8),
    "names within names": "<annotation><object>" + "<name>" * (LONG // 6),
    "a name of blanks": "<annotation><object><name>" + " " * LONG,
}
TEXTS = {
    "a number": "1" * LONG + "x",
    "a box": "1 " * 4 + "1" * LONG + "x",
    "a name and a number": "a " + "1" * LONG + "x",
    "many numbers": "1 " * (LONG // 2) + "x",
    "a name": "1 " * 8 + "x" * LONG + " x",
}
YAML = {
    "lists that are not closed": "names: [\n" * (LONG // 9),
    "a word after blanks": "names:\n- a" + " " * LONG + "b",
    "blank lines": "names:\n" + " " * LONG,
}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", np.zeros((8, 8), np.uint8))
    return tmp_path


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(pytest.param("a.xml", text, id=what) for what, text in XML.items()),
        *(pytest.param("annotations.xml", text, id=f"{what}, of all") for what, text in XML.items()),
        *(pytest.param("a.txt", text, id=what) for what, text in TEXTS.items()),
    ],
)
def test_a_file_of_labels_that_does_not_end_as_it_should_ends_no_scan(name, text, folder):
    (folder / name).write_text(text)
    table = open_source(str(folder)).scan()
    assert len(table) == 2 and table["label"].nunique() <= 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("text", YAML.values(), ids=list(YAML))
def test_names_of_classes_that_do_not_end_as_they_should_end_no_scan(text, folder):
    (folder / "data.yaml").write_text(text)
    (folder / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    table = open_source(str(folder)).scan().set_index("key")
    assert table["label"]["a.png"] is not None


def test_what_files_of_labels_say_is_read_as_before():
    assert list(objects._cvat_images('<annotations><image id="1" name="a.png"/><images><image x="2">in</image>')) == [
        (' id="1" name="a.png"', ""),
        (' x="2"', "in"),
    ]
    voc = "<annotation><object><part><name> head &amp; neck\n</name></part><name>man</name></object><object><pose/></object>"
    assert list(objects._voc_objects(voc + "<object><name>dog</name></object>")) == ["head & neck", "dog"]
    for number in ("1", "-1.5", ".5", "+2e-3", "1E5"):
        assert objects._class_in(f"3 {number} {number} {number} {number}") == "3"
        assert objects._class_in(f"{number} " * 8 + "ship 1") == "ship"
        assert objects._class_in("Car" + f" {number}" * 14) == "Car"
    assert objects._class_in("3 1. 1 1 x") is None
    texts = {
        "names: [cat, 'dog']\n": {"0": "cat", "1": "dog"},
        'names:\n  0: cat \n  7: "dog"\n': {"0": "cat", "7": "dog"},
    }
    for text, names in texts.items():
        beside = Companions([], [], lambda _, text=text: text.encode(), SourceOptions())
        assert objects._class_names("data.yaml", beside) == names


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["a.", "1.", "A1", "{1..2}", "a-"])
def test_names_that_no_file_could_have_are_left_out_of_an_archive(what, tmp_path):
    save(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number in range(40):
            archive.write(tmp_path / "a.png", f"{what * (60_000 // len(what))}{number}.png")
        archive.write(tmp_path / "a.png", f"{'/'.join(['b' * 200] * 20)}/last.png")
    table = open_source(str(tmp_path / "set.zip")).scan()
    assert len(table) == 1
    assert list(table.attrs["reasons"].values()) == ["unsafe name"] * 40
