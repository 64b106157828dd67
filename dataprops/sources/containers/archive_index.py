"""What an archive holds: its images and where they lie, and what else is there."""

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
    """A file in an archive: where its bytes begin (of a zip: its header), how many there are, and how many when inflated."""

    start: int
    packed: int
    size: int
    info: zipfile.ZipInfo | None = None


class Index(NamedTuple):
    """What an archive holds.

    Attributes
    ----------
    images : dict
        Name -> Member, in the archive's order. Several names may be of one member.
    others : dict
        Names of what is no image -> why; folders end with ``/``.
    texts : dict
        Name -> text beside an image, of WebDataset.
    slashed : dict
        Names in the archive that are written otherwise there -> names as here.
    cut : bool
        Whether the archive ends early.
    """

    images: dict[str, Member]
    others: dict[str, str]
    texts: dict[str, str]
    slashed: dict[str, str]
    cut: bool = False


def follow_links(
    links: Mapping[str, str], known: Mapping[str, Member], images: dict[str, Member], others: dict[str, str]
) -> None:
    """Links to files of the archive: names of these files, images if they are; ./a and a are one name."""
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
            others[name] = account.reason_of(name)


def plain_reason(error: BaseException) -> str:
    """What a library says of damage, without paths and in few words."""
    text = str(error)
    return "bad CRC-32" if "CRC" in text else reason_of(error) if not text or "/" in text else text
