"""Stage 5: a reference classifier trained on the dataset (`dataprops.probe`): error, learning curve, suspect labels."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

from dataprops.audit import background, feature_space, since
from dataprops.audit.pictures import Pictures
from dataprops.audit.probed import codes_of, grouped_by
from dataprops.audit.records import Probed
from dataprops.audit.workspace import Run
from dataprops.findings.second_opinion import Witness, most_alike
from dataprops.probe import descriptors, folds, measure, record
from dataprops.probe.features import shrink
from dataprops.probe.folds import leak_groups_of
from dataprops.util.json import finite
from dataprops.util.threads import one_thread
from dataprops.util.tools import Tools

LEFT_OUT = "left out with --no-probe"
NEAR = 2.0  # grey levels
# images with so near a neighbour, on the sets used to choose it: 47 of 10,000 CIFAR, 2 of 724 chest X-rays, 108 of 1,500 brain MRI
RATIO = 0.4


def probe(run: Run, tools: Tools) -> Probed:
    """Train the reference classifier, unless disabled or not applicable."""
    files, kind = run.files, run.files.scanned.read().label_kind
    images = files.images.read()
    usable = images[images["pixels"].notna() & images["y"].notna()].reset_index(drop=True)
    reason = LEFT_OUT if not run.config.probe else "the dataset has no labels" if kind == "none" else None
    numeric = kind == "numbers"
    at = np.empty(0, np.int64)
    leak_group, notes = np.empty(0, np.int64), []
    if reason is None:
        leak_group = _leak_groups(
            usable, near_alike(files.neighbours.read(), files.passed.read().features, files.near_pairs())
        )
        at, notes = _chosen(usable, leak_group, numeric, run.config.seed)
        reason = measure.reason_not_applicable(usable["y"].to_numpy()[at], leak_group[at], numeric=numeric)
    if reason is not None:
        files.probed.write({"probe": None, "probe_withheld": reason})
        files.probe.write(record.empty_table())
        files.change.write({"withheld": f"this audit has no reference classifier: {reason}"})
        at = at[:0]
    else:
        _train(run, tools, usable, at, leak_group, notes)
    if feature_space.asked(run.config):
        with one_thread():
            told = feature_space.measure_features(run, tools, usable, at, leak_group[at])
        files.probed.write(files.probed.read() | told)
        properties = [files.properties.read(), feature_space.property_rows(told["feature_space"])]
        files.properties.write(pd.concat(properties, ignore_index=True))
    return Probed(len(at))


def _train(
    run: Run, tools: Tools, usable: pd.DataFrame, at: np.ndarray, leak_group: np.ndarray, notes: list[str]
) -> None:
    """Train the reference classifier on rows `at` of `usable`, and write its results."""
    files, numeric = run.files, run.files.scanned.read().label_kind == "numbers"
    part = usable.iloc[at]
    names, y = (None, part["y"].to_numpy(float)) if numeric else codes_of(part)
    with one_thread():
        x = torch.cat([shrink(pixels) for _, pixels in Pictures(run).blocks(part["image"].to_numpy())])
    own, seed = leak_group[at], run.config.seed
    with tools.progress("training the reference classifier", 100, "%") as advance, one_thread():
        fitted = measure.fit(x, y, own, numeric=numeric, seed=seed, advance=advance)
        if names is not None:
            _witness(run, fitted, part["image"].to_numpy(np.int64), names, x, own).save(files.witness)
            background.submit(run, background.OF_PROBE)  # runs while the classifier is evaluated
        found = measure.evaluate(fitted, seed, advance=advance)
    told = record.summary_of(found, y, names, grouped_by(part), notes) | {"n_total": len(usable)}
    if told["attack"]:
        told["attack"]["k_mean"] = finite(part["sharpness"].mean())  # beside the probe's own gradient: mean K_j
    files.probed.write({"probe": told, "probe_withheld": None})
    files.probe.write(record.table_of(found, part["image"].to_numpy(), y, names, leak_group[at]))
    with one_thread():
        since.write_change(run, since.Trained(found, part, y, names, leak_group[at]))


def _witness(
    run: Run, fitted: measure.Fitted, image: np.ndarray, names: list[str], x: torch.Tensor, leak_group: np.ndarray
) -> Witness:
    """Opinions of classifiers that were not trained on these images (`x`: at 32 x 32)."""
    p, kernel, y, fold, seed = fitted.probabilities[-1], fitted.kernel, fitted.y, fitted.folds, run.config.seed
    voters = most_alike(kernel, leak_group)
    return Witness(
        image,
        names,
        p,
        np.where(voters >= 0, image[voters], -1),
        curved=measure.held_out_curved(kernel, y, fold, leak_group, seed),
        averaged=measure.held_out_averaged(p, kernel, y, leak_group, fitted.held.strength, seed),
        described=measure.held_out_described(_descriptions(run, image, x), y, fold, leak_group, seed),
    )


def _descriptions(run: Run, image: np.ndarray, x: torch.Tensor) -> list[torch.Tensor]:
    """Edges, tones and textures of the images (`x`: images at 32 x 32); empty for large datasets, which do not use them."""
    if len(image) > measure.MANY:
        return []
    edges = [descriptors.edges(shrink(pixels, descriptors.SIDE)) for _, pixels in Pictures(run).blocks(image.tolist())]
    return [torch.cat(edges), descriptors.tones(x), descriptors.textures(x)]


def near_alike(neighbours: pd.DataFrame, features: int, listed: pd.DataFrame) -> pd.DataFrame:
    """Pairs (a, b, distance) that folds keep together: the listed ones, and unusually close neighbours.

    Close means within `NEAR` grey levels RMS, or within `RATIO` times the distance of each to its farthest listed neighbour. The
    audit's near-copies include more (rotated, cropped), but are found while the probe trains.
    """
    a, b, distance = (neighbours[name].to_numpy() for name in ("image", "neighbour", "distance"))
    scale = neighbours.groupby("image")["distance"].max()
    both = np.minimum(scale.reindex(a).to_numpy(float), scale.reindex(b).to_numpy(float))
    kept = (distance <= NEAR * math.sqrt(features)) | (distance <= RATIO * both)
    found = pd.DataFrame({"a": a[kept], "b": b[kept], "distance": distance[kept]})
    return pd.concat([listed[["a", "b", "distance"]], found], ignore_index=True) if len(listed) else found


def _leak_groups(images: pd.DataFrame, near: pd.DataFrame) -> np.ndarray:
    """Leak group of each image, shared by images of a group and by identical and near-identical images."""
    place = pd.Series(np.arange(len(images)), index=images["image"].to_numpy())
    group = pd.factorize(images["group"])[0]  # -1 where there is none
    first = pd.factorize(images["pixels"])[0]
    _, leader = np.unique(first, return_index=True)
    identical = np.stack([np.arange(len(images)), leader[first]], axis=1)
    known = near[near["a"].isin(place.index) & near["b"].isin(place.index)]
    pairs = np.stack([place[known["a"]].to_numpy(np.int64), place[known["b"]].to_numpy(np.int64)], axis=1)
    return leak_groups_of(len(images), group, identical, pairs, known["distance"].to_numpy(float))


def _chosen(images: pd.DataFrame, leak_group: np.ndarray, numeric: bool, seed: int) -> tuple[np.ndarray, list[str]]:
    """Rows of the images used, and notes on those left out."""
    at, notes = np.arange(len(images)), []
    if not numeric:
        y = images["y"].to_numpy(np.int64)
        kept = measure.usable_classes(y, leak_group)
        labels = images["label"].to_numpy(object)
        small = sorted({str(labels[i]) for i in np.nonzero(~np.isin(y, kept))[0]})
        if small and len(kept) > 1:
            few = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if len(small) > 5 else "")
            notes.append(f"classes with fewer than {folds.LEAST_GROUPS} groups are left out: {few}")
        if len(kept) > folds.MOST_CLASSES:
            count = np.bincount(np.searchsorted(kept, y[np.isin(y, kept)]), minlength=len(kept))
            kept = kept[np.argsort(-count, kind="stable")[: folds.MOST_CLASSES]]
            notes.append(f"only the {folds.MOST_CLASSES} largest classes are used")
        at = at[np.isin(y, kept)]
    drawn = at[measure.draw_images(len(at), folds.MOST, seed)]
    if len(drawn) < len(at):
        notes.append(f"{len(drawn):,} of {len(at):,} images were drawn (seed {seed})")
        if not numeric:
            y = images["y"].to_numpy(np.int64)
            drawn = drawn[np.isin(y[drawn], measure.usable_classes(y[drawn], leak_group[drawn]))]
    return drawn, notes
