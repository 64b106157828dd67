"""Which columns of a table hold the path, label, split and patient; labels from one-hot columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, MutableSequence, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.account import Decision
from dataprops.sources.labels import joined, words_of
from dataprops.sources.splitnames import SPLITS, are_splits, split_value
from dataprops.sources.table import SourceOptions
from dataprops.util.names import word_table

_DEFAULTS = SourceOptions()
# Column names in published tables, as `plain_name` normalises them, in order of precedence
PATHS = word_table("""
    path filename filepath imagepath imagefilename file image img imagename imageid filestem relativeimpath
    fname imgname imageindex idcode isicid id name dicomid uri url files filenames images data
    """)
LABELS = word_table("""
    label labels class classes classname target category diagnosis diagnosis1 dx findinglabels
    finding findings level grade y species disease pathology tags classid emotion diagnostic
    labelname labelid classlabel categoryname categoryid tag groundtruth classification birads
    diagnose befund klasse kategorie diagnostico etiqueta clase categoria classe etiquette diagnosi etichetta
    标签 类别 诊断 ラベル 診断 диагноз класс
    """)  # from "diagnose" on in other languages, without accents
PATIENTS = word_table("""
    patient patientid subject subjectid participantid caseid animalid lesionid videoid sequenceid seqid
    patientennummer patientenid 患者 患者id 病人id пациент
    case casenumber studyid studyinstanceuid examid examinationid accessionnumber
    """)  # the last line: fallbacks if no column names the patient; a "case" with two values is case or control
LEAST_CASES = 3
BOX = {"y": "x", "dx": "dy"}  # a label's name, but beside the other column a coordinate
# words that in combination name a patient column: Patient_num, PatientNo, ID paciente
_PERSON = frozenset(("patient", "patients", "patienten", "subject", "participant", "paciente", "paziente", "patiente"))
_NUMBER = frozenset(("id", "ids", "no", "nr", "num", "nb", "number", "nummer", "numero", "index", "code", "key", "uid"))
_IDS = frozenset(("id", "ids", "uid", "uuid"))  # metadata only with a word of `_WHO`: user_id, but not landmark_id
_WHO = frozenset(
    word_table("""
    user writer author annotator rater reader worker session site image file study series slide
    """)
)
OTHER_IDS = ("study", "studyid", "series", "seriesid", "split", "group", "index")
FILLED = 0.5  # least fraction of a label column's cells that are not empty
FILES = 0.9  # least fraction of a column's values that look like file names
PARTS = ("split", "splits", "set", "subset", "partition", "phase", "dataset", "fold", "usage")
BINARY = frozenset({"0", "1", "0.0", "1.0", "true", "false"})
UNCERTAIN = frozenset({"-1", "-1.0"})  # in CheXpert and MIMIC-CXR; counts as 0
# Binary columns that describe a person or the table and are not classes
META = frozenset(
    word_table("""
    sex gender male female ismale isfemale smoker age verified valid isvalid test istrain istest train val
    quality usable followup laterality view deleted index biopsy biopsed invasive implant difficultnegativecase
    siteid machineid center node split fold smoke drink slide iscrowd augmented uid uuid x y w h x1 y1 x2 y2
    xmin ymin xmax ymax isoccluded istruncated
    """)
)
NAMED = 6  # columns named in a message
ONLY_ONES = "it is the only column of 0 and 1 that describes the image"
MARK = frozenset({"x"})
POSITIVE = MARK | {"1", "1.0", "true", "yes"}


def plain_name(column: str) -> str:
    """Normalise a column name: without case, blanks, punctuation and accents.

    >>> plain_name("Image Index"), plain_name("file_name"), plain_name("Diagnóstico")
    ('imageindex', 'filename', 'diagnostico')
    """
    text = str(column).lower()
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
    return "".join(filter(str.isalnum, text))


def is_patient(column: str) -> bool:
    """Whether a column's name says that it identifies a patient.

    >>> is_patient("Patient_num"), is_patient("ID paciente"), is_patient("patient age")
    (True, True, False)
    """
    words = set(words_of(str(column)))
    return plain_name(column) in PATIENTS or bool(words & _PERSON and words <= _PERSON | _NUMBER)


def known_as(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Columns whose normalised name is one of `names`, in the order of `names`."""
    by_name = {}
    for column in columns:
        by_name.setdefault(plain_name(column), column)
    return [by_name[name] for name in names if name in by_name]


