"""The default checks: of the dataset, of findings (declared with each finding), of properties, of predictions."""

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
            "The dataset has only {value:image|images}: error, dimension and sharpness are unreliable below {threshold:.0f}."
        ),
        reason="below this the estimates of d and K_F are unreliable; the paper's smallest training set has 500",
    ),
)
PROPERTIES = (
    Check(
        name="dimension_error",
        measure="dimension_relative_se",
        max=0.1,
        severity="info",
        title="the intrinsic dimension is precise enough",
        sentence=(
            "The intrinsic dimension has a relative standard error of {value:share}: more images would make it, and the "
            "predictions, more precise."
        ),
        reason="above this, predictions based on d are uninformative",
    ),
)
PREDICTIONS = (
    Check(
        name="easier_to_attack",
        measure="easier_to_attack_share",
        max=0.8,
        severity="info",
        title="not easier to attack than nearly all calibration datasets",
        sentence=(
            "Networks trained on this dataset are expected to be easier to mislead by adversarial perturbations than those "
            "of {value:most} calibration datasets (weak evidence: on held-out sources the ranking was only moderate)."
        ),
        kinds=("sharpest_pairs",),
        reason="one calibration dataset in five is above; chosen, not measured",
    ),
    Check(
        name="attack_penalty",
        measure="predicted_penalty",
        max=15.0,
        severity="warning",
        title="not far easier to attack than natural images",
        sentence=(
            "Networks trained on this dataset are expected to be far easier to mislead by adversarial perturbations than "
            "networks for natural images (predicted increase of the test loss {value:.0f} nats, threshold "
            "{threshold:.0f}; the paper's natural-image datasets reach 5)."
        ),
        kinds=("sharpest_pairs",),
        reason=(
            "above 15 nats the 95 % interval excludes 0; the paper's natural-image datasets reach 4.8, its radiology "
            "datasets 5.9 to 31.6"
        ),
    ),
)


def default_checks() -> tuple[Check, ...]:
    """All checks with default thresholds, in the order of the results."""
    brought = [check for finding in FINDINGS.values() for check in finding.checks]
    return (*SET, *brought, *PROPERTIES, *PREDICTIONS)
