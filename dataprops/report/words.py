"""Each number of an audit in words: what it means, what to do about it, how it is computed, and where that is from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dataprops.report.numbers import number, percent

KONZ = "Konz & Mazurowski, ICLR 2024 (arXiv 2401.08865)"


class Words(NamedTuple):
    """A number in words."""

    name: str
    means: str
    todo: str
    formula: str
    source: str


WORDS: dict[str, Words] = {
    "images": Words(
        "Images",
        "How many images were found, and how many of them cannot be read.",
        "Restore what cannot be read; with fewer than a few hundred images every number here is uncertain.",
        "files that the source lists as images, less those left out",
        "this project",
    ),
    "probe.error": Words(
        "Error of a reference classifier",
        "How often a small classifier, trained on this set alone, is wrong on images that it was not trained on.",
        "A large network should do better; if this is near chance, look at labels and preprocessing before training one.",
        "share of images whose most probable class is not their label, each predicted by a fit that has not seen it (grouped folds);"
        " ridge regression on features of random patches, at 32 × 32",
        "features of Coates & Ng 2011; folds and intervals of this project",
    ),
    "probe.gain_if_doubled": Words(
        "Log loss saved by twice the images",
        "What the classifier's learning curve promises for twice as many images; log loss also counts how confident its errors are.",
        "Where the interval lies above 0, collect more; where it contains 0, correct labels first.",
        "power law through the last three sizes of the classifier's learning curve, continued to 2 N; interval by bootstrap",
        "this project",
    ),
    "probe.unexplained": Words(
        "Variance a reference regression leaves unexplained",
        "How much of the differences between labels a small regression, trained on this set alone, misses on images held out.",
        "A large network should miss less; if this is near 100 %, look at labels and preprocessing before training one.",
        "mean squared error over the variance of the labels, each predicted by a fit that has not seen it (grouped folds); ridge"
        " regression on features of random patches, at 32 × 32",
        "features of Coates & Ng 2011; folds and intervals of this project",
    ),
    "probe.gain_of_squares": Words(
        "Squared error saved by twice the images",
        "By how much the regression's squared error would fall if the set had twice as many images of the same kind.",
        "Where the interval lies above 0, collect more; where it contains 0, correct labels first.",
        "power law through the last three sizes of the regression's learning curve, continued to 2 N; interval by bootstrap",
        "this project",
    ),
    "near_pairs": Words(
        "Near-copies",
        "How many pairs of images are nearly one point.",
        "Keep one of each, or keep them in one split.",
        "pairs whose distance is far below that of the images around them",
        "this project",
    ),
    "intrinsic_dimension.mle": Words(
        "Intrinsic dimension, MLE",
        "In how many independent ways the images of the set differ near one of them.",
        "Compare it only between sets of similar size and the same preprocessing; a high one calls for more images.",
        "d = (k − 1) / mean over images of Σ log(Tₖ / Tⱼ), j = 1 … k − 1; Tⱼ is the distance to the j-th nearest image",
        "Levina & Bickel 2004, with the averaging of MacKay & Ghahramani 2005",
    ),
    "intrinsic_dimension.mle_paper": Words(
        "Intrinsic dimension, MLE as in the paper",
        "The same with another constant: at k = 20 it is 5 % lower.",
        "Use it beside the paper's numbers.",
        "d = (k − 2) / mean over images of Σ log(Tₖ / Tⱼ)",
        KONZ,
    ),
    "intrinsic_dimension.twonn": Words(
        "Intrinsic dimension, TwoNN",
        "The same, from the two nearest images alone: finer, and easily disturbed by near-copies.",
        "Where it is far below the MLE, look at the near-identical images first.",
        "least squares of −log(1 − F(μ)) = d log μ through 0, μ = T₂ / T₁, without the largest 10 % of μ",
        "Facco et al. 2017",
    ),
    "intrinsic_dimension.twonn_paper": Words(
        "Intrinsic dimension, TwoNN as in the paper",
        "TwoNN with all ratios but the largest in the fit.",
        "Use it beside the paper's numbers.",
        "as TwoNN, without the single largest μ",
        KONZ,
    ),
    "intrinsic_dimension.twonn_closed": Words(
        "Intrinsic dimension, TwoNN in closed form",
        "TwoNN as a maximum-likelihood estimate, without a fit.",
        "Compare it with the fitted one: they differ where the ratios do not follow the model.",
        "d = N / Σ log μ",
        "Facco et al. 2017; Denti et al. 2022",
    ),
    "intrinsic_dimension.geomle": Words(
        "Intrinsic dimension, GeoMLE",
        "The MLE corrected for curved and unevenly sampled sets; uncertain for small ones.",
        "Take it as a hint only where its standard error is large.",
        "MLE at k = 25 … 55, regressed on the mean neighbour distance to distance 0, 20 bootstrap samples",
        "Gomtsyan et al. 2019",
    ),
    "label_sharpness.all_pairs": Words(
        "Label sharpness, all pairs",
        "How similar two images of this set can be and still carry different labels: the largest over all pairs.",
        "Look at the sharpest pairs: one wrong label is enough to raise it.",
        "K = max |yⱼ − yₖ| / ‖xⱼ − xₖ‖ over all pairs (of classes: 1 where labels differ), 1 / grey level",
        KONZ,
    ),
    "label_sharpness.sample": Words(
        "Label sharpness of samples",
        "How similar two images of a random sample of M can be and still carry different labels; the paper compares sets by it.",
        "Compare it between sets of one M and one preprocessing.",
        "mean over draws of M images of max |yⱼ − yₖ| / ‖xⱼ − xₖ‖",
        KONZ,
    ),
    "label_sharpness.q95": Words(
        "Label sharpness, 95 % of the images",
        "Below this lies the sharpness of 95 % of the images; a single wrong label hardly moves it.",
        "If it rises from audit to audit, labels became noisier or classes more alike.",
        "95 % quantile over images of 1 / distance to the nearest image with another label",
        "this project",
    ),
    "label_sharpness.q99": Words(
        "Label sharpness, 99 % of the images",
        "The same for 99 % of the images.",
        "Read it as the 95 % one, where a set is large enough to have 1 % of odd images.",
        "99 % quantile over images",
        "this project",
    ),
    "label_sharpness.q50": Words(
        "Label sharpness, half of the images",
        "The sharpness of a typical image.",
        "Compare it with the largest: a wide gap points to a few odd pairs.",
        "median over images",
        "this project",
    ),
}
# a measured property is called by its first word below, after what says where or of how many images it is
_SUFFIX = re.compile(r"@\d+$")
_SAMPLE = re.compile(r"^label_sharpness\.m\d+$")


def words_of(name: str) -> Words | None:
    """The words of a property of `properties.parquet`, whatever space or number of images it is of; None if it has none.

    >>> words_of("features.intrinsic_dimension.mle@500").name, words_of("label_sharpness.m500").name
    ('Intrinsic dimension, MLE', 'Label sharpness of samples')
    """
    plain = _SUFFIX.sub("", name.removeprefix("features."))
    return WORDS.get("label_sharpness.sample" if _SAMPLE.match(plain) else plain)


FIRST = (
    "intrinsic_dimension.mle",
    "label_sharpness.sample",
    "label_sharpness.q95",
    "label_sharpness.all_pairs",
)


def disagreement(summary: Mapping[str, Any], near: float = 0.0) -> str:
    """Why the estimators of the dimension disagree, where they do; else nothing.

    Parameters
    ----------
    near : float
        Fraction of the images that have a near-identical or identical twin.
    """
    found = summary["intrinsic_dimension"]
    mle, twonn = ((found.get(name) or {}).get("value") for name in ("mle", "twonn"))
    out = []
    if mle and twonn and twonn < 0.7 * mle:
        why = (
            f"{percent(near)} of the images have a near-identical twin, and TwoNN looks at the two nearest images alone"
            if near > 0.02
            else "the nearest images are much nearer than the following ones, as near-copies or bursts of exposures are"
        )
        out.append(f"TwoNN says {number(twonn)} and the MLE {number(mle)}: {why}. Trust the MLE.")
        without = summary.get("without_near_copies")
        if without:
            out.append(
                f"With one image of each group of near-copies TwoNN says {number(without['twonn'])} and the MLE"
                f" {number(without['mle'])} ({without['k']:.0f} neighbours)."
            )
    elif mle and twonn and twonn > 1.3 * mle:
        out.append(
            f"TwoNN says {number(twonn)} and the MLE {number(mle)}: the MLE looks further out ({summary['k']} neighbours), where"
            " small sets run out of images, and is too low there."
        )
    geo = found.get("geomle") or {}
    if mle and geo.get("value") and geo["value"] > 2 * mle:
        out.append(
            f"GeoMLE says {number(geo['value'])}: it extends a line over neighbour distances to zero, and with"
            f" {summary['n_images']:,} images that line is steep. Do not rely on it here."
        )
    return " ".join(out)
