"""The two properties in one line each, and audits of what is in memory: the same numbers as the definitions and as the command."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from dataprops import intrinsic_dimension, label_sharpness
from dataprops.audit import audit
from dataprops.audit.config import AuditConfig
from dataprops.errors import DatapropsError
from dataprops.util.redact import reveal
from tests.test_audit import brute_force
from tests.test_containers import MEASURED

N, SIDE = 60, 8


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, SIDE, SIDE, 3)).astype(np.uint8)
    y = rng.integers(0, 3, N)
    images[7], y[7] = images[3], y[3]  # a copy
    images[9], y[9] = images[4], (y[4] + 1) % 3  # a conflict: at distance 0, it does not count
    return images, y


class Images(Dataset):
    """Items in one of the forms that datasets have."""

    def __init__(self, images: np.ndarray, y: np.ndarray, form: str) -> None:
        self.images, self.y, self.form = images, y, form

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int):
        image, label = self.images[i], self.y[i]
        return {
            "tensor": lambda: (torch.from_numpy(image).permute(2, 0, 1), int(label)),
            "float tensor": lambda: (torch.from_numpy(image).permute(2, 0, 1).float() / 255, torch.tensor(label)),
            "last": lambda: (torch.from_numpy(image), np.int64(label)),
            "pillow": lambda: (Image.fromarray(image), str(label)),
            "dict": lambda: {"image": Image.fromarray(image), "label": int(label)},
            "array": lambda: [image, label, "something else"],
        }[self.form]()


FORMS = ("tensor", "float tensor", "last", "pillow", "dict", "array")


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


def test_the_package_imports_nothing_until_it_is_asked() -> None:
    heavy = "{'torch', 'numpy', 'pandas', 'pyarrow', 'fsspec', 'h5py'}"
    code = f"import dataprops, sys; dir(dataprops); assert not {heavy} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    import dataprops

    with pytest.raises(AttributeError, match="no attribute 'sharpnes'"):
        dataprops.sharpnes


def test_sharpness_of_all_pairs_is_the_definition(pair) -> None:
    images, y = pair
    wanted = brute_force(images.reshape(N, -1), y.astype(float), 5)["all_pairs"]
    for given in (
        (images, y),
        (images, y.tolist()),
        (np.moveaxis(images, -1, 1), y),
        (torch.from_numpy(images), torch.tensor(y)),
    ):
        assert label_sharpness(*given, m=None).value == pytest.approx(wanted, rel=1e-12)
    assert label_sharpness((images, y), m=None, top=1).value == pytest.approx(255 * wanted, rel=1e-12)
    assert label_sharpness(images, y).m == N  # fewer images than M


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_item_gives_the_same_numbers(form: str, pair) -> None:
    images, y = pair
    dataset = Images(images, y, form)
    assert label_sharpness(dataset, m=20, draws=4) == label_sharpness(images, y, m=20, draws=4)
    assert intrinsic_dimension(dataset, k=5) == intrinsic_dimension(images, k=5)


@pytest.mark.parametrize("estimator", ["mle", "mle_paper", "twonn", "twonn_paper", "twonn_closed"])
def test_dimension_is_the_definition(estimator: str, pair) -> None:
    images, y = pair
    found = intrinsic_dimension(images, estimator=estimator, k=5)
    assert found.value == pytest.approx(brute_force(images.reshape(N, -1), y.astype(float), 5)[estimator], rel=1e-9)
    assert found.n == N - 2  # a copy and a conflict are no images of their own


@pytest.fixture(scope="module")
def audited(pair, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The summary of an audit of the pair, with every estimator."""
    return audit(*pair, store=str(tmp_path_factory.mktemp("store")), sample=20, draws=3, k=5, seed=3)


def test_draws_are_those_of_an_audit(pair, tmp_path: Path) -> None:
    images, y = pair
    options = {"sample": 20, "draws": 3, "k": 5, "estimators": ("mle",), "seed": 3}
    of_array = audit(images, y, store=str(tmp_path / "a"), **options)
    of_dataset = audit(Images(images, y, "tensor"), store=str(tmp_path / "b"), **options)
    assert {key: of_dataset[key] for key in MEASURED} == {key: of_array[key] for key in MEASURED}
    assert of_dataset["preprocess"]["size"] == SIDE
    found = label_sharpness(images, y, m=20, draws=3, seed=3)
    assert found.value == pytest.approx(of_array["label_sharpness"]["sample"]["mean"], rel=1e-12)
    assert found.std == pytest.approx(of_array["label_sharpness"]["sample"]["std"], rel=1e-9)
    assert intrinsic_dimension(images, k=5, seed=3).value == of_array["intrinsic_dimension"]["mle"]["value"]


