"""The default checks: of the set as a whole, those that findings bring, of properties, of predictions."""

from __future__ import annotations

from dataprops.findings.check import Check
from dataprops.findings.registry import FINDINGS

SET = (
    Check(
        name="enough_images",
        measure="n_images",
        min=100,
        severity="warning",
        title="enough images for the estimates",
        sentence=(
            "The set has only {value:image|images}: error, dimension and sharpness are uncertain below {threshold:.0f}."
        ),
        reason="the estimates of d and K_F mean little below this; the paper's smallest training set has 500",
    ),
)
PROPERTIES = (
    Check(
        name="dimension_error",
        measure="dimension_relative_se",
        max=0.1,
        severity="info",
        title="the intrinsic dimension is known precisely enough",
        sentence=(
            "The intrinsic dimension is known only to within {value:share}: more images would make it, and the predictions, "
            "more precise."
        ),
        reason="beyond that, predictions that rest on d say little",
    ),
)
PREDICTIONS = (
    Check(
        name="easier_to_attack",
        measure="easier_to_attack_share",
        max=0.8,
        severity="info",
        title="not easier to attack than nearly all sets of the calibration",
        sentence=(
            "Networks trained on this set are expected to be easier to mislead by imperceptible perturbations than "
            "those of {value:most} sets of the calibration (a hint: on sources left out the ranking was only moderate)."
        ),
        kinds=("sharpest_pairs",),
        reason="one set in five of the calibration lies beyond; chosen, not measured",
    ),
    Check(
        name="attack_penalty",
        measure="predicted_penalty",
        max=15.0,
        severity="warning",
        title="not far easier to attack than natural images",
        sentence=(
            "Networks trained on this set are expected to be far easier to mislead by imperceptible perturbations than "
            "networks for everyday pictures (predicted rise of the test loss {value:.0f} nats, at most "
            "{threshold:.0f} is tolerated; the paper's everyday pictures reach 5)."
        ),
        kinds=("sharpest_pairs",),
        reason=(
            "from 15 nats on the 95 % interval excludes 0; the paper's sets of everyday pictures reach 4.8, its "
            "radiology sets 5.9 to 31.6"
        ),
    ),
)


def default_checks() -> tuple[Check, ...]:
    """Every check with its default threshold, in the order of the results."""
    brought = [check for finding in FINDINGS.values() for check in finding.checks]
    return (*SET, *brought, *PROPERTIES, *PREDICTIONS)
