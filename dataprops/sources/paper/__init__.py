"""The eleven datasets of Konz & Mazurowski 2024, by name, in their published layout; and two similar ones.

A dataset is a row of `READERS`. Each has its own label rules, and the shared rules of `choose`: splits, classes and a balanced
subset by seed. Layouts and download sources are in sources/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dataprops.imaging.decode import RawImage
from dataprops.sources.paper import (
    brats,
    chexpert,
    choose,
    cifar,
    dbc,
    imagenet,
    mnist,
    mura,
    oai,
    prostate,
    rsna,
    small,
    svhn,
)
from dataprops.sources.paper.layout import read_file
from dataprops.sources.table import SourceOptions, chosen_rules

Rules = Mapping[str, tuple[str, ...]]


class Reader(NamedTuple):
    """A dataset of the paper.

    Attributes
    ----------
    scan : callable
        scan(root, rules) -> listing of all images (`layout.listing`), labelled by the rules. Raises a DatapropsError that
        names the first missing item and shows the tree.
    read : callable
        read(root, key) -> bytes of a file or a `RawImage`. Raises OSError with the reason.
    rules : dict
        Rules of the dataset; see `table.chosen_rules`.
    tree : str
        Expected layout below the root.
    files : bool
        Whether each image is a separate file below the root.
    """

    scan: Callable[[Path, Mapping[str, str]], pd.DataFrame]
    read: Callable[[Path, str], bytes | RawImage]
    rules: Rules
    tree: str
    files: bool


READERS: dict[str, Reader] = {
    "mnist": Reader(mnist.scan, mnist.read, mnist.RULES, mnist.TREE, False),
    "cifar10": Reader(cifar.scan, cifar.read, cifar.RULES, cifar.TREE, False),
    "cifar100": Reader(small.scan_100, small.read_100, small.RULES_100, small.TREE_100, False),
    "stl10": Reader(small.scan_stl, small.read_stl, {}, small.TREE_STL, False),
    "svhn": Reader(svhn.scan, svhn.read, svhn.RULES, svhn.TREE, False),
    "imagenet": Reader(imagenet.scan, read_file, imagenet.RULES, imagenet.TREE, True),
    "brats": Reader(brats.scan, brats.read, brats.RULES, brats.TREE, False),
    "dbc": Reader(dbc.scan, read_file, dbc.RULES, dbc.TREE, True),
    "oai": Reader(oai.scan, read_file, oai.RULES, oai.TREE, True),
    "chexpert": Reader(chexpert.scan, read_file, chexpert.RULES, chexpert.TREE, True),
    "mura": Reader(mura.scan, read_file, mura.RULES, mura.TREE, True),
    "rsna": Reader(rsna.scan, read_file, rsna.RULES, rsna.TREE, True),
    "prostate": Reader(prostate.scan, read_file, prostate.RULES, prostate.TREE, True),
}


def rules_of(name: str) -> dict[str, tuple[str, ...]]:
    """All rules of a dataset: its own and the shared ones."""
    return {**READERS[name].rules, **choose.RULES}


def scan(name: str) -> Callable[[str, SourceOptions], pd.DataFrame]:
    """The `scan` of `sources.Source` for a dataset."""

    def scan(location: str, options: SourceOptions) -> pd.DataFrame:
        rules = chosen_rules(options, rules_of(name))
        return choose.choose(READERS[name].scan(Path(location), rules), rules)

    return scan


_path = lru_cache(64)(Path)  # shared by all images of a root: creating a Path takes longer than reading a digit


def read(name: str) -> Callable[[str, str, SourceOptions], bytes | RawImage]:
    """The `read` of `sources.Source` for a dataset."""

    def read(location: str, key: str, options: SourceOptions) -> bytes | RawImage:
        return READERS[name].read(_path(location), key)

    return read
