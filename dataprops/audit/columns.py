"""Descriptions of the columns of an audit's result tables; the reference table in `store/README.md` is generated from them."""

from __future__ import annotations

from typing import NamedTuple

from dataprops.probe.record import COLUMNS as PROBE


class ResultTable(NamedTuple):
    """A table of a results folder.

    Attributes
    ----------
    row : str
        What a row stands for.
    columns : dict
        Column -> description.
    optional : tuple of str
        Columns that exist only if something was found.
    """

    row: str
    columns: dict[str, str]
    optional: tuple[str, ...] = ()


ORIGINAL = {  # see `imaging.measures.Measures`
    "original_mean": "mean grey level of the original; all `original_` columns are on [0, 255]",
    "original_spread": "standard deviation of its grey levels",
    "original_low": "1 % quantile of its grey levels",
    "original_high": "99 % quantile of its grey levels",
    "original_quarter": "25 % quantile of its grey levels",
    "original_white": "fraction of white pixels (253 or more)",
    "original_flat": "fraction of pixels within 3 grey levels of the mode",
    "original_focus": "mean difference of adjacent pixels over that of pixels four apart",
    "original_noise": "standard deviation of the noise (Immerkaer 1996)",
    "original_blockiness": "step across 8 x 8 block boundaries over that inside, minus 1; NaN: downsampled first",
    "original_gaps": "fraction of empty grey levels within its range; NaN: downsampled first",
    "original_colour": "mean difference between adjacent channels",
    "original_grain": "noise of its smoothest eighth",
    "original_holes": "fraction of grey levels with far fewer pixels than their neighbours",
    "original_spikes": "fraction of grey levels with far more pixels than their neighbours",
    "original_quantised": "JPEG trace: excess of vanishing high-frequency coefficients on the block grid, octaves",
    "original_clipped": "fraction of pixels at the highest level in excess of that expected from the levels below",
    "original_step": "mean quantisation step of a former JPEG, from the pixels (35 at quality 70); 0: no trace",
    "original_edges": "mean second difference over the difference of pixels four apart, in the softer direction; NaN: small",
    "original_half_edges": "the same at half resolution (2 x 2 means), both directions; NaN: small",
    "original_streak": "`original_edges` in the sharper direction over that in the softer one; NaN: small",
    "original_colour_grain": "`original_grain` of red minus green; 0: grey",
    "original_cut_low": "fraction of black pixels in excess of that expected from the levels above",
    "original_cut_high": "fraction of white pixels in excess of that expected from the levels below",
    "original_single": "fraction of black or white pixels far from all four neighbours",
}

