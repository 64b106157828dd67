"""Alerts between two full audits of one dataset: true ones after planted changes, and false alarms with no change.

    python -m tests.benchmarks.alarms DATA ROWS.jsonl [--sets NAME ...] [--halves 17] [--most 400] [--size 64]
    python -m tests.benchmarks.alarms DATA ROWS.jsonl --planted [--changes flipped,merged,...]
    python -m tests.benchmarks.alarms --judge ROWS.jsonl

DATA contains the sets as DATA/NAME/<class>/<file>. One line per pair of audits, written when it is done; existing lines are not
recomputed. `--halves`: random halves of a set (groups are not split) are audited in turn in one store under one name; an alarm is an
alert that the second audit opens. `--planted`: a set is audited, changed, and audited again: the alerts that open and close.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import dataprops
from tests.benchmarks.changes import SETS

ALONE = r"^(.*)$"
COARSER = 5  # times fewer pixels on a side
TWICE, NOISE = 0.05, 4.0  # of a class, and grey levels, that stand a second time under another label
COPIES = 0.1  # of the training images that a leak puts into the test split
Files = dict[str, list[Path]]


def drawn(folder: Path, most: int) -> Files:
    """Class -> files, at most so many in all, the same number of each class where there are enough."""
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    out = {}
    for entry in classes:
        files = sorted(entry.iterdir())
        random.Random(0).shuffle(files)
        out[entry.name] = files[: most // len(classes)]
    return out


def add(files: Files, folder: Path) -> None:
    """Copy them to folder/<class>/."""
    for name, part in files.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in part:
            shutil.copyfile(file, folder / name / file.name)


def put(files: Files, folder: Path) -> None:
    """Nothing but them in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    add(files, folder)


