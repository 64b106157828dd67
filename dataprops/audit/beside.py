"""What is looked for in pictures and files alone: in the helper's process (`util.helper`), while this one compares and trains.

What takes the files' table and the canonical images is handed over as soon as they are there (`OF_PICTURES`), what takes neighbours
as well when those are (`OF_NEIGHBOURS`); nothing takes anything of the probe. `begin` hands parts over, `looked` has them; where they
were never handed over, or the helper is gone, they are done when they are asked for, with the same result. When the result is asked
for, this process, which would only wait, does the parts that the helper has not begun with, the last first; but not the first, for
which the helper alone has the libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dataprops.audit.workspace import Run
from dataprops.findings.context import Context
from dataprops.findings.thumbnails import LEAST_SIDE
from dataprops.util import helper

if TYPE_CHECKING:
    import pandas as pd

    from dataprops.findings.nearcopies import NearCopies
    from dataprops.findings.pixels_tell import Told
    from dataprops.findings.quality import Fault
    from dataprops.findings.slices import Slice

USES = ("dataprops.audit.pictures", "sklearn.model_selection", "sklearn.tree")
OF_COPIES = ("dataprops.findings.nearcopies",)  # brings torch, which takes a second
NOT_ASKED = ("neighbours", "probe", "copies", "faults", "told", "shortcuts", "since", "feature_pairs")  # by hard parts
NO_PICTURES = {"pixels": Context._field_defaults["pixels"]}  # those at work cannot travel


class Looked(NamedTuple):
    """Results: near-copies, what in the pixels predicts the class (None without classes), what the files do, image faults."""

    copies: NearCopies
    told: Sequence[Told] | None
    shortcuts: pd.DataFrame
    faults: Sequence[Fault]


class _Begun(NamedTuple):
    """A part that the helper was asked for, unless it is taken back first."""

    job: helper.Job
    ticket: Path  # who removes it does the part


_begun: dict[str, dict[str, _Begun]] = {}


def prepare(size: int) -> None:
    """Something is new: have the helper import what it takes to look at pictures of this side, where there is one."""
    helper.imports(*USES, *(OF_COPIES if size >= LEAST_SIDE else ()))


def begin(run: Run, parts: Sequence[str]) -> None:
    """Hand parts over, whose tables must be written; `OF_PICTURES` come first.

    Copies of pictures without detail are told by distances alone: that is done before the helper has imported torch.
    """
    begun = _begun.setdefault(run.run_id, {})
    for name in parts:
        if name == "copies" and run.config.size < LEAST_SIDE:
            continue
        ticket = run.work / f"{name}.ticket"
        ticket.touch()
        # a pass over many images takes longer than the process waits for work
        job = helper.submit(__name__, "find_if_left", run, name, ticket, begin=name == parts[0])
        begun[name] = _Begun(job, ticket)


def forget(run: Run) -> None:
    """Drop the jobs: their results will not be asked for."""
    for begun in _begun.pop(run.run_id, {}).values():
        _taken(begun.ticket)


def _taken(ticket: Path) -> bool:
    try:
        ticket.unlink()
    except FileNotFoundError:
        return False
    return True


def looked(run: Run) -> Looked:
    """The result; what was never handed over, or is left, is done here."""
    begun = _begun.pop(run.run_id, {})
    found = {}
    for name in reversed(PARTS):
        if name not in begun or (name != ITS_OWN and _taken(begun[name].ticket)):
            found[name] = PARTS[name](run)
    for name in PARTS.keys() - found.keys():
        answer = begun[name].job.result()
        # None: the helper took it and ended before it answered
        found[name] = PARTS[name](run) if answer is None else answer
    told, shortcuts = found["shortcuts"]
    return Looked(found["copies"], told, shortcuts, found["faults"])


def find_if_left(run: Run, name: str, ticket: Path) -> Any:
    """A part's result; None if somebody else does it."""
    return PARTS[name](run) if _taken(ticket) else None


def find_copies(run: Run) -> NearCopies:
    """Near-copies, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings.nearcopies import near_copies
    from dataprops.util.threads import one_thread

    files = run.files
    with one_thread():  # as in the helper
        return near_copies(
            files.images.read(),
            files.neighbours.read(),
            Pictures(run).blocks,
            near_rms=run.config.near_rms,
            listed=files.near_pairs(),
            features=files.passed.read().features,
            seed=run.config.seed,
        )


def find_shortcuts(run: Run) -> tuple[Sequence[Told] | None, pd.DataFrame]:
    """What in the pixels predicts the class, and what the files do, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings import shortcut_scores
    from dataprops.findings.pixels_tell import told_by_pixels
    from dataprops.util.threads import one_thread

    files, seed = run.files, run.config.seed
    images, kind = files.files.read(), files.scanned.read().label_kind
    with one_thread():
        told = told_by_pixels(images, Pictures(run).blocks, seed=seed) if kind == "classes" else None
        described = files.described.read() if files.described.path.is_file() else None
        return told, shortcut_scores(images, kind, seed, described)


def find_faults(run: Run) -> Sequence[Fault]:
    """Bad pictures, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings.quality import faults
    from dataprops.util.threads import one_thread

    with one_thread():
        return faults(run.files.files.read(), Pictures(run).blocks, run.config.seed)


# in the order in which the helper does them
PARTS: dict[str, Callable[[Run], Any]] = {"shortcuts": find_shortcuts, "faults": find_faults, "copies": find_copies}
OF_PICTURES, OF_NEIGHBOURS = ("shortcuts", "faults"), ("copies",)
ITS_OWN = "shortcuts"  # is not taken back: the libraries for it are loaded there alone


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
