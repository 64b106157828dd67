"""The first minute with `dataprops`, against the unavoidable imports: ``python -m tests.benchmarks.first_minute``.

The floor is a process that imports torch, pandas, pyarrow, scikit-learn and Great Expectations; of the flow, Prefect and
distributed too. `dataprops audit digits: --size 8` runs inline and as a flow in empty stores, then again with nothing new. All run as
separate processes, in interleaved rounds, so that load on the machine affects them equally; medians are reported. Bytecode caches are
warm, as after an installation. ``--first`` also measures the first run, without compiled kernels. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIBRARIES = ("torch", "pandas", "pyarrow", "sklearn", "great_expectations")
OF_FLOWS = ("prefect", "distributed")
AUDIT = ("-m", "flows.cli", "audit", "digits:", "--size", "8", "--quiet", "--json")


def seconds(*arguments: str, **environment: str) -> float:
    """Wall time of a Python process that must succeed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env={**kept, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - begin


def measure_round(folder: Path) -> dict[str, float]:
    """Each process once; the stores are new."""
    inline, flow = (str(folder / name) for name in ("inline", "flow"))
    out = {
        "floor": seconds("-c", f"import {', '.join(LIBRARIES)}"),
        "inline": seconds(*AUDIT, "--inline", "--store", inline),
        "again": seconds(*AUDIT, "--inline", "--store", inline),
        "floor_of_flows": seconds("-c", f"import {', '.join(LIBRARIES + OF_FLOWS)}"),
        "flow": seconds(*AUDIT, "--store", flow),
        "flow_again": seconds(*AUDIT, "--store", flow),
    }
    shutil.rmtree(folder)
    return out


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first", action="store_true", help="Also measure a run that compiles every kernel.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure_round(Path(scratch) / "warm")  # files come from memory, kernels are compiled
        rounds = [measure_round(Path(scratch) / str(number)) for number in range(options.rounds)]
        times = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        out = {
            "inline_over_floor": times["inline"] / times["floor"],
            "flow_over_floor": times["flow"] / times["floor_of_flows"],
            "again_over_floor": times["again"] / times["floor"],
            "flow_again_over_floor": times["flow_again"] / times["floor_of_flows"],
        }
        if options.first:
            store = str(Path(scratch) / "first")
            first = seconds(*AUDIT, "--inline", "--store", store, NUMBA_CACHE_DIR=f"{scratch}/kernels")
            times["first_adds"] = first - times["inline"]
    out |= {"seconds": {name: round(value, 2) for name, value in times.items()}}
    print(json.dumps({name: round(value, 3) if isinstance(value, float) else value for name, value in out.items()}))


if __name__ == "__main__":
    main()
