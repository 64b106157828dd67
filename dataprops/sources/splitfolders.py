"""Detection of split folders: at the top level, at the second level, or mixed with other folders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from dataprops.sources.labels import spelling_key, words_of
from dataprops.sources.levels import ALIKE, PLAIN, inside_of
from dataprops.sources.splitnames import OF_FOLDERS, rest_of, split_of, splits_of
from dataprops.sources.table import shown


def splits_of_folders(folders: list[list[str]]) -> tuple[list[str | None], list[list[str]], int]:
    """Split and remaining folders of each image, and the number of leading split levels."""
    none: list[str | None] = [None] * len(folders)
    folders = _beside_a_split(folders)
    tops = Counter(folder[0] for folder in folders if folder)
    named = splits_of(tops)
    named |= _alike(named, tops, folders)
    named = named or _named_longer(tops, folders)
    others = [top for top in tops if top not in named]
    if len(others) == 1 and _beside_classes(named, others[0], folders):  # "The dataset/benign cases", "Test cases"
        named |= {others[0]: "train"} if PLAIN.fullmatch(others[0]) else {}  # DATA beside TEST
        split = [named.get(folder[0]) if folder else None for folder in folders]
        return split, [folder[1:] for folder in folders], 1
    if named and (not others or _enough(named, others, folders)):
        split = [named.get(folder[0]) if folder else None for folder in folders]
        rests = [folder[1:] if folder and folder[0] in named else folder for folder in folders]
        rests = [
            rest[1:] if told and len(rest) > 1 and split_of(rest[0]) == told else rest
            for told, rest in zip(split, rests, strict=True)
        ]
        rests = _without_plain(_again(rests, folders, named), split)
        own = Counter(rest_of(top) for top in named)
        if not others and not any(rests) and len(own) > 1 and min(own.values()) > 1:
            rests = [
                [rest] if (rest := rest_of(folder[0]) if folder else "") else [] for folder in folders
            ]  # trainA, trainB
        within = [rest for told, rest in zip(split, rests, strict=True) if told]
        if len({rest[0] if rest else "" for rest in within}) == 1 and all(len(rest) > 1 for rest in within):
            rests = [rest[1:] if told else rest for told, rest in zip(split, rests, strict=True)]
        return split, _others(split, rests), 1
    seconds = Counter(folder[1] for folder in folders if len(folder) > 1)
    named = splits_of(seconds)
    deep = [folder for folder in folders if len(folder) > 1]
    if len(set(named.values())) > 1 and len(named) == len(seconds) and len(deep) >= ALIKE * len(folders):
        split = [named[folder[1]] if len(folder) > 1 else None for folder in folders]
        return split, [[folder[0], *folder[2:]] if len(folder) > 1 else folder for folder in folders], 0
    return none, folders, 0


def _beside_a_split(folders: list[list[str]]) -> list[list[str]]:
    """Unwrap a folder that holds some splits while another split lies beside it: ``data/train``, ``data/valid`` and ``test``."""
    inside = inside_of(folders)
    others = [top for top in inside if split_of(top) is None]
    if len(inside) < 2 or len(others) != 1 or len(inside[others[0]]) < 2:
        return folders
    splits = {split_of(name) for name in inside[others[0]]}
    if None in splits or splits & {split_of(top) for top in inside}:
        return folders
    return [folder[1:] if folder[:1] == others else folder for folder in folders]


def _beside_classes(named: dict[str, str], other: str, folders: list[list[str]]) -> bool:
    """Whether a single folder holds the classes, and the split folders beside it contain images directly."""
    deep = {folder[1] for folder in folders if len(folder) > 1 and folder[0] == other}
    alone = all(len(folder) == 1 for folder in folders if folder and folder[0] in named)
    return bool(named) and "train" not in named.values() and alone and len(deep) > 1 and all(map(bool, folders))


def _again(rests: list[list[str]], folders: list[list[str]], named: dict[str, str]) -> list[list[str]]:
    """Drop a folder that repeats the split's name: seg_train/seg_train/street, train/train; Test_Set/Test only if it is alone."""
    inside: dict[str, set[str]] = defaultdict(set)
    for rest, folder in zip(rests, folders, strict=True):
        if folder and folder[0] in named:
            inside[folder[0]].add(rest[0] if rest else "")
    alone = {
        top
        for top, names in inside.items()
        if names == {top} or (len(names) == 1 and split_of(min(names)) == named[top])
    }
    return [
        rest[1:]
        if folder and ((folder[0] in alone) or (folder[0] in named and rest[:1] == folder[:1] and len(rest) > 1))
        else rest
        for rest, folder in zip(rests, folders, strict=True)
    ]


