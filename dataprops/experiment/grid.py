"""The definition of an experiment as frozen, validated records, and the grid as a list of cells.

A *cell* is one network trained on one sample: (dataset, model, N, seed). It is the unit of computation, distribution, resumption and
recording. Imports nothing heavy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

from dataprops.audit.config import NAME, AuditConfig
from dataprops.errors import DatapropsError
from dataprops.options import Option, ReadingOptions, check_record, same_fields, whole_numbers
from dataprops.util.validation import OptionError, require

MOST_SIZES = 1000


def parse_sizes(text: str) -> tuple[int, ...]:
    """'500:1750:250' or '125,250,500' -> training set sizes; ranges include their end.

    Raises
    ------
    ValueError
        With the expected format.

    >>> parse_sizes("500:1000:250"), parse_sizes("64,128")
    ((500, 750, 1000), (64, 128))
    """
    try:
        if ":" not in text:
            return tuple(int(part) for part in text.split(","))
        first, last, step = (int(part) for part in text.split(":"))
        sizes = range(first, last + 1, step)
        if len(sizes) <= MOST_SIZES:
            return tuple(sizes)
    except (ValueError, OverflowError):  # overflow: more sizes than a list can hold
        raise ValueError("FIRST:LAST:STEP, or comma-separated numbers, as in 500:1750:250") from None
    raise ValueError(f"at most {MOST_SIZES} numbers; FIRST:LAST:STEP has {len(sizes):,}")


Domain = Literal["medical", "natural", "unknown"]
OF_PRESET = "of the preset"


@dataclass(frozen=True)
class Preset:
    """How networks are trained and attacked: the options of a grid whose defaults depend on the preset; see `dataprops.options`.

    Attributes
    ----------
    scale : str
        See `imaging.decode.Preprocess`.
    longer : dict
        Model -> epochs, for networks that need more.
    batch : dict
        Model -> batch size; others as in `models.MODELS`.
    lr : dict
        Model -> learning rate; others as in `models.MODELS`.
    weight_decay : float
        L2 weight decay of Adam (added to the gradient).
    pgd : int
        Number of the attacked test images for PGD; 0 = all.
    """

    size: Annotated[int, Interval(ge=1, le=4096), Option("Side of the images, pixels", OF_PRESET)]
    scale: Literal["full-range", "per-image-max"]
    sizes: Annotated[
        tuple[Annotated[int, Ge(4)], ...],
        MinLen(1),
        Option("Training images: FIRST:LAST:STEP, or comma-separated numbers", OF_PRESET, parse=parse_sizes),
    ]
    test: Annotated[int, Ge(2), Option("Test images", OF_PRESET)]
    epochs: Annotated[int, Ge(1), Option("Epochs, for all models", OF_PRESET)]
    longer: dict[str, int] = field(default_factory=dict)
    batch: dict[str, int] = field(default_factory=dict)
    lr: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 1e-4
    attacked: Annotated[
        int, Ge(0), Option("Test images under attack, the first of a random order; 0 for all", OF_PRESET)
    ] = 0
    pgd: int = 0
    patience: Annotated[
        Annotated[int, Ge(1)] | None, Option("Stop after N epochs without a lower training loss", "never")
    ] = None

    def __post_init__(self) -> None:
        check_record(self)

    def epochs_of(self, model: str) -> int:
        """Epochs of a network."""
        return self.longer.get(model, self.epochs)


_RESNETS, _VGGS = ("resnet18", "resnet34", "resnet50"), ("vgg13", "vgg16", "vgg19")
PRESETS: dict[str, Preset] = {
    # Konz & Mazurowski 2024; batch and learning rate as in `models.MODELS`
    "paper": Preset(224, "per-image-max", (500, 750, 1000, 1250, 1500, 1750), 750, 100),
    # six sets with two ResNets in less than an hour on two old cores; see README.md for its limitations
    "quick": Preset(
        size=32,
        scale="per-image-max",
        sizes=(80, 120, 180, 270),
        test=150,
        epochs=12,
        longer=dict.fromkeys(_VGGS, 20),  # after 12 the loss may still be log 2: see README.md
        batch=dict.fromkeys(_RESNETS + _VGGS, 25),
        attacked=50,
        pgd=16,
    ),
}


@dataclass(frozen=True)
class Dataset(ReadingOptions):
    """One dataset of a grid: source, task, and reading options (as for an audit)."""

    source: Annotated[str, MinLen(1), Option("Where its images are, as for an audit")]
    name: Annotated[str, Option("In the store and in the results", "from the source")] = ""
    domain: Annotated[Domain, Option("Domain of the SOURCEs; for one of them: medical=scans/")] = "unknown"
    classes: Annotated[
        tuple[str, ...], Option("Labels of the task, comma-separated; * for all", "the two largest classes")
    ] = ()
    test: Annotated[Annotated[int, Ge(2)] | None, Option("Test images", "as the grid")] = None
    sizes: Annotated[
        tuple[Annotated[int, Ge(4)], ...],
        Option("Training images: FIRST:LAST:STEP, or comma-separated numbers", "as the grid", parse=parse_sizes),
    ] = ()
    channels: Annotated[Literal[1, 3] | None, Option("Grey or colour", "decided by the images")] = None

    def __post_init__(self) -> None:
        try:
            self.check()
            alone = len(self.classes) == 1 and self.classes != ("*",)
            require(not alone, "classes", self.classes, "two or more labels, or '*' for all")
        except OptionError as error:
            raise OptionError(error.option, f"{self.source}: {error}", error.expected) from None

    def audit(self, store: str, preset: Preset) -> AuditConfig:
        """The options of the audit stages that list and decode the images."""
        return AuditConfig(
            **same_fields(self, AuditConfig),
            store=store,
            size=preset.size,
            scale=preset.scale,
            labels="classes",
            reason="experiment",
        )


@dataclass(frozen=True)
class Experiment:
    """A grid: all combinations of datasets, models, N and seeds.

    Attributes
    ----------
    datasets : tuple of Dataset
    settings : Preset
        The preset's settings with overrides.
    wait : float
        Seconds to wait for a running audit of one of the datasets, or for this experiment if it is running.
    """

    datasets: tuple[Dataset, ...]
    models: Annotated[
        tuple[str, ...],
        MinLen(1),
        Option("Networks, comma-separated: resnet18, 34, 50, vgg13, 16, 19, or module:Name", "resnet18,vgg13"),
    ] = ("resnet18", "vgg13")
    store: Annotated[str, Option("Folder for everything that is written")] = "dataprops-store"
    name: Annotated[str, Option("Name of the experiment in the store: STORE/experiments/NAME", "the preset")] = "grid"
    preset: Annotated[Literal["paper", "quick"], Option("paper (for a GPU) or quick", "paper")] = "paper"
    settings: Preset = PRESETS["paper"]
    seeds: Annotated[tuple[int, ...], MinLen(1), Option("Random seeds, comma-separated", "0", parse=whole_numbers)] = (
        0,
    )
    split: Annotated[
        Literal["group", "image"],
        Option("No patient, and no two identical images, on both sides; or by image, as in the paper", "group"),
    ] = "group"
    device: Annotated[Literal["auto", "cpu", "cuda"], Option("Where networks are trained", "auto")] = "auto"
    threads: Annotated[
        int,
        Ge(1),
        Option("Threads of each cell on a CPU; results are bit-identical only with the same number", "1"),
    ] = 1
    wait: float = 0.0

    def __post_init__(self) -> None:
        check_record(self)
        require(bool(self.datasets), "sources", self.datasets, "at least one, or --grid FILE")
        if not NAME.fullmatch(self.name):
            raise DatapropsError(
                f"the experiment's name {self.name!r} may contain only letters, digits, '.', '_' and '-'"
            )
        names = [dataset_name(dataset) for dataset in self.datasets]
        for name in names:
            if names.count(name) > 1:
                raise DatapropsError(
                    f"two datasets have the name {name!r}: give one of them another (name=..., or --grid)"
                )

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return Path(self.store) / "experiments" / self.name


@dataclass(frozen=True)
class Cell:
    """One network trained on one sample."""

    dataset: str
    model: str
    n_train: int
    n_test: int
    seed: int

    @property
    def key(self) -> str:
        """Name of its files."""
        model = re.sub(r"[^A-Za-z0-9._-]+", "-", self.model)
        return f"{self.dataset}-{model}-{self.n_train}-{self.seed}"


def dataset_name(dataset: Dataset) -> str:
    """Its name in the store."""
    return AuditConfig(source=dataset.source, name=dataset.name).dataset


def plan_cells(experiment: Experiment) -> list[Cell]:
    """All cells of the grid, largest N first, so that the longest start first and problems show early."""
    settings = experiment.settings
    cells = [
        Cell(dataset_name(dataset), model, n, dataset.test or settings.test, seed)
        for dataset in experiment.datasets
        for n in dataset.sizes or settings.sizes
        for model in experiment.models
        for seed in experiment.seeds
    ]
    return sorted(dict.fromkeys(cells), key=lambda cell: -cell.n_train)