@pytest.mark.parametrize("estimator", ["mle_paper", "twonn", "twonn_closed"])
def test_a_dimension_and_its_error_are_those_of_an_audit(estimator, pair, audited) -> None:
    found = intrinsic_dimension(pair[0], estimator=estimator, k=5, seed=3)
    whole = audited["intrinsic_dimension"][estimator]
    assert (found.value, found.se) == (whole["value"], whole["se"])


def test_only_images_that_are_drawn_are_asked_for(pair) -> None:
    images, y = pair
    asked = set()

    class Watched(Images):
        def __getitem__(self, i: int):
            asked.add(i)
            return super().__getitem__(i)

    label_sharpness(Watched(images, y, "tensor"), m=5, draws=2)
    assert 5 <= len(asked) <= 10


def test_ordinal_labels_differ_by_their_difference(pair) -> None:
    images, y = pair
    one = label_sharpness(images, y, m=None, kind="numbers").value
    assert label_sharpness(images, 10 * y, m=None, kind="numbers").value == pytest.approx(10 * one, rel=1e-12)
    assert label_sharpness(images, y / 2, m=None).value == pytest.approx(one / 2, rel=1e-12)  # fractions are numbers


def test_without_two_labels_there_is_no_sharpness(pair) -> None:
    images, _ = pair
    with pytest.warns(UserWarning, match="NaN: all labels are the same"):
        assert np.isnan(label_sharpness(images, [1] * N).value)
    with pytest.warns(UserWarning, match="NaN: no image has a label"):
        assert np.isnan(label_sharpness(images).value)


def test_identical_images_with_two_labels_are_told_and_never_count_as_0(pair, tmp_path: Path) -> None:
    images, _ = pair
    left_out = (
        "2 pairs of identical pictures with different labels are left out: with them the sharpness would be infinite"
    )
    some = np.concatenate([images[:12], images[:2]]), [0] * 12 + [1] * 2
    only = np.repeat(images[:1], 24, axis=0), [0, 1] * 12
    with pytest.warns(UserWarning, match=f"label sharpness: {left_out}"):
        value = label_sharpness(some, m=None).value
    with pytest.warns(UserWarning, match="NaN: wherever labels differ, the pictures are identical"):
        assert np.isnan(label_sharpness(only, m=None).value)
    options = {"store": str(tmp_path), "k": 3, "draws": 2, "estimators": ("mle",), "probe": False}
    with pytest.warns(UserWarning, match=f"label sharpness: {left_out}"):
        audited = audit(some, name="some", **options)  # as one tuple
    assert audited["label_sharpness"]["all_pairs"] == value and audited["label_sharpness"]["note"] == left_out
    assert left_out in audited._repr_html_() and left_out in Path(audited["report"]).read_text(encoding="utf-8")
    with pytest.warns(UserWarning, match="label sharpness is NaN: wherever labels differ"):
        alone = audit(only, name="only", **options)
    sharp = alone["label_sharpness"]
    assert sharp["sample"]["mean"] is None is sharp["all_pairs"] and "listed as conflicts" in sharp["note"]
    rows = alone.properties[alone.properties["property"].str.startswith("label_sharpness")]
    assert rows["value"].isna().all() and (rows["note"] == sharp["note"]).all()


