"""Detection of patient folders: by name (BIDS, ``patient001``), as ids that differ in their digits, or by their content."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from dataprops.sources.account import Decision
from dataprops.sources.labels import words_of
from dataprops.sources.levels import ALIKE, CHUNKS, NAMED, inside_of
from dataprops.sources.table import shown

SUBJECT = re.compile(
    r"(?:sub|subj|subject|patient|pat|pt|case|volunteer|participant)[-_ ]?\d[\w-]*|p\d{5,}|\d{3}_S_\d+", re.IGNORECASE
)
BIDS = re.compile(r"sub-[A-Za-z0-9]+")
BIDS_OTHERS = frozenset({"derivatives", "sourcedata", "code", "stimuli"})
NUMBERED = re.compile(r"(.*[A-Za-z][-_])\d{3,}")
# Ids that differ only in their digits: LIDC-IDRI-0001 and IMD002, TCGA_CS_4941_19960909, DICOM UIDs. Lower-case words with one
# number, Sample001 and n01440764, are as often classes
CODE = re.compile(r"(?=(?:[^A-Z]*[A-Z]){2}|.*\d{3,}\D+\d{3,}|\d{6,}\D)(?=.*\d{3})[A-Z0-9_@.-]+|\d+(?:\.\d+){4,}")
# Numbered patient folders, and words of numbered folders that are classes
PERSON = re.compile(r"[A-Za-z]{0,4}[-_ ]?\d{3,}[\w-]*")
CLASS_WORDS = frozenset(("class", "category", "label", "grade", "stage", "level", "type", "kl", "birads", "score"))


def subjects_below(rests: Sequence[Sequence[str]]) -> tuple[list[str | None], Decision] | None:
    """Patients from folders below the classes, such as ``XR_HAND/patient00011``; None without such folders.

    Numbering may restart in each class, so the group includes the parent folders.

    >>> subjects_below([["a", "patient1"], ["a", "patient2"]])[0], subjects_below([["a", "b"]])
    (['a/patient1', 'a/patient2'], None)
    """
    for level in range(max(map(len, rests), default=0)):
        names = [rest[level] for rest in rests if len(rest) > level]
        fit = [name for name in names if SUBJECT.fullmatch(name) or BIDS.fullmatch(name)]
        if level and not fit and _are_numbers_of_people(rests, level):
            fit = names
        if len(fit) >= ALIKE * len(rests) and len(set(fit)) > 1:
            group = [shown("/".join(rest[: level + 1])) if len(rest) > level else None for rest in rests]
            number = len({name for name in group if name is not None})
            why = f"folders such as {shown(min(fit))}"
            return group, Decision("groups", f"{number:,} subjects", why, "--layout, --group-pattern")
    return None


def _are_numbers_of_people(rests: Sequence[Sequence[str]], level: int) -> bool:
    """Whether the folders at a level are numbers or ids, many per class and each with a small fraction of its images:
    ``benign/101/1.png``, ``airport/airport_0/1.png``.
    """
    inside: dict[str, Counter[str]] = defaultdict(Counter)
    for rest in rests:
        if len(rest) > level:
            inside["/".join(rest[:level])][rest[level]] += 1
    names_of = [(posixpath.basename(above), name) for above, names in inside.items() for name in names]
    whole = [re.sub(rf"{re.escape(above)}[-_ ](?=\d+$)", "", name) for above, name in names_of]
    words = {word for name in whole for word in words_of(name)}
    ids = all(re.fullmatch(r"\d+", name) for name in whole) or (
        all(map(PERSON.fullmatch, whole)) and not (CLASS_WORDS | CHUNKS) & words
    )
    ids = ids or _are_codes(sorted(set(whole)))
    few = all(len(names) > NAMED and max(names.values()) <= names.total() / NAMED for names in inside.values())
    return ids and few and len({name for _, name in names_of}) > len(names_of) / 2


def are_subjects(tops: Counter[str], rests: list[list[str]]) -> bool:
    names = [top for top in tops if top.lower() not in BIDS_OTHERS]
    if not names:
        return False
    if all(BIDS.fullmatch(name) for name in names):
        return True
    if len(names) > 1 and sum(1 for name in names if SUBJECT.fullmatch(name)) >= ALIKE * len(names):
        return True
    if _are_numbered_people(names, rests) or _are_codes(names):
        return True
    prefixes = {found[1] for name in names if (found := NUMBERED.fullmatch(name))}
    deep = sum(1 for rest in rests if len(rest) > 2)
    return (
        len(prefixes) == 1
        and len(names) > 4
        and all(NUMBERED.fullmatch(name) for name in names)
        and deep >= ALIKE * len(rests)
    )


def _are_codes(names: list[str]) -> bool:
    """Whether folder names are ids that differ only in their digits.

    >>> _are_codes([f"LIDC-IDRI-{n:04d}" for n in range(9)]), _are_codes([f"n{n:08d}" for n in range(9)])
    (True, False)
    """
    shapes = {re.sub(r"\d+", "0", name) for name in names}
    words = {word for name in names for word in words_of(name)}
    return len(names) > NAMED and len(shapes) == 1 and all(map(CODE.fullmatch, names)) and not CLASS_WORDS & words


def _are_numbered_people(names: list[str], rests: list[list[str]]) -> bool:
    """Whether folders are numbered patients, each with folders of the same few classes: ``10253/0/``, ``10253/1/``."""
    if len(names) <= NAMED or not all(
        PERSON.fullmatch(name) and not CLASS_WORDS & set(words_of(name)) for name in names
    ):
        return False
    inside = inside_of(rests)
    owners = Counter(inner for name in names for inner in inside[name])
    deep = sum(1 for rest in rests if len(rest) > 1)
    often = [inner for inner, number in owners.items() if number >= len(names) / 2]
    return len(often) > 1 and len(owners) <= len(names) / 2 and deep >= ALIKE * len(rests)


def classes_of_subjects(rests: list[list[str]]) -> list[str | None]:
    """Classes from folders below subjects, if several subjects have the same ones."""
    subjects: dict[str, set[str]] = defaultdict(set)
    for rest in rests:
        if len(rest) > 1:
            subjects[rest[1]].add(rest[0])
    common = {name for name, owners in subjects.items() if len(owners) > 1}
    takes = all(re.fullmatch(r"0\d{2,}", name) for name in common)  # takes of one person: S005/001
    if takes or len(common) < 2 or len(common) < ALIKE * len(subjects):
        return [None] * len(rests)
    return [shown(rest[1]) if len(rest) > 1 else None for rest in rests]
