"""Which folder is the class, which the split, which the patient: one rule for folders, archives and addresses.

In order: folders that hold everything are dropped; a second copy of the set inside itself is left out; folders named like splits are
splits if all of the top ones are, or if several are; folders named like subjects (BIDS, ``patient001``) are groups and no classes;
what then comes first is the class. ``--layout split/class`` says it instead.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dataprops.errors import DatapropsError
from dataprops.imaging import dicom
from dataprops.sources.account import Decision
from dataprops.sources.labels import spelling_key, words_of
from dataprops.sources.masks import IMAGE_FOLDER
from dataprops.sources.table import shown
from dataprops.sources.versions import AS_IT_WAS, DONE, class_of, versions

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "publictest": "val",
    "privatetest": "test",
}
# of folders; a column of a table keeps such names
OF_FOLDERS = SPLITS | {
    "trainval": "train",
    "eval": "val",
    "evaluation": "val",
    "holdout": "test",
    "heldout": "test",
    "crossval": "val",
}
FILLERS = frozenset(
    (
        "set",
        "data",
        "dataset",
        "image",
        "images",
        "img",
        "imgs",
        "folder",
        "split",
        "pictures",
        "photos",
        "files",
        "samples",
        "cases",
    )
)
SUBJECT = re.compile(
    r"(?:sub|subj|subject|patient|pat|pt|case|volunteer|participant)[-_ ]?\d[\w-]*|p\d{5,}|\d{3}_S_\d+", re.IGNORECASE
)
BIDS = re.compile(r"sub-[A-Za-z0-9]+")
BIDS_OTHERS = frozenset({"derivatives", "sourcedata", "code", "stimuli"})
NUMBERED = re.compile(r"(.*[A-Za-z][-_])\d{3,}")
# Ids that differ in their figures alone: LIDC-IDRI-0001 and IMD002, TCGA_CS_4941_19960909, UIDs of DICOM. Words in small letters
# with one number, Sample001 and n01440764, are as often classes
CODE = re.compile(r"(?=(?:[^A-Z]*[A-Z]){2}|.*\d{3,}\D+\d{3,}|\d{6,}\D)(?=.*\d{3})[A-Z0-9_@.-]+|\d+(?:\.\d+){4,}")
PLAIN = re.compile(
    r"images?|imgs?|data|pictures|photos|jpe?gs?|pngs?|files|scans|jpegimages|originals?|raw", re.IGNORECASE
)
CHUNKS = FILLERS | frozenset(
    (
        *(
            "part",
            "parts",
            "batch",
            "chunk",
            "shard",
            "block",
            "dir",
            "archive",
            "vol",
            "volume",
            "fold",
            "folds",
            "kfold",
        ),
        *(
            "v",
            "version",
            "site",
            "center",
            "centre",
            "hospital",
            "clinic",
            "institution",
            "scanner",
            "camera",
            "cohort",
        ),
    )
)
_PARTS = [[word] for word in ("part", "batch", "chunk", "shard", "block", "fold", "archive", "vol", "volume", "base")]
# of one set, each with all classes
VARIANTS = (DONE | AS_IT_WAS) - {"aligned", "unaligned", "uncropped", "normalized", "normalised", "denoised"}
SIZE = re.compile(r"\d{2,4} ?[xX] ?\d{2,4}(?: ?px)?")
# The folder of a patient by its number, and words of folders that are numbered and classes
PERSON = re.compile(r"[A-Za-z]{0,4}[-_ ]?\d{3,}[\w-]*")
CLASS_WORDS = frozenset(("class", "category", "label", "grade", "stage", "level", "type", "kl", "birads", "score"))
UNLABELLED = frozenset(("unlabeled", "unlabelled"))
ASIDE = frozenset(
    ("test", "testing", "val", "validation")
)  # a folder beside classes, and none of them; a train may be one
LEAST_NUMBERS = 3  # of one name, of which fewer may be classes: Type_1, Type_2
VERSION = frozenset(("v", "version"))  # of a part alone: Training_Data, Test_v2_Data
WORDS = ("class", "split", "group", "*")
ALIKE = 0.9
NAMED = 4  # names shown in a decision
FEW = 200  # folders that may be classes
MANY, ALONE = 12, 0.8  # folders of one image each that are no classes: so many, and this share of all


class Structure(NamedTuple):
    """What the folders of images tell.

    Attributes
    ----------
    root : str
        Leading folders that hold everything, with a slash at the end.
    label, split, group : list
        Of each image, None where there is none.
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


