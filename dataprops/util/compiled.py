"""numba's compiler, which keeps what it compiled only where it can write.

numba keeps machine code beside the module or in the user's cache folder. Where neither can be written (an installation that belongs
to root and a user without a home, as in most containers) its decorator raises at import: then each process compiles anew.
Set NUMBA_CACHE_DIR to a folder that can be written to save these seconds; `dataprops audit` does so, into the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

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
            return numba.njit(cache=cache, **options)(function)
        except RuntimeError as error:
            if not cache or "cannot cache" not in str(error):
                raise
            return numba.njit(**options)(function)

    return decorate
