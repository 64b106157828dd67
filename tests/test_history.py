"""What changed between audits: planted changes are told, sampling noise is not, and runs that do not compare say why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from dataprops.audit import history
from dataprops.audit.comparison import compare
from dataprops.audit.history import find_runs, timeline
from dataprops.audit.matched import match
from dataprops.audit.property_changes import class_changes, copies_change, fraction_change, mix_test
from dataprops.audit.remembered import Remembered
from dataprops.errors import DatapropsError
from dataprops.laws.prediction import LEVEL
from dataprops.store.folder import open_store
from dataprops.util.numbers import wilson_interval
from flows.cli import main
from tests.make_results import images_table, write_result

ONE, TWO, THREE = "20261101T000000Z-aaaa", "20261102T000000Z-bbbb", "20261103T000000Z-cccc"


def plain(n: int, first: int = 0) -> pd.DataFrame:
    return images_table([f"c{i}" for i in range(first, first + n)], ["cat" if i % 2 else "dog" for i in range(n)])


def change(found: dict, name: str) -> dict:
    return next(change for change in found["changes"] if change["name"] == name)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


# --- parts -----------------------------------------------------------------------------------------------------------


def test_moved_files_are_kept_and_a_second_copy_is_added():
    a = images_table(["x", "y", "z"], ["cat"] * 3)
    b = images_table(["x", "x", "y"], ["cat"] * 3)
    b["path"] = ["new/copy.png", "x.png", "moved/y.png"]
    matched = match(a, b)
    assert matched.kept_b.tolist() == [False, True, True]
    assert matched.partner.tolist() == [-1, 0, 1]
    assert matched.kept_a.tolist() == [True, True, False]


def test_an_unreadable_file_is_matched_by_its_path_only():
    a, b = (images_table([None, None], ["cat"] * 2) for _ in range(2))
    a["path"], b["path"] = ["one.png", "two.png"], ["two.png", "three.png"]
    assert match(a, b).partner.tolist() == [1, -1]


def test_with_nothing_removed_the_interval_is_newcombes_times_the_share_of_the_added():
    value, low, high = fraction_change((300, 1000), (60, 120), (0, 0))
    one, two = confint_proportions_2indep(60, 120, 300, 1000, method="newcomb", compare="diff")
    assert value == pytest.approx(360 / 1120 - 300 / 1000)
    assert (low, high) == pytest.approx((one * 120 / 1120, two * 120 / 1120))


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 10), (123_456, 1_000_000)])
def test_wilsons_interval_is_the_librarys(count, of):
    expected = proportion_confint(count, of, alpha=1 - LEVEL, method="wilson")
    assert wilson_interval(count, of) == pytest.approx(expected, abs=1e-12)


def test_intervals_of_shares_hold_the_truth():
    """Kept, added and removed images drawn with shares of their own: the interval holds the true change of the shares."""
    rng = np.random.default_rng(0)
    sizes, truth = (400, 100, 50), (0.2, 0.35, 0.1)
    w_a, w_r = 100 / 500, 50 / 450
    true = w_a * truth[1] - w_r * truth[2] + (w_r - w_a) * truth[0]
    held = 0
    for _ in range(1000):
        kept, added, removed = ((int(rng.binomial(n, p)), n) for n, p in zip(sizes, truth, strict=True))
        _, low, high = fraction_change(kept, added, removed)
        held += low <= true <= high
    assert 930 <= held <= 980


def test_the_mix_of_small_counts_is_judged_by_random_tables():
    """One source: p below 0.05 about every twentieth time, though counts are far too small for chi-square."""
    rng = np.random.default_rng(1)
    told = 0
    for seed in range(150):
        table = np.stack([rng.multinomial(60, [0.9, 0.05, 0.03, 0.02]), rng.multinomial(8, [0.9, 0.05, 0.03, 0.02])])
        p = mix_test(table, seed)
        told += p is not None and p < 0.05
    assert told <= 15
    assert mix_test(np.array([[60, 1], [2, 6]])) < 0.01
    assert mix_test(np.array([[60, 1], [0, 0]])) is None


def test_relabelled_images_change_the_mix_for_certain():
    a = plain(100)
    b = a.assign(label=["cat"] * 2 + a["label"].tolist()[2:])
    changes, p = class_changes(a, b, match(a, b))
    cat = next(change for change in changes if change.name == "share.cat")
    assert p is None and cat.significant
    assert (cat.value, cat.low, cat.high) == pytest.approx((0.01, 0.01, 0.01))


def test_copies_are_those_that_the_added_images_bring():
    a = plain(200)
    copies = images_table([f"again{i}" for i in range(30)], ["cat"] * 30, [f"c{i}" for i in range(30)])
    b = pd.concat([copies, a], ignore_index=True)  # copies are listed first: still it is they that are new
    found = copies_change(a, b, match(a, b))
    assert found.value == pytest.approx(30 / 230)
    assert found.significant


# --- two runs --------------------------------------------------------------------------------------------------------


def test_nothing_changed_is_told_as_nothing(store):
    folders = [write_result(store, run, plain(1000), penalty=4.0) for run in (ONE, TWO)]
    found = compare(*folders)
    assert found["images"] == {"kept": 1000, "added": 0, "removed": 0, "relabelled": 0}
    assert found["drift"] == []
    assert [change["value"] for change in found["changes"]] == [0.0] * len(found["changes"])


def test_noise_is_no_drift_and_planted_changes_are(store):
    rng = np.random.default_rng(2)
    a = plain(1000)
    fair = images_table([f"n{i}" for i in range(50)], rng.choice(["cat", "dog"], 50).tolist())
    cats = images_table([f"n{i}" for i in range(50)], ["cat"] * 50)
    before = write_result(store, ONE, a, penalty=4.0)
    noise = write_result(store, TWO, pd.concat([a, fair]), d=20.1, k_f=5.02e-4, penalty=4.02)
    drifted = write_result(store, THREE, pd.concat([a, cats]), d=21.0, k_f=9e-4, penalty=8.0)
    assert compare(before, noise)["drift"] == []
    found = compare(before, drifted)
    assert set(found["drift"]) >= {"d_data", "k_f", "penalty", "log_loss", "share.cat", "share.dog"}
    assert change(found, "k_f")["value"] == pytest.approx(np.log(9 / 5))
    assert change(found, "d_data")["high"] - 1.0 == pytest.approx(1.96 * np.hypot(0.1, 0.1), rel=1e-3)


def test_dimensions_of_sets_that_grew_compare_at_equal_n_or_not_at_all(store):
    one = write_result(store, ONE, plain(600), d=18.0, at_500=(17.5, 0.2))
    two = write_result(store, TWO, plain(1200), d=20.0, at_500=(17.6, 0.2))
    row = change(compare(one, two), "d_data")
    assert (row["before"], row["after"], row["significant"]) == (17.5, 17.6, False)
    one = write_result(store, ONE, plain(300), d=18.0)
    two = write_result(store, TWO, plain(450), d=20.0)
    assert change(compare(one, two), "d_data")["significant"] is None  # growth with N says nothing
    two = write_result(store, TWO, plain(450), d=16.0)
    assert change(compare(one, two), "d_data")["significant"] is True  # a fall against it does


def test_what_new_images_brought(store):
    a = plain(100)
    b = pd.concat([a, images_table(["n0"], ["cat"], ["c0"])], ignore_index=True)
    b["image"] = np.arange(len(b))
    found = compare(
        write_result(store, ONE, a),
        write_result(
            store,
            TWO,
            b,
            findings=[
                ("label_conflicts", [0, 100], ["c0.png", "n0.png"], "c0 is labelled dog, n0 cat."),
                ("sharpest_pairs", [3, 4], ["c3.png", "c4.png"], "an old pair"),
            ],
        ),
    )
    assert found["images"]["added"] == 1
    assert list(found["brought"]) == ["label_conflicts"]
    assert found["brought"]["label_conflicts"]["first"][0]["paths"] == ["c0.png", "n0.png"]


def test_other_preprocessing_does_not_compare_and_history_says_so(store):
    folders = [write_result(store, ONE, plain(100)), write_result(store, TWO, plain(100), size=64)]
    with pytest.raises(DatapropsError, match="size 224, this one 64"):
        compare(*folders)
    runs = timeline(store, "scans")
    assert "size 224" in runs[1]["not_compared"] and runs[1]["drift"] is None


def test_runs_are_compared_once_and_what_is_remembered_may_be_lost(store, monkeypatch):
    for run, d in ((ONE, 20.0), (TWO, 25.0)):
        write_result(store, run, plain(1000), d=d)
    first = timeline(store, "scans")
    assert first[1]["drift"] == ["d_data", "log_loss"]
    write_result(store, THREE, plain(1000), d=25.0)
    compared = []
    real = history.compare
    monkeypatch.setattr(history, "compare", lambda a, b: compared.append((a.name, b.name)) or real(a, b))
    assert timeline(store, "scans")[:2] == first
    assert compared == [(TWO, THREE)]
    file = store / "cache" / "history" / "scans.json"
    shutil.rmtree(store / "results" / "scans" / ONE)
    remembered = Remembered(store, "scans")
    remembered.put(Path(TWO), Path(THREE), {"drift": []})
    remembered.save({TWO, THREE})
    assert list(json.loads(file.read_text())["runs"]) == [f"{TWO} {THREE}"]  # of runs that are there
    for lost in ("no json", '{"version": 0, "runs": {}}', "[]"):
        file.write_text(lost)
        assert timeline(store, "scans")[1]["drift"] == []


# --- commands --------------------------------------------------------------------------------------------------------


def test_runs_are_found_by_id_or_by_name(store):
    one, two, three = (write_result(store, run, plain(10)) for run in (ONE, TWO, THREE))
    assert find_runs(store, ONE, TWO) == (one, two)
    assert find_runs(store, "scans", "latest") == (two, three)
    assert find_runs(store, "scans", ONE) == (one, three)
    with pytest.raises(DatapropsError, match="no run 'nowhere'"):
        find_runs(store, "scans", "nowhere")


def test_commands_print_and_give_strict_json(store):
    for run, d in ((ONE, 20.0), (TWO, 25.0)):
        write_result(store, run, plain(1000), d=d)
    run = CliRunner().invoke
    shown = run(main, ["history", "scans", "--store", str(store)])
    assert shown.exit_code == 0 and "▁█" in shown.stdout
    assert "penalty" not in shown.stdout  # known of no run
    told = " ".join(shown.stdout.split())
    assert f"{TWO} same files; beyond sampling noise: intrinsic dimension" in told and ONE in told
    found = json.loads(run(main, ["history", "scans", "--store", str(store), "--json"]).stdout)
    assert [entry["drift"] for entry in found["runs"]] == [None, ["d_data", "log_loss"]]
    shown = run(main, ["compare", "scans", "latest", "--store", str(store)])
    assert shown.exit_code == 0 and "intrinsic dimension" in shown.stdout
    still, moved = shown.stdout.split("unchanged: ")[1].split("significant")
    assert "share of" in still and "share of" not in moved  # a row of zeros says nothing
    assert json.loads(run(main, ["compare", ONE, TWO, "--store", str(store), "--json"]).stdout)["drift"]
    wrong = run(main, ["history", "other", "--store", str(store)])
    assert wrong.exit_code == 2 and "it has scans" in wrong.stderr
    nowhere = run(main, ["compare", ONE, TWO, "--store", str(store / "nowhere")])
    assert nowhere.exit_code == 2 and "is not a dataprops store" in nowhere.stderr
    assert not (store / "nowhere").exists()
