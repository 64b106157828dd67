"""The trial of alerts between two audits (`tests.benchmarks.alarms`): halves, planted changes, counts; tables of sharpness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks import alarms, sharpness


def a_set(folder: Path, side: int = 10) -> alarms.Files:
    """Two classes of six pictures, of two groups each."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{i // 3}_{i}.png")
    return alarms.drawn(folder, 12)


def names(files: alarms.Files) -> set[str]:
    return {file.name for part in files.values() for file in part}


def test_halves_are_disjoint_and_hold_whole_groups(tmp_path):
    files = a_set(tmp_path / "set")
    for draw in range(5):
        one, two = (names(alarms.half(files, r"^(\w\d)_", draw, side)) for side in (0, 1))
        assert one | two == names(files)
        assert not {name[:2] for name in one} & {name[:2] for name in two}


def test_each_change_is_planted_as_it_says(tmp_path):
    files, made = a_set(tmp_path / "set"), tmp_path / "made"

    def after(change: str) -> set[str]:
        alarms.CHANGES[change][1](files, made)
        return {str(file.relative_to(made)) for file in made.rglob("*.png")}

    assert (
        len(after("flipped") & {f"{name[0]}/{name}" for name in names(files)}) == 11
    )  # a tenth of twelve is elsewhere
    assert {path[0] for path in after("merged")} == {"a"}
    after("smaller")
    assert {Image.open(file).size for file in made.rglob("*.png")} == {(2, 2)}
    after("blurred")
    assert {Image.open(file).size for file in made.rglob("*.png")} == {(10, 10)}
    alarms.CHANGES["leak_removed"][0](files, made)
    assert not {path for path in after("leak_removed") if "again" in path}
    alarms.CHANGES["more_20"][0](files, made)
    before = set(made.rglob("*.png"))
    assert len(before) == 10
    after("more_20")
    assert before < set(made.rglob("*.png"))


def test_alarms_are_alerts_that_the_second_audit_opens():
    one = {"alerts": {"conflicts": ["critical", 1.0]}, "change": {}}
    two = {"alerts": {"loss_rises": ["warning", 0.2]}, "change": {"value": 0.3}}
    told = alarms.compared(one, two)
    assert (list(told["opened"]), told["closed"]) == (["loss_rises"], ["conflicts"])
    judged = alarms.judged([{"set": "s", "draw": i} | alarms.compared(one, two if i else one) for i in range(4)])
    assert judged["pairs"] == 4
    assert judged["opened"] == {"loss_rises": {"times": 3, "sets": ["s"]}}


def test_sharpness_under_equal_preprocessing_is_per_grey_level(tmp_path):
    """1 / root mean square distance of the sharpest pair: the same at every size where pictures are of one colour each."""
    for name, levels in (("a", (0, 10)), ("b", (30, 90))):
        (tmp_path / name).mkdir()
        for level in levels:
            Image.new("RGB", (8, 8), (level, level, level)).save(tmp_path / name / f"{level}.png")
    cells = sharpness.row_of_equal(tmp_path, 4).strip("| ").split(" | ")
    assert cells[1:4] == ["0.0500"] * 3  # 10 and 30 are 20 apart
