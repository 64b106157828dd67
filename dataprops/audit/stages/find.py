"""Stage 6: findings, and the measures used by checks."""

from __future__ import annotations

from dataprops.audit import background
from dataprops.audit.pictures import Pictures
from dataprops.audit.since import since_previous
from dataprops.audit.workspace import Run
from dataprops.checks.thresholds import load_thresholds
from dataprops.findings import Context, measures
from dataprops.findings import find as find_all
from dataprops.properties.tables import pairs_table
from dataprops.util.threads import one_thread
from dataprops.util.tools import Tools


def context_of(run: Run) -> Context:
    """The input of the findings."""
    files = run.files
    scanned, passed = files.scanned.read(), files.passed.read()
    images, pictures = files.images.read(), Pictures(run)
    probe = files.probe.read()
    neighbours, listed = files.neighbours.read(), files.near_pairs()
    found = background.collect(run)
    copies = found.copies
    return Context(
        images=images,
        near=copies.pairs,
        copies=copies,
        faults=found.faults,
        told=found.told,
        opinions=found.opinions,
        sharpest=files.sharpest_pairs(),
        features=passed.features,
        kind=scanned.label_kind,
        # with --near-rms all pairs within it are counted, even if not all are listed
        near_count=max(passed.near_pairs - len(listed), 0) + len(copies.pairs),
        empty_classes=scanned.empty_classes,
        left_out=scanned.left_out,
        spellings=scanned.spellings,
        unused_columns=scanned.unused_columns,
        decisions=scanned.decisions,
        shortcuts=found.shortcuts,
        neighbours=neighbours,
        described=files.described.read() if files.described.path.is_file() else None,
        probe=probe if len(probe) else None,
        since=since_previous(run, images),
        feature_pairs=files.feature_pairs.read() if files.feature_pairs.path.is_file() else None,
        checks=load_thresholds(run.config.thresholds),
        pixels=pictures.blocks,
        seed=run.config.seed,
    )


def find(run: Run, tools: Tools) -> dict[str, int]:
    """Find problems, and compute the measures used by checks; returns the number of findings per kind."""
    with one_thread():
        context = context_of(run)
        context = context._replace(slices=background.hard_parts(run, context))
        numbers = measures(context)
        found = find_all(context, numbers)
    run.files.findings.write(found)
    run.files.pairs.write(pairs_table(context.near, context.sharpest, context.images))
    assert context.shortcuts is not None
    run.files.shortcuts.write(context.shortcuts)
    run.files.measures.write(numbers)
    return {str(kind): count for kind, count in found["kind"].value_counts().to_dict().items()}
