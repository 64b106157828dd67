"""Where images come from.

A source is a row of `SOURCES`: one function lists what images there are, without decoding any, and one reads one of
them - as the bytes of an image file, or as an array that is decoded already. What needs more than a folder (DICOM,
archives, object stores) becomes another row.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.images import RawImage
from dataprops.sources import arrays, digits, folder, frames, manifest, nifti, paper
from dataprops.sources.table import SourceOptions, chosen_rules

__all__ = ["SOURCES", "OpenSource", "Source", "SourceOptions", "open_source"]


class Source(NamedTuple):
    """A kind of source.

    Attributes
    ----------
    scan : callable
        scan(location, options) -> DataFrame with columns key, path, label, split, group (see `table.image_table`);
        ``attrs`` hold what was left out.
    read : callable
        read(location, key, options) -> bytes of an image file, or a `RawImage`. Raises OSError if it cannot be read.
    local : bool
        Whether key is a path below (or beside) location, so that an unchanged file is known by its size and time.
    rules : dict
        Its label rules: name -> values, the default first (see `table.chosen_rules`).
    """

    scan: Callable[[str, SourceOptions], pd.DataFrame]
    read: Callable[[str, str, SourceOptions], bytes | RawImage]
    local: bool
    rules: Mapping[str, tuple[str, ...]] = MappingProxyType({})


SOURCES: dict[str, Source] = {
    "folder": Source(folder.scan, folder.read, True),
    "manifest": Source(manifest.scan, manifest.read, True),
    "digits": Source(digits.scan, digits.read, False),
    "array": Source(arrays.scan, arrays.read, False),
    "dicom": Source(frames.scan, frames.read, True, frames.RULES),
    "nifti": Source(nifti.scan, nifti.read, False, nifti.RULES),
    **{
        name: Source(paper.scan(name), paper.read(name), row.files, paper.rules_of(name))
        for name, row in paper.READERS.items()
    },
}


class OpenSource(NamedTuple):
    """A source with its location; small and picklable."""

    kind: str
    location: str
    options: SourceOptions

    def scan(self) -> pd.DataFrame:
        """The images; see `Source`."""
        chosen_rules(self.options, SOURCES[self.kind].rules)  # an unknown one is refused
        return SOURCES[self.kind].scan(self.location, self.options)

    def read(self, key: str) -> bytes | RawImage:
        """One image; see `Source`."""
        return SOURCES[self.kind].read(self.location, key, self.options)

    def file(self, key: str) -> Path | None:
        """The local file behind a key, if there is one."""
        if not SOURCES[self.kind].local:
            return None
        if self.kind == "dicom":
            return frames.base(self.location) / key.partition(frames.MARK)[0]
        base = Path(self.location)
        return (base.parent if self.kind == "manifest" else base) / key


def open_source(spec: str, options: SourceOptions | None = None) -> OpenSource:
    """Open a folder, a manifest (.csv, .parquet), or ``name:location``.

    Raises
    ------
    DatapropsError
        If nothing is there, or the name is unknown.
    """
    options = options or SourceOptions()
    path = Path(os.path.expanduser(spec))  # noqa: PTH111 - Path.expanduser raises for a folder that is named ~x
    if path.is_dir():
        return OpenSource("folder", str(path), options)
    if path.is_file() and path.suffix.lower() in manifest.SUFFIXES:
        return OpenSource("manifest", str(path), options)
    kind, colon, location = spec.partition(":")
    if colon and kind in SOURCES:
        return OpenSource(kind, os.path.expanduser(location), options)  # noqa: PTH111 - as above
    if path.is_file():
        raise DatapropsError(
            f"{spec} is a single file: give a folder of images, or a manifest that ends in .csv or .parquet"
        )
    if colon and kind.isidentifier():
        near = difflib.get_close_matches(kind, SOURCES, 1)
        hint = f"did you mean {near[0]}:? " if near else ""
        raise DatapropsError(f"unknown source {kind!r}: {hint}sources are {', '.join(SOURCES)}")
    raise DatapropsError(
        f"{spec} does not exist: give a folder of images, a manifest (.csv, .parquet), or NAME:LOCATION"
    )