def split_of(name: str) -> str | None:
    """The split in a folder's name.

    >>> [split_of(name) for name in ("TRAIN", "train2017", "test set", "Trainset", "train_images", "trains", "attest")]
    ['train', 'train', 'test', 'train', 'train', None, None]
    """
    if name.lower() in OF_FOLDERS:
        return OF_FOLDERS[name.lower()]
    words = [word.removesuffix("set") or word for word in words_of(name)]
    found = [OF_FOLDERS[word] for word in words if word in OF_FOLDERS]
    fillers = FILLERS | VERSION
    rest = [word for word in words if word not in OF_FOLDERS and word not in fillers and not enumerated(name, word)]
    return found[0] if len(found) == 1 and not rest else None


def enumerated(name: str, word: str) -> bool:
    """Whether a word is the letter of an enumeration: ``a. Training Set``."""
    return len(word) == 1 and re.match(rf"{word}[.)] ", name.lower()) is not None


def _rest_of(name: str) -> str:
    """The rest of a folder's name without its split.

    >>> _rest_of("trainA"), _rest_of("test_normal"), _rest_of("train")
    ('A', 'normal', '')
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return " ".join(word for word in words if word.lower() not in OF_FOLDERS and word.lower() not in FILLERS)


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Those of the names that stand for splits; also ``seg_train`` and ``seg_test``, which share the rest of their names."""
    names = list(names)
    found = {name: split for name in names if (split := split_of(name)) is not None}
    shared: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        words = words_of(name)
        told = [OF_FOLDERS[word] for word in words if word in OF_FOLDERS]
        if name not in found and len(told) == 1:
            shared[tuple(word for word in words if word not in OF_FOLDERS and word not in VERSION)][name] = told[0]
    for group in shared.values():
        if len(set(group.values())) > 1:
            found.update(group)
    return found


