"""The records that stages return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dataprops.imaging.decode import Preprocess

CHANGED = "the file changed while it was read"  # why an image has no pixels


@dataclass(frozen=True)
class Scanned:
    """Result of `scan`."""

    n_images: int
    label_kind: str
    classes: tuple[str, ...]
    ignored: tuple[str, ...]
    empty_classes: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    decisions: tuple[dict[str, str], ...] = ()
    spellings: tuple[tuple[str, dict[str, int]], ...] = ()
    several: dict[str, int] | None = None
    unused_columns: tuple[tuple[str, ...], int] = ((), 0)

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """Name of each file left out, and the reason."""
        return tuple(zip(self.ignored, self.reasons, strict=True))


@dataclass(frozen=True)
class Decoded:
    """Result of `decode`."""

    n_readable: int
    n_unreadable: int
    n_decoded: int
    preprocess: Preprocess
    decisions: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Passed:
    """Result of `distances`."""

    n_rows: int
    features: int
    pairs: int
    pairs_in_full: int
    near_pairs: int
    planned_bytes: int
    used_bytes: int
    anchors: int | None


@dataclass(frozen=True)
class Measured:
    """Result of `measure`."""

    properties: int
    samples_drawn: int


@dataclass(frozen=True)
class Probed:
    """Result of `probe`."""

    n_images: int


@dataclass(frozen=True)
class Checked:
    """Result of `check`: numbers of checks and alerts."""

    passed: int
    failed: int
    skipped: int
    alerts: int


@dataclass(frozen=True)
class Published:
    """Result of `report`: the results folder."""

    results: str


Record = TypeVar("Record", Scanned, Decoded, Passed)


def record_from(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """A record from its JSON form."""
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if "preprocess" in plain:
        plain["preprocess"] = Preprocess(**plain["preprocess"])
    return kind(**plain)
