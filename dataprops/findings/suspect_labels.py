"""Labels that the reference classifier, not trained on the image, holds for wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted

SURE = 0.5  # p(likelier) - p(given) from which a suspect counts for the check: hard images are suspect too, by less


def suspects(context: Context) -> pd.DataFrame:
    """Rows of the probe's table that are suspect, the most suspect first."""
    if context.probe is None:
        return pd.DataFrame({"image": [], "suspicion": []})
    table = context.probe
    return table[table["suspicion"].notna()].sort_values(["suspicion", "image"], ascending=[False, True])


def find(context: Context) -> Iterator[Row]:
    """One row for each suspect, the most suspect first; its value is p(likelier) - p(given)."""
    path = context.images["path"].to_numpy(object)
    for row in suspects(context).itertuples():
        image = int(row.image)
        yield (
            [image],
            float(row.suspicion),
            f"{quoted(path[image])} is labelled {quoted(str(row.given))}; likelier {quoted(str(row.likelier))}"
            f" (probability {row.p_given + row.suspicion:.2f} against {row.p_given:.2f}).",
        )


def measures(context: Context) -> dict[str, float]:
    """suspect_label_share: images whose label is held for wrong with a margin of at least `SURE`."""
    if context.probe is None or not len(context.probe) or context.kind != "classes":
        return {}
    return {"suspect_label_share": float((context.probe["suspicion"] >= SURE).mean())}


FINDING = Finding(
    name="suspect_labels",
    severity="info",
    title="Suspect labels",
    explanation=(
        "A classifier that was not trained on these images holds another label for likelier (confident learning). Some are wrong"
        " labels, some are hard images: look at the first ones, and correct what is wrong."
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
                "{value:share} of the labels are held for wrong by a classifier that has not seen them, with a margin of half"
                " (at most {threshold:share} are tolerated): look at the first of the list."
            ),
            reason="clean sets have up to 5 % of such images, those with one label in ten wrong more",
        ),
    ),
    shown="images",
)