TABLES: dict[str, ResultTable] = {
    "run": ResultTable(
        "the audit",
        {
            "dataset": "name of the dataset in the store",
            "run_id": "name of the results folder",
            "created": "start time, ISO 8601 in UTC",
            "schema": "version of these tables",
            "version": "version of dataprops",
            "source": "what was audited, without passwords",
            "n_images": "images found, readable or not",
            "n_unreadable": "unreadable images among them",
            "label_kind": "classes, numbers or none",
            "size": "side of the canonical image, pixels",
            "channels": "channels of the canonical image",
            "scale": "full-range or per-image-max",
            "previous": "run it is compared with; null: first run",
            "options": "all options, JSON",
            "summary": "the summary, JSON (as `--json` prints it)",
        },
    ),
    "properties": ResultTable(
        "a property of the dataset",
        {
            "property": "name of the property, see above",
            "value": "NaN if it cannot be estimated",
            "se": "standard error; for `label_sharpness.sample` and `.m*` the standard deviation over draws",
            "n": "images used",
            "k": "number of neighbours; 0: not applicable",
            "m": "sample size; 0: not applicable",
            "low": "lower end of the 95 % interval",
            "high": "upper end of the 95 % interval",
            "note": "why a value is missing, or a caveat",
        },
    ),
    "images": ResultTable(
        "an image found, readable or not",
        {
            "image": "image id, used in the other tables",
            "path": "path relative to the source",
            "label": "label as in the source",
            "split": "train, val, test, or as named",
            "group": "patient, or other group of related images",
            "y": "class code, or numeric label",
            "content": "BLAKE2b of the file",
            "bytes": "file size",
            "study": "salted hash of the DICOM study",
            "series": "salted hash of the DICOM series",
            "frames": "number of frames in the file",
            "pixels": "BLAKE2b of the canonical image; null: unreadable",
            "format": "file format",
            "mode": "pixel mode",
            "width": "width of the original, pixels",
            "height": "height of the original, pixels",
            "peak": "largest grey level of the canonical image",
            "error": "why it cannot be read",
            "jpeg_step": "mean of the JPEG's first quantisation table (35 at quality 70); null: not JPEG, or an older version",
            **ORIGINAL,
            "duplicate_of": "first image with the same pixels; -1: none",
            "neighbour": "nearest other image; -1: none",
            "neighbour_distance": "distance to `neighbour`",
            "knn_distance": "distance to the k-th distinct image",
            "local_dimension": "local intrinsic dimension, MLE",
            "sharpness": "K_j: 1 / distance to the nearest image of another class",
            "sharpest_image": "that image; -1: none",
            "sharpest_distance": "distance to `sharpest_image`",
        },
    ),
    "neighbours": ResultTable(
        "a neighbour of an image",
        {
            "image": "image id",
            "rank": "1 to k; ties by image id",
            "neighbour": "id of the neighbour",
            "distance": "distance; 0 for exact duplicates",
        },
    ),
    "pairs": ResultTable(
        "a near-identical pair of distinct pictures, or one of the 50 sharpest",
        {
            "kind": "near_duplicate or sharpest",
            "a": "id of the first image",
            "b": "id of the second image",
            "path_a": "path of a",
            "path_b": "path of b",
            "label_a": "label of a",
            "label_b": "label of b",
            "distance": "distance between a and b",
            "sharpness": "sharpest pairs: label difference over distance",
            "rms": "near-copies: root-mean-square difference after alignment, grey levels",
            "detail": "near-copies: correlation of the fine detail",
            "what": "near-copies: the difference between the two, in words",
            "series": "near-copies: whether both belong to one series of slices or frames",
        },
        optional=("rms", "detail", "what", "series"),
    ),
    "probe": ResultTable("an image used by the reference classifier", PROBE),
    "findings": ResultTable(
        "a finding",
        {
            "kind": "kind of finding, see `findings/`",
            "severity": "info, warning or critical",
            "images": "ids of the images concerned",
            "paths": "paths of these images",
            "value": "size of the effect, if any",
            "detail": "description",
        },
    ),
    "alerts": ResultTable(
        "a failed check, or a significant prediction",
        {
            "severity": "info, warning or critical",
            "name": "name of the check or prediction",
            "sentence": "description",
            "measure": "measure checked",
            "value": "measured value",
            "threshold": "violated bound",
            "images": "ids of the images in evidence, at most 20",
            "paths": "paths of these images",
            "findings": "total number of findings in evidence",
        },
    ),
    "checks": ResultTable(
        "a check",
        {
            "check": "name of the check, see `checks/`",
            "table": "table checked",
            "measure": "measure or column checked",
            "value": "measured value",
            "min": "lower bound",
            "max": "upper bound",
            "severity": "severity of its alert",
            "success": "whether it passed; null: not applicable",
            "title": "the expectation, in words",
        },
    ),
    "shortcuts": ResultTable(
        "a file property or manifest column that might predict the class",
        {
            "property": "name of the property; for a column: column “NAME”",
            "balanced_accuracy": "cross-validated balanced accuracy of a shallow tree on it alone (categories: majority class)",
            "chance": "balanced accuracy of guessing",
            "score": "(balanced accuracy - chance) / (1 - chance)",
        },
    ),
}
