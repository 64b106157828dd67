"""Names of splits, in folder names and tables: ``train2017``, ``test set``, ``seg_val``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from dataprops.sources.labels import unaccented, words_of
from dataprops.util.names import word_table

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "publictest": "val",
    "privatetest": "test",
}
# in German, Spanish, French, Portuguese, Italian, Dutch, Swedish, Danish, Turkish and Chinese, without accents
_ABROAD = {
    "train": """
        trainings trainingsdaten entrenamiento apprentissage entrainement treino treinamento addestramento traning
        traening trening egitim 训练 训练集
        """,
    "val": """
        validierung validierungs validierungsdaten validacion validacao validazione convalida validatie validering
        dogrulama 验证 验证集
        """,
    "test": "testdaten prufung pruefung prueba pruebas teste prova 测试 测试集",
}
SPLITS |= {word: split for split, words in _ABROAD.items() for word in word_table(words)}
# folder names; in table columns, the additional names are kept as they are
OF_FOLDERS = SPLITS | {
    "trainval": "train",
    "eval": "val",
    "evaluation": "val",
    "holdout": "test",
    "heldout": "test",
    "crossval": "val",
    "imagestr": "train",  # nnU-Net
    "imagests": "test",
}
FILLERS = frozenset(
    word_table("""
    set sets data dataset image images img imgs folder split pictures photos files samples cases
    """)
)
VERSION = frozenset(("v", "version"))  # version words in split names: Training_Data, Test_v2_Data


def split_value(value: str) -> str:
    """The split that a table's value names; other values are returned unchanged.

    >>> split_value("Valid "), split_value("entrenamiento"), split_value("site 3")
    ('val', 'train', 'site 3')
    """
    return SPLITS.get(unaccented(value.strip().lower()), value)


def are_splits(values: Sequence[str | None]) -> bool:
    """Whether all values of a column name splits; None is missing."""
    return all(value is None or unaccented(value.strip().lower()) in SPLITS for value in values)


def split_of(name: str) -> str | None:
    """The split that a folder name denotes.

    >>> [split_of(name) for name in ("TRAIN", "train2017", "test set", "Trainset", "train_images", "trains", "attest")]
    ['train', 'train', 'test', 'train', 'train', None, None]
    >>> split_of("train_and_validation_sets"), split_of("train_and_test_sets"), split_of("Development")
    ('train', None, 'val')
    >>> split_of("Prüfung"), split_of("conjunto de treino"), split_of("validação")
    ('test', None, 'val')
    """
    if (whole := unaccented(name.lower())) in OF_FOLDERS:
        return OF_FOLDERS[whole]
    words = [word.removesuffix("set") or word for word in words_of(name)]
    found = [OF_FOLDERS[word] for word in words if word in OF_FOLDERS]
    found = ["train"] if found == ["train", "val"] else found
    fillers = FILLERS | VERSION | {"and"}
    rest = [word for word in words if word not in OF_FOLDERS and word not in fillers and not enumerated(name, word)]
    return found[0] if len(found) == 1 and not rest else None


def enumerated(name: str, word: str) -> bool:
    """Whether a word is an enumeration letter: ``a. Training Set``."""
    return len(word) == 1 and re.match(rf"{word}[.)] ", name.lower()) is not None


def rest_of(name: str) -> str:
    """A folder name without its split.

    >>> rest_of("trainA"), rest_of("test_normal"), rest_of("train")
    ('A', 'normal', '')
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return " ".join(word for word in words if word.lower() not in OF_FOLDERS and word.lower() not in FILLERS)


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Split by name, for the names that are splits; also ``seg_train`` and ``seg_test``, which share the rest of their names."""
    names = list(names)
    found = {name: split for name in names if (split := split_of(name)) is not None}
    shared: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        words = words_of(name)
        told = [OF_FOLDERS[word] for word in words if word in OF_FOLDERS]
        if name not in found and len(told) == 1:
            shared[tuple(word for word in words if word not in OF_FOLDERS and word not in VERSION)][name] = told[0]
    for group in shared.values():
        if len(set(group.values())) > 1:
            found.update(group)
    last = {name for name in found if {"eval", "evaluation"} & set(words_of(name))}
    beside = any(split == "val" for name, split in found.items() if name not in last)
    return found | (dict.fromkeys(last, "test") if beside else {})  # "evaluation" beside train and development
