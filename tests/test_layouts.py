"""One set in every container and every table there is gives equal images, labels, splits and patients; the README tells the rules."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dataprops.audit import audit
from dataprops.audit.config import AuditConfig, place_of
from dataprops.audit.stages.decode import decode as decode_images
from dataprops.audit.stages.scan import scan
from dataprops.audit.workspace import Run, start_run
from dataprops.errors import DatapropsError
from dataprops.imaging.decode import decode
from dataprops.sources import SOURCES, SourceOptions, open_source
from dataprops.util.tools import inline_tools
from tests.make_images import encoded, random_folder

Row = tuple[str, str, str, bytes, np.ndarray]  # split, class, patient, PNG, pixels
PATTERN = r"/p(\d+)_\d+\.(?:png|npy)"


def name_of(number: int, row: Row) -> str:
    return f"{row[0]}/{row[1]}/p{row[2]}_{number}.png"


def folder(rows: list[Row], root: Path) -> Path:
    for number, row in enumerate(rows):
        file = root / "set" / name_of(number, row)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(row[3])
    return root / "set"


def wrapped(rows: list[Row], root: Path) -> Path:
    folder(rows, root / "outer" / "v1")
    return root / "outer"


def zipped(rows: list[Row], root: Path, slash: str = "/") -> Path:
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        for number, row in enumerate(rows):
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = "pets" + slash + name_of(number, row).replace("/", slash), 0
            archive.writestr(info, row[3])
    return root / "set.zip"


def tarred(rows: list[Row], root: Path, mode: str = "w", before: str = "") -> Path:
    path = root / f"set.tar{mode[1:].replace(':', '.')}"
    with tarfile.open(path, mode) as archive:
        for number, row in enumerate(rows):
            info = tarfile.TarInfo(before + name_of(number, row))
            info.size = len(row[3])
            archive.addfile(info, io.BytesIO(row[3]))
    return path


def webdataset(rows: list[Row], root: Path) -> Path:
    with tarfile.open(root / "w.tar", "w") as archive:
        for number, (split, name, patient, data, _) in enumerate(rows):
            told = json.dumps({"label": name, "split": split, "group": patient}).encode()
            for ending, content in ((".png", data), (".json", told)):
                info = tarfile.TarInfo(f"{number:04d}{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return root / "w.tar"


def table(rows: list[Row], root: Path, separator: str, encoding: str, ending: str = ".csv", slash: str = "/") -> Path:
    folder(rows, root)
    lines = [separator.join(("path", "label", "split", "group"))]
    for number, row in enumerate(rows):
        lines.append(separator.join((f"set/{name_of(number, row)}".replace("/", slash), row[1], row[0], row[2])))
    (root / f"m{ending}").write_bytes("\n".join(lines).encode(encoding))
    return root / f"m{ending}"


def lines(rows: list[Row], root: Path) -> Path:
    folder(rows, root)
    told = [
        {"path": f"set/{name_of(number, row)}", "label": row[1], "split": row[0], "group": row[2]}
        for number, row in enumerate(rows)
    ]
    (root / "m.jsonl").write_text("\n".join(map(json.dumps, told)))
    return root / "m.jsonl"


def told_of(rows: list[Row], before: str = "set/") -> list[dict[str, str]]:
    return [
        {"path": before + name_of(number, row), "label": row[1], "split": row[0], "group": row[2]}
        for number, row in enumerate(rows)
    ]


def sheet(rows: list[Row], root: Path) -> Path:
    folder(rows, root)
    pd.DataFrame(told_of(rows)).to_excel(root / "m.xlsx", index=False)
    return root / "m.xlsx"


def by_split(rows: list[Row], root: Path) -> Path:
    folder(rows, root)
    splits: dict[str, list] = {}
    for row in told_of(rows):
        splits.setdefault(row.pop("split"), []).append(row)
    (root / "m.json").write_text(json.dumps(splits))
    return root / "m.json"


def listed(rows: list[Row], root: Path) -> Path:
    folder(rows, root)
    (root / "all.txt").write_text("".join(f"{row['path']} {row['label']}\n" for row in told_of(rows)), encoding="utf-8")
    return root / "all.txt"


def beside(rows: list[Row], root: Path) -> Path:
    """All images in one folder, and a table that names them."""
    for number, row in enumerate(rows):
        file = root / "flat" / "images" / f"p{row[2]}_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(row[3])
    names = [f"images/{row['path'].rpartition('/')[2]}" for row in told_of(rows)]
    told = pd.DataFrame(told_of(rows)).rename(columns={"path": "file_name"}).assign(file_name=names)
    told.to_csv(root / "flat" / "metadata.csv", index=False)
    return root / "flat"


def beside_in_zip(rows: list[Row], root: Path) -> Path:
    place = beside(rows, root)
    return Path(shutil.make_archive(str(root / "flat"), "zip", place))


def lists_of_splits(rows: list[Row], root: Path) -> Path:
    for number, row in enumerate(rows):
        file = root / "listed" / "images" / row[1] / f"p{row[2]}_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(row[3])
    for split in ("train", "test"):
        names = [f"{row[1]}/p{row[2]}_{number}" for number, row in enumerate(rows) if row[0] == split]
        (root / "listed" / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
    return root / "listed"


def pixels(rows: list[Row], root: Path) -> Path:
    told = (
        pd.DataFrame(told_of(rows))
        .drop(columns="path")
        .assign(pixels=[" ".join(map(str, row[4].ravel())) for row in rows])
    )
    told.to_csv(root / "pixels.csv", index=False)
    return root / "pixels.csv"


def a_file_each(rows: list[Row], root: Path) -> Path:
    for number, row in enumerate(rows):
        file = root / "npy" / name_of(number, row).replace(".png", ".npy")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, row[4])
    return root / "npy"


def columns(rows: list[Row]) -> pa.Table:
    names = sorted({row[1] for row in rows})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    held = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table(
        {
            "image": pa.array([{"bytes": row[3], "path": None} for row in rows], held),
            "label": pa.array([names.index(row[1]) for row in rows], pa.int64()),
            "split": pa.array([row[0] for row in rows]),
            "group": pa.array([row[2] for row in rows]),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def parquet(rows: list[Row], root: Path) -> Path:
    pq.write_table(columns(rows), root / "hub.parquet", row_group_size=2)
    return root / "hub.parquet"


def arrow(rows: list[Row], root: Path) -> Path:
    (root / "disk").mkdir()
    made = columns(rows)
    with pa.OSFile(str(root / "disk" / "data-0.arrow"), "wb") as file, pa.ipc.new_stream(file, made.schema) as writer:
        writer.write_table(made)
    return root / "disk"


def halves(rows: list[Row]) -> dict[str, np.ndarray]:
    out = {}
    for split in sorted({row[0] for row in rows}):
        own = [row for row in rows if row[0] == split]
        out[f"{split}_images"] = np.stack([row[4] for row in own])
        out[f"{split}_labels"] = np.array([row[1] for row in own])
    return out


def npz(rows: list[Row], root: Path) -> Path:
    np.savez(root / "set.npz", **halves(rows))
    return root / "set.npz"


def hdf5(rows: list[Row], root: Path) -> Path:
    with h5py.File(root / "set.h5", "w") as file:
        for name, values in halves(rows).items():
            text = h5py.string_dtype() if values.dtype.kind == "U" else None
            file.create_dataset(name, data=values.tolist() if text else values, dtype=text)
    return root / "set.h5"


FORMS: dict[str, Callable[[list[Row], Path], Path]] = {
    "wrapped": wrapped,
    "zip": zipped,
    "zip of Windows": lambda rows, root: zipped(rows, root, "\\"),
    "tar": tarred,
    "tar of .": lambda rows, root: tarred(rows, root, before="./"),
    "tar.gz": lambda rows, root: tarred(rows, root, "w:gz"),
    "tar.xz": lambda rows, root: tarred(rows, root, "w:xz"),
    "webdataset": webdataset,
    "csv": lambda rows, root: table(rows, root, ",", "utf-8"),
    "csv of Excel": lambda rows, root: table(rows, root, ";", "utf-16", slash="\\"),
    "tsv": lambda rows, root: table(rows, root, "\t", "cp1252", ".tsv"),
    "jsonl": lines,
    "json": by_split,
    "excel": sheet,
    "list": listed,
    "imagefolder": beside,
    "imagefolder in a zip": beside_in_zip,
    "lists of splits": lists_of_splits,
    "pixel table": pixels,
    "file for each array": a_file_each,
    "parquet": parquet,
    "save_to_disk": arrow,
    "npz": npz,
    "hdf5": hdf5,
}
WITHOUT_PATIENTS = ("npz", "hdf5")


def told(place: Path, patients: bool) -> list[tuple]:
    """Every image of a source, with its label, split and patient, in an order of its own."""
    source = open_source(str(place), SourceOptions(group_pattern=PATTERN if patients else None))
    listing = source.scan()
    images = {}
    for key, image in zip(listing["key"], (source.read(key) for key in listing["key"]), strict=True):
        images[key] = (decode(image) if isinstance(image, bytes) else image).pixels.tobytes()
    found = zip(*(listing[name] for name in ("key", "label", "split", "group")), strict=True)
    return sorted((images[key], label, split, group if patients else None) for key, label, split, group in found)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(8, 14),
    names=st.sampled_from([("cat", "dog"), ("bös", "gut"), ("0", "1")]),
)
def test_a_set_is_the_same_in_every_container_and_table(
    tmp_path_factory, seed: int, n: int, names: tuple[str, str]
) -> None:
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for number in range(n):
        grey = rng.integers(0, 256, (7, 7), np.uint8)
        split = ("train", "test")[number % 2] if number < 4 else str(rng.choice(["train", "test"]))
        label = names[number // 2 % 2] if number < 4 else str(rng.choice(names))
        rows.append((split, label, str(rng.integers(1, 5)), encoded(grey), grey))
    root = tmp_path_factory.mktemp("forms")
    wanted = {patients: told(folder(rows, root / "plain"), patients) for patients in (True, False)}
    assert [row[1:] for row in wanted[True]] == [
        row[1:] for row in sorted((grey.tobytes(), label, split, patient) for split, label, patient, _, grey in rows)
    ]
    for form, write in FORMS.items():
        place = root / form.replace(" ", "_")
        place.mkdir()
        patients = form not in WITHOUT_PATIENTS
        assert told(write(rows, place), patients) == wanted[patients], form
    shutil.rmtree(root)


def rule_table() -> str:
    rows = ["| source | rules |", "|---|---|"]
    for name, row in SOURCES.items():
        if row.rules:
            rules = (f"`{rule}`: {', '.join(values) if values else 'any'}" for rule, values in row.rules.items())
            rows.append(f"| `{name}` | {'; '.join(rules)} |")
    return "\n".join(rows)


def test_the_readme_lists_the_rules_that_sources_have() -> None:
    text = (Path(__file__).parents[1] / "dataprops" / "sources" / "README.md").read_text(encoding="utf-8")
    (generated,) = re.findall(r"<!-- generated[^\n]*\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert generated == rule_table()


# whole audits


def test_the_account_stands_in_the_summary_and_a_share_that_was_lost_is_an_alert(tmp_path: Path) -> None:
    random_folder(tmp_path / "set", {"cat": 12, "dog": 12})
    for number in range(4):
        (tmp_path / "set" / "cat" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "set" / "notes.txt").write_text("x")
    summary = audit(
        tmp_path / "set", store=str(tmp_path / "store"), size=16, k=5, draws=2, estimators=("mle",), probe=False
    )
    assert summary["left_out"] == {
        "count": 5,
        "by_reason": {"image in a format that is not read": 4, "companion file": 1},
        "files": ["cat/0.heic", "cat/1.heic", "cat/2.heic", "cat/3.heic", "notes.txt"],
    }
    assert summary["decisions"] == [
        {"what": "classes", "value": "cat, dog", "why": "folder names", "option": "--layout"}
    ]
    (alert,) = [alert for alert in summary["alerts"] if alert["name"] == "left_out"]
    assert alert["severity"] == "warning"
    found = pd.read_parquet(Path(summary["results"]) / "findings.parquet")
    (detail, *_) = found.loc[found["kind"] == "left_out", "detail"]
    assert detail == "“cat/0.heic” was left out: image in a format that is not read."


def test_a_size_that_enlarges_every_image_is_told(tmp_path: Path) -> None:
    random_folder(tmp_path / "set", {"cat": 12, "dog": 12})
    with Image.open(next((tmp_path / "set").rglob("*.*"))) as one:
        largest = max(one.size)
    few = {"k": 5, "draws": 2, "estimators": ("mle",), "probe": False}
    for size, told in ((2 * largest, True), (2 * largest - 1, False)):
        summary = audit(tmp_path / "set", store=str(tmp_path / str(size)), size=size, **few)
        made = {decision["what"]: decision["option"] for decision in summary["decisions"]}
        assert made.get("size") == (f"--size {largest}" if told else None)


def stages_of(source: Path, store: Path, name: str = "") -> Run:
    run = start_run(AuditConfig(str(source), store=str(store), size=16, name=name))
    tools = inline_tools(threads=1)
    scan(run, tools)
    decode_images(run, tools)
    return run


def finish(run: Run) -> None:
    """What a later audit looks at of a finished one."""
    run.results.mkdir(parents=True)
    run.files.files.read().to_parquet(run.results / "images.parquet")
    facts = {"run_id": run.run_id, "place": place_of(run.config.source), "results": str(run.results)}
    (run.results / "summary.json").write_text(json.dumps(facts | {"preprocess": {"channels": 1}}))


def test_two_sets_of_one_folder_name_are_no_history(tmp_path: Path) -> None:
    for number, top in enumerate(("retina", "chest")):
        random_folder(tmp_path / top / "images", {"no": 4, "yes": 4}, seed=number)
    store = tmp_path / "store"
    finish(stages_of(tmp_path / "retina" / "images", store))
    with pytest.raises(
        DatapropsError, match=r"retina/images, but .*chest/images has other images.*--name chest-images"
    ):
        stages_of(tmp_path / "chest" / "images", store)
    assert stages_of(tmp_path / "chest" / "images", store, "chest-images").config.dataset == "chest-images"
    assert stages_of(tmp_path / "chest" / "images", store, "images").config.dataset == "images"  # as asked for
    shutil.move(tmp_path / "retina", tmp_path / "elsewhere")  # a set that has moved goes on
    stages_of(tmp_path / "elsewhere" / "images", store)


# machines

ROOT = Path(__file__).parents[1]
CONTAINER = {
    "HOME": "/nonexistent",
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
}


READ_ALL = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
# that this Python, its own library and what it starts may be used
USABLE = """
import subprocess, sys
import numpy, dataprops.util, flows.cli
assert sys.base_prefix == sys.argv[1], f"it takes the library of {sys.base_prefix}"
subprocess.run([sys.executable, "-c", "import encodings"], check=True)
"""


def opened(paths: list[str]) -> list[str]:
    """A command that runs another where folders of root alone hold nothing but these paths, which all may read; [] if none do.

    The view is of a mount namespace, and ends with the command. The files and their rights stay what they are.
    """
    shut: dict[str, list[str]] = {}
    places = {Path(path).resolve() for path in paths}
    for path in sorted(place for place in places if not places & set(place.parents)):
        above = [str(place) for place in reversed(path.parents) if not place.stat().st_mode & 0o001]
        if above:
            shut.setdefault(above[0], []).append(str(path))
    lines = ["set -e; mask=$(umask); umask 022"]
    for folder, inside in shut.items():
        holders = [f"aside{number}" for number in range(len(inside))]
        lines += [
            f'{holder}=$(mktemp -d); mount --bind {shlex.quote(path)} "${holder}"'
            for holder, path in zip(holders, inside, strict=True)
        ]
        lines.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(folder)}")
        lines += [
            f'mkdir -p {shlex.quote(path)}; mount --bind "${holder}" {shlex.quote(path)}; umount "${holder}"; rmdir "${holder}"'
            for holder, path in zip(holders, inside, strict=True)
        ]
    script = "\n".join([*lines, 'umask $mask; exec "$@"'])
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"] if shut else []


@pytest.fixture(scope="module")
def other_user() -> list[str]:
    """A command that runs this Python as a user without a name, who may read this checkout and may not write to it; or skip.

    Where either lies in a folder of root alone (the home of root, a temporary one of CI), the user sees it opened; where no view of
    one's own may be mounted, the user is given the right to read everything.
    """
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root becomes another user, and with setpriv")
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    environment = {**os.environ, **CONTAINER, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        environment.pop(name, None)
    view = opened([sys.base_prefix, sys.prefix, *paths])
    said = ""
    for before, rights in (([], ()), (view, ()), ([], READ_ALL)):
        become = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *rights]
        command = [*before, *become, sys.executable]
        tried = subprocess.run(
            [*command, "-c", USABLE, sys.base_prefix],
            env=environment,
            cwd="/",
            check=False,
            capture_output=True,
            text=True,
        )
        if tried.returncode == 0:
            return ["env", *(f"{name}={environment[name]}" for name in ("PYTHONPATH", *CONTAINER)), *command]
        said = (tried.stderr.strip().splitlines() or ["?"])[-1]
    pytest.skip(f"no other user can read this Python or this checkout: {said}")


def run_as(command: list[str], *arguments: str, cwd: str | Path = "/", **more: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **more}
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "DATAPROPS_TEST_DATA"):
        environment.pop(name, None)
    return subprocess.run(
        [*command, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=500
    )


def test_a_user_without_a_home_and_behind_a_proxy_audits_an_installation_of_root(other_user: list[str]) -> None:
    """The README's first command; without a network, a temporary folder or rights for others, and where names have blanks."""
    place = (
        Path("/tmp") / f"dataprops {os.getpid()} ü"
    )  # not pytest's folder: another pytest takes the rights of others from it
    store, nowhere = place / "eigene Ablage é", place / "full"
    audited = ("-m", "flows.cli", "audit", "digits:", "--size", "8", "--inline", "--json", "--store", str(store))
    cut = ["unshare", "--net"]
    can_cut = shutil.which(cut[0]) and subprocess.run([*cut, "true"], capture_output=True, check=False).returncode == 0
    try:
        nowhere.mkdir(parents=True)
        place.chmod(0o755)
        nowhere.chmod(0o555)
        store.mkdir()
        os.chown(store, 12345, 12345)
        masked = ["sh", "-c", 'umask 077 && exec "$@"', "sh", *(cut if can_cut else []), *other_user]
        done = run_as(masked, *audited, cwd=nowhere, TMPDIR=str(nowhere))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["n_images"] == 1797
        assert any((store / "cache" / "numba").iterdir())  # compiled once for the store, not by each process
        made = [path for path in store.rglob("*") if path.is_file()]
        assert [path for path in made if path.stat().st_mode & 0o077] == []  # the umask is kept
        assert list(nowhere.iterdir()) == []
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.slow
def test_a_user_without_a_home_and_behind_a_proxy_runs_the_tests_of_an_installation_of_root(
    other_user: list[str],
) -> None:
    """The README's second command, with the tests of one file in place of all."""
    asked = (
        "tests/test_names_of_commands.py",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        f"/tmp/dataprops-tests-{os.getpid()}",
    )
    done = run_as(other_user, "-m", "tests", *asked, cwd=ROOT, TMPDIR="/tmp")
    shutil.rmtree(asked[-1], ignore_errors=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert [line for line in done.stdout.splitlines() if line.startswith("== ")] == [
        *("== ruff", "== ruff", "== lint-imports", "== pyright, beside the tests", "== pytest", "== pyright")
    ]


def test_servers_of_this_machine_are_asked_without_the_proxy(monkeypatch) -> None:
    from urllib.request import getproxies, proxy_bypass

    from flows.server import bypass_proxies

    for name, value in CONTAINER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.setenv("NO_PROXY", "example.org")
    bypass_proxies()
    assert getproxies()["http"] == "http://127.0.0.1:9"
    assert all(map(proxy_bypass, ("127.0.0.1:4200", "localhost:1", "example.org")))
    assert not proxy_bypass("other.org")


def test_functions_compile_where_nothing_can_be_kept(monkeypatch) -> None:
    import numba.core.caching

    from dataprops.util.compiled import njit

    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])

    @njit(nogil=True, cache=True)
    def twice(x: int) -> int:
        return 2 * x

    assert twice(3) == 6


def test_columns_that_take_no_part_are_told_with_their_names(tmp_path):
    """A table of many columns: those that were not looked at are a finding, beyond three in four an alert; a small table is not."""
    rng = np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    few = pd.DataFrame({"path": [f"{i}.png" for i in range(24)], "label": ["a", "b"] * 12, "age": range(24)})
    many = few.assign(**{f"note{i}": 1.5 for i in range(9)})
    alerts = {}
    for name, table in (("few", few), ("many", many)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        options = {"size": 8, "k": 3, "draws": 2, "sample": 10, "probe": False, "estimators": ("mle",)}
        summary = audit(tmp_path / f"{name}.csv", store=str(tmp_path / "store"), **options)
        assert summary["findings"]["unused_columns"] == 1
        alerts[name] = [alert["name"] for alert in summary["alerts"] if alert["name"] == "unused_columns"]
    assert alerts == {"few": [], "many": ["unused_columns"]}
    found = pd.read_parquet(Path(summary["results"]) / "findings.parquet")
    (detail,) = found.loc[found["kind"] == "unused_columns", "detail"]
    assert "“age”" in detail and "“note8”" in detail and "“label”" not in detail
