"""What is told of networks that nobody trained: each number and each sentence from a form given by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dataprops.laws import networks
from dataprops.laws.fitting.sources import Width
from dataprops.laws.networks import Best, Networks, attack_risk, network_prediction
from dataprops.laws.prediction import Prediction

SCORE = {"rmse": 0.5, "factor": 1.65, "baseline_rmse": 0.9, "sources": 12, "networks": 40}
NAMES = {"test_loss": "log_loss", "test_error": "logit_error", "network_penalty": "log_penalty"}


def best(clearly: bool = True, quarters: tuple = ()) -> Best:
    """log of what is predicted = 0.5 + log loss of the probe - a quarter of log N, within 0.3."""
    return Best("probe", (0.5, 1.0, -0.25), Width(0.3, 0.0, 0.0, -9.0, 9.0), SCORE, clearly, quarters)


def family(calibration: str | None = "mine", how: str = "calibrated loss", **given: Any) -> Networks:
    return Networks("Net", how, 100, 800, {target: best(**given) for target in NAMES.values()}, calibration)


def probe(**changed: Any) -> dict[str, Any]:
    told = {"kind": "classes", "n_images": 256, "n_total": 300, "log_loss": {"value": 0.4}, "errors": 30}
    return told | {"classes": ["a", "b"]} | changed


AT = 0.5 + math.log(0.4) - 0.25 * math.log(256)


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_is_the_form_at_the_probe_with_its_interval(name):
    told = network_prediction(name, probe(), networks=family())
    scaled = (lambda x: 1 / (1 + math.exp(-x))) if name == "test_error" else math.exp
    assert (told.low, told.value, told.high) == pytest.approx([scaled(AT + d) for d in (-0.3, 0.0, 0.3)])
    assert told.calibration == "mine"
    assert {"test_loss": "test loss", "test_error": "test error", "network_penalty": "FGSM"}[name] in told.sentence
    value = f"{100 * told.value:.0f} %" if name == "test_error" else f"{told.value:.2g}"
    assert f": {value} " in told.sentence or f"by {value} nats" in told.sentence
    assert "leave-one-out error on 11 other sources: a factor of 1.6" in told.sentence
    assert ("in the odds" in told.sentence) == (name == "test_error")
    assert "calibrated, " not in told.sentence
    assert "Too narrow" not in told.sentence and "extrapolation" not in told.sentence
    assert "calibration mine of this store: 40 networks on 12 sources; form probe" in told.basis


def test_what_ships_says_that_its_losses_are_calibrated():
    told = network_prediction("test_loss", probe(), networks=family(None, "32 x 32"))
    assert "trained on this dataset (calibrated, 32 x 32)" in told.sentence
    assert told.calibration is None and "calibration probe2026: 40 networks" in told.basis


@pytest.mark.parametrize(
    ("n", "outside"),
    [(74, None), (75, True), (99, True), (100, False), (800, False), (801, True), (3200, True), (3201, None)],
)
def test_beyond_the_sizes_of_the_networks_a_prediction_is_an_extrapolation_or_withheld(n, outside):
    told = network_prediction("test_loss", probe(n_images=n, n_total=n), networks=family())
    if outside is None:
        assert told.value is None
        words = (
            "networks were trained on 100 to 800 images, and nothing is predicted for fewer than 75 or more than 3,200"
        )
        assert told.withheld == f"the {words}: this dataset has {n:,}"
    else:
        assert ("An extrapolation: the networks were trained on 100 to 800 images." in told.sentence) == outside


@pytest.mark.parametrize(("held", "narrow"), [(16, True), (17, False), (20, False)])
def test_an_interval_that_held_too_seldom_is_called_too_narrow(held, narrow):
    quarters = ((AT - 1, 5, 5), (AT + 1, 20, held), (9.0, 7, 7))
    told = network_prediction("test_loss", probe(), networks=family(quarters=quarters))
    words = f"Too narrow here: in this range of predictions such intervals covered {held} of 20 networks ("
    assert (words in told.sentence) == ("Too narrow" in told.sentence) == narrow
    assert told.score is not None and told.score["here"] == {"coverage": held / 20, "networks": 20}


def test_a_loss_is_no_worse_than_that_of_equal_probabilities():
    hard = probe(log_loss={"value": 9.0})
    told = network_prediction("test_loss", hard, networks=family())
    assert told.value == pytest.approx(math.log(2))
    assert "capped at the loss of equal probabilities for 2 classes" in told.sentence
    for other in (
        network_prediction("test_loss", hard, networks=family(how="raw loss, by the store's own")),
        network_prediction("test_loss", hard | {"classes": []}, networks=family()),
        network_prediction("network_penalty", hard, networks=family()),
    ):
        assert other.value == pytest.approx(math.exp(0.5 + math.log(9.0) - 0.25 * math.log(256)))
        assert "equal probabilities" not in other.sentence


def test_what_no_form_is_clearly_better_for_or_was_not_measured_is_withheld():
    unclear = network_prediction("test_loss", probe(), networks=family(clearly=False))
    assert unclear.value is None
    assert "its error is 0.5 on the log scale, that of log N alone 0.9" in (unclear.withheld or "")
    lacking = family()._replace(best={"log_loss": best()})
    assert network_prediction("test_error", probe(), networks=lacking).withheld == (
        "the networks of the calibration lack this number"
    )
    assert network_prediction("test_loss", None, "why").withheld == (
        "it needs the probe, which this audit does not have: why"
    )
    assert "the labels of this dataset are numbers" in (
        network_prediction("test_loss", probe(kind="numbers")).withheld or ""
    )


def penalty(value: float | None, calibration: str | None = None) -> list[Prediction]:
    return [Prediction("network_penalty", value, calibration=calibration)]


@pytest.mark.parametrize(("value", "easier"), [(0.0, 0), (1e9, None)])
def test_the_risk_of_an_attack_is_a_rank_among_the_sets_that_ship(value, easier):
    means = networks._converged(networks.FAMILY).groupby("source")["penalty_2"].mean()
    told = attack_risk(probe(), penalty(value))
    assert told is not None
    assert told["of"] == len(means)
    assert told["easier_than"] == (len(means) if easier is None else easier)
    assert told["share"] == told["easier_than"] / len(means)
    assert told["penalty"] == value
    assert f"than those of {told['easier_than']} of the {len(means)} datasets of the calibration" in told["sentence"]
    least = attack_risk(probe(), penalty(float(means.min())))
    assert least is not None and least["easier_than"] == 0  # one as easy to attack is not harder to attack
    middle = attack_risk(probe(), penalty(float(np.median(means)) + 1e-9))
    assert middle is not None and middle["easier_than"] == int((means <= np.median(means)).sum())


def test_the_risk_is_a_hint_where_the_ranking_was_weaker_than_required(monkeypatch):
    for value, hint in ((0.7, False), (0.69, True)):
        monkeypatch.setattr(networks, "_rank", lambda value=value: {"value": value, "low": 0.3, "high": 0.9})
        told = attack_risk(probe(), penalty(1.0))
        assert told is not None
        assert ("only a hint" in told["sentence"]) == hint


def test_the_risk_is_withheld_where_its_number_is_and_ranks_by_the_networks_that_ship():
    assert attack_risk(None, penalty(1.0)) is None
    assert attack_risk(probe(), []) is None
    assert attack_risk(probe(), penalty(None)) is None
    own = attack_risk(probe(), penalty(1e9, "mine"))
    shipped = network_prediction("network_penalty", probe())
    assert (own is None) == (shipped.value is None)
    if own is not None:
        assert own["penalty"] == shipped.value


@pytest.mark.parametrize(("at", "networks"), [(-2.0, 5), (-1.0, 5), (-0.9, 6), (1.0, 6), (9.0, 7)])
def test_the_networks_that_were_predicted_alike_are_those_of_the_quarter(at, networks):
    told = best(quarters=((-1.0, 5, 4), (1.0, 6, 3), (2.0, 7, 7))).here(at)
    assert told is not None and told["networks"] == networks
    assert best().here(at) is None


def test_a_family_is_kept_and_read_with_its_forms():
    kept = family(quarters=((1.0, 5, 4),))
    record = kept.as_dict()
    assert "calibration" not in record
    assert Networks.from_dict(record, "mine") == kept
    assert set(networks._converged(networks.FAMILY)["model"]) == {networks.FAMILY}


def test_why_no_network_is_predicted_is_told_by_what_was_judged():
    lacking, judged = {"log_loss": {"missing": "it needs 5 sources"}}, {"log_loss": {"sentence": "judged"}}
    assert "run dataprops fit again" in networks.reason_no_networks(None)
    assert networks.reason_no_networks({"a": lacking, "b": lacking}).endswith("on held-out sources: it needs 5 sources")
    assert "lack the columns of the reference classifier" in networks.reason_no_networks({"a": lacking, "b": judged})
