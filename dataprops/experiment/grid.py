"""What an experiment is asked to do: frozen records, checked when they are made; the grid as a list of cells.

A *cell* is one network trained on one sample: (dataset, model, N, seed). It is the unit that is computed, spread over workers,
resumed and recorded. Imports nothing heavy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from dataprops.audit.config import NAME, SCALES, AuditConfig, require, same_fields
from dataprops.errors import DatapropsError

DOMAINS = ("medical", "natural", "unknown")
SPLITS = ("group", "image")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Preset:
    """How networks are trained and attacked.

    Attributes
    ----------
    size, scale : int, str
        Of the canonical image; see `images.Preprocess`.
    sizes : tuple of int
        Training images N.
    test : int
        Test images.
    epochs : int
    longer : dict
        Model -> epochs, for networks that need more.
    batch : dict
        Model -> images of a batch; others as in `models.MODELS`.
    lr : dict
        Model -> learning rate; others as in `models.MODELS`.
    weight_decay : float
        Of Adam: added to the gradient.
    attacked : int
        Test images that are attacked: the first of the test set, which is in an order by chance; 0 = all.
    pgd : int
        Of them, those that the ten-step attack is tried on; 0 = all that are attacked.
    patience : int or None
        Stop when the training loss has not fallen for so many epochs; None: never.
    """

    size: int
    scale: str
    sizes: tuple[int, ...]
    test: int
    epochs: int
    longer: dict[str, int] = field(default_factory=dict)
    batch: dict[str, int] = field(default_factory=dict)
    lr: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 1e-4
    attacked: int = 0
    pgd: int = 0
    patience: int | None = None

    def epochs_of(self, model: str) -> int:
        """Epochs of a network."""
        return self.longer.get(model, self.epochs)


_RESNETS, _VGGS = ("resnet18", "resnet34", "resnet50"), ("vgg13", "vgg16", "vgg19")
PRESETS: dict[str, Preset] = {
    # Konz & Mazurowski 2024; batch and learning rate as in `models.MODELS`
    "paper": Preset(224, "per-image-max", (500, 750, 1000, 1250, 1500, 1750), 750, 100),
    # six sets with two ResNets in less than an hour on two old cores; see README.md for what it teaches and what not
    "quick": Preset(
        size=32,
        scale="per-image-max",
        sizes=(80, 120, 180, 270),
        test=150,
        epochs=12,
        longer=dict.fromkeys(_VGGS, 20),  # in 12 the loss may still stand at log 2: see README.md
        batch=dict.fromkeys(_RESNETS + _VGGS, 25),
        attacked=50,
        pgd=16,
    ),
}


@dataclass(frozen=True)
class Dataset:
    """One dataset of a grid.

    Attributes
    ----------
    source : str
        As for an audit.
    name : str
        In the store and in the results; default: from the source.
    domain : str
        "medical", "natural" or "unknown".
    classes : tuple of str
        The labels of the task; () = the two largest classes; ("*",) = all classes.
    test : int or None
        Test images, where the experiment's number is too large for this set.
    sizes : tuple of int
        Training images N, where those of the experiment do not fit; () = as the experiment.
    channels : int or None
        1, 3, or None: by what the set holds.
    path_column, label_column, split_column, group_column, group_pattern, label_pattern, rules, include, exclude, layout, images, \
    suffix, one_hot, label, as_written, range, patients, window
        As for an audit; group_pattern or group_column names the patient.
    """

    source: str
    name: str = ""
    domain: str = "unknown"
    classes: tuple[str, ...] = ()
    test: int | None = None
    sizes: tuple[int, ...] = ()
    channels: int | None = None
    path_column: str = "path"
    label_column: str = "label"
    split_column: str = "split"
    group_column: str = "group"
    group_pattern: str | None = None
    rules: tuple[str, ...] = ()
    label_pattern: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    layout: str = ""
    images: str = ""
    suffix: str = ""
    one_hot: str = ""
    label: str = ""
    as_written: bool = False
    range: str = "auto"
    patients: str = "auto"
    window: str = "auto"

    def __post_init__(self) -> None:
        require(self.domain in DOMAINS, f"domain of {self.source}", self.domain, ", ".join(DOMAINS))
        require(self.test is None or self.test >= 2, f"test of {self.source}", self.test, "at least 2 images")
        alone = len(self.classes) == 1 and self.classes != ("*",)
        require(not alone, f"classes of {self.source}", self.classes, "two or more labels, or '*' for all")

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
    """A grid: every dataset with every model, every N and every seed.

    Attributes
    ----------
    datasets : tuple of Dataset
    models : tuple of str
        Rows of `models.MODELS`, or ``module:Name``.
    store, name : str
        Results go to STORE/experiments/NAME.
    preset : str
        The name of what `settings` started from.
    settings : Preset
    seeds : tuple of int
    split : str
        "group": no patient, and no two identical images, on both sides. "image": the paper's.
    device : str
        "auto", "cpu" or "cuda".
    threads : int
        Of torch, for each cell on a CPU. Sums of floats depend on it: cells compare bit for bit at equal threads only.
    wait : float
        Seconds to wait for an audit of one of the datasets, or for this experiment, where it is running.
    """

    datasets: tuple[Dataset, ...]
    models: tuple[str, ...] = ("resnet18", "vgg13")
    store: str = "dataprops-store"
    name: str = "grid"
    preset: str = "paper"
    settings: Preset = PRESETS["paper"]
    seeds: tuple[int, ...] = (0,)
    split: str = "group"
    device: str = "auto"
    threads: int = 1
    wait: float = 0.0

    def __post_init__(self) -> None:
        require(bool(self.datasets), "datasets", self.datasets, "at least one source, or --grid FILE")
        require(bool(self.models), "models", self.models, "at least one model")
        require(bool(self.seeds), "seeds", self.seeds, "at least one number")
        require(self.split in SPLITS, "split", self.split, " or ".join(SPLITS))
        require(self.device in DEVICES, "device", self.device, ", ".join(DEVICES))
        require(self.threads >= 1, "threads", self.threads, "at least 1")
        settings = self.settings
        require(settings.epochs >= 1, "epochs", settings.epochs, "at least 1")
        require(settings.test >= 2, "test", settings.test, "at least 2 images")
        require(settings.scale in SCALES, "scale", settings.scale, " or ".join(SCALES))
        require(bool(settings.sizes), "sizes", settings.sizes, "at least one number of images")
        require(min(settings.sizes) >= 4, "sizes", settings.sizes, "at least 4 training images")
        if not NAME.fullmatch(self.name):
            raise DatapropsError(f"the experiment's name {self.name!r} may hold letters, digits, '.', '_' and '-' only")
        names = [dataset_name(dataset) for dataset in self.datasets]
        for name in names:
            if names.count(name) > 1:
                raise DatapropsError(
                    f"two datasets have the name {name!r}: give one of them another (name=..., or --grid)"
                )

    @property
    def folder(self) -> Path:
        """Where the results lie."""
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
    """All cells of the grid, the largest N first: what takes longest starts first, and shows early whether all will do."""
    settings = experiment.settings
    cells = [
        Cell(dataset_name(dataset), model, n, dataset.test or settings.test, seed)
        for dataset in experiment.datasets
        for n in dataset.sizes or settings.sizes
        for model in experiment.models
        for seed in experiment.seeds
    ]
    return sorted(dict.fromkeys(cells), key=lambda cell: -cell.n_train)
