"""Findings: what is planted is found, counts are exact where lists are cut, nothing is found where nothing is."""

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprops.checks.alerts import raise_alerts
from dataprops.checks.thresholds import load_thresholds
from dataprops.errors import DatapropsError
from dataprops.findings import (
    FINDINGS,
    Check,
    Context,
    Finding,
    find,
    measures,
    register,
    shortcut_scores,
    unregister,
)
from dataprops.sources.account import FOLDERS_USED, IN_DOUBT

NO_PAIRS = pd.DataFrame({"a": [], "b": [], "distance": []}).astype({"a": np.int64, "b": np.int64, "distance": float})
NO_SHARP = NO_PAIRS.assign(sharpness=[])


def table(n: int, **columns) -> pd.DataFrame:
    """n readable, distinct images of two classes without anything to find."""
    rng = np.random.default_rng(0)
    base = {
        "image": np.arange(n),
        "path": [f"{'ab'[i % 2]}/{i:04d}.png" for i in range(n)],
        "label": ["ab"[i % 2] for i in range(n)],
        "y": np.arange(n) % 2.0,
        "split": pd.Series([None] * n, dtype=object),
        "group": pd.Series([None] * n, dtype=object),
        "bytes": 100 + rng.integers(0, 50, n),
        "content": [f"c{i}" for i in range(n)],
        "pixels": [f"p{i}" for i in range(n)],
        "format": "PNG",
        "mode": "L",
        "width": 10,
        "height": 10,
        "peak": 255,
        "error": pd.Series([None] * n, dtype=object),
        "duplicate_of": np.arange(n),
        "knn_distance": rng.uniform(90, 110, n),
    }
    return pd.DataFrame(base | columns)


