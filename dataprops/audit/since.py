"""Changes since the previous audit, for findings and predictions: per-image losses, sharpness, classes, lost detail."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.audit.matched import COLUMNS, partners
from dataprops.audit.probed import grouped_by
from dataprops.audit.property_changes import sharpness_changes
from dataprops.audit.summary import preprocess_record, sharpness_record
from dataprops.audit.workspace import Run
from dataprops.findings.detail_lost import COLUMNS as MEASURED
from dataprops.findings.detail_lost import lost_detail
from dataprops.findings.since import Since
from dataprops.laws.change import common_sample, preprocessing_differs, sample_spreads
from dataprops.probe import paired
from dataprops.probe.folds import assign_folds
from dataprops.probe.measure import Probe, strata_of
from dataprops.store.folder import previous_summary

FIRST = "this is the first audit of the dataset in this store"
NAMED = 3  # labels listed in a sentence about a class's images
MOST_IMAGES = 50  # listed per class
GAINED = 3  # report lost detail only if this many times more pictures lost than gained detail


class Trained(NamedTuple):
    """The probe of this audit: its result, the images it used, their labels, class names and leak groups."""

    found: Probe
    part: pd.DataFrame
    y: np.ndarray
    names: list[str] | None
    leak_group: np.ndarray


class Before(NamedTuple):
    """The previous audit: summary, images, and probe table (one row per probed image)."""

    summary: dict[str, Any]
    images: pd.DataFrame
    probe: pd.DataFrame


def previous_of(run: Run) -> Before | None:
    """The previous audit; None if there is none or it cannot be read."""
    summary = previous_summary(Path(run.store), run.config.dataset, run.run_id)
    if summary is None:
        return None
    folder = run.results.parent / summary["run_id"]
    try:
        images = pd.read_parquet(folder / "images.parquet", columns=COLUMNS)
        probe = pd.read_parquet(folder / "probe.parquet") if (folder / "probe.parquet").is_file() else pd.DataFrame()
    except (OSError, ValueError, KeyError):  # Arrow raises ValueErrors
        return None
    return Before(summary, images, probe)


def write_change(run: Run, trained: Trained) -> None:
    """Compare the probe with that of the previous audit, and write the result."""
    before = previous_of(run)
    reason = FIRST if before is None else _not_comparable(run, before, trained)
    if before is None or reason:
        run.files.change.write({"withheld": reason})
        return
    told, losses = compare_losses(run, before, trained)
    run.files.change.write(told)
    run.files.change_images.write(losses)


def _not_comparable(run: Run, before: Before, trained: Trained) -> str | None:
    old = before.summary
    reason = _other_set(run, old)
    if reason:
        return reason
    if not old.get("probe") or not len(before.probe):
        return "the previous audit has no reference classifier to compare with"
    grouped = grouped_by(trained.part)
    if old["probe"]["grouped_by"] != grouped:
        return (
            f"the previous audit's folds were grouped by {old['probe']['grouped_by']}, this one's by {grouped}: losses on seen and"
            " unseen patients are not comparable"
        )
    if trained.names is not None and set(before.probe["given"].dropna()) != set(trained.names):
        return "the classes differ from those of the previous audit, so it is a different task"
    return None


def _other_set(run: Run, old: dict[str, Any]) -> str | None:
    made = preprocess_record(run, run.files.decoded.read().preprocess)
    reason = preprocessing_differs(old, {"preprocess": made})
    kind = run.files.scanned.read().label_kind
    if reason is None and old["labels"]["kind"] != kind:
        return f"the previous audit read the labels as {old['labels']['kind']}, this one as {kind}"
    return reason


def compare_losses(run: Run, before: Before, trained: Trained) -> tuple[dict[str, Any], pd.DataFrame]:
    """The paired change of the loss, and a table of each image's loss before and after."""
    found, numeric = trained.found, trained.names is None
    now = run.files.images.read(COLUMNS)
    ids = trained.part["image"].to_numpy(np.int64)
    row = partners(before.images, now)[ids]
    place = pd.Series(np.arange(len(before.probe)), index=before.probe["image"].to_numpy(np.int64))
    old_ids = np.where(row >= 0, before.images["image"].to_numpy(np.int64)[row], -1)
    partner = place.reindex(old_ids).fillna(-1).to_numpy(np.int64)
    kept = partner >= 0
    given = np.where(kept, before.probe["fold"].to_numpy(np.int64)[partner], -1)
    folds = int(before.summary["probe"]["folds"])
    fold = assign_folds(strata_of(trained.y, numeric=numeric), trained.leak_group, folds, run.config.seed, given)
    assert found.kernel is not None
    losses = paired.refitted_losses(found.kernel, trained.y, fold, found.strength, numeric=numeric)
    old_loss = before.probe["log_loss"].to_numpy(float)
    _, old_leak_group = np.unique(before.probe["leak_group"].to_numpy(), return_inverse=True)
    _, leak_group = np.unique(trained.leak_group, return_inverse=True)
    states = paired.State(old_loss, old_leak_group), paired.State(losses, leak_group)
    change = paired.change(*states, partner, folds, run.config.seed)
    curve = [(p["n"], p["error"] if p["log_loss"] is None else p["log_loss"]) for p in before.summary["probe"]["curve"]]
    told = change._asdict() | {
        "expected": paired.expected_change(curve, len(old_loss), len(losses)),
        "paired": int(kept.sum()),
        "new": int((~kept).sum()),
        "gone": len(old_loss) - int(kept.sum()),
        "withheld": None,
    }
    labels = before.probe["given"].to_numpy(object)[partner]
    table = pd.DataFrame({"image": ids, "after": losses, "before": np.where(kept, old_loss[partner], np.nan)})
    table["label_before"] = pd.Series([a if b else None for a, b in zip(labels, kept, strict=True)], dtype=object)
    return told, table


