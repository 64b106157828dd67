"""What containers of files share: names, limits, shards, and the table of the images in them.

No member is ever written to disk. Its name is only a key: one that would leave a folder (absolute, with ``..``, a drive) is
refused and listed, escaped, among what was left out.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources import folder
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.filesystems import Access
from dataprops.sources.table import SourceOptions, shown
from dataprops.util.redact import is_url, redacted

LARGE = 16 * 2**20  # bytes that any member may have, however well it was packed
RATIO = 200  # more than this is no image: photographs stay below 10, masks and blank scans below 100
LARGEST = 2**30  # bytes of one image file
LISTED_AT_ONCE = 2**16  # bytes of one piece of text beside an image
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def check_inflation(size: int, packed: int) -> None:
    """Refuse a member that would fill the memory.

    Raises
    ------
    OSError
        With the numbers.
    """
    if size > LARGEST:
        raise OSError(errno.EFBIG, f"{size:,} bytes are more than an image file should have (decompression bomb?)")
    if size > LARGE and size > RATIO * max(1, packed):
        ratio = size // max(1, packed)
        raise OSError(errno.EFBIG, f"it inflates {ratio:,} times to {size:,} bytes (decompression bomb?)")


def is_safe(name: str) -> bool:
    """Whether a member's name stays below the container.

    >>> [is_safe(name) for name in ("a/b.png", "../b.png", "/b.png", "a/../../b", "C:/b.png", "a//b.png", "./a.png", "..png")]
    [True, False, False, False, False, True, True, True]
    """
    parts = re.split(r"[/\\]", name)
    return bool(name) and not name.startswith(("/", "\\")) and ".." not in parts and not re.match(r"[A-Za-z]:", name)


def kind_of_member(name: str) -> str:
    """What a member is by its name: "image", "hidden", "unsafe" or "other"."""
    if not is_safe(name) or "\0" in name:
        return "unsafe"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(part.startswith(".") for part in parts):
        return "hidden"
    return "image" if posixpath.splitext(name)[1].lower() in folder.EXTENSIONS else "other"


def common_root(keys: Sequence[str]) -> str:
    """The leading folders that hold everything and are no class: those below which every image lies one more folder deep.

    >>> common_root(["scans/cat/a.png", "scans/dog/b.png"]), common_root(["cat/a.png"]), common_root(["train/cat/a.png"])
    ('scans/', '', '')
    """
    root = ""
    while True:
        rest = [key[len(root) :] for key in keys]
        tops = {name.partition("/")[0] for name in rest}
        if len(tops) != 1 or not all(name.count("/") > 1 for name in rest):
            return root
        (top,) = tops
        if top.lower() in folder.SPLITS:
            return root
        root += f"{top}/"


def member_table(location: str, keys: list[str], left_out: list[str], options: SourceOptions) -> pd.DataFrame:
    """The table of the images of a container that holds a folder, class/file or split/class/file below a common root.

    Parameters
    ----------
    keys, left_out : list of str
        Members that are images, and others (folders end with ``/``).
    """
    # a container made by `tar c .` names its members ./cat/a.png
    plain = {_plain(key): key for key in keys}
    if len(plain) < len(keys):
        raise DatapropsError(f"{redacted(location)}: two members are named alike but for slashes and dots")
    root = common_root(list(plain))
    names = [name[len(root) :] for name in plain]
    folders = [
        path[len(root) :]
        for path in {_plain(name) for name in left_out if name.endswith("/") and is_safe(name)}
        if path.startswith(root) and len(path) > len(root)
    ]
    ignored = [name for name in left_out if not name.endswith("/") or not is_safe(name)]
    # a pattern for patients sees the whole name
    table = folder.layout(redacted(location), names, ignored, folders, options._replace(group_pattern=None))
    table["key"] = [plain[root + key] for key in table["key"]]
    table["path"] = [shown(root) + path for path in table["path"]]
    groups = folder.groups([_plain(key) for key in table["key"]], options.group_pattern)
    table["group"] = pd.Series(groups, dtype=object)
    return table


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def shards_of(location: str, suffixes: tuple[str, ...], access: Access) -> tuple[str, list[str]]:
    """Base and names of the containers at a place: one file, a folder of them, or numbered ones (``x-{00..12}.tar``).

    Raises
    ------
    OSError
        If the place cannot be listed.
    """
    plain = location.partition("?")[0] if is_url(location) else location
    if braces := BRACES.search(filesystems.name_of(plain)):
        first, last = braces.groups()
        name = filesystems.name_of(plain)
        numbers = range(int(first), int(last) + 1)
        return filesystems.parent(location), [
            BRACES.sub(f"{number:0{len(first)}d}", name, count=1) for number in numbers
        ]
    if is_url(location):
        if plain.lower().endswith(suffixes):
            return filesystems.parent(location), [filesystems.name_of(plain)]
        names = list(filesystems.listing(location, access))
    elif not os.path.isdir(location):  # noqa: PTH112 - names may hold bytes that are no UTF-8
        return filesystems.parent(location), [filesystems.name_of(location)]
    else:
        root = Path(location)
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    kept = [name for name in names if name.lower().endswith(suffixes) and not re.search(r"(^|/)\.", name)]
    return location, sorted(kept, key=os.fsencode)


def split_named(name: str) -> str | None:
    """The split that a shard's name tells, from its first word or a folder above it.

    >>> split_named("data/train-00000-of-00003.parquet"), split_named("default/validation/0000.parquet"), split_named("scans-1.tar")
    ('train', 'val', None)
    """
    *folders, file = name.split("/")
    words = [re.split(r"[^A-Za-z]", file, maxsplit=1)[0], *reversed(folders)]
    return next((folder.SPLITS[word.lower()] for word in words if word.lower() in folder.SPLITS), None)
