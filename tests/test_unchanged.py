"""A run with nothing new takes over the last run's tables, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from dataprops.audit import composition
from dataprops.audit.config import AuditConfig
from dataprops.audit.unchanged import TABLES
from dataprops.checks import expectations, validator
from dataprops.findings import Finding, register, unregister
from dataprops.store.folder import load_summary
from dataprops.util.tools import inline_tools
from tests.make_images import random_folder, save


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, Path]:
    """A small set, and a store with one audit of it."""
    root = tmp_path_factory.mktemp("unchanged")
    images = random_folder(root / "set", {"a": 20, "b": 20})
    save(root / "set/b/twin.png", images["a/000.png"])
    run(root / "set", root / "store")
    return root / "set", root / "store"


@pytest.fixture
def audited(first, tmp_path):
    """Copies of both, for one test; what a set's files are is known by their times, which are kept."""
    for folder, name in zip(first, ("set", "store"), strict=True):
        shutil.copytree(folder, tmp_path / name)
    run(tmp_path / "set", tmp_path / "store")  # a moved set is another one to the store
    return tmp_path / "set", tmp_path / "store"


def run(source: Path, store: Path, **options) -> tuple[list[str], Path, dict]:
    """The stages that ran, the results, their summary."""
    ran: list[str] = []

    def call(stage, run, tools):
        ran.append(stage.__name__)
        return stage(run, tools)

    options = {"size": 8, "k": 4, "sample": 10, "draws": 2, "estimators": ("mle",), "probe": False, **options}
    results = composition.run_stages(AuditConfig(str(source), str(store), **options), inline_tools(), call)
    return ran, results, load_summary(results)


def newest(store: Path) -> Path:
    return max((store / "results" / "set").iterdir())


def test_nothing_new_is_not_computed_again_and_its_results_are_whole(audited):
    source, store = audited
    before = run(source, store, probe=True)[1]
    ran, results, summary = run(source, store, probe=True)
    assert ran == ["scan", "decode", "check", "report"]
    for name in TABLES:
        pd.testing.assert_frame_equal(
            pd.read_parquet(results / f"{name}.parquet"), pd.read_parquet(before / f"{name}.parquet")
        )
    old = load_summary(before)
    for name in ("intrinsic_dimension", "label_sharpness", "findings", "conflicts", "n_images"):
        assert summary[name] == old[name]
    assert summary["previous"] == old["run_id"]
    assert summary["conflicts"] == [["a/000.png", "b/twin.png"]]
    assert {path.name for path in results.iterdir()} == {path.name for path in before.iterdir()}
    assert set(summary["seconds"]) == set(composition.STAGES)
    # the results outlive those that they were taken from, and serve the next run
    shutil.rmtree(before)
    assert run(source, store, probe=True)[0] == ["scan", "decode", "check", "report"]


@pytest.mark.parametrize("change", ["image", "label", "option", "thresholds", "program", "results", "finding"])
def test_what_changes_the_numbers_computes_them_again(audited, change, tmp_path, monkeypatch):
    source, store = audited
    options = {}
    if change == "image":
        save(source / "a/new.png", random_folder(tmp_path / "more", {"a": 1})["a/000.png"])
    elif change == "label":
        (source / "a/003.png").rename(source / "b/003x.png")
    elif change == "option":
        options["seed"] = 7
    elif change == "thresholds":
        (tmp_path / "own.toml").write_text("[class_ratio]\nmax = 1.01\n")
        options["thresholds"] = str(tmp_path / "own.toml")
    elif change == "program":
        monkeypatch.setattr("dataprops.audit.unchanged.program", lambda: ["another"])
    elif change == "results":
        (newest(store) / "findings.parquet").unlink()
    else:
        row = Finding(
            name="odd", severity="info", title="Odd", explanation="", find=lambda context: [([0], 1.0, "Odd.")]
        )
        register(row)
    try:
        ran, _, summary = run(source, store, **options)
        assert ran == list(composition.STAGES)
        # and from then on, that is what nothing new is compared with
        again = run(source, store, **options)[0]
    finally:
        if change == "finding":
            unregister("odd")
    assert summary["n_images"] == 41 + (change == "image")
    assert ("distances" in again) == (change == "finding")  # a user's code may look at what we do not know


def test_what_was_judged_before_is_not_asked_again(audited, monkeypatch, tmp_path):
    source, store = audited
    before = run(source, store)[1]  # after one whose files were new to the store, it is judged on fewer measures
    asked = []

    def ask(*arguments):
        asked.append(arguments)
        return expectations.validate(*arguments)

    monkeypatch.setattr(validator, "validate", ask)
    same = run(source, store)[1]
    assert not asked
    pd.testing.assert_frame_equal(pd.read_parquet(same / "checks.parquet"), pd.read_parquet(before / "checks.parquet"))
    pages = [path.relative_to(before) for path in (before / "data_docs").rglob("*.html")]
    assert len(pages) > 2
    assert all((same / page).read_bytes() == (before / page).read_bytes() for page in pages)
    thresholds = tmp_path / "thresholds.toml"
    thresholds.write_text("[class_ratio]\nmax = 2\n")
    run(source, store, thresholds=str(thresholds))  # other checks
    assert len(asked) == 1
    last = run(source, store, thresholds=str(thresholds))[1]  # and without those of changes
    shutil.rmtree(last / "data_docs")  # the pages are gone
    told = len(asked)
    assert (run(source, store, thresholds=str(thresholds))[1] / "data_docs" / "index.html").is_file()
    assert len(asked) == told + 1
