"""Stage 5: what stands out, and the numbers that checks look at."""

from __future__ import annotations

from dataprops.audit.pictures import Pictures
from dataprops.audit.workspace import Run
from dataprops.checks.thresholds import load_thresholds
from dataprops.findings import Context, measures, shortcut_scores
from dataprops.findings import find as find_all
from dataprops.util.tools import Tools


def context_of(run: Run) -> Context:
    """Everything that the findings of this run may look at."""
    files = run.files
    scanned, passed = files.scanned.read(), files.passed.read()
    images, pictures = files.images.read(), Pictures(run)
    return Context(
        images=images,
        near=files.near_pairs(),
        sharpest=files.sharpest_pairs(),
        features=passed.features,
        kind=scanned.label_kind,
        near_count=passed.near_pairs,
        empty_classes=scanned.empty_classes,
        left_out=scanned.left_out,
        spellings=scanned.spellings,
        shortcuts=shortcut_scores(images, scanned.label_kind, run.config.seed),
        neighbours=files.neighbours.read(),
        checks=load_thresholds(run.config.thresholds),
        pixels=pictures.blocks,
        originals=pictures.originals,
        seed=run.config.seed,
    )


def find(run: Run, tools: Tools) -> dict[str, int]:
    """Findings, and the numbers that checks look at; returns how many there are of each kind."""
    context = context_of(run)
    numbers = measures(context)
    found = find_all(context, numbers)
    run.files.findings.write(found)
    assert context.shortcuts is not None
    run.files.shortcuts.write(context.shortcuts)
    run.files.measures.write(numbers)
    return found["kind"].value_counts().to_dict()
