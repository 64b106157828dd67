"""Checks fail exactly when a measure crosses its bound; tables that contradict themselves are caught."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprops.checks.expectations import run_checks
from dataprops.checks.thresholds import Check, load_thresholds

CHECKS = load_thresholds()
NAN = float("nan")
WORDS = {"severity": "warning", "title": "t", "sentence": "s"}


def images(**columns):
    """Three images, the last unreadable, as an audit's table has them; columns can be replaced."""
    table = {
        "path": ["a/1.png", "a/2.png", "b/3.png"],
        "y": [0.0, 0.0, 1.0],
        "neighbour_distance": [1.0, 1.0, NAN],
        "knn_distance": [2.0, 2.0, NAN],
        "sharpness": [0.5, NAN, NAN],
        "sharpest_distance": [2.0, NAN, NAN],
    }
    return pd.DataFrame(table | columns)


def properties(**columns):
    table = {
        "property": ["intrinsic_dimension.mle", "label_sharpness.all_pairs"],
        "value": [11.0, NAN],
        "se": [0.2, NAN],
    }
    return pd.DataFrame(table | columns)


def outcome(report):
    return report.results.set_index("check")["success"]


BOUND = st.none() | st.sampled_from([-1.0, 0.0, 0.5, 1.0]) | st.floats(-1e6, 1e6)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(BOUND, BOUND, st.sampled_from([-1.0, 0.0, 0.5, 1.0]) | st.floats(-1e6, 1e6)), min_size=20, max_size=40
    )
)
def test_a_check_fails_exactly_when_its_measure_crosses(triples):
    kept = [t for t in triples if t[0] is not None or t[1] is not None]
    kept = [(low, high, v) if low is None or high is None or low <= high else (high, low, v) for low, high, v in kept]
    checks = [Check(name=f"c{i}", measure=f"m{i}", min=low, max=high, **WORDS) for i, (low, high, _) in enumerate(kept)]
    report = run_checks({f"m{i}": value for i, (_, _, value) in enumerate(kept)}, images(), properties(), checks)
    success = outcome(report)
    for check, (_, _, value) in zip(checks, kept, strict=True):
        assert bool(success[check.name]) != check.fails(value), (check, value)
    assert report.success == success.fillna(True).all()


def test_infinite_values_and_bounds_are_judged():
    checks = [
        Check(name="above", measure="m", max=5.0, **WORDS),
        Check(name="never", measure="m", max=math.inf, **WORDS),
        Check(name="below", measure="m", min=5.0, **WORDS),
    ]
    success = outcome(run_checks({"m": math.inf}, images(), properties(), checks))
    assert success[["above", "never", "below"]].tolist() == [False, True, True]


def test_what_is_absent_or_nan_is_skipped_and_said_to_be():
    report = run_checks({"n_images": 1000.0, "class_ratio": NAN}, images(), properties(), CHECKS)
    success = outcome(report)
    assert success["enough_images"]
    assert success[["conflicts", "class_ratio"]].isna().all()
    assert report.success
    assert report.data_docs is None
    assert set(report.results["check"]) >= {check.name for check in CHECKS}


def test_the_results_say_what_was_compared():
    report = run_checks({"conflict_pairs": 3.0}, images(), properties(), CHECKS)
    row = report.results.set_index("check").loc["conflicts"]
    assert (row["table"], row["measure"], row["value"], row["max"]) == ("measures", "conflict_pairs", 3.0, 0.0)
    assert math.isnan(row["min"])
    assert (row["severity"], row["success"]) == ("critical", False)
    assert row["title"] == "no identical images with different labels"
    assert not report.success
    assert [str(dtype) for dtype in report.results[["value", "min", "max", "success"]].dtypes] == [
        *["float64"] * 3,
        "boolean",
    ]


STRUCTURE = [
    ("paths_given", images(path=["a", None, "b"]), properties()),
    ("paths_unique", images(path=["a", "b", "a"]), properties()),
    ("distances_valid", images(neighbour_distance=[1.0, -1.0, NAN]), properties()),
    ("knn_distances_valid", images(knn_distance=[1.0, -1.0, NAN]), properties()),
    ("sharpest_distances_valid", images(sharpest_distance=[1.0, -1e-9, NAN]), properties()),
    ("sharpness_valid", images(sharpness=[1.0, -1e-9, NAN]), properties()),
    ("labels_valid", images(y=[0.0, 2.0, 1.0]), properties()),
    ("labels_valid", images(y=[0.0, 0.5, 1.0]), properties()),
    ("labels_valid", images(y=[0.0, -1.0, NAN]), properties()),
    ("values_valid", images(), properties(value=[-1.0, 1.0])),
    ("errors_valid", images(), properties(se=[-1.0, 1.0])),
]


def test_sound_tables_pass():
    report = run_checks({"n_classes": 2.0}, images(), properties(), ())
    assert report.success
    assert set(outcome(report).index) == {name for name, _, _ in STRUCTURE}
    assert outcome(report).notna().all()


@pytest.mark.parametrize("name, table, values", STRUCTURE, ids=[f"{i}-{row[0]}" for i, row in enumerate(STRUCTURE)])
def test_a_table_that_contradicts_itself_is_caught(name, table, values):
    report = run_checks({"n_classes": 2.0}, table, values, ())
    failed = outcome(report)[~outcome(report).fillna(True)]
    assert list(failed.index) == [name]
    assert not report.success


