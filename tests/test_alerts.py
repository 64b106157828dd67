"""Alerts follow the checks, name their evidence, and decide the exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprops.checks.alerts import EVIDENCE, Alert, exit_code, raise_alerts, worst
from dataprops.checks.thresholds import SEVERITIES, load_thresholds
from dataprops.errors import DatapropsError
from dataprops.laws.prediction import Prediction

CHECKS = load_thresholds()
NONE = pd.DataFrame({"kind": [], "severity": [], "images": [], "paths": [], "value": [], "detail": []})


def findings(*rows):
    """A table of findings from (kind, image ids)."""
    return pd.DataFrame(
        [(kind, list(ids), [f"set/{i}.png" for i in ids]) for kind, ids in rows], columns=["kind", "images", "paths"]
    )


def results(*rows):
    """A table of checks' results from (check, table, measure, success)."""
    columns = ["check", "table", "measure", "success"]
    table = pd.DataFrame(rows, columns=columns).astype({"success": "boolean"})
    return table.assign(min=0.0, severity="critical", title="the title")


def change(low, high, **options):
    value = (low + high) / 2
    significant = low > 0 or high < 0
    return Prediction(
        "log_loss_change", value, low, high, "log loss", "", "It changes.", significant=significant, **options
    )


def test_a_clean_set_raises_nothing():
    clean = {
        "n_images": 1000.0,
        "conflict_pairs": 0.0,
        "class_ratio": 1.0,
        "smallest_class": 500.0,
        "shortcut_score": 0.0,
    }
    assert raise_alerts(clean, CHECKS, NONE) == []
    assert raise_alerts({}, CHECKS, NONE) == []


def test_the_alert_of_a_shortcut_names_the_property():
    found = findings(("shortcut", ())).assign(detail="The height of a file alone predicts the class (chance: 33 %).")
    (alert,) = raise_alerts({"shortcut_score": 0.5}, CHECKS, found)
    assert alert.sentence.startswith(
        "The height of a file alone predicts the class (chance: 33 %): a network may learn"
    )
    (bare,) = raise_alerts({"shortcut_score": 0.5}, CHECKS, NONE)
    assert bare.sentence.startswith(
        "A property of the files (format, size, colour mode) alone predicts the class: a net"
    )


def test_an_alert_carries_its_number_threshold_and_evidence():
    found = findings(("label_conflicts", (3, 7)), ("outliers", (1,)), ("label_conflicts", (7, 9)))
    (alert,) = raise_alerts({"conflict_pairs": 2.0}, CHECKS, found)
    assert (alert.severity, alert.name, alert.measure) == ("critical", "conflicts", "conflict_pairs")
    assert (alert.value, alert.threshold) == (2.0, 0.0)
    assert alert.sentence.startswith("2 pairs of identical pictures carry different labels")
    assert alert.images == (3, 7, 9)
    assert alert.paths == ("set/3.png", "set/7.png", "set/9.png")
    assert alert.findings == 2


def test_evidence_is_cut_but_counted():
    found = findings(*[("exact_duplicates", (2 * i, 2 * i + 1)) for i in range(500)])
    (alert,) = raise_alerts({"redundant_share": 0.5}, CHECKS, found)
    assert alert.images == tuple(range(EVIDENCE))
    assert len(alert.paths) == EVIDENCE == 20  # as the column of the table says
    assert alert.findings == 500


def test_evidence_read_from_a_file_becomes_plain_values(tmp_path):
    findings(("label_conflicts", (3, 7))).to_parquet(tmp_path / "findings.parquet")
    found = pd.read_parquet(tmp_path / "findings.parquet")
    assert isinstance(found["images"].iloc[0], np.ndarray)
    (alert,) = raise_alerts({"conflict_pairs": 1.0}, CHECKS, found)
    assert json.loads(json.dumps(alert.as_dict()))["images"] == [3, 7]
    assert alert.sentence.startswith("1 pair of identical pictures carries")


