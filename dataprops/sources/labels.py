"""Labels as numbers (class codes or numeric values), spelling variants of a class, and multi-label images.

The labels of a multi-label image are stored as one string: sorted, without repeats, joined by `SEPARATOR`. In the paper's
definition, |y_j - y_k| is 1 if the labels of two images differ, otherwise 0. For label sets, written as 0/1 vectors, that is the
L-infinity distance: 1 if any label is on one image and not on the other. ``--label NAME`` classifies one label against the rest.
"""

from __future__ import annotations

import ast
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dataprops.errors import DatapropsError


def _number(text: str) -> float | None:
    if "_" in text:  # Python parses 1_5 as 15; as a label it is a name
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def label_values(
    labels: Sequence[str | None], kind: str = "auto", paths: Sequence[str] | None = None
) -> tuple[str, np.ndarray, list[str]]:
    """Convert labels to numbers.

    Parameters
    ----------
    labels : sequence of str or None
        None = unlabelled.
    kind : str
        "classes", "numbers", or "auto": numbers if all labels are numeric and at least one is not an integer,
        otherwise classes.
    paths : sequence of str, optional
        For the error message.

    Returns
    -------
    kind : str
        "classes", "numbers" or "none".
    y : float64 [n]
        Index into `classes`, or the numeric label; NaN = unlabelled.
    classes : list of str
        Distinct labels, integers in numeric order, others in alphabetic order; empty unless `kind` is "classes".

    Raises
    ------
    DatapropsError
        If `kind` is "numbers" and a label is not numeric.
    """
    given = sorted({label for label in labels if label is not None})
    if not given:
        return "none", np.full(len(labels), np.nan), []
    numbers = {label: _number(label) for label in given}
    if kind == "auto":
        values = list(numbers.values())
        fractional = all(v is not None for v in values) and any(v is not None and v != int(v) for v in values)
        kind = "numbers" if fractional else "classes"
    if kind == "numbers":
        for position, label in enumerate(labels):
            if label is not None and numbers[label] is None:
                where = f" (of {paths[position]})" if paths is not None else ""
                raise DatapropsError(
                    f"the label {label!r}{where} is not a finite number: use --labels classes, or correct it"
                )
        table = {label: float(value) for label, value in numbers.items() if value is not None}
        return "numbers", np.array([math.nan if label is None else table[label] for label in labels]), []
    whole = {label: value for label, value in numbers.items() if value is not None and value == int(value)}
    if len(whole) == len(given):
        given.sort(key=lambda label: (whole[label], label))
    code = {label: float(position) for position, label in enumerate(given)}
    return "classes", np.array([math.nan if label is None else code[label] for label in labels]), given


SEPARATOR = "|"
# space-separated labels: minimum fraction of words found in two texts; minimum number of different text lengths, in words
RECURRING, LENGTHS = 0.8, 3
NO_LABELS = "(none)"  # a multi-label image that was annotated and has no label


def joined(labels: Iterable[str]) -> str:
    """Join the labels of one image into one string; "(none)" is dropped if there are others.

    >>> joined(["b", "a", "b"]), joined([]), joined(["(none)", "a"])
    ('a|b', '(none)', 'a')
    """
    return SEPARATOR.join(sorted({label.strip() for label in labels} - {"", NO_LABELS})) or NO_LABELS


class Several(NamedTuple):
    """Labels of a multi-label dataset: the labels of each image, and the number of images with each label."""

    labels: list[str | None]
    counts: dict[str, int]


def several(labels: Sequence[str | None], separators: str = "|;,", *, sure: bool = False) -> Several | None:
    """Split the labels of a multi-label dataset; None if every image has a single label.

    Lists (``['a', 'b']``) are parsed; of 0 and 1 for each class (``[1, 0, 0]``), the positions of the 1s are the labels. A separator
    is accepted if parts of the labels also occur alone, or in two different combinations: ``No Finding``, ``Mass|Nodule``, ``Mass``.

    Parameters
    ----------
    sure : bool
        Whether `SEPARATOR` is known to separate labels.

    >>> several(["A|B", "A", "C"]).counts, several(["Salt, sea", "Sweet"])
    ({'A': 2, 'B': 1, 'C': 1}, None)
    """
    texts = [label for label in labels if label is not None]
    if sure:
        return _counted([None if text is None else text.split(SEPARATOR) for text in labels])
    if words := _words(texts):
        return _counted([None if text is None else words.get(text, [text]) for text in labels])
    lists = {text: parts for text in set(texts) if (parts := _listed(text)) is not None}
    if lists:
        lists = _of_vectors(lists)
        return _counted([None if text is None else lists.get(text, [text]) for text in labels])
    for separator in separators:
        held = {text for text in texts if separator in text}
        if not held:
            continue
        parts = Counter(part.strip() for text in held for part in text.split(separator))
        alone = {text.strip() for text in set(texts) - held} | {part for part, times in parts.items() if times > 1}
        known = sum(1 for part in parts if part in alone)
        enough = known >= 1 if separator == SEPARATOR else known >= max(2, len(parts) / 2)
        if enough and "" not in parts:
            return _counted([None if text is None else text.split(separator) for text in labels])
    return None


