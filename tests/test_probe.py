"""The probe: folds, features, ridge, calibration, curve, suspects, attack; and its place in an audit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dataprops.audit import audit
from dataprops.audit.stages.probe import _chosen, near_alike
from dataprops.errors import DatapropsError
from dataprops.findings.second_opinion import Witness
from dataprops.probe import (
    attack,
    calibrate,
    curve,
    descriptors,
    feature_file,
    features,
    folds,
    measure,
    paired,
    ridge,
    solve,
    space,
    suspects,
)
from dataprops.probe.bootstrap import bootstrap_weights, held_out_interval, mean_interval
from dataprops.probe.conjugate import Gradients
from dataprops.probe.factors import Factors
from dataprops.probe.solve import solve_all
from dataprops.probe.spread import training_ratio


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
    leak_group = rng.integers(0, 60, 300)
    y = rng.integers(0, 3, 300)
    fold = folds.assign_folds(y, leak_group, 5, 0)
    assert all(len(np.unique(fold[leak_group == u])) == 1 for u in np.unique(leak_group))
    counts = np.array([np.bincount(y[fold == f], minlength=3) for f in range(5)])
    assert (np.abs(counts - counts.mean(0)) <= 6).all()
    np.testing.assert_array_equal(fold, folds.assign_folds(y, leak_group, 5, 0))


def test_groups_copies_and_near_copies_make_one_unit():
    leak_group = folds.leak_groups_of(6, np.array([0, 0, -1, -1, -1, 1]), np.array([[1, 2]]), np.array([[3, 4]]))
    assert leak_group.tolist() == [0, 0, 0, 1, 1, 2]


def test_a_chain_of_near_copies_through_the_set_is_no_unit():
    chain = np.stack([np.arange(49), np.arange(1, 50)], 1)
    assert len(np.unique(folds.leak_groups_of(50, None, np.array([[0, 1]]), chain))) == 49
    apart = np.where(
        np.arange(len(chain)) < 3, 1.0, 8.0
    )  # the three nearest pairs are copies, whatever hangs on behind them
    unit = folds.leak_groups_of(50, None, np.array([[0, 1]]), chain, apart)
    assert len(set(unit[:4].tolist())) == 1 and np.bincount(unit).max() <= 10


def test_neighbours_far_nearer_than_others_are_kept_together_and_so_is_what_is_listed():
    rows = [
        (0, 1, 30.0),
        (0, 2, 100.0),
        (1, 0, 30.0),
        (1, 2, 100.0),
        (2, 0, 100.0),
        (2, 1, 100.0),
        (3, 2, 50.0),
        (3, 0, 90.0),
    ]
    neighbours = pd.DataFrame(rows, columns=["image", "neighbour", "distance"])
    none = pd.DataFrame({"a": [], "b": [], "distance": []})
    found = near_alike(neighbours, 100, none)
    assert set(zip(found["a"], found["b"], strict=True)) == {(0, 1), (1, 0)}
    within = near_alike(neighbours, 625, none)  # 2 grey levels: 50 apart
    assert (3, 2) in set(zip(within["a"], within["b"], strict=True))
    listed = pd.DataFrame({"a": [2], "b": [3], "distance": [70.0]})
    assert (2, 3) in set(zip(*(near_alike(neighbours, 100, listed)[name] for name in "ab"), strict=True))


# --- features ------------------------------------------------------------------------------------------------------------


def test_a_response_is_that_of_the_normalised_patch():
    """The convolution's shortcut against patches taken out, normalised and multiplied one by one."""
    images, _ = squares(4)
    x = features.shrink(images)
    encoder = features._filters(x, 0)
    got = features.encode(encoder, x)
    patches = torch.nn.functional.unfold(x, features.PATCH).transpose(1, 2)
    patches = patches - patches.mean(2, keepdim=True)
    patches = patches / torch.sqrt(patches.square().mean(2, keepdim=True) + features.CONTRAST)
    response = ((patches - encoder.center) @ encoder.weight).transpose(1, 2).reshape(4, -1, 27, 27)
    both = torch.cat([response.clamp(min=0), (-response).clamp(min=0)], 1)
    want = torch.nn.functional.adaptive_avg_pool2d(both, features.GRID).flatten(1)
    torch.testing.assert_close(got[:, : want.shape[1]], want, rtol=1e-3, atol=1e-3)


# --- ridge ---------------------------------------------------------------------------------------------------------------


