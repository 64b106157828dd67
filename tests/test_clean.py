"""`dataprops clean`, its formats, and what `dataprops.audit` gives to a notebook."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import dataprops
from dataprops.audit import audit
from dataprops.audit.cleaning import FORMATS, clean, open_results, write_list
from dataprops.audit.comparison import compare
from dataprops.audit.stages import check
from dataprops.errors import DatapropsError
from dataprops.findings.removal import all_but_one, out_of_training, removal_kinds, removed_images
from dataprops.laws.prediction import Prediction
from dataprops.report.changes import sentences
from dataprops.util.cells import plain_cell, safe_cell
from flows.cli import main
from tests.make_images import SIZE, random_folder, save


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A set with a conflict, a copy, a leak and a hostile class name, audited."""
    root = tmp_path_factory.mktemp("clean")
    images = random_folder(root / "set/train", {"=benign": 14, "malignant": 14})
    images |= {f"test/{name}": pixels for name, pixels in random_folder(root / "set/test", {"malignant": 6}, 5).items()}
    save(root / "set/train/malignant/conflict.png", images["=benign/000.png"])
    save(root / "set/train/malignant/copy.png", images["malignant/001.png"])
    save(root / "set/train/malignant/leak.png", images["test/malignant/002.png"])
    result = dataprops.audit(root / "set", store=str(root / "store"), size=SIZE, k=5)
    return root, result


def run(*words: str):
    return CliRunner().invoke(main, list(words))


def test_a_manifest_leaves_out_what_was_found_and_can_be_audited(audited, tmp_path):
    root, first = audited
    out = tmp_path / "clean.csv"
    said = run(
        "clean", "set", "--store", str(root / "store"), "--remove", "duplicates,conflicts,leaks", "--out", str(out)
    )
    assert said.exit_code == 0, said.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "split", "group"]
    left = {str(Path(row["path"]).relative_to(root / "set")) for row in rows}
    gone = {str(p.relative_to(root / "set")) for p in (root / "set").rglob("*.png")} - left
    # both of a conflict; one of a copy; of a leak the training image
    assert gone == {
        "train/=benign/000.png",
        "train/malignant/conflict.png",
        "train/malignant/copy.png",
        "train/malignant/leak.png",
    }
    assert {row["label"] for row in rows} == {"'=benign", "malignant"}  # no formula for a spreadsheet
    again = audit(out, name="set", store=str(root / "store"), size=SIZE, k=5, probe=False)
    assert set(again["labels"]["classes"]) == {"=benign", "malignant"}  # and the label that it was
    assert not any(again["findings"][kind] for kind in ("label_conflicts", "exact_duplicates", "split_leakage"))
    assert sorted(again.images["split"].unique()) == ["test", "train"]
    found = compare(first.folder, again.folder)
    assert {kind: part["count"] for kind, part in found["closed"].items() if kind != "sharpest_pairs"} == {
        "label_conflicts": 1,
        "split_leakage": 1,
        "exact_duplicates": 3,
    }
    assert "label_conflicts" not in found["opened"]
    assert any(line.startswith("Resolved: 1 × Identical images") for line in sentences(found))
    near = {"opened": {"split_leakage": {"count": 2}}, "closed": {}, "changes": []}
    counts = {"added": 0, "removed": 3, "relabelled": 0, "kept": 9}
    assert any(line.startswith("New near-copies although") for line in sentences(near | {"images": counts}))
    assert not any("although" in line for line in sentences(near | {"images": counts | {"added": 1}}))


def test_unchanged_files_say_so(audited):
    root, _ = audited
    one, two = (audit(root / "set", name="twice", store=str(root / "store"), size=SIZE, k=5) for _ in range(2))
    found = compare(one.folder, two.folder)
    assert not found["opened"] and not found["closed"]
    assert all(change["low"] == change["high"] == 0 for change in found["changes"] if not change["withheld"])
    assert len(sentences(found)) == 1 and "Same files as in the previous audit" in sentences(found)[0]
    assert "Same files as in the previous audit" in Path(two["report"]).read_text()
    told = next(p for p in two["predictions"] if p["name"] == "log_loss_change")
    assert told["withheld"] or (told["low"] == told["high"] == 0 and "are the same as in run" in told["sentence"])