def since_previous(run: Run, images: pd.DataFrame) -> Since | None:
    """Changes since the previous audit that findings use; None without a previous audit with the same preprocessing."""
    before = previous_of(run)
    if before is None or _other_set(run, before.summary):
        return None
    files = run.files
    change = files.change.read() if files.change.path.is_file() else {"withheld": FIRST}
    losses = files.change_images.read() if files.change_images.path.is_file() else pd.DataFrame()
    partner = partners(before.images, images)
    sharpness, pairs = _sharper(run, before, images, partner)
    classes = tuple(changed_classes(before.images, images, partner))
    return Since(change, losses, sharpness, pairs, classes, *_less_detail(run, before, images, partner))


def _less_detail(
    run: Run, before: Before, images: pd.DataFrame, partner: np.ndarray
) -> tuple[pd.DataFrame | None, int]:
    """Changed files that lost detail, and the number of images with the same path; None if the previous audit did not measure it."""
    try:
        table = run.results.parent / before.summary["run_id"] / "images.parquet"
        measured = pd.read_parquet(table, columns=list(MEASURED))
    except (OSError, ValueError, KeyError):  # an older version did not measure it
        return None, 0
    path, content = ((before.images[name].to_numpy(object)[partner], images[name]) for name in ("path", "content"))
    same = (partner >= 0) & (path[0] == path[1].to_numpy(object))
    at = np.nonzero(same & (content[0] != content[1].to_numpy(object)))[0]
    then = measured.iloc[partner[at]].reset_index(drop=True)
    now = images[["image", *MEASURED]].iloc[at].reset_index(drop=True)
    told = pd.concat([now, then[list(MEASURED)].add_suffix("_before")], axis=1).assign(lost=lost_detail(then, now))
    told = told[told["lost"] > 0].reset_index(drop=True)
    if len(told) < GAINED * (lost_detail(now, then) > 0).sum():  # different pictures under the old names
        told = told.head(0)
    return told, int(same.sum())


def _sharper(
    run: Run, before: Before, images: pd.DataFrame, partner: np.ndarray
) -> tuple[dict[str, Any] | None, pd.DataFrame]:
    """Change of the sharpness at equal M, and the sharpest pairs with a new image or label."""
    files = run.files
    now = {
        "labels": {"kind": files.scanned.read().label_kind},
        "label_sharpness": sharpness_record(files.properties.read(), run.config.draws),
        "n_images": len(images),
        "n_unreadable": int(images["pixels"].isna().sum()),
    }
    sharpest = files.sharpest_pairs()
    found = next(change for change in sharpness_changes(before.summary, now) if change.name == "k_f")
    m = common_sample(before.summary, now)
    spread = [0.0] if m is None else sample_spreads(before.summary, now, m)
    if found.value is None or found.low is None or not all(spread):  # without spread over samples the noise is unknown
        return None, sharpest.head(0)
    old = before.images["label"].to_numpy(object)[partner]
    same = (partner >= 0) & (old == images["label"].to_numpy(object))
    new = ~(same[sharpest["a"].to_numpy(np.int64)] & same[sharpest["b"].to_numpy(np.int64)])
    told = {"before": found.before, "after": found.after, "value": found.value, "low": found.low, "high": found.high}
    return told, sharpest[new & (sharpest["sharpness"] > found.before)].reset_index(drop=True)


def changed_classes(before: pd.DataFrame, now: pd.DataFrame, partner: np.ndarray) -> list[tuple[str, tuple[int, ...]]]:
    """A sentence for each removed or new class, with ids of its images."""
    old, new = before["label"], now["label"]
    kept = np.nonzero(partner >= 0)[0]
    was = np.full(len(now), None, object)
    was[kept] = old.to_numpy(object)[partner[kept]]
    out = []
    for name in sorted(set(old.dropna()) - set(new.dropna())):
        at = np.nonzero(was == name)[0]
        count = int((old == name).sum())
        images = f"its {count:,} image{'s' if count != 1 else ''}"
        told = f"The class “{name}” of the previous audit is gone: of {images} "
        told += (
            f"{_counts(new.iloc[at])}, and {count - len(at):,} are no longer there." if len(at) else "none is there."
        )
        out.append((told, tuple(int(i) for i in now["image"].iloc[at][:MOST_IMAGES])))
    for name in sorted(set(new.dropna()) - set(old.dropna())):
        at = np.nonzero((new == name).to_numpy())[0]
        earlier = pd.Series(was[at], dtype=object).dropna()
        told = f"The class “{name}” is new: {len(at) - len(earlier):,} of its {len(at):,} images came with it"
        told += f"; of the others {_counts(earlier, 'were')} before." if len(earlier) else "."
        out.append((told, tuple(int(i) for i in now["image"].iloc[at][:MOST_IMAGES])))
    return out


def _counts(labels: pd.Series, verb: str = "are now") -> str:
    """'40 are now labelled “a”, 3 “b”'."""
    counts = labels.fillna("nothing").value_counts()
    parts = [f"{count:,} “{name}”" for name, count in counts.head(NAMED).items()]
    first = parts[0].split(" ", 1)
    parts[0] = f"{first[0]} {verb} labelled {first[1]}"
    return ", ".join(parts) + (", ..." if len(counts) > NAMED else "")