def near_pairs(*pairs: tuple[int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(list(pairs), columns=["a", "b", "distance"]) if pairs else NO_PAIRS


def run(images, near=NO_PAIRS, sharpest=NO_SHARP, **options):
    context = Context(images, near, sharpest, 100, checks=load_thresholds(), **options)
    context = context._replace(shortcuts=shortcut_scores(images, context.kind, context.seed, context.described))
    return find(context), measures(context)


def kinds(found: pd.DataFrame) -> dict[str, int]:
    return found["kind"].value_counts().to_dict()


def test_nothing_is_found_where_nothing_is():
    found, numbers = run(table(200))
    assert kinds(found) == {}
    assert list(found.columns) == ["kind", "severity", "images", "paths", "value", "detail"]
    assert numbers["redundant_share"] == numbers["outlier_share"] == numbers["conflict_pairs"] == 0
    assert "split_leaks" not in numbers  # there are no splits
    assert "group_leaks" not in numbers


def test_each_planted_fault_is_named():
    images = table(60)
    images.loc[10, "duplicate_of"] = 4  # same label
    images.loc[11, "duplicate_of"] = 6  # another label
    images.loc[20, ["pixels", "error"]] = [None, "the file is empty"]
    images.loc[20, "duplicate_of"] = -1
    images.loc[30, "knn_distance"] = 5000.0
    images.loc[40, ["y", "label"]] = [np.nan, None]
    images["split"] = np.where(np.arange(60) < 30, "train", "test")
    images["group"] = [f"patient {i // 2}" for i in range(60)]
    images.loc[59, "group"] = "patient 0"
    found, numbers = run(images, near_pairs((2, 50, 7.0)))
    named = {kind: part["images"].map(list).tolist() for kind, part in found.groupby("kind")}
    assert named["unreadable"] == [[20]]
    assert named["exact_duplicates"] == [[4, 10], [6, 11]]
    assert named["label_conflicts"] == [[6, 11]]
    assert named["near_duplicates"] == [[2, 50]]
    assert named["split_leakage"] == [[2, 50]]
    assert named["group_leakage"] == [[0, 1, 59]]
    assert named["outliers"] == [[30]]
    assert named["unlabelled"] == [[40]]
    # every patient has both classes, but one whose other image has no label and one whose other image went to patient 0
    assert len(named["group_in_classes"]) == 28
    assert set(named) == {*named} & set(FINDINGS)
    assert numbers["conflict_pairs"] == numbers["split_leaks"] == numbers["group_leaks"] == 1
    assert numbers["redundant_share"] == 2 / 59
    assert found["kind"].map(list(FINDINGS).index).is_monotonic_increasing


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from(["train", "test", None])), max_size=25))
def test_conflicts_and_leaks_are_counted_exactly(rows):
    """Images given as (picture, label, split): counts equal those of all pairs, also when the lists are cut."""
    n = len(rows)
    if not n:
        return
    first: dict[int, int] = {}
    images = table(n)
    images["duplicate_of"] = [first.setdefault(picture, i) for i, (picture, _, _) in enumerate(rows)]
    images["y"] = [float(label) for _, label, _ in rows]
    images["label"] = [str(label) for _, label, _ in rows]
    images["split"] = pd.Series([split for _, _, split in rows], dtype=object)
    near = near_pairs((first[0], first[1], 1.0)) if 0 in first and 1 in first else NO_PAIRS
    if len(near) and near["a"].iloc[0] > near["b"].iloc[0]:
        near = near.rename(columns={"a": "b", "b": "a"})
    conflicts = [(i, j) for i, j in combinations(range(n), 2) if rows[i][0] == rows[j][0] and rows[i][1] != rows[j][1]]
    close = {(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (0, 1), (1, 0)}
    leaks = [
        (i, j)
        for i, j in combinations(range(n), 2)
        if (rows[i][0], rows[j][0]) in close and None not in (rows[i][2], rows[j][2]) and rows[i][2] != rows[j][2]
    ]
    found, numbers = run(images, near)
    cut, same = run(images, near, limit=2)
    assert numbers["conflict_pairs"] == same["conflict_pairs"] == len(conflicts)
    assert numbers.get("split_leaks", 0) == same.get("split_leaks", 0) == len(leaks)
    named = found.loc[found["kind"] == "split_leakage", "images"].map(lambda ids: tuple(sorted(ids)))
    assert sorted(named) == leaks
    assert cut["kind"].value_counts().max() <= 2 if len(cut) else True


def test_an_image_without_a_split_leaks_into_none(tmp_path):
    """A table that was read has NaN there, not None."""
    images = table(60)
    images["split"] = ["train" if i < 30 else "test" if i < 50 else None for i in range(60)]
    images.to_parquet(tmp_path / "images.parquet")
    found, numbers = run(pd.read_parquet(tmp_path / "images.parquet"), near_pairs((2, 50, 7.0), (3, 40, 7.0)))
    assert found.loc[found["kind"] == "split_leakage", "images"].map(list).tolist() == [[3, 40]]
    assert numbers["split_leaks"] == 1


def test_random_distances_hold_no_outlier_and_copies_of_one_are_named_with_it():
    for seed in range(20):
        distances = np.exp(np.random.default_rng(seed).normal(5, 0.1, 1000))
        assert kinds(run(table(1000, knn_distance=distances))[0]) == {}
    images = table(100)
    images.loc[[7, 9], "knn_distance"] = 3000.0
    images.loc[9, "duplicate_of"] = 7
    found, numbers = run(images)
    assert found.loc[found["kind"] == "outliers", "images"].map(list).tolist() == [[7, 9]]
    assert numbers["outlier_share"] == 0.02


def test_unequal_small_and_empty_classes():
    images = table(100)
    images["label"] = ["a"] * 90 + ["b"] * 9 + ["c"]
    images["y"] = [0.0] * 90 + [1.0] * 9 + [2.0]
    found, numbers = run(images, empty_classes=("d",))
    assert kinds(found) == {"class_imbalance": 1, "small_class": 3}
    assert numbers["class_ratio"] == 90
    assert numbers["smallest_class"] == 0
    assert numbers["n_classes"] == 4


@pytest.mark.parametrize(
    ("column", "values", "property_name"),
    [
        ("format", ["PNG", "JPEG"], "file format"),
        ("mode", ["L", "RGB"], "colour mode"),
        ("width", [10, 12], "width"),
        ("height", [10, 14], "height"),
    ],
)
def test_a_property_that_tells_the_class_is_a_shortcut(column, values, property_name):
    images = table(100, path=[f"{'ab'[i % 2]}/{i:04d}" for i in range(100)])  # names that say no format
    images[column] = [values[i % 2] for i in range(100)]
    found, numbers = run(images)
    assert kinds(found) == {"shortcut": 1}
    detail = found["detail"].iloc[0]
    assert property_name in detail or column in ("width", "height")
    one, other = (f"{value} in all" for value in values)
    assert detail.endswith(f" By class: a {one}; b {other}.") or property_name not in detail
    images["width"] = [10 if i % 2 else 20 + i for i in range(100)]  # one class of one width, one of many
    wide = images.assign(mode="L", format="PNG", height=10)
    assert run(wide)[0]["detail"].iloc[0].endswith(" By class: a 44 to 94 in half of them; b 10 in all.")
    assert numbers["shortcut_score"] == 1.0


def test_file_size_is_reported_but_no_shortcut():
    images = table(100, bytes=[100 + 50 * (i % 2) for i in range(100)])
    found, numbers = run(images)
    assert kinds(found) == {}
    assert "shortcut_score" not in numbers
    scores = shortcut_scores(images)
    assert scores["property"].tolist() == ["file size"]
    assert scores["score"].iloc[0] == 1.0


def test_properties_without_a_bearing_score_near_chance():
    rng = np.random.default_rng(1)
    images = table(400, width=rng.integers(10, 200, 400), height=rng.integers(10, 200, 400))
    scores = shortcut_scores(images)
    assert scores["chance"].unique().tolist() == [0.5]
    assert (scores["score"] < 0.25).all()


def test_a_column_of_the_manifest_that_tells_the_class_is_named_and_others_are_not():
    rng = np.random.default_rng(3)
    images = table(120)
    y = images["y"].to_numpy()
    site = np.where((y == 1) ^ (np.arange(120) % 20 < 2), "north", "south").astype(object)
    site[::17] = None
    described = pd.DataFrame(
        {
            "site": site,
            "kVp": np.char.mod("%d", np.where(y == 1, 110, 80) + rng.integers(0, 12, 120)),
            "operator": rng.choice(list("abc"), 120),  # tells nothing
            "accession": [f"{int(label)}{i:04d}" for i, label in enumerate(y)],  # an id of each image
            "class_id": y.astype(int).astype(str),  # the label in other words
            "words": images["label"].to_numpy(object),
            "empty": None,
        },
        dtype=object,
    )
    scores = shortcut_scores(images, described=described)
    assert {name for name in scores["property"] if name.startswith("column")} == {"column “site”", "column “kVp”"}
    found, numbers = run(images, described=described)
    assert kinds(found) == {"shortcut": 2}
    assert (
        found["detail"]
        .str.startswith("The column “kVp” alone predicts the class for 100 % of the held-out images (bal")
        .iloc[0]
    )
    assert found["detail"].iloc[1].endswith(" By value: “south”: a (89 % of 57), “north”: b (91 % of 55).")
    assert numbers["column_shortcut_score"] == 1.0
    assert "shortcut_score" not in numbers or numbers["shortcut_score"] < 0.33


def test_numeric_labels_have_no_classes_but_shortcuts():
    images = table(100, y=np.linspace(0, 1, 100), label=[str(v) for v in np.linspace(0, 1, 100)])
    images["width"] = np.arange(100) * 3 + 5
    found, numbers = run(images, kind="numbers")
    assert kinds(found) == {"shortcut": 1}
    assert "class_ratio" not in numbers
    assert numbers["shortcut_score"] > 0.8


def test_sets_of_one_unreadable_or_unlabelled_image():
    one = table(1)
    assert kinds(run(one)[0]) == {"small_class": 1}
    one.loc[0, ["pixels", "error"]] = [None, "damaged"]
    one.loc[0, "duplicate_of"] = -1
    found, numbers = run(one)
    assert kinds(found) == {"unreadable": 1, "small_class": 1}
    assert numbers["unreadable_share"] == 1.0
    bare = table(30, y=np.nan, label=pd.Series([None] * 30, dtype=object))
    found, numbers = run(bare, kind="none")
    assert kinds(found) == {}
    assert "conflict_pairs" not in numbers


# --- the table of findings -------------------------------------------------------------------------------------------


def faulty_set() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A set with every fault that a finding with a check names; near pairs; sharpest pairs."""
    images = table(60)
    images.loc[10, "duplicate_of"] = 4
    images.loc[11, "duplicate_of"] = 6
    images.loc[20, ["pixels", "error"]] = [None, "the file is empty"]
    images.loc[20, "duplicate_of"] = -1
    images.loc[30, "knn_distance"] = 5000.0
    images.loc[40, ["y", "label"]] = [np.nan, None]
    images["split"] = np.where(np.arange(60) < 30, "train", "test")
    images["group"] = [f"patient {i // 2}" for i in range(60)]
    images.loc[59, "group"] = "patient 0"
    sharpest = pd.DataFrame({"a": [0], "b": [1], "distance": [10.0], "sharpness": [0.1]})
    return images, near_pairs((2, 50, 7.0)), sharpest


BOUNDS = st.none() | st.sampled_from([-1.0, 0.0, 0.01, 1.0, 1.5, 3.0, 10.0]) | st.floats(-1e3, 1e3)


@functools.cache
def shortcuts_of(clean: bool):
    """Of the clean set or of the faulty one: they take longer than all else, and depend on no threshold."""
    return shortcut_scores(table(60) if clean else faulty_set()[0])


@settings(max_examples=30, deadline=None)
@given(
    bounds=st.dictionaries(st.sampled_from(sorted(load.name for load in load_thresholds())), st.tuples(BOUNDS, BOUNDS))
)
@pytest.mark.parametrize("clean", [False, True])
def test_every_alert_with_kinds_has_evidence_under_any_thresholds(clean, bounds):
    images, near, sharpest = (table(60), NO_PAIRS, faulty_set()[2]) if clean else faulty_set()
    checks = tuple(
        replace(check, min=bounds[check.name][0], max=bounds[check.name][1]) if check.name in bounds else check
        for check in load_thresholds()
    )
    context = Context(images, near, sharpest, 100, checks=checks, shortcuts=shortcuts_of(clean))
    numbers = measures(context)
    for alert in raise_alerts(numbers, checks, find(context, numbers)):
        kinds = next(check.kinds for check in checks if check.name == alert.name)
        assert alert.findings > 0 or not kinds, alert


def test_findings_are_judged_by_the_thresholds_in_force():
    images = table(90)
    images.loc[:53, "label"] = "a"  # 72 to 18: 4 to 1
    checks = {check.name: check for check in load_thresholds()}
    for bound, said in ((3.0, 1), (5.0, 0), (2.0, 1)):
        mine = tuple((checks | {"class_ratio": replace(checks["class_ratio"], max=bound)}).values())
        found = find(Context(images, NO_PAIRS, NO_SHARP, 100, checks=mine))
        assert kinds(found).get("class_imbalance", 0) == said, bound
    without = tuple(check for check in checks.values() if check.name != "class_ratio")
    assert "class_imbalance" not in kinds(find(Context(images, NO_PAIRS, NO_SHARP, 100, checks=without)))


def test_a_finding_of_ones_own_is_found_checked_and_can_be_removed():
    def dark(context):
        for image in context.images.loc[context.images["peak"] < 50, "image"]:
            yield (image,), 0.0, "it is dark"

    own = Finding(
        name="dark",
        severity="info",
        title="Dark images",
        explanation="Nothing can be seen on them.",
        find=dark,
        measures=lambda context: {"dark_share": float((context.images["peak"] < 50).mean())},
        checks=(
            Check(
                name="dark",
                measure="dark_share",
                max=0.0,
                severity="warning",
                title="t",
                sentence="{value:share} dark.",
            ),
        ),
        shown="images",
    )
    register(own)
    try:
        with pytest.raises(DatapropsError, match="'dark' is taken"):
            register(own)
        images = table(50)
        images.loc[3, "peak"] = 20
        found, numbers = run(images)
        assert kinds(found)["dark"] == 1
        (alert,) = [a for a in raise_alerts(numbers, load_thresholds(), found) if a.name == "dark"]
        assert (alert.sentence, alert.images) == ("2.0 % dark.", (3,))
    finally:
        unregister("dark")
    assert "dark" not in FINDINGS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Not a name"}, "lower-case"),
        ({"severity": "awful"}, "severity must be one of"),
        ({"shown": "film"}, "shown must be one of"),
        ({"checks": (replace(load_thresholds()[1], kinds=()),)}, "check name 'unreadable' is taken"),
    ],
)
def test_a_finding_that_does_not_fit_is_refused(change, words):
    fine = Finding(name="mine", severity="info", title="t", explanation="e", find=lambda context: ())
    with pytest.raises(DatapropsError, match=words):
        register(replace(fine, **change))
    assert not {"mine", "Not a name"} & set(FINDINGS)


def test_a_shortcut_shows_images_of_every_class_with_what_tells_it():
    images = table(100)
    images["format"] = [("PNG", "JPEG")[i % 2] for i in range(100)]
    images.loc[0, "format"] = "JPEG"  # no usual one of its class
    found, _ = run(images.assign(path=images["path"].str.removesuffix(".png")))
    (ids,) = found["images"]
    assert ids == [2, 1, 4, 3]  # of each class in turn two that have its usual format
    site = pd.DataFrame({"site": [("south", "north")[i % 2] for i in range(100)]}, dtype=object)
    (ids,) = run(table(100), described=site)[0]["images"]
    assert ids == [0, 1, 2, 3]
    numbers = table(100, y=np.linspace(0, 1, 100), label=[str(v) for v in np.linspace(0, 1, 100)])
    numbers["width"] = np.arange(100) * 3 + 5
    (ids,) = run(numbers, kind="numbers")[0]["images"]
    assert ids == [0, 1, 98, 99]  # the smallest and the largest


def test_a_shortcut_goes_on_although_other_examples_are_shown():
    from dataprops.audit.opened import opened_closed

    def told(ids: list[int], what: str, says: str = "alone predicts X") -> pd.DataFrame:
        row = {
            "kind": "shortcut",
            "images": ids,
            "paths": [str(i) for i in ids],
            "detail": f"The {what} {says}.",
        }
        return pd.DataFrame([row])

    same = np.arange(9)
    assert opened_closed(told([1, 2], "width"), told([3, 4], "width"), same, ["shortcut"]) == ({}, {})
    older = told([3, 4], "width", "tells the class: X")  # by an older version
    assert opened_closed(told([1, 2], "width", "predicts the class: X"), older, same, ["shortcut"]) == ({}, {})
    opened, closed = opened_closed(told([1, 2], "width"), told([1, 2], "height"), same, ["shortcut"])
    assert opened["shortcut"]["count"] == closed["shortcut"]["count"] == 1


@pytest.mark.parametrize(
    ("label", "decision", "rows"),
    [
        (
            None,
            {"what": "labels", "value": "none", "why": "tables lie beside the images: a.csv", "option": "giving it"},
            1,
        ),
        (
            "all",
            {"what": "labels", "value": "none", "why": "tables lie beside the images: a.csv", "option": "giving it"},
            1,
        ),
        (
            None,
            {"what": "classes", "value": "none", "why": "names end with 0, 1", "option": "--label-pattern '_([0-9])'"},
            1,
        ),
        (None, {"what": "classes", "value": "none", "why": "one folder images", "option": "--layout"}, 0),
        (
            "two",
            {"what": "labels", "value": "none", "why": "tables lie beside the images: a.csv", "option": "giving it"},
            0,
        ),
        ("two", {"what": "classes", "value": IN_DOUBT, "why": "2019, 2020 look like years", "option": "--layout"}, 1),
        ("two", {"what": "splits", "value": "none", "why": "x.txt may tell them", "option": "giving it"}, 1),
        ("two", {"what": "labels", "value": FOLDERS_USED, "why": "a.csv gives other labels", "option": "giving it"}, 1),
    ],
)
def test_labels_that_were_not_read_are_told(label, decision, rows):
    y = {None: np.nan, "all": 0.0, "two": np.arange(6) % 2.0}[label]
    images = table(6, y=y, label=label)
    found, numbers = run(images, kind="none" if label is None else "classes", decisions=[decision])
    assert kinds(found).get("unread_labels", 0) == rows == numbers["places_of_unread_labels"]
    if rows:
        (detail,) = found.loc[found["kind"] == "unread_labels", "detail"]
        assert decision["option"] in detail


def test_files_whose_ending_is_that_of_another_format_are_told():
    images = table(
        7,
        path=["a.png", "b.PNG", "c.jpg", "d.tif", "e.bin", "f.jpeg", "g"],
        format=["PNG", "JPEG", "MPO", "NIFTI", "PNG", "DICOM", "JPEG"],
    )
    found = find(Context(images, NO_PAIRS, NO_SHARP, 100)).query("kind == 'misnamed'")
    assert found["paths"].tolist() == [["b.PNG"], ["f.jpeg"]]  # NIFTI has no ending of its own here, and MPO is a JPEG
    assert found["detail"].tolist() == [
        "“b.PNG” is JPEG by its content; its name says PNG.",
        "“f.jpeg” is DICOM by its content; its name says JPEG.",
    ]
    assert set(found["severity"]) == {"info"}
