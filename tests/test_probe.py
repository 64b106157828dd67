"""The probe: folds, features, ridge, calibration, curve, suspects, attack; and its place in an audit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dataprops.audit import audit
from dataprops.probe import attack, calibrate, curve, features, folds, measure, ridge, suspects
from dataprops.probe.bootstrap import bootstrap_weights, mean_interval


def squares(n: int, seed: int = 0, classes: int = 2, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright bar whose direction is the class; some bars are faint."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    images = rng.integers(60, 120, (n, side, side, 1)).astype(float)
    for image, label in zip(images, y, strict=True):
        at, light = rng.integers(3, side - 5), rng.uniform(5, 90)
        if label == 0:
            image[at : at + 3] += light
        elif label == 1:
            image[:, at : at + 3] += light
        else:
            image[range(side), range(side)] += light
    return images.clip(0, 255).astype(np.uint8), y


@pytest.fixture(scope="module")
def found() -> measure.Probe:
    images, y = squares(160)
    return measure.run_probe(images, y, np.arange(160), seed=3, attacked=40)


# --- folds ---------------------------------------------------------------------------------------------------------------


def test_no_unit_is_torn_and_classes_are_even():
    rng = np.random.default_rng(0)
    unit = rng.integers(0, 60, 300)
    y = rng.integers(0, 3, 300)
    fold = folds.assign_folds(y, unit, 5, 0)
    assert all(len(np.unique(fold[unit == u])) == 1 for u in np.unique(unit))
    counts = np.array([np.bincount(y[fold == f], minlength=3) for f in range(5)])
    assert (np.abs(counts - counts.mean(0)) <= 6).all()
    np.testing.assert_array_equal(fold, folds.assign_folds(y, unit, 5, 0))


def test_groups_copies_and_near_copies_make_one_unit():
    unit = folds.units_of(6, np.array([0, 0, -1, -1, -1, 1]), np.array([[1, 2]]), np.array([[3, 4]]))
    assert unit.tolist() == [0, 0, 0, 1, 1, 2]


def test_a_chain_of_near_copies_through_the_set_is_no_unit():
    chain = np.stack([np.arange(49), np.arange(1, 50)], 1)
    assert len(np.unique(folds.units_of(50, None, np.array([[0, 1]]), chain))) == 49


# --- features ------------------------------------------------------------------------------------------------------------


def test_a_response_is_that_of_the_normalised_patch():
    """The convolution's shortcut against patches taken out, normalised and multiplied one by one."""
    images, _ = squares(4)
    x = features.shrink(images, 16)
    encoder = features._filters(x, 0)
    got = features.encode(encoder, x)
    patches = torch.nn.functional.unfold(x, features.PATCH).transpose(1, 2)
    patches = patches - patches.mean(2, keepdim=True)
    patches = patches / torch.sqrt(patches.square().mean(2, keepdim=True) + features.CONTRAST)
    response = ((patches - encoder.center) @ encoder.weight).transpose(1, 2).reshape(4, -1, 11, 11)
    both = torch.cat([response.clamp(min=0), (-response).clamp(min=0)], 1)
    want = torch.nn.functional.adaptive_avg_pool2d(both, features.GRID).flatten(1)
    torch.testing.assert_close(got[:, : want.shape[1]], want, rtol=1e-3, atol=1e-3)


# --- ridge ---------------------------------------------------------------------------------------------------------------


