"""The result of an audit in a notebook: a summary dict with tables as DataFrames and an HTML representation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dataprops.imaging.ranges import unusual
from dataprops.util.caller import warn_caller

if TYPE_CHECKING:
    from dataprops.audit.cleaning import Results

__all__ = ["Audited"]

STRETCHED = "they were rescaled to 0 to 255: pass the images before normalisation, or set range='LOW:HIGH'"
# findings about possibly wrong labels, the most certain first
DOUBTS = ("label_conflicts", "near_conflicts", "suspect_labels")


class Audited(dict):
    """The summary of an audit (as printed by ``--json``), with its result tables.

    Attributes
    ----------
    findings : DataFrame
        kind, severity, images, paths, value, detail.
    suspects : DataFrame
        Images with a doubtful label, the most certain first: path, label, kind, value, detail; if the reference classifier ran, also
        ``predicted`` and ``score``, its out-of-fold probability of the given label.
    pairs : DataFrame
        Near-identical and sharpest pairs, with paths, labels and distance.
    images, properties : DataFrame
        Per-image values; properties with standard errors.

    Tables are read from the results folder on first access, so they are unavailable once the run is pruned.
    """

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return Path(self["results"])

    def _table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / f"{name}.parquet")

    @cached_property
    def _results(self) -> Results:
        from dataprops.audit.cleaning import open_results

        return open_results(self.folder)

    @cached_property
    def findings(self) -> pd.DataFrame:
        return self._table("findings")

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return self._table("pairs")

    @cached_property
    def images(self) -> pd.DataFrame:
        return self._table("images")

    @cached_property
    def properties(self) -> pd.DataFrame:
        return self._table("properties")

    @cached_property
    def suspects(self) -> pd.DataFrame:
        from dataprops.audit.cleaning import predictions_of

        found = self.findings[self.findings["kind"].isin(DOUBTS)]
        order = {kind: place for place, kind in enumerate(DOUBTS)}
        rows = [
            (order[kind], int(image), kind, value, detail)
            for kind, ids, value, detail in found[["kind", "images", "value", "detail"]].itertuples(index=False)
            for image in ids
        ]
        table = pd.DataFrame(rows, columns=["order", "image", "kind", "value", "detail"])
        table = table.sort_values("order", kind="stable").drop_duplicates("image").drop(columns="order")
        at = table["image"].to_numpy(int)
        table.insert(1, "path", self.images["path"].to_numpy(object)[at])
        table.insert(2, "label", self.images["label"].to_numpy(object)[at])
        predicted = predictions_of(self._results)
        if predicted is not None:
            for name, column in (("predicted", "predicted"), ("score", "p_given")):
                table[name] = predicted[column].to_numpy(object)[at]
        return table.reset_index(drop=True)

    def clean(
        self, remove: str | Iterable[str] = ("duplicates", "conflicts"), out: str | Path | None = None
    ) -> pd.DataFrame:
        """The images without those flagged by some findings: path, label, split, group.

        Parameters
        ----------
        remove : str or list of str
            Kinds of findings, see `findings.removal.REMOVALS`: duplicates, conflicts, leaks, suspects, ...
        out : path, optional
            Also write them to a manifest (.csv or .parquet), which `audit` can read.

        Raises
        ------
        DatapropsError
            If a kind is unknown, or no image would remain.
        """
        from dataprops.audit.cleaning import clean, write_list

        cleaned = clean(self._results, remove)
        if out is not None:
            write_list(out, self._results, cleaned)
        return cleaned.kept

    def __repr__(self) -> str:
        found = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in self["findings"].items() if count)
        return f"<audit of {self['dataset']}: {self['n_images']:,} images; {found or 'nothing found'}>"

    def _repr_html_(self) -> str:
        """Verdict, next steps, key numbers and the path of the report."""
        from dataprops.report.first_screen import first_screen
        from dataprops.report.key_numbers import keys_of

        first = first_screen(dict(self), self.findings)
        steps = "".join(f"<li>{escape(step.text)}</li>" for step in first.steps)
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(key.name)}</th><td style='text-align:left'><b>{escape(key.value)}</b>"
            f"</td><td style='text-align:left'>{escape(key.note)}</td></tr>"
            for key in keys_of(dict(self))
        )
        return (
            f"<h3>{escape(str(self['dataset']))}</h3><p><b>{escape(first.verdict.sentence)}</b></p>"
            f"{'<p>What to do next</p>' if steps else ''}<ol>{steps}</ol><table>{rows}</table>"
            f"<p>Report: <code>{escape(str(self['report']))}</code></p>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Audited, (dict(self),)


def warn_of(audited: Audited) -> Audited:
    """Warn about missing numbers, attributed to the caller's line; returns the audit."""
    for text in (*_missing(audited), *_odd_range(audited)):
        warn_caller(text)
    return audited


def _missing(audited: Audited) -> list[str]:
    """Messages about NaN properties, with the reason."""
    rows = audited.properties.drop_duplicates("property").set_index("property")
    out = []
    for name, title in (
        ("intrinsic_dimension.mle", "intrinsic dimension"),
        ("label_sharpness.sample", "label sharpness"),
    ):
        if name not in rows.index or not pd.isna(rows["value"].loc[name]):
            continue
        out.append(f"the {title} is NaN: {rows.loc[name, 'note'] or 'too few images'}")
    sharp = audited["label_sharpness"]
    if sharp["sample"]["mean"] is not None and "infinite" in sharp["note"]:
        out.append(f"label sharpness: {sharp['note']}")
    return out


def _odd_range(audited: Audited) -> list[str]:
    shown = [d for d in audited.get("decisions") or () if d["what"] == "range" and d["why"].startswith("floats")]
    told = unusual(f"floats={shown[0]['value'].split(', ')[-1].replace(' to ', ':')}") if shown else ""
    return [f"{told}; {STRETCHED}"] if told else []