def path_column(
    frame: pd.DataFrame,
    options: SourceOptions,
    exist: Callable[[str], float],
    where: str,
    named: Callable[[Sequence[str]], float] = lambda _: 0.0,
) -> tuple[str, list[Decision]]:
    """The path column: the requested one, else the first with a known name whose values exist, else the only one of file names.

    Parameters
    ----------
    exist : callable
        exist(column) -> fraction of its values that are existing files.
    named : callable
        named(values) -> fraction of them that look like file names.

    Raises
    ------
    DatapropsError
        If there is none, or several without a known name.
    """
    if options.path_column in frame.columns:
        return options.path_column, []
    if options.path_column == _DEFAULTS.path_column:
        for column in known_as(frame.columns.tolist(), PATHS):
            if exist(column) > 0:
                return column, [Decision("columns", f"{column!r} is the path", "its values are files", "--path-column")]
        found = columns_of_files(frame, named)
        if len(found) > 1:
            raise DatapropsError(
                f"{where} has several columns of files, {', '.join(found)}: name one of them with --path-column"
            )
        if found:
            why = "it is the only one whose values are file names"
            return found[0], [Decision("columns", f"{found[0]!r} is the path", why, "--path-column")]
    raise _missing(frame, options.path_column, where, "path", "; if the images lie elsewhere, give --images DIR")


def columns_of_files(frame: pd.DataFrame, named: Callable[[Sequence[str]], float]) -> list[str]:
    """Columns of file names with enough distinct values; only those of paths, if there are any."""
    found = []
    for column in frame.columns:
        values = [value for value in texts_of(frame[column]) if value is not None]
        if len(values) >= FILES * len(frame) and len(set(values)) > len(values) / 4 and named(values) >= FILES:
            found.append(str(column))
    paths = [column for column in found if _text(frame[column]).str.contains(r"[/.\\\\]").mean() >= FILES]
    return paths or found


def long_table(frame: pd.DataFrame, named: Callable[[Sequence[str]], float]) -> pd.DataFrame | None:
    """Pivot a table with one row per image and label (``ID_1_epidural,0``) to one row per image; None for other tables."""
    label = next(iter(known_as(frame.columns.tolist(), LABELS)), None)
    if len(frame.columns) != 2 or label is None:
        return None
    (ids,) = (column for column in frame.columns if column != label)
    parts = _text(frame[ids]).str.extract(r"^(.+)_([A-Za-z]\w*)$")
    values = _text(frame[label]).str.strip().str.lower()
    if parts.isna().any(axis=None) or not set(values) <= BINARY or not 1 < parts[1].nunique() <= len(frame) / 2:
        return None
    if named(parts[0].tolist()) < FILES:
        return None
    sets: dict[str, set[str]] = {}
    for image, name, value in zip(parts[0], parts[1], values, strict=True):
        sets.setdefault(image, set()).update({name} if value in POSITIVE else ())
    labels = [joined(names - {"any"} or names) for names in sets.values()]  # "any" is implied by the others
    return pd.DataFrame({str(ids): list(sets), str(label): labels}, dtype=object)


def _missing(frame: pd.DataFrame, column: str, where: str, what: str, more: str = "") -> DatapropsError:
    return DatapropsError(
        f"{where} has no column {column!r} (it has {', '.join(map(str, frame.columns))}): name it with --{what}-column{more}"
    )


def texts_of(column: pd.Series) -> list[str | None]:
    """Cells as text; None if empty."""
    return [
        None
        if _is_none(value)
        else value.decode("utf-8", "surrogateescape")
        if isinstance(value, bytes)
        else str(value)
        for value in column
    ]


def is_meta(column: str) -> bool:
    """Whether a column describes a person or the table, by its name or the name's last word: patient_sex."""
    last = last_word(column)
    return (
        plain_name(column) in META
        or is_patient(column)
        or last in META
        or bool(set(words_of(column)[-1:]) & _IDS and set(words_of(column)) & _WHO)
    )


def labels_first(columns: Sequence[str]) -> list[str]:
    """Sort columns by how likely they are labels: label names first, then others, then metadata (`is_meta`).

    >>> labels_first(["age", "kind", "Diagnosis"])
    ['Diagnosis', 'kind', 'age']
    """
    return sorted(columns, key=lambda column: (is_meta(column), last_word(column) not in LABELS))


def _text(column: pd.Series) -> pd.Series:
    """Cells as text, "nan" if empty; dtype object, since pandas' string dtype cannot hold surrogates (bytes that are not UTF-8)."""
    return pd.Series(["nan" if text is None else text for text in texts_of(column)], column.index, dtype=object)


def _is_none(value: object) -> bool:
    return value is None or value != value


