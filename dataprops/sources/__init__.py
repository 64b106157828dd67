"""Where images come from.

A source is a row of `SOURCES`: one function lists what images there are, without decoding any, and one reads one of
them - as the bytes of an image file, or as an array that is decoded already. Containers and object stores are rows as folders
are; `open_source` tells by the suffix, the scheme and a look inside which row a place needs.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage, UnreadableImage
from dataprops.imaging.formats import HEAD
from dataprops.sources import arrays, digits, folder, frames, manifest, nifti, paper, published
from dataprops.sources.account import WAYS_OUT
from dataprops.sources.containers import archives, arraysets, hdf5, numpyfiles, parquet, pixeltables
from dataprops.sources.doubts import with_doubts
from dataprops.sources.remote import listing
from dataprops.sources.remote.connections import ACCESS
from dataprops.sources.resolve import forward_slashes
from dataprops.sources.settle import settled
from dataprops.sources.table import SourceOptions, chosen_rules
from dataprops.sources.texttable import lists_images
from dataprops.util.guard import guarded, let_through, reason_of
from dataprops.util.redact import is_url, redacted, reveal

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
    version_tokens : callable or None
        version_tokens(location, keys, options) -> for each image a number that changes when the image may have, -1 if unknown:
        an image whose number is that of the last audit is not read again.
    order, stream : callable or None
        Where images cannot be had in any order at equal cost: order(location, keys, options) -> positions of the keys in the
        order of the place, or None; stream(location, keys in that order, options) yields (key, image or OSError) in one pass.
    """

    scan: Callable[[str, SourceOptions], pd.DataFrame]
    read: Callable[[str, str, SourceOptions], bytes | RawImage]
    local: bool
    rules: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    version_tokens: Callable[[str, Sequence[str], SourceOptions], list[int]] | None = None
    order: Callable[[str, Sequence[str], SourceOptions], list[int] | None] | None = None
    stream: Callable[[str, Sequence[str], SourceOptions], Iterator[tuple[str, bytes | RawImage | OSError]]] | None = (
        None
    )


_ARCHIVE = Source(archives.scan, archives.read, False, ACCESS, archives.version_tokens, archives.order, archives.stream)
SOURCES: dict[str, Source] = {
    "folder": Source(folder.scan, folder.read, True),
    "manifest": Source(manifest.scan, manifest.read, True, ACCESS, manifest.version_tokens),
    "digits": Source(digits.scan, digits.read, False),
    "array": Source(arrays.scan, arrays.read, False),
    "dicom": Source(frames.scan, frames.read, True, frames.RULES),
    "nifti": Source(nifti.scan, nifti.read, False, nifti.RULES),
    **{
        name: Source(paper.scan(name), paper.read(name), row.files, paper.rules_of(name))
        for name, row in paper.READERS.items()
    },
    **{name: Source(published.scan(name), published.read, True, ACCESS) for name in published.TABLES},
    **dict.fromkeys(
        ("hdf5", "pcam"),
        Source(hdf5.scan, hdf5.read, False, arraysets.RULES, hdf5.version_tokens, hdf5.order, hdf5.stream),
    ),
    "url": Source(listing.scan, listing.read, False, ACCESS, listing.version_tokens),
    "zip": _ARCHIVE,
    "tar": _ARCHIVE,
    "parquet": Source(parquet.scan, parquet.read, False, parquet.RULES, parquet.version_tokens),
    "pixels": Source(pixeltables.scan, pixeltables.read, False, pixeltables.RULES, pixeltables.version_tokens),
    "numpy": Source(
        numpyfiles.scan,
        numpyfiles.read,
        False,
        arraysets.RULES,
        numpyfiles.version_tokens,
        numpyfiles.order,
        numpyfiles.stream,
    ),
}
# suffix of a file -> its row; .csv and .parquet may be manifests
CONTAINERS: dict[str, str] = {
    **dict.fromkeys(archives.ZIP, "zip"),
    **dict.fromkeys(archives.TAR, "tar"),
    **dict.fromkeys(hdf5.SUFFIXES, "hdf5"),
    **dict.fromkeys(numpyfiles.SUFFIXES, "numpy"),
    **dict.fromkeys(parquet.ARROW, "parquet"),
}

# whose scan looks at --include and --exclude itself, before it tells what is a class
GLOBBED = frozenset({"folder", "url", "zip", "tar", "dicom", "nifti"})
GUESSED = GLOBBED | {"manifest"}  # what is class, split and patient there is inferred, and may be in doubt