def test_pieces_are_worked_on_from_within_a_piece_and_after_a_fork():
    script = (
        "import os; from dataprops.probe import threads; threads.cores = lambda: 2\n"
        "table = lambda: threads.in_threads(lambda a: threads.in_threads(lambda b: a * b, range(3)), range(2))\n"
        "assert table() == [[0, 0, 0], [0, 1, 2]]\n"
        "child = os.fork()\n"
        "if not child: os._exit(table() != [[0, 0, 0], [0, 1, 2]])\n"
        "print(os.waitpid(child, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "0\n"


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


@pytest.mark.parametrize("classes", [2, 5])
def test_fits_of_all_folds_at_once_are_those_of_each_fold_alone(monkeypatch, classes):
    rng = np.random.default_rng(3)
    z = rng.normal(size=(500, 80)) / np.arange(1, 81) ** 0.7
    y, fold = rng.integers(0, classes, 500), np.arange(500) % 5
    kernel, target = ridge.inner_products(z), ridge.targets(y, classes)
    subset = np.arange(500) % 3 > 0
    alone = ridge.held_scores(kernel, target, fold, subset, strengths=(0.03, 0.1))
    monkeypatch.setattr(ridge, "MANY", 100)
    solved = []
    monkeypatch.setattr(ridge, "solve_all", lambda *given: solved.append(solve_all(*given)) or solved[-1])
    together = ridge.held_scores(kernel, target, fold, subset, strengths=(0.03, 0.1))
    assert [one is not None for one in solved] == [True, True]
    assert solved[0][0].shape[2] == (1 if classes == 2 else classes)  # of two classes one is the other's negative
    assert together.strength == alone.strength
    np.testing.assert_allclose(together.scores, alone.scores, atol=2e-6)
    for (alpha, mean), (wanted, center) in zip(together.fits, alone.fits, strict=True):
        assert alpha.shape == wanted.shape
        np.testing.assert_array_equal(mean, center)


def test_fits_of_many_classes_are_factorised_which_serves_all_of_them(monkeypatch):
    """Directions for each of 400 classes and fold of 4,000 images took minutes."""
    rng = np.random.default_rng(3)
    z, y, fold = rng.normal(size=(400, 30)), np.arange(400) % (ridge.OUTPUTS + 1), np.arange(400) % 5
    monkeypatch.setattr(ridge, "MANY", 100)
    monkeypatch.setattr(ridge, "solve_all", lambda *given: pytest.fail("one product for each class and fold"))
    kernel = ridge.inner_products(z)
    held = ridge.held_scores(kernel, ridge.targets(y, ridge.OUTPUTS + 1), fold, strengths=(0.1,))
    target, train = ridge.targets(y, ridge.OUTPUTS + 1), np.nonzero(fold)[0]
    alpha, mean = ridge.solve(kernel, train, target, 0.1)
    np.testing.assert_allclose(held.scores[fold == 0], kernel[np.ix_(fold == 0, train)] @ alpha + mean, atol=1e-9)


def test_fits_that_single_precision_cannot_find_are_solved_one_by_one(monkeypatch):
    rng = np.random.default_rng(4)
    z = rng.normal(size=(300, 40)) / np.arange(1, 41) ** 0.7
    kernel, target = ridge.inner_products(z) + 100.0, ridge.targets(rng.integers(0, 3, 300), 3)
    inside = np.ones((300, 1), bool)
    assert solve_all(kernel, target[:, None], inside, np.array([1e-9])) is None  # far below what it can tell
    assert solve_all(kernel - 200.0, target[:, None], inside, np.array([1e-3])) is None  # no squares at all
    fold = np.arange(300) % 3
    alone = ridge.held_scores(kernel, target, fold, strengths=(1e-7,)).scores
    monkeypatch.setattr(ridge, "MANY", 100)
    np.testing.assert_array_equal(ridge.held_scores(kernel, target, fold, strengths=(1e-7,)).scores, alone)


@pytest.mark.parametrize(("shift", "outputs", "way"), [(1.0, 1, Gradients), (1e-3, 1, Factors), (1.0, 50, Factors)])
def test_fits_are_found_the_cheaper_way_and_are_the_same(shift, outputs, way):
    """Few well-posed systems by gradients; where these take too many steps, or a step too long, by factorisations."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(2500, 600)) / np.arange(1, 601) ** 0.3
    kernel = (z @ z.T) / 600
    inside = np.stack([np.arange(2500) % 5 != fold for fold in range(5)], axis=1)
    shifts = np.full(5, shift * np.diagonal(kernel).mean())
    chosen = solve._cheaper(torch.from_numpy(kernel).float(), inside, shifts, outputs)
    assert isinstance(chosen, way)
    wanted = rng.normal(size=(2500, 5, 1)) * inside[:, :, None]
    solved = solve_all(kernel, wanted, inside, shifts)
    assert solved is not None
    alpha, _ = solved
    for i, rows in enumerate(inside.T):
        left = kernel[np.ix_(rows, rows)] @ alpha[rows, i] + shifts[i] * alpha[rows, i] - wanted[rows, i]
        assert np.linalg.norm(left) <= 1.01e-6 * np.linalg.norm(wanted[rows, i])
        assert not alpha[~rows, i].any()


def test_the_strength_is_looked_for_from_one_that_is_near_as_far_as_it_falls(monkeypatch):
    rng = np.random.default_rng(6)
    z, y, fold = rng.normal(size=(200, 60)), np.arange(200) % 2, np.arange(200) % 5
    z[:, 0] += y
    kernel, target = ridge.inner_products(z), ridge.targets(y, 2)
    wanted = ridge.held_scores(kernel, target, fold)
    tried, real = [], ridge._fits
    monkeypatch.setattr(
        ridge, "_fits", lambda k, t, systems: tried.append({s.strength for s in systems}) or real(k, t, systems)
    )
    for near in (1e-3, 1.0, 3.0):
        tried.clear()
        found = ridge.held_scores(kernel, target, fold, near=near)
        assert found.strength == wanted.strength
        np.testing.assert_array_equal(found.scores, wanted.scores)
    assert [sorted(one) for one in tried] == [[1.0, 3.0]]  # the best is at the end of what there is
    assert wanted.strength == 3.0


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


def test_the_second_classifier_learns_what_is_not_linear():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 2))
    y = (z[:, 0] * z[:, 1] > 0).astype(int)
    kernel, folds = z @ z.T / 2, np.arange(200) % 5
    linear = ridge.held_scores(kernel, ridge.targets(y, 2), folds).scores.argmax(1)
    curved = measure.held_out_curved(kernel, y, folds, np.arange(200))
    assert (linear != y).mean() > 0.3
    assert (curved.argmax(1) != y).mean() < 0.12
    assert curved.sum(1) == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_tones_are_the_shares_of_levels_or_colours(channels):
    x = np.random.default_rng(1).integers(0, 256, (3, channels, 8, 8))
    found = descriptors.tones(torch.from_numpy(x).float()).numpy()
    for one, told in zip(x, found, strict=True):
        count = np.zeros(32 if channels == 1 else 64)
        for pixel in one.reshape(channels, -1).T:
            count[pixel[0] // 8 if channels == 1 else pixel[0] // 64 * 16 + pixel[1] // 64 * 4 + pixel[2] // 64] += 1
        np.testing.assert_allclose(told**2, count / 64, atol=1e-6)


def test_edges_are_told_by_place_and_direction():
    rows, columns = np.mgrid[:64, :64]
    upright, slanted = np.where(columns >= 20, 200.0, 80.0), np.where(columns + rows >= 63, 200.0, 80.0)
    found = descriptors.edges(torch.from_numpy(np.stack([upright, 255 - upright, upright.T, slanted])).float()[:, None])
    cells = found.reshape(4, descriptors.DIRECTIONS, 8, 8)
    across, down, between = 0, descriptors.DIRECTIONS // 2, descriptors.DIRECTIONS // 4
    assert (cells[0, across, :, 2] > 0.5).all() and cells[0].sum() == pytest.approx(float(cells[0, across, :, 2].sum()))
    torch.testing.assert_close(cells[1], cells[0], atol=1e-3, rtol=0)  # dark to light is light to dark
    torch.testing.assert_close(cells[2, down], cells[0, across].T)
    own = cells[3].flip(2).diagonal(dim1=1, dim2=2)
    assert (own[between] > 0.5).all() and cells[3].argmax(0).flip(1).diagonal().eq(between).all()
    many = torch.rand(70, 3, 64, 64) * 255  # more than are described at once; in colour the steepest channel counts
    whole = descriptors.edges(many)
    torch.testing.assert_close(whole[69:], descriptors.edges(many[69:]))
    torch.testing.assert_close(descriptors.edges(many[:2, :1].expand(2, 3, 64, 64)), descriptors.edges(many[:2, :1]))


def test_textures_are_told_by_scale_direction_and_arrangement():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    fine = 0.75 * np.pi
    stripes = (rows % 8 < 4) * np.sqrt(2)  # at the same mean amplitude, in every second band only

    def image(kind):
        start = rng.uniform(0, 2 * np.pi)
        wave = [fine * columns, fine * rows, fine / 2 * columns, fine * columns][kind]
        return 128 + 40 * np.sin(wave + start) * (stripes if kind == 3 else 1) + rng.normal(0, 1, (32, 32))

    kinds = np.arange(80) % 4
    x = torch.from_numpy(np.stack([image(kind) for kind in kinds])).float()[:, None]
    found = descriptors.textures(x)
    assert found.mean(0).abs().max() < 1e-3 and found.std(0, correction=0).max() < 1 + 1e-3
    cells, angles = descriptors.TEXTURE_CELLS**2, descriptors.ANGLES
    coarse, first, second = found.split([cells, descriptors.SCALES * angles * cells, 3 * angles**2 * cells], 1)
    energy = first.reshape(80, descriptors.SCALES, angles, -1).mean(3)
    across, down = 0, angles // 2
    for kind, scale, angle in ((0, 0, across), (1, 0, down), (2, 1, across), (3, 0, across)):
        assert (energy[kinds == kind, scale, angle].min() > energy[kinds == (kind + 1) % 3, scale, angle].max()).all()
    # whole and interrupted waves differ in the second order: fine waves across, coarser changes down
    changes = second.reshape(80, angles, 2 * angles, -1)[:, across, down].mean(1)
    assert changes[kinds == 3].min() > changes[kinds == 0].max()
    many = torch.rand(70, 3, 32, 32) * 255  # more than are described at once; grey levels are the mean of the channels
    whole = descriptors.textures(many)
    grey = descriptors.textures(many.mean(1, keepdim=True))
    torch.testing.assert_close(whole[:, 3 * cells :], grey[:, cells:], atol=1e-3, rtol=0)
    assert coarse.shape == (80, cells) and whole.shape[1] == grey.shape[1] + 2 * cells


def test_classifiers_of_edges_tones_and_textures_are_witnesses_of_few_images(tmp_path):
    """Strokes across or down, anywhere and of any brightness; a third class of the same strokes on darker paper."""
    rng = np.random.default_rng(0)
    for number in range(90):
        kind = number % 3
        paper = 90 if kind == 2 else rng.integers(140, 200)
        image = rng.normal(paper, 1, (64, 64))
        for at in rng.integers(4, 60, 6):
            (image if kind else image.T)[at, 8:56] += rng.choice([-40, 40])
        (tmp_path / "set" / "abc"[kind]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(tmp_path / "set" / "abc"[kind] / f"{number}.png")
    asked = []
    with mock.patch.object(Witness, "save", lambda self, _: asked.append(self)):
        audit(tmp_path / "set", size=64, store=tmp_path / "store")
    (witness,) = asked
    y = np.repeat(np.arange(3), 30)
    assert witness.described.shape == (3, 90, 3)
    edges, tones, textures = (p.argmax(1) for p in witness.described)
    assert ((edges == 0) == (y == 0)).mean() > 0.95
    assert ((tones == 2) == (y == 2)).mean() > 0.95
    assert ((textures == 0) == (y == 0)).mean() > 0.9
    none = measure.held_out_described([], np.arange(ridge.MANY + 1) % 3, np.empty(0), np.empty(0))
    assert none.shape == (0, ridge.MANY + 1, 3)


def test_witnesses_of_few_images_hang_less_on_the_division_into_folds():
    rng = np.random.default_rng(0)
    y, group = np.arange(120) % 2, np.arange(120) // 2
    z = rng.normal(size=(120, 60)) + 0.2 * (2 * y[:, None] - 1)
    kernel = ridge.inner_products(z.astype(np.float32))
    once, averaged = [], []
    for seed in (0, 1):
        fold = folds.assign_folds(y, group, 5, seed)
        held = ridge.held_scores(kernel, ridge.targets(y, 2), fold)
        once.append(calibrate.cross_fitted(held.scores, y, fold))
        averaged.append(measure.held_out_averaged(once[-1], kernel, y, group, held.strength, seed))
        assert averaged[-1].sum(1) == pytest.approx(1)
    assert np.std(averaged[0] - averaged[1]) < 0.8 * np.std(once[0] - once[1])
    many = np.full((ridge.MANY + 1, 2), 0.5)  # asked once
    assert measure.held_out_averaged(many, kernel, np.zeros(len(many), int), group, 1.0) is many


# --- suspects ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes, seed", [(2, 0), (4, 1), (7, 2), (10, 3)])
def test_suspects_are_cleanlabs(classes, seed):
    filters, count = pytest.importorskip("cleanlab.filter"), pytest.importorskip("cleanlab.count")
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, 400)
    logits = 1.5 * (np.arange(classes) == y[:, None]) + rng.normal(size=(400, classes))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    given = np.where(rng.random(400) < 0.1, (y + 1) % classes, y)
    theirs = filters.find_label_issues(
        given, p, filter_by="confident_learning", return_indices_ranked_by="normalized_margin"
    )
    ours = suspects.suspect_labels(p, given)
    assert set(ours.image) == set(theirs)
    joint, off_diagonal = count.compute_confident_joint(given, p, return_indices_of_off_diagonals=True, calibrate=False)
    assert set(ours.image) <= set(off_diagonal)
    moved = np.zeros((classes, classes), int)
    np.add.at(moved, (given[ours.image], ours.likelier), 1)
    assert (moved <= joint).all()
    wrong = np.nonzero(given != y)[0]
    assert len(set(ours.image) & set(wrong)) / max(1, len(ours.image)) >= len(set(theirs) & set(wrong)) / len(theirs)
    assert (np.diff(ours.score) <= 0).all()


# --- curve and intervals -------------------------------------------------------------------------------------------------


def test_subsets_are_nested_whole_units_and_halve():
    rng = np.random.default_rng(0)
    leak_group, y = np.repeat(np.arange(100), 4), np.repeat(rng.integers(0, 2, 100), 4)
    parts = curve.nested_subsets(y, leak_group, 0)
    sizes = [parts[part].sum() for part in curve.FRACTIONS]
    for small, large in zip(curve.FRACTIONS, curve.FRACTIONS[1:], strict=False):
        assert (parts[large] | ~parts[small]).all()
    assert sizes[-1] == 400
    assert sizes[2] == pytest.approx(200, abs=8)
    assert all(len(np.unique(part[leak_group == u])) == 1 for part in parts.values() for u in range(100))


def test_a_power_law_gives_its_gain():
    sizes = np.array([50.0, 100, 200, 400])
    losses = np.outer(np.random.default_rng(0).uniform(0.5, 1.5, 300), sizes**-0.4)
    told = curve.gain(sizes, losses, bootstrap_weights(300, 0), np.arange(300), 2.0)
    assert told.value == pytest.approx(1 - 2**-0.4)
    with pytest.raises(ValueError, match="beyond 4"):
        curve.gain(sizes, losses, bootstrap_weights(300, 0), np.arange(300), 8.0)


def test_intervals_draw_groups_not_images():
    rng = np.random.default_rng(0)
    leak_group = np.repeat(np.arange(50), 8)
    values = rng.normal(size=50)[leak_group]
    _, low, high = mean_interval(values, leak_group, bootstrap_weights(50, 0))
    _, low1, high1 = mean_interval(values, np.arange(400), bootstrap_weights(400, 0))
    assert (high - low) == pytest.approx(np.sqrt(8) * (high1 - low1), rel=0.15)


def test_held_out_means_of_a_linear_model_differ_as_nadeau_and_bengio_say_and_the_interval_by_most_of_it():
    means, tested = [], []
    for seed in range(80):  # a ridge of numbers with many features for its images
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(40, 15))
        target = (x[:, :5].sum(1) + rng.normal(size=40))[:, None] / 2
        fold = rng.permutation(40) % 10
        losses = (ridge.held_scores(x @ x.T / 15, target, fold, strengths=(0.1,)).scores - target) ** 2
        means.append(losses.mean())
        tested.append(losses.std(ddof=1) / np.sqrt(40))
    apart = np.std(np.log(means), ddof=1) / np.sqrt(np.mean((np.array(tested) / means) ** 2))
    published = np.sqrt(1 + 10 / 9)
    assert published == pytest.approx(apart, rel=0.1)
    assert training_ratio(10) ** 2 - 1 == pytest.approx(0.7 * (published**2 - 1))
    assert training_ratio(5) ** 2 == pytest.approx(1 + 0.7 * 5 / 4)


def test_intervals_are_wider_by_the_ratio_and_hold_no_negative_loss():
    values = np.random.default_rng(0).exponential(size=50)
    value, low, high = mean_interval(values, np.arange(50), weights := bootstrap_weights(50, 0))
    wide = held_out_interval(values, np.arange(50), weights, 1.5)
    assert wide == pytest.approx((value, value - 1.5 * (value - low), value + 1.5 * (high - value)))
    assert held_out_interval(values, np.arange(50), weights, 9.0)[1] == 0.0


def test_the_interval_of_a_probe_is_the_groups_widened_by_the_luck_of_training(monkeypatch):
    images, y = squares(60)
    y = np.where(np.random.default_rng(0).random(60) < 0.2, 1 - y, y)
    probe = measure.run_probe(images, y, np.arange(60), attacked=2)
    for found, values in ((probe.error, probe.wrong), (probe.log_loss, probe.losses)):
        wanted = held_out_interval(values, np.arange(60), bootstrap_weights(60, 0), training_ratio(probe.folds))
        assert tuple(found) == pytest.approx(wanted)
    monkeypatch.setattr(measure, "training_ratio", lambda folds: 1.0)
    plain = measure.run_probe(images, y, np.arange(60), attacked=2)
    for wide, narrow in zip(probe.gains.values(), plain.gains.values(), strict=True):
        assert wide.high - wide.low == pytest.approx(training_ratio(probe.folds) * (narrow.high - narrow.low))
        assert wide.value == narrow.value


def test_the_interval_of_a_gain_is_wider_by_what_a_power_law_misses():
    assert curve.widened(curve.Gain(0.1, 0.08, 0.15), 1.5) == pytest.approx((0.1, 0.1 - 2.1 * 0.02, 0.1 + 2.1 * 0.05))


@pytest.mark.parametrize("shape", [(35, 224, 224, 3), (20, 100, 70, 1), (3, 40, 20, 3), (3, 32, 32, 1)])
def test_images_are_brought_to_size_by_means_over_areas(shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    whole = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    np.testing.assert_allclose(features.shrink(images), torch.nn.functional.adaptive_avg_pool2d(whole, 32), atol=1e-3)
    small = images[:, :20, :32]
    wanted = torch.nn.functional.interpolate(whole[:, :, :20, :32], (32, 32), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(features.shrink(small), wanted, atol=1e-3)


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
            assert "other sources: a factor of" in told[name]["sentence"]
    assert "--no-probe" in network_prediction("test_loss", None, "left out with --no-probe").withheld
    large = summary["probe"] | {"n_images": 4000, "n_total": 60_000}
    assert all("60,000" in network_prediction(name, large).withheld for name in TARGETS)
    harder = summary["probe"] | {"log_loss": {"value": 2 * summary["probe"]["log_loss"]["value"]}}
    value = network_prediction("test_loss", summary["probe"]).value
    assert network_prediction("test_loss", harder).value > value


def test_results_do_not_depend_on_the_cores(monkeypatch):
    images, y = squares(300, seed=2)
    x = features.shrink(images)
    told = []
    for count in (1, 3):
        monkeypatch.setattr("dataprops.probe.threads.cores", lambda count=count: count)
        told.append((features.fit_encoder(x, 0)[1], measure.held_out(images, y).probabilities))
    for one, other in zip(*told, strict=True):
        np.testing.assert_array_equal(one, other)


# --- features of the user's choice -----------------------------------------------------------------------------------------


def clusters(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds of 3 degrees of freedom in 12 features, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return (rng.uniform(size=(n, 3)) + 0.4 * y[:, None]) @ rng.normal(size=(3, 12)), y.astype(float)


def test_a_space_has_the_dimension_sharpness_and_near_pairs_that_were_planted():
    vectors, y = clusters(400)
    vectors[399], vectors[101] = vectors[0], vectors[100] + 1e-4  # one label each: 399 and 101 are odd, 0 and 100 even
    found = space.measure_space(vectors, y, sampling=space.Sampling(100, 5))
    assert found.estimates["mle"].value == pytest.approx(3, abs=0.4)
    assert found.distinct == 399
    assert list(zip(found.near.a, found.near.b, strict=True)) == [(0, 399), (100, 101)]
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    apart[(y[:, None] == y) | (apart == 0)] = np.inf
    np.testing.assert_allclose(found.sharpness, 1 / apart.min(1))
    assert max(found.draws) <= found.sharpness.max()
    assert (found.sharpest.a[0], found.sharpest.b[0]) == (100, 101)
    assert found.nearest[0] == found.nearest[399] == 0


def test_an_even_cloud_has_no_near_pair_and_numbers_are_sharp_by_their_difference():
    rng = np.random.default_rng(1)
    vectors, y = rng.normal(size=(300, 5)), rng.normal(size=300)
    found = space.measure_space(vectors, y, numeric=True)
    assert len(found.near.a) <= 1
    gap, apart = np.abs(y[:, None] - y), np.linalg.norm(vectors[:, None] - vectors, axis=2)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(found.sharpness, (gap / apart).max(1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda file: np.save(file, np.zeros((3, 2))), "has 3 rows, but the set lists 4 images"),
        (lambda file: np.save(file, np.array([[0.0], [1], [np.nan], [2]])), "first at c.png"),
        (lambda file: np.save(file, np.array([{}] * 4, object), allow_pickle=True), "cannot be read"),
        (lambda file: np.save(file, np.zeros((4, 0))), "no features"),
        (lambda file: file.write_bytes(b"no array"), "cannot be read"),
    ],
)
def test_a_wrong_array_of_features_is_refused(make, words, tmp_path):
    file = tmp_path / "x.npy"
    make(file)
    with pytest.raises(DatapropsError, match=words):
        feature_file.read_features(str(file), ["a.png", "b.png", "c.png", "d.png"])


def test_a_table_of_features_goes_by_its_paths(tmp_path):
    file = tmp_path / "x.parquet"
    pd.DataFrame(
        {"path": ["b.png", str(tmp_path / "a.png"), "other.png"], "u": [1, 2, 3], "v": [4.0, 5, 6]}
    ).to_parquet(file)
    read = feature_file.read_features(str(file), ["a.png", "b.png"], base=str(tmp_path))
    assert read.tolist() == [[2, 5], [1, 4]]
    pd.DataFrame({"path": ["b.png", "a.png"], "x": [[1.0, 2], [3, 4]]}).to_parquet(file)
    assert feature_file.read_features(str(file), ["a.png", "b.png"]).tolist() == [[3, 4], [1, 2]]
    with pytest.raises(DatapropsError, match=r"no row for 1 of 2 images; the first is c\.png"):
        feature_file.read_features(str(file), ["a.png", "c.png"])
    with pytest.raises(DatapropsError, match="no column 'file'"):
        feature_file.read_features(str(file), ["a.png"], "file")


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("x.csv", lambda file: file.touch(), r"must be a \.npy or \.parquet file"),
        ("x.npy", lambda file: None, "does not exist"),
        ("x.npy", lambda file: np.save(file, np.array(["a", "b"])), "must contain one numeric array"),
        ("x.parquet", lambda file: file.write_bytes(b"no table"), "cannot be read as Parquet"),
        ("x.parquet", lambda file: pd.DataFrame({"path": ["a", "a"], "u": 1}).to_parquet(file), "lists a twice"),
        (
            "x.parquet",
            lambda file: pd.DataFrame({"path": ["a", "b"], "u": [[1.0], [1.0, 2.0]]}).to_parquet(file),
            "vectors of 'u' have 1 to 2 values",
        ),
        (
            "x.parquet",
            lambda file: pd.DataFrame({"path": ["a", "b"], "u": ["x", "y"], "v": "z"}).to_parquet(file),
            "no numbers",
        ),
    ],
    ids=["ending", "missing", "texts", "no parquet", "twice", "lengths", "no numbers"],
)
def test_a_file_that_has_no_features_says_why(name, make, words, tmp_path):
    make(tmp_path / name)
    with pytest.raises(DatapropsError, match=words):
        feature_file.read_features(str(tmp_path / name), ["a", "b"])


def bars_with(store, **options) -> dict:
    images, y = squares(60, seed=5)
    fixed = {"size": 16, "k": 5, "sample": 30, "draws": 3, "estimators": ("mle",)}
    return audit(images, [f"c{label}" for label in y], store=str(store), name="bars", **fixed, **options)


def test_an_audit_by_features_names_them_apart_from_pixels(tmp_path):
    """Dimension, sharpness, probe and near-copies in the user's space, in JSON, tables, findings and report."""
    vectors, _ = clusters(60)
    vectors[7] = vectors[3]
    np.save(tmp_path / "x.npy", vectors)
    plain = bars_with(tmp_path / "plain")
    told = bars_with(tmp_path / "store", features=str(tmp_path / "x.npy"))
    mine = told["feature_space"]
    assert "feature_space" not in plain
    assert plain["probe"]["error"] == told["probe"]["error"]
    assert plain["intrinsic_dimension"] == told["intrinsic_dimension"]
    assert mine["intrinsic_dimension"]["mle"]["value"] != told["intrinsic_dimension"]["mle"]["value"]
    assert set(mine["probe"]["error"]) == {"value", "low", "high"}
    assert mine["near_duplicates"]["pairs"] >= 1
    results = Path(told["results"])
    properties = pd.read_parquet(results / "properties.parquet").set_index("property")["value"]
    assert properties["features.label_sharpness.all_pairs"] == mine["label_sharpness"]["all_pairs"]
    found = pd.read_parquet(results / "findings.parquet").query("kind == 'feature_near_duplicates'")
    assert found.iloc[0]["images"].tolist() == [3, 7]
    assert "the same features; no near-copies in pixels" in found.iloc[0]["detail"]
    assert "Intrinsic dimension, your features" in (results / "report.html").read_text()
    assert len(pd.read_parquet(results / "feature_images.parquet")) == 60
    again = bars_with(tmp_path / "store", features=str(tmp_path / "x.npy"))
    assert again["seconds"]["probe"] == 0
    assert again["feature_space"] == mine
    np.save(tmp_path / "x.npy", vectors + np.arange(12))
    assert bars_with(tmp_path / "store", features=str(tmp_path / "x.npy"))["seconds"]["probe"] > 0


def test_an_audit_by_the_users_network_takes_what_enters_its_last_layer(tmp_path):
    told = bars_with(tmp_path, model="tests.tiny_nets:Mlp")["feature_space"]
    assert told["source"] == "tests.tiny_nets:Mlp"
    assert told["features"] == 24
    assert told["n_images"] == 60
    assert bars_with(tmp_path, model="tests.tiny_nets:Mlp@out")["feature_space"]["features"] == 2
    for model, words in (
        ("tests.tiny_nets:Missing", "cannot be imported"),
        ("tests.tiny_nets:Broken", "cannot take images of 1 x 16 x 16"),
        ("tests.tiny_nets:Mlp@nowhere", "no layer 'nowhere'; its layers are hidden"),
        ("tests.tiny_nets", "expected module:Name"),
    ):
        with pytest.raises(DatapropsError, match=words):
            bars_with(tmp_path, model=model)
    with pytest.raises(DatapropsError, match="either --features or --model"):
        bars_with(tmp_path, model="tests.tiny_nets:Mlp", features="x.npy")


# --- what changed since the previous audit -----------------------------------------------------------------------------------


def test_images_keep_their_folds_and_new_ones_join_where_classes_stay_even():
    y, leak_group = np.arange(100) % 2, np.arange(100)
    before = folds.assign_folds(y[:80], leak_group[:80], 5, 0)
    given = np.r_[before, np.full(20, -1)]
    leak_group[99] = 0  # a copy that came later goes where the first is
    fold = folds.assign_folds(y, leak_group, 5, 0, given)
    np.testing.assert_array_equal(fold[:80], before)
    assert fold[99] == before[0]
    assert np.ptp(np.bincount(fold)) <= 2


def test_an_unchanged_set_has_no_change_and_what_both_share_cancels():
    rng = np.random.default_rng(0)
    loss, leak_group = rng.exponential(size=200), np.arange(200) // 2
    same = paired.change(paired.State(loss, leak_group), paired.State(loss, leak_group), np.arange(200), 5)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    shifted = paired.change(paired.State(loss, leak_group), paired.State(1.2 * loss, leak_group), np.arange(200), 5)
    apart = paired.change(paired.State(loss, leak_group), paired.State(1.2 * loss, leak_group), np.full(200, -1), 5)
    assert shifted.value == apart.value == pytest.approx(np.log(1.2))
    assert shifted.high - shifted.low < 1e-9 < 0.3 < apart.high - apart.low


def test_fewer_images_explain_a_rise_by_the_curve():
    points = [(50, 1.0), (100, 0.5), (200, 0.25)]
    assert paired.expected_change(points, 200, 100) == pytest.approx(np.log(2))
    assert paired.expected_change(points, 100, 200) == pytest.approx(-np.log(2))
    assert paired.expected_change([(50, 0.5), (100, 0.6)], 100, 50) == 0.0


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Audits of one set: as it is, 20 % more, a tenth of the labels flipped, the same again, a class merged."""
    images, y = squares(150, seed=5, classes=3)
    images = images.astype(int)
    for image, label in zip(images, y, strict=True):
        image[2 * label, 2:14] += 60  # easy enough that wrong labels stand out
    images, names = images.clip(0, 255).astype(np.uint8), np.array(["flat", "upright", "slanted"], object)
    store = tmp_path_factory.mktemp("states")
    options = {
        "store": str(store),
        "name": "bars",
        "size": 16,
        "k": 5,
        "sample": 30,
        "draws": 3,
        "estimators": ("mle",),
    }
    flipped = y.copy()
    wrong = np.arange(0, 150, 10)
    flipped[wrong] = (flipped[wrong] + 1) % 3
    merged = np.where(flipped == 2, 1, flipped)
    told = {
        "first": audit(images[:125], list(names[y[:125]]), **options),
        "more": audit(images, list(names[y]), **options),
        "flipped": audit(images, list(names[flipped]), **options),
        "again": audit(images, list(names[flipped]), **options),
        "merged": audit(images, list(names[merged]), **options),
    }
    return told, wrong


def alerts_of(summary) -> set[str]:
    return {alert["name"] for alert in summary["alerts"]}


def test_flipped_labels_are_told_as_harder_with_the_images_that_made_it_so(states):
    told, wrong = states
    summary = told["flipped"]
    assert "loss_rises" in alerts_of(summary)
    change = summary["predictions"][0]
    assert change["name"] == "log_loss_change"
    assert 0 < change["low"] < change["value"] < change["high"]
    assert "harder to learn, or its labels noisier" in change["sentence"]
    found = pd.read_parquet(f"{summary['results']}/findings.parquet").query("kind == 'harder_to_learn'")
    assert {images[0] for images in found["images"].head(10)} <= set(wrong.tolist())
    assert "it was labelled" in found.iloc[0]["detail"]
    evidence = next(alert for alert in summary["alerts"] if alert["name"] == "loss_rises")
    assert set(evidence["images"][:10]) <= set(wrong.tolist())


def test_more_of_the_same_and_nothing_new_raise_no_alarm(states):
    told, _ = states
    assert told["first"]["predictions"][0]["withheld"] == "this is the first audit of the dataset in this store"
    for name in ("more", "again"):
        assert not alerts_of(told[name]) & {"loss_rises", "sharpness_rises", "classes_changed", "log_loss_change"}
        assert told[name]["findings"]["harder_to_learn"] == 0
    again = told["again"]["predictions"][0]
    assert (again["value"], again["low"], again["high"]) == (0, 0, 0)
    assert (
        told["again"]["seconds"]["probe"] == 0
    )  # its tables are those of the audit before, but for what had changed then


def test_a_merged_class_is_told_with_where_its_images_went(states):
    summary = states[0]["merged"]
    assert "classes_changed" in alerts_of(summary)
    assert "the classes differ" in summary["predictions"][0]["withheld"]
    found = pd.read_parquet(f"{summary['results']}/findings.parquet").query("kind == 'classes_changed'")
    assert found["detail"].tolist() == [
        "The class “slanted” of the previous audit is gone: of its 50 images 50 are now labelled “upright”, and 0 are no longer there."
    ]


def test_the_risk_is_told_against_the_sets_of_the_calibration(planted):
    from dataprops.laws.networks import attack_risk, network_prediction

    summary, _, _ = planted
    risk = summary["risk"]
    assert 0 <= risk["easier_than"] <= risk["of"] == 15
    assert f"those of {risk['easier_than']} of the 15 datasets" in risk["sentence"]
    assert risk["sentence"] in Path(summary["report"]).read_text()
    harder = summary["probe"] | {"log_loss": {"value": 5.0}}
    assert attack_risk(harder, [network_prediction("network_penalty", harder)])["penalty"] > risk["penalty"]
    assert attack_risk(None, [network_prediction("network_penalty", None)]) is None
    assert summary["probe"]["attack"]["k_mean"] > 0


def test_pictures_that_lost_detail_since_the_previous_audit_are_told_by_name(tmp_path):
    """Fewer pixels, or blurred at the same size; a file written anew with the same picture, and one enlarged, lost nothing."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "set"
    pictures = {f"{name}/{i}.png": rng.integers(0, 256, (32, 32), np.uint8) for name in ("a", "b") for i in range(12)}
    for path, image in pictures.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / path)
    options = {"store": str(tmp_path / "store"), "size": 16, "probe": False, "estimators": ("mle",), "k": 5}
    first = audit(folder, **options)
    assert first["findings"]["detail_lost"] == 0
    for path in ("a/0.png", "a/1.png", "a/2.png"):
        Image.fromarray(pictures[path]).resize((12, 12), Image.Resampling.BOX).save(folder / path)
    blurred = Image.fromarray(pictures["b/3.png"]).resize((8, 8), Image.Resampling.BOX)
    blurred.resize((32, 32), Image.Resampling.BICUBIC).save(folder / "b/3.png")
    Image.fromarray(pictures["a/5.png"]).save(folder / "a/5.png", compress_level=0)
    Image.fromarray(pictures["a/6.png"]).resize((64, 64)).save(folder / "a/6.png")
    second = audit(folder, **options)
    found = pd.read_parquet(f"{second['results']}/findings.parquet").query("kind == 'detail_lost'")
    at = {path: i for i, path in enumerate(pd.read_parquet(f"{second['results']}/images.parquet")["path"])}
    wanted = {at[path] for path in ("a/0.png", "a/1.png", "a/2.png", "b/3.png")}
    assert {image for images in found["images"] for image in images} == wanted
    assert set(found["detail"].str.extract(r"(has 12 x 12 pixels, 32 x 32 in|is blurred: focus)")[0]) == {
        "has 12 x 12 pixels, 32 x 32 in",
        "is blurred: focus",
    }
    told = next(alert for alert in second["alerts"] if alert["name"] == "detail_lost")
    assert told["value"] == pytest.approx(4 / 24)
    assert "17 % of the pictures" in told["sentence"]
    # other pictures under the old names: some have less detail, as many more
    for i in range(12):
        image = Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).resize((8, 8) if i % 2 else (32, 32))
        image.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"b/{i}.png")
    audit(folder, **options)
    for i in range(12):
        image = Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).resize((32, 32) if i % 2 else (8, 8))
        image.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"b/{i}.png")
    assert audit(folder, **options)["findings"]["detail_lost"] == 0


