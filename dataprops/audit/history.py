"""The audits of a dataset, oldest first, with drift, opened and closed findings from each to the next; and runs by name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dataprops.audit.comparison import compare, in_brief, summary_of
from dataprops.audit.property_changes import recorded_prediction
from dataprops.audit.remembered import Remembered
from dataprops.errors import DatapropsError
from dataprops.store.folder import dataset_names, finished_runs, runs_of

log = logging.getLogger(__name__)


def timeline(store: Path, dataset: str, last: int | None = None) -> list[dict[str, Any]]:
    """One record per finished run, oldest first, with the drift since the run before it.

    A run with damaged files is skipped with a warning.

    Raises
    ------
    DatapropsError
        If the dataset has no finished run.
    """
    folders = runs_of(store, dataset)
    remembered = Remembered(store, dataset)
    out, before = [], None
    for folder in folders[-last:] if last else folders:
        try:
            s = summary_of(folder)
        except DatapropsError as error:
            log.warning("%s", error)
            continue
        mle = s["intrinsic_dimension"].get("mle") or {}
        sample, penalty = s["label_sharpness"]["sample"], recorded_prediction(s, "attack_penalty")
        record: dict[str, Any] = {
            "run_id": s["run_id"],
            "created": s["created"],
            "reason": s.get("reason"),
            "n_images": s["n_images"],
            "n_unreadable": s["n_unreadable"],
            "d_data": mle.get("value"),
            "d_data_se": mle.get("se"),
            "k_f": sample["mean"],
            "k_f_m": sample["m"],
            "penalty": penalty.get("value") if not penalty.get("withheld") else None,
            "duplicates": s["findings"].get("exact_duplicates", 0),
            "conflicts": s["findings"].get("label_conflicts", 0),
            "alerts": [alert["name"] for alert in s.get("alerts", ()) if alert["severity"] != "info"],
            "drift": None,
            "opened": None,
            "closed": None,
            "not_compared": None,
        }
        if before is not None:
            found = remembered.get(before, folder)
            if found is None:
                found = _briefly(before, folder)
                if "drift" in found:
                    remembered.put(before, folder, found)
            record |= found
        out.append(record)
        before = folder
    remembered.save({folder.name for folder in folders})
    return out


def _briefly(before: Path, after: Path) -> dict[str, Any]:
    """A short comparison of two runs for `timeline`, or why they are not comparable."""
    try:
        return in_brief(compare(before, after))
    except DatapropsError as error:
        return {"not_compared": str(error)}


def find_runs(store: Path, one: str, two: str) -> tuple[Path, Path]:
    """Result folders of the two runs to compare.

    ``RUN RUN``: two run ids. ``NAME latest`` and ``NAME previous``: the last two runs of a dataset. ``NAME RUN``: that run and the
    latest.

    Raises
    ------
    DatapropsError
        If there is no such run.
    """
    if one not in dataset_names(store):
        return _run(store, one), _run(store, two)
    runs = finished_runs(store, one)
    if two in ("latest", "previous"):
        if len(runs) < 2:
            raise DatapropsError(f"{one!r} has one finished run in {store}: a comparison needs two")
        return runs[-2], runs[-1]
    return _run(store, two), runs[-1]


def _run(store: Path, run_id: str) -> Path:
    found = [path for path in sorted((store / "results").glob("*/*")) if path.name == run_id]
    if not found:
        raise DatapropsError(
            f"{store} has no run {run_id!r}; its datasets are {', '.join(dataset_names(store)) or 'none'}: see dataprops history"
        )
    return found[0]
