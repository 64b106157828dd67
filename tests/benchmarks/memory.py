"""Measured against projected working memory of a pass over rows on disk: ``python -m tests.benchmarks.memory --n 40000``.

Writes the rows to a temporary file (n x D bytes), runs the pass with `--memory`, and prints one JSON line. The page cache of the file
is not counted, since the kernel can reclaim it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dataprops.distances.allpairs import Runner, all_pairs, array_rows
from dataprops.distances.plan import Resources, plan_pass
from dataprops.distances.state import PassSpec
from dataprops.util.memory import measured_memory
from tests.benchmarks.data import images


def rows_on_disk(path: Path, n: int, features: int) -> np.ndarray:
    """Write n images a thousand at a time; a memory map of them."""
    with path.open("wb") as file:
        for start in range(0, n, 1000):
            images(min(1000, n - start), features, seed=0, first=start).tofile(file)
    return np.memmap(path, np.uint8, "r", shape=(n, features))


def measure(n: int, features: int, memory: int, threads: int, folder: str | None) -> dict:
    """Run one pass."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        pixels = rows_on_disk(Path(place) / "rows.bin", n, features)
        plan = plan_pass(n, features, 20, Resources(memory=memory, threads=threads))
        spec = PassSpec(20, near2=4.0 * features)
        total, done, begin = n * (n - 1) // 2, 0, time.perf_counter()

        def tell(pairs: int) -> None:
            nonlocal done
            before, done = done, done + pairs
            if before * 20 // total != done * 20 // total:
                print(f"{done / total:.0%} after {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)

        with measured_memory() as peak:
            all_pairs(array_rows(pixels, np.arange(n) % 2.0), spec, plan, Runner(threads), on_pairs=tell)
        return {
            "n": n,
            "features": features,
            "allowed_mib": memory >> 20,
            "projected_mib": plan.bytes >> 20,
            "used_mib": peak.bytes >> 20,
            "block": plan.block,
            "seconds": round(time.perf_counter() - begin, 1),
            "whole_process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=40_000)
    parser.add_argument("--features", type=int, default=50_176)
    parser.add_argument("--memory", type=int, default=4 * 2**30, help="bytes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", help="folder for the file of rows")
    options = parser.parse_args()
    print(json.dumps(measure(options.n, options.features, options.memory, options.threads, options.folder)))


if __name__ == "__main__":
    main()
