"""What a fit says of a table and of its laws, by the letter: each bound from both sides, each sentence whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dataprops.errors import DatapropsError
from dataprops.laws.fitting import fit
from dataprops.laws.fitting.laws import LAWS
from dataprops.laws.fitting.lines import Design, left_out_residuals
from dataprops.laws.fitting.resampling import Intervals, interval, mean_of, pearson, share
from dataprops.laws.fitting.table import listed, points_of, read_experiments
from dataprops.laws.fitting.words import verdict_of
from dataprops.laws.prediction import student

# --- verdicts ------------------------------------------------------------------------------------------------------------

ROBUST = "Robustness (loss increase under FGSM, eps 2/255, against K_F)"
GENERAL = "Generalization (log L = -(1/d_data) log N + log K_F + a, slopes fixed)"


def excess(low: float) -> Intervals:
    return Intervals(np.ones(1), np.full(1, low), np.full(1, 2.0), "")


@pytest.mark.parametrize(
    ("error", "mean", "log_n", "beats", "clearly", "said"),
    [
        (0.1, (0.2, 0.5), (0.3, 0.5), True, True, "the law beats both"),
        (0.1, (0.2, 0.5), (0.3, 0.0), True, False, "the law is ahead of both, but within dataset-sampling error"),
        (0.1, (0.2, -0.5), (0.3, 0.5), True, False, "the law is ahead of both, but within dataset-sampling error"),
        (0.1, (0.2, 0.5), (0.3, np.inf), True, False, "the law is ahead of both, but within dataset-sampling error"),
        (0.2, (0.2, 0.5), (0.3, 0.5), False, False, "the law does not beat the mean, so it adds nothing here"),
        (0.25, (0.3, 0.5), (0.2, 0.5), False, False, "the law does not beat log N alone, so it adds nothing here"),
        (0.4, (0.2, 0.5), (0.3, 0.5), False, False, "the law beats neither, so it has no predictive value here"),
    ],
)
def test_a_law_beats_what_misses_by_more_and_clearly_if_the_excess_is_above_nought(
    error, mean, log_n, beats, clearly, said
):
    compared = {name: (rmse, excess(low)) for name, (rmse, low) in (("mean", mean), ("log_n", log_n))}
    told = verdict_of(LAWS["generalization"], "fixed", {"fixed": error}, compared)
    against = f"leave-one-out error {error:.3g} log nats, {mean[0]} for the mean and {log_n[0]} for log N alone"
    assert told == {
        "form": "fixed",
        "beats": beats,
        "clearly": clearly,
        "sentence": f"{GENERAL}: {against}: {said}.",
    }


@pytest.mark.parametrize(
    ("low", "said"), [(0.5, "beats it"), (-0.5, "is ahead of it, but within dataset-sampling error")]
)
def test_a_law_against_the_mean_alone_says_so(low, said):
    told = verdict_of(LAWS["robustness"], "free", {"free": 0.1}, {"mean": (0.2, excess(low))})
    alone = "(log N alone could not be compared: no N that varies)"
    assert told["sentence"] == f"{ROBUST}: leave-one-out error 0.1 nats, 0.2 for the mean: the law {said} {alone}."


@pytest.mark.parametrize(("errors", "compared"), [({"free": 0.1}, {}), ({}, {"mean": (0.2, excess(0.5))})])
def test_a_law_without_an_error_or_without_a_baseline_is_not_evaluated(errors, compared):
    told = verdict_of(LAWS["robustness"], "free", errors, compared)
    why = "not evaluated, since there are too few datasets for leave-one-out"
    assert told == {"form": "free", "beats": None, "clearly": None, "sentence": f"{ROBUST}: {why}."}


@pytest.mark.parametrize(("degrees", "level"), [(3, 0.95), (20.5, 0.95), (7, 0.9)])
def test_students_value_leaves_half_of_the_rest_on_each_side(degrees, level):
    assert stats.t.sf(student(degrees, level), degrees) == pytest.approx((1 - level) / 2)
    assert student(degrees) == student(degrees, 0.95)


# --- tables --------------------------------------------------------------------------------------------------------------


def rows_of(**columns) -> pd.DataFrame:
    return pd.DataFrame({"dataset": ["a", "b", "c"], "test_loss": 0.5, "penalty_2": 0.5} | columns)


@pytest.mark.parametrize(
    ("columns", "notes"),
    [
        ({}, []),
        ({"channels": 3, "k_f_m": 2000, "penalty_2": 0.0}, []),
        ({"test_loss": [0.0, 1e-9, 1.0]}, ["1 row has a test loss of 0 or less"]),
        ({"penalty_2": [0.0, -1e-9, -1.0]}, ["2 rows have a negative penalty"]),
        ({"channels": [1, 3, 3]}, ["the table mixes sets of 1 and 3 channels"]),
        ({"k_f_m": [500, 2000, 2000]}, ["label sharpness was measured on samples of 500 to 2,000 images"]),
    ],
)
def test_what_is_to_be_kept_in_mind_of_a_table_is_told_and_nothing_else(columns, notes):
    told = points_of(rows_of(**columns)).notes
    assert len(told) == len(notes)
    assert all(one.startswith(start) for one, start in zip(told, notes, strict=True))


@pytest.mark.parametrize("columns", [{"status": ["failed", "done", "done"]}, {"train_loss": [0.4, 0.1, 0.1]}])
def test_rows_that_are_left_out_leave_no_number_and_no_column(columns):
    table = points_of(rows_of(**columns)).table
    assert list(table.index) == [0, 1] and list(table["dataset"]) == ["b", "c"]
    assert "index" not in table.columns


def test_cells_of_experiments_are_numbered_through_and_name_theirs(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "experiments" / name).mkdir(parents=True)
        rows_of().to_parquet(tmp_path / "experiments" / name / "cells.parquet")
    table = read_experiments(tmp_path)
    assert list(table.index) == list(range(6)) and list(table["experiment"]) == ["one"] * 3 + ["two"] * 3


def test_a_table_without_datasets_names_its_first_twelve_columns():
    with pytest.raises(DatapropsError) as said:
        points_of(pd.DataFrame(columns=[f"c{i}" for i in range(13)]))
    assert f"(it has {', '.join(f'c{i}' for i in range(12))})" in str(said.value)


@pytest.mark.parametrize(("count", "more"), [(8, ""), (9, " and 1 more"), (11, " and 3 more")])
def test_eight_names_are_listed_and_the_others_counted(count, more):
    names = [f"n{i}" for i in range(count)]
    assert listed(iter(names)) == ", ".join(names[:8]) + more


# --- the parts of a fit --------------------------------------------------------------------------------------------------

WITHOUT = np.array([1.0, np.nan, 2.0, -4.0, np.nan, 3.0])


def design(dataset: list[int], names: str = "abc") -> Design:
    rows = len(dataset)
    return Design(
        np.zeros((rows, 1)),
        np.zeros(rows),
        np.array(dataset),
        np.zeros(rows, int),
        tuple(names),
        ("f",),
        np.arange(rows),
    )


def test_a_design_has_its_datasets_in_the_order_of_names_and_the_rows_that_are_whole():
    table = rows_of(dataset=["b", "a", "c"], model=["z", "y", "z"], k_f=[1e-4, np.nan, 2e-4])
    found = fit.design_of(points_of(table), LAWS["robustness"])
    assert isinstance(found, Design)
    assert (found.datasets, found.families, found.at.tolist()) == (("b", "c"), ("z",), [0, 2])
    assert found.x.ravel().tolist() == [1e-4, 2e-4] and found.dataset.tolist() == [0, 1]
    turned = fit.design_of(points_of(table.assign(k_f=[2e-4, 1e-4, 3e-4])), LAWS["robustness"])
    assert isinstance(turned, Design)
    assert (turned.datasets, turned.families) == (("a", "b", "c"), ("y", "z"))
    assert (turned.dataset.tolist(), turned.family.tolist()) == ([1, 0, 2], [1, 0, 1])


def test_errors_are_root_means_of_squares_of_each_dataset_and_then_of_all():
    told = fit._errors(design([0, 0, 1, 1, 2, 1]), WITHOUT, "nats")
    squares = {"a": 1.0, "b": (4 + 16 + 9) / 3}
    assert told["rmse"] == pytest.approx(np.sqrt(np.mean(list(squares.values()))))
    assert told["by_dataset"] == {name: pytest.approx(np.sqrt(one)) for name, one in squares.items()} | {"c": None}
    assert (told["unit"], told["rows_without"]) == ("nats", 2)
    assert "rows_without" not in fit._errors(design([0, 1]), np.ones(2), "nats")
    assert fit._errors(design([0, 1]), np.full(2, np.nan), "nats")["rmse"] is None


def test_forms_and_baselines_are_compared_on_the_rows_that_all_of_them_predict():
    dataset = np.repeat(np.arange(6), 2)
    rng = np.random.default_rng(0)
    misses = {form: rng.normal(size=12) * size for form, size in (("free", 1.0), ("fixed", 0.5))}
    base = {"mean": rng.normal(size=12) * 3, "log_n": np.full(12, np.nan)}
    misses["free"][0] = base["mean"][3] = np.nan
    common = [i for i in range(12) if i not in (0, 3)]
    squares = {
        name: [np.mean([miss[i] ** 2 for i in common if dataset[i] == at]) for at in range(6)]
        for name, miss in (misses | base).items()
        if name != "log_n"
    }
    best, forms, compared = fit._against(design(dataset.tolist(), "abcdef"), misses, base, 3)
    assert best == "fixed" and set(forms) == {"free", "fixed"} and set(compared) == {"mean"}
    assert forms == {form: pytest.approx(np.sqrt(np.mean(squares[form]))) for form in forms}
    rmse, more = compared["mean"]
    assert rmse == pytest.approx(np.sqrt(np.mean(squares["mean"])))
    wanted = interval(mean_of(np.subtract(squares["mean"], squares["fixed"])), 6, seed=3)
    assert (more.value, more.low, more.high) == (wanted.value, wanted.low, wanted.high)
    unknown = {form: np.full(12, np.nan) for form in misses}
    assert fit._against(design(dataset.tolist(), "abcdef"), unknown, base, 0) == ("fixed", {}, {})
    del unknown["fixed"]
    assert fit._against(design(dataset.tolist(), "abcdef"), unknown, base, 0)[0] == "free"


@pytest.mark.parametrize("datasets", [2, 3, 4])
def test_a_slope_over_means_needs_three_datasets_that_differ(datasets):
    rng = np.random.default_rng(datasets)
    table = pd.DataFrame({"dataset": np.repeat(list("abcd")[:datasets], 3), "k_f": 1e-5 * rng.random(3 * datasets)})
    table["penalty_2"] = rng.random(3 * datasets)
    told = fit._slope_and_r(table, "penalty_2")
    assert told["datasets"] == datasets
    even = fit._slope_and_r(table.assign(k_f=0.5 + 1e-6 * table["k_f"]), "penalty_2")
    assert fit._slope_and_r(table.assign(k_f=0.0), "penalty_2") == even
    assert even["missing"] == "it needs at least three datasets that differ in sharpness"
    if datasets < 3:
        assert told == even
        return
    means = table.groupby("dataset").mean()
    line = stats.linregress(means["k_f"], means["penalty_2"])
    assert (told["slope"], told["pearson_r"]) == (pytest.approx(line.slope), pytest.approx(line.rvalue))
    assert told["spearman_r"] == pytest.approx(stats.spearmanr(means["k_f"], means["penalty_2"]).statistic)


@pytest.mark.parametrize("several", [False, True])
def test_families_and_channels_are_told_apart_if_there_are_several(several):
    rng = np.random.default_rng(0)
    dataset = np.repeat([f"set{i}" for i in range(8)], 2)
    k = np.repeat(rng.random(8), 2)
    table = pd.DataFrame({"dataset": dataset, "k_f": k, "penalty_2": 3 * k + rng.normal(0, 0.1, 16), "channels": 1.0})
    table["model"] = "net"
    if several:
        table["model"] = ["one", "two"] * 8
        table.loc[10:, "channels"] = 3.0
    told = fit.fit_laws(table).result["laws"]["robustness"]
    assert told["intercept"] == pytest.approx(np.mean([a["value"] for a in told["intercepts"].values()]))
    means = table.groupby("dataset")[["k_f", "penalty_2"]].mean().to_numpy().T
    r = interval(pearson(*means), 8, correlation=True)
    assert told["pearson_r_interval"] == [r.low[0], r.high[0]]
    assert told["correlation_of"] == "means of 8 datasets" and told["interval"].startswith("bootstrap-t")
    assert list(told["by_attack"]) == ["FGSM, eps 2/255"]
    assert ("by_family" in told, "within_channels" in told) == (several, several)
    if several:
        for name, part in table.groupby("model"):
            assert told["by_family"][name] == fit._slope_and_r(part, "penalty_2")
        assert {c: row["datasets"] for c, row in told["within_channels"].items()} == {"1": 5, "3": 3}


def bound_of(above: int, datasets: int) -> dict:
    dimension = np.where(np.arange(datasets) < above, 2.0, 1.0)
    names = [f"set{i}" for i in range(datasets)]
    table = pd.DataFrame({"dataset": names, "d_data": 1.0, "d_repr_last": dimension})
    return fit.fit_laws(table[::-1]).result["laws"]["bound"]


@pytest.mark.parametrize(("above", "datasets"), [(1, 8), (7, 8), (0, 8), (8, 8), (3, 7), (1, 2)])
def test_datasets_of_one_row_have_the_interval_of_clopper_and_pearson(above, datasets):
    told = bound_of(above, datasets)
    assert told["violations"] == above / datasets and (told["n"], told["datasets"]) == (datasets, datasets)
    assert told["datasets_with_violations"] == [f"set{i}" for i in range(above)]
    independent = datasets - (0 < above < datasets)  # the variance of a sample is by one less
    x = above / datasets * independent
    low = stats.beta.ppf(0.025, x, independent - x + 1) if above else 0.0
    high = stats.beta.ppf(0.975, x + 1, independent - x) if above < datasets else 1.0
    assert told["violations_interval"] == pytest.approx([low, high], rel=1e-9)
    assert told["interval"] == f"Korn and Graubard, rows of {datasets} datasets as clusters"


def test_a_share_of_rows_counts_as_many_as_are_independent():
    """Korn and Graubard by the letter; datasets that are all or nothing count as single rows at most."""
    hits, rows = np.array([40.0, 0.0, 10.0, 0.0, 3.0]), np.array([40.0, 30.0, 20.0, 50.0, 60.0])
    p, n = 53 / 200, 200
    variance = 5 / 4 * sum((h - p * r) ** 2 for h, r in zip(hits, rows, strict=True)) / n**2
    independent = p * (1 - p) / variance * (stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, 4)) ** 2
    x = p * independent
    found = share(hits, rows)
    assert (found.value[0], found.low[0]) == pytest.approx((p, stats.beta.ppf(0.025, x, independent - x + 1)))
    assert found.high[0] == pytest.approx(stats.beta.ppf(0.975, x + 1, independent - x))
    assert independent < 5
    even = share(np.full(4, 5.0), np.full(4, 20.0))  # no spread between datasets: all rows count
    exact = stats.binomtest(20, 80).proportion_ci(0.95, "exact")
    assert (even.low[0], even.high[0]) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("datasets", "true", "alike"), [(5, 0.05, 0.3), (5, 0.2, 0.8), (6, 0.2, 0.8), (8, 0.9, 0.8)])
def test_the_interval_of_a_share_covers_with_few_datasets(datasets, true, alike):
    """Where a bootstrap over datasets covered 54 to 71 % of 95 %, and had no interval for a tenth to a third."""
    rng, size, held = np.random.default_rng(3), 1 / alike - 1, 0
    for _ in range(300):
        rows = rng.integers(12, 49, datasets)
        hits = rng.binomial(rows, rng.beta(true * size, (1 - true) * size, datasets))
        found = share(hits.astype(float), rows.astype(float))
        held += found.low[0] <= true <= found.high[0]
    assert held / 300 >= 0.87


def test_a_share_of_one_dataset_has_no_interval():
    table = pd.DataFrame({"dataset": ["a", "a"], "d_data": 1.0, "d_repr_last": [1.0, 2.0]})
    told = fit.fit_laws(table).result["laws"]["bound"]
    assert (told["violations"], told["violations_interval"]) == (0.5, [None, None])
    assert told["interval"] == "no interval: 1 dataset, it needs 2"
    missing = fit.fit_laws(table.drop(columns="d_data")).result["laws"]["bound"]
    assert missing["missing"] == "the table has no d_data"
    apart = table.assign(d_data=[2.0, None], d_repr_last=[None, 2.0])
    assert fit.fit_laws(apart).result["laws"]["bound"]["missing"] == "no row has both d_repr_last and d_data"


def test_a_fitted_line_has_its_slopes_residuals_and_ranges():
    rng = np.random.default_rng(0)
    dataset = np.repeat([f"set{i}" for i in range(8)], 2)
    k = rng.uniform(1e-4, 4e-4, 16)
    table = pd.DataFrame({"dataset": dataset, "k_f": k, "flip_eps": 0.1 / k * np.exp(rng.normal(0, 0.05, 16))})
    table["penalty_2"], table["classes"] = 1e4 * k + rng.normal(0, 0.1, 16), np.arange(2, 18)
    found = fit.fit_laws(table)
    free, flip = found.lines["robustness"], found.lines["flip_distance"]
    slope = found.result["laws"]["robustness"]["slope"]
    assert [free.slopes, free.slope_low, free.slope_high] == [
        {"sharpness": slope[end]} for end in ("value", "low", "high")
    ]
    assert free.ranges == {"k_f": (k.min(), k.max()), "classes": (2.0, 17.0)}
    forms = found.result["laws"]["flip_distance"]
    assert flip.slopes == {"log_sharpness": forms[flip.form]["slopes"]["log_sharpness"]["value"]}
    if flip.form == "fixed":
        assert flip.slopes == flip.slope_low == flip.slope_high == {"log_sharpness": -1.0}
    target = fit.design_of(found.points, LAWS["robustness"])
    assert isinstance(target, Design)
    misses = left_out_residuals(target)
    wanted = {f"set{i}": misses[2 * i : 2 * i + 2].tolist() for i in range(8)}
    assert free.residuals == wanted and (free.beats, free.verdict) == (
        True,
        found.result["verdicts"]["robustness"]["sentence"],
    )
    assert (
        "r2" in forms["free"]
        and "r2" not in forms["fixed"]
        and forms["free"]["slopes"]["log_sharpness"]["theory"] == -1
    )
    log_n = found.result["baselines"]["robustness"]["log_n"]
    assert log_n == {"rmse": None, "missing": "n_train is missing or constant"}
    for n in (100, [None, *range(15)]):  # constant, and not known of all
        again = fit.fit_laws(table.assign(n_train=n)).result["baselines"]["robustness"]["log_n"]
        assert again == log_n
    constant = fit.fit_laws(table.assign(k_f=1e-4))
    assert "robustness" not in constant.lines and "missing" in constant.result["laws"]["robustness"]
    varied = fit.fit_laws(table.assign(n_train=np.arange(10, 26))).result["baselines"]["robustness"]["log_n"]
    assert varied["rmse"] > 0
