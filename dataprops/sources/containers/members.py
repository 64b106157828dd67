"""Shared by file containers: member names, limits, shards, and the table of images.

No member is ever written to disk. Its name is only a key: unsafe names (absolute, with ``..``, a drive letter) are rejected and
listed, escaped, among the files left out.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dataprops.sources import folder
from dataprops.sources.account import REPEATED
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.connections import Access
from dataprops.sources.table import SourceOptions
from dataprops.util.names import ending_of
from dataprops.util.redact import is_url, redacted

LARGE = 16 * 2**20  # bytes allowed at any compression ratio
RATIO = 200  # maximum compression ratio: photographs stay below 10, masks and blank scans below 100
LARGEST = 2**30  # maximum size of an image file, bytes
LISTED_AT_ONCE = 2**16  # maximum size of a text file beside an image, bytes
LONGEST = 4096  # characters of a path, as on Linux; zip allows 65,535, which would be slow to match by many rules
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def check_inflation(size: int, packed: int) -> None:
    """Reject decompression bombs.

    Raises
    ------
    OSError
        With both sizes.
    """
    if size > LARGEST:
        raise OSError(errno.EFBIG, f"{size:,} bytes are more than an image file should have (decompression bomb?)")
    if size > LARGE and size > RATIO * max(1, packed):
        ratio = size // max(1, packed)
        raise OSError(errno.EFBIG, f"it inflates {ratio:,} times to {size:,} bytes (decompression bomb?)")


def is_safe(name: str) -> bool:
    """Whether a member's name stays inside the container and is a valid file name.

    >>> [is_safe(name) for name in ("a/b.png", "../b.png", "/b.png", "a/../../b", "C:/b.png", "a//b.png", "./a.png", "..png")]
    [True, False, False, False, False, True, True, True]
    """
    parts = re.split(r"[/\\]", name)
    return (
        0 < len(name) <= LONGEST
        and not name.startswith(("/", "\\"))
        and ".." not in parts
        and not re.match(r"[A-Za-z]:", name)
    )


def kind_of_member(name: str) -> str:
    """Kind of a member by name: "image", "hidden", "unsafe", "other", or "unknown" (needs its first bytes)."""
    if not is_safe(name) or "\0" in name:
        return "unsafe"
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(part.startswith(".") or part in folder.SYSTEM for part in parts):
        return "hidden"
    ending = ending_of(name)
    if ending in folder.EXTENSIONS:
        return "image"
    return "other" if ending in folder.OTHERS or name.endswith("/") else "unknown"


def with_slashes(names: Sequence[str], windows: bool = False) -> dict[str, str]:
    r"""Stored names -> names with forward slashes, if a Windows program wrote backslashes.

    Parameters
    ----------
    windows : bool
        Whether the archive declares Windows as its origin; otherwise assumed if no name has a forward slash and most a backslash.

    >>> with_slashes(["a\\b.png", "a\\c.png"])["a\\b.png"], with_slashes(["a/b\\c.png"])
    ('a/b.png', {'a/b\\c.png': 'a/b\\c.png'})
    """
    held = [name for name in names if "\\" in name]
    if held and (windows or (len(held) > len(names) / 2 and not any("/" in name.rstrip("/") for name in names))):
        return {name: name.replace("\\", "/") for name in names}
    return {name: name for name in names}


def member_table(location: str, keys: list[str], left_out: dict[str, str], options: SourceOptions) -> pd.DataFrame:
    """The table of images in a container with the structure of a folder.

    Parameters
    ----------
    keys : list of str
        Image members.
    left_out : dict
        Other members (folders end with ``/``) -> why.
    """
    # `tar c .` stores members as ./cat/a.png
    plain = {_plain(key): key for key in keys}
    again = {
        key: REPEATED for key in keys if plain[_plain(key)] != key
    }  # the last of several with the same name counts
    folders = sorted(
        {_plain(name) for name in left_out if name.endswith("/") and is_safe(name)} - {""}, key=os.fsencode
    )
    ignored = {name: why for name, why in left_out.items() if not name.endswith("/") or not is_safe(name)}
    table = folder.layout(redacted(location), list(plain), ignored | again, folders, options)
    table["key"] = [plain[key] for key in table["key"]]
    return table


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def shards_of(location: str, suffixes: tuple[str, ...], access: Access) -> tuple[str, list[str]]:
    """Base location and names of the containers: one file, a folder of them, or numbered shards (``x-{00..12}.tar``).

    Raises
    ------
    OSError
        If the folder cannot be listed.
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
    elif not os.path.isdir(location):  # noqa: PTH112 - names may contain bytes that are not UTF-8
        return filesystems.parent(location), [filesystems.name_of(location)]
    else:
        root = Path(location)
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    kept = [name for name in names if name.lower().endswith(suffixes) and not re.search(r"(^|/)\.", name)]
    return location, sorted(kept, key=os.fsencode)


def split_named(name: str) -> str | None:
    """The split in a shard's name or in that of a parent folder.

    >>> split_named("data/train-00000-of-00003.parquet"), split_named("default/validation/0000.parquet"), split_named("scans-1.tar")
    ('train', 'val', None)
    """
    *folders, file = name.split("/")
    words = [re.split(r"[^A-Za-z]", file, maxsplit=1)[0], *reversed(folders)]
    return next((folder.SPLITS[word.lower()] for word in words if word.lower() in folder.SPLITS), None)
