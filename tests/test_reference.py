"""The tables of the READMEs are what the code says, and their examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataprops import reference
from dataprops.audit.columns import TABLES
from dataprops.findings import FINDINGS, unregister
from dataprops.properties import ESTIMATORS
from dataprops.properties import unregister as unregister_estimator
from tests.make_images import random_folder

ROOT = Path(reference.__file__).parent


@pytest.mark.parametrize("path", reference.readmes(), ids=lambda path: path.parent.name)
def test_tables_are_current(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert reference.filled(text) == text, "run python -m dataprops.reference"


def test_each_table_has_its_place_and_its_rows() -> None:
    named = {
        name for path in reference.readmes() for _, name, _ in reference.PLACE.findall(path.read_text(encoding="utf-8"))
    }
    assert {"estimators", "findings", "checks", "options"} <= named <= set(reference.TABLES)
    for name, make in reference.TABLES.items():
        rows = make().splitlines()
        assert len(rows) > 4 and all(row.count(" | ") >= 2 and not row.endswith("|  |") for row in rows[2:]), name
    assert all("`" + name + "`" in reference.findings() for name in FINDINGS)


def example(room: str, tmp_path: Path) -> str:
    """The Python example of a room's README, with folders of the test."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / room / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 32
    return code.replace('"scans/"', repr(str(tmp_path / "scans"))).replace('"audits"', repr(str(tmp_path / "audits")))


def test_the_estimator_of_the_readme_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    try:
        exec(compile(example("properties", tmp_path), "README", "exec"), {})
    finally:
        unregister_estimator("correlation")
    printed = capsys.readouterr().out
    value = float(re.search(r"'value': ([\d.]+)", printed)[1])
    assert 3 < value < 12, printed
    assert "correlation" not in ESTIMATORS


def test_the_finding_of_the_readme_is_found_with_its_alert(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import numpy as np

    from dataprops.audit.composition import load_summary
    from tests.make_images import save

    random_folder(tmp_path / "scans", {"a": 20, "b": 20})
    save(tmp_path / "scans/a/night.png", np.full((12, 12), 3, np.uint8))
    save(tmp_path / "scans/b/dusk.png", np.full((12, 12), 15, np.uint8))
    try:
        exec(compile(example("findings", tmp_path), "README", "exec"), {})
        results = next((tmp_path / "audits/results/scans").iterdir())
        summary = load_summary(results)
    finally:
        unregister("dark")
    assert capsys.readouterr().out.strip() == "2"
    (alert,) = [alert for alert in summary["alerts"] if alert["name"] == "dark"]
    assert alert["sentence"] == "2 images are almost black."
    assert sorted(alert["paths"]) == ["a/night.png", "b/dusk.png"]
    assert "Dark images" in Path(summary["report"]).read_text(encoding="utf-8")
    written = {path.stem: pq.read_schema(path).names for path in results.glob("*.parquet")}
    assert written.keys() == TABLES.keys()
    for name, table in TABLES.items():
        needed = [column for column in table.columns if column not in table.optional or column in written[name]]
        assert written[name] == needed, name