def common_root(keys: Sequence[str]) -> str:
    """The leading folders that wrap everything and are not classes: every image lies at least one folder deeper.

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
    """Images of a folder that holds the whole set once more: key -> that folder.

    >>> second_copies(["a/1.png", "b/2.png", "set/a/1.png", "set/b/2.png"])
    {'set/a/1.png': 'set', 'set/b/2.png': 'set'}
    """
    root = common_root(keys)
    below: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        top, slash, _ = key[len(root) :].partition("/")
        if slash:
            below[top].append(key[len(root) :])
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


def infer(keys: Sequence[str], layout: str | None = None) -> Structure:
    """The structure of a set by the paths of its images.

    Parameters
    ----------
    keys : sequence of str
        Relative paths with forward slashes.
    layout : str, optional
        What the folders are, from the top: words of `WORDS` between slashes, or "none".

    Raises
    ------
    DatapropsError
        If the layout is none.
    """
    if layout:
        return _as_told(keys, layout)
    root = common_root(keys)
    folders = [key[len(root) :].split("/")[:-1] for key in keys]
    peeled = _without_versions(keys, folders)
    split, rests, depth = _splits(folders if peeled is None else peeled)
    drawers = _drawers_of_names(rests, keys)
    rests = [rest[drawers:] for rest in rests]
    decisions = []
    if peeled is not None:
        tops = sorted({folder[0] for folder in folders if folder})
        why = f"{_few(tops)}: their files are called alike, and one says what was done to them"
        decisions.append(Decision("classes", "not the first folders", why, "--layout"))
    if any(split):
        names = Counter(name for name in split if name)
        value = ", ".join(f"{name} {count:,}" for name, count in names.items())
        alone = sum(1 for name in split if name is None)
        why = "folders are named like splits" + (f"; {alone:,} images lie in none of them" if alone else "")
        decisions.append(Decision("splits", value, why, "--layout"))
    before = "*/" * root.count("/") + ("split/" if depth and any(split) else "") + "*/" * drawers
    between = "/split" if not depth and any(split) else ""
    label, group, told, deeper = _classes(rests, split, before, between)
    decisions += [*told, *_apart(label, split)]
    files_know = sum(key.lower().endswith(dicom.SUFFIXES) for key in keys) > len(keys) / 2  # the patient
    if not any(group) and not files_know and (below := subjects_below(rests)) is not None:
        group, found = below
        decisions.append(found)
    return Structure(root, label, split, group, depth + drawers + deeper, decisions)


def _apart(label: Sequence[str | None], split: Sequence[str | None]) -> list[Decision]:
    """A remark on classes that one split calls by the beginning of what others call them: ``adenocarcinoma_left.lower.lobe_T2``."""
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
    return [Decision("classes", f"{len(pairs):,} called otherwise in another split", why, "--label-pattern")]


def _without_versions(keys: Sequence[str], folders: Sequence[list[str]]) -> list[list[str]] | None:
    """The folders below versions of the same pictures and numbered parts beside these, ``Augmented Images/Monkeypox_augmented``,
    ``Fold1/Train/Monkeypox``; None without versions.
    """
    if len({folder[0] for folder in folders if folder}) < 2 or not (told := versions(keys, folders)):
        return None
    peeled = []
    for folder in folders:
        rest = list(folder)
        while rest and (rest[0] in told or _is_chunk(rest[0])):
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


def _splits(folders: list[list[str]]) -> tuple[list[str | None], list[list[str]], int]:
    """Split and remaining folders of each image, and at how many levels splits were."""
    none: list[str | None] = [None] * len(folders)
    tops = Counter(folder[0] for folder in folders if folder)
    named = splits_of(tops)
    named |= _alike(named, tops, folders)
    named = named or _named_longer(tops, folders)
    others = [top for top in tops if top not in named]
    if len(others) == 1 and _beside_classes(named, others[0], folders):  # "The dataset/benign cases", "Test cases"
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
        own = Counter(_rest_of(top) for top in named)
        if not others and not any(rests) and len(own) > 1 and min(own.values()) > 1:
            rests = [
                [rest] if (rest := _rest_of(folder[0]) if folder else "") else [] for folder in folders
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


def _beside_classes(named: dict[str, str], other: str, folders: list[list[str]]) -> bool:
    """Whether one folder holds the classes, and images of splits alone lie in the folders beside it."""
    deep = {folder[1] for folder in folders if len(folder) > 1 and folder[0] == other}
    alone = all(len(folder) == 1 for folder in folders if folder and folder[0] in named)
    return bool(named) and "train" not in named.values() and alone and len(deep) > 1 and all(map(bool, folders))


def _again(rests: list[list[str]], folders: list[list[str]], named: dict[str, str]) -> list[list[str]]:
    """Without the folder that repeats the split's own name, as in seg_train/seg_train/street; train/train, Test_Set/Test alone."""
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
    """Without ``images`` below a split that has nothing else beside it, where other splits have classes: ``train/a/1.png`` and
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
    """Whether splits lie beside other folders: two of them, or one that alone holds several folders."""
    if len(set(named.values())) > 1:
        return True
    inside: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        if len(folder) > 1:
            inside[folder[0]].add(folder[1])
    return all(len(inside[name]) > 1 for name in named) and not any(inside[name] for name in others)


def _alike(named: dict[str, str], tops: Iterable[str], folders: list[list[str]]) -> dict[str, str]:
    """Folders beside splits that hold the classes that the splits hold: ``external_test`` or ``unseen`` beside ``train``.

    A name without the word of a split counts only beside two splits: ``bus`` beside ``train`` is a vehicle, too.
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
    """Splits whose names say more: ``NCT-CRC-HE-100K`` and ``CRC-VAL-HE-7K``, with the same classes in both."""
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


