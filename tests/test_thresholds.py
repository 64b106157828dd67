"""The defaults are sound, a user's file changes what it says and nothing else, and what is wrong in it is named."""

from __future__ import annotations

import math
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprops.checks.thresholds import SEVERITIES, Check, Quantity, load_thresholds
from dataprops.errors import DatapropsError
from dataprops.findings import FINDINGS

# everything that an audit may count or predict
MEASURES = {
    *("n_images", "n_unreadable", "unreadable_share", "n_classes", "smallest_class", "class_ratio", "redundant_share"),
    *("near_duplicate_share", "near_pairs", "conflict_pairs", "split_leaks", "group_leaks", "groups_in_classes"),
    *("left_out_share", "used_range", "spelling_classes", "easier_to_attack_share"),
    *("shortcut_score", "outlier_share", "unlabelled_share", "dimension", "dimension_relative_se", "sharpness_sample"),
    *("predicted_log_loss_change", "predicted_log_loss_change_low", "predicted_penalty", "predicted_penalty_low"),
}
# a check that a finding brings is tested with that finding
BROUGHT = {check.measure for finding in FINDINGS.values() for check in finding.checks}
# numbers that stand beside the one that is watched
BESIDE = {"wrong_labels", "wrong_labels_low", "wrong_labels_high", "wrong_labels_asked"}
DEFAULTS = {check.name: check for check in load_thresholds()}
BOUNDS = st.none() | st.floats(allow_nan=False)


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("check", DEFAULTS.values(), ids=list(DEFAULTS))
def test_each_default_names_what_exists(check):
    assert check.measure in MEASURES | BROUGHT
    assert set(check.kinds) <= set(FINDINGS)
    assert check.severity in SEVERITIES
    assert (check.min is None) != (check.max is None)
    assert check.title


@pytest.mark.parametrize("check", DEFAULTS.values(), ids=list(DEFAULTS))
@pytest.mark.parametrize("off", [0.004, 1.0, 1234.0])
def test_each_sentence_can_be_filled_and_is_one(check, off):
    value = check.max + off if check.max is not None else check.min - off
    assert check.fails(value)
    fields = {field for _, field, _, _ in string.Formatter().parse(check.sentence) if field}
    beside = fields - {"value", "threshold", "rise", "rise_threshold", "subject"}
    assert beside <= MEASURES | BROUGHT | BESIDE  # other measures of the set may stand in it
    sentence = check.words(value, dict.fromkeys(beside, 3.0))
    assert sentence[0].isupper() or sentence[0].isdigit()
    assert sentence.endswith(".")
    assert "{" not in sentence
    assert "|" not in sentence
    assert fields


def test_what_makes_a_test_result_wrong_is_critical():
    for name in ("conflicts", "split_leaks", "group_leaks", "shortcut_certain"):
        assert DEFAULTS[name].severity == "critical"
    for name in ("conflicts", "split_leaks", "group_leaks"):
        assert not DEFAULTS[name].fails(0)
        assert DEFAULTS[name].fails(1)


def test_every_measure_that_must_be_watched_is():
    watched = {check.measure for check in DEFAULTS.values()}
    assert watched >= MEASURES - {
        *("n_unreadable", "n_classes", "near_pairs", "dimension", "sharpness_sample"),
        *("predicted_log_loss_change", "predicted_penalty_low"),
    }


@given(BOUNDS, BOUNDS, st.floats(allow_nan=False))
def test_a_check_fails_exactly_outside_of_its_bounds(low, high, value):
    check = replace(DEFAULTS["conflicts"], min=low, max=high)
    inside = (-math.inf if low is None else low) <= value <= (math.inf if high is None else high)
    assert check.fails(value) != inside
    if not inside:
        assert check.threshold(value) == (high if high is not None and value > high else low)


def test_nan_is_no_value():
    assert not DEFAULTS["conflicts"].fails(math.nan)


