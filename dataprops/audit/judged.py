"""Checks of the last run that stand for those of this one: the same tables, checks and rules get the same verdicts.

Great Expectations, whose import takes longer than a whole audit with nothing new, is asked when any of them changed.
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
    """Verdicts of a run: the hash of what was judged, what was said of it, and the folder of its Data Docs."""

    key: str
    outcome: dict[str, bool]
    reasons: list[list[str]]
    docs: str


def judge_of(run: Run) -> Evaluate:
    """As `validator.validate`, where the last run of this dataset was not of the same tables, checks and rules."""
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
    """Link the pages of a run into another's results; False where they are gone."""
    pages = [page for page in docs.rglob("*") if page.is_file()]
    if (docs / "index.html") not in pages:
        return False
    for page in pages:
        link(page, target / page.relative_to(docs))
    return True
