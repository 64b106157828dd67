"""Two audits of one set write the same report, whatever the process's hashes: only the run and its times differ."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.make_images import random_folder

AUDIT = """
import sys
from dataprops.audit import audit

print(audit(sys.argv[1], store=sys.argv[2], size=12, k=4, sample=20, draws=3, estimators=("mle", "twonn"))["results"])
"""


def test_two_audits_write_the_same_report_but_for_run_and_time(tmp_path: Path) -> None:
    random_folder(tmp_path / "set", {"a": 30, "b": 30, "c": 4})
    (tmp_path / "set/a/copy.png").write_bytes((tmp_path / "set/b/000.png").read_bytes())
    running = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", AUDIT, str(tmp_path / "set"), str(tmp_path / f"store{seed}")]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    pages = []
    for seed, process in zip("12", running, strict=True):
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        folder = Path(out.split()[-1])
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert summary["run_id"] in page
        page = (
            page.replace(summary["run_id"], "RUN").replace(summary["created"], "WHEN").replace(f"store{seed}", "STORE")
        )
        pages.append(re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|[\d.]+ s\b", "TIME", page))
    assert pages[0] == pages[1]