def labels_of(
    frame: pd.DataFrame, options: SourceOptions, where: str, used: MutableSequence[str]
) -> tuple[list[str | None], bool, list[Decision]]:
    """Label of each row, whether an image may have several labels, and the decisions.

    Parameters
    ----------
    where : str
        Name of the table, for error messages.
    used : mutable sequence of str
        Columns with another role; the label columns are appended.

    Raises
    ------
    DatapropsError
        If there is no label column.
    """
    if options.one_hot:
        columns = one_hot_columns(frame, options.one_hot, where, used)
        used.extend(columns)
        return *one_hot(frame, columns), []
    if options.label_column in frame.columns:
        used.append(options.label_column)
        return texts_of(frame[options.label_column]), False, []
    if options.label_column != _DEFAULTS.label_column:
        raise _missing(frame, options.label_column, where, "label")
    others = [str(column) for column in frame.columns if column not in used]
    binary = [column for column in binary_columns(frame) if column in others]
    if len(binary) < len(others) and all(re.fullmatch(r"column \d+", column) for column in others):
        binary = []  # without names, some columns of 0 and 1 among others are votes or counts
    for rule in (_by_name, _of_masks, _by_last_word, _of_ones, _only_binary, _only_other):
        if (found := rule(frame, others, binary)) is not None:
            used.extend(found.columns)
            ones = one_hot(frame, found.columns) if found.labels is None and len(found.columns) > 1 else None
            labels, several = ones or (found.labels or texts_of(frame[found.columns[0]]), found.several)
            value = found.value or f"{found.columns[0]!r} is the label"
            option = "--label-column or --one-hot" if ones else "--label-column"
            chosen = tuple(found.columns) if found.labels is None else ()
            return labels, several, [Decision("columns", value, found.why, option, chosen)]
    more = ", or columns of 0 and 1 with --one-hot COLUMNS" if len(frame.columns) > 2 else ""
    raise _missing(frame, options.label_column, where, "label", more)


class Found(NamedTuple):
    """Label columns, and why; the labels, unless they are the cells, or the names of the columns that are 1."""

    columns: list[str]
    why: str
    value: str = ""
    labels: list[str | None] | None = None
    several: bool = False


# How label columns are found, in order of precedence: rule(table, columns without another role, those of 0 and 1) -> Found or None


def _by_name(frame: pd.DataFrame, others: Sequence[str], binary: Sequence[str]) -> Found | None:
    plain = {plain_name(column) for column in frame.columns}
    named = [name for name in known_as(others, LABELS) if BOX.get(plain_name(name)) not in plain]
    named.sort(key=lambda name: frame[name].notna().mean() < FILLED)  # the filled ones first
    return Found(named[:1], f"chosen by name from {len(frame.columns)} columns") if named else None


def _of_masks(frame: pd.DataFrame, others: Sequence[str], binary: Sequence[str]) -> Found | None:
    """Kaggle's columns of masks (``EncodedPixels``: with, without) or of boxes with WordNet ids (``PredictionString``)."""
    by_name = {plain_name(column): str(column) for column in frame.columns}
    if column := by_name.get("encodedpixels"):
        empty = frame[column].isna() | _text(frame[column]).str.strip().isin({"-1", "", "nan"})
        labels: list[str | None] = ["without" if none else "with" for none in empty]
        return Found([column], "it holds run-length masks, or -1", f"{column!r}: with or without a mask", labels)
    if (column := by_name.get("predictionstring")) and _text(frame[column]).str.match(r"n\d{8} ").all():
        names = [joined(re.findall(r"\bn\d{8}\b", str(value))) for value in frame[column]]
        return Found(
            [column], "it holds WordNet ids with boxes", f"{column!r}: the classes of its boxes", [*names], True
        )
    return None


def _by_last_word(frame: pd.DataFrame, others: Sequence[str], binary: Sequence[str]) -> Found | None:
    """The only filled column whose last word is a label's name; with two values, columns of 0 and 1 beside it go first."""
    filled = frame.columns[frame.notna().mean() >= FILLED]
    ending = [column for column in others if column in filled and last_word(column) in LABELS]
    if len(ending) != 1 or (frame[ending[0]].nunique() <= 2 and _of_ones(frame, others, binary) is not None):
        return None
    return Found(ending, f"the only one of {len(frame.columns)} columns with such a name")


def _of_ones(frame: pd.DataFrame, others: Sequence[str], binary: Sequence[str]) -> Found | None:
    if (found := _found_one_hot(frame, binary)) is None:
        return None
    columns, why = found
    return Found(columns, why, f"the column that is 1, of {named_columns(columns)}")


