"""What witnesses say of labels, against loops: votes, the joint opinion, and how suspect a label is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from dataprops.findings import second_opinion as asked
from dataprops.findings.second_opinion import Opinions

NOISE, OWN = asked.NOISE, asked.OWN_NOISE


def test_a_score_is_the_probability_of_another_true_class_under_the_noise_of_the_set() -> None:
    rng = np.random.default_rng(0)
    joint, y = rng.dirichlet([1, 1, 1], 12), np.repeat([0, 1, 2], 4)
    said = Opinions(np.arange(12), ["a", "b", "c"], y, joint, joint)

    def truth(noise: np.ndarray) -> np.ndarray:
        out = np.array([[joint[i, c] * noise[c, y[i]] for c in range(3)] for i in range(12)])
        return out / out.sum(1, keepdims=True)

    even = np.where(np.eye(3) > 0, 1 - NOISE, NOISE / 2)
    written = np.array([[truth(even)[y == g, c].sum() for g in range(3)] for c in range(3)])
    written /= written.sum(1, keepdims=True)
    shrunk = np.array(
        [
            [OWN * written[c, g] + (1 - OWN) * (written[c, c] if c == g else (1 - written[c, c]) / 2) for g in range(3)]
            for c in range(3)
        ]
    )
    np.testing.assert_allclose(said.score, [1 - truth(shrunk)[i, y[i]] for i in range(12)], rtol=1e-12)
    np.testing.assert_allclose(said.doubt, [1 - joint[i, y[i]] for i in range(12)])
    others = [max((c for c in range(3) if c != y[i]), key=lambda c: joint[i, c]) for i in range(12)]
    assert said.likelier.tolist() == others
    assert said.witnesses == [joint]
    assert said.asked is None


def test_the_first_neighbours_of_other_patients_that_are_no_copies_vote() -> None:
    n = asked.NEAR + 6
    images = pd.DataFrame({"group": ["p", "p", None, None] + ["q"] * (n - 4)})
    place = np.arange(n)
    place[5] = -1  # not among those asked
    y = np.arange(n) % 2
    of = [0] * (n - 1) + [2, 2, 5]
    to = [*range(1, n), 3, 0, 2]
    distance = np.r_[np.arange(1.0, n), 0.0, 1.0, 1.0]  # image 3 is a copy of image 2
    found = asked.near_votes(images, pd.DataFrame({"image": of, "neighbour": to, "distance": distance}), place, y, 2)
    share = np.bincount(y) / n
    voters = [i for i in range(2, n) if i != 5][: asked.NEAR]
    votes = np.bincount(y[voters], minlength=2)
    np.testing.assert_allclose(found[0], (votes + share) / (asked.NEAR + 1))
    np.testing.assert_allclose(found[2], (np.array([1, 0]) + share) / 2)
    np.testing.assert_allclose(found[1], share)


def test_the_images_most_alike_are_those_of_other_leak_groups_with_the_largest_cosines() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 3)) * rng.uniform(0.1, 9, (60, 1))
    z[10] = z[11]
    group = np.arange(60) // 2
    found = asked.most_alike(z @ z.T, group)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    for i in range(60):
        others = sorted((j for j in range(60) if group[j] != group[i]), key=lambda j: -round(unit[i] @ unit[j], 12))
        assert found[i].tolist() == others[: asked.NEAR]
    few = asked.most_alike(np.eye(3), np.array([0, 0, 1]))
    assert few[:, :2].tolist() == [[2, -1], [2, -1], [0, 1]]
    assert (few[:, 2:] == -1).all()
    voters = np.array([[1, 2, -1], [-1, -1, -1], [0, 1, -1]])
    share = np.array([2, 1]) / 3
    votes = np.array([[1, 1], [0, 0], [2, 0]])
    found = asked.alike_votes(voters, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(found, (votes + share) / (votes.sum(1, keepdims=True) + 1))


@pytest.mark.parametrize("random", [0.0, 0.2])
def test_witnesses_are_joined_by_the_most_likely_exponents_and_offsets(random: float) -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    says = np.where(rng.random(60) < 0.25, 1 - y, y)
    clear = 0.5 + 0.3 * np.where(np.arange(2) == says[:, None], 1, -1) * rng.uniform(0, 1, (60, 1))
    logs = np.log(np.stack([clear, rng.dirichlet([5, 5], 60)]))

    def loss(x: np.ndarray) -> float:
        logits = np.abs(x[0]) * logs[0] + np.abs(x[1]) * logs[1] + x[2:]
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        own = (1 - random) * p[np.arange(60), y] + random / 2
        return -np.log(own).sum() + 60 * 5e-4 * (x[2:] ** 2).sum()

    best = min(minimize(loss, [a, b, 0, 0], method="BFGS").fun for a, b in ((1, 0.1), (0.5, 0.5)))
    found = asked._fitted(logs, y, (random, random))
    assert found.loss == pytest.approx(best, abs=2e-3)
    assert loss(found.x[:-1]) == pytest.approx(best, abs=2e-3)
    assert found.x[-1] == random


def test_witnesses_that_learnt_nothing_order_the_labels_whatever_their_classes_and_call_none_wrong() -> None:
    rng = np.random.default_rng(0)
    y, p = (np.arange(40) % 4 > 0).astype(np.int64), rng.dirichlet([5, 5], 40)
    fitted = asked._fitted(asked._logs([p]), y, (0.0, 0.0)).probabilities
    joint = asked.joined([p], y)
    np.testing.assert_allclose(joint, (1 - asked.HINT) * np.eye(2)[y] + asked.HINT * fitted)
    said = Opinions(np.arange(40), ["a", "b"], y, joint, joint)
    by_witness = np.argsort(fitted[np.arange(40), y])  # before, those of the smaller class came first
    assert np.argsort(-said.doubt).tolist() == by_witness.tolist()
    assert said.doubt.max() < 0.01  # before, 0.75 of the smaller class: the suspect side of each pair
    sure = np.where(np.arange(2) == y[:, None], 0.9, 0.1)
    fitted = asked._fitted(asked._logs([sure]), y, (0.0, 0.0)).probabilities
    np.testing.assert_allclose(asked.joined([sure], y), fitted)


def test_a_sample_is_asked_where_all_of_it_and_its_classes_are_known() -> None:
    n = asked.LEAST
    y = np.arange(n + 2) % 2
    near = np.full((n + 2, 2), 0.5)
    said = Opinions(np.arange(n + 2), ["a", "b"], y, near, near)
    place = np.arange(n + 2)
    rest = {"alike": np.full((n, asked.NEAR), -1), "curved": near[:n], "averaged": near[:n], "probabilities": near[:n]}
    rest["described"] = np.stack([near[:n]] * 2)

    def of(images: np.ndarray, classes: list[str], place: np.ndarray) -> Any:
        few = {name: values[: len(images)] for name, values in rest.items()}
        witness = SimpleNamespace(image=images, classes=classes, **few)
        return asked._sample(said, place, cast("Any", witness))

    found = of(np.arange(n), ["a", "b"], place)
    assert found is not None
    assert (found.image.tolist(), found.y.tolist()) == (list(range(n)), y[:n].tolist())
    assert of(np.arange(n - 1), ["a", "b"], place) is None
    assert of(np.arange(n), ["a", "c"], place) is None
    assert of(np.arange(n), ["a", "b"], np.where(place == 3, -1, place)) is None


def _of_margins(margins: np.ndarray, y: np.ndarray) -> Opinions:
    """Two classifiers that say the same: so sure of class `y`, in logits, [n]."""
    right = np.where(np.arange(2) == y[:, None], margins[:, None], 0.0)
    p = np.exp(right) / np.exp(right).sum(1, keepdims=True)
    return Opinions(np.arange(len(y)), ["a", "b"], y, p, p, p, p, p, p)


def test_wrong_labels_among_images_told_equally_surely_are_a_hump_of_their_own_and_hard_images_a_tail() -> None:
    rng = np.random.default_rng(3)
    true = np.arange(400) % 2
    said = _of_margins(rng.normal(3, 0.4, 400), true)
    given = np.where(rng.permutation(400) < 16, 1 - true, true)
    assert asked.set_apart(said) == 0
    wrong = asked.wrong_labels(said._replace(y=given))
    assert 2 < wrong.shown < 16
    # any of these labels might be wrong with one small probability: of labels alone that cannot be told
    alone = said._replace(y=given, averaged=None, curved=None)
    assert asked.wrong_labels(alone).shown == 0
    hard = _of_margins(3 - rng.exponential(1.5, 400), true)
    assert (hard.joint.argmax(1) != true).mean() > 0.08
    assert asked.set_apart(hard) == 0


def test_where_edges_and_tones_were_asked_less_evidence_tells_wrong_labels() -> None:
    """Twelve of 400: likelier to be wrong by a factor between e^2.5 and e^5."""
    rng = np.random.default_rng(3)
    n = 400
    chance = 1 / (1 + np.exp(-rng.normal(0, 4, n)))
    p = np.stack([1 - chance, chance], 1)
    published = (rng.random(n) < chance).astype(int)
    given = np.where(rng.permutation(n) < 12, 1 - published, published)
    few = Opinions(np.arange(n), ["a", "b"], given, p, p, p, described=np.empty((0, n, 2)))
    assert asked.wrong_labels(few).low > 0
    assert asked.wrong_labels(few).shown == 0
    all_six = few._replace(described=np.stack([p, p]))
    assert 0.4 < asked.wrong_labels(all_six).shown < asked.wrong_labels(all_six).low
    assert asked.wrong_labels(all_six._replace(y=published)).shown == 0


def test_the_interval_of_wrong_labels_ends_after_those_exchanged_between_two_classes() -> None:
    """20 of 200 labels of two of six classes, exchanged, which witnesses have learnt as the classes' own confusion."""
    rng = np.random.default_rng(2)
    n, true = 600, np.arange(600) % 6
    given = true.copy()
    given[:60] = np.where(true[:60] < 2, 1 - true[:60], true[:60])
    p = np.full((n, 6), 0.002)
    p[np.arange(n), true] = 0.99
    similar = np.nonzero(true < 2)[0]
    p[similar, 1 - true[similar]] = rng.uniform(0.05, 0.2, len(similar))
    p /= p.sum(1, keepdims=True)
    said = Opinions(np.arange(n), list("abcdef"), given, asked.joined([p], given), p, p)
    wrong = asked.wrong_labels(said)
    assert wrong.value < 10
    assert wrong.high == asked.exchanged(said.joint, given) == (given != true).sum()
    assert asked.exchanged(p[:, :2], given % 2) == 0  # of two classes, exchanged labels are random ones