def half(files: Files, pattern: str, draw: int, side: int) -> Files:
    """One of two random halves; files of one group are on one side."""
    found = {file: re.search(pattern, file.stem) for part in files.values() for file in part}
    group = {file: match[1] if match else file.stem for file, match in found.items()}
    names = sorted(set(group.values()))
    first = set(np.array(names, object)[np.random.default_rng([draw, 3]).permutation(len(names))[: len(names) // 2]])
    return {name: [f for f in part if (group[f] in first) == (side == 0)] for name, part in files.items()}


def told(folder: Path, store: Path, name: str, size: int) -> dict[str, Any]:
    """An audit's alerts by name, and its change since the one before."""
    summary = dataprops.audit(str(folder), store=str(store), name=name, size=size)
    change = next(p for p in summary["predictions"] if p["name"] == "log_loss_change")
    return {
        "alerts": {alert["name"]: [alert["severity"], alert["value"]] for alert in summary["alerts"]},
        "change": {key: change[key] for key in ("value", "low", "high", "withheld")},
    }


def compared(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Alerts that opened and closed between two audits, and the change of the probe's loss."""
    one, two = before["alerts"], after["alerts"]
    opened = {name: told for name, told in two.items() if name not in one}
    return {"opened": opened, "closed": sorted(set(one) - set(two)), "change": after["change"]}


# what is planted: the first state and the changed one, from all files of the set
def _flipped(files: Files) -> Files:
    rng, names = random.Random(1), list(files)
    every = [(name, file) for name, part in files.items() for file in part]
    moved = set(rng.sample(range(len(every)), round(0.1 * len(every))))
    out: Files = {name: [] for name in names}
    for i, (name, file) in enumerate(every):
        out[rng.choice([n for n in names if n != name]) if i in moved else name].append(file)
    return out


def _merged(files: Files) -> Files:
    first, second, *rest = files
    return {first: files[first] + files[second]} | {name: files[name] for name in rest}


def _coarse(folder: Path, same_size: bool) -> None:
    for file in sorted(folder.rglob("*.*")):
        with Image.open(file) as image:
            kept = image.convert(image.mode if image.mode in ("L", "RGB") else "RGB")
        width, height = (max(1, side // COARSER) for side in kept.size)
        small = kept.resize((width, height), Image.Resampling.BOX)
        made = small.resize(kept.size, Image.Resampling.BICUBIC) if same_size else small
        if file.suffix.lower() in (".jpg", ".jpeg"):
            made.save(file, quality=95)
        else:
            made.save(file)


def _split(files: Files, folder: Path, leak: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, part in files.items():
        train, test = part[: len(part) * 2 // 3], part[len(part) * 2 // 3 :]
        add({name: train}, folder / "train")
        add({name: test}, folder / "test")
        for file in train[: round(COPIES * len(train))] if leak else ():
            shutil.copyfile(file, folder / "test" / name / f"again_{file.name}")


def _sharper(files: Files, folder: Path) -> None:
    """A twentieth of each class stands a second time in the next class, with noise of `NOISE` grey levels."""
    put(files, folder)
    names, rng = list(files), np.random.default_rng(2)
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        for file in files[name][: round(TWICE * len(files[name]))]:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"), float)
            noisy = np.clip(pixels + rng.normal(0, NOISE, pixels.shape), 0, 255).round().astype(np.uint8)
            Image.fromarray(noisy).save(folder / other / f"twice_{file.stem}.png")


def _fewer(files: Files) -> Files:
    return {name: part[: round(len(part) / 1.2)] for name, part in files.items()}


CHANGES: dict[str, tuple[Callable[[Files, Path], None], Callable[[Files, Path], None]]] = {
    "flipped": (put, lambda files, to: put(_flipped(files), to)),
    "merged": (put, lambda files, to: put(_merged(files), to)),
    "smaller": (put, lambda files, to: (put(files, to), _coarse(to, same_size=False))[0]),
    "blurred": (put, lambda files, to: (put(files, to), _coarse(to, same_size=True))[0]),
    "sharper": (put, _sharper),
    "leak_removed": (lambda files, to: _split(files, to, leak=True), lambda files, to: _split(files, to, leak=False)),
    "more_20": (lambda files, to: put(_fewer(files), to), put),
}


def planted(files: Files, name: str, change: str, size: int) -> dict[str, Any]:
    """The two audits around a planted change."""
    first, second = CHANGES[change]
    with tempfile.TemporaryDirectory() as made:
        folder, store = Path(made) / "set", Path(made) / "store"
        first(files, folder)
        before = told(folder, store, name, size)
        second(files, folder)
        return compared(before, told(folder, store, name, size)) | {"before": before["alerts"]}


def halves(files: Files, name: str, draws: range, size: int) -> Iterator[dict[str, Any]]:
    """One line for each draw: the alerts that the second half opens, audited after the first."""
    with tempfile.TemporaryDirectory() as made:
        folder, store = Path(made) / "set", Path(made) / "store"
        for draw in draws:
            states = []
            for side in (0, 1):
                put(half(files, SETS.get(name, ALONE), draw, side), folder)
                states.append(told(folder, store, name, size))
            yield {"draw": draw} | compared(*states) | {"before": states[0]["alerts"]}


def judged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of random halves: pairs, and of each alert in how many it opened, and on which sets."""
    pairs = [row for row in rows if "draw" in row]
    opened = Counter(name for row in pairs for name in row["opened"])
    sets = {name: sorted({row["set"] for row in pairs if name in row["opened"]}) for name in opened}
    return {
        "pairs": len(pairs),
        "opened": {name: {"times": times, "sets": sets[name]} for name, times in opened.most_common()},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("rows", type=Path, nargs="?")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--halves", type=int, default=17)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--changes", default=",".join(CHANGES))
    parser.add_argument("--judge", action="store_true")
    asked = parser.parse_args()
    if asked.judge:
        print(json.dumps(judged([json.loads(line) for line in asked.data.read_text().splitlines()]), indent=1))
        return
    done = [json.loads(line) for line in asked.rows.read_text().splitlines()] if asked.rows.exists() else []
    there = {(row["set"], row.get("draw"), row.get("planted")) for row in done}

    def write(row: dict[str, Any]) -> None:
        with asked.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    for name in asked.sets:
        files = drawn(asked.data / name, asked.most)
        if asked.planted:
            for change in asked.changes.split(","):
                if (name, None, change) not in there:
                    write({"set": name, "planted": change} | planted(files, name, change, asked.size))
            continue
        begun = sum((name, draw, None) in there for draw in range(asked.halves))
        for row in halves(files, name, range(begun, asked.halves), asked.size):
            write({"set": name} | row)


if __name__ == "__main__":
    main()
