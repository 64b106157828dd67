"""numba's compiler, which keeps what it compiled only where it can write.

numba keeps machine code beside the module or in the user's cache folder. Where neither can be written (an installation that belongs
to root and a user without a home, as in most containers) its decorator raises at import: then each process compiles anew.
Set NUMBA_CACHE_DIR to a folder that can be written to save these seconds; `dataprops audit` does so, into the store.

What it kept is of one version of the function's file. But machine code holds what the function calls in other files, and the index of
what was kept names types by their modules: after an update of this package it would run what is old, or end in an error where a type
has moved. So what is kept counts for one state of all files in the function's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from dataprops.util.version import state_of

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(*, cache: bool = True, **options: Any) -> Callable[[Function], Function]:
    """As `numba.njit`, without a cache where no cache directory is writable.

    Parameters
    ----------
    cache : bool
        Whether to keep the machine code.
    options
        Of `numba.njit`.
    """

    def decorate(function: Function) -> Any:  # a Dispatcher, called as the function is
        try:
            compiled = numba.njit(cache=cache, **options)(function)
        except RuntimeError as error:
            if not cache or "cannot cache" not in str(error):
                raise
            return numba.njit(**options)(function)
        if cache:
            # numba reads no index of another version; there is no public way to say which it is
            compiled._cache._cache_file._version += f" {state_of(Path(function.__code__.co_filename).parent)}"
        return compiled

    return decorate
