"""Cache of a dataset's last pass over all pairs, from which the next audit starts."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dataprops.distances.incremental import PreviousPass
from dataprops.distances.sketch import Basis, basis_arrays, basis_from
from dataprops.distances.sketches import Sketches
from dataprops.distances.state import PassSpec, State
from dataprops.util.files import write_arrays

log = logging.getLogger(__name__)

SKETCHES = 5  # version of the sketches; others are recomputed
PER_ROW = ("codes", "norm", "error", "pixel_norm", "done")


def save_known(path: Path, known: PreviousPass, classes: tuple[str, ...]) -> None:
    """Save a finished pass atomically; `classes` names the label codes."""
    write_arrays(
        path,
        classes=np.array(classes, dtype=str),
        pixels=known.pixels.astype("U32"),
        y=known.y,
        primary=known.primary,
        near_a=known.near_a,
        near_b=known.near_b,
        near_d2=known.near_d2,
        near_count=np.array(known.near_count),
        k=np.array(known.spec.k),
        numeric=np.array(known.spec.numeric),
        near2=np.array(known.spec.near2),
        near_limit=np.array(known.spec.near_limit),
        **known.state._asdict(),
        **_sketches_as_arrays(known.sketches),
    )


def load_known(path: Path, classes: tuple[str, ...]) -> PreviousPass | None:
    """Load a finished pass, with label codes converted to those of `classes`; None if missing or unreadable."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as saved:
            return PreviousPass(
                saved["pixels"].astype(object),
                _recode(saved["y"], saved["classes"].tolist(), classes) if classes else saved["y"],
                saved["primary"],
                State(**{name: saved[name] for name in State._fields}),
                saved["near_a"],
                saved["near_b"],
                saved["near_d2"],
                int(saved["near_count"]),
                PassSpec(int(saved["k"]), bool(saved["numeric"]), float(saved["near2"]), int(saved["near_limit"])),
                _sketches_from_arrays(saved),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("the cached pass cannot be read (%s): recomputing all pairs", error)
        return None


def _sketches_as_arrays(sketches: Sketches | None) -> dict[str, np.ndarray]:
    if sketches is None:
        return {}
    kept = {name: getattr(sketches, name) for name in ("rows", *PER_ROW)}
    return {"sketch_version": np.array(SKETCHES)} | {
        f"sketch_{name}": np.asarray(value) for name, value in (basis_arrays(sketches.basis) | kept).items()
    }


def _sketches_from_arrays(saved: Mapping[str, np.ndarray]) -> Sketches | None:
    if "sketch_version" not in saved or int(saved["sketch_version"]) != SKETCHES:
        return None
    basis = basis_from({name: saved[f"sketch_{name}"] for name in Basis._fields})
    kept = (saved[f"sketch_{name}"] for name in PER_ROW)
    return Sketches(basis, int(saved["sketch_rows"]), *kept)


def _recode(y: np.ndarray, old: list[str], new: tuple[str, ...]) -> np.ndarray:
    """Convert codes of the old classes to those of the new ones; removed classes get distinct negative codes."""
    place = {name: code for code, name in enumerate(new)}
    codes = np.array([place.get(name, -1 - number) for number, name in enumerate(old)], np.float64)
    known = ~np.isnan(y)
    out = y.copy()
    out[known] = codes[y[known].astype(np.int64)]
    return out