@pytest.mark.parametrize("moved, told", [(4e-5, 0.0), (-4e-5, 0.0), (4e-4, 4e-4)])
def test_rounding_between_versions_is_no_change_of_the_same_files(moved, told):
    change = Prediction("log_loss_change", moved, moved / 2, moved * 2, "nats", "", "", significant=True)
    kept = check._unchanged(change, "before")
    assert (kept.value, kept.significant) == (told, told != 0)


def test_names_of_what_is_removed():
    assert removal_kinds(["near", "near_duplicates"]) == ("near_duplicates",)
    with pytest.raises(DatapropsError, match="did you mean duplicates"):
        removal_kinds("duplicate")
    with pytest.raises(DatapropsError, match="nothing to remove"):
        removal_kinds(" ,")


def test_an_unknown_command_and_option_name_the_nearest():
    for words in (["clen", "set"], ["audit", "set", "--siz", "8"]):
        said = run(*words)
        assert said.exit_code == 2 and any(near in said.output for near in ("did you mean clean", "--size")), (
            said.output
        )


def test_wrong_use_is_refused(audited, tmp_path):
    store = str(audited[0] / "store")
    for words, told in (
        (
            ["clean", "sett", "--store", store, "--remove", "leaks", "--out", str(tmp_path / "a.csv")],
            "did you mean set",
        ),
        (
            ["clean", "set", "--store", store, "--remove", "leak", "--out", str(tmp_path / "a.csv")],
            "did you mean leaks",
        ),
        (
            ["clean", "set", "--store", store, "--remove", "leaks", "--out", str(tmp_path / "no/a.csv")],
            "existing folder",
        ),
    ):
        said = run(*words)
        assert said.exit_code == 2 and told in said.output, said.output
    assert not list(tmp_path.iterdir())


def test_formats_of_other_tools(audited, tmp_path):
    results = open_results(audited[1].folder)
    cleaned = clean(results, "conflicts")
    written = {form: write_list(tmp_path / form, results, cleaned, form) for form in FORMATS}
    table = pd.read_csv(written["cleanlab"])
    assert len(table) == len(results.images) and table["is_label_issue"].sum() == 2
    assert (table.loc[table["is_label_issue"], "label_score"] == 0).all()
    probe = pd.read_parquet(results.folder / "probe.parquet").set_index(
        "image"
    )  # the classifier's, where it is no conflict
    assert (
        set(table["predicted_label"].dropna()) == set(probe["predicted"]) and table["label_score"].between(0, 1).all()
    )
    beside = [i for i in probe.index if not table["is_label_issue"][i]]
    assert table["label_score"][beside].to_numpy() == pytest.approx(probe["p_given"][beside].to_numpy(float))
    samples = json.loads(written["fiftyone"].read_text())["samples"]
    assert sum("remove" in sample["tags"] for sample in samples) == 2
    assert all(Path(sample["filepath"]).is_file() for sample in samples)
    tasks = json.loads(written["labelstudio"].read_text())
    assert [task["data"]["finding"] for task in tasks] == ["label_conflicts"] * 2
    assert tasks[0]["data"]["image"].startswith("/data/local-files/?d=") and "%3Dbenign" in tasks[0]["data"]["image"]
    assert set(pd.read_csv(written["csv"])["kind"]) == {"label_conflicts"}


# names of issues that cleanlab's Datalab knows, of pixels those of its image part (docs.cleanlab.ai, "issue type descriptions")
DATALAB = {"label", "outlier", "near_duplicate", "null", "low_information"}


