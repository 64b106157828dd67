"""Inference of class, split and patient from folder names: one rule for folders, archives and URLs.

In order: wrapper folders around all images are dropped; a nested copy of the dataset is left out; folders with split names are
splits if all top-level folders are, or several of them (`splitfolders`); folders named like subjects (BIDS, ``patient001``) are
groups, not classes (`subjects`); the first remaining level, except for numbered parts (`levels`), is the class (`classfolders`).
``--layout split/class`` overrides the inference.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dataprops.errors import DatapropsError
from dataprops.imaging import dicom_header
from dataprops.sources.account import IN_DOUBT, Decision
from dataprops.sources.classfolders import classes_of_folders
from dataprops.sources.levels import ALIKE, drawers_of_names, few_of, is_chunk
from dataprops.sources.splitfolders import splits_of_folders
from dataprops.sources.splitnames import split_of
from dataprops.sources.subjects import BIDS, SUBJECT, subjects_below
from dataprops.sources.table import shown
from dataprops.sources.versions import class_of, versions

WORDS = ("class", "split", "group", "*")


class Structure(NamedTuple):
    """Class, split and patient inferred from folders.

    Attributes
    ----------
    root : str
        Wrapper folders around all images, with a trailing slash.
    label, split, group : list
        Value of each image; None without one.
    depth : int
        Level of the class folders below the root.
    decisions : list of Decision
    """

    root: str
    label: list[str | None]
    split: list[str | None]
    group: list[str | None]
    depth: int
    decisions: list[Decision]


def common_root(keys: Sequence[str]) -> str:
    """Wrapper folders around all images that are not classes: every image lies at least one folder deeper.

    >>> common_root(["scans/cat/a.png", "scans/dog/b.png"]), common_root(["cat/a.png"]), common_root(["train/cat/a.png"])
    ('scans/', '', '')
    """
    root = ""
    while keys:
        rest = [key[len(root) :] for key in keys]
        tops = {name.partition("/")[0] for name in rest}
        if len(tops) != 1 or not all(name.count("/") > 1 for name in rest):
            break
        (top,) = tops
        if split_of(top) is not None or BIDS.fullmatch(top) or SUBJECT.fullmatch(top):
            break
        root += f"{top}/"
    return root


def second_copies(keys: Sequence[str]) -> dict[str, str]:
    """Images in a folder that contains a copy of the dataset: key -> that folder.

    >>> second_copies(["a/1.png", "b/2.png", "set/a/1.png", "set/b/2.png"])
    {'set/a/1.png': 'set', 'set/b/2.png': 'set'}
    >>> second_copies(["all/1.png", "all/2.png", "train/a/1.png", "test/a/2.png"])
    {'all/1.png': 'all', 'all/2.png': 'all'}
    """
    root = common_root(keys)
    below: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        top, slash, _ = key[len(root) :].partition("/")
        if slash:
            below[top].append(key[len(root) :])
    if (top := _splits_again(below)) is not None:
        return {root + name: root + top for name in below[top]}
    everything = {key[len(root) :] for key in keys}
    for top, names in below.items():
        if len(names) > 0.6 * len(keys):
            continue
        inner = [name[len(top) + 1 :] for name in names]
        outside = len(everything) - len(names)
        inner_root = common_root(inner)
        for cut in dict.fromkeys((0, len(inner_root))):
            rest = [name[cut:] for name in inner]
            again = sum(1 for name in rest if "/" in name and name in everything and not name.startswith(f"{top}/"))
            if again >= ALIKE * len(rest) and again >= 0.5 * outside:
                return {root + name: root + top for name in names}
    return {}


def _splits_again(below: Mapping[str, Sequence[str]]) -> str | None:
    """The folder that holds the files of all splits again: ``all/cat/1.png`` or ``all/1.png`` beside ``train/cat/1.png``."""
    splits = [top for top in below if split_of(top) is not None]
    others = [name.split("/") for top in splits for name in below[top]] if len(splits) > 1 else []
    for first in (-1, 1):  # of the parts of a path: its file name, or all below the first folder
        known = {tuple(parts[first:]) for parts in others}
        if not known or len(known) < len(others):
            continue
        for top in sorted(below.keys() - set(splits)):
            own = {tuple(name.split("/")[first:]) for name in below[top]}
            flat = all(name.count("/") == 1 for name in below[top])
            if flat == (first == -1) and len(own & known) >= ALIKE * max(len(own), len(known)):
                return top
    return None


def infer(keys: Sequence[str], layout: str | None = None) -> Structure:
    """Infer the structure of a dataset from the paths of its images.

    Parameters
    ----------
    keys : sequence of str
        Relative paths with forward slashes.
    layout : str, optional
        Meaning of the folder levels, from the top: words of `WORDS` separated by slashes, or "none".

    Raises
    ------
    DatapropsError
        If the layout is invalid.
    """
    if layout:
        return _as_told(keys, layout)
    root = common_root(keys)
    folders = [key[len(root) :].split("/")[:-1] for key in keys]
    doubled = len({folder[0] for folder in folders if folder}) > 1 and all(one[:1] == one[1:2] for one in folders)
    folders = [folder[1:] for folder in folders] if doubled else folders  # a/a, b/b
    peeled = _without_versions(keys, folders)
    split, rests, depth = splits_of_folders(folders if peeled is None else peeled)
    drawers = drawers_of_names(rests, keys)
    rests = [rest[drawers:] for rest in rests]
    decisions = []
    if peeled is not None:
        tops = sorted({folder[0] for folder in folders if folder})
        why = f"{few_of(tops)}: their files have the same names, and one folder is named after processing"
        decisions.append(Decision("classes", "not of the first folders", why, "--layout"))
    if any(split):
        names = Counter(name for name in split if name)
        value = ", ".join(f"{name} {count:,}" for name, count in names.items())
        alone = sum(1 for name in split if name is None)
        why = "folders are named like splits" + (f"; {alone:,} images lie in none of them" if alone else "")
        decisions.append(Decision("splits", value, why, "--layout"))
    before = "*/" * (root.count("/") + doubled) + ("split/" if depth and any(split) else "") + "*/" * drawers
    between = "/split" if not depth and any(split) else ""
    label, group, told, deeper = classes_of_folders(rests, split, before, between)
    decisions += [*told, *_apart(label, split)]
    files_know = sum(key.lower().endswith(dicom_header.SUFFIXES) for key in keys) > len(keys) / 2  # the patient
    if not any(group) and not files_know and (below := subjects_below(rests)) is not None:
        group, found = below
        decisions = [
            *(one for one in decisions if one.value != IN_DOUBT),
            found,
        ]  # folders below the classes are patients
    return Structure(root, label, split, group, doubled + depth + drawers + deeper, decisions)


def _apart(label: Sequence[str | None], split: Sequence[str | None]) -> list[Decision]:
    """A remark on classes whose name in one split is a prefix of that in another: ``adenocarcinoma_left.lower.lobe_T2``."""
    where: dict[str, set[str]] = defaultdict(set)
    for name, part in zip(label, split, strict=True):
        if name is not None and part is not None:
            where[name].add(part)
    cut = [(name[: at.start()], name) for name in sorted(where) for at in re.finditer("[-_ .]", name)]
    pairs = [(short, long) for short, long in cut if short in where and not where[short] & where[long]]
    if not pairs:
        return []
    short, long = pairs[0]
    told = [", ".join(sorted(where[name])) for name in (short, long)]
    why = f"{shown(short)} ({told[0]}) and {shown(long)} ({told[1]}) may be one class"
    return [Decision("classes", IN_DOUBT, why, "--label-pattern")]


def _without_versions(keys: Sequence[str], folders: Sequence[list[str]]) -> list[list[str]] | None:
    """Folders of each image without the levels of versions and of numbered parts beside them, as in
    ``Augmented Images/Monkeypox_augmented`` and ``Fold1/Train/Monkeypox``; None without versions.
    """
    if len({folder[0] for folder in folders if folder}) < 2 or not (told := versions(keys, folders)):
        return None
    peeled = []
    for folder in folders:
        rest = list(folder)
        while rest and (rest[0] in told or is_chunk(rest[0])):
            rest.pop(0)
        peeled.append([class_of(name) for name in rest])
    shared = {tuple(rest[:1]) for rest in peeled if rest}
    while len(shared) == 1 and all(len(rest) > 1 for rest in peeled if rest) and split_of(min(shared)[0]) is None:
        peeled = [rest[1:] for rest in peeled]
        shared = {tuple(rest[:1]) for rest in peeled if rest}
    return peeled


def _as_told(keys: Sequence[str], layout: str) -> Structure:
    words = [] if layout == "none" else layout.strip("/").split("/")
    for word in words:
        if word not in WORDS:
            raise DatapropsError(
                f"layout is {layout!r}, expected folder levels from the top, each of {', '.join(WORDS)}, such as split/class"
            )
    if len({word for word in words if word != "*"}) < sum(word != "*" for word in words):
        raise DatapropsError(f"layout is {layout!r}: name class, split and group once each")
    at = {word: number for number, word in enumerate(words)}
    folders = [key.split("/")[:-1] for key in keys]

    def level(word: str) -> list[str | None]:
        number = at.get(word)
        return [shown(f[number]) if number is not None and len(f) > number else None for f in folders]

    split = [None if name is None else split_of(name) or name for name in level("split")]
    told = [Decision("classes", f"by --layout {layout}", "as given", "--layout")]
    return Structure("", level("class"), split, level("group"), at.get("class", 0), told)
