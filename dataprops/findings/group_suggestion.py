"""Undeclared patient ids: detected in file names, or from studies and series of the DICOM headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row

LEAST_SHARE = 0.5  # fraction of files that a pattern must match
LEAST_REPEATED = 0.1  # fraction of matched files that share their id with another file
LEAST_IDS = 5
MOST_WORDS = 6  # at the beginning of a name
MOST_FOLDERS = 4  # maximum folder depth
# sample of names tried first: if a pattern matches half of all, less than a third of the sample matches with probability 10^-25
TRIED, LEAST_TRIED = 1_000, 1 / 3


class Suggestion(NamedTuple):
    """A pattern; the numbers of matched images, groups, images that share a group, and groups across splits; each image's id."""

    pattern: str
    matched: int
    groups: int
    repeated: int
    across: int
    ids: pd.Series


# most specific first: common patient ids, then studies or scans
PATTERNS = (
    r"(?i)/?((?:patient|person|subject|subj|sub|case|pat|pid|participant)[-_ ]?[0-9]+)",
    # id formats of large studies (TCGA, ADNI, MIMIC), and P001
    r"((?<![A-Z])TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}|(?<![0-9])[0-9]{3}_S_[0-9]{4}(?![0-9])|(?<![a-z0-9])p1[0-9]{7}(?![0-9]))",
    r"(?:^|[/_-])(P_?[0-9]{2,})(?=[/_.-])",
    r"([A-Z]{2,8}-[0-9]{5,}|[A-Z][0-9]+P[0-9]+)",
    r"(?i)(?:^|/)([^/]+?)[-_ ]?(?:frame|slice|img|image|view|frm)[-_ ]?[0-9]+\.[a-z0-9.]+$",  # video frames, slices of a series
    r"(?:^|/)([A-Za-z_-]*[0-9]+)[-_ ]?(?:O[DS]|[LR]|[Ll]eft|[Rr]ight)[-_.][^/]*$",  # left and right eye or knee
    r"(?:^|[/_-])((?!(?:19|20)[0-9]{2}[01][0-9][0-3][0-9])[0-9a-f]{12,})(?=[/_.-])",  # hashed id, not a date and time
)
# enclosing folders, outermost first
FOLDERS = tuple(rf"^{'[^/]+/' * number}([^/]+)/" for number in range(MOST_FOLDERS))
# leading words of the file name, fewest first
WORDS = tuple(rf"(?:^|/)({'[^/_. -]+[_. -]' * number}[^/_. -]+)[_. -][^/]*[.][^/.]+$" for number in range(MOST_WORDS))
WORDS += (r"(?:^|/)([^/]*[0-9])[^0-9/]+[0-9]+[.][^/.]+$",)  # all before the last number: s01z040, a UID and a slice
NUMBER = r"(?:^|/|__)([0-9]{5,})(?=[LR_.-])"  # may be a class, or number the files of a folder
# taken within one minute
MINUTE = r"((?:19|20)[0-9]{2}-?[01][0-9]-?[0-3][0-9][-_T ]?[0-2][0-9][-_:]?[0-5][0-9])[-_:]?[0-5][0-9]"
HEADERS = ("study", "series")  # columns of `images`
DAY = r"(?<![0-9])(?:19|20)[0-9]{2}[-._]?[01][0-9](?:[-._]?[0-3][0-9])?(?![0-9])"  # date: many patients share one
RUNNING = 0.9  # minimum fraction of the numbers up to the largest that are used, of running numbers


def suggestion(images: pd.DataFrame) -> Suggestion | None:
    """The first pattern that yields groups of several images, unless its ids are classes, splits or the same for all images."""
    path = images["path"].astype(str)
    best = None
    for pattern in _likely(PATTERNS, path):
        ids = path.str.extract(pattern, expand=False)
        found = _judged(images, pattern, ids)
        if found is not None and (best is None or found.matched > 1.5 * best.matched):
            best = found
    return best or _shortest(images, path, (NUMBER, *WORDS, MINUTE)) or _by_folder(images, path) or _by_header(images)


def _likely(patterns: Sequence[str], path: pd.Series) -> list[str]:
    """Patterns, without those that match too few of a sample of names."""
    some = path.sample(min(TRIED, len(path)), random_state=0)
    return [pattern for pattern in patterns if some.str.extract(pattern, expand=False).notna().mean() >= LEAST_TRIED]


def _shortest(images: pd.DataFrame, path: pd.Series, patterns: Sequence[str]) -> Suggestion | None:
    """The first of these patterns that yields groups, except those whose ids are the classes."""
    for pattern in _likely(patterns, path):
        found = _judged(images, pattern, path.str.extract(pattern, expand=False))
        if found is not None and not _are_classes(images, found):
            return found
    return None


