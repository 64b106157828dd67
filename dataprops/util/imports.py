"""Import large libraries without their optional dependencies that an audit does not use."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# optional dependencies of Great Expectations for other data sources, hidden from it: saves 0.4 of 2.8 s
OF_OTHER_SOURCES = ("azure", "boto3", "botocore", "google", "grpc", "pyspark", "snowflake", "sqlalchemy", "trino")
# dependencies of a few expectations that an audit does not use, loaded lazily: saves 0.9 s
SELDOM_USED = ("altair", "scipy.stats")


class _Later(ModuleType):
    """A module loaded on first access to one of its names (`__file__` and the like are set, since others inspect them)."""

    def __getattr__(self, name: str) -> Any:
        reader = self.__spec__.loader if self.__spec__ is not None else None
        if name.startswith("__") or not isinstance(reader, _Reader):
            raise AttributeError(name)
        self.__class__ = ModuleType
        reader.read(self)
        return getattr(self, name)


class _Reader(Loader):
    """Creates a lazy module that is later loaded by its original loader."""

    def __init__(self, loader: Loader) -> None:
        self.read = loader.exec_module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty lazy module."""
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _Sparing(MetaPathFinder):
    """Hides `OF_OTHER_SOURCES` and makes `SELDOM_USED` lazy."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of a module handled here; None for all others, which are left to the usual finders."""
        if name in OF_OTHER_SOURCES:
            raise ModuleNotFoundError(f"{name} is not used here", name=name)
        spec = PathFinder.find_spec(name, path, target) if name in SELDOM_USED else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Reader(spec.loader)
        return spec


def import_alone(module: str) -> None:
    """Import a module with `OF_OTHER_SOURCES` hidden and `SELDOM_USED` lazy; later imports are unaffected."""
    sparing = _Sparing()
    sys.meta_path.insert(0, sparing)
    try:
        import_all((module,))
    finally:
        sys.meta_path.remove(sparing)


def import_all(modules: tuple[str, ...]) -> None:
    """Import modules, ignoring failures, which recur where the module is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            with suppress(Exception):
                import_module(module)