def _without_plain(rests: list[list[str]], split: list[str | None]) -> list[list[str]]:
    """Drop an ``images`` folder that is the only folder of its split, if other splits have classes: ``train/a/1.png`` and
    ``val/images/2.png``.
    """
    inside: dict[str, set[str]] = defaultdict(set)
    for told, rest in zip(split, rests, strict=True):
        if told:
            inside[told].add(rest[0] if rest else "")
    plain = {told for told, names in inside.items() if len(names) == 1 and PLAIN.fullmatch(min(names))}
    out = [rest[1:] if told in plain else rest for told, rest in zip(split, rests, strict=True)]
    return out if any(out) else rests


def _enough(named: dict[str, str], others: list[str], folders: list[list[str]]) -> bool:
    """Whether folders are splits although others lie beside them: two splits, or one with several subfolders."""
    if len(set(named.values())) > 1:
        return True
    inside: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        if len(folder) > 1:
            inside[folder[0]].add(folder[1])
    return all(len(inside[name]) > 1 for name in named) and not any(inside[name] for name in others)


def _alike(named: dict[str, str], tops: Iterable[str], folders: list[list[str]]) -> dict[str, str]:
    """Further splits: folders beside splits with the same classes, such as ``external_test`` or ``unseen`` beside ``train``.

    A name without a split word is accepted only beside two splits: ``train`` beside ``bus`` may be a vehicle.
    """
    inside: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        if len(folder) > 1:
            inside[folder[0]].add(folder[1])
    classes = set().union(*(inside[name] for name in named))
    alike = [top for top in tops if top not in named and len(inside[top]) > 1 and inside[top] <= classes]
    out: dict[str, str] = {}
    for top in alike:
        told = [OF_FOLDERS[word] for word in words_of(top) if word in OF_FOLDERS]
        if len(told) == 1:
            out[top] = told[0]
    if len({*named.values(), *out.values()}) > 1:
        out |= {top: shown(top.lower()) for top in alike if top not in out}
    return out


def _named_longer(tops: Iterable[str], folders: list[list[str]]) -> dict[str, str]:
    """Splits with a split word in a longer name, and the same classes in all: ``NCT-CRC-HE-100K`` and ``CRC-VAL-HE-7K``."""
    inside: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        if folder:
            inside[folder[0]].update(folder[1:2])
    words = {top: words_of(top) for top in tops}
    told = {top: [OF_FOLDERS[word] for word in words[top] if word in OF_FOLDERS] for top in words}
    named = [top for top in told if len(told[top]) == 1 and len(words[top]) > 2]
    same = len(inside) > 1 and len(set.intersection(*inside.values())) >= max(
        2, ALIKE * len(set().union(*inside.values()))
    )
    if not named or not same:
        return {}
    return {top: told[top][0] if top in named else shown(top.lower()) for top in told}


def _others(split: list[str | None], rests: list[list[str]]) -> list[list[str]]:
    """Folders of each image; outside of the splits, from the first folder that is a class within them."""
    classes = {spelling_key(rest[0]) for told, rest in zip(split, rests, strict=True) if told and rest}

    def rest_of(rest: list[str]) -> list[str]:
        at = next((number for number, name in enumerate(rest) if spelling_key(name) in classes), None)
        return [] if at is None else rest[at:]

    return [rest if told else rest_of(rest) for told, rest in zip(split, rests, strict=True)]
