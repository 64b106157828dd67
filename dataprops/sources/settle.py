"""Normalisation of every source's table after the scan: globs, multi-label images, missing values, spelling variants.

Each decision is made once for the whole dataset and reported; see `account.Decision`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.dicom_identity import is_placeholder
from dataprops.sources.account import Decision, decide, withdraw
from dataprops.sources.folder import groups
from dataprops.sources.labels import NO_LABELS, one_against_rest, one_spelling, several, spelled, without_missing
from dataprops.sources.masks import unwanted
from dataprops.sources.table import SourceOptions

EVERYTHING, FEW = 0.9, 20  # minimum fraction of images, and minimum number, for a group to be a placeholder
NOBODY = re.compile(r"-1(?:\.0)?|[xX]{2,}")  # placeholders for a missing id in tables
LISTED = 8  # labels named in a message


def settled(table: pd.DataFrame, location: str, options: SourceOptions, *, globbed: bool) -> pd.DataFrame:
    """Normalise the table to one label per image.

    Parameters
    ----------
    location : str
        For messages; without secrets.
    globbed : bool
        Whether --include and --exclude have been applied already.

    Raises
    ------
    DatapropsError
        If no image is left, no image has the wanted label, or a pattern matches no path.
    """
    if not globbed and (options.include or options.exclude):
        table = _globbed(table, location, options)
    labels: list[str | None] = table["label"].tolist()
    if options.label_pattern is not None:
        labels = [label or None for label in groups(table["path"].tolist(), options.label_pattern, "label")]
        known = _matched(table, location, labels, f"--label-pattern {options.label_pattern!r}")
        told = Decision(
            "labels", f"{known:,} from paths", f"--label-pattern {options.label_pattern}", "--label-pattern"
        )
        withdraw(table, "classes", "labels")
        decide(table, told)
    if options.group_pattern is not None:
        known = _matched(table, location, table["group"].tolist(), f"--group-pattern {options.group_pattern!r}")
        if known < len(table):
            value = f"of {known:,} of {len(table):,} images"
            decide(table, Decision("groups", value, "the pattern does not match the other paths", "--group-pattern"))
    if not options.as_written:
        labels = _told(table, labels)
    _one_form(table)
    if not options.as_written:
        _no_groups_of_everybody(table, from_folders=globbed)
    labels = _one_label(table, labels, options)
    if not options.as_written and not table.attrs.get("several"):
        labels, found = one_spelling(labels)
        if found:
            table.attrs["spellings"] = [(one.kept, one.counts) for one in found]
            value = (
                f"{len(found)} {'class' if len(found) == 1 else 'classes'} with several spellings, each taken as one"
            )
            decide(table, Decision("spelling", value, spelled(found), "--as-written"))
    table["label"] = pd.Series(labels, dtype=object)
    return table


def _matched(table: pd.DataFrame, location: str, found: Sequence[str | None], option: str) -> int:
    """Number of images that have a value, which this option was to give them."""
    known = sum(value is not None for value in found)
    if not known and len(table):
        example = table["path"].iloc[0]
        raise DatapropsError(f"{location}: {option} matches none of {len(table):,} paths, such as {example}")
    return known


def _globbed(table: pd.DataFrame, location: str, options: SourceOptions) -> pd.DataFrame:
    names = {path: path.partition("#")[0] for path in table["path"]}
    why = unwanted(list(dict.fromkeys(names.values())), options.include, options.exclude)
    left = {path: why[name] for path, name in names.items() if name in why}
    if len(left) == len(table):
        raise DatapropsError(f"{location}: --include and --exclude leave none of its {len(table):,} images")
    attrs = dict(table.attrs)
    kept = table[~table["path"].isin(left)].reset_index(drop=True)
    kept.attrs.update(attrs)
    kept.attrs["ignored"] = [*attrs.get("ignored", ()), *left]
    kept.attrs["reasons"] = attrs.get("reasons", {}) | left
    return kept


def _told(table: pd.DataFrame, labels: list[str | None]) -> list[str | None]:
    labels, missing = without_missing(labels)
    if missing:
        seen = ", ".join(f"{text!r} ({number:,})" for text, number in missing.items())
        decide(table, Decision("labels", f"{sum(missing.values()):,} taken as missing", seen, "--as-written"))
    return labels


def _one_form(table: pd.DataFrame) -> None:
    """Normalise groups and splits to composed Unicode, so that é as one or two characters is the same name and patient."""
    for column in ("group", "split"):
        forms = {text: unicodedata.normalize("NFC", text) for text in table[column].unique() if isinstance(text, str)}
        if any(text != form for text, form in forms.items()):
            table[column] = pd.Series([forms.get(text, text) for text in table[column]], dtype=object)


def _no_groups_of_everybody(table: pd.DataFrame, *, from_folders: bool) -> None:
    """Clear placeholder groups: ids of a table that mean unknown (ANON), or that cover nearly all images."""
    groups = table["group"].tolist()
    count = Counter(group for group in groups if group is not None)
    nobody = {one for one in count if count[one] > 1 and (is_placeholder(one) or NOBODY.fullmatch(one.strip()))}
    most = {group for group, number in count.items() if number >= max(EVERYTHING * len(groups), FEW)} - nobody
    left_out = nobody if from_folders else nobody | most  # folders and volumes are never placeholders
    if not left_out:
        return
    table["group"] = pd.Series([None if group in left_out else group for group in groups], dtype=object)
    seen = ", ".join(f"{group!r} of {count[group]:,}" for group in sorted(left_out, key=lambda name: -count[name])[:4])
    value = f"{sum(count[group] for group in left_out):,} of {len(groups):,} images without one"
    decide(table, Decision("groups", value, f"an id that stands for everybody: {seen}", "--as-written"))


def _one_label(table: pd.DataFrame, labels: list[str | None], options: SourceOptions) -> list[str | None]:
    """One label per image: for multi-label datasets, the wanted label against the rest, otherwise the label set as one label."""
    marked = table.attrs.get("several", False)
    found = several(labels, sure=marked is True) if marked or not options.as_written else None
    if found is not None:
        labels = found.labels
        table.attrs["several"] = found.counts
    if options.label:
        labels = one_against_rest(labels, options.label)
        table.attrs["several"] = {}
        decide(table, Decision("labels", f"{options.label} against the rest", "asked for", "--label"))
    elif found is not None:
        most = sorted(found.counts, key=lambda name: -found.counts[name])
        names = ", ".join(f"{name} {found.counts[name]:,}" for name in most[:LISTED])
        more = f", ... ({len(most):,} in all)" if len(most) > LISTED else ""
        why = f"images have several labels: {names}{more}"
        value = "sets of labels are compared: 1 if they differ, 0 if not"
        known = sum(label is not None for label in labels)  # skip labels that all images have, and "(none)"
        one = next((name for name in most if found.counts[name] < known and name != NO_LABELS), most[0])
        decide(table, Decision("labels", value, why, f"--label '{one}'"))
    return labels