def test_exports_have_the_form_that_their_tools_document(audited, tmp_path):
    """Read with these tools themselves on 2026-11-26: see dataprops/report/README.md."""
    results = open_results(audited[1].folder)
    cleaned = clean(results, "conflicts,duplicates")
    written = {form: write_list(tmp_path / f"{form}.csv", results, cleaned, form) for form in FORMATS}
    # Datalab.get_issues(): for each issue a column of truth and a score in [0, 1], low where it is bad
    table = pd.read_csv(written["cleanlab"])
    issues = {name[3:-6] for name in table if name.startswith("is_")}
    assert issues == DATALAB
    for issue in issues:
        flagged, score = table[f"is_{issue}_issue"], table[f"{issue}_score"]
        assert flagged.dtype == bool and score.dtype == float and score.between(0, 1).all()
        assert not flagged.any() or score[flagged].mean() < score[~flagged].mean()
    assert set(table["given_label"]) == {"'=benign", "malignant"}
    # fiftyone.Sample.from_dict(): filepath, tags, labels as {"_cls": ...}, other fields plain
    for sample in json.loads(written["fiftyone"].read_text())["samples"]:
        assert Path(sample.pop("filepath")).is_absolute()
        assert all(isinstance(tag, str) and tag != "sharpest_pairs" for tag in sample.pop("tags"))
        assert set(sample.pop("ground_truth")) == {"_cls", "label"}
        assert set(sample) <= {"split", "group"} and all(isinstance(value, str) for value in sample.values())
    # Label Studio's basic JSON: a list of tasks, each with the data that a labelling configuration may name ($image, $detail)
    tasks = json.loads(written["labelstudio"].read_text())
    assert tasks and all(set(task) == {"data"} for task in tasks)
    for task in tasks:
        assert {"image", "label", "finding", "detail"} <= set(task["data"])
        assert all(value is None or isinstance(value, str) for value in task["data"].values())


def test_an_image_that_goes_takes_its_copies_with_it_and_test_images_stay():
    images = pd.DataFrame({"split": ["train", "test", "train", "train"], "duplicate_of": [0, 1, 0, 3]})
    assert all_but_one(images, [[0, 1]]) == {0, 2}
    assert all_but_one(images, [[0, 2]]) == {2}
    assert out_of_training(images, [[0, 1, 2]]) == {0, 2}
    assert out_of_training(images, [[0, 2]]) == set()


def test_of_a_group_of_copies_that_lies_in_two_splits_no_image_stays_in_training():
    images = pd.DataFrame({"split": ["train", "test", "train", "train", "train"], "duplicate_of": range(5)})
    # image 2 is a copy of image 0 alone, which goes: it was a copy of the test image all the same
    findings = pd.DataFrame(
        {"kind": ["split_leakage", "near_duplicates", "near_duplicates"], "images": [[0, 1], [0, 1, 2], [3, 4]]}
    )
    assert removed_images(images, findings, ["split_leakage"]) == dict.fromkeys((0, 2), "split_leakage")


@given(st.text("'=+-@\t\r\n\uff1d\uff0b\uff0d\uff20a1,.e", max_size=8))
def test_cells_are_safe_and_come_back(text):
    safe = safe_cell(text)
    assert plain_cell(safe) == text
    assert safe[:1] not in tuple("=@\t\r\n\uff1d\uff0b\uff0d\uff20") or not safe


def test_the_package_can_be_called_and_shows_itself(audited):
    _, result = audited
    assert dataprops.audit.audit is audit
    assert result["n_images"] == 37 and json.loads(json.dumps(result))["dataset"] == "set"
    assert set(result.findings["kind"]) >= {"label_conflicts", "exact_duplicates", "split_leakage"}
    assert sorted(result.suspects["path"]) == ["train/=benign/000.png", "train/malignant/conflict.png"]
    assert result.suspects["score"].between(0, 1).all() and result.suspects["predicted"].notna().all()
    assert {"path_a", "distance"} <= set(result.pairs.columns)
    assert len(result.clean("conflicts")) == 35
    shown = result._repr_html_()
    assert "Do not train on this dataset as it is" in shown and "<script" not in shown
    with pytest.raises(DatapropsError, match="did you mean size"):
        dataprops.audit("anything", sise=3)


def test_a_notebook_is_warned_of_normalised_images_and_of_nan_with_its_reason(tmp_path):
    images = np.random.default_rng(0).normal(size=(24, 8, 8)).astype(np.float32)
    with pytest.warns(UserWarning) as told:
        audited = dataprops.audit(images, ["one"] * 24, store=str(tmp_path), k=5, probe=False)
    texts = [str(warning.message) for warning in told if warning.filename == __file__]
    assert audited["label_sharpness"]["sample"]["mean"] is None
    assert any("label sharpness is NaN: all labels are the same" in text for text in texts), texts
    assert any("not a usual range of images" in text and "range='LOW:HIGH'" in text for text in texts), texts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataprops.intrinsic_dimension(np.abs(images) / 5, k=5)
    with pytest.warns(UserWarning, match="not a usual range"):
        dataprops.intrinsic_dimension(images, k=5)


