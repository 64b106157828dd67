"""Signs that classes or splits were inferred wrongly; computed from names only, after the scan.

A sign is a row of `SIGNS`: a function of the inferred reading that returns the evidence against it and the option that corrects it, or
None. Each becomes a `Decision` in doubt and an alert of the audit. A reading that the user requested is never in doubt.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from dataprops.sources.account import IN_DOUBT, Decision, decide, left_out_of
from dataprops.sources.columns import LABELS, NAMED, ONLY_ONES, is_meta, labels_first, last_word, named_columns
from dataprops.sources.labels import SEPARATOR, words_of
from dataprops.sources.levels import PLAIN, few_of
from dataprops.sources.splitnames import FILLERS, OF_FOLDERS, split_of
from dataprops.sources.subjects import CLASS_WORDS
from dataprops.sources.table import SourceOptions, shown
from dataprops.util.names import stem_of, word_table

MANY = 12  # more classes than this, half of them with hardly any images, are a sign
HARDLY = 2  # largest number of images of a class with hardly any
HALF, MOST = 0.5, 0.8  # fractions of images or of classes
LEAST = 3  # images, classes or patients; with fewer, a pattern in names may be chance
EXAMPLES = frozenset(("sample", "example", "demo", "all", "full", "original", "raw", "new", "old", "other", "misc"))
TO_TELL = frozenset(("pred", "predict", "prediction", "predictions", "inference", "submission"))
MASKS = frozenset(
    word_table("mask masks seg segmentation segmentations gt ground truth groundtruth annotation annotations")
)
PREFIXES = 20  # largest number of distinct first words of file names that may be classes
EACH = 0.05  # least fraction of the images for each of them
DENSE = 4  # an enumeration spans fewer than this many numbers per number present
SIZES = frozenset(
    map(str, (16, 24, 28, 32, 48, 64, 72, 96, 100, 112, 128, 150, 192, 200, 224, 256, 299, 320, 384, 400, 448))
)
SIZES |= frozenset(map(str, (480, 500, 512, 600, 640, 720, 768, 800, 1000, 1024, 1080, 2048)))
# kind of names that are not classes -> its pattern
OTHER_KINDS: Mapping[str, re.Pattern[str]] = {
    "dates or years": re.compile(r"(?:19|20)\d\d(?:[-_. ]?\d\d){0,2}"),
    "sizes": re.compile(rf"(?:{'|'.join(sorted(SIZES))})(?:px|@\dx)?|\d{{2,4}} ?[xX] ?\d{{2,4}}(?:px)?|\d{{2,4}}px"),
    "numbers of images": re.compile(r"\d{1,4}[kK]"),
    "magnifications": re.compile(r"\d{1,4}(?:\.\d+)?[xX]|[xX]\d{1,4}"),
    "planes": re.compile(r"ax(?:ial)?|cor(?:onal)?|sag(?:it+al)?|transversal|transverse|oblique", re.IGNORECASE),
    "sides or views": re.compile(r"l|r|left|right|od|os|[lr]?-?(?:cc|mlo)|pa|ap|lateral|frontal", re.IGNORECASE),
    "sequences or kinds of recording": re.compile(
        r"t[12](?:w|ce|c|gd|wce|wc|wgd)?|flair|dwi|adc|swi|pd|ct|cta|mri?|mra|pet|us|spect|x-?rays?|cxr|oct|fundus",
        re.IGNORECASE,
    ),
    "channels": re.compile(
        r"rgb|bgr|nir|ir|depth|thermal|infrared|visible|vis|red|green|blue|dapi|gfp|gr[ae]y", re.IGNORECASE
    ),
    "ids": re.compile(
        r"(?!n\d{8}$)[A-Za-z]{0,4}[-_]?\d{5,}(?:[-_.]\w+)?|[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}"
    ),
}
CODE = re.compile(r"[A-Za-z]{0,2}\d+")
SAID = frozenset(("gt", "label", "class", "cls", "target", "category"))  # parts of file names that precede a class
MOST_VALUES = 10  # distinct values of such a part
WORDNET = re.compile(r"n\d{8}")
PERSONS_AND_PARTS = frozenset(
    words_of("""
    patient patients subject person case donor animal mouse rat video clip seq sequence scan slide session visit
    day week month run take trial exam study series specimen plate well hospital site center centre clinic scanner
    device camera cam reader annotator rater expert observer doctor fold subset part batch version exp experiment
    round slice frame channel view angle plane location
    """)
)


class Reading(NamedTuple):
    """The inferred reading: each image's path, class, split and patient; images per class; whether classes come from folders; files
    left out; unused columns of tables, column -> image -> value; the columns chosen as the label, and whether by name; whether a
    decision says already where labels may be, or classes without images are listed.
    """

    keys: list[str]
    label: list[str | None]
    split: list[str | None]
    group: list[str | None]
    classes: Counter[str]
    by_folders: bool
    left_out: list[tuple[str, str]]
    described: Mapping[str, Mapping[str, str | None]]
    chosen: Sequence[str]
    by_name: bool
    asked: bool


Told = tuple[str, str, str]  # what is in doubt, why, the option that corrects it
Sign = Callable[[Reading], Told | None]


def with_doubts(table: pd.DataFrame, options: SourceOptions) -> None:
    """Add a decision in doubt for each sign against the reading, except where the user specified it."""
    told = table.attrs.get("decisions", ())
    path, label, split, group = (table[column].tolist() for column in ("path", "label", "split", "group"))
    by_folders = any(one["what"] == "classes" for one in told)
    described = table.attrs.get("described") or {}
    chosen = next((one for one in told if one.get("columns")), {})
    columns = chosen.get("columns", ())
    by_name = len(columns) == 1 and chosen["why"] != ONLY_ONES
    asked = any(one["value"] == "none" and one["what"] in ("labels", "classes") for one in told)
    asked = asked or bool(table.attrs.get("empty_classes"))
    reading = Reading(
        path, label, split, group, _classes(label), by_folders, left_out_of(table), described, columns, by_name, asked
    )
    for sign, answers in SIGNS:
        if not any(getattr(options, answer) for answer in answers) and (found := sign(reading)) is not None:
            what, why, option = found
            decide(table, Decision(what, IN_DOUBT, why, option))


def _columns(described: Mapping[str, Mapping[str, str | None]], images: int) -> list[str]:
    """Columns that may be labels, having few values, the likeliest first."""
    few = [
        name for name, value in described.items() if 1 < len(set(value.values())) <= images / 2 and not is_meta(name)
    ]
    return labels_first(few)


def _classes(labels: Sequence[str | None]) -> Counter[str]:
    """Images per class; empty if all labels are numbers and one has a decimal point."""
    count = Counter(part for name in labels if name is not None for part in name.split(SEPARATOR))
    numbers = all(re.fullmatch(r"-?\d*\.?\d+", name) for name in count)
    return Counter() if numbers and any("." in name for name in count) else count


def _option(reading: Reading, word: str = "*") -> str:
    """The option that reads the class folders as `word`, or selects another label column if labels come from a table."""
    if reading.by_folders:
        return f"--layout {_levels(reading, word)}"
    columns = _columns(reading.described, len(reading.keys))
    return f"--label-column {shlex.quote(shown(columns[0]))}" if columns else "--label-column"


def _levels(reading: Reading, word: str, below: str = "") -> str:
    """A layout, quoted for the shell, with `word` at the level of the class and `below` at the next one: ``'split/group'``."""
    classes: Counter[int] = Counter()
    splits: Counter[int] = Counter()
    for key, name, split in zip(reading.keys, reading.label, reading.split, strict=True):
        parts = key.split("/")[:-1]
        classes.update([parts.index(name)] if name in parts else ())
        splits.update([at for at, part in enumerate(parts) if split is not None and split_of(part) == split][:1])
    at = {number.most_common(1)[0][0]: told for number, told in ((splits, "split"), (classes, word)) if number}
    if classes and below:
        at[classes.most_common(1)[0][0] + 1] = below
    words = [at.get(level, "*") for level in range(max(at, default=0) + 1)]
    while words and words[-1] == "*":
        words.pop()
    return shlex.quote("/".join(words)) if words else "none"


def other_kinds(reading: Reading) -> Told | None:
    """Class names that are dates, sizes, planes, ids (``2019``, ``2020``; ``T1``, ``FLAIR``) or numbered (``day1``, ``day2``)."""
    names = sorted(reading.classes)
    if len(names) < 2:
        return None
    fits = {kind: [name for name in names if form.fullmatch(name)] for kind, form in OTHER_KINDS.items()}
    fits["ids"] = [] if _counted(names) else fits["ids"]
    kind = next((kind for kind, fit in fits.items() if len(fit) == len(names)), None)
    if kind is None and all(name[-1:].isdigit() and not WORDNET.fullmatch(name) for name in names):
        words = {tuple(words_of(re.sub(r"\d+.*$", "", name))) for name in names}
        (first, *others) = words
        known = bool(first) and (first[-1] in PERSONS_AND_PARTS or len(names) > MANY or _same_files(reading))
        if not others and known and not CLASS_WORDS & set(first):
            kind = f"{first[-1]} plus a number, typical of persons or takes"
    word = "group" if kind == "ids" or (kind and kind not in fits) else "*"
    return ("classes", f"{few_of(names)} look like {kind}", _option(reading, word)) if kind else None


def _same_files(reading: Reading) -> bool:
    """Whether the folders of at least three classes all hold the same file names: ``kos01/Part0``, ``kos02/Part0``."""
    if not reading.by_folders or len(reading.classes) < LEAST:
        return False
    inside: dict[str, set[str]] = defaultdict(set)
    for key, name in zip(reading.keys, reading.label, strict=True):
        if name is not None:
            inside[name].add(posixpath.basename(key))
    return len(set(map(frozenset, inside.values()))) == 1


def pictures_or_splits(reading: Reading) -> Told | None:
    """Classes named after images or splits: ``images`` beside ``test``, ``dataset`` beside ``sample_images``."""
    plain = FILLERS | OF_FOLDERS.keys() | EXAMPLES
    words = {name: set(words_of(name)) for name in sorted(reading.classes)}
    names = [
        name
        for name, some in words.items()
        if PLAIN.fullmatch(name) or (some & FILLERS and some <= plain) or (some and some <= TO_TELL)
    ]
    if not names:
        return None
    others = len(words) - len(names) > 1 and sum(reading.classes[name] for name in names) < HALF * len(reading.keys)
    option = _without(names) if others and reading.by_folders else _option(reading)
    return "classes", f"{few_of(names)} name images or splits, not classes", option


def named_as_masks(reading: Reading) -> Told | None:
    """Class folders named as masks: ``Ground``, ``Segmentation`` beside ``DICOM``. Faces with and without a mask are classes."""
    words = {name: words_of(name) for name in sorted(reading.classes)}
    names = [name for name, some in words.items() if some and MASKS.issuperset(some)]
    if not reading.by_folders or not names or any("mask" in some for name, some in words.items() if name not in names):
        return None
    return "classes", f"classes are named as masks: {few_of(names)}", _without(names)


def _without(names: Sequence[str]) -> str:
    """The options that leave folders out."""
    return " ".join(f"--exclude {shlex.quote(name)}" for name in names)


def only_class(reading: Reading) -> Told | None:
    """One class, named after the only folder: ``Leaves``."""
    if not reading.by_folders or reading.asked or len(reading.classes) != 1 or None in reading.label:
        return None
    why = f"{few_of(reading.classes)}, the name of the only folder, is the class of all images"
    return "classes", why, _option(reading)


def hardly_any_images(reading: Reading) -> Told | None:
    """Many classes, at least half of them with hardly any images."""
    classes = reading.classes
    few = sum(number <= HARDLY for number in classes.values())
    if len(classes) <= MANY or few < HALF * len(classes):
        return None
    why = (
        f"{few:,} of {len(classes):,} have {HARDLY} images or fewer, typical of patients or ids, e.g. {few_of(classes)}"
    )
    return "classes", why, _option(reading, "group")


def one_patient_each(reading: Reading) -> Told | None:
    """Classes that correspond one to one to patients."""
    pairs = {pair for pair in zip(reading.label, reading.group, strict=True) if None not in pair}
    classes, groups = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    if not LEAST < len(classes) == len(groups) == len(pairs):
        return None
    why = f"the {len(classes):,} classes correspond one to one to patients"
    return "classes", why, _option(reading, "group")


def called_alike(reading: Reading) -> Told | None:
    """Class folders with the same file names, as folders of sizes, masks or annotators have; plain enumerations do not count."""
    if not reading.by_folders:
        return None
    owners: dict[tuple[str | None, str], set[str]] = defaultdict(set)
    named: dict[str, set[tuple[str | None, str]]] = defaultdict(set)
    for key, name, split in zip(reading.keys, reading.label, reading.split, strict=True):
        if name is not None:
            stem = split, stem_of(key).lower().removeprefix(name.lower())
            owners[stem].add(name)
            named[name].add(stem)
    pairs = zip(reading.keys, reading.label, strict=True)
    cut = sum(name is not None and stem_of(key).lower().startswith(name.lower()) for key, name in pairs)
    alike = {
        name: shared
        for name, some in named.items()
        if len(shared := [stem for stem in some if len(owners[stem]) > 1]) >= max(LEAST, MOST * len(some))
    }
    images = reading.classes
    if len(alike) < 2 or sum(images[name] for name in alike) <= HALF * images.total():
        return None
    if _counted([stem for _, stem in {stem for some in alike.values() for stem in some}]):
        return None
    (_, stem) = min(alike[min(alike)])
    # AF01/AF01HA.jpg
    persons = cut >= MOST * len(reading.keys) and all(re.search(r"\d", name) for name in alike)
    like = "after that of their folder, like images of persons" if persons else "like variants of the same images"
    why = f"files in {few_of(alike)} have the same names, such as {shown(stem)}, {like}"
    return "classes", why, _option(reading, "group" if persons else "*")


def _counted(names: Sequence[str]) -> bool:
    """Whether names are enumerations without large gaps: ``img_001``, ``benign (2)``, ``00005_00012``."""
    forms: dict[str, list[list[str]]] = defaultdict(list)
    for name in names:
        forms[re.sub(r"\d+", "0", name)].append(re.findall(r"\d+", name))
    dense = sum(
        len(rows) for rows in forms.values() if all(_is_dense(set(column)) for column in zip(*rows, strict=True))
    )
    return len(forms) <= max(2, len(names) / LEAST) and dense >= HALF * len(names)


def _is_dense(numbers: set[str]) -> bool:
    """Whether the range of the numbers is less than `DENSE` times their count."""
    values = [int(one[:18]) for one in numbers]
    return max(values) - min(values) < DENSE * len(values)


def splits_apart(reading: Reading) -> Told | None:
    """A split (or the images without one) that shares no class with the others, or has one class while the others have several."""
    inside: dict[str | None, Counter[str]] = defaultdict(Counter)
    for name, split in zip(reading.label, reading.split, strict=True):
        if name is not None:
            inside[split][name] += 1
    for split, names in inside.items():
        others = set().union(*(names for other, names in inside.items() if other != split))
        if not others or names.total() < LEAST:
            continue
        if not names.keys() & others:
            have = f"{split} has" if split else "images without a split have"
            why = f"{have} {few_of(names)}, in no other split; those have {few_of(others)}"
            aside = split is None and len(names) == 1
            return "classes", why, f"--exclude {shlex.quote(min(names))}" if aside else _option(reading)
        if len(names) == 1 and len(others) >= LEAST and split is not None:
            return (
                "classes",
                f"all of {split} is {few_of(names)}, other splits have {len(others):,} classes",
                _option(reading),
            )
    return None


def splits_in_names(reading: Reading) -> Told | None:
    """Classes or folders that contain names of splits although no split was inferred: ``train_cat``, ``a/test/1.png``."""
    if any(reading.split):
        return None
    classes = {name: OF_FOLDERS[word] for name in reading.classes for word in words_of(name) if word in OF_FOLDERS}
    if len(set(classes.values())) > 1:
        return (
            "splits",
            f"class names contain splits: {few_of(classes)}",
            f"--layout {_levels(reading, 'split', 'class')}",
        )
    folders = Counter(posixpath.dirname(key) for key in reading.keys)
    told: Counter[str] = Counter()
    levels: Counter[tuple[int, bool]] = Counter()
    for folder, number in folders.items():
        parts = folder.split("/")
        found = {split: at for at, part in reversed(list(enumerate(parts))) if (split := split_of(part)) is not None}
        told.update(dict.fromkeys(found, number))
        levels.update({(at, at + 1 < len(parts)): number for at in found.values()})
    if len(told) > 1 and told.total() >= HALF * len(reading.keys):
        seen = ", ".join(f"{name} {number:,}" for name, number in told.most_common())
        ((level, deeper), _) = levels.most_common(1)[0]
        words = [*["*"] * level, "split", "class"] if deeper or not level else [*["*"] * (level - 1), "class", "split"]
        option = f"--layout {shlex.quote('/'.join(words))}"
        return "splits", f"folders are named {seen}, but no split was inferred", option
    return None


def other_label_columns(reading: Reading) -> Told | None:
    """Other columns of the table that may be the label: with the name of one, with coarser classes, or, if the label was not chosen by
    its name, those with few values, if no fewer than the chosen ones. Columns that say the same in other words do not count.
    """
    if not reading.chosen or not reading.classes:
        return None
    rivals = []
    # with several labels of an image, one per row, the other columns are known of its first row only
    one = {key: name for key, name in zip(reading.keys, reading.label, strict=True) if name and SEPARATOR not in name}
    for name in _columns(reading.described, len(reading.keys)):
        pairs = {
            (label, value) for key, label in one.items() if (value := reading.described[name].get(key)) is not None
        }
        labels, others = {label for label, _ in pairs}, {value for _, value in pairs}
        coarser = len(pairs) == len(labels) > len(others) > 1 and len(reading.keys) >= LEAST * len(labels)
        same = len(pairs) == len(labels) == len(others)
        if not same and len(others) > 1 and (last_word(name) in LABELS or coarser or not reading.by_name):
            rivals.append(name)
    if len(rivals) < min(len(reading.chosen), NAMED + 1):
        return None
    why = f"{shown(named_columns(reading.chosen))} was read, and {few_of(rivals)} may be the label too"
    return "labels", why, f"--label-column {shlex.quote(shown(rivals[0]))}"


def codes_apart(reading: Reading) -> Told | None:
    """A label whose values have other names in another split: 0 is ``normal`` in one and ``tumour`` in the other."""
    if reading.by_folders or len(reading.chosen) > 1:
        return None
    column_of_label = (*reading.chosen, SourceOptions().label_column)[0]  # which, as named by default, needs no choice
    for column, value_of in reading.described.items():
        names: dict[str | None, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for key, label, split in zip(reading.keys, reading.label, reading.split, strict=True):
            if label is not None and (value := value_of.get(key)) is not None:
                names[split][label].add(value)
        tells = all(
            len(told) == len(set().union(*told.values())) == sum(map(len, told.values())) > 1 for told in names.values()
        )
        everywhere = [set[str]().union(*told.values()) for told in names.values()] if tells else []
        shared = set.intersection(*everywhere) if everywhere else set[str]()
        for label in sorted(set().union(*names.values())) if shared else ():
            there = {split: min(told[label]) for split, told in names.items() if label in told}
            if len(set(there.values())) > 1 and shared.issuperset(there.values()):
                seen = " and ".join(f"{shown(name)} in {split or 'no split'}" for split, name in there.items())
                why = f"{shown(label)} of {shown(column_of_label)} is {seen}, by {shown(column)}"
                return "labels", why, f"--label-column {shlex.quote(shown(column))}"
    return None


def words_in_every_class(reading: Reading) -> Told | None:
    """File names that begin with the same few words in every class: ``site1/cat_1.png``, ``site2/cat_2.png``."""
    if not reading.by_folders:
        return None
    rows = [
        (found[0], name)
        for key, name in zip(reading.keys, reading.label, strict=True)
        if name is not None and (found := re.match(r"[A-Za-z]{3,}(?=[-_. ]?\d|[-_ ])", posixpath.basename(key)))
    ]
    count, classes = Counter(word for word, _ in rows), reading.classes
    if all(WORDNET.fullmatch(name) for name in classes):
        return None
    if not 1 < len(count) <= PREFIXES or len(classes) < 2 or len(rows) < MOST * classes.total():
        return None
    if min(count.values()) < max(2, EACH * len(rows)) or any(PLAIN.fullmatch(word) or split_of(word) for word in count):
        return None
    if all(word.isupper() for word in count) or Counter(word for word, _ in set(rows)) != dict.fromkeys(
        count, len(classes)
    ):
        return None
    seen = ", ".join(f"{word} {number:,}" for word, number in count.most_common(LEAST))
    why = f"file names begin with the same words in each of {few_of(classes)}: {seen}"
    return "classes", why, "--label-pattern '([A-Za-z]+)[^/]*$'"


def parts_in_every_class(reading: Reading) -> Told | None:
    """File names with a part that has the same few values in every class, if the classes are codes (``s0001/s0001_00042_0_1.png``) or
    the preceding part announces a label (``tesla/tesla_7_GT_2.png``).
    """
    classes = list(reading.classes)
    codes = all(map(CODE.fullmatch, classes))
    if not reading.by_folders or len(classes) < (LEAST if codes else 2):
        return None
    if not codes and not SAID & set(posixpath.basename(reading.keys[0]).lower().split("_")):
        return None
    rows = [
        (posixpath.basename(key).partition(".")[0].split("_"), name)
        for key, name in zip(reading.keys, reading.label, strict=True)
        if name is not None
    ]
    number = len(rows[0][0])
    if number < LEAST or any(len(parts) != number for parts, _ in rows):
        return None
    said = [{parts[at].lower() for parts, _ in rows} <= SAID for at in range(number)]
    for at in range(number) if codes else (at for at in range(1, number) if said[at - 1]):
        count = Counter((parts[at], name) for parts, name in rows)
        values = sorted({value for value, _ in count})
        if any((value.isdecimal() and len(value) > 1) or split_of(value) for value in values):  # a counter or a split
            continue
        if not 1 < len(values) <= MOST_VALUES or len(count) != len(values) * len(classes) or min(count.values()) < 2:
            continue
        rest = len({(*parts[:at], "", *parts[at + 1 :]) for parts, _ in rows})
        if rest <= HALF * len(rows) and not any(all(map(form.fullmatch, values)) for form in OTHER_KINDS.values()):
            continue  # numbers the variants of one picture
        pattern = "(?:^|/)" + "[^/_]*_" * at + "([^/_.]*)" + ("_" if at + 1 < number else "[.]") + "[^/]*$"
        why = f"part {at + 1} of the file names is {few_of(values)} in each of {few_of(classes)}"
        return "classes", why, f"--label-pattern '{pattern}'"
    return None


def archives_beside(reading: Reading) -> Told | None:
    """Archives among the files left out, without an image folder of the same name."""
    folders = {part.lower() for key in reading.keys for part in key.split("/")[:-1]}
    left = [
        name
        for name, _ in reading.left_out
        if (
            found := re.fullmatch(
                r"(.+?)\.(?:zip|rar|7z|tar|tgz|tar\.gz|tar\.xz|tar\.bz2)", posixpath.basename(name).lower()
            )
        )
        and found[1] not in folders
    ]
    if not left:
        return None
    why = f"{few_of(left)} {'lies' if len(left) == 1 else 'lie'} beside them, and may hold more"
    return "images", why, "unpacking"


# each with the options that switch it off
SIGNS: tuple[tuple[Sign, tuple[str, ...]], ...] = (
    (other_kinds, ("layout", "label_pattern", "label")),
    (pictures_or_splits, ("layout", "label_pattern")),
    (named_as_masks, ("layout", "label_pattern", "exclude")),
    (only_class, ("layout", "label_pattern")),
    (hardly_any_images, ("layout", "label_pattern")),
    (one_patient_each, ("layout", "label_pattern", "group_pattern")),
    (called_alike, ("layout", "label_pattern", "include")),
    (splits_apart, ("layout", "label_pattern")),
    (splits_in_names, ("layout",)),
    (other_label_columns, ("label_pattern",)),
    (codes_apart, ("label_pattern", "label")),
    (words_in_every_class, ("layout", "label_pattern")),
    (parts_in_every_class, ("layout", "label_pattern")),
    (archives_beside, ("include",)),
)
