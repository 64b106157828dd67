"""Stores of earlier schemas: what they hold is read, and written, as what this version would have written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from dataprops.audit import audit
from dataprops.store import migrations
from dataprops.store.folder import SCHEMA, finished_runs, load_summary, open_store
from flows.cli import main
from tests.make_images import random_folder, save

OPTIONS = {"size": 12, "k": 5, "sample": 30, "draws": 3, "estimators": ("mle",)}


def downgrade(store: Path) -> None:
    """Make of a store what the version of schema 1 wrote."""
    for folder in finished_runs(store, "set"):
        summary = json.loads((folder / "summary.json").read_text())
        sharp = summary["label_sharpness"]
        sharp["m1000"] = sharp.pop("sample")
        sharp["intervals"]["m1000"] = sharp["intervals"].pop("sample")
        for alert in summary["alerts"]:
            alert["images"] = alert["paths"]
        summary["probe"]["n_units"] = summary["probe"].pop("n_leak_groups")
        summary["schema"] = 1
        (folder / "summary.json").write_text(json.dumps(summary))
        table = pd.read_parquet(folder / "properties.parquet")
        table["property"] = table["property"].replace("label_sharpness.sample", "label_sharpness.m1000")
        table.to_parquet(folder / "properties.parquet")
        probe = pd.read_parquet(folder / "probe.parquet")
        probe.rename(columns={"leak_group": "unit"}).to_parquet(folder / "probe.parquet")
        run = pd.read_parquet(folder / "run.parquet")
        run.assign(schema=1, summary=json.dumps(summary)).to_parquet(folder / "run.parquet")
    (store / "version.json").write_text('{"schema": 1}')


def contents(store: Path) -> dict[str, object]:
    """What result folders hold, by file, that a migration touches."""
    out: dict[str, object] = {}
    for folder in finished_runs(store, "set"):
        out[f"{folder.name}/summary"] = load_summary(folder)
        for name in ("properties", "probe", "run"):
            table = pd.read_parquet(folder / f"{name}.parquet")
            if name == "run":
                # the row was written before the report, whose seconds the file alone has
                table["summary"] = [json.loads(text) | {"seconds": {}} for text in table["summary"]]
            out[f"{folder.name}/{name}"] = table.astype(object).where(table.notna(), None).to_dict("records")
    return out


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images and a store with two audits of it; the second has alerts with images."""
    root = tmp_path_factory.mktemp("migrations")
    random_folder(root / "set", {"cat": 40, "dog": 40})
    audit(root / "set", store=str(root / "store"), **OPTIONS)
    for number in range(4):
        shutil.copy(
            root / "set/cat" / sorted(p.name for p in (root / "set/cat").iterdir())[number],
            root / f"set/dog/c{number}.png",
        )
    audit(root / "set", store=str(root / "store"), **OPTIONS)
    return root


@pytest.fixture
def old(newest: Path, tmp_path: Path) -> Path:
    """That store as the version of schema 1 would have left it."""
    shutil.copytree(newest / "store", tmp_path / "store")
    downgrade(tmp_path / "store")
    return tmp_path / "store"


def test_a_store_of_schema_1_becomes_what_this_version_writes(newest: Path, old: Path) -> None:
    wanted = contents(newest / "store")
    assert any(
        isinstance(image, int)
        for summary in wanted.values()
        if "alerts" in summary
        for alert in summary["alerts"]
        for image in alert["images"]
    )
    assert contents(old) != wanted
    open_store(old)
    assert json.loads((old / "version.json").read_text())["schema"] == SCHEMA
    assert contents(old) == wanted


def test_a_run_of_schema_1_is_read_before_it_is_migrated(old: Path) -> None:
    summary = load_summary(finished_runs(old, "set")[-1])
    assert summary["label_sharpness"]["sample"]["m"] == 30
    assert any(alert["paths"] for alert in summary["alerts"])
    assert all(not alert["images"] for alert in summary["alerts"])


def test_a_store_of_schema_2_has_leak_groups_where_it_had_units(newest: Path, old: Path) -> None:
    migrations._from_1(old)  # as the version between the two left it, but for the summary's `probe`
    for folder in finished_runs(old, "set"):
        summary = json.loads((folder / "summary.json").read_text())
        summary["probe"]["n_units"] = summary["probe"].pop("n_leak_groups")
        (folder / "summary.json").write_text(json.dumps(summary))
        assert load_summary(folder)["probe"]["n_leak_groups"] > 0  # read before it is migrated
        assert "unit" in pd.read_parquet(folder / "probe.parquet")
    (old / "version.json").write_text('{"schema": 2}')
    open_store(old)
    assert json.loads((old / "version.json").read_text())["schema"] == SCHEMA
    assert contents(old) == contents(newest / "store")


def test_commands_and_audits_go_on_with_a_store_of_schema_1(newest: Path, old: Path) -> None:
    for command in (["history", "set"], ["compare", "set", "previous"], ["prune", "--keep-last", "1"]):
        done = CliRunner().invoke(main, [*command, "--store", str(old)])
        assert done.exit_code == 0, done.output
        (old / "version.json").write_text('{"schema": 1}')  # a kill before the version was written
    save(newest / "set/cat/new.png", np.full((12, 12), 9, np.uint8))
    summary = audit(newest / "set", store=str(old), **OPTIONS)
    change = next(p for p in summary["predictions"] if p["name"] == "log_loss_change")
    assert summary["previous"] is not None and change["withheld"] is None