class OpenSource(NamedTuple):
    """A source with its location; small and picklable.

    `held` are images that were read already and travel with it; see `read_ahead`.
    """

    kind: str
    location: str
    options: SourceOptions
    held: Mapping[str, bytes | RawImage | OSError] | None = None

    def __repr__(self) -> str:
        return f"OpenSource({self.kind}:{redacted(self.location)})"

    def scan(self) -> pd.DataFrame:
        """The images; see `Source`."""
        chosen_rules(self.options, SOURCES[self.kind].rules)  # an unknown one is refused
        with guarded(self._unusable, passing=(DatapropsError,)):
            table = SOURCES[self.kind].scan(self.location, self.options)
            table = settled(table, redacted(self.location), self.options, globbed=self.kind in GLOBBED)
            if self.kind in GUESSED:
                with_doubts(table, self.options)
            for decision in table.attrs.get("decisions", ()):
                decision.pop("columns", None)  # for the doubts alone
            return table

    def _unusable(self, error: BaseException) -> DatapropsError:
        """The error message if a reader fails on the whole source."""
        where = f"{self.kind}:{redacted(self.location)}"
        if isinstance(error, MemoryError):
            return DatapropsError(f"{where} {reason_of(error)}: give more with --memory")
        return DatapropsError(f"{where} cannot be read: {reason_of(error)}; is it whole? Replace it, or leave it out")

    def read(self, key: str) -> bytes | RawImage:
        """One image; see `Source`."""
        if self.held is not None:
            image = self.held[key]
            if isinstance(image, OSError):
                raise image
            return image
        with guarded(_no_image, passing=(OSError, UnreadableImage)):
            return SOURCES[self.kind].read(self.location, key, self.options)

    def file(self, key: str) -> Path | None:
        """The local file behind a key, if there is one."""
        if not SOURCES[self.kind].local or is_url(self.location) or is_url(key):
            return None
        if self.kind == "dicom":
            return frames.base(self.location) / key.partition(frames.MARK)[0]
        base = Path(self.location)
        return (base.parent if self.kind == "manifest" else base) / key

    def version_tokens(self, keys: Sequence[str]) -> list[int]:
        """For each image a number as `Source.version_tokens` says, of this place and these rules; -1: unknown."""
        row = SOURCES[self.kind]
        if row.version_tokens is None or not keys:
            return [-1] * len(keys)
        here = "\n".join([self.kind, redacted(self.location), *self.options.rules])
        salt = int.from_bytes(hashlib.blake2b(os.fsencode(here), digest_size=8).digest()) >> 1
        with guarded(self._unusable, passing=(DatapropsError,)):
            return [
                token if token < 0 else token ^ salt for token in row.version_tokens(self.location, keys, self.options)
            ]

    def order(self, keys: Sequence[str]) -> list[int] | None:
        """Positions of the keys in the only order that they can be read in at a bearable cost; None: any order will do."""
        row = SOURCES[self.kind]
        with guarded(self._unusable, passing=(DatapropsError,)):
            return row.order(self.location, keys, self.options) if row.order is not None and keys else None

    def read_ahead(self, batches: Iterable[Sequence[str]]) -> Iterator[OpenSource]:
        """A source for each batch of keys: this one; or, where images are read in one order only, one that holds the batch.

        Together the batches must be in that order (see `order`). They are read one after the other, as they are asked for.
        """
        batches = list(batches)
        row, keys = SOURCES[self.kind], [key for batch in batches for key in batch]
        if row.stream is None or self.order(keys) is None:
            yield from (self for _ in batches)
            return
        flow = row.stream(self.location, keys, self.options)
        early: dict[str, bytes | RawImage | OSError] = {}
        for batch in batches:
            missing = set(batch) - set(early)
            lost = OSError(0, "the container no longer holds it")
            try:
                while missing and (found := next(flow, None)) is not None:
                    early[found[0]] = found[1]
                    if found[0] not in missing:  # of a later batch: what is missing was passed, and is gone
                        break
                    missing.discard(found[0])
            except BaseException as error:  # noqa: BLE001 - see util.guard; a generator that failed has ended
                let_through(error)
                lost = OSError(0, str(error) if isinstance(error, DatapropsError) else reason_of(error))
            yield self._replace(held={key: early.pop(key, lost) for key in batch})

    def read_some(self, keys: Sequence[str]) -> Iterator[bytes | RawImage]:
        """Those of the images that can be read."""
        order = self.order(keys)
        keys = list(keys) if order is None else [keys[i] for i in order]
        for key, source in zip(keys, self.read_ahead([key] for key in keys), strict=True):
            try:
                image = source.read(key)
            except (OSError, UnreadableImage):
                continue
            yield image


