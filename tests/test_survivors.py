"""Mutants that once survived: each test states a boundary that no other test held, so that the mutant fails it."""

from __future__ import annotations

import numpy as np
import pytest

from dataprops.checks import open_alerts
from dataprops.checks.thresholds import load_thresholds
from dataprops.distances.allpairs import all_pairs, array_rows
from dataprops.distances.incremental import Contents, PreviousPass, update, usable
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError
from dataprops.properties import dimension

WHOLE = Plan(10_000, 1024, 0)
LINE = np.arange(12, dtype=np.uint8)[:, None] * np.uint8(10)  # neighbours are 10 apart: squared 100


@pytest.mark.parametrize("plan", [WHOLE, Plan(5, 256, 0)], ids=["one tile", "several blocks"])
@pytest.mark.parametrize(("near2", "pairs"), [(99.0, 0), (100.0, 11), (399.0, 11), (400.0, 21)])
def test_a_pair_at_the_near_distance_itself_is_near(plan: Plan, near2: float, pairs: int) -> None:
    # with neighbours asked for, and without: then the near distance alone decides which pairs are looked at
    for k in (0, 2):
        assert all_pairs(array_rows(LINE), PassSpec(k, near2=near2), plan).near.count == pairs


def test_a_list_of_near_pairs_that_was_cut_is_not_built_on() -> None:
    spec = PassSpec(2, near2=100.0, near_limit=4)
    names = np.array([f"{i}" for i in range(12)], dtype=object)
    first = all_pairs(array_rows(LINE[:11]), spec, WHOLE)
    y, every = np.full(11, np.nan), np.ones(11, bool)
    known = PreviousPass(
        names[:11], y, every, first.state, *first.near.arrays(), first.near.count, spec, first.sketches
    )
    assert first.near.truncated
    assert not usable(known, spec)
    rows = array_rows(LINE)
    result, full = (
        update(known, rows, Contents(names, np.arange(12, dtype=np.int32)), spec, WHOLE),
        all_pairs(rows, spec, WHOLE),
    )
    assert result.near.count == full.near.count == 11
    whole = known._replace(near_count=len(known.near_a))
    assert usable(whole, spec)
    assert not usable(whole, spec._replace(k=3))


@pytest.mark.parametrize(
    ("began", "told"),
    [("2026-01-01T10:00", False), ("2026-01-01T11:00", False), ("2026-01-01T11:01", True), (None, True)],
)
def test_a_run_that_began_before_or_when_the_last_audit_was_settled_is_made_good(began: str | None, told: bool) -> None:
    state = {"open": {}, "outbox": [], "settled": "2026-01-01T11:00"}
    after = open_alerts.with_failure(state, "chest", "It failed.", "r1", "2026-01-01T12:00", began=began)
    assert bool(after["open"]) == told
    assert bool(after["outbox"]) == told


@pytest.mark.parametrize("top", [17.0, 18.0])
def test_the_error_of_the_mle_is_the_one_that_the_delta_method_gives_widened_by_what_is_shared(top: float) -> None:
    x = np.random.default_rng(0).normal(size=(400, 6))
    d2 = ((x[:, None] - x[None]) ** 2).sum(-1)
    distances = np.sqrt(np.sort(d2, axis=1)[:, 1:21])
    terms = np.array([sum(np.log(row[19] / row[j]) for j in range(19)) for row in distances])
    value, error = dimension.mle_value(distances, 20, top, np.random.default_rng(1))
    assert value == pytest.approx(top / terms.mean())
    wanted = top / terms.mean() ** 2 * terms.std(ddof=1) / np.sqrt(len(terms)) / dimension.MLE_SHARED
    assert error == pytest.approx(wanted, rel=0.15)  # 200 resamples: 5 %


def test_bounds_that_one_value_passes_are_taken_and_those_that_none_does_are_not(tmp_path) -> None:
    file = tmp_path / "thresholds.toml"
    file.write_text("[conflicts]\nmin = 3\nmax = 3\n")
    (check,) = [check for check in load_thresholds(file) if check.name == "conflicts"]
    assert (check.min, check.max) == (3.0, 3.0)
    file.write_text("[conflicts]\nmin = 3.5\nmax = 3\n")
    with pytest.raises(DatapropsError, match=r"min = 3\.5 above max = 3"):
        load_thresholds(file)
