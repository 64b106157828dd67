"""Coverage-guided input for the package's own parsers: ``python -m tests.fuzz_guided names csv --seconds 60`` (needs atheris).

libFuzzer changes the valid files of a target of `tests.fuzz` and keeps what reaches new code of this package; what must not happen is
what `fuzz.look` says. The first failure ends a target: its file is written to the folder ``--out``, to be kept in
``fuzz_cases.jsonl`` once it is mended. Without names, the targets whose parsers are this package's own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

OWN = ("names", "csv", "jsonl", "coco", "thresholds", "operations", "grid", "npy", "tar", "mnist", "cifar10", "dicom")


def one_target(name: str, seconds: int, out: Path) -> None:
    """Fuzz a target in this process, which libFuzzer ends."""
    import atheris  # pyright: ignore[reportMissingImports]

    with atheris.instrument_imports(include=["dataprops"]):
        from tests import fuzz

    count = 0
    folder = Path(tempfile.mkdtemp(prefix="guided-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(fuzz.seeds_of(name)):
        (corpus / str(number)).write_bytes(data)

    def look(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % 500 == 0:
            print(f"{name}: {count:,} cases", flush=True)  # libFuzzer ends the process without a word of ours
        fuzz.look(name, data, folder / "case")

    options = [f"-max_total_time={seconds}", "-max_len=65536", "-rss_limit_mb=0", "-verbosity=0"]
    atheris.Setup([name, *options, f"-artifact_prefix={out}/{name}-", "-print_final_stats=1", str(corpus)], look)
    atheris.Fuzz()


def main() -> int:
    """Each target in a process of its own; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="For each target.")
    parser.add_argument("--out", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", default=OWN)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.here:
        one_target(asked.targets[0], asked.seconds, asked.out)
        return 0
    failed = []
    for name in asked.targets:
        words = [
            sys.executable,
            "-m",
            "tests.fuzz_guided",
            "--here",
            "--seconds",
            str(asked.seconds),
            "--out",
            str(asked.out),
            name,
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        told = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
        print(f"{name}: {told} cases, {'failed' if done.returncode else 'none failed'}", flush=True)
        if done.returncode:
            failed.append(name)
            print("\n".join(lines[-25:]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