def _no_image(error: BaseException) -> BaseException:
    """The error that a reader's failure on one image becomes."""
    if isinstance(error, DatapropsError):  # of the place, which was fit to be listed: it changed meanwhile
        return OSError(0, str(error))
    reason = reason_of(error)
    return UnreadableImage(reason if isinstance(error, MemoryError) else f"the file cannot be read: {reason}")


def open_source(spec: str, options: SourceOptions | None = None) -> OpenSource:
    """Open a folder, a manifest (.csv, .parquet), a container, an address, or ``name:location``.

    Raises
    ------
    DatapropsError
        If nothing is there, or the name is unknown.
    """
    options = options or SourceOptions()
    if isinstance(spec, arrays.Held):
        return OpenSource("array", spec, options)
    spec = reveal(spec)
    if spec[:5].lower() == "file:":
        spec = forward_slashes(spec)
    if is_url(spec):
        return OpenSource(_kind_of_url(spec, options), spec, options)
    path = Path(os.path.expanduser(spec))  # noqa: PTH111 - Path.expanduser raises for a folder that is named ~x
    if path.is_dir():
        return OpenSource(_kind_of_folder(path), str(path), options)
    by_suffix = _by_suffix(path.name)
    if path.is_file() and _is_table(path):
        images = by_suffix == "parquet" and parquet.holds_images(str(path), options)
        kind = "parquet" if images else "pixels" if pixeltables.holds_pixels(path) else "manifest"
        return OpenSource(kind, str(path), options)
    if by_suffix in ("zip", "tar", "parquet") and archives.numbered(path.name) and path.parent.is_dir():
        return OpenSource(by_suffix, str(path), options)
    if path.is_file() and by_suffix:
        return OpenSource(by_suffix, str(path), options)
    kind, colon, location = spec.partition(":")
    if colon and kind in SOURCES:
        return OpenSource(kind, os.path.expanduser(reveal(location)), options)  # noqa: PTH111 - as above
    spec = redacted(spec)  # an address in quotes is none, and has secrets
    if path.is_file():
        if hint := WAYS_OUT.get(path.suffix.lower()):
            raise DatapropsError(f"{spec} is a single file that is not read as it is: {hint}")
        raise DatapropsError(
            f"{spec} is a single file: give a folder of images, a manifest that ends in {', '.join(manifest.SUFFIXES)}, or a container"
            f" ({' '.join(CONTAINERS)})"
        )
    if colon and kind.isidentifier():
        near = difflib.get_close_matches(kind, SOURCES, 1)
        hint = f"did you mean {near[0]}:? " if near else ""
        raise DatapropsError(f"unknown source {kind!r}: {hint}sources are {', '.join(SOURCES)}")
    there = "is a pipe, a socket or a device" if path.exists() else "does not exist"
    raise DatapropsError(
        f"{spec} {there}: give a folder of images, a manifest (.csv, .parquet), a container, an address, or NAME:LOCATION"
    )


def _is_table(path: Path) -> bool:
    """Whether a file is a manifest, by its suffix; text files by their first lines."""
    if path.suffix.lower() != ".txt":
        return path.name.lower().endswith(manifest.SUFFIXES)
    try:
        with path.open("rb") as file:
            return lists_images(file.read(HEAD))
    except OSError:
        return False


def _by_suffix(name: str) -> str | None:
    name = name.lower()
    if name.endswith(parquet.SUFFIX):
        return "parquet"
    return next((kind for suffix, kind in CONTAINERS.items() if name.endswith(suffix)), None)


def _kind_of_url(url: str, options: SourceOptions) -> str:
    plain = url.partition("?")[0]
    kind = _by_suffix(plain)
    if kind == "parquet" and not archives.numbered(plain):
        return "parquet" if parquet.holds_images(url, options) else "manifest"
    if kind is not None or plain.lower().endswith(manifest.SUFFIXES):
        return kind or "manifest"
    return listing.kind_of(url, options, _kind_of_names)


def _kind_of_names(names: Iterable[str]) -> str | None:
    """The row of a place without images, by the containers that lie there."""
    kinds = {_by_suffix(name) for name in names if not os.path.basename(name).startswith(".")}  # noqa: PTH119
    return next((kind for kind in ("parquet", "tar", "zip", "hdf5") if kind in kinds), None)


def _kind_of_folder(path: Path) -> str:
    """A folder of images, or of shards: then there are containers near its top, and no image anywhere."""
    near = [file.name for pattern in ("*", "*/*", "*/*/*") for file in path.glob(pattern) if _by_suffix(file.name)]
    kind = _kind_of_names(near)
    return "folder" if kind is None or folder.has_image(path) else kind
