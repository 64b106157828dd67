"""The columns of an audit's result tables, one row for each: the reference table in `store/README.md` is made from it."""

from __future__ import annotations

from typing import NamedTuple

from dataprops.probe.record import COLUMNS as PROBE


class ResultTable(NamedTuple):
    """A table of a results folder.

    Attributes
    ----------
    row : str
        What it has one row for.
    columns : dict
        Column -> what it is.
    optional : tuple of str
        Columns that are there only where something was found.
    """

    row: str
    columns: dict[str, str]
    optional: tuple[str, ...] = ()


ORIGINAL = {  # see `imaging.measures.Measures`
    "original_mean": "mean of the grey levels of the original, as all `original_` on [0, 255]",
    "original_spread": "their standard deviation",
    "original_low": "their 1 % quantile",
    "original_high": "their 99 % quantile",
    "original_quarter": "their 25 % quantile",
    "original_white": "fraction of the pixels that are white (253 or more)",
    "original_flat": "fraction within 3 grey levels of the commonest one",
    "original_focus": "mean difference of adjacent pixels over that of pixels four apart",
    "original_noise": "standard deviation of the noise (Immerkaer 1996)",
    "original_blockiness": "step across borders of 8 x 8 blocks over that within, minus 1; NaN: reduced before",
    "original_gaps": "fraction of grey levels in its range that no pixel has; NaN: reduced before",
    "original_colour": "mean difference between adjacent channels",
    "original_grain": "noise of its smoothest eighth",
    "original_holes": "fraction of grey levels with far fewer pixels than those around them",
    "original_spikes": "fraction of grey levels with far more pixels than those around them",
    "original_quantised": "trace of JPEG: how much more often fine coefficients vanish on its grid, octaves",
    "original_clipped": "fraction of the pixels at the greatest level beyond what the levels below let expect",
    "original_step": "mean step of the JPEG that its pixels were (35 at quality 70); 0: no trace",
    "original_edges": "mean change of slope over the difference of pixels four apart, in the softer direction; NaN: small",
    "original_half_edges": "the same of means of 2 x 2 pixels, in both directions; NaN: small",
    "original_streak": "`original_edges` in the sharper direction over those in the softer one; NaN: small",
    "original_colour_grain": "`original_grain` of the difference of red and green; 0: grey",
    "original_cut_low": "fraction of the pixels at black beyond what the levels above let expect",
    "original_cut_high": "the same at white",
    "original_single": "fraction of the pixels that are black or white and far from all four beside them",
}

TABLES: dict[str, ResultTable] = {
    "run": ResultTable(
        "the audit",
        {
            "dataset": "its name in the store",
            "run_id": "name of the results folder",
            "created": "when, ISO 8601 in UTC",
            "schema": "version of these tables",
            "version": "of dataprops",
            "source": "what was audited, without passwords",
            "n_images": "images found, readable or not",
            "n_unreadable": "of them, those that cannot be read",
            "label_kind": "classes, numbers or none",
            "size": "side of the canonical image, pixels",
            "channels": "of the canonical image",
            "scale": "full-range or per-image-max",
            "previous": "run that it is compared with; null: the first",
            "options": "all options, JSON",
            "summary": "what `--json` prints",
        },
    ),
    "properties": ResultTable(
        "a property of the set",
        {
            "property": "its name, see above",
            "value": "NaN where it cannot be estimated",
            "se": "standard error; of `label_sharpness.sample` and `.m*` the standard deviation over draws",
            "n": "images that were used",
            "k": "neighbours; 0: none",
            "m": "size of samples; 0: none",
            "low": "lower end of the 95 % interval",
            "high": "upper end of the 95 % interval",
            "note": "why a value is missing, or a caveat",
        },
    ),
    "images": ResultTable(
        "an image found, readable or not",
        {
            "image": "its number, which other tables name",
            "path": "relative to the source",
            "label": "as the source has it",
            "split": "train, val, test, or as named",
            "group": "patient or other group that belongs together",
            "y": "code of the class, or the number",
            "content": "BLAKE2b of the file",
            "bytes": "size of the file",
            "study": "salted hash of the DICOM study",
            "series": "salted hash of the DICOM series",
            "frames": "frames of the file",
            "pixels": "BLAKE2b of the canonical image; null: unreadable",
            "format": "of the file",
            "mode": "kind of its pixels",
            "width": "of the original, pixels",
            "height": "of the original, pixels",
            "peak": "largest grey level of the canonical image",
            "error": "why it cannot be read",
            "jpeg_step": "mean step of a JPEG's first quantisation table (35 at quality 70); null: no JPEG, or read before",
            **ORIGINAL,
            "duplicate_of": "first image with the same pixels; -1: none",
            "neighbour": "nearest other image; -1: none",
            "neighbour_distance": "distance to it",
            "knn_distance": "distance to the k-th distinct image",
            "local_dimension": "intrinsic dimension around it, MLE",
            "sharpness": "K_j: 1 / distance to the nearest image of another class",
            "sharpest_image": "that image; -1: none",
            "sharpest_distance": "distance to it",
        },
    ),
    "neighbours": ResultTable(
        "a neighbour of an image",
        {
            "image": "whose",
            "rank": "1 to k; ties by the number of the image",
            "neighbour": "which",
            "distance": "0 for exact duplicates",
        },
    ),
    "pairs": ResultTable(
        "a near-identical pair of distinct pictures, or one of the 50 sharpest",
        {
            "kind": "near_duplicate or sharpest",
            "a": "an image",
            "b": "the other",
            "path_a": "path of a",
            "path_b": "path of b",
            "label_a": "label of a",
            "label_b": "label of b",
            "distance": "between them",
            "sharpness": "of a sharpest pair: rise of the label over the distance",
            "rms": "of near-copies: root-mean-square difference after alignment, grey levels",
            "detail": "of near-copies: correlation of the fine detail",
            "what": "of near-copies: what lies between the two, in words",
            "series": "of near-copies: whether both are of one series of slices or frames",
        },
        optional=("rms", "detail", "what", "series"),
    ),
    "probe": ResultTable("an image that took part in the reference classifier", PROBE),
    "findings": ResultTable(
        "a fact",
        {
            "kind": "see `findings/`",
            "severity": "info, warning or critical",
            "images": "ids of the images that show it",
            "paths": "their paths",
            "value": "its size, where it has one",
            "detail": "in words",
        },
    ),
    "alerts": ResultTable(
        "a failed check, or a prediction to look at",
        {
            "severity": "info, warning or critical",
            "name": "of the check or prediction",
            "sentence": "in words",
            "measure": "what was looked at",
            "value": "measured",
            "threshold": "tolerated",
            "images": "ids of the evidence, 20 at most",
            "paths": "their paths",
            "findings": "facts that show it, in all",
        },
    ),
    "checks": ResultTable(
        "an expectation",
        {
            "check": "its name, see `checks/`",
            "table": "what it looks at",
            "measure": "number or column",
            "value": "measured",
            "min": "least that is tolerated",
            "max": "most that is tolerated",
            "severity": "of the alert",
            "success": "null: it does not apply",
            "title": "what is expected",
        },
    ),
    "shortcuts": ResultTable(
        "a property of the files, or a column of the manifest, that might tell the class",
        {
            "property": "its name; of a column: column “NAME”",
            "balanced_accuracy": "of a shallow tree on it alone (of categories: of the class seen with each), cross-validated",
            "chance": "what guessing gives",
            "score": "(balanced accuracy - chance) / (1 - chance)",
        },
    ),
}
