"""Labels contradicted by the reference classifier (trained without the image) and by the most similar other images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted
from dataprops.util.numbers import percent

if TYPE_CHECKING:
    from dataprops.findings.second_opinion import Opinions

LEAST_DOUBT = 0.75  # minimum probability that the witnesses give to the other classes
SURE = 0.5  # minimum p(likelier) - p(given) of a suspect, by the witnesses or for the check; hard images have less
HINTED = 0.1  # maximum fraction of the labels listed if another class is merely likelier
BEYOND_SIZE = 0.1  # minimum excess of that class's probability over its frequency


def suspects(context: Context) -> pd.DataFrame:
    """Suspect rows of the probe's table, most suspect first."""
    if context.probe is None:
        return pd.DataFrame({"image": [], "suspicion": []})
    table = context.probe
    return table[table["suspicion"].notna()].sort_values(["suspicion", "image"], ascending=[False, True])


def find(context: Context) -> Iterator[Row]:
    """One row per suspect, most suspect first.

    Its value is the probability that the label is wrong if there are several witnesses, otherwise the probe's p(likelier) - p(given).
    """
    if context.opinions is not None:
        yield from _by_two(context, context.opinions)
        return
    path = context.images["path"].to_numpy(object)
    rows: Any = suspects(context).itertuples()
    for row in rows:
        image = int(row.image)
        yield (
            [image],
            float(row.suspicion),
            f"{quoted(path[image])} is labelled {quoted(str(row.given))}; likelier {quoted(str(row.likelier))}"
            f" (probability {row.p_given + row.suspicion:.2f} against {row.p_given:.2f}).",
        )


def _by_two(context: Context, said: Opinions) -> Iterator[Row]:
    rows = list(_told(context, said))
    if said.sample is not None:  # its images have the opinions of all witnesses
        known = set(said.sample.image.tolist())
        rows = [row for row in rows if row[0][0] not in known] + list(_told(context, said.sample))
        rows.sort(key=lambda row: (-row[1], row[0]))
    yield from rows


def _told(context: Context, said: Opinions) -> Iterator[Row]:
    path = context.images["path"].to_numpy(object)
    score, likelier = said.score, said.likelier
    for i in _listed(said):
        image, other = int(said.image[i]), said.classes[likelier[i]]
        near = f"{percent(float(said.near[i, likelier[i]]))} of the most similar images are {other}"
        held = ""
        if said.probe is not None:
            held = f", the reference classifier gives {other} {percent(float(said.probe[i, likelier[i]]))}"
        yield (
            (image,),
            float(score[i]),
            f"{quoted(path[image])} is labelled {quoted(said.classes[said.y[i]])}; likelier {quoted(other)}:"
            f" {near}{held}.",
        )


def _listed(said: Opinions) -> list[int]:
    """Positions of the suspects, most suspect first: all that the witnesses are sure of, and the most suspect of the doubtful ones."""
    doubt, likelier = said.doubt, said.likelier
    top = said.joint[np.arange(len(doubt)), likelier]
    margin = top - (1 - doubt)
    sure = (doubt >= LEAST_DOUBT) & (margin >= SURE)
    size = np.bincount(said.y, minlength=len(said.classes)) / len(said.y)
    doubted = (doubt >= 0.5) & (margin > 0) & (top - size[likelier] > BEYOND_SIZE)
    order = np.argsort(-said.score, kind="stable")
    first = round(HINTED * len(order))
    return [int(i) for rank, i in enumerate(order[(sure | doubted)[order]]) if sure[i] or rank < first]


def measures(context: Context) -> dict[str, float]:
    """Numbers of suspect and wrong labels.

    The estimate and the start of the interval are of labels that are wrong at random; its end includes labels exchanged between two
    similar classes.

    suspect_label_share: fraction of images whose label the probe considers wrong by a margin of at least `SURE`. With several
    witnesses, among them the reference classifier: wrong_labels, the estimated number, with wrong_labels_low and _high;
    wrong_labels_asked, the number of labels it is estimated from; wrong_label_share_low, the minimum fraction shown
    (`second_opinion.SHOWN`).
    """
    out: dict[str, float] = {}
    # with several witnesses, the estimated number of wrong labels replaces it
    if context.opinions is None and context.probe is not None and len(context.probe) and context.kind == "classes":
        out["suspect_label_share"] = float((context.probe["suspicion"] >= SURE).mean())
    said = context.opinions
    if said is not None and said.asked is not None and said.number is not None:
        wrong = said.number
        n, known = len(said.y), len(said.asked.y)
        out |= {"wrong_labels": wrong.value, "wrong_labels_low": wrong.low, "wrong_labels_high": wrong.high}
        out = {name: value * n / known if name.startswith("wrong") else value for name, value in out.items()}
        out |= {"wrong_labels_asked": float(known), "wrong_label_share_low": wrong.shown / known}
    return out


FINDING = Finding(
    name="suspect_labels",
    severity="info",
    title="Suspect labels",
    explanation=(
        "A classifier that was not trained on these images finds another label more likely (confident learning). Some are"
        " wrong labels, some are hard images: look at the first ones, and correct what is wrong."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="suspect_labels",
            measure="suspect_label_share",
            max=0.05,
            severity="warning",
            title="few suspect labels",
            sentence=(
                "{value:share} of the labels look wrong to a classifier that has not seen them, by a margin of at least one half"
                " (at most {threshold:share} are tolerated): look at the first ones listed."
            ),
            reason="used if there is only one witness; a hard dataset has such images too, so the bound is wide: chosen, not measured",
        ),
        Check(
            name="wrong_labels",
            measure="wrong_label_share_low",
            max=0.001,
            severity="warning",
            title="few wrong labels",
            sentence=(
                "About {wrong_labels:.0f} labels seem to be wrong (95 % interval {wrong_labels_low:.0f} to {wrong_labels_high:.0f},"
                " from {wrong_labels_asked:.0f} labels; of labels exchanged between two similar classes, which are learnt as if right,"
                " the estimate counts few, the interval's end as many as there may be): look through the suspect labels from the"
                " top; each is shown with the more likely one."
            ),
            reason=(
                "the smallest number supported at a likelihood ratio of e^2.5, of e^5 in datasets of more than 1,000 images,"
                " which have fewer witnesses. Of 27 datasets as published, two draws of 400 images, one has so many (white"
                " blood cells, which hold wrong labels); with 3 % of the labels flipped at random 14 of 27 draws have,"
                " with 5 % 27 of 54: where the witnesses err on a fifth or more there is mostly no alert, but some of the"
                " labels are listed anyway"
            ),
        ),
    ),
    shown="images",
)