def _by_folder(images: pd.DataFrame, path: pd.Series) -> Suggestion | None:
    """Outermost folders that yield groups, if file names repeat between them; otherwise they are chunks of a large dataset."""
    name = path.str.extract("([^/]+)$", expand=False)
    return _shortest(images, path, FOLDERS) if name.duplicated(keep=False).mean() >= LEAST_REPEATED else None


def _are_classes(images: pd.DataFrame, found: Suggestion) -> bool:
    """Whether there are no more ids than classes, each within one class: ``n01440764_10026.JPEG``."""
    label = images["label"] if "label" in images else pd.Series([None] * len(images), index=images.index)
    return found.groups <= label.nunique() and bool((label.groupby(found.ids).nunique() <= 1).all())


def _by_header(images: pd.DataFrame) -> Suggestion | None:
    """DICOM studies, else series, if the headers have no patient id."""
    for column in HEADERS:
        if column in images and images[column].notna().any():
            found = _judged(images, column, images[column].astype(object).where(images[column].notna()))
            if found is not None:
                return found
    return None


def _judged(images: pd.DataFrame, pattern: str, ids: pd.Series) -> Suggestion | None:
    matched = ids.notna()
    if matched.sum() < max(LEAST_SHARE * len(ids), 10):
        return None
    sizes = ids[matched].value_counts()
    repeated = int(sizes[sizes > 1].sum())
    # a patient has few images, not a tenth of the dataset; and most ids differ
    if len(sizes) < LEAST_IDS or repeated < LEAST_REPEATED * matched.sum() or sizes.iloc[0] > max(0.1 * len(ids), 20):
        return None
    if _are_days(sizes.index.to_series()) or _are_running(images["path"][matched], ids[matched]):
        return None
    across = 0
    if images["split"].notna().any():
        splits = images.loc[matched, "split"].groupby(ids[matched]).nunique()
        across = int((splits > 1).sum())
    return Suggestion(pattern, int(matched.sum()), len(sizes), repeated, across, ids)


def _are_days(ids: pd.Series) -> bool:
    """Whether ids are dates after a few words: ``IMG_20190304``."""
    word = ids.astype(str).str.extract(f"^(.*?){DAY}$", expand=False)
    return word.notna().mean() > LEAST_SHARE and word.nunique() < LEAST_IDS


def _are_running(path: pd.Series, ids: pd.Series) -> bool:
    """Whether ids are whole file names that number the files of each folder: ``train/0/00001.png``."""
    whole = path.astype(str).str.extract(r"([^/]+?)[.][^/]*$", expand=False) == ids
    numbers = pd.to_numeric(pd.Series(ids.unique()), errors="coerce")
    return bool(whole.mean() > LEAST_SHARE and numbers.notna().all() and len(numbers) >= RUNNING * (numbers.max() + 1))


def find(context: Context) -> Iterator[Row]:
    """One row with the pattern, if no groups are known; its value is the number of groups it yields."""
    if context.images["group"].notna().any():
        return
    found = suggestion(context.images)
    if found is None:
        return
    part = (
        "every file"
        if found.matched == len(context.images)
        else f"{found.matched:,} of {len(context.images):,} files; each of the others would be a group of its own"
    )
    leaks = f"; {found.across:,} of them are in two splits" if found.across else ""
    example = found.ids.value_counts().index[0]
    members = context.images.loc[found.ids == example, "image"].to_numpy()
    if found.pattern in HEADERS:
        yield (
            members[:20],
            found.groups,
            f"The DICOM headers name no patient, but {found.groups:,} {found.pattern if found.pattern == 'series' else 'studies'}"
            f" ({part}){leaks}: a manifest with them as --group-column keeps the images of each together.",
        )
        return
    yield (
        members[:20],
        found.groups,
        f"--group-pattern '{found.pattern}' matches {found.groups:,} ids ({part}), e.g. “{example}” with"
        f" {len(members)} images{leaks}.",
    )


def measures(context: Context) -> dict[str, float]:
    """suggested_group_leaks: groups of the suggested pattern that are in two splits."""
    if context.images["group"].notna().any() or not context.images["split"].notna().any():
        return {}
    found = suggestion(context.images)
    return {} if found is None else {"suggested_group_leaks": float(found.across)}


FINDING = Finding(
    name="group_suggestion",
    severity="info",
    title="Possible patient ids",
    explanation=(
        "The file names seem to contain an id, or the headers a study. If it identifies the patient (or a video, an object), pass the"
        " pattern: the audit then finds patients in two splits, and the folds of the classifier keep patients together."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="suggested_group_leaks",
            measure="suggested_group_leaks",
            max=0,
            severity="info",
            title="no id in the file names in two splits",
            sentence=(
                "{value:id in the file names is|ids in the file names are} in two splits: if they are patients, test results"
                " will be over-optimistic."
            ),
            reason="a network can recognise a patient; only the user knows whether the id identifies a patient",
        ),
    ),
    shown="groups",
)
