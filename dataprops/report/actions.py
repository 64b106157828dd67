"""Next steps: what to do about each kind of finding, most useful first (`ACTIONS`)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

from dataprops.findings.check import first_sentence

FAULTS = {  # image faults, worded to follow "3 are"
    "clipped_range": "clipped at black and white",
    "low_contrast": "of low contrast",
    "noise": "noisy",
    "compressed": "heavily compressed",
    "odd_size": "of unusual size",
    "odd_aspect": "of unusual aspect ratio",
    "nearly_blank": "nearly blank",
    "grey_among_colour": "grey among colour images",
    "wrong_orientation": "rotated",
}
Found = pd.DataFrame


def counted(count: int, one: str, many: str) -> str:
    """'1 image', '3 images'."""
    return f"{count:,} {one if count == 1 else many}"


def _images(found: Found) -> int:
    return len({int(i) for ids in found["images"] for i in ids})


def _copies(found: Found) -> int:
    return int(sum(len(ids) - 1 for ids in found["images"] if len(ids)))


def first_detail(found: Found) -> str:
    """Detail of the first finding."""
    return str(found["detail"].iloc[0])


def _conflicts(found: Found) -> str:
    return (
        f"Relabel or remove {counted(_images(found), 'image', 'images')}: the same picture has different labels"
        if _images(found)
        else first_detail(found)
    )


def _suspects(found: Found) -> str:
    return (
        f"Check the labels of {counted(_images(found), 'image', 'images')}, the most doubtful first: the reference classifier"
        " disagrees with them"
        if _images(found)
        else first_detail(found)  # some are wrong, but none stands out
    )


def _leaks(found: Found) -> str:
    pairs = "of a pair of copies" if len(found) == 1 else f"of each of {len(found):,} pairs of copies"
    return f"Keep one image {pairs} across splits: test results are over-optimistic until then"


def clause(text: str) -> str:
    """A sentence to follow a colon: its first letter in lower case, unless it begins with an acronym or name."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _then(found: Found) -> str:
    return clause(first_detail(found))


def _bad_pictures(found: Found) -> str:
    """'4 bad pictures: 3 blurred, 1 dark'; details begin with the fault."""
    counts = found["detail"].str.split(":").str[0].value_counts()
    named = [(FAULTS.get(str(fault), str(fault).replace("_", " ")), count) for fault, count in counts.items()]
    if len(named) == 1:
        return f"{counted(_images(found), 'picture', 'pictures')} {'that is' if len(found) == 1 else 'that are'} {named[0][0]}"
    told = ", ".join(f"{count:,} {fault}" for fault, count in named)
    several = " (some in several ways)" if len(found) > _images(found) else ""
    return f"{counted(_images(found), 'bad picture', 'bad pictures')}{several}: {told}"


def _slices(found: Found) -> str:
    part, _, errs = (
        first_detail(found).removeprefix("Hard: ").rpartition(". The reference classifiers together err on ")
    )
    told = f"{part}: they err on {errs.rpartition(' (p ')[0] or errs}" if part else errs
    if len(found) == 1:
        return f"Collect more images of the subset that is hard for the classifiers, {told}"
    return f"Collect more images of the {len(found):,} subsets that are hard for the classifiers, first {told}"


def _shortcut(found: Found) -> str:
    what = "Export all classes in one format and size"
    if first_detail(found).startswith("The column "):
        what = (
            "Collect all classes from the same sites and scanners, or test on sites that are not in the training data"
        )
    return f"{what}: {clause(first_sentence(first_detail(found))[0])}"


def _patients(found: Found) -> str:
    # "would name": runs of older versions
    option, *told = re.split(r" (?:would name|matches) (?=[0-9])", first_detail(found), maxsplit=1)
    where, how = ("the file names", option) if told else ("the headers", "a manifest with them as --group-column")
    count = f"{where} seem to name {found['value'].iloc[0]:,.0f} patients, videos or the like"
    return f"Keep all images of a patient on one side of a split: {count}; if so, audit again with {how}"