def test_numbers_as_labels_have_no_codes():
    assert "labels_valid" not in outcome(run_checks({}, images(y=[0.5, -7.25, 1e9]), properties(), ()))


def test_tables_without_rows_are_skipped_and_missing_columns_fail(caplog):
    empty = run_checks({}, images().head(0), properties().head(0), ())
    assert outcome(empty).isna().all()
    with caplog.at_level(logging.ERROR, logger="dataprops"):
        report = run_checks({}, images().drop(columns="sharpness"), properties(), ())
    assert list(outcome(report)[~outcome(report)].index) == ["sharpness_valid"]
    assert "sharpness_valid could not be evaluated" in caplog.text


def test_columns_without_any_value_pass():
    nothing = images(sharpness=[NAN] * 3, sharpest_distance=[NAN] * 3, y=[NAN] * 3)
    assert run_checks({"n_classes": 2.0}, nothing, properties(se=[NAN] * 2), ()).success


@pytest.mark.parametrize("folder", ["docs", "data $HOME ${x} ö"])
def test_the_data_docs_name_the_failed_check(tmp_path, folder):
    docs = tmp_path / folder / "data_docs"
    report = run_checks({"conflict_pairs": 3.0, "n_images": 500.0}, images(), properties(), CHECKS, docs)
    assert report.data_docs == docs / "index.html"
    assert report.data_docs.is_file()
    pages = [page.read_text(encoding="utf-8") for page in docs.rglob("validations/**/*.html")]
    assert len(pages) == 3
    (measured,) = [page for page in pages if "conflict_pairs" in page]
    assert "no identical images with different labels (conflicts: conflict_pairs at most 0)" in measured
    rows = measured.split("<tr>")[2:]  # after the heading
    assert 'class="failed"' in rows[0] and not any(
        'class="failed"' in row for row in rows[1:]
    )  # what failed stands first
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.split("/")[0]]


def test_nothing_is_said_and_settings_are_left_as_they_were(capfd, caplog):
    logger = logging.getLogger("great_expectations")
    logger.setLevel(logging.INFO)
    filters = list(warnings.filters)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run_checks({"conflict_pairs": 3.0}, images(), properties(), CHECKS)
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(logging.NOTSET)
    assert not caught
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert warnings.filters == filters


def test_great_expectations_is_told_to_send_no_statistics_and_to_show_no_bars(monkeypatch):
    import great_expectations as gx

    told, real = [], gx.get_context
    monkeypatch.setattr(gx, "get_context", lambda **options: told.append(options["project_config"]) or real(**options))
    run_checks({"conflict_pairs": 3.0}, images(), properties(), CHECKS)
    (config,) = told
    assert config.analytics_enabled is False
    assert (config.progress_bars.globally, config.progress_bars.metric_calculations) == (False, False)


ALONE = """
import socket, sys
from pathlib import Path

def refuse(*args, **kwargs):
    raise AssertionError("the network was asked for")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse

from dataprops import findings, laws
from dataprops.checks import alerts, expectations, thresholds
assert not any(name.split(".")[0] in ("great_expectations", "scipy", "sklearn", "torch") for name in sys.modules)

import pandas as pd
from dataprops.checks.thresholds import load_thresholds
columns = ("y", "neighbour_distance", "knn_distance", "sharpness", "sharpest_distance")
table = pd.DataFrame({name: [1.0] for name in columns})
values = pd.DataFrame({"value": [1.0], "se": [1.0]})
report = expectations.run_checks({"n_images": 500.0}, table.assign(path="a"), values, load_thresholds(), Path(sys.argv[1]))
assert report.success and report.data_docs.is_file()
"""


def test_no_network_no_home_folder_no_leftovers_and_a_lazy_import(tmp_path):
    places = {name: tmp_path / name for name in ("home", "temporary", "here")}
    for place in places.values():
        place.mkdir()
    root = Path(__file__).parents[1]
    env = os.environ | {"HOME": str(places["home"]), "TMPDIR": str(places["temporary"]), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"PYTHONPATH": str(root), "GX_ANALYTICS_ENABLED": "true", "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    command = [sys.executable, "-c", ALONE, str(tmp_path / "docs")]
    done = subprocess.run(
        command, env=env, cwd=places["here"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    for place in places.values():
        assert list(place.rglob("*")) == []


def test_ten_thousand_images_take_less_than_a_few_seconds(tmp_path):
    """A generous bound: it catches what grows with the square of the images, not a busy machine."""
    import time

    n = 10_000
    rng = np.random.default_rng(0)
    columns = {name: rng.random(n) for name in ("neighbour_distance", "knn_distance", "sharpness", "sharpest_distance")}
    table = pd.DataFrame({"path": [f"a/{i}.png" for i in range(n)], "y": np.arange(n) % 2.0} | columns)
    start = time.perf_counter()
    report = run_checks({"n_images": n, "n_classes": 2.0}, table, properties(), CHECKS, tmp_path / "docs")
    assert report.success
    assert time.perf_counter() - start < 8


def test_a_check_of_which_no_result_comes_has_failed(monkeypatch):
    nothing = SimpleNamespace(results=[])
    monkeypatch.setattr("great_expectations.ValidationDefinition.run", lambda *_, **__: nothing)
    report = run_checks({"n_images": 1000.0}, images(), properties(), CHECKS)
    assert not report.success
    assert not outcome(report)["enough_images"]
