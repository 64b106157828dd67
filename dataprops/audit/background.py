"""Searches in images and files, run in the helper process (`util.helper`) while the main process compares pairs and trains the probe.

Parts that need the file table and canonical images are submitted as soon as those exist (`OF_IMAGES`), parts that also need
neighbours later (`OF_NEIGHBOURS`), and what needs the classifier's predictions last (`OF_PROBE`). `submit` hands them over, `collect`
returns the results. Parts that were never submitted, or whose helper died, run in the main process, with the same result. While
collecting, the main process takes back parts that the helper has not started, the last first, except `ITS_OWN`, for which only the
helper has loaded the libraries.
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
    from dataprops.findings.second_opinion import Opinions
    from dataprops.findings.slices import Slice

USES = ("dataprops.audit.pictures", "sklearn.model_selection", "sklearn.tree")
OF_COPIES = ("dataprops.findings.nearcopies",)  # brings torch, which takes a second
NOT_ASKED = (
    "neighbours",
    "probe",
    "copies",
    "faults",
    "told",
    "shortcuts",
    "since",
    "feature_pairs",
)  # not used by `hard_parts`
NO_PIXELS = {"pixels": Context._field_defaults["pixels"]}  # the actual ones cannot be pickled


class Found(NamedTuple):
    """Near-copies, pixel shortcuts (None without classes), file shortcuts, image faults, opinions on labels (None likewise)."""

    copies: NearCopies
    told: Sequence[Told] | None
    shortcuts: pd.DataFrame
    faults: Sequence[Fault]
    opinions: Opinions | None


class _Submitted(NamedTuple):
    """A part submitted to the helper; it can be taken back until it starts."""

    job: helper.Job
    ticket: Path  # whoever deletes it runs the part


_submitted: dict[str, dict[str, _Submitted]] = {}


def _aligned(size: int) -> bool:
    """Whether near-copies among images of this side length are aligned, with torch."""
    return size >= LEAST_SIDE


def prepare(size: int, images: int) -> None:
    """Have the helper, if there is one, load what it needs for this many images of this side length."""
    helper.imports(*USES, *(OF_COPIES if _aligned(size) else ()))
    if _aligned(size):
        helper.submit("dataprops.findings.partners", "load", images)


def submit(run: Run, parts: Sequence[str]) -> None:
    """Submit parts, whose input tables must be written; `OF_IMAGES` come first.

    Near-copies of images too small for alignment follow from distances alone and are found in the main process, before the helper
    would have imported torch.
    """
    submitted = _submitted.setdefault(run.run_id, {})
    for name in parts:
        if name == "copies" and not _aligned(run.config.size):
            continue
        ticket = run.work / f"{name}.ticket"
        ticket.touch()
        # a long pass may outlast the helper's idle timeout, so the first part restarts it
        job = helper.submit(__name__, "find_if_left", run, name, ticket, begin=name == parts[0])
        submitted[name] = _Submitted(job, ticket)


def drop(run: Run) -> None:
    """Drop the run's jobs."""
    for part in _submitted.pop(run.run_id, {}).values():
        _taken(part.ticket)


def _taken(ticket: Path) -> bool:
    try:
        ticket.unlink()
    except FileNotFoundError:
        return False
    return True


def collect(run: Run) -> Found:
    """Collect the results; parts that were never submitted or not yet started run here."""
    submitted = _submitted.pop(run.run_id, {})
    found = {}
    for name in reversed(PARTS):
        if name not in submitted or (name not in ITS_OWN and _taken(submitted[name].ticket)):
            found[name] = PARTS[name](run)
    for name in [name for name in PARTS if name not in found]:
        answer = submitted[name].job.result()
        # None: the helper took it and died
        found[name] = PARTS[name](run) if answer is None else answer
    told, shortcuts = found["shortcuts"]
    return Found(found["copies"], told, shortcuts, found["faults"], found["opinions"])


def find_if_left(run: Run, name: str, ticket: Path) -> Any:
    """Run a part in the helper; None if the main process took it back."""
    return PARTS[name](run) if _taken(ticket) else None


def find_copies(run: Run) -> NearCopies:
    """Find near-copies, in this process."""
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
    """Find pixel and file properties that predict the class, in this process."""
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
    """Find image faults, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings.quality import faults
    from dataprops.util.threads import one_thread

    with one_thread():
        return faults(run.files.files.read(), Pictures(run).blocks, run.config.seed)


def find_opinions(run: Run) -> Opinions | None:
    """Find how doubtful each label is, in this process."""
    from dataprops.findings.second_opinion import Witness, opinions

    files = run.files
    if files.scanned.read().label_kind != "classes":
        return None
    return opinions(files.images.read(), files.neighbours.read(), Witness.load(files.witness))


# in the helper's order
PARTS: dict[str, Callable[[Run], Any]] = {
    "shortcuts": find_shortcuts,
    "faults": find_faults,
    "copies": find_copies,
    "opinions": find_opinions,
}
OF_IMAGES, OF_NEIGHBOURS, OF_PROBE = ("shortcuts", "faults"), ("copies",), ("opinions",)
ITS_OWN = ("shortcuts", "opinions")  # not taken back: only the helper has loaded their libraries


def hard_parts(run: Run, context: Context) -> Sequence[Slice]:
    """Subsets of the data with a higher error of the witnesses (`findings.slices`), found in the helper, which has the libraries."""
    none = context.images.iloc[:0]
    kept = context._replace(near=none, sharpest=none, **dict.fromkeys(NOT_ASKED), **NO_PIXELS)
    return helper.submit(__name__, "find_hard_parts", run, kept).result()


def find_hard_parts(run: Run, context: Context) -> Sequence[Slice]:
    """`hard_parts`, in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings.slices import hard_slices

    return hard_slices(context._replace(pixels=Pictures(run).blocks))