def _words(texts: Sequence[str]) -> dict[str, list[str]]:
    """Space-separated labels: numbers; words that each occur alone as a label; or a few words in more combinations than there are
    words, of at least three lengths. ``left eye`` and ``right hand`` are single classes.

    >>> _words(["16 0", "5"]), _words(["left eye", "right eye", "left hand", "right hand"])
    ({'16 0': ['16', '0']}, {})
    """
    whole = {text: text.split() for text in set(texts)}
    held = {text: parts for text, parts in whole.items() if len(parts) > 1}
    if not held or any(len(set(parts)) < len(parts) for parts in held.values()):
        return {}
    words = Counter(word for parts in whole.values() for word in parts)
    if all(word.isdecimal() for word in words):
        return held
    alone = {text.strip() for text in texts} - {text.strip() for text in held}
    if len(held) > 1 and all(set(parts) <= alone for parts in held.values()):
        return held
    again = sum(number > 1 for number in words.values()) >= RECURRING * len(words)
    lengths = {len(parts) for parts in whole.values()}
    return held if again and len(lengths) >= LENGTHS and len(whole) > len(words) else {}


def _listed(text: str) -> list[str] | None:
    text = text.strip()
    if text[:1] not in "[({" or text[-1:] not in "])}":
        return None
    if "," not in text:  # numpy's format: ['a' 'b'], [0 1]
        if re.fullmatch(r"\[[\d.\s+-]*\]", text):
            return text[1:-1].split()
        text = re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return [str(part) for part in value] if isinstance(value, list | tuple | set) else None


def _of_vectors(lists: dict[str, list[str]]) -> dict[str, list[str]]:
    """The positions of the 1s, if all lists have one 0 or 1 for each class; other lists are returned unchanged.

    >>> _of_vectors({"[1, 0, 0]": ["1", "0", "0"], "[0, 1, 1]": ["0", "1", "1"]}), _of_vectors({"[0, 1]": ["0", "1"]})
    ({'[1, 0, 0]': ['0'], '[0, 1, 1]': ['1', '2']}, {'[0, 1]': ['0', '1']})
    """
    repeated = any(len(set(parts)) < len(parts) for parts in lists.values())
    alike = len({len(parts) for parts in lists.values()}) == 1
    if not repeated or not alike or not {part for parts in lists.values() for part in parts} <= {"0", "1"}:
        return lists
    return {text: [str(at) for at, part in enumerate(parts) if part == "1"] for text, parts in lists.items()}


def _counted(parts: Sequence[Sequence[str] | None]) -> Several:
    labels = [None if some is None else joined(some) for some in parts]
    count = Counter(part for label in labels if label is not None for part in label.split(SEPARATOR))
    return Several(labels, dict(sorted(count.items())))


def one_against_rest(labels: Sequence[str | None], wanted: str) -> list[str | None]:
    """Binary labels: the name of the wanted label, or "not" and the name.

    Raises
    ------
    DatapropsError
        If no image has the label.

    >>> one_against_rest(["A|B", "B", None], "A")
    ['A', 'not A', None]
    """
    known = sorted({part for label in labels if label is not None for part in label.split(SEPARATOR)})
    name = next((part for part in known if part == wanted), None)
    name = name or next((part for part in known if spelling_key(part) == spelling_key(wanted)), None)
    if name is None:
        raise DatapropsError(f"no image has the label {wanted!r}: labels are {', '.join(known[:30])}")
    return [None if label is None else name if name in label.split(SEPARATOR) else f"not {name}" for label in labels]


_SEPARATED = re.compile(r"(?<=[^\W_])[\s_\-]+(?=[^\W_])|\s+|_+")
# an optional space: between a letter and a digit, and between words of at least two letters
_JOINED = re.compile(r"(?<=[^\W\d]) (?=\d)|(?<=\d) (?=[^\W\d])|(?<=[^\W\d]{2}) (?=[^\W\d]{2})")


