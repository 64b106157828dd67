"""Scan and decoding of 10,000 JPEG of 256 px with one thread and with two: ``python -m tests.benchmarks.decoding``.

Generates the images in a temporary folder, runs the stages `scan` and `decode` of an audit into a new store for each number of
threads, and prints one JSON line: seconds, their ratio, and the peak increase in anonymous memory for 2,000 and for all images. The
first, small run also includes the imports of the stages.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from dataprops.audit.config import AuditConfig
from dataprops.audit.stages.decode import decode
from dataprops.audit.stages.scan import scan
from dataprops.audit.workspace import start_run
from dataprops.util.memory import measured_memory
from dataprops.util.tools import inline_tools

SIDE = 256


def make(folder: Path, n: int) -> None:
    """n different JPEGs in ten classes: smooth patterns with noise, of about 13 kB, as photographs of that size have."""
    rng = np.random.default_rng(0)
    for number in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int16)
        pixels = np.clip(smooth + rng.integers(-12, 13, (SIDE, SIDE, 1), np.int16), 0, 255).astype(np.uint8)
        place = folder / f"class{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:05d}.jpg", quality=85)


def run(source: Path, store: Path, threads: int, size: int) -> dict[str, float]:
    """Seconds and peak own memory of the two stages, into a fresh store."""
    shutil.rmtree(store, ignore_errors=True)
    tools = inline_tools(threads=threads)
    with measured_memory() as peak:
        begin = time.perf_counter()
        work = start_run(AuditConfig(str(source), store=str(store), size=size))
        scanned = scan(work, tools)
        decoded = decode(work, tools)
        seconds = time.perf_counter() - begin
    assert decoded.n_readable == decoded.n_decoded == scanned.n_images
    return {"seconds": seconds, "mib": peak.bytes / 2**20}


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=2_000, help="number of images of the smaller set")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--folder", help="folder for the images and the store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        few, many, store = Path(place) / "few", Path(place) / "many", Path(place) / "store"
        make(many, options.n)
        for file in sorted(many.rglob("*.jpg"), key=lambda file: file.name)[: options.few]:
            copy = few / file.relative_to(many)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        print("made", file=sys.stderr, flush=True)
        small = run(few, store, 2, options.size)
        two, one = run(many, store, 2, options.size), run(many, store, 1, options.size)
    print(
        json.dumps(
            {
                "n": options.n,
                "seconds_1": round(one["seconds"], 2),
                "seconds_2": round(two["seconds"], 2),
                "ratio": round(one["seconds"] / two["seconds"], 2),
                "images_per_second": round(options.n / two["seconds"]),
                "mib_few": round(small["mib"]),
                "mib": round(two["mib"]),
            }
        )
    )


if __name__ == "__main__":
    main()
