"""What is looked for in pictures and files alone: in the helper's process (`util.helper`), while this one trains the probe.

It takes the tables of `measure` and the canonical images, and nothing of the probe. `begin` hands it over, `looked` has it; where it
was never handed over, or the helper is gone, it is done when it is asked for, with the same result. Bad pictures come last: if the
helper has not begun with them when the result is asked for, this process, which would only wait, looks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dataprops.audit.workspace import Run
from dataprops.findings.context import Context
from dataprops.util import helper

if TYPE_CHECKING:
    import pandas as pd

    from dataprops.findings.nearcopies import NearCopies
    from dataprops.findings.pixels_tell import Told
    from dataprops.findings.quality import Fault
    from dataprops.findings.slices import Slice

USES = ("dataprops.audit.pictures", "sklearn.model_selection", "sklearn.tree", "dataprops.findings.nearcopies")
NOT_ASKED = ("neighbours", "probe", "copies", "faults", "told", "shortcuts", "since", "feature_pairs")  # by hard parts
TICKET = "faults.ticket"
NO_PICTURES = {name: Context._field_defaults[name] for name in ("pixels", "originals")}  # those at work cannot travel


class Looked(NamedTuple):
    """Results: near-copies, what in the pixels predicts the class (None without classes), what the files do, image faults."""

    copies: NearCopies
    told: Sequence[Told] | None
    shortcuts: pd.DataFrame
    faults: Sequence[Fault]


class _Begun(NamedTuple):
    """What the helper was asked for: copies and what tells the class, and after that the faults, unless they are taken back first."""

    seen: helper.Job
    faults: helper.Job
    ticket: Path  # who removes it looks for the faults


_begun: dict[str, _Begun] = {}


def begin(run: Run) -> None:
    """Hand the work over; the tables of `measure` must be written."""
    ticket = run.work / TICKET
    ticket.touch()
    # a pass over many images takes longer than the process waits for work
    seen = helper.submit(__name__, "see", run, begin=True)
    _begun[run.run_id] = _Begun(seen, helper.submit(__name__, "find_faults_if_left", run, ticket), ticket)


def forget(run: Run) -> None:
    """Drop the jobs: their results will not be asked for."""
    if (begun := _begun.pop(run.run_id, None)) is not None:
        _taken(begun.ticket)


def _taken(ticket: Path) -> bool:
    try:
        ticket.unlink()
    except FileNotFoundError:
        return False
    return True


def looked(run: Run) -> Looked:
    """The result; computed here if it was never handed over. Faults that the helper has not begun with are sought here meanwhile."""
    begun = _begun.pop(run.run_id, None)
    if begun is None:
        return look(run)
    found = find_faults(run) if _taken(begun.ticket) else begun.faults.result()
    copies, told, shortcuts = begun.seen.result()
    # None: the helper took them and ended before it answered
    return Looked(copies, told, shortcuts, find_faults(run) if found is None else found)


def look(run: Run) -> Looked:
    """Do the work in this process."""
    return Looked(*see(run), find_faults(run))


def see(run: Run) -> tuple[NearCopies, Sequence[Told] | None, pd.DataFrame]:
    """All of `Looked` but the faults, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings import shortcut_scores
    from dataprops.findings.nearcopies import near_copies
    from dataprops.findings.pixels_tell import told_by_pixels
    from dataprops.util.threads import one_thread

    files, seed = run.files, run.config.seed
    images, blocks, kind = files.images.read(), Pictures(run).blocks, files.scanned.read().label_kind
    with one_thread():  # as in the helper
        copies = near_copies(
            images,
            files.neighbours.read(),
            blocks,
            near_rms=run.config.near_rms,
            listed=files.near_pairs(),
            features=files.passed.read().features,
            seed=seed,
        )
        told = told_by_pixels(images, blocks, seed=seed) if kind == "classes" else None
        described = files.described.read() if files.described.path.is_file() else None
        return copies, told, shortcut_scores(images, kind, seed, described)


def find_faults(run: Run) -> Sequence[Fault]:
    """Bad pictures, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings.quality import faults
    from dataprops.util.threads import one_thread

    with one_thread():
        return faults(run.files.images.read(), Pictures(run).blocks, run.config.seed)


def find_faults_if_left(run: Run, ticket: Path) -> Sequence[Fault] | None:
    """As `find_faults`; None if somebody else does."""
    return find_faults(run) if _taken(ticket) else None


def hard_parts(run: Run, context: Context) -> Sequence[Slice]:
    """Parts of the data on which the witnesses err more (`findings.slices`); the libraries for that are loaded there already."""
    none = context.images.iloc[:0]
    kept = context._replace(near=none, sharpest=none, **dict.fromkeys(NOT_ASKED), **NO_PICTURES)
    return helper.submit(__name__, "find_hard_parts", run, kept).result()


def find_hard_parts(run: Run, context: Context) -> Sequence[Slice]:
    """As `hard_parts`, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings.slices import hard_slices

    return hard_slices(context._replace(pixels=Pictures(run).blocks))
