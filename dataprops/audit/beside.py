"""What is looked for in pictures and files alone: in the helper's process (`util.helper`), while this one trains the probe.

It takes the tables of `measure` and the canonical images, and nothing of the probe. `begin` hands it over, `looked` has it; where it
was never handed over, or the helper is gone, it is done when it is asked for, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
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
NO_PICTURES = {name: Context._field_defaults[name] for name in ("pixels", "originals")}  # those at work cannot travel


class Looked(NamedTuple):
    """Results: near-copies, image faults, what in the pixels predicts the class (None without classes), what the files do."""

    copies: NearCopies
    faults: Sequence[Fault]
    told: Sequence[Told] | None
    shortcuts: pd.DataFrame


_begun: dict[str, helper.Job] = {}


def begin(run: Run) -> None:
    """Hand the work over; the tables of `measure` must be written."""
    # a pass over many images takes longer than the process waits for work
    _begun[run.run_id] = helper.submit(__name__, "look", run, begin=True)


def forget(run: Run) -> None:
    """Drop the job: its result will not be asked for."""
    _begun.pop(run.run_id, None)


def looked(run: Run) -> Looked:
    """The result; computed here if it was never handed over."""
    job = _begun.pop(run.run_id, None)
    return look(run) if job is None else job.result()


def look(run: Run) -> Looked:
    """Do the work in this process."""
    from dataprops.audit.pictures import Pictures
    from dataprops.findings import shortcut_scores
    from dataprops.findings.nearcopies import near_copies
    from dataprops.findings.pixels_tell import told_by_pixels
    from dataprops.findings.quality import faults
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
        return Looked(copies, faults(images, blocks, seed), told, shortcut_scores(images, kind, seed, described))


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
