"""Uses of label sharpness: wrong labels among the sharpest pairs compared with the probe, and sharpness of each class.

    python -m tests.benchmarks.sharpness DIR [--sets NAME ...]

One JSON line per set. `flips`: for 5 and 10 % planted wrong labels, three draws: precision among the 50 images with the largest K_j,
the fraction of the 50 sharpest pairs with a wrong label, and precision among the first 50 suspects of the probe. `classes`: for each
class the median K_j and the probe's held-out loss, and their rank correlation.

    python -m tests.benchmarks.sharpness --claims

The paper's four figures from the networks of the shipped calibration: correlations over sources, with bootstrap intervals.

    python -m tests.benchmarks.sharpness --by-size

The generalization and robustness laws among networks of equal N: leave-one-source-out error against that of the mean.

    python -m tests.benchmarks.sharpness DIR --classes | --equal

Rows of the tables of class-conditional sharpness, and of sharpness under equal channels, size and range.

    python -m tests.benchmarks.sharpness --figures dataprops/laws/calibration/probe/claims.svg

The same as figures, with the paper's sets (`calibration/konz2024.csv`, read off its figures) above ours.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from dataprops.imaging.decode import Preprocess, canonical, decode
from dataprops.laws.fitting import sources
from dataprops.laws.networks import load_cells
from dataprops.probe.space import Sampling, measure_space
from dataprops.probe.suspects import suspect_labels
from tests.benchmarks.changes import SETS, Images, audited, load

FIRST, DRAWS = 50, 3


def precision(images: Images, fraction: float, seed: int) -> dict[str, float]:
    """Of the first 50 by each way, how many are planted."""
    from dataprops.probe.calibrate import cross_fitted
    from dataprops.probe.ridge import held_scores, inner_products, targets

    rng = np.random.default_rng([seed, 9])
    n, classes = len(images.y), int(images.y.max()) + 1
    wrong = np.zeros(n, bool)
    wrong[rng.choice(n, round(fraction * n), replace=False)] = True
    y = np.where(wrong, (images.y + rng.integers(1, classes, n)) % classes, images.y)
    space = measure_space(images.x.numpy().reshape(n, -1), y.astype(float), sampling=Sampling(2, 2))
    by_sharpness = np.argsort(-np.nan_to_num(space.sharpness), kind="stable")[:FIRST]
    pairs = wrong[space.sharpest.a[:FIRST]] | wrong[space.sharpest.b[:FIRST]]
    of = audited(images._replace(y=y))
    scores = held_scores(inner_products(of.features), targets(y, classes), of.folds, strengths=(of.strength,)).scores
    suspects = suspect_labels(cross_fitted(scores, y, of.folds), y).image[:FIRST]
    return {
        "sharpest_images": float(wrong[by_sharpness].mean()),
        "sharpest_pairs": float(pairs.mean()),
        "probe": float(wrong[suspects].mean()) if len(suspects) else 0.0,
        "probe_named": len(suspects),
        "chance": fraction,
    }


def by_class(images: Images) -> dict[str, Any]:
    """Median K_j and held-out error of each class."""
    space = measure_space(images.x.numpy().reshape(len(images.y), -1), images.y.astype(float), sampling=Sampling(2, 2))
    losses = audited(images).losses
    classes = range(int(images.y.max()) + 1)
    sharp = [float(np.nanmedian(space.sharpness[images.y == c])) for c in classes]
    loss = [float(losses[images.y == c].mean()) for c in classes]
    rank = float(spearmanr(sharp, loss)[0]) if len(sharp) > 2 else None
    image = float(spearmanr(np.nan_to_num(space.sharpness), losses)[0])
    return {"median_k": sharp, "log_loss": loss, "rank_over_classes": rank, "rank_over_images": image}


def row_of_classes(folder: Path, images: Images) -> str:
    """A line of the table: the class of the sharpest and of the softest images, what they cost the probe, rank correlations."""
    told, names = by_class(images), sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    sharp, loss = np.array(told["median_k"]), np.array(told["log_loss"])
    ends = [f"{names[c]} {1e4 * sharp[c]:.2f} ({loss[c]:.2f})" for c in (sharp.argmax(), sharp.argmin())]
    over = "" if told["rank_over_classes"] is None else f"{told['rank_over_classes']:.2f}"
    images_rank = f"{told['rank_over_images']:.2f}"
    cells = [folder.name, str(len(names)), *ends, f"{sharp.max() / sharp.min():.2f}", over, images_rank]
    return f"| {' | '.join(cells)} |"


EQUAL = (
    Preprocess(32, 3),
    Preprocess(32, 1),
    Preprocess(224, 1),
    Preprocess(224, 1, "per-image-max"),
)


def row_of_equal(folder: Path, most: int) -> str:
    """A line of the table: K_F times the square root of the number of values (1 / grey levels root mean square), by preprocessing."""
    files = sorted(folder.glob("*/*"))
    files = [files[i] for i in np.sort(np.random.default_rng([0, 1]).choice(len(files), min(most, len(files)), False))]
    y = np.unique([file.parent.name for file in files], return_inverse=True)[1]
    raw = [decode(file.read_bytes()) for file in files]
    told = []
    for how in EQUAL:
        flat = np.stack([canonical(image, how)[0].ravel() for image in raw]).astype(np.float64)
        length = (flat**2).sum(1)
        square = length[:, None] + length - 2 * flat @ flat.T  # whole numbers below 2^53: exact
        nearest = square[(y[:, None] != y) & (square > 0)].min()
        told.append(f"{(how.features / nearest) ** 0.5:.4f}")
    return f"| {folder.name} | {' | '.join(told)} |"


def claims(n: int = 256) -> dict[str, Any]:
    """Dimension and sharpness by domain at N images, within grey sets too; and r of loss with d, of loss and penalty with K_F."""
    cells = sources.converged(load_cells())
    cells = cells[cells["n_train"] == n]
    out: dict[str, Any] = {}
    for name, part in (("all", cells), ("grey", cells[cells["channels"] == 1])):
        means = part.groupby(["source", "domain"])[["d_data", "k_f", "k_mean"]].mean().reset_index()
        out[name] = (
            means.groupby("domain")[["d_data", "k_f", "k_mean"]].agg(["mean", "count"]).round(6).to_dict("index")
        )
        out[name] = {domain: {"_".join(k): v for k, v in row.items()} for domain, row in out[name].items()}
    for family, part in cells.groupby("model"):
        means = part.groupby("source")[["d_data", "k_f", "test_loss_scaled", "penalty_2"]].mean()
        loss = np.log(np.maximum(means["test_loss_scaled"], sources.FLOOR_LOSS)).to_numpy()
        d, k, penalty = (means[name].to_numpy() for name in ("d_data", "k_f", "penalty_2"))
        out[str(family)] = {
            "sources": len(means),
            "loss_and_d": _r(d, loss),
            "loss_and_k": _r(np.log(k), loss),
            "penalty_and_k": _r(k, penalty),
        }
    return out


def by_size() -> dict[str, Any]:
    """Target -> N -> family -> sources, misses of the forms, and what law and probe gain over the mean in squares."""
    cells, out = sources.converged(load_cells()), {}
    for target in ("log_loss", "log_penalty"):
        for (n, family), part in cells.groupby(["n_train", "model"]):
            squares = {}
            for form in ("mean", "law_free", "law_fixed", "probe"):
                rows = sources.rows_of(part.reset_index(drop=True), sources.FORMS[form], target)
                squares[form] = sources.by_source(sources.left_out(rows), rows.source)
            told = {form: round(float(np.sqrt(square.mean())), 2) for form, square in squares.items()}
            for form in ("law_free", "probe"):
                gain = sources.bootstrap_sources(squares["mean"] - squares[form])
                told[f"gain_{form}"] = [round(value, 2) for value in gain]
            out.setdefault(target, {}).setdefault(str(n), {})[family] = {"sources": len(squares["mean"])} | told
    return out


PAPERS = Path(sources.__file__).parents[1] / "calibration" / "konz2024.csv"
COLOURS = {"medical": "#b3452c", "natural": "#2c6fb3"}


def draw(file: Path, n: int = 256) -> None:
    """Dimension and sharpness by domain, loss against dimension and rise under attack against sharpness, as SVG."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    paper = pd.read_csv(PAPERS, comment="#").rename(
        columns={"label_sharpness": "k_f", "attack_loss_penalty": "penalty"}
    )
    cells = sources.converged(load_cells())
    cells = cells[cells["n_train"] == n].assign(penalty=lambda t: t["penalty_2"])
    cells = cells.assign(loss=np.log(np.maximum(cells["test_loss_scaled"], sources.FLOOR_LOSS)))
    columns = ["d_data", "k_f", "penalty", "loss"]
    ours = cells.groupby(["source", "domain"])[columns].mean().reset_index()
    figure = Figure((12, 6), layout="constrained")
    axes = figure.subplots(2, 4)
    for row, (table, name) in enumerate(((paper, "paper, 224 x 224"), (ours, f"here, 32 x 32, N = {n}"))):
        for ax, y in zip(axes[row], ("d_data", "k_f", "loss", "penalty"), strict=True):
            x = {"loss": "d_data", "penalty": "k_f"}.get(y)
            ax.set(title=f"{TITLES[y]}\n{name}", xlabel=TITLES[x] if x else "", ylabel=UNITS[y])
            if y not in table:
                ax.text(0.5, 0.5, "not published as numbers", ha="center", transform=ax.transAxes)
                continue
            for place, (domain, part) in enumerate(table.groupby("domain")):
                across = part[x] if x else place + np.linspace(-0.15, 0.15, len(part))
                ax.plot(across, part[y], "o", color=COLOURS[str(domain)], label=str(domain))
            if x is None:
                ax.set_xticks([0, 1], ["medical", "natural"])
    axes[1, 3].legend(frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "claims", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(str(file), metadata={"Date": None})


TITLES = {
    "d_data": "intrinsic dimension",
    "k_f": "label sharpness",
    "loss": "test loss",
    "penalty": "rise under attack",
}
UNITS = {"d_data": "d", "k_f": "K_F", "loss": "log test loss", "penalty": "nats, FGSM eps = 2/255"}


def _r(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Pearson's r and its 95 % interval over resampled sources."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(x), len(x)) for _ in range(2000)]
    found = [np.corrcoef(x[at], y[at])[0, 1] for at in draws if np.ptp(x[at]) and np.ptp(y[at])]
    return [round(float(v), 2) for v in (np.corrcoef(x, y)[0, 1], *np.quantile(found, [0.025, 0.975]))]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--claims", action="store_true")
    parser.add_argument("--by-size", action="store_true")
    parser.add_argument("--classes", action="store_true")
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--most", type=int, default=700)
    parser.add_argument("--sets", nargs="*", default=[*SETS, "blood_cells", "tiny_imagenet10"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.figures:
        draw(args.figures)
        return
    if args.by_size:
        print(json.dumps(by_size()))
        return
    if args.claims:
        print(json.dumps(claims()))
        return
    for name in args.sets:
        if args.equal:
            print(row_of_equal(args.folder / name, args.most), flush=True)
            continue
        images = load(args.folder / name, SETS.get(name, r"^(.*)$"), args.most, 0)
        if args.classes:
            print(row_of_classes(args.folder / name, images), flush=True)
            continue
        flips = {}
        for fraction in (0.05, 0.1):
            runs = [precision(images, fraction, seed) for seed in range(DRAWS)]
            flips[str(fraction)] = {key: round(float(np.mean([run[key] for run in runs])), 3) for key in runs[0]}
        print(
            json.dumps({"set": name, "images": len(images.y), "flips": flips, "classes": by_class(images)}), flush=True
        )


if __name__ == "__main__":
    main()
