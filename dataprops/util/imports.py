"""Imports of large libraries without what they import beside and an audit does not use."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# what Great Expectations imports if it is installed, for data that is not an audit's: 0.4 of 2.8 s, and is told to be absent
OF_OTHER_SOURCES = ("azure", "boto3", "botocore", "google", "grpc", "pyspark", "snowflake", "sqlalchemy", "trino")
# what it imports for a few of its expectations, none of them an audit's: 0.9 s, and is read when first used
SELDOM_USED = ("altair", "scipy.stats")


class _Later(ModuleType):
    """A module that is read when a name of its own is first asked for (its file and its like are known: others look at them)."""

    def __getattr__(self, name: str) -> Any:
        reader = self.__spec__.loader if self.__spec__ is not None else None
        if name.startswith("__") or not isinstance(reader, _Reader):
            raise AttributeError(name)
        self.__class__ = ModuleType
        reader.read(self)
        return getattr(self, name)


class _Reader(Loader):
    """Makes a module that is read later, by the loader that would have read it now."""

    def __init__(self, loader: Loader) -> None:
        self.read = loader.exec_module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty one."""
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _Sparing(MetaPathFinder):
    """Finds no `OF_OTHER_SOURCES`, and `SELDOM_USED` to be read later."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's specification; None for all others, which are left to the usual finders."""
        if name in OF_OTHER_SOURCES:
            raise ModuleNotFoundError(f"{name} is not used here", name=name)
        spec = PathFinder.find_spec(name, path, target) if name in SELDOM_USED else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Reader(spec.loader)
        return spec


def import_alone(module: str) -> None:
    """Import a module as if `OF_OTHER_SOURCES` were not installed, and without reading `SELDOM_USED`; later imports find them."""
    sparing = _Sparing()
    sys.meta_path.insert(0, sparing)
    try:
        import_all((module,))
    finally:
        sys.meta_path.remove(sparing)


def import_all(modules: tuple[str, ...]) -> None:
    """Import modules; one that fails does so again where it is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            with suppress(Exception):
                import_module(module)