def test_where_witnesses_hardly_tell_the_classes_no_labels_are_told_to_be_wrong() -> None:
    """Three labels in five have nothing to do with the opinions; fundus photographs as published were said to hold 83 wrong labels."""
    rng = np.random.default_rng(4)
    n = 600
    chance = 1 / (1 + np.exp(-rng.normal(0, 6, n)))
    p = np.stack([1 - chance, chance], 1)
    for random, told in ((0.6, False), (0.06, True)):
        y = (rng.random(n) < (1 - random) * chance + random / 2).astype(int)
        said = Opinions(np.arange(n), ["a", "b"], y, p, p, p, described=np.stack([p]))
        wrong = asked.wrong_labels(said)
        assert (wrong.shown > 0, wrong.low > 0) == (told, told)
        assert wrong.value > n * random / 4


def test_where_classifiers_do_not_tell_the_classes_no_hump_is_one() -> None:
    """A set of noise, and one of these, were said to have wrong labels; of another the search for their number failed."""
    for seed in range(40, 60):
        rng = np.random.default_rng(seed)
        n, classes = int(rng.choice([24, 40, 60, 100, 300])), int(rng.choice([2, 3, 5]))
        y = np.arange(n) % classes
        p, q = rng.dirichlet(np.full(classes, rng.choice([1, 5, 30])), n), rng.dirichlet(np.full(classes, 5), n)
        said = Opinions(np.arange(n), [str(c) for c in range(classes)], y, p, p, p, p, q, q)
        assert asked.wrong_labels(said).shown == 0


def test_margins_are_of_each_label_against_the_best_of_the_others() -> None:
    logs = np.log(np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]]))
    expected = [[max(row[k] - max(np.delete(row, k)), -99) for k in range(3)] for row in logs]
    np.testing.assert_allclose(asked._margins(logs), expected)