def test_a_few_hundred_classes_all_take_part():
    """Of 200 birds none is left out; of more than 400 classes the smallest are, and it is said."""
    for classes, noted in ((200, []), (410, ["only the 400 largest classes are used"])):
        y = np.arange(classes * 5) % classes
        images = pd.DataFrame({"y": y, "label": y.astype(str)})
        at, notes = _chosen(images, np.arange(len(y)), numeric=False, seed=0)
        assert len(np.unique(y[at])) == min(classes, 400)
        assert notes == noted


def test_pairs_that_sharpen_the_labels_are_told_of_sets_below_a_thousand_images(tmp_path):
    """There the sample of M = 1,000 is the whole set and has no spread; that of smaller samples, which compare, has one."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (240, 8, 8), dtype=np.uint8)
    twice = np.clip(images[:12].astype(int) + rng.integers(-6, 7, (12, 8, 8)), 0, 255).astype(np.uint8)
    for i, image in enumerate([*images, *twice]):
        folder = tmp_path / "first" / str((i + (i >= 240)) % 2)
        folder.mkdir(parents=True, exist_ok=True)
        if i == 240:
            before = audit(tmp_path / "first", store=str(tmp_path / "store"), name="set", size=8, probe=False)
        Image.fromarray(image).save(folder / f"{i:03d}.png")
    after = audit(tmp_path / "first", store=str(tmp_path / "store"), name="set", size=8, probe=False)
    assert "sharpness_rises" not in {alert["name"] for alert in before["alerts"]}
    assert after["label_sharpness"]["sample"]["std"] == 0
    assert "sharpness_rises" in {alert["name"] for alert in after["alerts"]}
    found = pd.read_parquet(Path(after["results"]) / "findings.parquet").query("kind == 'sharper_labels'")
    paths = pd.read_parquet(Path(after["results"]) / "images.parquet").set_index("image")["path"]
    assert len(found)
    for pair in found["images"]:
        assert any(int(Path(paths[image]).stem) >= 240 for image in pair)
