"""`numba.njit` with on-disk caching where possible.

numba caches machine code beside the module or in the user's cache folder. If neither is writable (a root-owned installation and a user
without a home directory, as in most containers), its decorator raises at import; here each process then compiles without a cache.
Set NUMBA_CACHE_DIR to a writable folder to avoid recompilation; `dataprops audit` sets it to a folder in the store.

numba invalidates its cache when the function's own file changes. But machine code inlines functions from other files, and the cache
index refers to types by module: after an update of this package it could run stale code, or fail on a type that has moved. So the
cache is keyed by the state of all files in the function's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from dataprops.util.version import state_of

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(*, cache: bool = True, **options: Any) -> Callable[[Function], Function]:
    """As `numba.njit`, without a cache if no cache directory is writable.

    Parameters
    ----------
    cache : bool
        Whether to cache the machine code.
    options
        Passed to `numba.njit`.
    """

    def decorate(function: Function) -> Any:  # returns a Dispatcher
        try:
            compiled = numba.njit(cache=cache, **options)(function)
        except RuntimeError as error:
            if not cache or "cannot cache" not in str(error):
                raise
            return numba.njit(**options)(function)
        if cache:
            # numba ignores an index of another version; there is no public way to set that version
            compiled._cache._cache_file._version += f" {state_of(Path(function.__code__.co_filename).parent)}"
        return compiled

    return decorate
