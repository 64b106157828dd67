"""Options of an audit: a frozen dataclass, validated on creation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from dataprops.errors import DatapropsError
from dataprops.imaging.ranges import wanted
from dataprops.imaging.windows import window_numbers
from dataprops.options import Option, ReadingOptions, rows
from dataprops.properties.estimators import groups
from dataprops.util.nearest import did_you_mean
from dataprops.util.redact import is_url, redacted, withhold
from dataprops.util.validation import require

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUFFIXES = (  # file extensions that are dropped from a dataset's name
    *(
        ".csv",
        ".tsv",
        ".txt",
        ".xlsx",
        ".json",
        ".jsonl",
        ".ndjson",
        ".parquet",
        ".zip",
        ".h5",
        ".hdf5",
        ".he5",
        ".npy",
        ".npz",
    ),
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"),
)


UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def bytes_of(text: str) -> int:
    """Parse an amount of memory such as 4G; returns bytes.

    Raises
    ------
    ValueError
        With what is expected.

    >>> bytes_of("4G"), bytes_of("512 MiB")
    (4294967296, 536870912)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not match:
        raise ValueError("an amount of memory such as 4G, 512M or 800000000")
    return int(float(match[1]) * UNITS[match[2].upper()])


@dataclass(frozen=True)
class AuditConfig(ReadingOptions):
    """Options of an audit, see `dataprops.options`; those for reading the source are inherited.

    Passwords and signatures in a source URL are replaced by ``***`` (see `util.redact`), here and wherever the record is written.
    """

    source: Annotated[str, Option("Folder, manifest (.csv, .parquet), container, URL, or NAME:LOCATION")]
    store: Annotated[str, Option("Output folder for shards, states and results; nothing is written elsewhere")] = (
        "dataprops-store"
    )
    name: Annotated[str, Option("Name of the dataset in the store", "from SOURCE")] = ""
    size: Annotated[int, Interval(ge=1, le=4096), Option("Side of the canonical image, pixels")] = 224
    channels: Annotated[
        Literal[1, 3] | None, Option("1 (grey) or 3 (colour)", "as in the last audit, otherwise detected")
    ] = None
    scale: Annotated[
        Literal["full-range", "per-image-max"],
        Option("Grey levels unchanged, or scaled per image to x * 255 / max, as in the paper"),
    ] = "full-range"
    labels: Annotated[Literal["auto", "classes", "numbers"], Option("Label type")] = "auto"
    k: Annotated[int, Interval(ge=3, le=1000), Option("Number of neighbours for dimension estimates")] = 20
    near_rms: Annotated[
        Annotated[float, Interval(ge=0, le=255)] | None,
        Option("Largest RMS difference of untransformed near-copies, grey levels", "from the dataset"),
    ] = None
    estimators: Annotated[
        tuple[str, ...],
        Option("Dimension estimators, comma-separated: mle, twonn, geomle, and registered ones", "all"),
    ] = field(default_factory=groups)
    sample: Annotated[int, Ge(2), Option("Sample size for label sharpness (M in the paper)")] = 1000
    draws: Annotated[int, Ge(2), Option("Number of samples for label sharpness")] = 20
    seed: Annotated[int, Option("Random seed")] = 0
    anchors: Annotated[
        Annotated[int, Ge(30)] | None,
        Option("Compare only N random images with all others: estimates with intervals, for very large datasets"),
    ] = None
    probe: Annotated[bool, Option("Train a reference classifier: suspect labels, learning curve, predictions")] = True
    features: Annotated[
        str | None,
        Option(
            "Also measure in your own feature space: .npy with one row per image in listing order, or .parquet with paths",
            metavar="FILE",
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            "Also measure in the activation space of your own network, which is imported and run; NAME@LAYER selects the"
            " layer",
            metavar="MODULE:NAME",
        ),
    ] = None
    thresholds: Annotated[str | None, Option("TOML file that overrides the default thresholds", metavar="FILE")] = None
    memory: Annotated[
        Annotated[int, Gt(0)] | None,
        Option("Working memory per worker, e.g. 4G", "free memory", "BYTES", bytes_of),
    ] = None
    reason: Annotated[str, Option("Reason for the audit, shown with the run")] = "by hand"

    def __post_init__(self) -> None:
        self.check()
        object.__setattr__(self, "source", withhold(self.source))
        require(bool(self.source), "source", self.source, "a folder, a manifest or name:location")
        window_numbers(self.window)
        wanted(self.range)
        for estimator in self.estimators:
            require(estimator in groups(), "estimators", estimator, ", ".join(groups()))
        if self.name and not NAME.fullmatch(self.name):
            raise DatapropsError(f"the dataset name {self.name!r} may contain only letters, digits, '.', '_' and '-'")

    @property
    def dataset(self) -> str:
        """Name of the dataset in the store."""
        if self.name:
            return self.name
        kind, colon, location = self.source.partition(":")
        path = Path(location) if colon and not Path(self.source).exists() else Path(self.source)
        if is_url(self.source):
            path = Path("/", self.source.partition("://")[2].partition("?")[0].rpartition("@")[2])
        name = path.resolve().name
        stem = next((name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end)), name)
        stem = re.sub(r"[-_.]?\{\d+\.\.\d+\}", "", stem)  # of numbered shards
        if colon and not location:
            stem = kind
        cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")
        return cleaned or "dataset"


def from_dict(values: dict) -> AuditConfig:
    """A config from plain values, e.g. a deployment's parameters; unknown names are an error."""
    known = rows(AuditConfig)
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            raise DatapropsError(f"unknown audit option {name!r}: {hint}options are {', '.join(sorted(known))}")
    return AuditConfig(**values)


def place_of(source: str) -> str:
    """Location of a source, independent of the working directory: an absolute path, or the URL without secrets.

    >>> place_of("digits:"), place_of("s3://bucket/x")
    ('digits:', 's3://bucket/x')
    """
    if is_url(source):
        return redacted(source)
    kind, colon, location = source.partition(":")
    if Path(source).expanduser().exists() or not colon:
        return str(Path(source).expanduser().resolve())
    return f"{kind}:{Path(location).expanduser().resolve()}" if location and Path(location).exists() else source
