"""The tables of measured properties, row by row, against loops over all pairs of small sets."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from dataprops.distances.allpairs import Rows, all_pairs, array_rows
from dataprops.distances.kernel import EMPTY
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec, State
from dataprops.properties import tables
from dataprops.properties.dimension import Estimate, local_dimension
from dataprops.properties.distinct import Distinct, distinct_rows
from dataprops.properties.estimators import estimate_all
from dataprops.properties.sharpness import sharpness_summary
from dataprops.util.normal import Z
from dataprops.util.tools import Tools, inline_tools

K = 4


class Case(NamedTuple):
    """Images, some of them copies, unlabelled or unreadable, and what a pass over them found."""

    images: pd.DataFrame
    pixels: np.ndarray
    rows: Rows
    distinct: Distinct
    state: State


def case(n: int = 40, levels: int = 4, seed: int = 0, k: int = K, numeric: bool = False) -> Case:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, levels, (n, 4)).astype(np.uint8)
    y = rng.normal(size=n).round(1) if numeric else rng.integers(0, 3, n).astype(float)
    y[rng.random(n) < 0.1] = np.nan
    content = np.array([row.tobytes().hex() for row in pixels], dtype=object)
    content[[1, 3]] = None  # unreadable
    table = pd.DataFrame({"image": np.arange(n), "pixels": content, "y": y})
    table["path"] = [f"{i}.png" for i in range(n)]
    table["label"] = [None if np.isnan(v) else str(v) for v in y]
    table = table.assign(row=0, shard=0, grey=True)
    distinct = distinct_rows(table)
    rows = array_rows(pixels[distinct.first], distinct.y, distinct.primary)
    return Case(
        table, pixels, rows, distinct, all_pairs(rows, PassSpec(k, numeric=numeric), Plan(10_000, 1024, 0)).state
    )


def apart(pixels: np.ndarray) -> np.ndarray:
    whole = pixels.astype(float)
    return np.sqrt(((whole[:, None] - whole[None]) ** 2).sum(-1))


def ranked(own: float, distances: dict[int, float], k: int) -> list[tuple[float, int]]:
    return sorted((d, other) for other, d in distances.items() if other != own)[:k]


@pytest.mark.parametrize("anchored", [False, True])
def test_neighbours_among_contents_are_numbered_by_contents(anchored: bool) -> None:
    of = case()
    primary = np.nonzero(of.distinct.primary)[0]
    assert 0 < len(primary) < of.distinct.n
    asked, state = None, of.state
    if anchored:
        asked = primary[::3]
        state = state._replace(knn_d2=state.knn_d2[asked], knn_index=state.knn_index[asked])
    found, neighbour = tables.contents_only(state, of.distinct, asked)
    d = apart(of.pixels[of.distinct.first[primary]])
    for place, own in enumerate(range(len(primary)) if asked is None else np.searchsorted(primary, asked)):
        wanted = ranked(own, dict(enumerate(d[own])), K)
        assert found[place].tolist() == pytest.approx([value for value, _ in wanted])
        assert neighbour[place].tolist() == [other for _, other in wanted]


def test_contents_without_enough_neighbours_have_infinite_distances_to_none() -> None:
    of = case(6, levels=200)
    found, neighbour = tables.contents_only(of.state, of.distinct, None)
    assert np.isinf(found[:, 3]).all() and (neighbour[:, 3] == -1).all()  # four can be read, each has three others
    assert np.isfinite(found[:, :3]).all() and (neighbour[:, :3] >= 0).all()


def counting() -> tuple[Tools, list]:
    """Tools that write down what is announced, then each step."""
    seen: list = []

    def progress(name: str, total: int, unit: str):
        seen.append((name, total, unit))
        return nullcontext(seen.append)

    return inline_tools(progress, 1), seen


def test_the_dimension_of_subsets_is_that_of_their_images_alone() -> None:
    x = np.random.default_rng(2).integers(0, 256, (1001, 6)).astype(np.uint8)
    rows, every = array_rows(x), np.arange(1001)
    tools, seen = counting()
    found = tables.subset_estimates(tools, rows, every, k=5, seed=3)
    assert [size for size, _ in found] == [500, 1000]
    assert seen[0] == ("dimension against N", 500 * 499 // 2 + 1000 * 999 // 2, "pairs")
    assert sum(seen[1:]) == seen[0][1] and isinstance(seen[0][1], int)
    chosen = np.random.default_rng([3, 500]).choice(every, 500, replace=False)
    every_distance = apart(x[np.sort(chosen)])
    order = np.argsort(every_distance, axis=1, kind="stable")[:, 1:6]
    near = np.take_along_axis(every_distance, order, axis=1)
    wanted = estimate_all(near, order, 6, 5, 0, ("mle",))["mle"]
    assert found[0][1].value == pytest.approx(wanted.value)
    assert found[0][1].se == pytest.approx(wanted.se)
    assert tables.subset_estimates(tools, rows, every[:500], k=5, seed=3) == []


def test_the_dimension_is_told_at_four_sizes_that_sets_compare_at() -> None:
    x = np.random.default_rng(2).integers(0, 256, (5001, 4)).astype(np.uint8)
    _, first = np.unique(x, axis=0, return_index=True)
    assert len(first) == 5001
    found = tables.subset_estimates(inline_tools(threads=1), array_rows(x), np.arange(5001), k=3, seed=0)
    assert [size for size, _ in found] == [500, 1000, 2500, 5000]


@pytest.mark.parametrize(
    ("n", "sample", "sizes"),
    [(620, 1000, [100, 250, 500, 618]), (620, 500, [100, 250, 500]), (620, 501, [100, 250, 500, 501]), (80, 50, [50])],
)
def test_samples_have_fixed_sizes_below_the_one_that_is_asked_for(n: int, sample: int, sizes: list[int]) -> None:
    of, (tools, seen) = case(n, 256), counting()
    found = tables.sampled_sharpness(tools, of.rows, of.distinct, of.state, tables.Drawing(sample, 3, 1), numeric=False)
    assert list(found) == sizes
    assert all(len(values) == 3 for values in found.values())
    assert seen == [("sharpness of samples", 3 * len(sizes), "draws")] + [1] * 3 * len(sizes)
    if sizes[-1] == 618:  # the whole set: what all pairs told
        assert found[618] == [float(np.sqrt(of.state.sharp.max()))] * 3


def test_samples_are_a_thousand_images_twenty_times_unless_asked_otherwise() -> None:
    assert tables.Drawing() == (1000, 20, 0)


@pytest.mark.parametrize("labels", [[1.0] * 6, [np.nan] * 6, [1.0] * 3 + [np.nan] * 3])
def test_samples_of_one_label_or_none_have_no_sharpness(labels: list[float]) -> None:
    of = case(6, 200)
    images = of.distinct._replace(y=np.array(labels[: of.distinct.n]))
    given = (inline_tools(threads=1), of.rows, images, of.state, tables.Drawing(4, 2, 0))
    assert tables.sampled_sharpness(*given, numeric=False) == {}


def test_two_labels_are_enough_for_a_sharpness_of_samples() -> None:
    of = case(6, 200)
    images = of.distinct._replace(y=np.arange(of.distinct.n) % 2.0)
    given = (inline_tools(threads=1), of.rows, images, of.state, tables.Drawing(4, 2, 0))
    assert [len(values) for values in tables.sampled_sharpness(*given, numeric=False).values()] == [2]


SUMMARY = sharpness_summary(np.linspace(0.1, 0.5, 101))
ESTIMATES = {"mle": Estimate(9.0, 0.5, 100, 20), "geomle": Estimate(math.nan, math.nan, 100, 55, "too few")}


def rows_of(table: pd.DataFrame) -> dict[str, tuple]:
    return {row.property: row for row in table.itertuples(index=False)}


def test_properties_are_one_row_each_with_their_intervals() -> None:
    draws = {30: [1.0, 2.0, 4.0], 100: [3.0, 3.0, 3.0]}
    made = tables.properties_table(ESTIMATES, [(50, Estimate(8.0, 1.0, 50, 20))], SUMMARY, draws, 200, 100)
    assert list(made.columns) == ["property", "value", "se", "n", "k", "m", "low", "high", "note"]
    found = rows_of(made)
    mle = found["intrinsic_dimension.mle"]
    assert mle[1:] == (9.0, 0.5, 100, 20, 0, 9.0 - Z * 0.5, 9.0 + Z * 0.5, "")
    assert found["intrinsic_dimension.geomle"].note == "too few"
    assert found["intrinsic_dimension.mle@50"][1:6] == (8.0, 1.0, 50, 20, 50)
    every = found["label_sharpness.all_pairs"]
    assert (every.value, every.n, every.k, every.m, every.note) == (0.5, 200, 0, 0, "")
    assert np.isnan([every.se, every.low, every.high]).all()
    whole = found["label_sharpness.sample"]
    told = "se is the standard deviation over draws"
    assert whole[1:] == (3.0, 0.0, 200, 0, 100, 3.0, 3.0, told)
    small = found["label_sharpness.m30"]
    mean, spread = 7 / 3, np.std([1, 2, 4], ddof=1)
    assert (small.value, small.se, small.m, small.note) == (pytest.approx(mean), pytest.approx(spread), 30, "")
    half = Z * spread / math.sqrt(3)
    assert (small.low, small.high) == (pytest.approx(mean - half), pytest.approx(mean + half))
    assert found["label_sharpness.q50"][1:] == pytest.approx(
        (0.3, math.nan, 200, 0, 0, *SUMMARY["q50"][1:], ""), nan_ok=True
    )
    assert list(found)[-3:] == [f"label_sharpness.{name}" for name in ("q50", "q95", "q99")]


def test_properties_say_what_they_rest_on() -> None:
    def note(name: str, summary: dict = SUMMARY, n: int = 200, sample: int = 100, anchors: int | None = None) -> str:
        made = tables.properties_table(ESTIMATES, [], summary, {min(n, sample): [1.0, 2.0]}, n, sample, anchors)
        return rows_of(made)[f"label_sharpness.{name}"].note

    assert note("sample", n=90) == "the dataset has 90 images: M = 90"
    assert note("sample", n=100) == "se is the standard deviation over draws"
    few = sharpness_summary(np.linspace(0.1, 0.5, 101), sampled=True)
    assert note("all_pairs", few, anchors=101) == "a lower bound: the largest value of the sample"
    none = sharpness_summary(np.array([math.nan]))
    assert {note(name, none) for name in ("all_pairs", "sample", "q95")} == {"no two images with different labels"}
    made = rows_of(tables.properties_table({}, [], few, {}, 200, 100, 101))
    assert [made[f"label_sharpness.{name}"].n for name in ("all_pairs", "q50", "sample")] == [101, 101, 200]
    assert np.isnan(made["label_sharpness.sample"].value) and made["label_sharpness.sample"].m == 100


@pytest.mark.parametrize("anchored", [False, True])
def test_values_of_images_are_those_of_a_loop_over_all_pairs(anchored: bool) -> None:
    of = case()
    state, anchors = of.state, None
    if anchored:
        anchors = np.nonzero(of.distinct.primary)[0][::2].astype(np.int32)
        state = State(*(np.asarray(part)[anchors] for part in state))
    table, near = tables.image_values(of.images, of.distinct, state, K, anchors)
    assert list(table["image"]) == list(range(40))
    assert not {"row", "shard", "grey"} & set(table)
    d = apart(of.pixels)
    readable, y = of.distinct.images.tolist(), of.images["y"].to_numpy()
    contents = of.distinct.first[of.distinct.primary].tolist()
    asked = readable if anchors is None else [i for i in readable if of.distinct.row[readable.index(i)] in anchors]
    assert sorted(set(near["image"])) == asked
    for i in range(40):
        told = table.loc[i]
        if i not in readable:
            assert told["duplicate_of"] == -1
            continue
        assert told["duplicate_of"] == min(j for j in readable if d[i, j] == 0)
        if i not in asked:
            assert np.isnan(told["local_dimension"]) and told["neighbour"] == -1 and np.isnan(told["sharpness"])
            continue
        wanted = ranked(i, {j: d[i, j] for j in readable}, K)
        mine = near[near["image"] == i]
        assert mine["rank"].tolist() == [1, 2, 3, 4]
        assert list(zip(mine["distance"], mine["neighbour"], strict=True)) == wanted
        assert (told["neighbour_distance"], told["neighbour"]) == pytest.approx(wanted[0])
        others = np.array([value for value, _ in ranked(-1, {j: d[i, j] for j in contents if d[i, j]}, K)])
        assert told["knn_distance"] == pytest.approx(others[-1])
        if others[0] < others[-1]:
            assert told["local_dimension"] == pytest.approx(local_dimension(others[None], K)[0])
        sharp = {j: 1 / d[i, j] for j in readable if y[i] != y[j] and not np.isnan(y[i] + y[j]) and d[i, j] > 0}
        if sharp:
            best = max(sharp.values())
            assert told["sharpness"] == pytest.approx(best)
            assert sharp[int(told["sharpest_image"])] == pytest.approx(best)
            assert told["sharpest_distance"] == pytest.approx(1 / best)
        else:
            assert told["sharpest_image"] == -1 and np.isnan(told["sharpness"])


def test_images_without_enough_neighbours_have_no_local_values() -> None:
    of = case(6, levels=200)
    table, near = tables.image_values(of.images, of.distinct, of.state, K)
    assert table["local_dimension"].isna().all() and table["knn_distance"].isna().all()
    assert len(near) == 4 * 3 and (near["neighbour"] >= 0).all()


@pytest.mark.parametrize("numeric", [False, True])
def test_the_fifty_sharpest_pairs_are_those_of_a_loop_over_all_pairs(numeric: bool) -> None:
    of = case(60, 6, numeric=numeric)
    found = tables.sharpest_pairs(of.rows, of.distinct, of.state, numeric=numeric)
    first, y = of.distinct.first, of.distinct.y
    d = apart(of.pixels[first])
    wanted = []
    for i in range(len(first)):
        for j in range(i + 1, len(first)):
            step = abs(y[i] - y[j]) if numeric else float(y[i] != y[j])
            if not np.isnan(y[i] + y[j]) and step > 0 and d[i, j] > 0:
                wanted.append((-step / d[i, j], first[i], first[j], d[i, j]))
    wanted = sorted(wanted)[:50]
    assert len(found) == 50
    assert found["sharpness"].tolist() == pytest.approx([-row[0] for row in wanted])
    assert list(zip(found["a"], found["b"], strict=True)) == [(row[1], row[2]) for row in wanted]
    assert found["distance"].tolist() == pytest.approx([row[3] for row in wanted])
    assert len(tables.sharpest_pairs(of.rows, of.distinct, of.state, numeric=numeric, limit=3)) == 3


def test_the_sharpest_pairs_of_a_sample_are_its_rows_own() -> None:
    of = case(30, 200)
    anchors = np.arange(0, of.distinct.n, 2, dtype=np.int32)
    state = State(*(np.asarray(part)[anchors] for part in of.state))
    found = tables.sharpest_pairs(of.rows, of.distinct, state, numeric=False, anchors=anchors)
    named = {anchor: other for anchor, other in zip(anchors, state.sharp_index, strict=True) if other != EMPTY}
    pairs = {tuple(sorted((of.distinct.first[a], of.distinct.first[b]))) for a, b in named.items()}
    assert set(zip(found["a"], found["b"], strict=True)) == pairs
    assert (found["a"] < found["b"]).all() and found["sharpness"].is_monotonic_decreasing
    np.testing.assert_allclose(found["distance"], apart(of.pixels)[found["a"], found["b"]])
    np.testing.assert_allclose(found["sharpness"], 1 / found["distance"])


def test_there_is_an_empty_table_where_no_two_labels_differ() -> None:
    of = case(20, 200)
    rows = array_rows(of.pixels[of.distinct.first], np.zeros(of.distinct.n))
    state = all_pairs(rows, PassSpec(K), Plan(1000, 1024, 0)).state
    found = tables.sharpest_pairs(rows, of.distinct, state, numeric=False)
    assert found.empty and list(found) == ["a", "b", "distance", "sharpness"]


def test_pairs_of_both_kinds_stand_in_one_table_with_paths_and_labels() -> None:
    images = pd.DataFrame({"path": ["p0", "p1", "p2"], "label": ["x", None, "z"]})
    near = pd.DataFrame({"a": [0], "b": [2], "distance": [1.5]})
    sharp = pd.DataFrame({"a": [1], "b": [2], "distance": [2.0], "sharpness": [0.5]})
    made = tables.pairs_table(near, sharp, images)
    assert made["kind"].tolist() == ["near_duplicate", "sharpest"]
    assert made["path_a"].tolist() == ["p0", "p1"] and made["path_b"].tolist() == ["p2", "p2"]
    assert made["label_a"][0] == "x" and pd.isna(made["label_a"][1]) and made["label_b"].tolist() == ["z", "z"]
    assert np.isnan(made["sharpness"][0]) and made["sharpness"][1] == 0.5
    assert tables.pairs_table(near[:0], sharp, images)["kind"].tolist() == ["sharpest"]
    assert tables.pairs_table(near[:0], sharp[:0], images).empty
    more = tables.pairs_table(near.assign(rms=0.1, unasked=3), sharp, images)
    assert "rms" in more and "unasked" not in more
