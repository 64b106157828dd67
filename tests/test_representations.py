"""The dimension of layers: a known manifold, peers of the same numbers, memory, duplicates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dataprops.distances.vectors import nearest_vectors
from dataprops.experiment.representations import LayerOptions, hidden_layers, layer_dimensions
from dataprops.experiment.training import as_input
from dataprops.properties.estimators import estimate_all


def plane(n: int = 800, seed: int = 0) -> torch.Tensor:
    """Images of two pixels, whose values are a position on a plane: uint8 [n, 1, 1, 2], all different."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(256 * 256)[:n]
    return torch.from_numpy(np.stack([values // 256, values % 256], 1).astype(np.uint8)).view(n, 1, 1, 2)


class Curved(nn.Module):
    """Embeds the plane in 40 dimensions, then projects it to a line, then to logits."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.lift = nn.Linear(2, 40)
        self.bend = nn.Tanh()
        self.line = nn.Linear(40, 1)
        self.logits = nn.Linear(1, 2)
        with torch.no_grad():
            self.lift.weight.copy_(torch.randn(40, 2, generator=generator))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(self.line(self.drop(self.bend(self.lift(x.flatten(1))))))


def test_a_plane_stays_a_plane_and_a_projection_is_a_line(tmp_path):
    net = Curved().train()
    measured = layer_dimensions(net, ["bend", "line"], plane(), tmp_path, asked=LayerOptions(groups=("mle", "twonn")))
    assert measured["bend"].features == 40
    for name in ("mle", "twonn"):
        assert measured["bend"].estimates[name].value == pytest.approx(2, abs=0.25)
        assert measured["line"].estimates[name].value == pytest.approx(1, abs=0.15)
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_are_those_of_the_activations_themselves(tmp_path):
    """All estimators; and the same whether layers share a forward pass or not."""
    net, images = Curved().eval(), plane(300)
    with torch.no_grad():
        vectors = net.bend(net.lift(as_input(images, "cpu").flatten(1))).numpy()
    distances, neighbours = nearest_vectors(vectors, 160)
    expected = estimate_all(distances, neighbours, 40)
    alone = layer_dimensions(net, ["lift", "bend"], images, tmp_path, asked=LayerOptions(scratch_bytes=1))
    together = layer_dimensions(net, ["lift", "bend"], images, tmp_path)
    assert alone == together
    assert set(expected) == {"mle", "mle_paper", "twonn", "twonn_paper", "twonn_closed", "geomle"}
    for name, estimate in alone["bend"].estimates.items():
        assert estimate.value == pytest.approx(expected[name].value, rel=1e-4)


def test_equal_vectors_are_collapsed_and_pooling_averages_positions(tmp_path):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (60, 1, 6, 6), dtype=torch.uint8)
    images[30:40] = images[:10]
    net = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 2))
    flat = layer_dimensions(net, ["0"], images, tmp_path, asked=LayerOptions(groups=("mle",)))["0"]
    pooled = layer_dimensions(net, ["0"], images, tmp_path, asked=LayerOptions(groups=("mle",), pooled=True))["0"]
    assert (flat.features, pooled.features) == (80, 5)
    assert flat.distinct == pooled.distinct == 50
    assert flat.estimates["mle"].n == 50


def test_hidden_layers_in_the_order_they_run():
    assert hidden_layers(Curved(), as_input(plane(2), "cpu")) == ("lift", "line")


def test_wide_layers_are_measured_within_bounded_memory(tmp_path, monkeypatch):
    """The vectors (48 MB in float32) lie on disk and are read a strip at a time."""
    import tracemalloc

    from dataprops.distances import vectors

    monkeypatch.setattr(vectors, "TILE_MEMORY", 4 * 2**20)
    net, images = nn.Sequential(nn.Flatten(), nn.Linear(2, 20_000)), plane(600)
    nearest_vectors(np.zeros((4, 2), np.float32), 2)  # compiled before memory is counted
    tracemalloc.start()
    try:
        found = layer_dimensions(net, ["1"], images, tmp_path, asked=LayerOptions(groups=("mle",)))["1"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.estimates["mle"].value == pytest.approx(2, abs=0.4)
    assert peak < 40 * 2**20
