"""Some images against all: exact for those, estimates with intervals for the set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataprops.audit import audit
from dataprops.audit.config import AuditConfig
from dataprops.distances.allpairs import Runner, Watch, all_pairs, array_rows, compute_job
from dataprops.distances.anchors import anchor_pairs, anchor_pass, choose_anchors
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError


@pytest.mark.parametrize("block", [7, 40, 500])
@pytest.mark.parametrize("on_pool", [False, True])
def test_anchors_have_what_a_full_pass_gives_them(block: int, on_pool: bool) -> None:
    rng = np.random.default_rng(block)
    pixels = rng.integers(0, 4, (150, 5)).astype(np.uint8)  # many ties
    rows = array_rows(pixels, rng.integers(0, 3, 150).astype(float), rng.random(150) < 0.9)
    spec = PassSpec(6, near2=3.0)
    anchors = choose_anchors(rows.primary, 31, 0)
    told: list[int] = []
    pool = (lambda jobs: ((job.number, compute_job(job, 1)) for job in jobs)) if on_pool else None
    some = anchor_pass(rows, anchors, spec, Plan(block, 16, 0), Runner(pool=pool), Watch(on_pairs=told.append))
    whole = all_pairs(rows, spec, Plan(500, 256, 0))
    for one, two in zip(some.state, whole.state, strict=True):
        assert np.array_equal(one, two[anchors])  # and no other row takes memory
    a, b, d2 = whole.near.arrays()
    touched = np.isin(a, anchors) | np.isin(b, anchors)
    assert all(np.array_equal(x, y[touched]) for x, y in zip(some.near.arrays(), (a, b, d2), strict=True))
    assert sum(told) == some.pairs == anchor_pairs(31, 150)


def test_anchors_are_a_sample_of_distinct_images_by_seed() -> None:
    primary = np.arange(100) % 2 == 0
    one = choose_anchors(primary, 20, 5)
    assert np.array_equal(one, choose_anchors(primary, 20, 5))
    assert not np.array_equal(one, choose_anchors(primary, 20, 6))
    assert len(set(one.tolist())) == 20
    assert primary[one].all()
    assert np.array_equal(choose_anchors(primary, 50, 0), np.nonzero(primary)[0])


def pictures(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    patterns = rng.normal(size=(6, 144))
    images = np.clip(128 + 15 * rng.normal(size=(n, 6)) @ patterns + rng.normal(0, 2, (n, 144)), 0, 255)
    return images.astype(np.uint8).reshape(n, 12, 12), rng.integers(0, 2, n)


def test_an_audit_by_anchors_says_so_and_holds_the_truth(tmp_path: Path) -> None:
    images, labels = pictures(1500)
    options = {"sample": 200, "draws": 3, "estimators": ("mle", "twonn"), "probe": False}
    whole = audit(images, labels, store=str(tmp_path / "a"), **options)
    some = audit(images, labels, store=str(tmp_path / "b"), anchors=300, **options)
    assert whole["sampled"] is None
    assert some["sampled"] == {"anchors": 300, "of": 1500}
    for name in ("mle", "mle_paper", "twonn", "twonn_closed"):
        low, high = some["intrinsic_dimension"][name]["interval"]
        assert low < whole["intrinsic_dimension"][name]["value"] < high
        assert high - low > 0
    sharp = some["label_sharpness"]
    assert sharp["all_pairs"] is None
    assert 0 < sharp["at_least"] <= whole["label_sharpness"]["all_pairs"]
    for name in ("q50", "q95", "q99"):
        low, high = sharp["intervals"][name]
        truth = whole["label_sharpness"][name]
        assert low <= truth
        assert high is None or truth <= high
    # samples of M images do not need the anchors
    assert sharp["sample"] == whole["label_sharpness"]["sample"]
    images_table = pd.read_parquet(Path(some["results"]) / "images.parquet")
    assert images_table["local_dimension"].notna().sum() == 300
    report = Path(some["report"]).read_text()
    assert "random sample of 300 images was compared with all 1,500" in report
    assert "was compared with all" not in Path(whole["report"]).read_text()


def test_what_anchors_found_completes_no_later_audit(tmp_path: Path) -> None:
    images, labels = pictures(200)
    options = {"store": str(tmp_path / "s"), "name": "one", "sample": 50, "draws": 2, "probe": False}
    audit(images, labels, anchors=40, **options)
    after = audit(images, labels, **options)
    fresh = audit(images, labels, **(options | {"store": str(tmp_path / "t")}))
    assert after["sampled"] is None
    assert after["intrinsic_dimension"] == fresh["intrinsic_dimension"]
    assert after["label_sharpness"] == fresh["label_sharpness"]


def test_more_anchors_than_images_is_all_pairs(tmp_path: Path) -> None:
    images, labels = pictures(60)
    summary = audit(images, labels, store=str(tmp_path), anchors=60, sample=50, draws=2, k=5, probe=False)
    assert summary["sampled"] is None
    assert summary["label_sharpness"]["all_pairs"] is not None


def test_too_few_anchors_are_refused() -> None:
    with pytest.raises(DatapropsError, match="anchors must be at least 30, got 3"):
        AuditConfig(source="x", anchors=3)
