"""Intrinsic dimension of a network's representations, layer by layer.

A forward hook on each layer writes its flattened (or pooled) output, in eval mode and without gradients, as float32 to a memory-mapped
.npy; nearest neighbours are computed from it in strips (`distances.vectors`). As many layers as fit in the scratch space share a
forward pass. Bit-identical vectors are collapsed to one, as identical images are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from dataprops.distances.vectors import nearest_vectors
from dataprops.probe.activations import BATCH, as_input, forward, hidden_layers
from dataprops.properties.dimension import Estimate
from dataprops.properties.estimators import estimate_all, neighbours_needed

SCRATCH_BYTES = 4 * 2**30  # shared by the layers of a forward pass; a single layer may need more
GROUPS = ("mle", "twonn", "geomle")

__all__ = ["LAYER_OPTIONS", "LayerDimension", "LayerOptions", "hidden_layers", "layer_dimensions", "layer_features"]


class LayerDimension(NamedTuple):
    """Results for a layer: estimates by name, number of features, number of distinct vectors."""

    estimates: dict[str, Estimate]
    features: int
    distinct: int


def layer_features(net: nn.Module, layers: Sequence[str], x: torch.Tensor, *, pooled: bool = False) -> dict[str, int]:
    """Number of features of each layer, from a forward pass of `x`."""
    sizes: dict[str, int] = {}
    forward(net, layers, x, pooled, lambda name, vectors: sizes.__setitem__(name, vectors.shape[1]))
    return sizes


class LayerOptions(NamedTuple):
    """How layers are measured.

    Attributes
    ----------
    pooled : bool
        Average feature maps over positions instead of using all values.
    k, seed, groups
        As in `dimension.estimate_all`.
    scratch_bytes : int
        Maximum size of the activations on disk at a time.
    """

    pooled: bool = False
    k: int = 20
    seed: int = 0
    groups: tuple[str, ...] = GROUPS
    scratch_bytes: int = SCRATCH_BYTES


LAYER_OPTIONS = LayerOptions()


def layer_dimensions(
    net: nn.Module,
    layers: Sequence[str],
    images: torch.Tensor,
    scratch: Path,
    device: str = "cpu",
    asked: LayerOptions = LAYER_OPTIONS,
) -> dict[str, LayerDimension]:
    """Measure the outputs of some layers.

    Parameters
    ----------
    net : nn.Module
    layers : sequence of str
        Names of submodules whose output is one tensor.
    images : uint8 [n, c, h, w]
        Distinct images.
    scratch : Path
        Folder for the activations, which are removed afterwards.
    device : str
    asked : LayerOptions

    Raises
    ------
    DatapropsError
        If activations are not finite.
    """
    if not len(layers) or not len(images):
        return {}
    pooled, k, seed, groups, scratch_bytes = asked
    sizes = layer_features(net, layers, as_input(images[:1], device), pooled=pooled)
    scratch.mkdir(parents=True, exist_ok=True)
    measured: dict[str, LayerDimension] = {}
    for share in _shares(list(layers), sizes, len(images), scratch_bytes):
        files = {name: scratch / f"{number}.npy" for number, name in enumerate(share)}
        try:
            counts = _write(net, files, images, sizes, device, pooled)
            for name, file in files.items():
                vectors = np.load(file, mmap_mode="r")[: counts[name]]
                measured[name] = _measure(vectors, k, seed, groups)
                del vectors
                file.unlink()
        finally:
            for file in files.values():
                file.unlink(missing_ok=True)
    return measured


def _shares(layers: list[str], sizes: dict[str, int], n: int, allowed: int) -> list[list[str]]:
    """Groups of consecutive layers that fit in the scratch space, at least one layer each."""
    shares: list[list[str]] = [[]]
    held = 0
    for name in layers:
        need = 4 * n * sizes[name]
        if shares[-1] and held + need > allowed:
            shares.append([])
            held = 0
        shares[-1].append(name)
        held += need
    return shares


def _write(
    net: nn.Module, files: dict[str, Path], images: torch.Tensor, sizes: dict[str, int], device: str, pooled: bool
) -> dict[str, int]:
    """Write the distinct vectors of each layer; returns their numbers."""
    out = {
        name: np.lib.format.open_memmap(file, "w+", np.float32, (len(images), sizes[name]))
        for name, file in files.items()
    }
    seen: dict[str, set[bytes]] = {name: set() for name in files}

    def take(name: str, vectors: torch.Tensor) -> None:
        rows = np.ascontiguousarray((vectors + 0.0).cpu().numpy())  # -0 becomes 0
        for row in rows:
            mark = hashlib.blake2b(memoryview(row).cast("B"), digest_size=16).digest()
            if mark not in seen[name]:
                out[name][len(seen[name])] = row
                seen[name].add(mark)

    for start in range(0, len(images), BATCH):
        forward(net, list(files), as_input(images[start : start + BATCH], device), pooled, take)
    for array in out.values():
        array.flush()
    return {name: len(marks) for name, marks in seen.items()}


def _measure(vectors: np.ndarray, k: int, seed: int, groups: tuple[str, ...]) -> LayerDimension:
    distances, neighbours = nearest_vectors(vectors, neighbours_needed(groups, k))
    neighbours = np.where(np.isfinite(distances), neighbours, -1)
    estimates = estimate_all(distances, neighbours, vectors.shape[1], k, seed, groups)
    return LayerDimension(estimates, vectors.shape[1], len(vectors))
