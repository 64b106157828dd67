"""The index of an archive: its images with their positions, and its other members."""

from __future__ import annotations

import lzma
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from dataprops.sources import account
from dataprops.sources.account import LINKED
from dataprops.sources.containers.members import kind_of_member
from dataprops.util.guard import reason_of

BUFFER = 2**20
NOWHERE = "link that leads out of the archive, or nowhere"
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)


class Member(NamedTuple):
    """A file in an archive: byte offset (in a zip, of its local header), stored size and uncompressed size."""

    start: int
    packed: int
    size: int
    info: zipfile.ZipInfo | None = None


class Index(NamedTuple):
    """The contents of an archive.

    Attributes
    ----------
    images : dict
        Name -> Member, in archive order. Several names may refer to one member.
    others : dict
        Names of other members -> why they are left out; folders end with ``/``.
    texts : dict
        Name -> text file beside an image, in WebDataset.
    slashed : dict
        Names with backslashes as stored -> names with forward slashes.
    cut : bool
        Whether the archive is truncated.
    """

    images: dict[str, Member]
    others: dict[str, str]
    texts: dict[str, str]
    slashed: dict[str, str]
    cut: bool = False


def follow_links(
    links: Mapping[str, str], known: Mapping[str, Member], images: dict[str, Member], others: dict[str, str]
) -> None:
    """Resolve links within the archive, in place: the target's name, and its member if an image; ./a and a are the same name."""
    places = {member.start for member in images.values()}
    targets = {posixpath.normpath(name): posixpath.normpath(target) for name, target in links.items()}
    members = {posixpath.normpath(name): member for name, member in (*known.items(), *images.items())} if links else {}
    for name in links:
        at, seen = posixpath.normpath(name), set()
        while at in targets and at not in seen:
            seen.add(at)
            at = targets[at]
        target = members.get(at)
        if target is None:
            inside = any(other.startswith(f"{at}/") for other in members)
            others[name] = LINKED if inside else NOWHERE
        elif target.start in places or kind_of_member(name) == "image":
            images[name] = target
        else:
            others[name] = account.why_left_out(name)


def plain_reason(error: BaseException) -> str:
    """A library's error message, short and without paths."""
    text = getattr(error, "strerror", None) or str(error)
    return "bad CRC-32" if "CRC" in text else reason_of(error) if not text or "/" in text else text
