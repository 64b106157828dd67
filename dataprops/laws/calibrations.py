"""Calibrations: laws fitted to a user's own experiments, kept in the store for the predictions of later audits.

    STORE/calibrations/<id>/calibration.json     the fit (output of `dataprops fit --json`) and its fitted laws
                            points.parquet       the fitted table
                            figures/*.png

A folder is written aside and renamed when complete. Ids start with the time, so they sort by age. A calibration applies only to
its own preprocessing, because label sharpness scales with size, channels and range.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import VERSION, Preprocess
from dataprops.laws.fitting.fitted import Fit, FittedLaw
from dataprops.laws.fitting.table import points_of
from dataprops.laws.networks import Networks
from dataprops.laws.paper import FULL_FRACTION, FULL_PEAK, PAPER, load_calibration
from dataprops.store.tables import write_table
from dataprops.util.files import write_text
from dataprops.util.json import to_json
from dataprops.util.version import package_version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1
KEY = re.compile(r"(\d+)x\d+x([13])-(.+)-v(\d+)")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """A fit saved in the store.

    Attributes
    ----------
    id, created : str
    preprocess : tuple of str
        Preprocessing keys of its rows, which differ in channels only.
    lines : dict of str to FittedLaw
        Law (key of `fitting.LAWS`) -> fit.
    fit : dict
        Output of `dataprops fit --json`.
    folder : Path
    networks : Networks or None
        Predictors of its networks from the probe; None if its rows have no probe columns.
    """

    id: str
    created: str
    preprocess: tuple[str, ...]
    lines: dict[str, FittedLaw]
    fit: dict[str, Any]
    folder: Path
    networks: Networks | None = None

    def points(self) -> pd.DataFrame:
        """The fitted table."""
        return pd.read_parquet(self.folder / "points.parquet")


def save_calibration(
    store: Path,
    fit: Fit,
    source: str,
    figures: Mapping[str, Figure] = MappingProxyType({}),
    networks: Networks | None = None,
) -> Calibration:
    """Save a fit in the store, with its figures.

    Parameters
    ----------
    store : Path
        An open store.
    fit : Fit
    source : str
        Description of the fitted data.
    figures : mapping of str to Figure
        Saved with the fit, by name; see `report.figures.calibration_figures`.
    networks : Networks, optional
        See `networks.fitted_networks`.

    Raises
    ------
    DatapropsError
        If the rows do not name their preprocessing, without which a calibration cannot be applied.
    """

    keys = sorted(fit.points.table["preprocess"].unique())
    for key in keys:
        if not KEY.fullmatch(key):
            raise DatapropsError(
                f"a row has the preprocessing {key!r}: a calibration needs a column 'preprocess' such as"
                f" {Preprocess().key!r} (without --store the table is fitted and nothing is saved)"
            )
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(2)}"
    folder = store / "calibrations" / name
    aside = folder.with_name(f".{name}.part")
    (aside / "figures").mkdir(parents=True)
    try:
        record = {
            "schema": SCHEMA,
            "id": name,
            "created": now.isoformat(timespec="seconds"),
            "version": package_version(),
            "source": source,
            "preprocess": keys,
            "lines": {law: line.as_dict() for law, line in fit.lines.items()},
            "fit": fit.result,
            "networks": None if networks is None else networks.as_dict(),
        }
        for figure, drawn in figures.items():
            drawn.savefig(aside / "figures" / f"{figure}.png", dpi=144)
        write_table(aside / "points.parquet", fit.points.table)
        write_text(aside / "calibration.json", to_json(record))
        os.replace(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return load_calibration_folder(folder)


def load_calibration_folder(folder: Path) -> Calibration:
    """Load a calibration.

    Raises
    ------
    DatapropsError
        If it is damaged, or has another schema.
    """
    path = folder / "calibration.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise DatapropsError(
                f"{path} has schema {record['schema']}, this version reads {SCHEMA}: run dataprops fit again"
            )
        return Calibration(
            record["id"],
            record["created"],
            tuple(record["preprocess"]),
            {law: FittedLaw(**line) for law, line in record["lines"].items()},
            record["fit"],
            folder,
            # absent in calibrations of earlier versions
            Networks.from_dict(record["networks"], record["id"]) if record.get("networks") else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatapropsError(f"{path} is damaged ({error}): run dataprops fit again") from error


def newest_calibration(store: Path) -> Calibration | None:
    """The newest readable calibration of a store; None if there is none."""
    for path in sorted((store / "calibrations").glob("[0-9]*/calibration.json"), reverse=True):
        try:
            return load_calibration_folder(path.parent)
        except DatapropsError as error:
            log.warning("%s; falling back to an older calibration, if there is one", error)
    return None


def points_behind(store: Path, predictions: Iterable[Mapping[str, Any]]) -> pd.DataFrame | None:
    """The table of trained networks behind an audit's predictions; None if they use no calibration."""
    names = [p["calibration"] for p in predictions if p.get("calibration")]
    if not names:
        return None
    own = [name for name in names if name != PAPER]
    if not own:
        return points_of(load_calibration()).table
    try:
        return load_calibration_folder(store / "calibrations" / own[0]).points()
    except (DatapropsError, OSError) as error:
        log.warning("the calibration %s cannot be shown (%s)", own[0], error)
        return None


def read_key(key: str) -> tuple[Preprocess, int]:
    """'224x224x1-per-image-max-v1' -> preprocessing, and the version of its rules."""
    match = KEY.fullmatch(key)
    if not match:
        raise DatapropsError(f"{key!r} is not a preprocessing key; expected the form {Preprocess().key!r}")
    return Preprocess(int(match[1]), int(match[2]), match[3]), int(match[4])


def reason_not_applicable(calibration: Calibration, record: Mapping[str, Any], peaks: np.ndarray) -> str | None:
    """Why a calibration does not apply to an audited set, and what to do; None if it does.

    Parameters
    ----------
    calibration : Calibration
    record : mapping
        Summary of the audit: `preprocess` {size, channels, scale, range}, `labels` {kind}.
    peaks : int [n]
        Largest grey level of each readable image; if nearly all are close to 255, scaling to the maximum makes no difference.
    """
    if record["labels"]["kind"] != "classes":
        return "calibrations apply to classes, and this dataset has none (--labels classes reads numbers as classes)"
    made = record["preprocess"]
    own = Preprocess(made["size"], made["channels"], made["scale"])
    if tuple(made.get("range", (0, 255))) == (0, 255):
        full = len(peaks) > 0 and float(np.mean(np.asarray(peaks) >= FULL_PEAK)) >= FULL_FRACTION
        alike = {own.key} | ({Preprocess(own.size, own.channels, "per-image-max").key} if full else set())
        if alike & set(calibration.preprocess):
            return None
    kinds = [read_key(key) for key in calibration.preprocess]
    if any(version != VERSION for _, version in kinds):
        return (
            f"the calibration {calibration.id} was made with another version of the preprocessing ({calibration.preprocess[0]},"
            f" now v{VERSION}): run the experiments and dataprops fit again"
        )
    channels = sorted({wanted.channels for wanted, _ in kinds})
    wanted = kinds[0][0]
    options = f"--size {wanted.size} --scale {wanted.scale}" + (
        f" --channels {channels[0]}" if own.channels not in channels else ""
    )
    return (
        f"the calibration {calibration.id} was made under {' and '.join(calibration.preprocess)}, this audit under"
        f" {own.key}, and label sharpness is not comparable across them: audit with {options}, or run the experiments and"
        " dataprops fit under this audit's preprocessing"
    )