def test_of_the_identical_pictures_that_sharpness_leaves_out_blank_ones_are_named(pair, tmp_path: Path) -> None:
    images, _ = pair
    blank = np.full_like(images[:1], 9)
    given = np.concatenate([images[:12], images[:1], blank, blank, blank]), [0] * 12 + [1, 0, 0, 1]
    with pytest.warns(UserWarning, match="3 pairs of identical pictures with different labels"):
        audited = audit(given, store=str(tmp_path), k=3, draws=2, estimators=("mle",), probe=False)
    assert audited["label_sharpness"]["note"].startswith(
        "3 pairs of identical pictures with different labels (2 of blank ones) are left out"
    )
    assert audited["findings"]["label_conflicts"] == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, y: label_sharpness(x, y[:5]), "60 images and 5 labels"),
        (lambda x, y: label_sharpness(x[0, 0], y), "images have shape"),
        (lambda x, y: label_sharpness(x[:1], y[:1]), "1 images; expected at least 2"),
        (lambda x, y: label_sharpness(x, y, m=1), "m is 1"),
        (lambda x, y: label_sharpness(x, y, draws=0), "draws is 0"),
        (lambda x, y: label_sharpness((x, y, y)), "taken as"),
        (lambda x, y: audit((x, y, y)), "taken as"),
        (lambda x, y: audit([x[0], x[1, :, :3]]), r"several sizes as a list of pairs \(image, label\)"),
        (lambda x, y: label_sharpness(TensorDataset(torch.tensor(x)), y), "items contain theirs"),
        (lambda x, y: label_sharpness(x, [[1, 0]] * N), "expected one class or number"),
        (lambda x, y: intrinsic_dimension(x, estimator="pca"), "estimator is 'pca'; expected mle"),
        (lambda x, y: intrinsic_dimension(x, k=1), "k is 1"),
        (lambda x, y: intrinsic_dimension(Endless()), "no length"),
        (lambda x, y: intrinsic_dimension([("no image", 1)] * 3), "image 0 cannot be used"),
        (lambda x, y: intrinsic_dimension(np.full((3, 2, 2), np.nan)), "NaN or infinite"),
        (lambda x, y: intrinsic_dimension([{"x": 1}] * 3), "items have the keys x"),
    ],
)
def test_what_cannot_be_used_is_told(call, words: str, pair) -> None:
    with pytest.raises(DatapropsError, match=words):
        call(*pair)


def test_an_item_that_cannot_be_had_is_a_finding_of_an_audit(pair, tmp_path: Path) -> None:
    images, y = pair

    class Broken(Images):
        def __getitem__(self, i: int):
            if i == 11:
                raise RuntimeError("bad sector")
            return super().__getitem__(i)

    summary = audit(Broken(images, y, "pillow"), store=str(tmp_path), k=5, draws=2, estimators=("mle",), probe=False)
    assert summary["n_unreadable"] == 1
    with pytest.raises(RuntimeError, match="bad sector"):  # here it is the caller's to see
        label_sharpness(Broken(images, y, "pillow"))


def test_the_papers_pair_of_classes(real_data) -> None:
    """CIFAR-10 airplane/automobile on [0, 1]: values made by a brute force in float64."""
    folder = real_data("cifar10_airplane_automobile")
    files = sorted(folder.glob("*/*.jp*g"))
    dataset = [(Image.open(file).convert("RGB"), file.parent.name) for file in files]
    assert len(dataset) == 10_000
    assert label_sharpness(dataset, m=None, top=1).value == pytest.approx(0.1624, abs=5e-5)
    assert label_sharpness(dataset, top=1).value == pytest.approx(0.138, abs=0.007)
    assert intrinsic_dimension(dataset, estimator="mle_paper").value == pytest.approx(19.73, abs=5e-3)


def tiny(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (40, 6, 6)).astype(np.uint8), np.arange(40) % 2


QUICK = {"k": 3, "draws": 2, "sample": 10, "estimators": ("mle",), "probe": False}


def dimension_of(found: dict) -> float:
    return found["intrinsic_dimension"]["mle"]["value"]


def test_audits_of_arrays_at_once_in_threads_and_nested_do_not_mix_up_their_images(tmp_path: Path) -> None:
    alone = [dimension_of(audit(*tiny(seed), store=str(tmp_path / f"alone{seed}"), **QUICK)) for seed in (1, 2)]
    assert alone[0] != alone[1]
    nested = []

    class Asks(Images):
        """A Dataset whose first item audits another array, under the same name, while it is itself audited."""

        def __getitem__(self, i: int):
            if not nested:
                nested.append(None)
                nested[0] = dimension_of(audit(*tiny(2), store=str(tmp_path / "nested"), **QUICK))
            return super().__getitem__(i)

    together = Barrier(2)

    def one(seed: int) -> float:
        together.wait(timeout=60)
        return dimension_of(audit(*tiny(seed), store=str(tmp_path / f"thread{seed}"), **QUICK))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, (1, 2))) == alone
    outer = audit(Asks(*tiny(1), "last"), store=str(tmp_path / "outer"), **QUICK)
    assert [dimension_of(outer), *nested] == alone


def test_a_config_has_no_effect_beside_itself_and_its_secret_is_not_pickled() -> None:
    address = "https://me:secret@host/a.zip"
    config = AuditConfig(source=address)
    assert config.source == "https://***@host/a.zip" and "secret" not in repr(config)
    assert reveal(config.source) == reveal(asdict(config)["source"]) == address
    assert b"secret" not in pickle.dumps(config)
    for other in (AuditConfig(source=config.source), config):
        assert reveal(other.source) == address
    with pytest.raises(DatapropsError, match="does not have"):  # the same text, made by another
        reveal("https://***@host/a.zip")
