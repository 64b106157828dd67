"""Tables as an experiment writes them, with planted laws."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from dataprops.imaging.decode import Preprocess

TRAIN_SIZES = (500, 1000, 1750)
MODELS = {"resnet18": 8.0, "vgg13": 8.4}
PENALTY_SLOPE, PENALTY_START = 9e4, {"resnet18": -4.0, "vgg13": -2.0}


def planted_cells(
    rng: np.random.Generator,
    datasets: int = 11,
    *,
    models=MODELS,
    sizes=TRAIN_SIZES,
    slopes=(1.0, 1.0),
    dataset_noise=0.25,
    noise=0.05,
    penalty_noise=3.0,
    representation=0.6,
    channels=(1,),
    preprocess="per-image-max",
    size=224,
    sharpness=(0.6e-4, 4e-4),
) -> pd.DataFrame:
    """All columns of cells.parquet; log L = -s1 log(N)/d + s2 log K + a, penalty = 9e4 K + b, R = e / K, d_repr = 0.6 d.

    What a dataset deviates from the laws by is common to its rows (`dataset_noise`), and each row deviates a little too.
    """
    rows = []
    for i in range(datasets):
        d, k = rng.uniform(5, 18), np.exp(rng.uniform(*np.log(sharpness)))
        off_loss, off_penalty, off_flip = dataset_noise * rng.normal(), penalty_noise * rng.normal(), 0.1 * rng.normal()
        side = channels[i % len(channels)]
        for model, a in models.items():
            for n in sizes:
                k_here, d_here = k * np.exp(0.03 * rng.normal()), d * np.exp(0.01 * rng.normal())
                log_loss = -slopes[0] * np.log(n) / d_here + slopes[1] * np.log(k_here) + a + off_loss
                penalty = PENALTY_SLOPE * k_here + PENALTY_START.get(model, 0.0) + off_penalty
                rows.append(
                    {
                        "dataset": f"set{i:02d}",
                        "domain": ("medical", "natural")[i % 2],
                        "model": model,
                        "n_train": n,
                        "n_test": 750,
                        "seed": 0,
                        "preset": "quick",
                        "preprocess": Preprocess(size, side, preprocess).key,
                        "channels": side,
                        "size": size,
                        "classes": 2,
                        "split": "random",
                        "d_data": d_here,
                        "d_data_se": 0.1,
                        "d_data_mle": d_here * 19 / 18,
                        "d_data_twonn": d_here,
                        "k_f": k_here,
                        "k_f_std": k_here / 20,
                        "k_f_m": min(1000, n),
                        "k_f_all": k_here * 1.1,
                        "k_q95": k_here / 2,
                        "train_loss": 0.01,
                        "test_loss": np.exp(log_loss + noise * rng.normal()),
                        "test_accuracy": 0.8,
                        **{f"adv_loss_{e}": 1.0 for e in (1, 2, 4, 8)},
                        **{f"adv_acc_{e}": 0.2 for e in (1, 2, 4, 8)},
                        **{f"penalty_{e}": penalty * e / 2 + 0.3 * rng.normal() for e in (1, 2, 4, 8)},
                        "pgd_loss_2": 2.0,
                        "pgd_penalty_2": penalty * 1.2,
                        "flip_eps": np.exp(-np.log(k_here) - 8 + off_flip),
                        "d_repr_last": representation * d_here,
                        "d_repr_peak": 1.1 * d_here,
                        "d_repr_layers": json.dumps([1.0, 2.0]),
                        "peak_layer": "layer2",
                        "seconds": 1.0,
                        "epochs": 10,
                        "device": "cpu",
                        "status": "done",
                        "reason": "",
                    }
                )
    return pd.DataFrame(rows)