def _only_binary(frame: pd.DataFrame, others: Sequence[str], binary: Sequence[str]) -> Found | None:
    alone = [column for column in binary if not is_meta(column)]
    return Found(alone, ONLY_ONES) if len(alone) == 1 and frame[alone[0]].nunique() > 1 else None


def _only_other(frame: pd.DataFrame, others: Sequence[str], binary: Sequence[str]) -> Found | None:
    others = [column for column in others if not is_meta(column)]
    if len(frame.columns) == 2 and len(others) == 1 and 1 < frame[others[0]].nunique() <= len(frame) / 2:
        return Found(others, "it is the only other column")
    return None


def named_columns(columns: Sequence[str]) -> str:
    """Column names for a message, truncated."""
    return f"{', '.join(columns[:NAMED])}{', ...' if len(columns) > NAMED else ''}"


def last_word(column: str) -> str:
    """The last word of a column's name, in lower case.

    >>> last_word("Retinopathy grade"), last_word("fine_label")
    ('grade', 'label')
    """
    return (re.findall(r"[a-z0-9]+", str(column).lower()) or [""])[-1]


def asks_for_labels(options: SourceOptions) -> bool:
    """Whether columns of labels were requested."""
    return bool(options.one_hot) or options.label_column != _DEFAULTS.label_column


def without_labels(frame: pd.DataFrame, path: str, options: SourceOptions) -> bool:
    """Whether a table has only paths, splits and ids, and no label was requested."""
    known = {*PARTS, *OTHER_IDS}
    others = [
        column
        for column in frame.columns
        if column != path and plain_name(column) not in known and not is_patient(column)
    ]
    return not asks_for_labels(options) and all(str(column).startswith("Unnamed") for column in others)


def binary_columns(frame: pd.DataFrame) -> list[str]:
    """Columns with only 0 and 1 (and -1 for uncertain), or only X and empty cells."""
    return [
        str(column)
        for column, cells in frame.items()
        if ((values := _marks(cells)) == MARK and cells.isna().any())
        or (values <= BINARY | UNCERTAIN and values & BINARY)
    ]


def _marks(cells: pd.Series) -> set[str]:
    """Distinct values of a column in lower case, up to the first that is not binary, since tables may have thousands of columns."""
    values: set[str] = set()
    for value in cells:
        if not pd.isna(value):
            values.add(str(value).strip().lower())
            if not values <= BINARY | UNCERTAIN | MARK:
                break
    return values


