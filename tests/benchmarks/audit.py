"""A full audit against three runs of scikit-learn's brute-force neighbours: ``python -m tests.benchmarks.audit FOLDER``.

The audit runs cold, as a separate process with an empty store; prints one JSON line with seconds, their ratio, the audit's peak memory
in excess of a bare interpreter's, and the overhead of the default (flow and cluster) over ``--inline``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.engine import median_seconds, sklearn_search


def command_seconds(arguments: list[str]) -> tuple[float, int]:
    """Wall time and exit code of a `dataprops` command."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "flows.cli", *arguments], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - begin, done.returncode


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--size", default="32")
    options = parser.parse_args()
    out: dict = {}
    with tempfile.TemporaryDirectory() as scratch:
        common = ["audit", options.folder, "--size", options.size, "--quiet", "--fail-on", "never"]
        out["inline_seconds"], _ = command_seconds([*common, "--inline", "--store", f"{scratch}/inline"])
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        out["peak_gib"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2)
        out["flow_seconds"], _ = command_seconds([*common, "--store", f"{scratch}/flow"])
        shards = sorted(Path(scratch).glob("inline/shards/*/*.npy"))
        pixels = np.concatenate([np.load(shard) for shard in shards])
    out["images"] = len(pixels)
    peer = median_seconds(sklearn_search(pixels), 3)
    out["sklearn_seconds"] = peer
    out["inline_over_three_sklearn"] = out["inline_seconds"] / (3 * peer)
    out["flow_adds_seconds"] = out["flow_seconds"] - out["inline_seconds"]
    print(json.dumps({name: round(value, 2) if isinstance(value, float) else value for name, value in out.items()}))


if __name__ == "__main__":
    main()
