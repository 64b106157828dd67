"""Patient groups from file headers, with detection of placeholder ids.

Anonymised files often share one PatientID (REMOVED, ANON, XXXX). An id that covers nearly all images, or far more studies than
others, is not a patient: its images are grouped by study instead. A study that covers all images is not a study.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataprops.sources.account import Decision

EVERYTHING = 0.9  # fraction of the images
SEVERAL = 5  # minimum studies of an id that covers nearly all images
MANY, TIMES = 10, 5  # minimum studies of one id, and minimum ratio to those of other ids


def group_of(prints: pd.DataFrame, wanted: str = "auto") -> tuple[pd.Series, list[Decision]]:
    """Group of each image (None: unknown), and the decisions made.

    Parameters
    ----------
    prints : DataFrame
        patient, study, series: hashes; None if missing in the file.
    wanted : str
        "auto", "patient", "study", "series" or "none".
    """
    none = pd.Series([None] * len(prints), dtype=object, index=prints.index)
    if wanted == "none":
        return none, []
    if wanted in ("study", "series"):
        return prints[wanted].astype(object).where(prints[wanted].notna(), None), []
    patient, study, series = (prints[name].astype(object) for name in ("patient", "study", "series"))
    if wanted == "patient":
        return patient.where(patient.notna(), None), []
    shared_studies = _spanning(study, series)
    usable_study = study.mask(study.isin(shared_studies))
    shared = _spanning(patient, usable_study if shared_studies else study)
    out = patient.mask(patient.isin(shared)).fillna(usable_study).fillna(series if shared_studies else usable_study)
    out = out.where(out.notna(), None)
    decisions = []
    if shared:
        images = int(patient.isin(shared).sum())
        ids = "one patient id stands" if len(shared) == 1 else f"{len(shared)} patient ids stand"
        studies = study[patient.isin(shared)].nunique()
        why = f"{ids} for {images:,} of {len(prints):,} images of {studies:,} studies"
        decisions.append(Decision("groups", "studies in place of patients", why, "--patients patient"))
    if shared_studies:
        why = f"one study id stands for {int(study.isin(shared_studies).sum()):,} of {len(prints):,} images"
        decisions.append(Decision("groups", "series in place of studies", why, "--patients study"))
    return out, decisions


def _spanning(ids: pd.Series, parts: pd.Series) -> set[str]:
    """Placeholder ids: those that cover nearly all images and several parts, or many more parts than others."""
    known = ids.notna() & parts.notna()
    if not known.any():
        return set()
    count = parts[known].groupby(ids[known]).nunique()
    images = ids[known].value_counts().to_dict()
    out = {
        name
        for name, number in count.items()
        if number > 1 and images[name] >= EVERYTHING * len(ids) and number >= SEVERAL
    }
    if len(count) > 1:
        for name, number in count.items():
            usual = float(np.median(count.drop(name)))
            if number >= MANY and number > TIMES * usual:
                out.add(name)
    return {str(name) for name in out}
