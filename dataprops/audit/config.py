"""What an audit is asked to do: one frozen record, checked when it is made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from inspect import get_annotations
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval

from dataprops.errors import DatapropsError
from dataprops.imaging.ranges import wanted
from dataprops.imaging.windows import window_numbers
from dataprops.properties.estimators import groups
from dataprops.util.nearest import did_you_mean
from dataprops.util.redact import is_url, redacted, withhold
from dataprops.util.validation import check_values, plain_value

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SUFFIXES = (  # of files, which are no part of a dataset's name
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


@dataclass(frozen=True)
class AuditConfig:
    """Options of one audit.

    Attributes
    ----------
    source : str
        Folder, manifest (.csv, .parquet), container, address, or ``name:location``. What an address holds of passwords and
        signatures is withheld (see `redact`): the record, and whatever it is written to, has ``***`` in their place.
    store : str
        Folder for shards, states and results. Nothing is written anywhere else.
    name : str
        Name of the dataset in the store; default: from the source.
    size : int
        Side of the canonical image in pixels.
    channels : int or None
        1, 3, or None: as in the last audit of the dataset, else by what the set holds.
    scale : str
        "full-range", or "per-image-max" (x * 255 / max, the paper's).
    window : str
        Which values of a DICOM or NIfTI image become black and white: "auto" (the file's own window, else by modality),
        "file", "percentiles", a preset of `windows.PRESETS`, or "CENTRE/WIDTH".
    labels : str
        "auto", "classes" or "numbers".
    path_column, label_column, split_column, group_column : str
        Names of a manifest's columns.
    group_pattern : str or None
        Regular expression over the relative path; its first group names the patient.
    label_pattern : str or None
        Regular expression over the relative path; its first group is the label.
    rules : tuple of str
        How a named source makes its labels: ``name=value``, e.g. "uncertain=positive".
    include, exclude : tuple of str
        Globs of the paths that count, and that do not. With `include`, masks are not looked for.
    layout : str
        What the levels of folders are, from the top: class, split, group or *, such as "split/class"; empty: as found.
    images, suffix : str
        Folder that a manifest's paths count from, and the ending that they lack; empty: looked for.
    one_hot : str
        Columns of a manifest, by commas, of which the one that is 1 names the label.
    label : str
        Of images with several labels, the one to hold against the rest.
    as_written : bool
        Take labels as they are written: spellings of one class stay apart, "nan" is a class, "a|b" is one label.
    range : str
        Which values become black and white, where files have more than 8 bits: "auto", "unit", "byte", a bit depth, "LOW:HIGH", or
        "image" (each image from its own).
    patients : str
        What the group of a DICOM image is: "auto" (the patient, unless one id stands for everybody), "patient", "study", "series" or
        "none".
    k : int
        Neighbours of the dimension estimates.
    near_rms : float or None
        Two images as they are count as near-copies when their root-mean-square difference is at most this many grey levels;
        None: the set itself says what stands out (see `findings.nearcopies`).
    estimators : tuple of str
        Groups of dimension estimators: "mle", "twonn", "geomle", and registered ones; default: all.
    sample : int
        M of the paper's label sharpness.
    draws : int
        Draws of M images.
    seed : int
        Of every draw.
    anchors : int or None
        Compare a random sample of so many images with all, in place of all pairs: estimates with intervals, for sets where
        all pairs are too many.
    probe : bool
        Whether a reference classifier is trained on the set.
    thresholds : str or None
        TOML file that overrides the default thresholds.
    memory : int or None
        Bytes of working memory for each worker; default: from what is free.
    reason : str
        Why the audit runs; shown with the run.
    """

    source: str
    store: str = "dataprops-store"
    name: str = ""
    size: Annotated[int, Interval(ge=1, le=4096)] = 224
    channels: Literal[1, 3] | None = None
    scale: Literal["full-range", "per-image-max"] = "full-range"
    window: str = "auto"
    labels: Literal["auto", "classes", "numbers"] = "auto"
    path_column: str = "path"
    label_column: str = "label"
    split_column: str = "split"
    group_column: str = "group"
    group_pattern: str | None = None
    label_pattern: str | None = None
    rules: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    layout: str = ""
    images: str = ""
    suffix: str = ""
    one_hot: str = ""
    label: str = ""
    as_written: bool = False
    range: str = "auto"
    patients: Literal["auto", "patient", "study", "series", "none"] = "auto"
    k: Annotated[int, Interval(ge=3, le=1000)] = 20
    near_rms: Annotated[float, Interval(ge=0, le=255)] | None = None
    estimators: tuple[str, ...] = field(default_factory=groups)
    sample: Annotated[int, Ge(2)] = 1000
    draws: Annotated[int, Ge(2)] = 20
    seed: int = 0
    anchors: Annotated[int, Ge(30)] | None = None
    probe: bool = True
    thresholds: str | None = None
    memory: Annotated[int, Gt(0)] | None = None
    reason: str = "by hand"

    def __post_init__(self) -> None:
        for option in fields(self):
            object.__setattr__(self, option.name, plain_value(getattr(self, option.name)))
        object.__setattr__(self, "source", withhold(self.source))
        check_values(AuditConfig, {option.name: getattr(self, option.name) for option in fields(self)})
        require(bool(self.source), "source", self.source, "a folder, a manifest or name:location")
        window_numbers(self.window)
        wanted(self.range)
        for rule in self.rules:
            require("=" in rule, "rule", rule, "name=value")
        for estimator in self.estimators:
            require(estimator in groups(), "estimators", estimator, ", ".join(groups()))
        if self.name and not NAME.fullmatch(self.name):
            raise DatapropsError(f"the dataset name {self.name!r} may hold letters, digits, '.', '_' and '-' only")

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


def choices(option: str) -> tuple[Any, ...]:
    """The values that an option may have, as its annotation says."""
    hint = get_type_hints(AuditConfig)[option]
    return tuple(value for part in (hint, *get_args(hint)) if get_origin(part) is Literal for value in get_args(part))


LABEL_KINDS, SCALES, PATIENTS = choices("labels"), choices("scale"), choices("patients")


def from_dict(values: dict) -> AuditConfig:
    """A config from plain values, as a deployment's parameters give them; unknown names are an error."""
    known = {field.name for field in fields(AuditConfig)}
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            raise DatapropsError(f"unknown audit option {name!r}: {hint}options are {', '.join(sorted(known))}")
    values = dict(values)
    for name in {"estimators", "rules", "include", "exclude"} & set(values):
        values[name] = tuple(values[name])
    return AuditConfig(**values)


def place_of(source: str) -> str:
    """Where a source lies, told alike from every folder: an absolute path, or the address without what is secret.

    >>> place_of("digits:"), place_of("s3://bucket/x")
    ('digits:', 's3://bucket/x')
    """
    if is_url(source):
        return redacted(source)
    kind, colon, location = source.partition(":")
    if Path(source).expanduser().exists() or not colon:
        return str(Path(source).expanduser().resolve())
    return f"{kind}:{Path(location).expanduser().resolve()}" if location and Path(location).exists() else source


def same_fields(record: Any, kind: type) -> dict[str, Any]:
    """The fields of a dataclass that another kind of record (a dataclass or a named tuple) has too, by their names."""
    wanted = get_annotations(kind)
    return {field.name: getattr(record, field.name) for field in fields(record) if field.name in wanted}


def require(holds: bool, name: str, value: object, wanted: str) -> None:
    """Refuse a value, saying what is wanted.

    Raises
    ------
    DatapropsError
        If it does not hold.
    """
    if not holds:
        raise DatapropsError(f"{name} is {value!r}; expected {wanted}")
