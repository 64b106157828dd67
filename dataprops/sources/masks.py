"""Mask detection, and selection by --include and --exclude.

A mask is recognised by its name and its partner: ``x_mask.png`` beside ``x.png``, or files in ``masks`` with the same names as
files in a sibling folder ``images``. Files without partners are kept: a folder ``with_mask`` may be a class.
"""

from __future__ import annotations

import bisect
import fnmatch
import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

from dataprops.sources.account import EXCLUDED, MASK, NONE_LEFT_OUT, NOT_INCLUDED, Decision
from dataprops.sources.splitnames import split_of
from dataprops.sources.table import shown
from dataprops.util.names import without_ending

_WORD = (
    r"(?:(?:binary|bin|lesion|tumou?r|brain|lung|fg|training|train|test)[-_ ]?)?"
    r"(?:masks?|segs?|dseg|segmentations?|segmask|seg[-_]?map|gt|ground[-_ ]?truth|annotations?|rois?|labels?|matte|trimap|manual\d?"
    r"|lesions?|experts?\d?"
    r"|overlays?|heat[-_ ]?maps?|depth|disparity|thumb(?:nail)?s?|previews?|contours?|annos?|\dst[-_]?HO|\dnd[-_]?HO"
    r"|gt(?:fine|coarse)[-_](?:color|labelids|instanceids|labeltrainids))"
)
SUFFIX = re.compile(rf"(?P<base>.+?)[-_. ]{_WORD}(?:[-_. ]?\d+)?$", re.IGNORECASE)
ALONE = re.compile(_WORD, re.IGNORECASE)
CAMEL = re.compile(r"(?P<base>.+[a-z0-9)])(?:Masks?|Segmentations?|Seg|GT|GroundTruth|Annotations?)(?:[-_. ]?\d+)?$")
PREFIX = re.compile(r"(?:mask|masks|seg|segmentation|gt)[-_. ]+(?P<base>.+)$", re.IGNORECASE)
PLURAL = re.compile(
    r"(?:^|[-_ ])(?:masks|instances|segmentations?|seg[-_ ]?maps?"
    r"|ground[-_ ]?truths?|gts?|annotations?|labels(?:Tr|Ts|Va)?|rois|\d\w\w_manual)"
    r"(?:[-_ ](?:images|imgs|png|train|test|val|training|testing|validation))?$|Segmentation(?:Class|Object)\w*$|GroundTruth$"
    r"|^(?:train|test|val)[-_]?annots?$|^gt(?:Fine|Coarse)$",
    re.IGNORECASE,
)
SINGULAR = re.compile(
    r"(?:^|[-_ ])(?:mask(?:[-_ ]?\d+)?|seg|label|annotation|roi|manual|overlays?|depth|disparity|thumb(?:nail)?s?"
    r"|(?:heat|gaze|saliency|attention)[-_ ]?maps?|contours?|previews?)$"
    r"|(?-i:[a-z](?:Masks?|Segmentations?|Annotations?)$)|^masks?[-_ ](?:binary|images?|files|png|bw)$",
    re.IGNORECASE,
)
# words that mark the image itself: image_1.png beside mask_1.png
_ORIGINAL = "images?|imgs?|im|originals?|orig|inputs?|photos?|scans?|raw"
IMAGE_WORD = re.compile(rf"(?:{_ORIGINAL})[-_. ]*(?P<a>.+)$|(?P<b>.+?)[-_. ]+(?:{_ORIGINAL})$", re.IGNORECASE)
IMAGE_FOLDER = re.compile(
    r"(?:^|[-_ ])(?:images?|imgs?|originals?|inputs?|raw|scans?|photos?|pictures?|data|rgb|frames|x|jpe?gs?|pngs?|"
    r"jpegimages|imagesT[rs]|train|test|val|training|testing|validation)$",
    re.IGNORECASE,
)
MOST, HALF = 0.8, 0.5
LEAST_TWINS = 10  # files; with fewer, matching names may be chance
FIRST_WORD = re.compile(r"[A-Za-z]+[-_ ]")  # of a name
END = re.compile(r"[-_. ][A-Za-z]+$")
LONGEST = 255  # characters, as in file systems; longer names, in tables and archives, would be slow to match
ENDINGS = (".nii.gz", ".ome.tif", ".ome.tiff")