# kind -> what to do, as a sentence without its full stop; most useful first
ACTIONS: dict[str, Callable[[Found], str]] = {
    "unread_labels": lambda f: (
        f"Specify the labels, or confirm that they were read correctly, and audit again: {_then(f)}"
    ),
    "narrow_range": lambda f: f"Set the range of the grey levels and audit again, before anything else: {_then(f)}",
    "spelling": lambda f: (
        f"Unify the spelling of {counted(len(f), 'class', 'classes')}, or pass --as-written: {_then(f)}"
    ),
    "label_conflicts": _conflicts,
    "split_leakage": _leaks,
    "group_leakage": lambda f: (
        f"Split by patient: {counted(len(f), 'patient has', 'patients have')} images in two splits"
    ),
    "unreadable": lambda f: f"Restore or remove {counted(len(f), 'file that cannot', 'files that cannot')} be read",
    "near_conflicts": lambda f: (
        f"Compare the labels of {counted(len(f), 'pair', 'pairs')} of near-copies with different labels"
    ),
    "classes_changed": lambda f: f"Check that the change of classes is intended: {_then(f)}",
    "harder_to_learn": lambda f: (
        f"Look at {counted(_images(f), 'image', 'images')} that made the dataset harder to learn since the previous audit:"
        " labels may be wrong, or pictures degraded"
    ),
    "detail_lost": lambda f: (
        f"Restore {counted(_images(f), 'picture', 'pictures')} that lost detail since the previous audit, if that was not intended"
    ),
    "suspect_labels": _suspects,
    "copies_across_groups": lambda f: (
        f"Find out which patient {'a pair of copies belongs' if len(f) == 1 else f'{len(f):,} pairs of copies belong'} to: the"
        " two copies are filed under different patients"
    ),
    "pixel_shortcut": lambda f: (
        f"Remove the shortcut in the pixels, or split the data so that it does not help: {_then(f)}"
    ),
    "shortcut": _shortcut,
    "unlabelled": lambda f: f"Label or remove {counted(_images(f), 'image', 'images')} without a label",
    "exact_duplicates": lambda f: (
        f"Remove {counted(_copies(f), 'redundant copy', 'redundant copies')} in {counted(len(f), 'group', 'groups')} of"
        " identical pictures"
    ),
    "near_duplicates": lambda f: (
        f"Keep one of each of {len(f):,} groups of near-identical images, or each group in one split"
        if len(f) > 1
        else f"Keep one of {_images(f):,} near-identical images, or {'both' if _images(f) == 2 else 'all of them'} in one split"
    ),
    "sharper_labels": lambda f: (
        f"Compare the labels of {counted(len(f), 'pair', 'pairs')} of similar images added since the previous audit"
    ),
    "feature_near_duplicates": lambda f: (
        f"Look at {counted(len(f), 'pair', 'pairs')} of images that your features barely distinguish"
    ),
    "image_quality": lambda f: f"Repair or remove {_bad_pictures(f)}",
    "common_faults": lambda f: f"Check whether this is intended for so many pictures: {_then(f)}",
    "group_suggestion": _patients,
    "class_imbalance": lambda f: f"Balance the classes, or weight them: {_then(f)}",
    "small_class": lambda f: (
        f"Add images to {counted(len(f), 'very small class', 'very small classes')}, or merge"
        f" {'it with another' if len(f) == 1 else 'them'}"
    ),
    "slices": _slices,
    "group_in_classes": lambda f: (
        f"Check that {counted(len(f), 'patient is', 'patients are')} supposed to have images in more than one class"
    ),
    "left_out": lambda f: (
        f"Check whether {counted(len(f), 'file that was left out belongs', 'files that were left out belong')} to the dataset"
    ),
    "several_frames": lambda f: (
        f"Audit DICOM as dicom:FOLDER, or save pages as separate files, to include every frame: only one per file was used in"
        f" {counted(len(f), 'file', 'files')}"
    ),
    "misnamed": lambda f: f"Rename {counted(len(f), 'file', 'files')} whose extension does not match the format",
    "unused_columns": lambda f: (
        f"Specify the label, split or patient column, if it is one of these: {first_detail(f).partition(': ')[2]}"
    ),
    "outliers": lambda f: f"Check whether {counted(_images(f), 'outlier belongs', 'outliers belong')} to the dataset",
}