def subjects_below(rests: Sequence[Sequence[str]]) -> tuple[list[str | None], Decision] | None:
    """Patients by folders below the classes, such as ``XR_HAND/patient00011``; None without such folders.

    Numbers may begin anew in each class, so that the folders above count, too.

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
    """Whether the folders of a level are numbers or ids, many below each class, each with few of its images: ``benign/101/1.png``,
    ``airport/airport_0/1.png``.
    """
    inside: dict[str, Counter[str]] = defaultdict(Counter)
    for rest in rests:
        if len(rest) > level:
            inside["/".join(rest[:level])][rest[level]] += 1
    names_of = [(above.rpartition("/")[2], name) for above, names in inside.items() for name in names]
    whole = [re.sub(rf"{re.escape(above)}[-_ ](?=\d+$)", "", name) for above, name in names_of]
    words = {word for name in whole for word in words_of(name)}
    ids = all(re.fullmatch(r"\d+", name) for name in whole) or (
        all(map(PERSON.fullmatch, whole)) and not (CLASS_WORDS | CHUNKS) & words
    )
    ids = ids or _are_codes(sorted(set(whole)))
    few = all(len(names) > NAMED and max(names.values()) <= names.total() / NAMED for names in inside.values())
    return ids and few and len({name for _, name in names_of}) > len(names_of) / 2


def _others(split: list[str | None], rests: list[list[str]]) -> list[list[str]]:
    """Folders of images outside of the splits: from the first one that is a class inside of them."""
    classes = {spelling_key(rest[0]) for told, rest in zip(split, rests, strict=True) if told and rest}

    def rest_of(rest: list[str]) -> list[str]:
        at = next((number for number, name in enumerate(rest) if spelling_key(name) in classes), None)
        return [] if at is None else rest[at:]

    return [rest if told else rest_of(rest) for told, rest in zip(split, rests, strict=True)]


def _classes(
    rests: list[list[str]], split: list[str | None], before: str = "", between: str = ""
) -> tuple[list[str | None], list[str | None], list[Decision], int]:
    """Class and group of each image by the folders that are left; decisions; the level of the class.

    Parameters
    ----------
    before : str
        The levels above these folders, as --layout has them.
    between : str
        The level between these folders and the ones below them.
    """
    if _are_drawers(rests):
        label, group, told, depth = _classes([rest[1:] for rest in rests], split, f"{before}*/", between)
        return label, group, told, depth + 1
    if len({rest[0] for rest in rests if rest}) > 1 and all(rest[:1] == rest[1:2] for rest in rests):  # a/a, b/b
        label, group, told, depth = _classes([rest[1:] for rest in rests], split, f"{before}*/", between)
        return label, group, told, depth + 1
    rests = _without_parts(rests, split)
    tops = Counter(rest[0] for rest in rests if rest)
    none: list[str | None] = [None] * len(rests)
    if not tops:
        return none, none, [], 0
    if _are_subjects(tops, rests):
        group = [shown(rest[0]) if rest else None for rest in rests]
        bids = all(BIDS.fullmatch(top) for top in tops)
        label = none if bids else _shared(rests)
        told = [Decision("groups", f"{len(tops):,} subjects", f"folders such as {shown(min(tops))}", "--layout")]
        if not any(label):
            told.append(Decision("classes", "none", "the folders are subjects", "--layout"))
            return label, group, told, 0
        return label, group, [*told, _named_classes(label)], 1
    alone = sum(number == 1 for number in tops.values())
    if len(tops) >= MANY and alone >= ALONE * len(tops):
        why = f"{alone:,} of {len(tops):,} folders such as {shown(min(tops))} hold one image each"
        return none, none, [Decision("classes", "none", why, "--layout")], 0
    inside = _inside(rests)
    common = set.intersection(*inside.values()) if inside else set()
    variants = len(common) > 1 and all(
        SIZE.fullmatch(top) or (words_of(top) and set(words_of(top)) <= VARIANTS | FILLERS) for top in tops
    )
    if len(tops) > 1 and (variants or all(_is_chunk(top) for top in tops) or _are_parts(tops)):
        why = f"folders such as {shown(min(tops))} are parts of one set"
        inner = [shown(rest[1]) if len(rest) > 1 and not PLAIN.fullmatch(rest[1]) else None for rest in rests]
        made = _named_classes(inner, f"; {why}") if any(inner) else Decision("classes", "none", why, "--layout")
        return inner, none, [made], 1
    (first, *_) = tops
    plain = PLAIN.fullmatch(first) or IMAGE_FOLDER.search(first)
    if len(tops) == 1 and plain and all(len(rest) <= 1 for rest in rests):
        return none, none, [Decision("classes", "none", f"one folder {next(iter(tops))}", "--layout")], 0
    aside = {top for top in tops if top.lower() in ASIDE and len(tops) > 2 and not any(split)}
    named = {top: None if UNLABELLED & set(words_of(top)) or top in aside else shown(top) for top in tops}
    label = [named[rest[0]] if rest else None for rest in rests]
    told = [_named_classes(label, _deeper(rests, f"{before}*{between}/"))]
    if unnamed := [top for top in tops if named[top] is None]:
        told = [told[0]._replace(why=f"{told[0].why}; {_few(unnamed)}: no class")]
    return label, none, told, 0


def _deeper(rests: list[list[str]], before: str) -> str:
    """A remark on folders below the classes that may be the actual classes."""
    inside = _inside(rests)
    below = set().union(*inside.values())
    if len(below) == 1 and PLAIN.fullmatch(min(below)):  # amazon/images/mug
        return _deeper([[rest[0], *rest[2:]] for rest in rests if rest], f"{before}*/")
    common = set.intersection(*inside.values()) if inside else set()
    option = f"(--layout '{before}class' if those are the classes)"
    if any(SUBJECT.fullmatch(name) for names in inside.values() for name in names):
        return ""
    if len(inside) > 1 and len(common) > 1:
        return f"; below each lie {_few(common)} {option}"
    if not 1 < len(below) <= min(FEW, len(rests) / 2):
        return ""
    return f"; below them lie {_few(below)} {option}"


def _few(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(shown(name) for name in names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _are_drawers(rests: list[list[str]]) -> bool:
    """Whether the first folders only sort the second ones by how their names begin: ``a/abbey``, ``p10/p10000032``."""
    rests = [rest for rest in rests if rest]  # images of a split without folders say nothing
    if not all(len(rest) > 1 for rest in rests):
        return False
    letters = all(len(rest[0]) == 1 and rest[1][:1] == rest[0] and rest[1][1:2].isalpha() for rest in rests)
    numbers = all(
        re.fullmatch(r"[A-Za-z]?\d\d+", rest[0]) and rest[1].startswith(rest[0]) and rest[1][len(rest[0]) :].isdigit()
        for rest in rests
    )
    return bool(rests) and (letters or numbers)


def _drawers_of_names(rests: list[list[str]], keys: Sequence[str]) -> int:
    """How many of the first folders only sort files by how their names begin: ``0/a/3/0a3f9c.jpg``; of one alone it may be chance.

    >>> _drawers_of_names([["0", "a"], ["1", "f"]], ["0/a/0a7.png", "1/f/1f2.png"])
    2
    """
    levels = 0
    least = min(map(len, rests), default=0)
    while levels < least and all(
        len(rest[levels]) <= 2 and key.rpartition("/")[2].lower().startswith("".join(rest[: levels + 1]).lower())
        for rest, key in zip(rests, keys, strict=True)
    ):
        levels += 1
    return levels if levels > 1 else 0


def _inside(rests: list[list[str]]) -> dict[str, set[str]]:
    """Names of the folders below each top folder."""
    inside: dict[str, set[str]] = defaultdict(set)
    for rest in rests:
        if rest:
            inside[rest[0]].update(rest[1:2])
    return inside


def _is_chunk(name: str) -> bool:
    """Whether a folder is a numbered part, such as images_001 or siteA."""
    words = words_of(name)
    if len(words) > 1 and not name[-1:].isdigit() and len(words[-1]) == 1:
        words.pop()
        return all(word in CHUNKS for word in words)
    return bool(words) and name[-1:].isdigit() and all(word in CHUNKS for word in words)


def _are_parts(names: Iterable[str]) -> bool:
    """Whether folders are numbered parts with a name before: ``HAM10000_images_part_1``."""
    stems = {re.sub(r"[-_ ]?\d+$", "", name) for name in names if name[-1:].isdigit()}
    return len(stems) == 1 and all(name[-1:].isdigit() for name in names) and words_of(min(stems))[-1:] in _PARTS


def _without_parts(rests: list[list[str]], split: list[str | None]) -> list[list[str]]:
    """Without the numbered parts of one split, each with the same classes, where another split has none: ``train/fold_0/a``,
    ``val/images``; other folders as they are.
    """
    parts = {rest[0] for rest in rests if rest and _is_chunk(rest[0])}
    others = [rest for rest in rests if rest and rest[0] not in parts]
    within = {told for told, rest in zip(split, rests, strict=True) if rest and rest[0] in parts}
    inside = _inside(rests)
    shared = set.intersection(*(inside[part] for part in parts)) if parts else set()
    apart = all(told not in within for told, rest in zip(split, rests, strict=True) if rest and rest[0] not in parts)
    if len(parts) < 2 or len(shared) < 2 or not others or not apart or any(len(rest) > 1 for rest in others):
        return rests
    return [rest[1:] if rest and rest[0] in parts else [] for rest in rests]


def _named_classes(label: Sequence[str | None], more_evidence: str = "") -> Decision:
    names = sorted({name for name in label if name is not None})
    more = f", ... ({len(names):,} in all)" if len(names) > NAMED else ""
    why = "names of folders" if len(names) != 1 else "the name of the only folder"
    return Decision("classes", ", ".join(names[:NAMED]) + more, f"{why}{more_evidence}{_by_number(names)}", "--layout")


def _by_number(names: Sequence[str]) -> str:
    """A remark on classes that differ in their last numbers alone, several each, which may be patients or takes.

    >>> _by_number(["AMD1", "AMD2", "AMD3", "DME1", "DME2", "DME3"])
    "; without their numbers they are AMD, DME (--label-pattern '([^/0-9]*[^/0-9_. -])[-_. ]?[0-9]+/' if those are the classes)"
    >>> _by_number(["1", "2", "3"]), _by_number(["n01", "cat"]), _by_number(["video01", "video02", "video03"])
    ('', '', '; all are called video and a number, as patients or takes are (--layout with group in place of class)')
    """
    found = [re.fullmatch(r"(\D*[^\d_. -])[-_. ]?\d+", name) for name in names]
    stems = Counter("" if one is None else one[1] for one in found)
    if not stems or "" in stems or min(stems.values()) < LEAST_NUMBERS:
        return ""
    if len(stems) == 1:
        seen = f"all are called {shown(min(stems))} and a number, as patients or takes are"
        return f"; {seen} (--layout with group in place of class)"
    pattern = "([^/0-9]*[^/0-9_. -])[-_. ]?[0-9]+/"
    return f"; without their numbers they are {_few(stems)} (--label-pattern '{pattern}' if those are the classes)"


def _are_subjects(tops: Counter[str], rests: list[list[str]]) -> bool:
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
    """Whether folders are ids that differ in their figures alone.

    >>> _are_codes([f"LIDC-IDRI-{n:04d}" for n in range(9)]), _are_codes([f"n{n:08d}" for n in range(9)])
    (True, False)
    """
    shapes = {re.sub(r"\d+", "0", name) for name in names}
    words = {word for name in names for word in words_of(name)}
    return len(names) > NAMED and len(shapes) == 1 and all(map(CODE.fullmatch, names)) and not CLASS_WORDS & words


def _are_numbered_people(names: list[str], rests: list[list[str]]) -> bool:
    """Whether folders are patients by their numbers, each with folders of the same few classes: ``10253/0/``, ``10253/1/``."""
    if len(names) <= NAMED or not all(
        PERSON.fullmatch(name) and not CLASS_WORDS & set(words_of(name)) for name in names
    ):
        return False
    inside = _inside(rests)
    owners = Counter(inner for name in names for inner in inside[name])
    deep = sum(1 for rest in rests if len(rest) > 1)
    often = [inner for inner, number in owners.items() if number >= len(names) / 2]
    return len(often) > 1 and len(owners) <= len(names) / 2 and deep >= ALIKE * len(rests)


def _shared(rests: list[list[str]]) -> list[str | None]:
    """Classes below subjects: names of their folders, if several subjects have the same ones."""
    subjects: dict[str, set[str]] = defaultdict(set)
    for rest in rests:
        if len(rest) > 1:
            subjects[rest[1]].add(rest[0])
    common = {name for name, owners in subjects.items() if len(owners) > 1}
    takes = all(re.fullmatch(r"0\d{2,}", name) for name in common)  # of one person: S005/001
    if takes or len(common) < 2 or len(common) < ALIKE * len(subjects):
        return [None] * len(rests)
    return [shown(rest[1]) if len(rest) > 1 else None for rest in rests]
