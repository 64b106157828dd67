"""Short descriptions of the change between two copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings.candidates import SYMMETRY_NAMES, VIEWS


def describe(images: pd.DataFrame, a: np.ndarray, b: np.ndarray, best: pd.DataFrame) -> list[str]:
    """Short description of the change between the images of each pair."""
    columns = {name: images[name].to_numpy(object) for name in ("width", "height", "mode", "format") if name in images}
    out = []
    rows: Any = best.itertuples()
    for i, row in enumerate(rows):
        words = []
        symmetry = VIEWS[int(row.view)].symmetry
        if symmetry:
            words.append(SYMMETRY_NAMES[symmetry])
        words += _placed(np.asarray(row.warp))
        if abs(row.gain - 1) > 0.05 or abs(row.offset) > 6:
            words.append("brightness or contrast changed")
        if row.differing > 0.02 or (row.covered < 0.97 and not words):
            words.append("marked, framed or covered in part")

        def differs(name: str, one: int = int(a[i]), two: int = int(b[i])) -> bool:
            return name in columns and columns[name][one] != columns[name][two]

        if not words and (differs("width") or differs("height")):
            words.append("resized")
        if differs("mode"):
            words.append(
                "grey for colour" if "L" in (columns["mode"][a[i]], columns["mode"][b[i]]) else "other colour mode"
            )
        if not words and differs("format"):
            words.append("re-encoded")
        out.append(", ".join(words) or "the same view")
    return out


def rotation(warp: np.ndarray) -> float:
    """Rotation angle of a map [2, 3], degrees."""
    return float(np.degrees(np.arctan2(warp[1, 0] - warp[0, 1], warp[0, 0] + warp[1, 1])))


def _placed(warp: np.ndarray) -> list[str]:
    """Description of the position of one image within the other."""
    scale = float(np.sqrt(abs(np.linalg.det(warp[:, :2]))))
    angle = rotation(warp)
    words = []
    if abs(angle) >= 1.0:
        words.append(f"rotated by {abs(angle):.0f}°")
    smaller = min(scale, 1 / max(scale, 1e-6))
    if smaller < 0.98:
        words.append(f"{1 - smaller:.0%} crop or border".replace("%", " %"))
    elif float(np.abs(warp[:, 2]).max()) > 0.03:
        words.append("shifted")
    return words
