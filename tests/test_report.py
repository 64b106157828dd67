"""The report: one self-contained page, right numbers and pictures, names escaped, robust where things are missing."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from dataprops.audit import audit
from dataprops.errors import DatapropsError
from dataprops.findings import FINDINGS
from dataprops.findings.registry import BUILT_IN
from dataprops.report import example, gallery
from dataprops.report.actions import ACTIONS
from dataprops.report.first_screen import STEPS, evidence_of, steps_of, verdict_of
from dataprops.report.gallery import all_files, gallery_data, kinds_in_order
from dataprops.report.key_numbers import feature_keys, keys_of
from dataprops.report.markdown import markdown_summary
from dataprops.report.numbers import number, percent, plus_minus
from dataprops.report.page import attack_sentence, render
from dataprops.report.pictures import data_uri
from dataprops.report.plots import (
    Drawn,
    every_plot,
    history,
    learning_curve,
    measured_plots,
    other_plots,
    sharpness_histogram,
)
from dataprops.report.standing import calibration_sentence, paper_sentence
from dataprops.report.svg import svg_of
from dataprops.report.terminal import print_summary
from dataprops.report.words import WORDS, disagreement, words_of
from tasks.channels import message
from tests.make_images import SIZE, noise, random_folder, save


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.alts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href", "xlink:href", "data") if values.get(name)]
        if tag == "img":
            self.alts.append(values.get("alt", ""))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A set with one of many faults, audited."""
    root = tmp_path_factory.mktemp("report")
    images = random_folder(root / "set", {"benign <b>": 30, "malignant": 28})
    save(root / "set/malignant/twin.png", images["benign <b>/000.png"])
    save(root / "set/malignant/copy.png", images["malignant/001.png"])
    (root / "set/malignant/broken<script>.png").write_bytes(b"nothing")
    summary = audit(root / "set", store=str(root / "store"), size=SIZE, k=5)
    results = Path(summary["results"])
    names = ("images", "findings", "properties", "alerts", "checks", "shortcuts", "pairs")
    tables = {name: pd.read_parquet(results / f"{name}.parquet") for name in names}
    tables["sharpest"] = tables["pairs"].query("kind == 'sharpest'")
    return summary, tables, images


def test_the_page_needs_nothing_else(audited):
    text = Path(audited[0]["report"]).read_text(encoding="utf-8")
    page = Page(text)
    assert "link" not in page.tags and "iframe" not in page.tags
    kinds = {re.split(r"[:/#]", address)[0] for address in page.addresses}
    assert kinds <= {"data", "data_docs", ""}, kinds
    assert page.tags.count("h1") == 1
    # nothing but its own style sheet and script may run, and neither is an attribute
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]+\s(on[a-z]+|style)=", text.split("<script")[0])


def test_names_are_escaped(audited):
    text = Path(audited[0]["report"]).read_text(encoding="utf-8")
    assert text.count("<script>") == 1  # the page's own
    data = gallery_of(text)
    assert "malignant/broken<script>.png" in {image["p"] for image in data["images"].values()}
    assert "benign <b>" not in text


