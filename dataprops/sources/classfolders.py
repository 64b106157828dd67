"""Which level of the folders below the splits is the class, and the decisions about it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from dataprops.sources.account import IN_DOUBT, Decision
from dataprops.sources.labels import words_of
from dataprops.sources.levels import (
    NAMED,
    PLAIN,
    SIZE,
    VARIANTS,
    are_drawers,
    are_parts,
    few_of,
    inside_of,
    is_chunk,
    without_parts,
)
from dataprops.sources.masks import IMAGE_FOLDER
from dataprops.sources.splitnames import FILLERS, split_of
from dataprops.sources.subjects import BIDS, SUBJECT, are_subjects, classes_of_subjects
from dataprops.sources.table import shown

UNLABELLED = frozenset(("unlabeled", "unlabelled"))
# folders beside classes that are not classes themselves ("train" may be one: the vehicle)
ASIDE = frozenset(("test", "testing", "val", "validation"))
IMAGES = frozenset(("image", "images", "img", "imgs", "pictures", "photos"))
LEAST_NUMBERS = 3  # numbered names with a common stem; fewer may be classes: Type_1, Type_2
FEW = 200  # largest number of folders below the classes that may themselves be the classes
MANY, ALONE = 12, 0.8  # folders are not classes if there are this many, and this fraction of them hold one image each


def classes_of_folders(
    rests: list[list[str]], split: list[str | None], before: str = "", between: str = ""
) -> tuple[list[str | None], list[str | None], list[Decision], int]:
    """Class and group of each image from its remaining folders.

    Parameters
    ----------
    rests : list of list of str
        Each image's folders below those that are assigned already.
    split : list
        Each image's split, or None.
    before : str
        The levels above these folders, in the notation of --layout.
    between : str
        The level between these folders and the next ones.

    Returns
    -------
    label, group : list
        Of each image; None if unknown.
    decisions : list of Decision
    depth : int
        Level of the class, counted from the first of `rests`.
    """
    if are_drawers(rests):
        label, group, told, depth = classes_of_folders([rest[1:] for rest in rests], split, f"{before}*/", between)
        return label, group, told, depth + 1
    rests = without_parts(rests, split)
    tops = Counter(rest[0] for rest in rests if rest)
    none: list[str | None] = [None] * len(rests)
    if not tops:
        return none, none, [], 0
    if are_subjects(tops, rests):
        group = [shown(rest[0]) if rest else None for rest in rests]
        bids = all(BIDS.fullmatch(top) for top in tops)
        label = none if bids else classes_of_subjects(rests)
        told = [Decision("groups", f"{len(tops):,} subjects", f"folders such as {shown(min(tops))}", "--layout")]
        if not any(label):
            told.append(Decision("classes", "none", "the folders are subjects", "--layout"))
            return label, group, told, 0
        return label, group, [*told, _named_classes(label)], 1
    alone = sum(number == 1 for number in tops.values())
    if len(tops) >= MANY and alone >= ALONE * len(tops):
        why = f"{alone:,} of {len(tops):,} folders such as {shown(min(tops))} hold one image each"
        return none, none, [Decision("classes", "none", why, "--layout")], 0
    inside = inside_of(rests)
    common = set.intersection(*inside.values()) if inside else set()
    variants = len(common) > 1 and _are_variants(tops)
    if len(tops) > 1 and (variants or all(is_chunk(top) for top in tops) or are_parts(tops)):
        why = f"folders such as {shown(min(tops))} are parts of one dataset"
        inner = [shown(rest[1]) if len(rest) > 1 and not PLAIN.fullmatch(rest[1]) else None for rest in rests]
        made = _named_classes(inner, f"; {why}") if any(inner) else Decision("classes", "none", why, "--layout")
        return inner, none, [made], 1
    (first, *_) = tops
    plain = PLAIN.fullmatch(first) or IMAGE_FOLDER.search(first)
    if len(tops) == 1 and plain and all(len(rest) <= 1 for rest in rests):
        return none, none, [Decision("classes", "none", f"one folder {next(iter(tops))}", "--layout")], 0
    aside = {top for top in tops if ASIDE & set(words_of(top)) and split_of(top) and len(tops) > 2 and not any(split)}
    named = {top: None if UNLABELLED & set(words_of(top)) or top in aside else shown(top) for top in tops}
    label = [named[rest[0]] if rest else None for rest in rests]
    # "test" beside others: their names may be splits in another language
    level = "split" if not any(split) and any(map(split_of, tops)) else "*"
    deeper = _deeper(rests, f"{before}{level}{between}/")
    told = [_named_classes(label), *([] if deeper is None else [deeper])]
    if unnamed := [top for top in tops if named[top] is None]:
        told[0] = told[0]._replace(
            why=f"{told[0].why}; {few_of(unnamed)}: {'not a class' if len(unnamed) == 1 else 'not classes'}"
        )
    return label, none, told, 0


def _are_variants(tops: Iterable[str]) -> bool:
    """Whether folders hold sizes or processed variants of the same pictures, named by variant and at most one common word more.

    >>> _are_variants(["AugmentedBrainDataset", "OriginalDataset"]), _are_variants(["ill cropped", "well cropped"])
    (True, False)
    """
    words = [set(words_of(top)) - FILLERS for top in tops]
    done = {frozenset(some & VARIANTS) for some in words}
    if len(done) == len(words) and frozenset() not in done and len(set[str]().union(*words) - VARIANTS) <= 1:
        return True
    return all(SIZE.fullmatch(top) or (words_of(top) and set(words_of(top)) <= VARIANTS | FILLERS) for top in tops)


def _deeper(rests: list[list[str]], before: str) -> Decision | None:
    """A decision in doubt if folders below the classes may be the actual classes, else None."""
    inside = inside_of(rests)
    below = set().union(*inside.values())
    if len(below) == 1 and PLAIN.fullmatch(min(below)):  # amazon/images/mug
        return _deeper([[rest[0], *rest[2:]] for rest in rests if rest], f"{before}*/")
    common = set.intersection(*inside.values()) if inside else set()
    option = f"--layout '{before}class'"
    if any(SUBJECT.fullmatch(name) for names in inside.values() for name in names):
        return None
    if all(re.fullmatch(r"\d+ ?[-_] ?\d+", name) for name in below):  # 0001-1000
        return None
    if below and all(_is_take(top, name) for top, names in inside.items() for name in names):
        return None
    if len(inside) > 1 and len(common) > 1:
        pictures = [name for name in common if PLAIN.fullmatch(name)]
        if len(pictures) == 1:
            why = f"each class folder contains {few_of(common)}; {shown(pictures[0])} may hold the images"
            return Decision("images", IN_DOUBT, why, f"--include {shlex.quote(shown(pictures[0]))}")
        return Decision(
            "classes", IN_DOUBT, f"each class folder contains {few_of(common)}, which may be the classes", option
        )
    if not 1 < len(below) <= min(FEW, len(rests) / 2):
        return None
    if all(IMAGES & set(words_of(name)) for name in below):  # data_C1/images_C1
        why = f"the class folders contain {few_of(below)}: they may be parts of one dataset"
        return Decision("classes", IN_DOUBT, why, "--layout none")
    return Decision("classes", IN_DOUBT, f"the class folders contain {few_of(below)}, which may be the classes", option)


def _is_take(top: str, name: str) -> bool:
    """Whether a folder is named after its class, plus numbers and single letters: ``Biking/v_Biking_g01_c02``."""
    if not top:  # object stores allow folders without a name
        return False
    before, found, after = name.lower().partition(top.lower())
    rest = f"{before} {after}"
    return bool(found) and re.search("\\d", rest) is not None and not re.search("[a-z]{2}", rest)


def _named_classes(label: Sequence[str | None], more_evidence: str = "") -> Decision:
    names = sorted({name for name in label if name is not None})
    more = f", ... ({len(names):,} in all)" if len(names) > NAMED else ""
    why = "folder names" if len(names) != 1 else "the name of the only folder"
    return Decision("classes", ", ".join(names[:NAMED]) + more, f"{why}{more_evidence}{_by_number(names)}", "--layout")


def _by_number(names: Sequence[str]) -> str:
    """A remark if class names differ only in a trailing number, several per stem, as those of patients or takes; else "".

    >>> _by_number(["AMD1", "AMD2", "AMD3", "DME1", "DME2", "DME3"])
    "; without their numbers they are AMD, DME (--label-pattern '([^/0-9]*[^/0-9_. -])[-_. ]?[0-9]+/' if those are the classes)"
    >>> _by_number(["1", "2", "3"]), _by_number(["n01", "cat"]), _by_number(["video01", "video02", "video03"])
    ('', '', '; all are named video plus a number, like patients or takes')
    """
    found = [re.fullmatch(r"(\D*[^\d_. -])[-_. ]?\d+", name) for name in names]
    stems = Counter("" if one is None else one[1] for one in found)
    if not stems or "" in stems or min(stems.values()) < LEAST_NUMBERS:
        return ""
    if len(stems) == 1:
        return f"; all are named {shown(min(stems))} plus a number, like patients or takes"
    pattern = "([^/0-9]*[^/0-9_. -])[-_. ]?[0-9]+/"
    return f"; without their numbers they are {few_of(stems)} (--label-pattern '{pattern}' if those are the classes)"
