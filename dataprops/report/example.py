"""The README's picture: a screenshot of a report's first screen by headless Chromium.

    python -m dataprops.report.example RESULTS OUT.png

RESULTS is the folder of a finished run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dataprops.errors import DatapropsError

SIZE = (1280, 1180)


def picture(results: Path, out: Path) -> Path:
    """Write a PNG screenshot of the report in a results folder.

    Raises
    ------
    DatapropsError
        If Chromium or the report is missing.
    """
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    page = Path(results) / "report.html"
    if chromium is None:
        raise DatapropsError("Chromium is not installed (apt-get install chromium)")
    if not page.is_file():
        raise DatapropsError(f"{results} has no report.html: pass the results folder of a finished run")
    with tempfile.TemporaryDirectory() as profile:
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000")
        window = (
            f"--user-data-dir={profile}",
            f"--window-size={SIZE[0]},{SIZE[1]}",
            f"--screenshot={Path(out).resolve()}",
        )
        command = [chromium, *flags, *window, page.resolve().as_uri()]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return _smaller(Path(out))


def _smaller(out: Path) -> Path:
    """Reduce the number of colours: the picture is in the repository."""
    from PIL import Image

    with Image.open(out) as image:
        small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(out, optimize=True)
    return out


if __name__ == "__main__":
    try:
        print(picture(Path(sys.argv[1]), Path(sys.argv[2])))
    except (DatapropsError, IndexError) as error:
        sys.exit(f"dataprops: {error}" if isinstance(error, DatapropsError) else __doc__)