def test_results_that_are_damaged_or_leave_nothing_are_refused(audited, tmp_path):
    results = open_results(audited[1].folder)
    with pytest.raises(DatapropsError, match=r"cannot be read .*: audit the dataset again"):
        open_results(tmp_path)
    every = results.findings.iloc[:1].assign(kind="unreadable", images=[list(range(len(results.images)))])
    with pytest.raises(DatapropsError, match="unreadable flag every image of set: none would remain"):
        clean(results._replace(findings=every), "unreadable")
    cleaned = clean(results, "leaks")
    with pytest.raises(DatapropsError, match="unknown format 'fiftytwo': did you mean fiftyone"):
        write_list(tmp_path / "x", results, cleaned, "fiftytwo")
    with pytest.raises(DatapropsError, match="--out must name a file"):
        write_list(tmp_path, results, cleaned)


def test_a_list_of_a_set_that_moved_says_where_the_audit_read_it(audited, tmp_path):
    results = open_results(audited[1].folder)
    gone = results._replace(options=results.options | {"source": str(tmp_path / "gone")})
    with pytest.raises(DatapropsError, match=r"The audited source .*/gone was not found from .* where the audit ran"):
        clean(gone, "leaks")
    # arrays of a notebook are nowhere: their keys are named, and no audit can read them
    kept = clean(results._replace(options=results.options | {"source": "array:0123"}), "leaks")
    assert not kept.findable and kept.kept["path"].str.startswith(("train/", "test/")).all()


def test_images_at_addresses_are_listed_by_their_addresses(audited, monkeypatch):
    class Bucket:
        kind = "url"

    results = open_results(audited[1].folder)
    monkeypatch.setattr("dataprops.audit.cleaning.open_source", lambda location, options: Bucket())
    there = results._replace(options=results.options | {"source": "https://data.example/set/?list=1"})
    kept = clean(there, "leaks")
    assert kept.findable
    assert set(kept.kept["path"]) < {f"https://data.example/set/{path}" for path in results.images["path"]}


def test_names_that_are_no_text_stand_in_parquet_and_not_in_csv(audited, tmp_path):
    results = open_results(audited[1].folder)
    cleaned = clean(results, "leaks")
    odd = cleaned.kept.head(2).assign(path=pd.Series(["a.png", "b\udce9.png"], dtype=object))
    with pytest.raises(DatapropsError, match=r"not valid UTF-8, so it cannot be written to CSV: .* \.parquet"):
        write_list(tmp_path / "x.csv", results, cleaned._replace(kept=odd))
    write_list(tmp_path / "x.parquet", results, cleaned._replace(kept=odd))
    assert pd.read_parquet(tmp_path / "x.parquet")["path"].tolist() == [b"a.png", b"b\xe9.png"]
    write_list(tmp_path / "y.parquet", results, cleaned)
    assert pd.read_parquet(tmp_path / "y.parquet")["path"].tolist() == cleaned.kept["path"].tolist()
    # the audit itself listed such a name
    named = results.images.assign(path=[r"train/b\xe9.png", *results.images["path"][1:]])
    kept = clean(results._replace(images=named), "leaks").kept["path"]
    assert str(kept.iloc[0]).endswith("train/b\udce9.png")


def test_scores_of_labels_are_those_of_findings_where_no_classifier_ran(audited, tmp_path):
    results = open_results(audited[1].folder)
    pd.DataFrame(columns=["image", "predicted", "p_given"]).to_parquet(tmp_path / "probe.parquet")
    for folder in (tmp_path, tmp_path / "of an earlier version"):
        without = results._replace(folder=folder)
        table = pd.read_csv(write_list(tmp_path / "labels.csv", without, clean(without, "leaks"), "cleanlab"))
        assert "predicted_label" not in table
        assert (table["label_score"] == np.where(table["is_label_issue"], 0.0, 1.0)).all()
        assert table["is_label_issue"].sum() >= 2
