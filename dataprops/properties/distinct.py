"""Map images to the rows of a pass, and results back to images.

A *row* is a distinct (canonical pixels, label), so that exact duplicates are computed once, and identical images with different labels
are each compared with every label. Rows are numbered in the order of their first image, so ties by index agree for rows and images.
One row per distinct image is *primary* and may appear in neighbour lists.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.distances.kernel import EMPTY


class Distinct(NamedTuple):
    """Rows of a pass and their images.

    Attributes
    ----------
    images : int64 [m]
        Ids of the readable images, ascending.
    row : int32 [m]
        Row of each image.
    first : int64 [n]
        First image of each row, ascending.
    pixels : str [n]
        Content of each row.
    y : float64 [n]
        Label of each row.
    primary : bool [n]
        First row of its content.
    content_row : int32 [n]
        The primary row with the same content.
    """

    images: np.ndarray
    row: np.ndarray
    first: np.ndarray
    pixels: np.ndarray
    y: np.ndarray
    primary: np.ndarray
    content_row: np.ndarray

    @property
    def n(self) -> int:
        return len(self.first)


def distinct_rows(images: pd.DataFrame) -> Distinct:
    """Number the rows of a pass over the readable images of an `images` table (columns image, pixels, y)."""
    readable = images[images["pixels"].notna()]
    ids = readable["image"].to_numpy(np.int64)
    pixels = readable["pixels"].to_numpy(object)
    y = readable["y"].to_numpy(np.float64)
    content, _ = pd.factorize(pixels)
    label, _ = pd.factorize(y, use_na_sentinel=False)  # all unlabelled images share one code
    # factorize numbers by first appearance, so rows are ordered by their first image
    row, _ = pd.factorize(content.astype(np.int64) * (label.max(initial=0) + 1) + label)
    first_at = np.unique(row, return_index=True)[1]
    row_content = content[first_at]
    primary_at = np.full(content.max(initial=-1) + 1, -1, np.int64)
    primary_at[row_content[::-1]] = np.arange(len(first_at))[::-1]
    content_row = primary_at[row_content].astype(np.int32)
    return Distinct(
        ids,
        row.astype(np.int32),
        ids[first_at],
        pixels[first_at],
        y[first_at],
        content_row == np.arange(len(first_at)),
        content_row,
    )


def duplicate_of(rows: Distinct) -> np.ndarray:
    """The first image with the same pixels as each readable image, int64 [m]."""
    return rows.first[rows.content_row[rows.row]]


def image_neighbours(
    rows: Distinct, asked: np.ndarray, near_d2: np.ndarray, near_row: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest neighbours of some readable images, with duplicates at distance 0 and ties broken by image id.

    Parameters
    ----------
    rows : Distinct
    asked : int [a]
        Positions in `rows.images`.
    near_d2, near_row : float64, int32 [a, K], K >= k
        Nearest primary rows of each, ascending; empty slots are (inf, EMPTY).
    k : int

    Returns
    -------
    neighbour : int64 [a, k]
        Image ids; -1 in empty slots.
    distance : float64 [a, k]
        Euclidean, grey levels; NaN in empty slots.
    """
    m = len(asked)
    k_in = min(k, near_row.shape[1])
    near_row, near_d2 = near_row[:, :k_in], near_d2[:, :k_in]
    known = near_row != EMPTY
    neighbour = np.full((m, k), -1, np.int64)
    distance = np.full((m, k), np.nan)
    safe = np.where(known, near_row, 0)
    neighbour[:, :k_in] = np.where(known, rows.first[safe] if rows.n else -1, -1)
    distance[:, :k_in] = np.where(known, np.sqrt(near_d2), np.nan)

    content = rows.content_row[rows.row]  # of each image
    copies = np.bincount(content, minlength=rows.n)
    affected = (copies[content[asked]] > 1) | np.any(known & (copies[safe] > 1), axis=1)
    if not affected.any():
        return neighbour, distance
    by_content = np.argsort(content, kind="stable")  # images of one content together, ascending
    starts = np.concatenate([[0], np.cumsum(copies)])
    for i in np.nonzero(affected)[0]:
        sources = np.concatenate([[content[asked[i]]], near_row[i][known[i]]])
        d2 = np.concatenate([[0.0], near_d2[i][known[i]]])
        # at most k + 1 copies of one content matter for the k nearest
        lists = [by_content[starts[c] : min(starts[c + 1], starts[c] + k + 1)] for c in sources]
        members = np.concatenate(lists)
        member_d2 = np.repeat(d2, [len(part) for part in lists])
        other = members != asked[i]
        members, member_d2 = members[other], member_d2[other]
        order = np.lexsort((members, member_d2))[:k]
        neighbour[i] = -1
        distance[i] = np.nan
        neighbour[i, : len(order)] = rows.images[members[order]]
        distance[i, : len(order)] = np.sqrt(member_d2[order])
    return neighbour, distance