@given(st.dictionaries(st.sampled_from([check.measure for check in CHECKS]), st.floats(-1, 200)))
def test_alerts_are_the_failed_checks_the_most_severe_first(measures):
    alerts = raise_alerts(measures, CHECKS, NONE)
    failed = {c.measure: c for c in CHECKS if c.measure in measures and c.fails(measures[c.measure])}
    assert {alert.measure for alert in alerts} == set(failed)
    assert len(alerts) == len(failed)
    ranks = [SEVERITIES.index(alert.severity) for alert in alerts]
    assert ranks == sorted(ranks, reverse=True)
    for alert in alerts:
        of_measure = [c for c in CHECKS if c.measure == alert.measure and c.fails(measures[c.measure])]
        assert alert.severity == max((c.severity for c in of_measure), key=SEVERITIES.index)


def test_of_two_checks_on_one_measure_the_more_severe_speaks():
    assert [a.name for a in raise_alerts({"shortcut_score": 0.7}, CHECKS, NONE)] == ["shortcut"]
    assert [a.name for a in raise_alerts({"shortcut_score": 0.95}, CHECKS, NONE)] == ["shortcut_certain"]


def test_the_verdict_is_that_of_the_results():
    measures = {"conflict_pairs": 5.0, "split_leaks": 0.0}
    turned = results(
        ("conflicts", "measures", "conflict_pairs", True), ("split_leaks", "measures", "split_leaks", False)
    )
    assert [a.name for a in raise_alerts(measures, CHECKS, NONE, turned)] == ["split_leaks"]
    skipped = results(("conflicts", "measures", "conflict_pairs", None))
    assert raise_alerts(measures, CHECKS, NONE, skipped) == []


def test_a_result_table_that_contradicts_itself_is_an_alert():
    broken = results(("paths_unique", "images", "path", False), ("errors_valid", "properties", "se", True))
    (alert,) = raise_alerts({}, CHECKS, NONE, broken)
    assert (alert.severity, alert.name) == ("critical", "paths_unique")
    assert "the title" in alert.sentence
    assert "images" in alert.sentence


def test_a_significant_prediction_is_told_once():
    (told,) = raise_alerts({}, CHECKS, NONE, predictions=[change(-0.3, -0.1)])
    assert (told.severity, told.name, told.sentence) == ("info", "log_loss_change", "It changes.")
    assert (told.measure, told.value, told.threshold) == ("predicted_log_loss_change", -0.2, 0.0)
    assert (told.images, told.paths, told.findings) == ((), (), 0)
    risen = {"predicted_log_loss_change": 0.2, "predicted_log_loss_change_low": 0.1}
    assert [a.name for a in raise_alerts(risen, CHECKS, NONE, predictions=[change(0.1, 0.3)])] == ["loss_rises"]


@pytest.mark.parametrize(
    "prediction",
    [
        change(-0.1, 0.1),
        Prediction("log_loss_change", withheld="the first audit"),
        Prediction("loss_if_doubled", -0.06, -0.07, -0.05),
    ],
)
def test_noise_withheld_and_plain_predictions_are_no_alert(prediction):
    assert raise_alerts({}, CHECKS, NONE, predictions=[prediction]) == []


@given(st.lists(st.sampled_from(SEVERITIES)), st.sampled_from(["critical", "warning", "never"]))
def test_the_exit_code_follows_the_worst_alert(severities, fail_on):
    alerts = [Alert(severity, "x", "", "m", 1.0, 0.0) for severity in severities]
    failing = {"critical": {"critical"}, "warning": {"critical", "warning"}, "never": set()}[fail_on]
    assert exit_code(alerts, fail_on) == int(bool(failing & set(severities)))
    assert exit_code([alert.as_dict() for alert in alerts], fail_on) == exit_code(alerts, fail_on)
    expected = next((s for s in ("critical", "warning", "info") if s in severities), None)
    assert worst(alerts) == worst([alert.as_dict() for alert in alerts]) == expected


def test_an_unknown_level_is_refused():
    with pytest.raises(DatapropsError, match="critical, warning, never"):
        exit_code([], "always")


def test_changing_a_severity_changes_the_alert():
    mild = [replace(check, severity="info") for check in CHECKS]
    (alert,) = raise_alerts({"conflict_pairs": 2.0}, mild, NONE)
    assert alert.severity == "info"
    assert exit_code([alert], "warning") == 0
