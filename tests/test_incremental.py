"""An incremental pass is bit-equal to a full one after any sequence of additions, deletions, relabellings and renamings."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprops.distances import allpairs, basis_choice, folds, incremental, sketch, sketches
from dataprops.distances.allpairs import UNWATCHED, Runner, all_pairs, array_rows, compute_job
from dataprops.distances.incremental import Contents, PreviousPass, increasing_run, update
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from dataprops.properties.distinct import distinct_rows
from dataprops.store.pass_cache import load_known, save_known
from tests.test_sketch import structured

WHOLE = Plan(10_000, 1024, 0)

Pixels = st.tuples(st.integers(0, 6), st.integers(0, 3))
Labels = st.sampled_from([0.0, 1.0, 2.5, np.nan])
Files = st.dictionaries(st.integers(0, 10**4), st.tuples(Pixels, Labels), min_size=3, max_size=30)
Steps = st.lists(
    st.tuples(st.sampled_from(["add", "delete", "relabel", "rename"]), st.integers(0, 10**4), Pixels, Labels),
    max_size=4,
)


def rows_of(files: dict):
    names = sorted(files)
    images = pd.DataFrame(
        {
            "image": np.arange(len(names)),
            "pixels": pd.Series([str(files[name][0]) for name in names], dtype=object),
            "y": np.array([files[name][1] for name in names], float),
        }
    )
    distinct = distinct_rows(images)
    pixels = np.array([eval_pair(text) for text in distinct.pixels], np.uint8).reshape(-1, 2)
    return distinct, array_rows(pixels, distinct.y, distinct.primary)


def eval_pair(text: str) -> tuple[int, int]:
    left, right = text.strip("()").split(",")
    return int(left), int(right)


def known_of(distinct, result, spec) -> PreviousPass:
    a, b, d2 = result.near.arrays()
    primary, count = distinct.primary, result.near.count
    return PreviousPass(distinct.pixels, distinct.y, primary, result.state, a, b, d2, count, spec, result.sketches)


def apply(files: dict, step) -> None:
    what, number, content, label = step
    if what == "add" or not files:
        files[number] = (content, label)
        return
    chosen = sorted(files)[number % len(files)]
    if what == "delete":
        del files[chosen]
    elif what == "relabel":
        files[chosen] = (files[chosen][0], label)
    else:
        files[number] = files.pop(chosen)


@settings(max_examples=150, deadline=None)
@given(
    Files,
    st.lists(Steps, min_size=1, max_size=3),
    st.integers(0, 6),
    st.booleans(),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
)
def test_incremental_equals_full(files, rounds, k, numeric, block, on_pool, sketched):
    spec = PassSpec(k, numeric, 4.0)
    pool = (lambda jobs: ((job.number, compute_job(job, 1)) for job in jobs)) if on_pool else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "FULL_FRACTION", 2.0)  # never take the shortcut of a full pass
        if sketched:
            for name, value in (("WIDTHS", ((1, 8),)), ("ROWS_PER_COORDINATE", 1), ("TRIAL_WORK", np.inf)):
                patch.setattr(basis_choice, name, value)
        distinct, rows = rows_of(files)
        known = known_of(distinct, all_pairs(rows, spec, WHOLE), spec)
        for steps in rounds:
            for step in steps:
                apply(files, step)
            distinct, rows = rows_of(files)
            contents = Contents(distinct.pixels, distinct.content_row)
            result = update(known, rows, contents, spec, Plan(block, 256, 0), Runner(pool=pool))
            full = all_pairs(rows, spec, WHOLE)
            for one, two in zip(result.state, full.state, strict=True):
                assert np.array_equal(one, two)
            for one, two in zip(result.near.arrays(), full.near.arrays(), strict=True):
                assert np.array_equal(one, two)
            assert result.near.count == full.near.count
            known = known_of(distinct, result, spec)


@pytest.mark.parametrize("whole", [False, True], ids=["single pairs", "whole tiles"])
def test_sketches_are_kept_between_passes(tmp_path, monkeypatch, whole):
    """New images are compared through the sketches of the known ones, which are read from the store, not made again; only those
    known images are read that are near to new ones."""
    features, n = 1_100, 2_300
    pixels = structured(n, features, 12, 2.0, 0)
    y = np.arange(n) % 3.0
    names = np.array([f"{i:08d}" for i in range(n)], dtype=object)
    every, spec, old = np.ones(n, bool), PassSpec(5, near2=100.0 * features), n - 30
    first = all_pairs(array_rows(pixels[:old], y[:old]), spec, WHOLE)
    near = first.near.arrays()
    found = (names[:old], y[:old], every[:old], first.state)
    known = PreviousPass(*found, *near, first.near.count, spec, first.sketches)
    save_known(tmp_path / "known.npz", known, ())
    known = load_known(tmp_path / "known.npz", ())
    assert known is not None and known.sketches is not None
    with monkeypatch.context() as patch:
        patch.setattr(allpairs, "begin_sketches", None)  # nobody chooses a basis
        made = []
        plain = sketches.make_sketch
        patch.setattr(sketches, "make_sketch", lambda *args: made.append(len(args[2])) or plain(*args))
        if whole:
            patch.setattr(folds, "CHOSEN_WORK", 0.0)
        else:
            patch.setattr(folds, "product", lambda a, b, route: pytest.fail("a whole tile was multiplied"))
        content, read = np.arange(n, dtype=np.int32), []
        rows = array_rows(pixels, y)
        spied = rows._replace(read=lambda index: read.extend(index) or rows.read(index))
        result = update(known, spied, Contents(names, content), spec, WHOLE)
    assert made == [30]
    assert len(set(read)) == n if whole else len(set(read)) < n / 2
    full = all_pairs(array_rows(pixels, y), spec, WHOLE)
    for one, two in zip((*result.state, *result.near.arrays()), (*full.state, *full.near.arrays()), strict=True):
        assert np.array_equal(one, two)
    assert result.sketches is not None and result.sketches.done.all()


def test_a_set_that_outgrew_its_basis_gets_a_new_one():
    basis = sketch.Basis(None, None, np.zeros(4), np.zeros(4), 0.0, np.zeros(4), 1.0)  # pyright: ignore[reportArgumentType]
    small = sketches.no_sketches(basis, 100, 100)
    content = np.arange(500, dtype=np.int32)
    assert sketches.carry_sketches(small, np.arange(100), content) is None
    assert sketches.carry_sketches(small, np.arange(100), content[:400]) is not None


def big_set(n: int = 400):
    rng = np.random.default_rng(5)
    return {
        i: ((int(a), int(b)), float(i % 2))
        for i, (a, b) in enumerate(rng.permutation(60 * 60)[:n, None] // [60, 1] % 60)
    }


def pairs_computed(before: dict, after: dict, k: int = 3) -> int:
    spec = PassSpec(k)
    distinct, rows = rows_of(before)
    known = known_of(distinct, all_pairs(rows, spec, WHOLE), spec)
    distinct, rows = rows_of(after)
    return update(known, rows, Contents(distinct.pixels, distinct.content_row), spec, WHOLE).pairs


def test_nothing_new_computes_nothing():
    files = big_set()
    assert pairs_computed(files, files) == 0


def test_rows_that_the_first_one_is_the_sharpest_partner_of_stand_too():
    files = {i: ((10 * i, 0), float(i > 0)) for i in range(6)}  # the first has a label of its own
    assert pairs_computed(files, files) == 0


@pytest.mark.parametrize("known_before", [False, True])
def test_as_many_pairs_are_computed_as_were_announced(known_before):
    files, spec, told = big_set(41), PassSpec(3), []
    distinct, rows = rows_of(files)
    known = known_of(distinct, all_pairs(rows, spec, WHOLE), spec) if known_before else None
    distinct, rows = rows_of({**files, 10_000: ((200, 0), 0.0)})
    contents = Contents(distinct.pixels, distinct.content_row)
    result = update(known, rows, contents, spec, Plan(7, 256, 0), watch=UNWATCHED._replace(on_plan=told.append))
    assert told == [result.pairs] == [41 if known_before else 42 * 41 // 2]
    assert isinstance(told[0], int)


def test_new_images_meet_every_image_once():
    files = big_set()
    after = {**files, 10_000: ((200, 0), 0.0), 10_001: ((201, 0), 1.0)}
    assert pairs_computed(files, after) == 1 + 2 * len(files)


def test_a_relabelled_image_costs_no_neighbours():
    files = big_set()
    after = {**files, 17: (files[17][0], 1.0 - files[17][1])}
    # the image itself against all, and the few whose sharpest pair it was
    assert len(files) - 1 <= pairs_computed(files, after, k=0) <= 12 * len(files)


def test_a_deleted_image_costs_the_rows_that_pointed_at_it():
    files = big_set()
    after = {name: value for name, value in files.items() if name != 17}
    assert 0 < pairs_computed(files, after) <= 16 * len(files)


@given(st.lists(st.integers(-1, 30), max_size=30))
def test_increasing_run_is_a_longest_one(values):
    keep = increasing_run(np.array(values, np.int64))
    chosen = [value for value, kept in zip(values, keep, strict=True) if kept]
    assert all(a < b for a, b in pairwise(chosen))
    assert all(value >= 0 for value in chosen)
    if len(values) <= 10:
        best = max(
            (
                len(c)
                for r in range(len(values) + 1)
                for c in combinations([v for v in values if v >= 0], r)
                if all(a < b for a, b in pairwise(c))
            ),
            default=0,
        )
        assert len(chosen) == best