def _found_one_hot(frame: pd.DataFrame, binary: Sequence[str]) -> tuple[list[str], str] | None:
    """The binary columns that are classes, and why; None if there are none.

    If at least two thirds of them, adjacent, hold exactly one 1 in each row, only these are classes.
    """
    columns = [column for column in binary if not is_meta(column)]
    telling = [column for column in columns if frame[column].nunique(dropna=False) > 1]
    columns = telling if len(telling) > 1 else columns  # a constant column separates no classes
    marked = any(set(frame[column].dropna().str.strip().str.lower()) == MARK for column in columns)
    why = "they contain only X" if marked else "they contain only 0 and 1"
    if any(UNCERTAIN & {str(value).strip() for value in frame[column].dropna()} for column in columns):
        why = "they contain 0 and 1, and -1, which counts as 0"
    ones = np.array(
        [[str(value).strip().lower() in POSITIVE for value in frame[column]] for column in columns], np.int64
    )
    if len(columns) > 2 and (ones.sum(0) != 1).any():
        for width in range(len(columns) - 1, max(1, -(-2 * len(columns) // 3) - 1), -1):
            for first in range(len(columns) - width + 1):
                if (ones[first : first + width].sum(0) == 1).all():
                    chosen = columns[first : first + width]
                    others = [column for column in columns if column not in chosen]
                    return chosen, f"each row has one 1 in them; {', '.join(others)} would add a second"
    return (columns, why) if len(columns) > 1 and ones.any() else None


def one_hot_columns(frame: pd.DataFrame, wanted: str, where: str, used: Sequence[str]) -> list[str]:
    """The columns given by --one-hot: comma-separated names, or * for all binary columns that are not `used`.

    Raises
    ------
    DatapropsError
        If a column does not exist.
    """
    if wanted.strip() in ("*", "all"):
        return [column for column in binary_columns(frame) if column not in used]
    columns = [name.strip() for name in wanted.split(",") if name.strip()]
    for column in columns:
        if column not in frame.columns:
            raise DatapropsError(
                f"{where} has no column {column!r} (it has {', '.join(map(str, frame.columns))}): correct --one-hot"
            )
    return columns


def one_hot(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[list[str | None], bool]:
    """Names of the columns that are 1 in each row (None if all its cells are empty), and whether a row may have several or none.

    >>> one_hot(pd.DataFrame({"a": ["1.0", "0"], "b": ["0.0", "1"]}), ["a", "b"])
    (['a', 'b'], False)
    """
    cells = [[str(value).strip().lower() for value in frame[column]] for column in columns]
    filled = frame[list(columns)].notna().any(axis=1).tolist()
    sets = [
        [name for name, cell in zip(columns, row, strict=True) if cell in POSITIVE] for row in zip(*cells, strict=True)
    ]
    several = any(len(some) != 1 for some in sets)
    return [
        None if not there else joined(some) if several else some[0] for some, there in zip(sets, filled, strict=True)
    ], several


class Roles(NamedTuple):
    """Label, split and group of each row of a table; whether an image may have several labels; the label columns; the decisions on
    each of the three.
    """

    label: list[str | None]
    split: list[str | None]
    group: list[str | None]
    several: bool
    by: list[str]
    told: dict[str, list[Decision]]

    @property
    def decisions(self) -> list[Decision]:
        """All of them."""
        return [one for some in self.told.values() for one in some]


def roles(
    frame: pd.DataFrame, options: SourceOptions, where: str, used: MutableSequence[str], bare: bool = False
) -> Roles:
    """What the columns of a table tell, `bare`: without labels; arguments and errors otherwise as those of `labels_of`."""
    before = len(used)
    none: list[str | None] = [None] * len(frame)
    label, several, told = (none, False, []) if bare else labels_of(frame, options, where, used)
    by = list(used[before:])
    split, told_split = optional(frame, "split", options, used)
    group, told_group = optional(frame, "group", options, used)
    return Roles(label, split, group, several, by, {"label": told, "split": told_split, "group": told_group})


def optional(
    frame: pd.DataFrame, what: str, options: SourceOptions, used: MutableSequence[str]
) -> tuple[list[str | None], list[Decision]]:
    """Split or group (`what`) of each row, and the decision: of the requested column, else of the first with a known name, which is
    appended to `used`. Known names of splits are train, val or test.
    """
    values, told = _optional(frame, what, options, used)
    if what == "split":
        values = [None if value is None else split_value(value) for value in values]
    return values, told


def _optional(
    frame: pd.DataFrame, what: str, options: SourceOptions, used: MutableSequence[str]
) -> tuple[list[str | None], list[Decision]]:
    none: list[str | None] = [None] * len(frame)
    wanted, default = (getattr(given, f"{what}_column") for given in (options, _DEFAULTS))
    if wanted in frame.columns:
        used.append(wanted)
        return texts_of(frame[wanted]), []
    if wanted != default:
        return none, [Decision("columns", f"no {what}", f"there is no column {wanted!r}", f"--{what}-column")]
    known = known_as(frame.columns.tolist(), PARTS if what == "split" else PATIENTS)
    known += [column for column in frame.columns if what == "group" and column not in known and is_patient(column)]
    for column in known:
        if column in used:
            continue
        values = texts_of(frame[column])
        if what == "split" and not are_splits(values):
            continue
        if what == "group" and plain_name(column) == "case" and len(set(values)) < LEAST_CASES:
            continue
        used.append(column)
        return values, [Decision("columns", f"{column!r} is the {what}", "by its name", f"--{what}-column")]
    return _part_by_marks(frame, used) if what == "split" else (none, [])


def _part_by_marks(frame: pd.DataFrame, used: MutableSequence[str]) -> tuple[list[str | None], list[Decision]]:
    """Splits from a binary column named after one of them: ``is_train``, ``test``."""
    parts = {str(column): SPLITS.get(plain_name(column).removeprefix("is")) for column in frame.columns}
    named = [column for column in frame.columns if parts[str(column)] in ("train", "test")]
    for column in (
        column for column in binary_columns(frame[named]) if column not in used and frame[column].nunique() > 1
    ):
        part = parts[column]
        used.append(column)
        marked = [None if value is None else value.strip().lower() in POSITIVE for value in texts_of(frame[column])]
        other = "test" if part == "train" else "train"
        values = [None if mark is None else part if mark else other for mark in marked]
        return values, [Decision("columns", f"{column!r} is the split", f"1 is {part}, 0 is {other}", "--split-column")]
    return [None] * len(frame), []