def unaccented(name: str) -> str:
    """A name without accents.

    >>> unaccented("validação"), unaccented("Prüfung")
    ('validacao', 'Prufung')
    """
    if name.isascii():
        return name
    name = name.replace("æ", "ae").replace("ø", "o")
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def words_of(name: str) -> list[str]:
    """Words of a name, lower-cased and without accents.

    >>> words_of("train_images"), words_of("/fold1/X_test"), words_of("trainImages")
    (['train', 'images'], ['fold', 'x', 'test'], ['train', 'images'])
    """
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", unaccented(name))]


def spelling_key(label: str) -> str:
    """Key shared by labels that differ only in spelling: case, spaces, separators, 0 and 0.0.

    Separators are significant between numbers (``1-2``) and single letters (``I-II``), and at the ends (``HER2-``).

    >>> len({spelling_key(text) for text in ("No Tumor", "no_tumor ", "NO-TUMOR")}), spelling_key("1.0") == spelling_key("1")
    (1, True)
    >>> spelling_key("a") == spelling_key("A"), spelling_key("007") == spelling_key("7")
    (False, False)
    >>> len({spelling_key(text) for text in ("grade 2", "Grade-2", "grade2")}), spelling_key("I-II") == spelling_key("III")
    (1, False)
    """
    text = "".join(c for c in unicodedata.normalize("NFKC", label) if unicodedata.category(c) != "Cf").strip()
    if re.fullmatch(r"[+-]?(?:0|[1-9]\d*)\.0*", text):
        return text.partition(".")[0]
    if len(text) <= 1 or _number(text) is not None:
        return text  # single letters are case-sensitive
    text = _SEPARATED.sub(" ", text)
    return _JOINED.sub("", text).casefold()


_TRUTH = {"true": "1", "false": "0"}


class Spelling(NamedTuple):
    """A class with several spellings: the spelling kept, and the number of images with each."""

    kept: str
    counts: dict[str, int]


def one_spelling(labels: Sequence[str | None]) -> tuple[list[str | None], list[Spelling]]:
    """Merge labels that differ only in spelling: the most frequent spelling is kept; ties go to the plainer one.

    >>> one_spelling(["cat", "Cat ", "cat", None])
    (['cat', 'cat', 'cat', None], [Spelling(kept='cat', counts={'cat': 2, 'Cat ': 1})])
    """
    count = Counter(label for label in labels if label is not None)
    keys = {label: spelling_key(label) for label in count}
    if set(keys.values()) <= set(_TRUTH) | set(_TRUTH.values()):  # True and 1
        keys = {label: _TRUTH.get(key, key) for label, key in keys.items()}
    alike: dict[str, list[str]] = defaultdict(list)
    for label in count:
        alike[keys[label]].append(label)
    kept: dict[str, str] = {}
    found = []
    for some in alike.values():
        if len(some) > 1:
            some.sort(
                key=lambda label: (label != label.strip(), "." in label, -count[label], not label.islower(), label)
            )
            kept.update(dict.fromkeys(some, some[0]))
            found.append(Spelling(some[0], {label: count[label] for label in some}))
    return [label if label is None else kept.get(label, label) for label in labels], found


def spelled(spellings: Iterable[Spelling]) -> str:
    """Spellings with their counts, for a message.

    >>> spelled([Spelling("cat", {"cat": 2, "Cat ": 1})])
    "'cat' (2), 'Cat ' (1)"
    """
    return "; ".join(
        ", ".join(f"{label!r} ({number:,})" for label, number in some.counts.items()) for some in spellings
    )


# Markers that programs write for missing values
MISSING = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "none", "null", "nat"})
SURELY_MISSING = frozenset({"nan", "<na>", "#n/a", "nat"})


def without_missing(labels: Sequence[str | None]) -> tuple[list[str | None], dict[str, int]]:
    """Replace missing-value markers by None; return the labels and the count of each marker.

    ``nan`` and the like always count. NA, None and null can be class names: they count only if ``nan`` or the like occurs too, or
    if they occur in two spellings.

    >>> without_missing(["a", "nan", "None"]), without_missing(["None", "some"])
    ((['a', None, None], {'nan': 1, 'None': 1}), (['None', 'some'], {}))
    """
    seen = Counter(label for label in labels if label is not None and label.strip().lower() in MISSING)
    kinds = {label.strip().lower() for label in seen}
    if not kinds & SURELY_MISSING and len(kinds) < 2:
        return list(labels), {}
    return [None if label in seen else label for label in labels], dict(seen)
