"""Explanation of each number of an audit: meaning, advice, formula and source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dataprops.report.numbers import number, percent

KONZ = "Konz & Mazurowski, ICLR 2024 (arXiv 2401.08865)"


class Words(NamedTuple):
    """Explanation of a number."""

    name: str
    means: str
    todo: str
    formula: str
    source: str


WORDS: dict[str, Words] = {
    "probe.error": Words(
        "Error of a reference classifier",
        "Error rate of a small classifier, trained on this dataset only, on held-out images.",
        "A large network should do better; if this is near chance, check labels and preprocessing before training one.",
        "out-of-fold error rate (grouped folds) of ridge regression on random-patch features, at 32 × 32",
        "features of Coates & Ng 2011; folds and intervals of this project",
    ),
    "probe.gain_if_doubled": Words(
        "Log loss reduction with twice the images",
        "Expected gain from twice as many images, by the classifier's learning curve; log loss also penalises confident errors.",
        "If the interval is above 0, collect more; if it includes 0, correct labels first.",
        "power law through the last three sizes of the classifier's learning curve, continued to 2 N; interval by bootstrap",
        "this project",
    ),
    "probe.unexplained": Words(
        "Unexplained variance of a reference regression",
        "Fraction of the label variance that a small regression, trained on this dataset only, does not explain on held-out images.",
        "A large network should do better; if this is near 100 %, check labels and preprocessing before training one.",
        "out-of-fold mean squared error (grouped folds) over the variance of the labels; ridge regression on random-patch features,"
        " at 32 × 32",
        "features of Coates & Ng 2011; folds and intervals of this project",
    ),
    "probe.gain_of_squares": Words(
        "Squared error reduction with twice the images",
        "Expected reduction of the regression's squared error with twice as many images of the same kind.",
        "If the interval is above 0, collect more; if it includes 0, correct labels first.",
        "power law through the last three sizes of the regression's learning curve, continued to 2 N; interval by bootstrap",
        "this project",
    ),
    "near_pairs": Words(
        "Near-copies",
        "Number of nearly coincident pairs of images.",
        "Keep one of each pair, or both in one split.",
        "pairs whose distance is far below that of the surrounding images",
        "this project",
    ),
    "intrinsic_dimension.mle": Words(
        "Intrinsic dimension, MLE",
        "Number of independent ways in which images vary locally.",
        "Compare only between datasets of similar size and the same preprocessing; a high value calls for more images.",
        "d = (k − 1) / mean over images of Σ log(Tₖ / Tⱼ), j = 1 … k − 1; Tⱼ is the distance to the j-th nearest image",
        "Levina & Bickel 2004, with the averaging of MacKay & Ghahramani 2005",
    ),
    "intrinsic_dimension.mle_paper": Words(
        "Intrinsic dimension, MLE as in the paper",
        "The same with a different constant: 5 % lower at k = 20.",
        "Use it for comparison with the paper.",
        "d = (k − 2) / mean over images of Σ log(Tₖ / Tⱼ)",
        KONZ,
    ),
    "intrinsic_dimension.twonn": Words(
        "Intrinsic dimension, TwoNN",
        "The same, from the two nearest images only: more local, but sensitive to near-copies.",
        "If it is far below the MLE, look at near-copies first.",
        "least squares of −log(1 − F(μ)) = d log μ through 0, μ = T₂ / T₁, without the largest 10 % of μ",
        "Facco et al. 2017",
    ),
    "intrinsic_dimension.twonn_paper": Words(
        "Intrinsic dimension, TwoNN as in the paper",
        "TwoNN fitted to all ratios but the largest.",
        "Use it for comparison with the paper.",
        "as TwoNN, without the single largest μ",
        KONZ,
    ),
    "intrinsic_dimension.twonn_closed": Words(
        "Intrinsic dimension, TwoNN in closed form",
        "Maximum-likelihood version of TwoNN, without a fit.",
        "Compare it with the fitted one: they differ if the ratios do not follow the model.",
        "d = N / Σ log μ",
        "Facco et al. 2017; Denti et al. 2022",
    ),
    "intrinsic_dimension.geomle": Words(
        "Intrinsic dimension, GeoMLE",
        "The MLE corrected for curvature and uneven sampling; uncertain for small datasets.",
        "Treat it as weak evidence if its standard error is large.",
        "MLE at k = 25 … 55, extrapolated by regression on the mean neighbour distance to 0, 20 bootstrap samples",
        "Gomtsyan et al. 2019",
    ),
    "label_sharpness.all_pairs": Words(
        "Label sharpness, all pairs",
        "How similar two images of this dataset can be and still have different labels: maximum over all pairs.",
        "Look at the sharpest pairs: a single wrong label can raise it.",
        "K = max |yⱼ − yₖ| / ‖xⱼ − xₖ‖ over all pairs (of classes: 1 where labels differ), 1 / grey level",
        KONZ,
    ),
    "label_sharpness.sample": Words(
        "Label sharpness of samples",
        "How similar two images of a random sample of size M can be and still have different labels; used in the paper.",
        "Compare only at the same M and preprocessing.",
        "mean over samples of M images of max |yⱼ − yₖ| / ‖xⱼ − xₖ‖",
        KONZ,
    ),
    "label_sharpness.q95": Words(
        "Label sharpness, 95 % quantile",
        "95 % of the images have a lower sharpness; a single wrong label hardly affects it.",
        "If it rises between audits, labels became noisier or classes more similar.",
        "95 % quantile over images of 1 / distance to the nearest image with another label",
        "this project",
    ),
    "label_sharpness.q99": Words(
        "Label sharpness, 99 % quantile",
        "The same for 99 % of the images.",
        "As the 95 % quantile, for datasets large enough to have 1 % unusual images.",
        "99 % quantile over images",
        "this project",
    ),
    "label_sharpness.q50": Words(
        "Label sharpness, median",
        "The sharpness of a typical image.",
        "Compare it with the maximum: a large gap points to a few unusual pairs.",
        "median over images",
        "this project",
    ),
}
# suffixes of property names for subset and sample sizes, ignored when looking up `WORDS`
_SUFFIX = re.compile(r"@\d+$")
_SAMPLE = re.compile(r"^label_sharpness\.m\d+$")


def words_of(name: str) -> Words | None:
    """Explanation of a property in `properties.parquet`, for any feature space or subset size; None if there is none.

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
    """Why the dimension estimators disagree; empty if they agree.

    Parameters
    ----------
    near : float
        Fraction of images with an identical or near-identical copy.
    """
    found = summary["intrinsic_dimension"]
    mle, twonn = ((found.get(name) or {}).get("value") for name in ("mle", "twonn"))
    out = []
    if mle and twonn and twonn < 0.7 * mle:
        why = (
            f"{percent(near)} of the images have a near-identical copy, and TwoNN uses only the two nearest images"
            if near > 0.02
            else "the nearest images are much closer than the next ones, as with near-copies or bursts of exposures"
        )
        out.append(f"TwoNN gives {number(twonn)}, the MLE {number(mle)}: {why}. Trust the MLE.")
        without = summary.get("without_near_copies")
        if without:
            out.append(
                f"With one image per group of near-copies, TwoNN gives {number(without['twonn'])} and the MLE"
                f" {number(without['mle'])} ({without['k']:.0f} neighbours)."
            )
    elif mle and twonn and twonn > 1.3 * mle:
        out.append(
            f"TwoNN gives {number(twonn)}, the MLE {number(mle)}: the MLE uses a larger neighbourhood ({summary['k']} neighbours),"
            " and is biased low for small datasets."
        )
    return " ".join([*out, *caution(summary)])


def caution(summary: Mapping[str, Any]) -> list[str]:
    """The sentence, if any, on a GeoMLE that is not to be relied on."""
    mle, geo = ((summary["intrinsic_dimension"].get(name) or {}).get("value") for name in ("mle", "geomle"))
    if not mle or not geo or geo <= 2 * mle:
        return []
    return [
        f"GeoMLE gives {number(geo)}: it extrapolates linearly to neighbour distance zero, and with"
        f" {summary['n_images']:,} images that line is steep. Do not rely on it here."
    ]
