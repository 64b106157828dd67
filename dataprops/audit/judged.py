"""Cached check results: the same tables, checks and rules as in the last run get the same results.

Avoids importing Great Expectations, which takes longer than an audit with nothing new.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dataprops.audit.unchanged import link, program
from dataprops.audit.workspace import Run
from dataprops.checks import validator
from dataprops.checks.expectations import Evaluate, Structural, Verdicts
from dataprops.checks.thresholds import Check
from dataprops.util.files import write_text


class Judged(NamedTuple):
    """Check results of a run: hash of the input, outcomes, errors, and the folder of its Data Docs."""

    key: str
    outcome: dict[str, bool]
    reasons: list[list[str]]
    docs: str


def judge_of(run: Run) -> Evaluate:
    """`validator.validate`, or the cached results if tables, checks and rules are those of the dataset's last run."""
    place = run.states / "judged.json"

    def judge(
        frames: Mapping[str, pd.DataFrame], checks: Sequence[Check], rules: Sequence[Structural], docs: Path | None
    ) -> Verdicts:
        key = _key(frames, checks, rules)
        last = _load(place)
        if docs is not None and last is not None and last.key == key and _taken_over(Path(last.docs), docs):
            said = Verdicts(last.outcome, tuple((name, why) for name, why in last.reasons))
        else:
            said = validator.validate(frames, checks, rules, docs)
        place.parent.mkdir(parents=True, exist_ok=True)
        now = Judged(key, said.outcome, [list(reason) for reason in said.reasons], str(run.results / "data_docs"))
        write_text(place, json.dumps(now._asdict()))
        return said

    return judge


def _key(frames: Mapping[str, pd.DataFrame], checks: Sequence[Check], rules: Sequence[Structural]) -> str:
    digest = hashlib.blake2b(repr((program(), version("great-expectations"), checks, rules)).encode(), digest_size=16)
    for name, frame in frames.items():
        digest.update(repr((name, len(frame), frame.dtypes.to_dict())).encode())
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _load(place: Path) -> Judged | None:
    try:
        return Judged(**json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _taken_over(docs: Path, target: Path) -> bool:
    """Link a run's pages into another's results; False if they no longer exist."""
    pages = [page for page in docs.rglob("*") if page.is_file()]
    if (docs / "index.html") not in pages:
        return False
    for page in pages:
        link(page, target / page.relative_to(docs))
    return True