class Chosen(NamedTuple):
    """The selected keys, why the others are excluded, and the decisions made."""

    keys: list[str]
    left_out: dict[str, str]
    decisions: list[Decision]


def matches(key: str, pattern: str) -> bool:
    """Whether a glob matches a path, its file name, or a parent folder.

    >>> matches("a/b_mask.png", "*_mask.png"), matches("masks/b.png", "**/masks/**"), matches("a/masks/b.png", "masks")
    (True, True, True)
    >>> matches("a/b.png", "*.jpg"), matches("cat/b.png", "cat/*"), matches("a/cat/b.png", "cat/*")
    (False, True, False)
    """
    pattern = pattern.removeprefix("./")
    if "/" not in pattern.strip("/"):
        return any(fnmatch.fnmatchcase(part, pattern.strip("/")) for part in key.split("/"))
    pattern = f"{pattern}*" if pattern.endswith("/") else pattern
    return fnmatch.fnmatchcase(key, pattern) or fnmatch.fnmatchcase(f"/{key}", pattern)


def unwanted(names: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> dict[str, str]:
    """Why names are left out, by --include and --exclude."""
    left = {name: EXCLUDED for name in names if any(matches(name, pattern) for pattern in exclude)}
    out = (name for name in names if include and not any(matches(name, pattern) for pattern in include))
    return left | dict.fromkeys(out, NOT_INCLUDED)


def choose(keys: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Chosen:
    """Select the requested images. Masks are excluded unless --include is given."""
    left = unwanted(keys, include, exclude)
    kept = [key for key in keys if key not in left]
    if include:
        return Chosen(kept, left, [])
    masks = find_masks(kept)
    if not masks:
        return Chosen(kept, left, _remark_on_twins(kept) or _remark_on_ends(kept))
    left.update(dict.fromkeys(sorted(masks), MASK))
    first = min(masks)
    seen = "1 file is named like a mask" if len(masks) == 1 else f"{len(masks):,} files are named like masks"
    decision = Decision(
        "masks", f"{len(masks):,} left out", f"{seen} of other images, such as {shown(first)}", "--include '*'"
    )
    return Chosen([key for key in kept if key not in masks], left, [decision])


def _remark_on_twins(keys: Sequence[str]) -> list[Decision]:
    """A remark if most images have a twin with the same name and another extension, and no name marks the masks."""
    alike: dict[str, list[str]] = {}
    for key in keys:
        alike.setdefault(_without_endings(key), []).append(key)
    pairs: dict[tuple[str, str], list[list[str]]] = {}
    for stem, twins in alike.items():
        if len(twins) == 2:
            one, two = sorted(key[len(stem) :].lower() for key in twins)
            pairs.setdefault((one, two), []).append(sorted(twins))
    both, found = max(pairs.items(), key=lambda item: len(item[1]), default=(("", ""), []))
    if 2 * len(found) < max(HALF * len(keys), LEAST_TWINS):
        return []
    # masks are rarely JPEG, which blurs their edges, and most often PNG
    mask = ".png" if ".png" in both else next((end for end in both if not end.startswith((".jp", ".jf"))), both[1])
    first, second = min(found)
    mask = (first if first.lower().endswith(mask) else second)[-len(mask) :]  # in its original case
    why = f"{len(found):,} have a file with the same name and another suffix beside them, such as {shown(first)} and {shown(second)}"
    return [Decision("masks", NONE_LEFT_OUT, why, f"--exclude '*{mask}'")]


def _remark_on_ends(keys: Sequence[str]) -> list[Decision]:
    """A remark if most images have a partner whose name adds the same short suffix: ``x-d.bmp`` beside ``x.bmp``."""
    stems = {_without_endings(key): key for key in keys}
    ends: dict[str, list[str]] = {}
    for stem, key in stems.items():
        if (end := END.search(stem)) and stem[: end.start()] in stems:
            ends.setdefault(end[0], []).append(key)
    most = max(map(len, ends.values()), default=0)
    ends = {end: found for end, found in sorted(ends.items()) if len(found) >= MOST * most}  # x_OC and x_OD beside x
    number = sum(map(len, ends.values()))
    if number + most < max(MOST * len(keys), LEAST_TWINS):
        return []
    end, found = next(iter(ends.items()))
    second = min(found)
    first = stems[_without_endings(second).removesuffix(end)]
    why = (
        f"{number:,} have the name of another file with {' or '.join(ends)} appended, such as {shown(second)} and"
        f" {shown(first)}"
    )
    return [Decision("masks", NONE_LEFT_OUT, why, " ".join(f"--exclude '*{end}.*'" for end in ends))]


def _without_endings(name: str) -> str:
    """The name without its suffix, or one of the double suffixes `ENDINGS`."""
    lower = name.lower()
    ending = next((ending for ending in ENDINGS if lower.endswith(ending)), None)
    return name[: -len(ending)] if ending else without_ending(name)


def find_masks(keys: Sequence[str]) -> set[str]:
    """Keys that are masks of other files."""
    # the name of a folder that contains all files is not evidence: Kvasir-SEG
    common = posixpath.commonpath([posixpath.dirname(key) for key in keys]) if keys else ""
    cut = len(common) + 1 if common else 0
    known = {key[cut:]: key for key in keys}
    return {known[key] for key in _masks(list(known))}


def _masks(keys: Sequence[str]) -> set[str]:
    where = [posixpath.split(key) for key in keys]
    in_folder = {folder for folder, _ in where if folder and _is_mask_folder(folder)}
    by_name: dict[str, list[str]] = {}
    plain: list[tuple[str, str]] = []
    inside: dict[str, list[tuple[str, str]]] = {}
    for key, (folder, name) in zip(keys, where, strict=True):
        stem = _without_endings(name)
        if folder in in_folder:
            inside.setdefault(folder, []).append((key, stem))
        elif bases := _bases(stem):
            by_name[key] = bases
        else:
            plain.append((folder, stem))
    found = _beside(by_name, plain) | _within(inside, plain) | _siblings(inside, {folder for folder, _ in plain})
    return found | _alone(plain, where)


def _alone(plain: list[tuple[str, str]], where: Sequence[tuple[str, str]]) -> set[str]:
    """Masks called nothing else, ``case_1/mask.png`` beside ``case_1/image.png``, if nearly all folders of images have one."""
    bare = {place for place in plain if ALONE.fullmatch(place[1])}
    folders, having = ({folder for folder, _ in some} for some in (set(plain) - bare, bare))
    if len(having) < 2 or len(having & folders) < MOST * len(having | folders):
        return set()
    return {posixpath.join(*place) for place in where if (place[0], _without_endings(place[1])) in bare}


def _siblings(inside: dict[str, list[tuple[str, str]]], folders: set[str]) -> set[str]:
    """Masks of any name, several per image: in ``ID/masks`` beside ``ID/images``, for nearly all ids and at least two."""
    parents = {posixpath.dirname(folder): folder for folder in inside if PLURAL.search(posixpath.basename(folder))}
    paired = {
        folder for parent, folder in parents.items() if f"{parent}/images" in folders or f"{parent}/image" in folders
    }
    if len(paired) < 2 or len(paired) < MOST * len(inside):
        return set()
    return {key for folder in paired for key, _ in inside[folder]}


def _bases(stem: str) -> list[str]:
    """Image names that a mask with this name may belong to."""
    if len(stem) > LONGEST:
        return []
    return [found["base"] for pattern in (SUFFIX, PREFIX, CAMEL) if (found := pattern.fullmatch(stem))]


def _beside(by_name: dict[str, list[str]], plain: list[tuple[str, str]]) -> set[str]:
    """Masks by name alone: most must have an image with the remaining name."""
    if not by_name:
        return set()
    stems = sorted({stem for _, stem in plain})
    named = (IMAGE_WORD.fullmatch(stem) for stem in stems if len(stem) <= LONGEST)
    known = set(stems) | {found["a"] or found["b"] for found in named if found}

    def has_partner(key: str) -> bool:
        bases = list(by_name[key])
        if key.lower().endswith((".nii", ".nii.gz")):  # sub-01_desc-brain_mask belongs to sub-01_T1w
            bases += [base[: at.start()] for base in bases for at in re.finditer("[-_]", base) if at.start() > 2]
        return any(base in known or _prefixed(base, stems) for base in bases)

    found = {key for key in by_name if has_partner(key)}
    if len(found) < HALF * len(by_name):
        return set()
    return set(by_name) if len(found) >= MOST * len(by_name) else found


def _prefixed(base: str, stems: list[str]) -> str | None:
    """A stem that starts with base and a separator."""
    for mark in "_-. ":
        at = bisect.bisect_left(stems, base + mark)
        if at < len(stems) and stems[at].startswith(base + mark):
            return stems[at]
    return None


def _is_mask_folder(folder: str) -> bool:
    return any(PLURAL.search(part) or SINGULAR.search(part) for part in folder.split("/"))


def _within(inside: dict[str, list[tuple[str, str]]], plain: list[tuple[str, str]]) -> set[str]:
    """Masks by folder: their names must occur outside the mask folders, in folders with other names."""
    places: dict[str, set[str]] = {}
    for folder, stem in plain:
        places.setdefault(stem, set()).add(folder)
    first = {stem: FIRST_WORD.match(stem) for stem in places} if inside else {}
    if len({found and found[0] for found in first.values()}) == 1:  # mask_0001-l.png belongs to bus_0001-l.png
        places |= {stem[found.end() :]: places[stem] for stem, found in first.items() if found}
    stems, outside = sorted(places), {above for folder in {folder for folder, _ in plain} for above in _up(folder)}

    def of(base: str) -> set[str]:
        known = places.get(base) or places.get(_prefixed(base, stems) or "")
        return known or set()

    found: set[str] = set()
    for folder, files in inside.items():
        parts = folder.split("/")
        at = next(at for at, part in enumerate(parts) if PLURAL.search(part) or SINGULAR.search(part))
        part, parent = parts[at], "/".join(parts[:at])
        partners = [
            set().union(
                *(of(cut) for base in _bases(stem) for cut in _cuts(base)),
                *(places.get(name, set()) for name in (stem, f"{stem}_0000")),  # nnU-Net: the first channel of the case
            )
            for _, stem in files
        ]
        have = [places for places in partners if any("mask" not in place.lower() for place in places)]
        if len(have) < MOST * len(files):
            continue
        beside = {place for some in have for place in some}
        twice = all(_bases(stem) for _, stem in files)  # PedMasks/1_mask.png: the names mark masks too
        # Expert/mask, Expert/gaze_map: no images below Expert, so mask is not a class beside no_mask
        alone = parent and split_of(parent) is None and parent not in outside
        near = any(place == parent or _image_like(place, parent) for place in beside)
        if twice or alone or near or PLURAL.search(part):
            found.update(key for key, _ in files)
    return found


def _up(folder: str) -> list[str]:
    """A folder and those around it."""
    return [folder, *(folder[: at.start()] for at in re.finditer("/", folder))]


def _cuts(base: str) -> list[str]:
    """A name and its prefixes, to which a mask may add a region: IMD003_R1_Label4 belongs to IMD003."""
    return [base, *(base[: at.start()] for at in re.finditer("[-_]", base) if at.start() > 2)]


def _image_like(place: str, parent: str) -> bool:
    rest = place[len(parent) :].strip("/") if place.startswith(parent) else place
    return any(IMAGE_FOLDER.search(part) for part in rest.split("/"))