def gallery_of(text: str) -> dict:
    """The data of the page's gallery."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.mark.parametrize("budget", [2_000, 40_000, 10_000_000])
def test_pictures_that_are_packed_beside_each_other_are_those_of_one_after_the_other(monkeypatch, budget):
    rng = np.random.default_rng(0)
    # what is tried is flat, the rest is noise: it must be packed smaller halfway
    pixels = [
        np.full((64, 64, 3), 9 * i, np.uint8) if i < 14 else rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        for i in range(90)
    ]
    told = []
    for at_once in (1, 32):
        monkeypatch.setattr(gallery, "PACKED_AT_ONCE", at_once)
        told.append(gallery._pictures(list(range(90)), lambda i: None if i == 40 else pixels[i], budget))
    assert told[0] == told[1]
    assert (len(told[0]) < 89) == (budget < 10_000_000)


def test_the_gallery_holds_what_the_tables_hold(audited):
    summary, tables, _ = audited
    data = gallery_of(Path(summary["report"]).read_text(encoding="utf-8"))
    counts = tables["findings"]["kind"].value_counts().to_dict()
    assert {kind["id"]: kind["count"] for kind in data["kinds"]} == counts
    shown = [(data["kinds"][row["k"]]["id"], tuple(row["m"])) for row in data["rows"]]
    wanted = [(row.kind, tuple(int(i) for i in row.images)) for row in tables["findings"].itertuples()]
    assert sorted(shown) == sorted(wanted)
    images = tables["images"].set_index("image")
    for image, entry in data["images"].items():
        assert entry["p"] == images.at[int(image), "path"]
        assert entry.get("l") == images.at[int(image), "label"]
    assert data["files"]["path"] == tables["images"]["path"].tolist()
    # a difference is that of the two images, stretched
    row = next(row for row in data["rows"] if "x" in row and data["kinds"][row["k"]]["id"] == "sharpest_pairs")
    assert row["f"] >= 1


def test_the_page_says_what_was_measured_and_found(audited):
    summary, tables, _ = audited
    text = Page(Path(summary["report"]).read_text(encoding="utf-8")).text
    mle = summary["intrinsic_dimension"]["mle"]
    for words in (
        f"{summary['n_images']:,}",
        plus_minus(mle["value"], mle["se"]),
        number(summary["label_sharpness"]["all_pairs"]),
        "Identical images with different labels",
        "Unreadable files",
        "Exact duplicates",
        f"Time by stage: scan {summary['seconds']['scan']:.1f} s, decode ",
        "Do not train on this dataset as it is",
        "run " + summary["run_id"],
    ):
        assert words in text, words
    for alert in summary["alerts"]:
        assert re.sub(r"\s+", " ", alert["sentence"]) in text
    assert f"{len(tables['sharpest'])} pairs" in text
    assert "Leak" in text  # the glossary
    assert "Relabel or remove 2 images" in text and "dataprops clean set" in text


def test_the_classifier_is_in_the_plots_and_an_alert_names_its_evidence(audited):
    summary, tables, _ = audited
    text = Page(Path(summary["report"]).read_text(encoding="utf-8")).text
    assert summary["probe"]["confusion"] and "are classified as" in text
    row = {
        "severity": "warning",
        "name": "shortcut",
        "sentence": "A property predicts the class.",
        "measure": "shortcut_score",
    }
    alert = {**row, "value": 0.9, "threshold": 0.3, "images": [], "paths": [], "findings": 1}
    alert["name"] = FINDINGS["shortcut"].checks[0].name
    detail = "The height of a file alone predicts the class."
    found = {"kind": "shortcut", "severity": "warning", "images": [], "paths": [], "value": 0.9, "detail": detail}
    changed = {**tables, "alerts": pd.DataFrame([alert]), "findings": pd.DataFrame([found])}
    assert detail in Page(render(summary, changed, lambda image: None)).text
    assert "height of a file" in markdown_summary(summary, changed, lambda image: None)


def test_every_finding_has_a_thing_to_do_and_alerts_come_before_the_rest(audited):
    assert set(BUILT_IN) - set(ACTIONS) == {"sharpest_pairs"}
    rows = [
        {"kind": kind, "severity": FINDINGS[kind].severity, "images": [1, 2], "value": 1.0, "detail": f"The {kind}."}
        for kind in ACTIONS
    ]
    checks = [FINDINGS[kind].checks[0].name for kind in ("class_imbalance", "outliers")]
    summary = audited[0] | {"alerts": [{"name": name, "severity": "info", "sentence": "It is so."} for name in checks]}
    steps = steps_of(summary, pd.DataFrame(rows))
    hrefs = [step.href for step in steps]
    assert len(steps) == STEPS and hrefs.index("#find=class_imbalance") < hrefs.index("#find=outliers")
    assert all(step.text.endswith(".") and not step.text.endswith("..") for step in steps)


def test_how_the_set_was_read_is_settled_before_what_was_found_in_it():
    found = pd.DataFrame(
        [
            {"kind": kind, "severity": "warning", "images": images, "value": 1.0, "detail": "Files are called alike."}
            for kind, images in (("label_conflicts", [0, 1]), ("unread_labels", []))
        ]
    )
    doubt, conflicts = (
        {"name": FINDINGS[kind].checks[0].name, "severity": severity, "sentence": "X.", "findings": 1}
        for kind, severity in (("unread_labels", "warning"), ("label_conflicts", "critical"))
    )
    summary = {"alerts": [conflicts, doubt], "n_images": 300, "probe": None}
    assert verdict_of(summary).severity == "critical"
    assert [step.href for step in steps_of(summary, found)][:2] == ["#find=unread_labels", "#find=label_conflicts"]
    # as a remark without an alert it waits for what is severe
    assert kinds_in_order(found, summary | {"alerts": [conflicts]}) == ["label_conflicts", "unread_labels"]


def test_the_verdict_is_what_can_be_looked_at_and_its_step_comes_first():
    named = {"suspect_labels": 3, "exact_duplicates": 2}
    found = pd.DataFrame(
        [
            {"kind": kind, "severity": "info", "images": [i, i + 1], "value": 1.0, "detail": "X."}
            for kind, many in named.items()
            for i in range(many)
        ]
    )
    check = FINDINGS["exact_duplicates"].checks[0].name
    few = {"name": "enough_images", "severity": "warning", "sentence": "The set has only 30 images.", "findings": 0}
    copies = {"name": check, "severity": "warning", "sentence": "Some images are copies.", "findings": 2}
    summary = {"alerts": [few, copies], "n_images": 30, "probe": None}
    assert verdict_of(summary).sentence == "Check this before you train: some images are copies. And 1 more alert."
    assert [step.href for step in steps_of(summary, found)] == [
        "#find=exact_duplicates",
        "#find=suspect_labels",
        "#key",
    ]
    assert kinds_in_order(found, summary) == [
        "exact_duplicates",
        "suspect_labels",
    ]  # the evidence in the order of the steps
    assert kinds_in_order(found, {"alerts": []}) == ["suspect_labels", "exact_duplicates"]
    assert "30 are too few" in steps_of(summary, found)[-1].text
    assert steps_of(summary | {"alerts": []}, found)[0].href == "#find=suspect_labels"


def test_the_verdict_names_what_the_first_step_acts_on_and_no_severe_step_is_cut_off():
    kinds = [
        "class_imbalance",
        "shortcut",
        "near_duplicates",
        "exact_duplicates",
        "unlabelled",
        "unreadable",
        "outliers",
    ]
    kinds += ["group_leakage", "split_leakage"]  # the last is the most useful
    rows = [{"kind": kind, "severity": "info", "images": [1, 2], "value": 1.0, "detail": "X."} for kind in kinds]
    alerts = [
        {"name": FINDINGS[kind].checks[0].name, "severity": "warning", "sentence": f"The {kind}.", "findings": 1}
        for kind in kinds
    ]
    summary = {"alerts": alerts, "n_images": 30, "probe": None}
    steps = steps_of(summary, pd.DataFrame(rows))
    assert verdict_of(summary).sentence.startswith("Check this before you train: the split_leakage.")
    assert steps[0].href == "#find=split_leakage" and len(steps) == STEPS
    # the one critical alert is of the kind that is acted on last
    alerts[6]["severity"] = "critical"
    summary["alerts"] = [alerts[6], *alerts[:6], *alerts[7:]]
    assert verdict_of(summary).severity == "critical"
    assert steps_of(summary, pd.DataFrame(rows))[0].href == "#find=outliers"


def test_a_reason_that_the_verdict_gives_is_not_repeated_by_its_step():
    reason = "The width of a file alone predicts the class for 80 % of the images (chance: 50 %)"
    row = {
        "kind": "shortcut",
        "severity": "info",
        "images": [1],
        "value": 0.6,
        "detail": f"{reason}. By class: a 8; b 9.",
    }
    alert = {
        "name": FINDINGS["shortcut"].checks[0].name,
        "severity": "warning",
        "sentence": f"{reason}.",
        "findings": 1,
    }
    summary = {"alerts": [alert], "n_images": 300, "probe": None}
    assert verdict_of(summary).sentence == f"Check this before you train: t{reason[1:]}."
    assert steps_of(summary, pd.DataFrame([row]))[0].text == "Export all classes in one format and size."
    told = steps_of(summary | {"alerts": []}, pd.DataFrame([row]))
    assert told[0].text == f"Export all classes in one format and size: t{reason[1:]}."


def test_a_card_of_one_image_does_not_repeat_the_name_and_label_below_it(audited):
    _, tables, _ = audited
    path, label = tables["images"].loc[0, ["path", "label"]]
    detail = f"“{path}” is labelled “{label}”; likelier “x”: 90 % of the most similar images are x."
    row = {"kind": "suspect_labels", "severity": "info", "images": [0], "value": 0.9, "detail": detail}
    told = gallery_data(audited[0], {**tables, "findings": pd.DataFrame([row])}, lambda image: None)["rows"][0]["t"]
    assert told == "Likelier “x”: 90 % of the most similar images are x."


def test_the_name_of_a_fault_is_shown_in_words(audited):
    row = {
        "kind": "image_quality",
        "severity": "info",
        "images": [0],
        "value": 0.0,
        "detail": "low_contrast: “a_b” is.",
    }
    found = pd.DataFrame([row])
    told = gallery_data(audited[0], {**audited[1], "findings": found}, lambda image: None)["rows"][0]["t"]
    assert told == "Low contrast: “a_b” is."
    assert evidence_of(FINDINGS["image_quality"].checks[0].name, found) == "low contrast: “a_b” is."


def test_a_manifest_of_the_page_tells_names_that_it_cannot_hold():
    none = {"label": None, "split": None, "group": None}
    files = all_files(pd.DataFrame([{"path": path, **none} for path in ("a.png", r"b\nc.png", r"d\xe9.png")]))
    assert files is not None and files["real"] == {r"b\nc.png": "b\nc.png"} and files["lost"] == 1


def test_whether_more_images_help_is_said_in_words():
    gain, error = {"value": 0.1, "low": 0.05, "high": 0.2}, {"value": 0.2, "low": 0.1, "high": 0.3}
    probe = {"kind": "classes", "chance": 0.4, "gain_if_doubled": gain, "error": error}
    summary = {"alerts": [], "n_images": 100, "probe": probe}

    def told(**probe) -> str:
        nothing = pd.DataFrame({"kind": [], "severity": [], "images": []})
        return steps_of(summary | {"probe": summary["probe"] | probe}, nothing)[0].text

    assert told() == "Collect more: with twice as many images, log loss falls by 10 % (5.0 % to 20 %)."
    for value, low, words in ((0.02, -0.1, "may rise by 10 % or fall by 20 %."), (0.0, 0.0, "hardly falls.")):
        assert told(gain_if_doubled={"value": value, "low": low, "high": 0.2}).endswith(f"the log loss {words}")
    # a regression has neither errors nor log loss
    assert told(kind="numbers") == (
        "Collect more: with twice as many images, the unexplained variance would fall from 20 % to 18 %;"
        " squared error falls by 10 % (5.0 % to 20 %)."
    )
    # always naming the largest class errs on 40 %
    guessed = told(error={"value": 0.38, "low": 0.3, "high": 0.45})
    assert guessed.startswith("Check labels and preprocessing") and guessed.endswith("the largest class 40 %.")


def test_one_class_is_no_classes(audited):
    summary = audited[0]
    for names, told in ((["cat"], "1 class"), (["cat", "dog"], "2 classes")):
        key = keys_of(summary | {"labels": summary["labels"] | {"kind": "classes", "classes": names}})[0]
        assert key.note.endswith(f" unreadable; {told}")


def test_a_regression_is_told_in_its_own_words_and_what_was_drawn_beside_the_error(audited):
    summary, tables, _ = audited
    numeric = summary | {
        "probe": summary["probe"] | {"kind": "numbers", "notes": ["4,000 of 10,000 images were drawn (seed 0)"]}
    }
    names = {key.name: key for key in keys_of(numeric)}
    told = names["Unexplained variance of a reference regression"]
    assert told.note.endswith("4,000 of 10,000 images were drawn (seed 0)") and "class" not in told.note
    assert "regression" in WORDS[told.of].means and "Error of a reference classifier" not in names
    classes = next(key for key in keys_of(summary) if key.of == "probe.error")
    assert f"always guessing the largest class errs on {percent(summary['probe']['chance'])}" in classes.note
    text = Page(render(numeric, tables, lambda image: None)).text
    assert "Error rate of a small classifier" not in text


def test_an_attack_on_the_classifier_is_told_beside_the_mean_sharpness():
    attack = {"penalty": 3.16, "eps": 2.0, "flip_median": 0.916, "images": 100, "k_mean": 2.95e-4}
    told = attack_sentence({"probe": {"attack": attack}})
    assert "eps 2/255 raises its loss by 3.2 nats" in told and "flip at 0.92/255" in told and "2.95 × 10⁻⁴" in told
    assert attack_sentence({"probe": None}) == attack_sentence({"probe": {"attack": None}}) == ""


def test_lines_that_stand_together_share_their_name_and_a_curve_without_error_is_seen():
    images = pd.DataFrame({"sharpness": [1.0, 2.0, 3.0, 9.0, 9.0]})
    sharp = {"label_sharpness": {"q95": 9.0, "q99": 9.0}}
    plot = sharpness_histogram(Drawn(sharp, {"images": images}))
    assert plot is not None and "95 %, 99 %, max" in plot.svg
    curve = [{"n": n, "error": 0.0} for n in (10, 20, 40)]
    plot = learning_curve(Drawn({"probe": {"curve": curve, "error": {"low": 0.0, "high": 0.0}}}, {}))
    assert plot is not None and plot.title.startswith("No held-out image is misclassified")
    heights = {float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", plot.svg.split('class="tip"')[1][:600])}
    axis = max(float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", plot.svg))
    assert max(heights) < axis - 2  # the line does not lie on the axis
    runs = [{"created": f"2026-01-0{i}T10:00", "n_images": 500 + 100 * i, "error": 0.1} for i in (1, 2)]
    plot = history(Drawn({}, {}, runs))
    assert plot is not None and plot.title == "2 audits of this dataset: images 600 to 700"
    ends = re.findall(r'x="([\d.]+)"[^>]*>(error of the classifier, %|images)<', plot.svg)
    assert len(ends) == 2 and all(float(x) > 4.6 * len(name) for x, name in ends), ends  # they begin within it


def test_steps_name_the_pattern_of_patients_the_faults_of_pictures_and_the_part_that_is_hard():
    def step(kind: str, *details: str) -> str:
        images = [[i] for i in range(len(details))]
        return ACTIONS[kind](pd.DataFrame({"kind": kind, "images": images, "value": 52.0, "detail": details}))

    named = step(
        "group_suggestion", "--group-pattern '(P[0-9]+)' matches 52 ids (3 images each), e.g. “P1” with 9 images."
    )
    assert named.endswith(
        "the file names seem to name 52 patients, videos or the like; if so, audit again with --group-pattern '(P[0-9]+)'"
    )
    older = "--group-pattern '(P[0-9]+)' would name 52 patients or series, as “P1” with 9 images."
    assert step("group_suggestion", older) == named
    assert step("group_suggestion", "The DICOM headers name no patient, but 52 studies.").endswith("--group-column")
    bad = ("inverted: “a” is.", "inverted: “b” is.", "odd_size: “c” is.")
    assert step("image_quality", *bad[:2]) == "Repair or remove 2 pictures that are inverted"
    assert step("image_quality", *bad) == "Repair or remove 3 bad pictures: 2 inverted, 1 of unusual size"
    twice = pd.DataFrame({"kind": "image_quality", "images": [[0], [1], [1]], "value": 1.0, "detail": bad})
    assert ACTIONS["image_quality"](twice) == (
        "Repair or remove 2 bad pictures (some in several ways): 2 inverted, 1 of unusual size"
    )
    assert step("suspect_labels", "“a” is cat.", "“b” is dog.").startswith("Check the labels of 2 images")
    whole = pd.DataFrame({"kind": "suspect_labels", "images": [()], "value": 9.0, "detail": ["About 9 are wrong"]})
    assert ACTIONS["suspect_labels"](whole) == "About 9 are wrong"
    assert step("unused_columns", "Not used as label, split or patient: “site”, “age”.").endswith(": “site”, “age”.")
    hard = "Hard: class a. The reference classifiers together err on 25 % there (95 % interval 21 % to 29 %), on 11 % elsewhere"
    hard += " (p = 0.002)."
    assert step("slices", hard).endswith(
        "hard for the classifiers, class a: they err on 25 % there (95 % interval 21 % to 29 %), on 11 % elsewhere"
    )


def test_the_set_is_ranked_among_the_calibrations_sources_under_like_preprocessing_and_else_told_why_not():
    cells = pd.DataFrame(
        [
            ("one", 500, 3, 0.10, 8.0, 4e-4, 500),
            ("one", 500, 3, 0.20, 8.0, 4e-4, 500),
            ("two", 250, 1, 0.30, 14.0, 9e-4, 512),
            ("far", 64, 3, 0.01, 2.0, 1e-4, 64),  # too few images to compare
        ],
        columns=["source", "n_train", "channels", "p_error", "d_data", "k_f", "k_f_m"],
    )
    made = {"size": 32, "channels": 3, "scale": "full-range"}
    summary = {
        "dataset": "x",
        "labels": {"kind": "classes"},
        "n_images": 500,
        "preprocess": made,
        "probe": {"n_images": 500, "error": {"value": 0.25}},
        "intrinsic_dimension": {"mle": {"value": 10.5}, "mle_paper": {"value": 10.0}},
        "label_sharpness": {
            "sample": {"mean": 9e-4, "m": 1000},
            "samples": {"500": {"mean": 5e-4}, "100": {"mean": 1e-4}},
        },
    }
    told = calibration_sentence(summary, cells)
    assert "with 250 to 1,000 images: error of the reference classifier 25 %, lower in 1 of 2;" in told
    assert "intrinsic dimension 10, lower in 1 of 2; label sharpness (M = 500) 5.00 × 10⁻⁴, lower in 1 of 1." in told
    other = calibration_sentence(summary | {"preprocess": made | {"size": 224}}, cells)
    assert "lower in 1 of 2." in other and "dimension" not in other.split("Dimension and sharpness are not ranked")[0]
    assert "--scale full-range" in calibration_sentence(
        summary | {"preprocess": made | {"scale": "per-image-max"}}, cells
    )
    many = summary | {"probe": {"n_images": 4000, "error": {"value": 0.1}}}
    assert "64 to 500 images" in calibration_sentence(many, cells)
    assert "have classes" in calibration_sentence(summary | {"labels": {"kind": "numbers"}}, cells)
    assert "Among the sources of the shipped calibration" in calibration_sentence(summary)  # the table that ships


def test_each_number_has_a_sentence_of_what_it_means_and_one_of_what_to_do(audited):
    summary, tables, _ = audited
    keys = [key for key in keys_of(summary) if key.name != "Images"]  # explains itself
    assert [key for key in keys if key.of == "label_sharpness.sample" and "1 / grey level" in key.note]
    assert len(keys) >= 4 and all(key.of in WORDS for key in keys)
    assert [name for name in tables["properties"]["property"] if words_of(name) is None] == []
    for words in WORDS.values():
        assert words.means.endswith(".") and words.todo.endswith(".") and words.source, words.name
    text = Page(Path(summary["report"]).read_text(encoding="utf-8")).text
    for key in keys:
        assert WORDS[key.of].means in text and WORDS[key.of].todo in text, key.name


def test_pictures_are_the_canonical_images(audited):
    _, _, images = audited
    pixels = images["malignant/001.png"]
    shown = Image.open(io.BytesIO(base64.b64decode(data_uri(pixels[..., None]).split(",")[1])))
    times = shown.width // SIZE
    assert shown.width == shown.height == times * SIZE >= 96
    assert np.array_equal(np.asarray(shown)[::times, ::times], pixels)
    wide = Image.open(io.BytesIO(base64.b64decode(data_uri(np.zeros((300, 600, 3), np.uint8)).split(",")[1])))
    assert wide.size == (160, 80)
    page = Path(audited[0]["report"]).read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    image = next(i for i, entry in data["images"].items() if entry["p"] == "malignant/001.png")
    there = Image.open(io.BytesIO(base64.b64decode(data["pics"][image].split(",")[1])))
    assert np.array_equal(np.asarray(there), pixels)  # a page with room for them has them as they are


def test_markdown_has_the_key_figures_and_pictures(audited):
    summary, tables, images = audited
    by_path = dict(zip(tables["images"]["image"], tables["images"]["path"], strict=True))
    text = markdown_summary(summary, tables, lambda i: images[by_path[i]][..., None] if by_path[i] in images else None)
    conflict = text.index("carries different labels", text.index("## Alerts"))
    assert (
        "data:image/png;base64," in text[conflict : conflict + 300]
    )  # the alert's own pictures, not the sharpest pairs
    assert f"| images | {summary['n_images']}" in text
    assert "- **critical**" in text
    assert r"benign \<b\>" in text


def test_an_unreliable_geomle_is_told_on_the_terminal(audited):
    summary = audited[0]
    mle = summary["intrinsic_dimension"]["mle"]["value"]
    said = {}
    for factor in (1.5, 2.5):
        told = {**summary["intrinsic_dimension"]["mle"], "value": factor * mle}
        out = io.StringIO()
        estimates = {**summary["intrinsic_dimension"], "geomle": told}
        print_summary({**summary, "intrinsic_dimension": estimates}, Console(file=out, width=100))
        said[factor] = " ".join(out.getvalue().split())
    assert "Do not rely on it here." in said[2.5] and "Do not rely on it here." not in said[1.5]


def test_terminal_summary_fits_its_width(audited):
    out = io.StringIO()
    print_summary(audited[0], Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith(("report", "results")))
    assert "critical" in out.getvalue()


def test_plots_begun_before_the_probe_are_those_of_the_finished_audit(audited):
    summary, tables, _ = audited
    whole = Drawn(summary, tables)
    known = {name: summary[name] for name in ("labels", "label_sharpness")}
    early = measured_plots(Drawn(known, {name: tables[name] for name in ("images", "properties")}))
    late = other_plots(whole)
    assert early and late and not early.keys() & late.keys()
    assert early | late == every_plot(whole)


def test_names_steer_neither_plots_nor_terminals_nor_messages(audited):
    summary, tables, _ = audited
    name = "scan\u202egnp\x1b[31m"
    labels = {"kind": "classes", "classes": {name: 30, "b": 28}}
    images = tables["images"].assign(label=np.where(tables["images"]["label"] == "malignant", "b", name))
    drawn = Drawn(summary | {"labels": labels}, {**tables, "images": images})
    for plot in every_plot(drawn).values():
        assert not re.search("[\u202e\x1b]", f"{plot.title}{plot.svg}{plot.note}"), plot.title
    out = io.StringIO()
    print_summary(summary | {"labels": labels}, Console(file=out, width=200))
    assert "scan\\u202egnp\\u001b[31m" in out.getvalue() and "\x1b" not in out.getvalue()
    news = {
        "event": "opened",
        "name": "n",
        "severity": "info",
        "dataset": "a\nBcc: x",
        "sentence": "s",
        "run_id": "r",
        "id": "i",
    }
    assert "\n" not in message(news)[0]


def test_a_letter_that_no_font_has_is_drawn_without_a_word_on_the_terminal(audited, recwarn):
    summary, tables, _ = audited
    name = "scan\ud7ff\U0010ffff"
    labels = {"kind": "classes", "classes": {name: 30, "b": 28}}
    images = tables["images"].assign(label=np.where(tables["images"]["label"] == "malignant", "b", name))
    drawn = every_plot(Drawn(summary | {"labels": labels}, {**tables, "images": images}))
    assert any(name in plot.svg for plot in drawn.values())
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_legend_that_takes_a_second_is_drawn_without_a_word_on_the_terminal(monkeypatch, recwarn):
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    times = itertools.count(step=5)
    monkeypatch.setattr("matplotlib.legend.time.perf_counter", lambda: next(times))
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label="a")
    assert isinstance(axes.legend(), Legend)
    assert "<svg" in svg_of(figure, "a")
    assert not [warning for warning in recwarn if "legend" in str(warning.message)]


def test_a_page_without_labels_alerts_or_pictures(audited):
    summary, tables, _ = audited
    bare = summary | {"alerts": [], "labels": {"kind": "none", "classes": {}}, "predictions": []}
    bare["label_sharpness"] = dict.fromkeys(("all_pairs", "q50", "q95", "q99", "sharpest_pair")) | {
        "sample": {"mean": None, "std": None, "m": 50, "draws": 20}
    }
    bare["intrinsic_dimension"] = {"mle": {"value": None, "se": None}}
    empty = {name: table.iloc[:0] for name, table in tables.items()} | {
        "images": tables["images"].assign(
            label=None, sharpness=np.nan, local_dimension=np.nan, neighbour_distance=np.nan
        ),
        "properties": tables["properties"].assign(value=np.nan),
    }
    text = Page(render(bare, empty, lambda image: None)).text
    assert "No alert" in text
    assert "Nothing was found" in text
    out = io.StringIO()
    print_summary(bare, Console(file=out))
    assert "at most" not in out.getvalue() and "all pairs" not in out.getvalue()  # there is no sharpness
    assert "None." in markdown_summary(bare, empty, lambda image: None)


def test_colour_images_and_numeric_labels(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(25):
        save(tmp_path / "set" / f"{i}.png", noise(rng, 3))
    pd.DataFrame({"path": [f"{i}.png" for i in range(25)], "label": np.arange(25) + 0.5}).to_csv(
        tmp_path / "set" / "list.csv", index=False
    )
    summary = audit(tmp_path / "set/list.csv", store=str(tmp_path / "store"), size=SIZE, k=5, draws=2)
    assert summary["preprocess"]["channels"] == 3
    assert "numeric labels" in Page(Path(summary["report"]).read_text(encoding="utf-8")).text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (6.37e-4, "6.37 × 10⁻⁴"),
        (1234.0, "1,234"),
        (1234.5, "1,234"),
        (2.345, "2.35"),
    ],
)
def test_numbers_as_people_read_them(value, text):
    assert number(value) == text


def test_numbers_with_their_errors():
    sample = {"mean": 0.484, "std": 1.7e-16, "m": 240, "draws": 20}  # each sample is the whole set
    space = {"features": 16, "source": "f.npy", "intrinsic_dimension": {}, "label_sharpness": {"sample": sample}}
    keys = feature_keys(space | {"near_duplicates": {"pairs": 0, "images": 0}})
    assert ("0.484", "maximum over all 240 images, in the 16 features of f.npy") in [(k.value, k.note) for k in keys]
    assert plus_minus(20.826, 0.134) == "20.83 ± 0.13"
    assert plus_minus(5.54e-4, 4.0e-5) == "(5.54 ± 0.40) × 10⁻⁴"
    assert plus_minus(117.9, 45.4) == "118 ± 45"
    assert plus_minus(1e-15, 2.03) == "0.0 ± 2.0"
    assert plus_minus(0.004, 0.02) == "0.004 ± 0.020"
    assert plus_minus(1e-9, 3.1e-5) == "(0.0 ± 3.1) × 10⁻⁵"
    assert plus_minus(3.0, None) == "3"
    assert percent(0.0123) == "1.2 %"


def test_estimators_that_disagree_are_told_with_what_may_be_behind_it():
    def said(mle: float, twonn: float, near: float = 0.0, **more) -> str:
        return disagreement({"intrinsic_dimension": {"mle": {"value": mle}, "twonn": {"value": twonn}}, **more}, near)

    assert said(10, 9) == ""
    assert "near-copies or bursts of exposures" in said(10, 5) and said(10, 5).endswith("Trust the MLE.")
    assert "30 % of the images have a near-identical copy" in said(10, 5, 0.3)
    without = said(10, 5, 0.3, without_near_copies={"twonn": 9.5, "mle": 10.5, "k": 8.0})
    assert "With one image per group of near-copies, TwoNN gives 9.50 and the MLE 10.5 (8 neighbours)." in without
    assert "larger neighbourhood (20 neighbours)" in said(10, 14, k=20)


def test_a_set_is_placed_among_the_papers_only_as_they_were_measured():
    table = pd.DataFrame({"dataset": ["a", "a", "b", "c"], "d_data": [10.0, 12, 20, 30]})
    summary = {
        "preprocess": {"size": 224, "scale": "per-image-max", "channels": 1},
        "predictions": [],
        "intrinsic_dimension": {"mle_paper": {"value": 21.0}},
    }
    assert "estimator 21" in paper_sentence(summary, table)
    assert "lower in 2 of the 3 datasets" in paper_sentence(summary, table)
    assert paper_sentence(summary, None) == ""
    assert paper_sentence(summary | {"intrinsic_dimension": {}}, table) == ""
    assert "(use --size 224" in paper_sentence(
        summary | {"preprocess": {"size": 64, "scale": "full", "channels": 1}}, table
    )


def test_the_readmes_picture_is_taken_of_a_report_and_needs_a_browser(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "report.html").write_text("<p>x</p>")
    monkeypatch.setattr(example.shutil, "which", lambda name: None)
    with pytest.raises(DatapropsError, match="Chromium is not installed"):
        example.picture(tmp_path, tmp_path / "x.png")

    def browser(command: list[str], **_: object) -> None:
        assert command[-1] == (tmp_path / "report.html").as_uri()
        (shot,) = (flag.partition("=")[2] for flag in command if flag.startswith("--screenshot="))
        noise = np.random.default_rng(0).integers(0, 256, (60, 50, 3)).astype(np.uint8)
        Image.fromarray(noise).save(shot)

    monkeypatch.setattr(example.shutil, "which", lambda name: "/bin/chromium")
    monkeypatch.setattr(example.subprocess, "run", browser)
    with pytest.raises(DatapropsError, match=r"empty has no report\.html"):
        example.picture(tmp_path / "empty", tmp_path / "x.png")
    with Image.open(example.picture(tmp_path, tmp_path / "x.png")) as image:
        assert image.size == (50, 60) and image.mode == "P" and len(image.getcolors()) <= 128
