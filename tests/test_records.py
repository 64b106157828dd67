"""What the probe tells, from which predictions are made, and the engine's smaller parts, by the letter."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from dataprops import label_sharpness
from dataprops.distances import folds, passes, vectors
from dataprops.distances.kernel import EMPTY
from dataprops.distances.runner import Runner
from dataprops.distances.state import empty
from dataprops.distances.tiles import Tile, rectangle_tiles, triangle_tiles
from dataprops.errors import DatapropsError
from dataprops.laws import predictions
from dataprops.laws.prediction import Prediction
from dataprops.laws.predictions import PREDICTIONS, Measured, predicted_measures
from dataprops.probe import features, record
from dataprops.probe.attack import Attack
from dataprops.probe.curve import Gain
from dataprops.probe.measure import CurvePoint, Estimate, Probe
from dataprops.probe.suspects import Suspects
from dataprops.properties import in_memory

# the probe's record


def probe(**given: Any) -> Probe:
    """Of four images of two classes."""
    p = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8]])
    values = {
        "error": Estimate(0.25, 0.1, 0.5),
        "log_loss": Estimate(0.5, 0.4, 0.6),
        "confusion": np.array([[1, 1], [1, 1]]),
        "curve": [CurvePoint(10, 0.5, 0.7), CurvePoint(20, 0.25, float("nan"))],
        "gains": {2: Gain(0.2, 0.1, 0.3), 4: Gain(0.4, 0.2, 0.5)},
        "withheld": None,
        "folds": 5,
        "leak_groups": 3,
        "fold": np.array([0, 1, 2, 3]),
        "probabilities": p,
        "losses": np.array([0.1, 0.2, 0.3, 0.4]),
        "wrong": np.array([0.0, 1, 1, 0]),
        "hardness": np.array([-0.8, 0.4, 0.2, -0.6]),
        "suspects": Suspects(np.array([2, 1]), np.array([0, 1]), np.array([0.2, 0.4])),
        "attacked": np.array([1, 3]),
        "attack": Attack(np.array([1.0, 3.0]), np.array([0.5, 1.5]), np.array([2.0, 8.0])),
    }
    return Probe(**(values | given))


def test_each_image_has_a_row_with_what_was_found_of_it_and_nan_where_nothing_was() -> None:
    table = record.table_of(probe(), np.array([10, 11, 12, 13]), np.array([0, 0, 1, 1]), ["a", "b"], np.arange(4))
    assert list(table) == list(record.COLUMNS)
    wanted = {
        "image": [10, 11, 12, 13],
        "given": ["a", "a", "b", "b"],
        "predicted": ["a", "b", "a", "b"],
        "p_given": [0.9, 0.3, 0.4, 0.8],
        "p_predicted": [0.9, 0.7, 0.6, 0.8],
        "suspicion": [None, 0.4, 0.2, None],
        "likelier": [None, "b", "a", None],
        "gradient": [None, 1, None, 3],
        "penalty": [None, 0.5, None, 1.5],
        "flip": [None, 2, None, 8],
    }
    for name, values in wanted.items():
        assert table[name].astype(object).where(table[name].notna(), None).tolist() == values, name
    numbers = record.table_of(
        probe(suspects=None, attack=None), np.arange(4), np.array([0.5, 1, 2, 1e6]), None, np.arange(4)
    )
    assert numbers["given"].tolist() == ["0.5", "1", "2", "1e+06"]
    for name in ("predicted", "p_given", "p_predicted", "suspicion", "likelier", "gradient"):
        assert numbers[name].isna().all(), name
    bare = record.table_of(probe(suspects=None), np.arange(4), np.array([0, 0, 1, 1]), ["a", "b"], np.arange(4))
    assert bare["suspicion"].isna().all()
    none = record.empty_table()
    assert (list(none), len(none), none["given"].dtype, none["fold"].dtype) == (list(record.COLUMNS), 0, object, float)


def test_the_summary_of_a_probe_is_plain_values() -> None:
    y = np.array([0, 0, 0, 1])
    told = record.summary_of(probe(), y, ["a", "b"], "image", ["a note"])
    assert told["error"] == {"value": 0.25, "low": 0.1, "high": 0.5}
    assert told["curve"][1] == {"n": 20, "error": 0.25, "log_loss": None}
    assert told["gain_if_doubled"]["value"] == 0.2
    assert told["gain_if_quadrupled"]["value"] == 0.4
    assert (told["errors"], told["kind"], told["chance"], told["suspects"]) == (2, "classes", 0.25, 2)
    assert told["confusion"] == [[1, 1], [1, 1]]
    assert told["attack"] == {"gradient": 2.0, "penalty": 1.0, "flip_median": 5.0, "eps": 2.0, "images": 2}
    assert told["sentence"].endswith("of unseen images; always naming the largest class errs on 25 %.")
    bare = record.summary_of(probe(gains=None, log_loss=None, attack=None, suspects=None), y, ["a", "b"], "group", [])
    for name in ("gain_if_doubled", "gain_if_quadrupled", "log_loss", "attack", "suspects"):
        assert bare[name] is None, name
    assert "images of unseen patients" in bare["sentence"]
    numbers = record.summary_of(probe(confusion=None), y.astype(float), None, "image", [])
    assert (numbers["errors"], numbers["kind"], numbers["chance"], numbers["classes"]) == (None, "numbers", 1.0, None)
    assert "leaves 25 % (10 % to 50 %) of the labels' variance unexplained" in numbers["sentence"]
    names = [str(c) for c in range(51)]
    for many, told_of in ((50, True), (51, False)):
        found = record.summary_of(probe(), np.zeros(4, int), names[:many], "image", [])
        assert (found["classes"] is not None, found["confusion"] is not None) == (told_of, told_of)


# predictions


def test_networks_of_the_store_go_before_those_that_ship_where_they_are_better(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(name: str, probe: Any, withheld: Any, networks: Any = None) -> Prediction:
        return Prediction(name, 2.0 if networks else 1.0, withheld="they are few" if networks == "few" else None)

    monkeypatch.setattr(predictions, "network_prediction", network)
    summary = {"probe": {"log_loss": 1}}

    def made(**given: Any) -> Prediction:
        calibration = cast("Any", SimpleNamespace(**given)) if given else None
        return Measured(summary, np.empty(0), calibration).of_network("test_error")

    assert made().value == 1.0
    assert made(networks="many").value == 2.0
    assert made(networks="few").value == 1.0
    assert "they are few" in (made(networks="few").unused or "")
    assert made(networks=None, fit={"forms": None}).value == 1.0
    nothing = Measured({}, np.empty(0), cast("Any", SimpleNamespace(networks="many")))
    assert nothing.of_network("test_error").value == 1.0


def test_a_test_loss_is_by_the_stores_law_where_it_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Prediction] = {}
    monkeypatch.setattr(predictions, "expected_loss", lambda *given: made["law"])
    monkeypatch.setattr(Measured, "of_network", lambda self, name: made["network"])
    network = Prediction("test_loss", 1.0, unused="no forms")
    law = Prediction("test_loss", 2.0)
    with_store = Measured({}, np.empty(0), cast("Any", object()))

    def told(given: Measured, **by: Prediction) -> Prediction | None:
        made.update({"network": network, "law": law} | by)
        return PREDICTIONS["test_loss"].predict(given)

    assert told(Measured({}, np.empty(0))) is network
    assert told(with_store) is law
    own = Prediction("test_loss", 3.0, calibration="mine")
    assert told(with_store, network=own) is own
    failed = Prediction("test_loss", withheld="too few")
    kept = told(with_store, law=failed)
    assert kept is not None
    assert kept.value == 1.0
    assert "no forms; its law: too few" in (kept.unused or "")
    neither = told(with_store, law=failed, network=Prediction("test_loss", withheld="no probe"))
    assert neither is failed
    assert PREDICTIONS["images_needed"].predict(Measured({}, np.empty(0))) is None


def test_checks_look_at_values_and_lower_ends_of_what_is_not_withheld() -> None:
    made = [
        Prediction("attack_penalty", 0.5, 0.25, 0.75),
        Prediction("log_loss_change", -0.1, -0.2, 0.0),
        Prediction("test_loss", 0.3, 0.2, 0.4),
        Prediction("unknown", 0.3, 0.2, 0.4),
    ]
    assert predicted_measures(made) == {
        "predicted_penalty": 0.5,
        "predicted_penalty_low": 0.25,
        "predicted_log_loss_change": -0.1,
    }
    assert predicted_measures([Prediction("attack_penalty", withheld="no")]) == {}
    assert predicted_measures([Prediction("attack_penalty")]) == {
        "predicted_penalty": 0.0,
        "predicted_penalty_low": 0.0,
    }
    assert [name for name, row in PREDICTIONS.items() if row.calibrated] == [
        "attack_penalty",
        "test_loss",
        "images_needed",
        "test_error",
        "network_penalty",
    ]


# features of the probe


@pytest.mark.parametrize("shape", [(40, 50), (32, 32), (20, 16), (64, 32), (16, 40)])
def test_images_are_brought_to_size_by_means_or_between_pixels(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, *shape, 3), dtype=np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    if max(shape) > 32:
        wanted = torch.nn.functional.adaptive_avg_pool2d(x, 32)
    else:
        wanted = torch.nn.functional.interpolate(x, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(features.shrink(images), wanted, atol=1e-3, rtol=1e-4)


def test_features_are_means_of_rectified_responses_to_normalised_patches() -> None:
    x = torch.from_numpy(np.random.default_rng(1).uniform(0, 255, (10, 2, 32, 32))).float()
    x[6:] = 90 + 0.03 * x[6:]  # of little contrast
    encoder, found = features.fit_encoder(x, 5)
    weight, center = encoder.weight.double().numpy(), encoder.center.double().numpy()
    patches = torch.nn.functional.unfold(x.double(), 6).numpy()  # [n, 72, 729]
    centred = patches - patches.mean(1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 10)
    response = np.einsum("pf,npl->nfl", weight, normal - center[:, None]).reshape(10, 160, 3, 9, 3, 9)
    positive, negative = (np.maximum(sign * response, 0).mean((3, 5)).reshape(10, -1) for sign in (1, -1))
    coarse = x.reshape(10, 2, 4, 8, 4, 8).mean((3, 5)).reshape(10, -1).numpy()
    raw = np.concatenate([positive, negative, coarse], 1)
    np.testing.assert_allclose(encoder.mean, raw.mean(0), atol=1e-2)
    spread = np.maximum(raw.std(0), 1e-3 * raw.std(0).max())
    few = 32
    spread[-few:] /= np.sqrt(0.2 / 0.8 * (raw.shape[1] - few) / few)
    np.testing.assert_allclose(encoder.scale, spread, rtol=2e-2, atol=1e-4)
    np.testing.assert_allclose(found, (raw - raw.mean(0)) / spread, atol=0.15)
    assert np.corrcoef(found.ravel(), ((raw - raw.mean(0)) / spread).ravel())[0, 1] > 0.9999
    torch.testing.assert_close(torch.from_numpy(found), features.encode(encoder, x))
    torch.testing.assert_close(features.encode(encoder, x)[:1], features.encode(encoder, x[:1]))
    few_images = x[:2].clone().requires_grad_(True)
    by_product = features.encode_with_gradient(encoder, few_images)
    torch.testing.assert_close(by_product.detach(), features.encode(encoder, x[:2]), atol=1e-3, rtol=1e-3)


def test_filters_are_whitened_patches_of_the_images_of_length_one_before() -> None:
    x = torch.from_numpy(np.random.default_rng(2).uniform(0, 255, (6, 1, 32, 32))).float()
    encoder = features._filters(x, 3)
    rng = np.random.default_rng([3, 7])
    at = rng.integers(0, (6, 27, 27), (8000, 3))
    flat = np.stack([x[i, :, r : r + 6, c : c + 6].numpy().reshape(-1) for i, r, c in at]).astype(float)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.sqrt((flat**2).mean(1, keepdims=True) + 10)
    center = flat.mean(0)
    values, turned = np.linalg.eigh(np.cov((flat - center).T))
    whitening = turned @ np.diag((np.maximum(values, 0) + 0.1) ** -0.5) @ turned.T
    chosen = (flat[rng.choice(8000, 160, replace=False)] - center) @ whitening
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True) + 1e-6
    np.testing.assert_allclose(encoder.center, center, atol=1e-5)
    np.testing.assert_allclose(encoder.weight, whitening @ chosen.T, atol=1e-4)


# the engine


def test_a_tile_of_vectors_decides_the_pairs_that_its_bounds_leave() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 8))
    x[20:] = x[:20] + 1e-4 * rng.normal(size=(20, 8))
    state = empty(40, 2)
    low = (x * x).sum(1)
    products = (x @ x.T).astype(np.float32)

    def strip(rows: slice) -> vectors._Strip:
        part = state.part(rows)
        return vectors._Strip(x[rows], low[rows] * (1 - 1e-6), rows.start, part.knn_d2, part.knn_index)

    one, two = slice(0, 20), slice(20, 40)
    first = vectors._reduce(products[one, one], strip(one), strip(one), True)
    assert 0 < first <= 190
    second = vectors._reduce(products[one, two], strip(one), strip(two), False)
    assert 20 <= second <= 400
    third = vectors._reduce(products[two, two], strip(two), strip(two), True)
    assert third < 190  # each has its copy, and one more
    d2 = ((x[:, None] - x[None]) ** 2).sum(2)
    np.fill_diagonal(d2, np.inf)
    np.testing.assert_allclose(np.sort(state.knn_d2, 1), np.sort(d2, 1)[:, :2])
    np.testing.assert_array_equal(np.sort(state.knn_index, 1), np.sort(np.argsort(d2, 1)[:, :2], 1))
    assert vectors._reduce(products[one, two], strip(one), strip(two), False) < second


def test_vectors_are_centred_and_scaled_by_a_power_of_two() -> None:
    x = np.array([[0.0, 10], [4, 10], [8, 40]])
    frame = vectors._frame(x, 2)
    np.testing.assert_array_equal(frame.centre, [4, 20])
    assert frame.scale == 2.0**-5  # the largest is 20 away
    assert vectors._frame(np.full((3, 2), 7.0), 2).scale == 1.0
    assert vectors._frame(np.array([[0.0], [32]]), 2).scale == 2.0**-4
    with pytest.raises(DatapropsError, match="NaN or infinite"):
        vectors._frame(np.array([[0.0], [np.nan]]), 2)
    distance, neighbour = vectors.nearest_vectors(np.array([[1.0], [1.0], [4.0]]), 3)
    assert distance.tolist() == [[0, 3, np.inf], [0, 3, np.inf], [3, 3, np.inf]]
    assert neighbour.tolist() == [[1, 2, EMPTY], [0, 2, EMPTY], [0, 1, EMPTY]]
    assert vectors.nearest_vectors(np.ones((3, 2)), 0)[0].shape == (3, 0)


def test_tiles_are_small_enough_that_every_thread_has_some() -> None:
    for m, n, threads, edge, wanted in (
        (10_000, 10_000, 1, 1024, 1024),
        (2_048, 2_048, 1, 1024, 512),  # four tiles are fewer than six
        (3_072, 2_048, 1, 1024, 1024),
        (3_072, 2_048, 2, 1024, 512),
        (100, 100, 8, 1024, 256),  # no smaller
        (100, 100, 8, 64, 64),
    ):
        assert passes.shared_edge(m, n, Runner(threads, edge=edge)) == wanted


def test_tiles_cover_each_pair_once() -> None:
    for n, edge in ((7, 3), (9, 3), (2, 5)):
        seen = np.zeros((n, n), int)
        for tile in triangle_tiles(n, edge):
            part = np.zeros((n, n), int)
            part[tile.rows, tile.columns] = 1
            seen += np.triu(part, 1) if tile.triangle else part
            assert tile.pairs == (np.triu(part, 1) if tile.triangle else part).sum()
        np.testing.assert_array_equal(seen, np.triu(np.ones((n, n), int), 1))
    seen = np.zeros((7, 10), int)
    for tile in rectangle_tiles(7, 10, 3, 4):
        seen[tile.rows, tile.columns] += 1
    assert (seen == 1).all()


def test_tiles_of_rows_that_are_alike_come_first() -> None:
    codes = np.repeat([[0.0, 0], [50, 0], [10, 0], [52, 0]], 2, axis=0)
    sketch = SimpleNamespace(codes=torch.from_numpy(codes))
    side = SimpleNamespace(sketch=sketch, order=np.arange(8))
    tiles = [
        Tile(slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2), i == j)
        for i, j in ((0, 1), (0, 2), (1, 3), (0, 0), (2, 3))
    ]
    unit = cast("Any", (side, side, None))
    found = [(tile.rows.start // 2, tile.columns.start // 2) for tile in passes.nearest_first(unit, iter(tiles))]
    assert found == [(0, 0), (1, 3), (0, 2), (2, 3), (0, 1)]
    for other in (SimpleNamespace(sketch=None, order=np.arange(8)), SimpleNamespace(sketch=sketch, order=None)):
        kept = passes.nearest_first(cast("Any", (other, side, None)), iter(tiles))
        assert list(kept) == tiles


# properties of images in memory


def test_images_in_memory_are_refused_with_the_reason() -> None:
    images = np.random.default_rng(5).integers(0, 256, (10, 6, 6), dtype=np.uint8)
    for options, words in (
        ({"m": 1}, "m is 1"),
        ({"draws": 0}, "draws is 0"),
    ):
        with pytest.raises(DatapropsError, match=words):
            label_sharpness(images, ["a", "b"] * 5, **options)
    for k, fine in ((2, False), (3, True), (1000, True), (1001, False)):
        if fine:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                in_memory.intrinsic_dimension(images, k=k)
            continue
        with pytest.raises(DatapropsError, match=f"k is {k}"):
            in_memory.intrinsic_dimension(images, k=k)
    with pytest.raises(DatapropsError, match="there are 1 images"):
        label_sharpness(images[:1], ["a"])
    with pytest.raises(DatapropsError, match="10 images and 9 labels"):
        label_sharpness(images, ["a"] * 9)


def test_the_sharpness_of_draws_is_the_mean_over_those_of_their_images() -> None:
    rng = np.random.default_rng(6)
    images, labels = rng.integers(0, 256, (30, 5, 5), dtype=np.uint8), np.array(["a", "b", "c"] * 10)
    found = in_memory.label_sharpness(images, labels, m=12, draws=7, seed=4)
    flat, values = images.reshape(30, -1).astype(float), []
    for draw in in_memory.draw_samples(30, 12, 7, 4):
        apart = [1 / np.linalg.norm(flat[i] - flat[j]) for i in draw for j in draw if i < j and labels[i] != labels[j]]
        values.append(max(apart))
    assert found == pytest.approx((np.mean(values), np.std(values, ddof=1), 12, 7))
    one = in_memory.label_sharpness(images, labels, m=12, draws=1, seed=4)
    assert one == pytest.approx((values[0], 0.0, 12, 1))
    all_of = in_memory.label_sharpness(images, labels, m=30)
    assert (all_of.std, all_of.m, all_of.draws) == (0.0, 30, 1)
    assert in_memory.label_sharpness(images, labels, m=None, top=1).value == pytest.approx(255 * all_of.value)


def test_canonical_images_have_the_size_of_square_ones_and_one_range() -> None:
    rng = np.random.default_rng(7)

    def held(*shapes: tuple[int, int]) -> Any:
        images = [in_memory.raw_image(rng.integers(0, 256, shape).astype(np.uint8)) for shape in shapes]
        return in_memory._Images(len(shapes), lambda i: images[i], None)

    for shapes, wanted in (([(9, 9)] * 3, 81), ([(9, 8)] * 3, 224**2), ([(9, 9), (8, 8)], 224**2)):
        pixels, labels = in_memory._canonical(held(*shapes), np.arange(len(shapes)), None, 1, "full-range")
        assert pixels.shape == (len(shapes), wanted)
        assert labels == [None] * len(shapes)
    pixels, _ = in_memory._canonical(held((9, 9), (7, 7)), np.array([1]), 4, 3, "full-range")
    assert pixels.shape == (1, 48)


def test_what_does_not_fit_half_of_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(8).integers(0, 256, (10, 16, 16), dtype=np.uint8)
    monkeypatch.setattr(in_memory, "free_memory", lambda: 2 * 10 * 256)
    assert in_memory.label_sharpness(images, ["a", "b"] * 5).m == 10
    monkeypatch.setattr(in_memory, "free_memory", lambda: 2 * 10 * 256 - 2)
    with pytest.raises(DatapropsError, match="10 images of 256 values need 0 MiB"):
        in_memory.label_sharpness(images, ["a", "b"] * 5)


def test_rows_are_distinct_pictures_with_their_labels() -> None:
    pixels = np.array([[1, 2], [3, 4], [1, 2], [1, 2], [3, 4]], np.uint8)
    y = np.array([0.0, 1, 0, 1, np.nan])
    rows, row, first, content = in_memory._distinct(pixels, y)
    assert rows.n == 4
    assert row.tolist() == [0, 1, 0, 2, 3]
    assert first.tolist() == [0, 1, 3, 4]
    assert content.tolist() == [0, 1, 0, 0, 1]
    assert in_memory._distinct(pixels[[4, 4]], y[[4, 4]])[1].tolist() == [0, 0]  # none is no label of its own


def test_differences_of_labels_are_never_less_in_bounds_than_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds have labels in float32, of which those near a million that differ by hundredths are alike."""
    rng = np.random.default_rng(9)
    y = 1e6 + rng.uniform(0, 0.2, 400)
    seen: list[Any] = []
    monkeypatch.setattr(folds, "_limits", lambda side, rows, spec: None)
    monkeypatch.setattr(folds, "candidates", lambda codes, a, b, rise, skip, out: seen.append(rise) or -1)
    side = SimpleNamespace(pictures=(), block=SimpleNamespace(y=y))
    small = SimpleNamespace(pictures=(), block=SimpleNamespace(y=np.array([0.5, np.nan])))
    tile = SimpleNamespace(rows=slice(0, 400), columns=slice(0, 400))
    for numeric, a, b in ((True, side, side), (True, small, side), (True, side, small), (False, side, side)):
        unit = cast("Any", (a, b, SimpleNamespace(numeric=numeric)))
        assert (
            folds.close_pairs(np.zeros((4, 4), np.int32), np.empty((0, 0), np.uint8), unit, cast("Any", tile)) is None
        )
    stored = y.astype(np.float32)
    for rise in seen[:3]:
        assert rise.most == np.inf
        counted = np.abs(stored[:, None] - stored) + rise.least
        assert (counted >= np.abs(y[:, None] - y)).all()
        assert rise.least < 1  # and not by much
    assert seen[3] == (1.0, 0.0)