def test_a_file_changes_what_it_says_and_nothing_else(tmp_path):
    path = written(
        tmp_path,
        '[conflicts]\nmax = 2\nseverity = "warning"\n[class_ratio]\nenabled = false\n[smallest_class]\nmax = 50\n',
    )
    changed = {check.name: check for check in load_thresholds(path)}
    assert list(changed) == [name for name in DEFAULTS if name != "class_ratio"]
    assert changed["conflicts"] == replace(DEFAULTS["conflicts"], max=2.0, severity="warning")
    assert changed["smallest_class"] == replace(DEFAULTS["smallest_class"], max=50.0)
    for name in changed.keys() - {"conflicts", "smallest_class"}:
        assert changed[name] == DEFAULTS[name]


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_changes_nothing(tmp_path, text):
    assert load_thresholds(written(tmp_path, text)) == load_thresholds()


def test_a_byte_order_mark_and_other_line_ends_do_not_matter(tmp_path):
    path = written(tmp_path, "[conflicts]\r\nmax = 7\r\n", encoding="utf-8-sig")
    assert {check.name: check.max for check in load_thresholds(str(path))}["conflicts"] == 7.0


@pytest.mark.parametrize(
    "text, words",
    [
        ("[conflict]\nmax = 1", ["unknown check 'conflict'", "did you mean conflicts"]),
        ("[redundant_share]\nmax = 1", ["redundant_share", "did you mean duplicates", "measure"]),
        ("[shortcut_score]\nmax = 1", ["did you mean shortcut"]),
        ("[zzzzzz]\nmax = 1", ["unknown check 'zzzzzz'", "valid: enough_images, "]),
        ("max = 1", ["max", "[conflicts]"]),
        ("conflicts = 3", ["conflicts", "[conflicts]"]),
        ("[conflicts]\nmaximum = 1", ["[conflicts]", "'maximum'", "did you mean max"]),
        ("[conflicts]\nmeasure = 'n_images'", ["'measure'"]),
        ('[conflicts]\nmax = "3"', ["[conflicts] max = '3'", "a number"]),
        ("[conflicts]\nmax = true", ["max = True", "a number"]),
        ("[conflicts]\nmin = [1]", ["min = [1]", "a number"]),
        ("[conflicts]\nmax = nan", ["max = nan", "a number"]),
        ('[conflicts]\nseverity = "criticl"', ["'criticl'", "info, warning or critical", "did you mean critical"]),
        ("[conflicts]\nseverity = 3", ["severity = 3", "info, warning or critical"]),
        ("[conflicts]\nseverity = ['info']", ["info, warning or critical"]),
        ("[conflicts]\nenabled = 1", ["enabled = 1", "true or false"]),
        ("[class_ratio]\nmin = 5", ["[class_ratio]", "min = 5", "max = 3.0"]),
        ("[conflicts]\nmax = \n[outliers]\n", ["not valid TOML", "line 2"]),
        ("[conflicts]\nmax = 1\nmax = 2\n[outliers]\n", ["not valid TOML", "line 3"]),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(DatapropsError) as caught:
        load_thresholds(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DatapropsError, match=r"gone\.toml cannot be read: No such file"):
        load_thresholds(tmp_path / "gone.toml")
    with pytest.raises(DatapropsError, match="cannot be read"):
        load_thresholds(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"[conflicts]\n# \xff\xfe\n")
    with pytest.raises(DatapropsError, match=r"bytes\.toml is not valid UTF-8"):
        load_thresholds(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    "value, spec, text",
    [
        (1, "pair is|pairs are", "1 pair is"),
        (0, "pair is|pairs are", "0 pairs are"),
        (12345, "pair is|pairs are", "12,345 pairs are"),
        (0.123, "share", "12 %"),
        (0.0004, "share", "0.04 %"),
        (2.5, ".1f", "2.5"),
    ],
)
def test_numbers_in_sentences(value, spec, text):
    assert format(Quantity(value), spec) == text


def test_a_sentence_may_use_any_measure():
    check = Check(
        name="x",
        measure="m",
        max=1.0,
        severity="info",
        title="t",
        sentence="{value:.0f} of {n_images:image|images}, {rise:share}.",
    )
    assert check.words(2.0, {"n_images": 9.0}) == "2 of 9 images, 639 %."