def test_held_out_scores_are_those_of_scikit_learns_ridge():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(1)
    z = rng.normal(size=(60, 30)).astype(np.float32)
    y = (z[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(np.int64)
    fold, target = np.arange(60) % 3, ridge.targets(y, 2)
    got = ridge.held_scores(ridge.inner_products(z), target, fold, strengths=(0.1,)).scores
    for f in range(3):
        train = fold != f
        scale = 0.1 * np.trace(z[train] @ z[train].T) / train.sum()
        model = Ridge(alpha=scale, fit_intercept=False).fit(z[train], target[train] - target[train].mean(0))
        np.testing.assert_allclose(got[~train], model.predict(z[~train]) + target[train].mean(0), atol=1e-5)


# --- calibration ---------------------------------------------------------------------------------------------------------


def test_calibrated_probabilities_are_those_that_made_the_labels():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(6000, 3))
    truth = calibrate.Scaling(1.7, np.array([0.5, -0.5, 0.0]))
    p = calibrate.probabilities(truth, scores)
    y = (p.cumsum(1) > rng.random((6000, 1))).argmax(1)
    fitted = calibrate.fit_scaling(scores, y)
    assert fitted.temperature == pytest.approx(1.7, rel=0.08)
    np.testing.assert_allclose(fitted.offset - fitted.offset.mean(), truth.offset, atol=0.12)
    assert np.isfinite(
        calibrate.log_losses(calibrate.cross_fitted(10.0 * ridge.targets(y, 3), y, np.arange(6000) % 2), y)
    ).all()


# --- suspects ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes, seed", [(2, 0), (4, 1)])
def test_suspects_are_cleanlabs(classes, seed):
    filters = pytest.importorskip("cleanlab.filter")
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, 400)
    logits = 1.5 * (np.arange(classes) == y[:, None]) + rng.normal(size=(400, classes))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    given = np.where(rng.random(400) < 0.1, (y + 1) % classes, y)
    theirs = filters.find_label_issues(
        given, p, filter_by="confident_learning", return_indices_ranked_by="normalized_margin"
    )
    ours = suspects.suspect_labels(p, given)
    assert set(ours.image) <= set(theirs)
    # cleanlab also lists images whose given class is the more probable one; nobody would correct these
    extra = sorted(set(theirs) - set(ours.image))
    assert all(p[i, given[i]] >= p[i].max() - 1e-9 or p[i, given[i]] == p[i].max() for i in extra) or len(
        extra
    ) <= 0.05 * len(theirs)
    wrong = np.nonzero(given != y)[0]
    assert len(set(ours.image) & set(wrong)) / max(1, len(ours.image)) >= len(set(theirs) & set(wrong)) / len(theirs)
    assert (np.diff(ours.score) <= 0).all()


# --- curve and intervals -------------------------------------------------------------------------------------------------


def test_subsets_are_nested_whole_units_and_halve():
    rng = np.random.default_rng(0)
    unit, y = np.repeat(np.arange(100), 4), np.repeat(rng.integers(0, 2, 100), 4)
    parts = curve.nested_subsets(y, unit, 0)
    sizes = [parts[part].sum() for part in curve.FRACTIONS]
    for small, large in zip(curve.FRACTIONS, curve.FRACTIONS[1:], strict=False):
        assert (parts[large] | ~parts[small]).all()
    assert sizes[-1] == 400
    assert sizes[2] == pytest.approx(200, abs=8)
    assert all(len(np.unique(part[unit == u])) == 1 for part in parts.values() for u in range(100))


def test_a_power_law_gives_its_gain():
    sizes = np.array([50.0, 100, 200, 400])
    losses = np.outer(np.random.default_rng(0).uniform(0.5, 1.5, 300), sizes**-0.4)
    told = curve.gain(sizes, losses, bootstrap_weights(300, 0), np.arange(300), 2.0)
    assert told.value == pytest.approx(1 - 2**-0.4)
    with pytest.raises(ValueError, match="beyond 4"):
        curve.gain(sizes, losses, bootstrap_weights(300, 0), np.arange(300), 8.0)


def test_intervals_draw_groups_not_images():
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(50), 8)
    values = rng.normal(size=50)[unit]
    _, low, high = mean_interval(values, unit, bootstrap_weights(50, 0))
    _, low1, high1 = mean_interval(values, np.arange(400), bootstrap_weights(400, 0))
    assert (high - low) == pytest.approx(np.sqrt(8) * (high1 - low1), rel=0.15)


# --- attack --------------------------------------------------------------------------------------------------------------


def test_the_flip_is_where_the_prediction_changes_and_the_gradient_a_difference_quotient():
    images, y = squares(60)
    x = features.shrink(images)
    encoder, z = features.fit_encoder(x, 0)
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(size=(z.shape[1], 2)).astype(np.float32)) / z.shape[1]
    linear = attack.Linear(weight, torch.zeros(2))
    part = x[:8].clone()
    told = attack.attack(encoder, [linear], np.zeros(8, np.int64), part, y[:8])
    logits = features.encode(encoder, part) @ weight
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y[:8]), reduction="none")
    moved = part.clone().requires_grad_()
    grad = torch.autograd.grad(
        torch.nn.functional.cross_entropy(
            features.encode_with_gradient(encoder, moved) @ weight, torch.from_numpy(y[:8]), reduction="sum"
        ),
        moved,
    )[0]
    np.testing.assert_allclose(told.gradient, grad.abs().sum((1, 2, 3)).numpy(), rtol=1e-3)
    step = (part + 2 * grad.sign()).clamp(0, 255)
    after = torch.nn.functional.cross_entropy(
        features.encode(encoder, step) @ weight, torch.from_numpy(y[:8]), reduction="none"
    )
    np.testing.assert_allclose(told.penalty, (after - loss).numpy(), atol=1e-4)
    assert (told.flip > 0).all()


# --- the whole -----------------------------------------------------------------------------------------------------------


