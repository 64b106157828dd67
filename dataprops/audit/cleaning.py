"""Manifests of an audited dataset without flagged images, and exports of the flagged images for other tools.

Only the output file is written; images are not touched. A manifest lists the remaining images (path, label, split, group) and can
be audited; the other formats list the removed images, or all images with their findings:

- csv: path, label, split, group, kind, detail of the removed images
- cleanlab: one row per image with the columns of Datalab's ``get_issues`` (``is_label_issue``, ``label_score``, ...)
- fiftyone: samples for ``fiftyone.Sample.from_dict``, tagged with the kinds of their findings
- labelstudio: tasks with links to the removed images, for review
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from dataprops.audit.config import AuditConfig
from dataprops.errors import DatapropsError
from dataprops.findings.removal import removal_kinds, removed_images
from dataprops.options import same_fields
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.table import key_of
from dataprops.store.folder import existing_store, load_summary, runs_of
from dataprops.util.cells import safe_cell
from dataprops.util.files import write_aside, write_text
from dataprops.util.nearest import did_you_mean
from dataprops.util.redact import is_url

COLUMNS = ["path", "label", "split", "group"]
# options that a re-audit must repeat to be comparable
SAME = ("size", "scale", "window", "k", "near_rms", "labels", "anchors")
LINKS = "/data/local-files/?d="  # where Label Studio serves local files


class Cleaned(NamedTuple):
    """Kept and removed images.

    Attributes
    ----------
    kept : DataFrame
        path, label, split, group of the remaining images; paths are local files or URLs.
    removed : DataFrame
        path, label, split, group, kind, detail of the removed images.
    findable : bool
        Whether an audit can read the paths; false for images inside a container.
    again : str
        Command that audits the manifest, with ``FILE`` in its place.
    """

    kept: pd.DataFrame
    removed: pd.DataFrame
    findable: bool
    again: str


class Results(NamedTuple):
    """Tables, summary and options of a finished run."""

    folder: Path
    summary: dict[str, Any]
    images: pd.DataFrame
    findings: pd.DataFrame
    options: dict[str, Any]


def newest_results(store: str | Path, dataset: str) -> Results:
    """Results of the newest finished run of a dataset.

    Raises
    ------
    DatapropsError
        If there is none.
    """
    return open_results(runs_of(existing_store(store), dataset)[-1])


def open_results(folder: Path) -> Results:
    """Read the results in a folder.

    Raises
    ------
    DatapropsError
        If they cannot be read.
    """
    try:
        images = pd.read_parquet(folder / "images.parquet")
        findings = pd.read_parquet(folder / "findings.parquet")
        options = json.loads(pd.read_parquet(folder / "run.parquet", columns=["options"])["options"].iloc[0])
        return Results(folder, load_summary(folder), images, findings, options)
    except (OSError, ValueError, KeyError) as error:
        raise DatapropsError(f"the results in {folder} cannot be read ({error}): audit the dataset again") from error


def clean(results: Results, remove: str | Iterable[str]) -> Cleaned:
    """Remove the images flagged by some kinds of findings.

    Parameters
    ----------
    remove : str or list of str
        Kinds of findings, see `findings.removal.REMOVALS`.

    Raises
    ------
    DatapropsError
        If a kind is unknown, no image would remain, or the audited source no longer exists.
    """
    kinds = removal_kinds(remove)
    gone = removed_images(results.images, results.findings, kinds)
    places, findable = _places(results)
    # dtype object: paths need not be valid UTF-8, as pandas strings must be
    table = _texts(results.images).assign(path=pd.Series(places, dtype=object))
    stays = np.ones(len(table), bool)
    stays[list(gone)] = False
    if not stays.any():
        raise DatapropsError(f"{', '.join(kinds)} flag every image of {results.summary['dataset']}: none would remain")
    details = _details(results.findings, kinds)
    removed = table[~stays].assign(
        kind=[gone[i] for i in sorted(gone)], detail=[details.get((i, gone[i]), "") for i in sorted(gone)]
    )
    return Cleaned(
        table[stays].reset_index(drop=True), removed.reset_index(drop=True), findable, _again(results.options)
    )


def _texts(images: pd.DataFrame) -> pd.DataFrame:
    """path, label, split, group as str or None."""
    columns = {}
    for name in COLUMNS:
        values = [None if pd.isna(value) else str(value) for value in images[name]]
        columns[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns)


def _details(findings: pd.DataFrame, kinds: Iterable[str]) -> dict[tuple[int, str], str]:
    rows = findings[findings["kind"].isin(list(kinds))]
    out: dict[tuple[int, str], str] = {}
    for kind, ids, detail in rows[["kind", "images", "detail"]].itertuples(index=False):
        for image in ids:
            out.setdefault((int(image), kind), detail)
    return out


def _places(results: Results) -> tuple[list[str], bool]:
    """Path or URL of each image, and whether they can all be read individually."""
    keys = [key_of(path) for path in results.images["path"]]
    options = {k: v for k, v in results.options.items() if k in {f.name for f in fields(AuditConfig)}}
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    config = AuditConfig(**given)
    try:
        source = open_source(config.source, SourceOptions(**same_fields(config, SourceOptions)))
    except DatapropsError as error:
        if config.source.startswith("array:"):
            return keys, False
        raise DatapropsError(
            f"{error}. The audited source {config.source} was not found from {Path.cwd()}: run the command in the directory"
            " where the audit ran"
        ) from None
    if source.kind == "url":
        base = config.source.partition("?")[0].rstrip("/")
        return [key if is_url(key) else f"{base}/{key}" for key in keys], True
    files = [source.file(key) for key in keys]
    whole = [
        os.path.abspath(file) if file is not None else key  # noqa: PTH100 - links stay as they are
        for key, file in zip(keys, files, strict=True)
    ]
    alone = source.kind != "dicom" and all(
        file is not None or is_url(key) for key, file in zip(keys, files, strict=True)
    )
    return whole, alone


def _again(options: dict[str, Any]) -> str:
    default = {field.name: field.default for field in fields(AuditConfig)}
    told = [
        f" --{name.replace('_', '-')} {options[name]}"
        for name in SAME
        if name in options and options[name] != default[name]
    ]
    name = options.get("name") or AuditConfig(source=options["source"]).dataset
    return f"dataprops audit FILE --name {name} --store {options['store']}{''.join(told)}"


def write_list(out: str | Path, results: Results, cleaned: Cleaned, form: str = "manifest", links: str = LINKS) -> Path:
    """Write the images in one of the `FORMATS`; returns the path.

    Raises
    ------
    DatapropsError
        If the file cannot be written, or the format is unknown.
    """
    path = Path(out).expanduser()
    if form not in FORMATS:
        raise DatapropsError(f"unknown format {form!r}: {did_you_mean(form, FORMATS)}formats are {', '.join(FORMATS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise DatapropsError(f"{path} cannot be written: --out must name a file in an existing folder")
    try:
        FORMATS[form](path, results, cleaned, links)
    except OSError as error:
        raise DatapropsError(f"{path} cannot be written: {error.strerror}: choose another --out") from error
    return path


def _write_table(path: Path, table: pd.DataFrame) -> None:
    if path.suffix.lower() == ".parquet":
        binary = any(_unprintable(value) for value in table["path"])
        paths = [os.fsencode(value) for value in table["path"]] if binary else table["path"]
        write_aside(path, lambda aside: table.assign(path=paths).to_parquet(aside, index=False))
        return
    odd = next((value for value in table["path"] if _unprintable(value)), None)
    if odd is not None:
        raise DatapropsError(
            f"{odd!r} is not valid UTF-8, so it cannot be written to CSV: use a .parquet file with --out"
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.itertuples(index=False):
        writer.writerow(
            ["" if value is None else safe_cell(value) if isinstance(value, str) else value for value in row]
        )
    write_text(path, text.getvalue())


def _unprintable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _manifest(path: Path, results: Results, cleaned: Cleaned, links: str) -> None:
    _write_table(path, cleaned.kept)


def _removed(path: Path, results: Results, cleaned: Cleaned, links: str) -> None:
    _write_table(path, cleaned.removed)


# Datalab issue -> kinds of findings
ISSUES = {
    "label": ("label_conflicts", "near_conflicts", "suspect_labels"),
    "outlier": ("outliers",),
    "near_duplicate": ("exact_duplicates", "near_duplicates", "label_conflicts", "split_leakage"),
    "null": ("unreadable", "unlabelled"),
    "low_information": ("image_quality",),
}


def _cleanlab(path: Path, results: Results, cleaned: Cleaned, links: str) -> None:
    """Datalab's columns. Scores are low for issues: 0 for images with a finding, otherwise 1.

    If the reference classifier ran, the label score is its probability of the given label, as in Datalab.
    """
    places, _ = _places(results)
    table = pd.DataFrame({"path": pd.Series(places, dtype=object), "given_label": _texts(results.images)["label"]})
    for issue, kinds in ISSUES.items():
        named = np.zeros(len(table), bool)
        for ids in results.findings.loc[results.findings["kind"].isin(kinds), "images"]:
            named[np.asarray(ids, dtype=np.int64)] = True
        table[f"is_{issue}_issue"] = named
        table[f"{issue}_score"] = np.where(named, 0.0, 1.0)
    predicted = predictions_of(results)
    if predicted is not None:
        table["predicted_label"] = predicted["predicted"].to_numpy(object)
        conflict = results.findings["kind"].isin(ISSUES["label"]) & (results.findings["kind"] != "suspect_labels")
        certain = {int(i) for ids in results.findings.loc[conflict, "images"] for i in ids}
        told = np.where(np.isin(np.arange(len(table)), sorted(certain)), 0.0, predicted["p_given"].to_numpy(float))
        table["label_score"] = np.where(np.isnan(told), table["label_score"], told)
    _write_table(path, table)


def predictions_of(results: Results) -> pd.DataFrame | None:
    """Out-of-fold predictions of the reference classifier, one row per image (`probe.record.COLUMNS`); None if it did not run."""
    path = results.folder / "probe.parquet"
    if not path.is_file():  # an audit by an earlier version
        return None
    table = pd.read_parquet(path)
    if table.empty:
        return None
    return table.drop_duplicates("image").set_index("image").reindex(range(len(results.images)))


def _tags(results: Results) -> list[list[str]]:
    tags: list[list[str]] = [[] for _ in range(len(results.images))]
    # every dataset has sharpest pairs, and the images of a shortcut are examples of all classes
    told = results.findings[~results.findings["kind"].isin(["sharpest_pairs", "shortcut"])]
    for kind, ids in told[["kind", "images"]].itertuples(index=False):
        for image in ids:
            if kind not in tags[int(image)]:
                tags[int(image)].append(kind)
    return tags


def _fiftyone(path: Path, results: Results, cleaned: Cleaned, links: str) -> None:
    places, _ = _places(results)
    gone = set(cleaned.removed["path"])
    samples = []
    for place, tags, row in zip(places, _tags(results), _texts(results.images).itertuples(), strict=True):
        sample: dict[str, Any] = {"filepath": place, "tags": [*tags, *(["remove"] if place in gone else [])]}
        if row.label is not None:
            sample["ground_truth"] = {"_cls": "Classification", "label": row.label}
        samples.append(sample | {name: value for name in ("split", "group") if (value := getattr(row, name))})
    write_text(path, json.dumps({"samples": samples}, indent=1, ensure_ascii=True) + "\n")


def _labelstudio(path: Path, results: Results, cleaned: Cleaned, links: str) -> None:
    tasks = []
    row: Any
    for row in cleaned.removed.itertuples(index=False):
        link = row.path if is_url(row.path) else links + quote(row.path.lstrip("/"), errors="surrogateescape")
        about = {"path": row.path, "label": row.label, "split": row.split, "group": row.group}
        tasks.append({"data": {"image": link, **about, "finding": row.kind, "detail": row.detail}})
    write_text(path, json.dumps(tasks, indent=1, ensure_ascii=True) + "\n")


FORMATS: dict[str, Callable[[Path, Results, Cleaned, str], None]] = {
    "manifest": _manifest,
    "csv": _removed,
    "cleanlab": _cleanlab,
    "fiftyone": _fiftyone,
    "labelstudio": _labelstudio,
}
