"""The suite's quick part on other Pythons and package versions: ``python -m tests.matrix``.

Each column of the matrix is an interpreter (3.11 to 3.14, those that are found; or ``--python``), each row the newest versions that
the package allows or the lowest (of the main packages the floors of pyproject.toml, or what first has a wheel for that interpreter).
A cell gets a virtual environment of its own, outside of the checkout; its tests, those that are not slow, run without a network but
the loopback where the system can take it away, in a home of their own that must stay empty. The last lines are a table.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
MAIN = ("torch", "numpy", "pandas", "pyarrow", "numba", "pillow", "scipy", "scikit-learn", "h5py", "pydicom", "nibabel")
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "scikit-dimension")
# a namespace begins with its loopback down, and then nothing reaches 127.0.0.1, where Prefect's server is
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))
os.execv(sys.argv[1], sys.argv[1:])
"""
# one file of each floor: pixels, distances, numbers, an audit with its report, the command line
TESTS = ("test_images.py", "test_vectors.py", "test_dimension.py", "test_report.py", "test_edge.py", "test_clean.py")


def interpreters() -> list[Path]:
    """The Pythons on this machine: on the path, or kept by pyenv or uv."""
    found: dict[str, Path] = {}
    for version in VERSIONS:
        places = [shutil.which(f"python{version}")]
        for kept in (Path.home() / ".pyenv/versions", Path.home() / ".local/share/uv/python"):
            places += sorted(str(path) for path in kept.glob(f"*{version}*/bin/python"))
        for place in filter(None, places):
            told = subprocess.run(
                [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
            )
            if told.returncode == 0 and told.stdout.strip() == version:
                found.setdefault(version, Path(place))
    return list(found.values())


def floors() -> dict[str, tuple[int, int]]:
    """The lowest versions that pyproject.toml allows of the main packages.

    >>> floors()["numpy"]
    (2, 0)
    """
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = {}
    for line in wanted:
        match = re.match(r"([a-z0-9-]+)(?:\[.*\])?>=(\d+)(?:\.(\d+))?", line)
        if match and match[1] in MAIN:
            found[match[1]] = int(match[2]), int(match[3] or 0)
    return {name: found[name] for name in MAIN}


def has_wheel(python: Path, pin: str) -> bool:
    """Whether there is something to install for an interpreter that need not be built."""
    asked = [str(python), "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary"]
    return subprocess.run([*asked, ":all:", pin], capture_output=True, check=False).returncode == 0


def lowest(python: Path) -> list[str]:
    """Of each main package the lowest minor version from its floor on that has a wheel for an interpreter: 'numpy==2.0.*'."""
    pins = []
    for name, floor in floors().items():
        told = subprocess.run(
            [str(python), "-m", "pip", "index", "versions", name], capture_output=True, text=True, check=False
        )
        versions = re.findall(r"\b(\d+)\.(\d+)[\d.]*(?=,|$)", told.stdout.partition("Available versions:")[2], re.M)
        minors = sorted({minor for version in versions if (minor := (int(version[0]), int(version[1]))) >= floor})
        pins_of = [f"{name}=={major}.{minor}.*" for major, minor in minors or [floor]]
        pins.append(next((pin for pin in pins_of if has_wheel(python, pin)), pins_of[0]))
    return pins


def cell(python: Path, kind: str, tests: list[str], folder: Path) -> str:
    """One cell: what failed first, or the last line of pytest."""
    return installed(python, kind, folder) or tried(tests, folder)


def installed(python: Path, kind: str, folder: Path) -> str:
    """Make the cell's environment, of the newest or the lowest versions; what failed, or nothing."""
    made = folder / "venv/bin/python"
    subprocess.run([str(python), "-m", "venv", str(folder / "venv")], check=True)
    pins = lowest(made) if kind == "lowest" else []
    for command in (
        [str(made), "-m", "pip", "install", "-q", *pins, *TOOLS, str(ROOT)],
        [str(made), "-m", "pip", "check"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{command[-1] if 'check' in command else command[3]}: {(done.stdout + done.stderr).strip().splitlines()[-1][:160]}"
    return ""


def tried(tests: list[str], folder: Path) -> str:
    """Run the tests in the cell's environment; what failed first, or the last line of pytest."""
    home = folder / "home"
    home.mkdir(parents=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "PYTHON", "DATAPROPS"))
    }
    environment |= {
        "HOME": str(home),
        "PREFECT_HOME": str(folder / "prefect"),
        "MPLCONFIGDIR": str(folder),  # of scikit-dimension, which imports matplotlib; commands keep theirs in the store
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(folder),
    }
    python = str(folder / "venv/bin/python")
    alone = ["unshare", "--net", python, "-c", LOOPBACK]
    if subprocess.run([*alone, "/bin/true"], capture_output=True, check=False).returncode:
        alone = []
    # quiet by pyproject.toml already: once more, and the counts are gone
    run = [*alone, python, "-m", "pytest", "-x", "-m", "not slow", "--rootdir", str(ROOT), *tests]
    done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    left = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    if left:
        return f"written into the home folder: {left[0]}"
    lines = done.stdout.splitlines()
    failed = next((line for line in lines if re.match(r"(FAILED|ERROR) |E  ", line)), "") if done.returncode else ""
    told = failed[:300] or "".join(lines[-1:]).strip("= ") or done.stderr[-160:]
    return told if alone else f"{told}, with a network"


def main() -> int:
    """Try every cell; 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", type=Path, action="append", help="An interpreter. [default: 3.11 to 3.14 as found]")
    parser.add_argument("--versions", choices=("newest", "lowest"), action="append", help="[default: both]")
    parser.add_argument("tests", nargs="*", help="Test files. [default: one of each floor]")
    asked = parser.parse_args()
    tests = asked.tests or [str(ROOT / "tests" / name) for name in TESTS]
    rows = []
    for python in asked.python or interpreters():
        for kind in asked.versions or ("newest", "lowest"):
            with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
                told = cell(python, kind, tests, Path(folder))
            rows.append((str(python), kind, told))
            sys.stdout.write(" | ".join(rows[-1]) + "\n")
            sys.stdout.flush()
    return 0 if all(re.match(r"\d+ passed", told) for _, _, told in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
