"""Every promise of the threat model names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "deployments" / "threats.md"


def test_every_promise_names_a_test_that_is_there() -> None:
    table = PAGE.read_text(encoding="utf-8").split("| guarantee | tested by |")[1].split("\n\n")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) >= 15
    for promise, held in rows:
        named = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", held)
        assert named, promise
        for file, test in named:
            text = (ROOT / file).read_text(encoding="utf-8")
            assert f"def {test or 'test_'}" in text, (promise, file, test)


def test_the_recipes_for_tls_are_those_that_a_test_runs() -> None:
    told = PAGE.read_text(encoding="utf-8")
    tried = (ROOT / "tests/test_cluster.py").read_text(encoding="utf-8")
    for word in ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "require-encryption", "ca-file"):
        assert word in told and word in tried, word
