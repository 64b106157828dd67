"""Files whose extension does not match their format."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted
from dataprops.imaging.dicom_header import SUFFIXES
from dataprops.imaging.formats import ENDINGS
from dataprops.util.names import ending_of

NAMED = {f".{ending}": kind for kind, endings in ENDINGS.items() for ending in endings}
NAMED |= dict.fromkeys(SUFFIXES, "DICOM")
SAME = {"MPO": "JPEG", "DIB": "BMP"}  # formats that share their extensions


def find(context: Context) -> Iterator[Row]:
    """One row per readable file whose extension is that of another format."""
    readable = context.images[context.images["pixels"].notna()]
    named = readable["path"].map(lambda path: NAMED.get(ending_of(str(path))))
    kind = readable["format"].replace(SAME)
    other = (named.notna() & kind.isin({*NAMED.values()}) & (named != kind)).to_numpy(bool)
    for i in np.nonzero(other)[0]:
        path, image = readable["path"].iloc[i], int(readable["image"].iloc[i])
        yield (image,), 1.0, f"{quoted(path)} is {kind.iloc[i]} by its content; its name says {named.iloc[i]}."


FINDING = Finding(
    name="misnamed",
    severity="info",
    title="Format does not match the name",
    explanation=(
        "These files were read by their content; programs that go by the file extension fail on them or read them"
        " differently. Rename them. A JPEG named as a lossless format has been compressed all the same."
    ),
    find=find,
    shown="text",
)