def test_the_probe_learns_and_says_how_sure_it_is(found):
    assert 0 < found.error.value < 0.25
    assert found.error.low <= found.error.value <= found.error.high
    assert found.log_loss.value < np.log(2)
    assert [point.n for point in found.curve] == sorted(point.n for point in found.curve)
    assert found.curve[0].log_loss > found.curve[-1].log_loss
    assert found.confusion.sum() == 160
    assert (found.attack.flip > 0).all()


def test_the_probe_is_a_function_of_its_seed(found):
    images, y = squares(160)
    again = measure.run_probe(images, y, np.arange(160), seed=3, attacked=40)
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    other = measure.run_probe(images, y, np.arange(160), seed=4, attacked=40)
    assert (other.fold != found.fold).any()


def test_few_errors_withhold_the_gain():
    images, y = squares(80)
    images[y == 1] = 255 - images[y == 1]
    told = measure.run_probe(images, y, np.arange(80), attacked=8)
    assert told.gains is None
    assert "held-out error" in told.withheld
    assert told.error.high > 0


def test_numbers_are_learned_by_regression():
    rng = np.random.default_rng(0)
    y = rng.uniform(20, 80, 120)
    images = (rng.integers(0, 20, (120, 16, 16, 1)) + y[:, None, None, None]).astype(np.uint8)
    told = measure.run_probe(images, y, np.arange(120), numeric=True)
    assert told.error.value < 0.2
    assert told.log_loss is told.confusion is told.suspects is None


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """An audit of bars of two directions, 6 of 120 labels wrong."""
    images, y = squares(120, seed=5)
    images = images.astype(int)
    labels = np.array(["flat", "upright"], object)[y]
    wrong = [3, 20, 47, 61, 88, 111]
    labels[wrong] = np.array(["upright", "flat"], object)[y[wrong]]
    store = tmp_path_factory.mktemp("probe")
    return audit(images.astype(np.uint8), list(labels), store=str(store), name="bars", size=16), wrong, store


def test_an_audit_tells_the_probe_by_the_names_others_rely_on(planted):
    summary, _, _ = planted
    probe = summary["probe"]
    assert set(probe["error"]) == set(probe["log_loss"]) == {"value", "low", "high"}
    assert all(set(point) == {"n", "error", "log_loss"} for point in probe["curve"])
    assert (probe["gain_if_doubled"] is None) == (probe["withheld"] is not None)
    assert probe["grouped_by"] == "image"
    assert probe["folds"] == folds.FOLDS_OF_FEW
    assert summary["probe_withheld"] is None


def test_wrong_labels_are_found_most_suspect_first(planted):
    import pandas as pd

    summary, wrong, _ = planted
    found = pd.read_parquet(f"{summary['results']}/findings.parquet").query("kind == 'suspect_labels'")
    assert found["value"].is_monotonic_decreasing
    assert all(len(images) == 1 for images in found["images"])
    first = [images[0] for images in found["images"].head(6)]
    assert len(set(first) & set(wrong)) >= 3
    row = found.iloc[0]
    assert "likelier" in row["detail"]


def test_no_probe_leaves_it_out_and_says_so(tmp_path):
    images, y = squares(24)
    summary = audit(images, list(map(str, y)), store=str(tmp_path), name="bars", size=16, probe=False)
    assert summary["probe"] is None
    assert "--no-probe" in summary["probe_withheld"]
    told = {p["name"]: p for p in summary["predictions"]}["loss_if_doubled"]
    assert "--no-probe" in told["withheld"]


def test_networks_are_predicted_with_the_score_that_the_calibration_earned(planted):
    """Where the form clearly beats log N on sources left out; the words say by what factor others were missed."""
    from dataprops.laws.networks import TARGETS, best_form, network_prediction

    summary, _, _ = planted
    told = {p["name"]: p for p in summary["predictions"]}
    for name, target in (("test_loss", "log_loss"), ("test_error", "logit_error"), ("network_penalty", "log_penalty")):
        best = best_form(target)
        assert told[name]["score"]["rmse"] == pytest.approx(best.score["rmse"])
        assert (told[name]["value"] is not None) == best.clearly
        if best.clearly:
            assert told[name]["low"] < told[name]["value"] < told[name]["high"]
            assert "other sources were missed by a factor of" in told[name]["sentence"]
    assert "--no-probe" in network_prediction("test_loss", None, "left out with --no-probe").withheld
    large = summary["probe"] | {"n_images": 4000, "n_total": 60_000}
    assert all("60,000" in network_prediction(name, large).withheld for name in TARGETS)
    harder = summary["probe"] | {"log_loss": {"value": 2 * summary["probe"]["log_loss"]["value"]}}
    value = network_prediction("test_loss", summary["probe"]).value
    assert network_prediction("test_loss", harder).value > value
