"""Shortcuts: file properties or manifest columns that predict the class, each tested alone by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, in_turn, quoted
from dataprops.findings.told_by_columns import better_than_guessing, columns_of, seen_with, told_with
from dataprops.util.numbers import percent

FOLDS = 5
DEPTH, LEAF = 4, 5
# the size of a compressed file depends on the content: it is reported, but is no shortcut by itself
CONTENT = ("file size",)
COLUMNS = ["property", "balanced_accuracy", "chance", "score"]
MOST_CLASSES = 6  # classes whose values a finding lists
CATEGORIES = {"file format": "format", "colour mode": "mode"}  # property -> column; all other properties are numeric


def file_properties(images: pd.DataFrame) -> dict[str, np.ndarray]:
    """Properties of the original files as numbers; categories as codes in alphabetical order."""
    width, height = images["width"].to_numpy(float), images["height"].to_numpy(float)
    return {
        "file format": pd.factorize(images["format"], sort=True)[0].astype(float),
        "colour mode": pd.factorize(images["mode"], sort=True)[0].astype(float),
        "width": width,
        "height": height,
        "number of pixels": width * height,
        "aspect ratio": width / np.maximum(height, 1),
        "file size": images["bytes"].to_numpy(float),
    }


def shortcut_scores(
    images: pd.DataFrame, kind: str = "classes", seed: int = 0, described: pd.DataFrame | None = None
) -> pd.DataFrame:
    """How well each file property and each other manifest column predicts the class, best first.

    Parameters
    ----------
    kind : str
        Kind of labels: "classes", "numbers" or "none".
    seed : int
        Seed of the cross-validation folds.
    described : DataFrame, optional
        Other columns of a manifest (see `Context`), for classes only; columns not significantly better than chance are left out.

    Returns
    -------
    DataFrame
        property; balanced_accuracy under 5-fold cross-validation (grouped by patient if groups are given) and chance = 1 / C;
        score = (balanced_accuracy - chance) / (1 - chance), at least 0. For numeric labels score is the R^2, the others NaN.
    """
    used = images[images["pixels"].notna() & images["y"].notna()]
    if kind == "classes":
        sizes = used["y"].value_counts()
        used = used[used["y"].isin(sizes.index[sizes >= FOLDS])]
        enough = used["y"].nunique() >= 2
    else:
        enough = kind == "numbers" and len(used) >= 2 * FOLDS and used["y"].nunique() > 1
    if not enough:
        return pd.DataFrame(columns=COLUMNS)
    rows = []
    for name, values in file_properties(used).items():
        if len(np.unique(values)) < 2:
            continue
        rows.append((name, *_score(values, used["y"].to_numpy(), used["group"], kind, seed)))
    if kind == "classes" and described is not None:
        rows += _columns(described, used, seed)
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)


def column_name(column: str) -> str:
    """Name of a manifest column in the list of properties.

    >>> column_name("site")
    'column “site”'
    """
    return f"column {quoted(column)}"


def _columns(described: pd.DataFrame, used: pd.DataFrame, seed: int) -> list[tuple[str, float, float, float]]:
    """Rows of the columns that predict the class better than chance."""
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    _, y = np.unique(used["y"].to_numpy(), return_inverse=True)
    out, folds = [], None
    for column, values in columns_of(described, used):
        folds = class_folds(y, used["group"], seed) if folds is None else folds
        if values.dtype.kind == "i":
            found = seen_with(values, y, folds)
        else:
            tree = DecisionTreeClassifier(
                max_depth=DEPTH, min_samples_leaf=LEAF, random_state=0, class_weight="balanced"
            )
            found = np.asarray(cross_val_predict(tree, values[:, None], y, cv=PredefinedSplit(folds)))
        accuracy, chance, sure = better_than_guessing(found, y)
        if sure:
            out.append((column_name(column), accuracy, chance, (accuracy - chance) / (1 - chance)))
    return out


def class_folds(y: np.ndarray, groups: pd.Series, seed: int) -> np.ndarray:
    """Fold of each image, int64 [n]: stratified by class, with each group within one fold."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    by_group = groups.notna().all() and groups.nunique() >= FOLDS
    stratified = (StratifiedGroupKFold if by_group else StratifiedKFold)(FOLDS, shuffle=True, random_state=seed)
    out = np.zeros(len(y), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # with groups, a class may be missing from a fold
        for number, (_, test) in enumerate(stratified.split(y, y, groups.to_numpy(object) if by_group else None)):
            out[test] = number
    return out


def _score(values: np.ndarray, y: np.ndarray, groups: pd.Series, kind: str, seed: int) -> tuple[float, float, float]:
    from sklearn.metrics import balanced_accuracy_score, r2_score
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    by_group = groups.notna().all() and groups.nunique() >= FOLDS
    tree: dict[str, Any] = {"max_depth": DEPTH, "min_samples_leaf": LEAF, "random_state": 0}
    if kind == "numbers":
        folds = GroupKFold(FOLDS) if by_group else KFold(FOLDS, shuffle=True, random_state=seed)
        model = DecisionTreeRegressor(**tree)
    else:
        stratified = StratifiedGroupKFold if by_group else StratifiedKFold
        folds = stratified(FOLDS, shuffle=True, random_state=seed)
        model = DecisionTreeClassifier(class_weight="balanced", **tree)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # with groups, a class may be missing from a fold: its images count as errors
        found = cross_val_predict(
            model, values[:, None], y, cv=folds, groups=groups.to_numpy(object) if by_group else None
        )
    if kind == "numbers":
        return float("nan"), float("nan"), max(0.0, float(r2_score(y, found)))
    chance = 1 / len(np.unique(y))
    accuracy = float(balanced_accuracy_score(y, found))
    return accuracy, chance, max(0.0, (accuracy - chance) / (1 - chance))


def best_property(scores: pd.DataFrame) -> pd.Series | None:
    """The property that best predicts the class, of those that do not depend on the content."""
    told = scores[~scores["property"].isin(CONTENT) & ~_is_column(scores)]
    return None if told.empty else told.iloc[0]


def _is_column(scores: pd.DataFrame) -> pd.Series:
    return scores["property"].astype(str).str.startswith("column ")


def best_columns(scores: pd.DataFrame) -> pd.DataFrame:
    """Manifest columns that predict the class, best first."""
    return scores[_is_column(scores)]


def find(context: Context) -> Iterator[Row]:
    """One row for the best property and one per column, each if above its threshold; the value is the score."""
    yield from _best(context)
    if context.shortcuts is None or context.described is None:
        return
    labelled = context.images[context.images["pixels"].notna() & context.images["y"].notna()]
    columns = {column_name(str(name)): name for name in context.described}
    for name, accuracy, chance, score in best_columns(context.shortcuts)[COLUMNS].itertuples(index=False):
        if name in columns and context.fails(score, "column_shortcut"):
            values = context.described[columns[name]].iloc[labelled["image"].to_numpy(np.int64)]
            with_what = told_with(values, labelled["label"])
            yield (
                _of_each_class(labelled, values.to_numpy(object)),
                score,
                f"The {name} alone predicts the class for {percent(accuracy)} of the held-out images (balanced over the classes;"
                f" chance: {percent(chance)})"
                f".{f' By value: {with_what}.' if with_what else ''}",
            )


def _best(context: Context) -> Iterator[Row]:
    best = None if context.shortcuts is None else best_property(context.shortcuts)
    if best is None or not context.fails(best["score"], "shortcut", "shortcut_certain"):
        return
    used = context.images[context.images["pixels"].notna() & context.images["y"].notna()]
    if context.kind == "numbers":
        order = np.argsort(file_properties(used)[best["property"]], kind="stable")
        yield (
            used["image"].to_numpy()[[*order[:2], *order[-2:]]],
            best["score"],
            f"The {best['property']} of a file alone explains {percent(best['score'])} of the label's variance.",
        )
        return
    named = CATEGORIES.get(best["property"])
    values = used[named].to_numpy(object) if named else file_properties(used)[best["property"]]
    yield (
        _of_each_class(used, values),
        best["score"],
        f"The {best['property']} of a file alone predicts the class for {percent(best['balanced_accuracy'])} of the images (balanced"
        f" over the classes; chance: {percent(best['chance'])}).{_by_class(context.images, best['property'])}",
    )


def _of_each_class(images: pd.DataFrame, values: np.ndarray) -> list[int]:
    """Two images (ids) of each of the first classes with its typical value: the mode, or the median if no value is common."""
    chosen = []
    for label in sorted(images["label"].astype(str).unique())[:MOST_CLASSES]:
        own = np.nonzero((images["label"].astype(str) == label).to_numpy())[0]
        of_class = pd.Series(values[own]).dropna()
        if of_class.empty:
            continue
        counts = of_class.value_counts()
        usual: Any = counts.index[0]
        if counts.iloc[0] < len(of_class) / 2 and of_class.dtype.kind in "fiu":
            away = (of_class - of_class.median()).abs()
            places = away.sort_values(kind="stable").index[:2]
        else:
            places = of_class.index[of_class == usual][:2]
        chosen.append(images["image"].to_numpy()[own[places]])
    return in_turn(chosen)


def _by_class(images: pd.DataFrame, name: str) -> str:
    """Values of a property by class: ' By class: sick 40 to 55 in half of them; well 64 in 98 %.' or ' By class: sick JPEG in all;
    ...'"""
    used = images[images["pixels"].notna() & images["y"].notna()]
    classes = sorted(used["label"].astype(str).unique())
    parts = []
    for label in classes[:MOST_CLASSES]:
        mine = used[used["label"].astype(str) == label]
        named = CATEGORIES.get(name)
        values = mine[named].astype(str) if named else pd.Series(file_properties(mine)[name])
        counts = values.value_counts()
        share, form = counts.iloc[0] / len(mine), "" if named else ",.2f" if name == "aspect ratio" else ",.0f"
        if named or share >= 0.5:
            usual = f"{counts.index[0]:{form}} in {'all' if share == 1 else percent(share)}"
        else:
            usual = f"{values.quantile(0.25):{form}} to {values.quantile(0.75):{form}} in half of them"
        parts.append(f"{label} {usual}")
    more = f"; and {len(classes) - MOST_CLASSES:,} more classes" if len(classes) > MOST_CLASSES else ""
    return f" By class: {'; '.join(parts)}{more}."


def measures(context: Context) -> dict[str, float]:
    """shortcut_score: how far the best property is from chance (0) to perfect (1); column_shortcut_score: the best column."""
    if context.shortcuts is None:
        return {}
    best, columns = best_property(context.shortcuts), best_columns(context.shortcuts)
    out = {} if best is None else {"shortcut_score": float(best["score"])}
    return out if columns.empty else out | {"column_shortcut_score": float(columns["score"].iloc[0])}


FINDING = Finding(
    name="shortcut",
    severity="warning",
    title="A property of the files, or a column, predicts the class",
    explanation=(
        "A network may learn where a picture came from instead of what it shows. Bring all files to one format and "
        "size; balance the classes over sites and scanners, or test on one that is not in the training data. A column that is the"
        " label in other words is not a shortcut: leave it out."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="shortcut",
            measure="shortcut_score",
            max=0.33,
            severity="warning",
            title="file properties do not predict the class",
            sentence="{subject}: a network may learn that instead of what the image shows.",
            subject="A property of the files (format, size, colour mode) alone predicts the class",
            reason="a third of the gap between chance and perfect is more than image content explains in file properties",
        ),
        Check(
            name="shortcut_certain",
            measure="shortcut_score",
            max=0.9,
            severity="critical",
            title="file properties do not determine the class",
            sentence="{subject}: results of training on this dataset would be meaningless.",
            subject="A property of the files (format, size, colour mode) alone nearly determines the class",
            reason="whatever a network scores on such a dataset says nothing about what it sees in the image",
        ),
        Check(
            name="column_shortcut",
            measure="column_shortcut_score",
            max=0.33,
            severity="warning",
            title="no other column of the manifest predicts the class",
            sentence="{subject}: a network may learn that (site, scanner, protocol) instead of what the image shows, if it is"
            " visible in the picture.",
            subject="A column of the manifest alone predicts the class",
            reason=(
                "as for file properties; and four standard errors above chance, so that no column of a small dataset does so by chance"
            ),
        ),
    ),
    shown="groups",
)
