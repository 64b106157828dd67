"""Generated damage: no crash, no hang, no memory beyond the limit, a reason in one line. What once failed is kept and read again."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fuzz

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # Pillow's, of a format that it will no longer write
KEPT = [
    json.loads(line) for line in (Path(__file__).parent / "fuzz_cases.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_valid_files_of_every_reader_are_read(name: str, tmp_path: Path) -> None:
    for number, data in enumerate(fuzz.seeds_of(name)):
        assert fuzz.look(name, data, tmp_path / str(number)) == "read", number


def test_generated_damage_is_read_or_refused_in_one_line() -> None:
    outcomes = {"read": 0, "refused": 0}
    for seen in fuzz.fuzz(range(8 * len(fuzz.TARGETS)), seed=20261126):
        assert seen.outcome != "failed", seen
        outcomes[seen.outcome] += 1
    assert min(outcomes.values()) > 40, outcomes  # damage that is seen, and damage that is not


@pytest.mark.parametrize("case", KEPT, ids=lambda case: f"{case['target']}: {case['what'][:40]}")
def test_what_once_failed_is_read_or_refused(case: dict, tmp_path: Path) -> None:
    assert fuzz.look(case["target"], base64.b64decode(case["data"]), tmp_path) in ("read", "refused")


def test_the_fuzzer_sees_what_must_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path) -> None:
        raise KeyError("x")

    def waiting(path: Path) -> None:
        while True:
            pass

    def talking(path: Path) -> None:
        raise fuzz.DatapropsError(f"{path}\nand more")

    def blaming(path: Path) -> None:
        raise fuzz.DatapropsError("something is wrong")

    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    for look, what in (
        (failing, "KeyError"),
        (waiting, "longer than"),
        (talking, "not one line of text"),
        (blaming, "name the place"),
    ):
        monkeypatch.setitem(fuzz.TARGETS, "names", fuzz.Target(lambda: [b"x"], look, warmed=False))
        with pytest.raises(fuzz.Failed, match=what):
            fuzz.look("names", b"x", tmp_path)


def test_a_case_that_ends_the_process_is_a_failure_and_the_others_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ending(path: Path) -> None:
        if path.parent.name == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setitem(fuzz.TARGETS, "names", fuzz.Target(lambda: [b"x"], ending, warmed=False))
    seen = list(fuzz.forked(3, names=("names",)))
    assert [one.outcome for one in seen] == ["read", "failed", "read"]
    assert seen[1].what == "ended the process, code -9"


@pytest.mark.slow
def test_ten_thousand_cases() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "10000", "--seed", "1"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "10,000 cases, 0 failed" in done.stdout
