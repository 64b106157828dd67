"""torch without what its compiler alone asks for, in processes of ours that compile nothing.

``torch._meta_registrations`` says which shapes come out of operators on tensors without contents; torch.compile and torch.export ask
for that, an audit does not, and it takes 0.3 of the 1.0 s of ``import torch`` (torch 2.13, 2 cores).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

SPARED = "torch._meta_registrations"


class _Nothing(ModuleType):
    """Stands in its place."""


def spare() -> None:
    """Leave it out of the torch that this process imports later; nothing where torch is imported already."""
    if "torch" not in sys.modules:
        sys.modules.setdefault(SPARED, _Nothing(SPARED))


def whole() -> None:
    """Import it after all, where it was left out: for code that is not ours."""
    if isinstance(sys.modules.get(SPARED), _Nothing):
        del sys.modules[SPARED]
        import_module("torch")  # which would import it, if this is the first time
        import_module(SPARED)
