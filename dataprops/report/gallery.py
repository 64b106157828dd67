"""Data for the page's gallery: findings with their images, thumbnails, and the list of all files.

The page's script (gallery.js) builds cards, filters and exports from it. Pictures are assigned to findings by priority and sized to
the page's byte budget: few findings get large pictures, many get small ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings import FINDINGS
from dataprops.findings.pixel_shortcut import cell_of, is_mark
from dataprops.findings.rows import in_turn, quoted
from dataprops.report.changes import title
from dataprops.report.first_screen import alert_of_kinds, in_order
from dataprops.report.numbers import number
from dataprops.report.pictures import DIFFERENCE, RUNGS, Picture, address, choose_rung, difference, encode, encode_all
from dataprops.report.text import in_words
from dataprops.sources.table import key_of

LISTED = 2000  # findings per kind in the page; all are in findings.parquet
PICTURED = 300  # findings per kind with pictures
PACKED_AT_ONCE = 32  # pictures
MEMBERS = 8  # pictures per group
NAMED = 200  # paths listed per group
DIFFERENCES = 400  # pairs with a difference image
PAGE_BYTES = 4_750_000  # budget of the whole page
FRAME_BYTES = 400_000  # reserved for text, style, script and plots
DIFFERENCE_BYTES = 450_000
LIST_BYTES = 700_000  # limit of the file list; above it, only the command line writes manifests
LAST = ("sharpest_pairs",)  # shown last: every dataset has them
PLACED = "pixel_shortcut"  # its details name a location in the picture
CONTRAST = 4  # images without the mark, shown for comparison
COMMON = {"pairs": 2, "groups": 0, "images": 1, "text": 0}  # minimum images per finding for each display type


def kinds_in_order(findings: pd.DataFrame, summary: Mapping[str, Any]) -> list[str]:
    """The kinds found, in the order of the steps on the first screen; `LAST` at the end."""
    there = set(findings["kind"])
    known = in_order([*(kind for kind in FINDINGS if kind in there), *sorted(there - set(FINDINGS))], summary)
    return [kind for kind in known if kind not in LAST] + [kind for kind in known if kind in LAST]


def shown_as(kind: str, found: pd.DataFrame) -> str:
    """Display type of a kind: pairs, groups, images or text."""
    wanted = FINDINGS[kind].shown if kind in FINDINGS else "groups"
    least = min((len(ids) for ids in found["images"]), default=0)
    if least < COMMON.get(wanted, 0):
        return "text" if least == 0 else "groups"
    if wanted == "text" and least > 0:
        return "images" if found["images"].map(len).max() == 1 else "groups"
    return wanted


def _rows(findings: pd.DataFrame, kinds: list[str], images: pd.DataFrame, features: int) -> list[dict[str, Any]]:
    rows = []
    path, label = (images[name].to_numpy(object) for name in ("path", "label"))
    for at, kind in enumerate(kinds):
        found = findings[findings["kind"] == kind].head(LISTED)
        for ids, value, detail in found[["images", "value", "detail"]].itertuples(index=False):
            named = [int(i) for i in ids[:NAMED]]
            row: dict[str, Any] = {"k": at, "m": named, "t": in_words(str(detail))}
            if len(named) == 1:  # its name and label are below the picture
                shown = f"{quoted(str(path[named[0]]))} is labelled {quoted(str(label[named[0]]))}; "
                if row["t"].startswith(shown):
                    row["t"] = row["t"].removeprefix(shown)
                    row["t"] = row["t"][:1].upper() + row["t"][1:]
            if kind == "image_quality":
                row["t"] = row["t"][:1].upper() + row["t"][1:]
            cell = cell_of(row["t"]) if kind == PLACED else None
            if cell is not None:
                row["c"] = list(cell)
            if len(ids) > NAMED:
                row["more"] = len(ids) - NAMED
            if kind == "sharpest_pairs" and value > 0:
                row["t"] = (
                    f"{1 / value:,.0f} apart ({number(1 / value / np.sqrt(features))} grey levels RMS):"
                    f" sharpness {number(value)}."
                )
            rows.append(row)
    return rows


def _contrast(rows: list[dict[str, Any]], images: pd.DataFrame) -> None:
    """Add images of other classes (`o`) to findings about marks, for comparison."""
    marked = [row for row in rows if "c" in row and row["m"] and is_mark(row["t"])]
    if not marked:
        return
    label, readable = images["label"].to_numpy(object), images["pixels"].notna().to_numpy()
    for row in marked:
        own = label[row["m"][0]]
        others = np.nonzero(readable & images["label"].notna().to_numpy() & (label != own))[0]
        first = pd.Series(others).groupby(label[others], sort=True).head(CONTRAST)
        row["o"] = in_turn(ids.tolist() for _, ids in first.groupby(label[first]))[:CONTRAST]


def pictured(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Unique images to show, by priority: first a few of each kind, then the rest."""
    by_kind: dict[int, list[list[int]]] = {}
    for row in rows:
        mine = by_kind.setdefault(row["k"], [])
        if len(mine) < PICTURED:
            mine.append([*row["m"][:MEMBERS], *row.get("o", ())])
    first = [i for mine in by_kind.values() for ids in mine[:12] for i in ids]
    rest = [i for mine in by_kind.values() for ids in mine[12:] for i in ids]
    return list(dict.fromkeys([*first, *rest]))


