"""The distance engine against its peers, in one run on the same arrays: ``python -m tests.benchmarks.engine``.

Prints one JSON line. Ratios are of medians, peer over us (how many times faster we are): faiss and scikit-learn against the
neighbours alone, scikit-dimension's MLE and DADApy's TwoNN against the pass that collects everything, including these estimates.
Utilisation is the throughput of the pass (each pair counted once) over that of the bare products of the same tiles in the same run;
`incremental_1pct` is the cost of 1 % new images over that of a full pass. ``--quick`` skips the large shapes, ``--gpu`` measures only
the engine on a CUDA device. ``--real DIR`` measures sets of real images and prints ``{set: {faiss, sklearn, utilisation,
default_audit_over_k20}}``: peers over us, utilisation, and the passes of a default audit over the pass for neighbours only. DADApy's
wheels require NumPy 1: give the Python of such an environment with ``--dadapy``, and it is timed there on the same arrays.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from dataprops.distances.allpairs import Runner, all_pairs, array_rows, load_block
from dataprops.distances.anchors import anchor_pass, choose_anchors
from dataprops.distances.gpu import EDGE as GPU_EDGE
from dataprops.distances.incremental import Contents, PreviousPass, update
from dataprops.distances.plan import Resources, plan_pass
from dataprops.distances.product import choose_route, product
from dataprops.distances.state import PassSpec
from dataprops.distances.tiles import EDGE
from dataprops.errors import DatapropsError
from dataprops.properties.estimators import estimate_all, from_samples, groups
from dataprops.util.tools import cores
from tests.benchmarks.data import images

K = 20
PATIENCE = 20.0  # seconds of a peer after which it is not run again
IMAGENET = 1_281_167  # training images, at 224 x 224 x 3


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def median_seconds(work: Callable[[], object], runs: int, warm: bool = True) -> float:
    """Median of some runs after one that warms up."""
    if warm:
        work()
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def ours(pixels: np.ndarray, y: np.ndarray | None, spec: PassSpec, threads: int):
    """A pass over an array as the audit makes it."""
    n, features = pixels.shape
    plan = plan_pass(n, features, spec.k, Resources(threads=threads))
    return all_pairs(array_rows(pixels, y), spec, plan, Runner(threads))


def tile_rate(pixels: np.ndarray, threads: int, runs: int = 3) -> float:
    """Operations per second of bare products of the pass's tiles, one tile for each thread at a time."""
    block = load_block(array_rows(pixels), np.arange(min(len(pixels), 2 * EDGE * threads)))
    route = choose_route("cpu")
    edge = min(EDGE, block.n)
    tiles = [block.shifted[i * edge : (i + 1) * edge] for i in range(block.n // edge)]
    pairs = [(a, b) for a in tiles for b in tiles] * (4 if len(tiles) == 1 else 1)
    pairs = pairs[: max(4, 3_000_000_000 // (edge * pixels.shape[1] * 10))]

    def one(number: int) -> None:
        torch.set_num_threads(1)
        for a, b in pairs[number::threads]:
            product(a, b, route)

    def all_threads() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, range(threads)))

    seconds = median_seconds(all_threads, runs)
    return 2.0 * edge * edge * pixels.shape[1] * len(pairs) / seconds


def default_spec(pixels: np.ndarray) -> PassSpec:
    """What the default audit's own pass collects."""
    from dataprops.audit.config import AuditConfig
    from dataprops.audit.stages.distances import pass_spec

    return pass_spec(AuditConfig(source="benchmark"), *pixels.shape, numeric=False)


def measure_real(pixels: np.ndarray, y: np.ndarray, threads: int, runs: int) -> dict[str, float]:
    """The ratios of one set of real images; we and each peer take turns, so that all meet the same disturbances."""
    n, features = pixels.shape
    every, default = PassSpec(K), default_spec(pixels)
    peers = {"faiss": faiss_search(pixels, threads), "sklearn": sklearn_search(pixels)}
    rate = tile_rate(pixels, threads)
    mine, whole, theirs = [], [], {name: [] for name in peers}
    ours(pixels, None, every, threads)
    ours(pixels, y, default, threads)
    for turn in range(runs):
        for name, work in peers.items():
            if turn and sum(theirs[name]) > PATIENCE:
                continue
            torch.set_num_threads(threads)
            theirs[name].append(seconds_of(work))
            mine.append(seconds_of(lambda: ours(pixels, None, every, threads)))
        whole.append(seconds_of(lambda: default_passes(pixels, y, default, threads)))
    plain = statistics.median(mine)
    out = {name: round(statistics.median(seconds) / plain, 2) for name, seconds in theirs.items()}
    out["utilisation"] = round(n * (n - 1) * features / rate / plain, 3)
    out["default_audit_over_k20"] = round(statistics.median(whole) / plain, 3)
    peers_told = ", ".join(f"{name} {statistics.median(seconds):.2f} s" for name, seconds in theirs.items())
    say(f"{n} x {features}: ours {plain:.3f} s, default audit {statistics.median(whole):.3f} s, {peers_told}")
    return out


def default_passes(pixels: np.ndarray, y: np.ndarray, spec: PassSpec, threads: int) -> None:
    """The passes of a default audit: that over all pairs, and GeoMLE's own from a sample to all."""
    result = ours(pixels, y, spec, threads)
    rows = array_rows(pixels, y)
    for row in from_samples(groups(), rows.n):
        chosen = choose_anchors(rows.primary, row.points, 0)
        plan = plan_pass(rows.n, rows.features, row.collected, Resources(threads=threads), anchors=len(chosen))
        asked = PassSpec(row.collected, sharp=False)
        anchor_pass(rows, chosen, asked, plan, Runner(threads), sketches=result.sketches)


def seconds_of(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def real(folder: Path, threads: int, runs: int) -> dict[str, dict[str, float]]:
    """The ratios of each set in a directory of folders."""
    from tests.benchmarks.real import LEAST, real_set

    out = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            some = real_set(place)
        except DatapropsError as error:
            say(f"{place.name} is left out: {error}")
            continue
        if len(some.pixels) < LEAST:
            say(f"{place.name} is left out: {len(some.pixels)} images")
            continue
        say(place.name)
        out[some.name] = measure_real(some.pixels, some.y, threads, runs)
    return out


def faiss_search(pixels: np.ndarray, threads: int) -> Callable[[], object]:
    import faiss

    faiss.omp_set_num_threads(threads)
    vectors = pixels.astype(np.float32)

    def work() -> object:
        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(vectors)
        return index.search(vectors, K + 1)

    return work


def sklearn_search(pixels: np.ndarray) -> Callable[[], object]:
    from sklearn.neighbors import NearestNeighbors

    vectors = pixels.astype(np.float32)
    return lambda: NearestNeighbors(n_neighbors=K, algorithm="brute").fit(vectors).kneighbors()


def skdim_mle(pixels: np.ndarray, threads: int) -> Callable[[], object]:
    from skdim.id import MLE

    vectors = pixels.astype(np.float32)
    return lambda: MLE().fit(vectors, n_neighbors=K, n_jobs=threads)


DADAPY = """
import sys, time, numpy as np
from dadapy import Data
vectors, threads, seconds = np.load(sys.argv[1]).astype(float), int(sys.argv[2]), 0.0
for _ in range(int(sys.argv[3])):
    begin = time.perf_counter()
    data = Data(vectors, verbose=False, n_jobs=threads)
    data.compute_distances(maxk=2)
    data.compute_id_2NN()
    seconds = time.perf_counter() - begin
print(seconds)
"""


def dadapy_seconds(pixels: np.ndarray, threads: int, python: str, warm: bool) -> float:
    """Seconds of DADApy's TwoNN in a Python of its own, reading and starting not counted; after a run that warms up, if asked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.npy"
        np.save(file, pixels)
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        done = subprocess.run(
            [python, "-c", DADAPY, str(file), str(threads), "2" if warm else "1"],
            env=os.environ | limits,
            capture_output=True,
            text=True,
            check=True,
        )
    return float(done.stdout.split()[-1])


def measured_set(pixels: np.ndarray, y: np.ndarray, spec: PassSpec, threads: int) -> None:
    """The pass with everything collected, and the two families of estimates that the peers give."""
    state = ours(pixels, y, spec, threads).state
    estimate_all(np.sqrt(state.knn_d2), state.knn_index, pixels.shape[1], K, groups=("mle", "twonn"))


def measure(n: int, features: int, threads: int, runs: int, dadapy: str | None, out: dict) -> None:
    """Fill `out` with the ratios for one shape."""
    pixels = images(n, features)
    y = np.arange(n) % 2.0
    rate = tile_rate(pixels, threads)
    plain = median_seconds(lambda: ours(pixels, None, PassSpec(K), threads), runs)
    near2 = 4.0 * features
    full = median_seconds(lambda: ours(pixels, y, PassSpec(K, near2=near2), threads), runs)
    name = str(features)
    out[f"seconds_{name}"] = round(plain, 3)
    out[f"tile_gops_{name}"] = round(rate / 1e9)
    out[f"utilisation_{name}"] = round(n * (n - 1) * features / rate / plain, 3)
    out[f"reductions_{name}"] = round(full / plain - 1, 3)
    estimates = median_seconds(lambda: measured_set(pixels, y, PassSpec(K, near2=near2), threads), runs)
    say(f"{n} x {features}: {plain:.3f} s, everything collected {full:.3f} s, with estimates {estimates:.3f} s")
    torch.set_num_threads(threads)
    peers = {
        "faiss": (faiss_search(pixels, threads), plain),
        "sklearn": (sklearn_search(pixels), plain),
        "skdim": (skdim_mle(pixels, threads), estimates),
    }
    wide = features >= 10_000  # minutes each at the large shape: one run, for which nothing needs to be warm
    for peer, (work, mine) in peers.items():
        seconds = median_seconds(work, 1 if wide else max(1, runs // 2), warm=not wide)
        out[f"{peer}_{name}"] = round(seconds / mine, 2)
        say(f"{peer}: {seconds:.2f} s")
    if dadapy:
        seconds = dadapy_seconds(pixels, threads, dadapy, not wide)
        out[f"dadapy_{name}"] = round(seconds / estimates, 2)
        say(f"dadapy: {seconds:.2f} s")


def incremental(n: int, features: int, threads: int, runs: int, out: dict) -> None:
    """The cost of 1 % new images."""
    pixels = images(n + n // 100, features, seed=1)
    y = np.arange(len(pixels)) % 2.0
    spec = PassSpec(K, near2=4.0 * features)
    names = np.array([f"{i:08d}" for i in range(len(pixels))], dtype=object)
    every = np.ones(len(pixels), bool)
    full_seconds = median_seconds(lambda: ours(pixels[:n], y[:n], spec, threads), runs)
    first = ours(pixels[:n], y[:n], spec, threads)
    near = (*first.near.arrays(), first.near.count)
    known = PreviousPass(names[:n], y[:n], every[:n], first.state, *near, spec, first.sketches)
    plan = plan_pass(len(pixels), features, K, Resources(threads=threads))
    rows = array_rows(pixels, y)
    contents = Contents(names, np.arange(len(pixels), dtype=np.int32))
    seconds = median_seconds(lambda: update(known, rows, contents, spec, plan, Runner(threads)), runs)
    out["incremental_1pct"] = round(seconds / full_seconds, 4)
    say(f"1 % more than {n}: {seconds:.3f} s, a full pass {full_seconds:.3f} s")


def scaling(features: int, threads: int, out: dict) -> None:
    """Pairs per second against N."""
    rates = {}
    for n in (5_000, 10_000, 20_000, 40_000):
        pixels = images(n, features)
        seconds = median_seconds(lambda pixels=pixels: ours(pixels, None, PassSpec(K), threads), 2)
        rates[n] = round(n * (n - 1) / 2 / seconds / 1e6)
        say(f"N = {n}: {seconds:.2f} s, {rates[n]} M pairs/s")
    out["million_pairs_per_second"] = rates


def device_rate(features: int, device: str) -> float:
    """Operations per second of bare products of the pass's tiles on a device."""
    route = choose_route(device)
    tiles = [torch.randint(-128, 128, (GPU_EDGE, features), dtype=torch.int8).to(device) for _ in range(2)]

    def work() -> None:
        for _ in range(8):
            product(*tiles, route)
        if device != "cpu":
            torch.cuda.synchronize()

    return 8 * 2.0 * GPU_EDGE * GPU_EDGE * features / median_seconds(work, 3)


# n, features, k, labels: more and fewer rows than a tile, fewer features than cuBLAS takes, more than int32 holds
EQUAL = (
    (1_000, 48, 5, "classes"),
    (1_500, 784, 20, "numbers"),
    (20_000, 784, 20, "classes"),
    (17_000, 3_072, 20, "copies"),
    (9_000, 3_072, 160, "classes"),
    (700, 50_176, 20, "copies"),
    (40, 150_528, 20, "classes"),
    (2_000, 150_528, 20, "classes"),
    (2_000, 1, 5, "classes"),
)
PASSES = ((20_000, 3_072), (50_000, 3_072), (200_000, 3_072), (20_000, 150_528), (50_000, 150_528))


def equal_on(device: str, n: int, features: int, k: int, labels: str) -> bool:
    """Whether a pass on the device ends in the same bits as on CPUs."""
    pixels, rng = images(n, features), np.random.default_rng(n)
    tenth = n // 10
    if labels == "copies":
        pixels[n // 2 : n // 2 + tenth] = pixels[:tenth]
        pixels[-tenth:] = np.clip(pixels[:tenth] + rng.integers(-1, 2, (tenth, features)), 0, 255)
    y = rng.normal(size=n).round(1) if labels == "numbers" else np.arange(n) % 3.0
    rows, spec = array_rows(pixels, y), PassSpec(k, near2=4.0 * features, numeric=labels == "numbers")
    one = all_pairs(rows, spec, plan_pass(n, features, k, Resources(threads=cores())), Runner(cores()))
    two = all_pairs(rows, spec, plan_pass(n, features, k, Resources(device=device)), Runner(cores(), device))
    pairs = zip((*one.state, *one.near.arrays()), (*two.state, *two.near.arrays()), strict=True)
    return all(np.array_equal(x, z) for x, z in pairs)


def gpu(out: dict, device: str = "cuda", passes=PASSES, equal=EQUAL, distinct: int = 5_000) -> None:
    """The engine on a device: equality with the CPU, passes, and what ImageNet would take."""
    out["equal_to_cpu"] = [equal_on(device, *case) for case in equal]
    say(f"equal to the CPU's: {out['equal_to_cpu']}")
    out["device"] = torch.cuda.get_device_name() if device.startswith("cuda") else device
    out["date"], out["threads"] = time.strftime("%Y-%m-%d"), cores()
    pixels = images(distinct, max(features for _, features in passes))
    rates = {features: device_rate(features, device) for _, features in passes}
    for n, features in passes:
        large = np.tile(pixels[:, :features], (-(-n // distinct), 1))[:n]
        large[:, :4] = np.arange(n, dtype="<u4").view(np.uint8).reshape(n, 4)  # no two alike
        plan = plan_pass(n, features, K, Resources(device=device))
        seconds = seconds_of(
            lambda large=large, plan=plan: all_pairs(array_rows(large), PassSpec(K), plan, Runner(cores(), device))
        )
        done = n * (n - 1) * features / seconds
        out[f"gpu_{n}_{features}"] = {
            "seconds": round(seconds, 2),
            "tops": round(done / 1e12, 1),
            "utilisation": round(done / rates[features], 3),
            "imagenet_hours": round(IMAGENET**2 * 150_528 / done / 3600, 2),
        }
        say(f"{device}, {n} x {features}: {out[f'gpu_{n}_{features}']}")


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--real", type=Path, metavar="DIR", help="real images: every folder in DIR is a set")
    parser.add_argument("--quick", action="store_true", help="small shape only, no scaling")
    parser.add_argument("--dadapy", metavar="PYTHON", help="Python of an environment with dadapy")
    parser.add_argument("--gpu", action="store_true", help="on a CUDA device")
    options = parser.parse_args()
    if options.real:
        print(json.dumps(real(options.real, options.threads, options.runs)))
        return
    out: dict = {"threads": options.threads, "torch": torch.__version__, "route": choose_route("cpu")}
    if options.gpu:
        if not torch.cuda.is_available():
            parser.error("no CUDA device is available here")
        gpu(out)
    else:
        measure(10_000, 3_072, options.threads, options.runs, options.dadapy, out)
        incremental(20_000, 3_072, options.threads, options.runs, out)
        if not options.quick:
            scaling(3_072, options.threads, out)
            measure(10_000, 50_176, options.threads, 3, None, out)  # DADApy's copies in float64 would take the memory
    print(json.dumps(out))


if __name__ == "__main__":
    main()