def _pictures(ids: list[int], picture: Picture, budget: int) -> dict[str, str]:
    """Encoded pictures of these images, in order, of at most `budget` bytes in total before base64."""
    rung, out, used = choose_rung(picture, ids, budget), {}, 0
    for start in range(0, len(ids), PACKED_AT_ONCE):
        some = [(at, picture(ids[at])) for at in range(start, min(start + PACKED_AT_ONCE, len(ids)))]
        read = [(at, pixels) for at, pixels in some if pixels is not None]
        packed_by, packed = rung, encode_all([pixels for _, pixels in read], RUNGS[rung])
        for (at, pixels), ready in zip(read, packed, strict=True):
            share = (budget - used) / (len(ids) - at)
            data = ready if rung == packed_by else encode(pixels, RUNGS[rung])
            while len(data) > 1.5 * share and rung < len(RUNGS) - 1:  # the rest compresses worse than the images tried
                rung += 1
                data = encode(pixels, RUNGS[rung])
            used += len(data)
            if used > budget:
                return out
            out[str(ids[at])] = address(RUNGS[rung].form, data)
    return out


def _differences(
    rows: list[dict[str, Any]], pairs: set[int], pictures: Mapping[str, str], picture: Picture, budget: int
) -> None:
    shown = [
        row for row in rows if row["k"] in pairs and len(row["m"]) == 2 and all(str(i) in pictures for i in row["m"])
    ][:DIFFERENCES]
    used = 0
    for at, row in enumerate(shown):
        a, b = (picture(i) for i in row["m"])
        if a is None or b is None:
            continue
        apart, times = difference(a, b)
        quick, small = DIFFERENCE
        rung, data = quick, encode(apart, quick)
        if len(data) > (budget - used) / (len(shown) - at):
            rung, data = small, encode(apart, small)
        used += len(data)
        if used > budget:
            return
        row["x"], row["f"] = address(rung.form, data), round(times, 1 if times < 10 else 0)


def _text(value: Any) -> str | None:
    return None if value is None or pd.isna(value) else str(value)


def _codes(values: Iterable[Any]) -> tuple[list[str], list[int]]:
    """Distinct strings, and for each value its index among them (-1: missing)."""
    places: dict[str, int] = {}
    codes = []
    for value in values:
        text = _text(value)
        codes.append(-1 if text is None else places.setdefault(text, len(places)))
    return list(places), codes


def all_files(images: pd.DataFrame) -> dict[str, Any] | None:
    """path, label, split, group of every image, for manifests exported from the page; None if above `LIST_BYTES`."""
    if int(images["path"].astype(str).str.len().sum()) + 12 * len(images) > LIST_BYTES:
        return None
    out: dict[str, Any] = {"path": images["path"].tolist()}
    for name in ("label", "split", "group"):
        out[f"{name}s"], out[name] = _codes(images[name])
    # escaped paths are exported unescaped; names that are not valid UTF-8 cannot be exported
    written = {path: _written(path) for path in out["path"] if "\\" in path}
    out["real"] = {path: key for path, key in written.items() if key is not None}
    out["lost"] = len(written) - len(out["real"])
    return out


def _written(path: str) -> str | None:
    key = key_of(path)
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return key


def gallery_data(summary: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], picture: Picture) -> dict[str, Any]:
    """Data for the page's script, as plain values.

    Returns
    -------
    dict
        kinds (id, title, severity, alert if any, explanation, shown, count); rows (k: index in kinds, m: image ids, t: text,
        x: difference image, f: its scale factor, c: row and column of the location, o: images without the mark); images by id
        (p: path, l: label, s: split, g: group); pics by id; files; base: folder of the files.
    """
    images, findings = tables["images"], tables["findings"]
    names = kinds_in_order(findings, summary)
    kinds, alerted = [], alert_of_kinds(summary)
    for name in names:
        found = findings[findings["kind"] == name]
        known = FINDINGS.get(name)
        kinds.append(
            {
                "id": name,
                "title": title(name),
                "severity": str(found["severity"].iloc[0]),
                **({"alert": alerted[name]} if name in alerted else {}),
                "explanation": known.explanation if known else "",
                "shown": shown_as(name, found),
                "count": len(found),
                **({"usual": 1} if name in LAST else {}),
            }
        )
    rows = _rows(findings, names, images, summary["features"])
    columns = {name: images[name].to_numpy(object) for name in ("path", "label", "split", "group")}
    about = {}
    _contrast(rows, images)
    for image in dict.fromkeys(i for row in rows for i in [*row["m"], *row.get("o", ())]):
        entry = {"p": str(columns["path"][image])}
        entry |= {
            key: text
            for key, name in (("l", "label"), ("s", "split"), ("g", "group"))
            if (text := _text(columns[name][image])) is not None
        }
        about[str(image)] = entry
    data = {
        "dataset": summary["dataset"],
        "run": summary["run_id"],
        "source": summary["source"],
        "kinds": kinds,
        "rows": rows,
        "images": about,
        "pics": {},
        "files": all_files(images),
    }
    left = PAGE_BYTES - FRAME_BYTES - len(json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    budget = max(0, left * 3 // 4)  # base64: four characters for three bytes
    pairs = {at for at, kind in enumerate(kinds) if kind["shown"] in ("pairs", "groups")}
    most = min(DIFFERENCE_BYTES, budget // 5)
    data["pics"] = _pictures(pictured(rows), picture, budget - most)
    _differences(rows, pairs, data["pics"], picture, most)
    return data
