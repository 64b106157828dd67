"""Grids: splits without leaks, cells that are possible and those that are not, resuming, failing, and the flow."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataprops.errors import DatapropsError
from dataprops.experiment import COLUMNS, experiment_tools, run_experiment
from dataprops.experiment import run as grid_run
from dataprops.experiment.cell import recipe_of
from dataprops.experiment.grid import PRESETS, Cell, Dataset, Experiment, Preset, parse_sizes, plan_cells
from dataprops.experiment.grid_options import OF_A_SET, OPTIONS, experiment_from, load_grid
from dataprops.experiment.samples import describe
from dataprops.experiment.sets import gather, load_images, task_classes
from dataprops.experiment.splits import Impossible, Sample, draw, held_back, leak_groups, quotas
from dataprops.experiment.table import SPREAD, cell_table
from dataprops.store.folder import open_store
from tests.make_images import random_folder, save
from tests.test_flow import assert_refused

MLP = "tests.tiny_nets:Mlp"
SETTINGS = Preset(size=8, scale="per-image-max", sizes=(40, 80), test=60, epochs=4, lr={MLP: 3e-3}, attacked=30, pgd=10)


def digits(store: Path, **changes) -> Experiment:
    base = Experiment((Dataset("digits:", domain="natural"),), (MLP,), str(store), "small", "quick", SETTINGS)
    return replace(base, **{"device": "cpu", **changes})


def compute(experiment: Experiment) -> pd.DataFrame:
    folder = run_experiment(experiment, experiment_tools(experiment, workers=1))
    return pd.read_parquet(folder / "cells.parquet")


@pytest.fixture(scope="module")
def computed(tmp_path_factory) -> tuple[Experiment, pd.DataFrame]:
    experiment = digits(tmp_path_factory.mktemp("grid") / "store")
    return experiment, compute(experiment)


def test_the_table_holds_the_promised_columns_with_measured_values(computed):
    _, cells = computed
    assert list(cells.columns) == list(COLUMNS)
    assert cells["status"].tolist() == ["done", "done"]
    assert cells["n_train"].tolist() == [40, 80]
    row = cells.iloc[1]
    assert (row["dataset"], row["domain"], row["split"], row["preprocess"]) == (
        "digits",
        "natural",
        "group",
        "8x8x1-per-image-max-v1",
    )
    numbers = cells.select_dtypes("number").drop(columns=["k_f_100", *(f"{name}_sd" for name in SPREAD)])
    assert np.isfinite(numbers.to_numpy()).all()
    assert row["test_accuracy"] > 0.8
    assert row["test_error"] == pytest.approx(1 - row["test_accuracy"]) == row["errors"] / row["n_test"]
    assert row["temperature"] >= 1
    assert row["converged"] == (row["train_loss"] <= 0.3)
    assert row["p_wrong"] / row["n_train"] == pytest.approx(row["p_error"])
    assert row["p_error"] < 0.5
    assert row["adv_loss_1"] <= row["adv_loss_2"] <= row["adv_loss_4"] <= row["adv_loss_8"]
    assert row["penalty_8"] > 0
    assert row["pgd_penalty_2"] > 0
    assert 0 < row["flip_eps"] < 255
    layers = json.loads(row["d_repr_layers"])
    assert list(layers) == ["hidden"]
    assert layers["hidden"]["mle_paper"] == pytest.approx(row["d_repr_last"], abs=1e-5)
    assert row["d_repr_peak"] == row["d_repr_last"]


def test_the_properties_are_those_of_exactly_the_training_images(computed):
    from scipy.spatial.distance import cdist

    experiment, cells = computed
    table = pd.read_parquet(experiment.folder / "data" / "digits.parquet")
    with np.load(experiment.folder / "samples" / "digits-80-0.npz") as saved:
        train = table.iloc[saved["train"]]
    from dataprops.imaging.decode import Preprocess

    pixels = load_images(Path(experiment.store), Preprocess(8, 1, "per-image-max"), train["content"].tolist()).astype(
        float
    )
    y = train["y"].to_numpy()
    distance = cdist(pixels, pixels)
    row = cells.iloc[1]
    assert row["k_f_all"] == pytest.approx(1 / distance[y[:, None] != y[None, :]].min())
    assert row["k_f"] == pytest.approx(row["k_f_all"])  # M = N: every draw is the whole sample
    assert row["k_f_m"] == 80
    near = np.sort(distance, axis=1)[:, 1:21]
    terms = np.log(near[:, -1:] / near[:, :-1]).sum(1)
    assert row["d_data"] == pytest.approx(18 / terms.mean())
    assert row["d_data_mle"] == pytest.approx(19 / terms.mean())


def test_a_finished_grid_is_not_computed_again_and_a_changed_one_is(computed, monkeypatch):
    experiment, cells = computed
    asked: list[Cell] = []
    real = grid_run.run_cell
    monkeypatch.setattr(grid_run, "run_cell", lambda e, cell, device: (asked.append(cell), real(e, cell, device))[1])
    again = compute(experiment)
    assert asked == []
    pd.testing.assert_frame_equal(again, cells)
    compute(replace(experiment, settings=replace(SETTINGS, epochs=2)))
    assert len(asked) == 2


def test_a_killed_grid_goes_on_to_the_same_results(computed, tmp_path, monkeypatch):
    """Killed in the second cell, between epochs: the first is kept, the second goes on from its checkpoint."""
    from dataprops.experiment import training

    experiment = digits(tmp_path / "store")
    real = training.fit
    fits: list[list[int]] = []

    def killed(recipe, images, y, *, checkpoint, on_epoch):
        fits.append([])

        def kill(epochs: int, loss: float) -> None:
            on_epoch(epochs, loss)
            fits[-1].append(epochs)
            if len(fits) == 2 and epochs == 2:
                raise KeyboardInterrupt

        return real(recipe, images, y, checkpoint=checkpoint, every=0, on_epoch=kill)

    monkeypatch.setattr(training, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        compute(experiment)
    assert not (experiment.folder / "cells.parquet").exists()
    cells = compute(experiment)
    assert fits == [[1, 2, 3, 4], [1, 2], [3, 4]]
    timing = ["seconds"]
    pd.testing.assert_frame_equal(cells.drop(columns=timing), computed[1].drop(columns=timing), check_exact=True)
    assert not (experiment.folder / "work").exists()


def test_impossible_and_failing_cells_are_rows_with_a_reason(tmp_path):
    experiment = digits(tmp_path / "store", models=("tests.tiny_nets:Broken", MLP))
    experiment = replace(experiment, settings=replace(SETTINGS, sizes=(40, 5000)))
    cells = compute(experiment).set_index(["model", "n_train"])
    assert cells.loc[(MLP, 40), "status"] == "done"
    assert cells.loc[("tests.tiny_nets:Broken", 40), "reason"] == "RuntimeError: the network is broken"
    reason = cells.loc[(MLP, 5000), "reason"]
    assert reason.startswith("impossible: N = 5000 needs 2500 training images of class '")
    assert "remain beside 60 test images" in reason
    assert cells["status"].value_counts().to_dict() == {"failed": 3, "done": 1}


def test_patients_and_copies_stay_on_one_side_and_may_not_by_image(tmp_path):
    images = random_folder(tmp_path / "set", {"a": 60, "b": 60})
    for number in range(20):
        save(tmp_path / f"set/b/copy{number:02d}.png", images[f"b/{number:03d}.png"])
    source = Dataset(str(tmp_path / "set"), group_pattern=r"/\d(\d)\d")  # ten images of each class and patient
    base = replace(digits(open_store(tmp_path / "store")), datasets=(source,))

    def sides(split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        experiment = replace(base, split=split, name=split, settings=replace(SETTINGS, sizes=(40,), test=40))
        tools = experiment_tools(experiment, workers=1)
        experiment.folder.mkdir(parents=True)
        gather(experiment, tools)
        assert describe(experiment, tools) == 1
        table = pd.read_parquet(experiment.folder / "data" / "set.parquet")
        with np.load(experiment.folder / "samples" / "set-40-0.npz") as saved:
            return table.iloc[saved["train"]], table.iloc[saved["test"]]

    train, test = sides("group")
    assert set(train["group"].dropna()).isdisjoint(test["group"].dropna())
    assert set(train["pixels"]).isdisjoint(test["pixels"])
    for part in (train, test):
        assert part["label"].value_counts().to_dict() == {"a": 20, "b": 20}
    train, test = sides("image")
    assert set(train["path"]).isdisjoint(test["path"])
    assert set(train["group"].dropna()) & set(test["group"].dropna())


def test_larger_samples_hold_smaller_ones_and_the_test_images_stay():
    y = np.arange(200) % 2
    leak_group = np.arange(200)
    small, large = draw(y, leak_group, 40, 50, 7), draw(y, leak_group, 90, 50, 7)
    assert set(small.train) <= set(large.train)
    assert np.array_equal(small.test, large.test)
    assert np.array_equal(draw(y, leak_group, 40, 50, 7).train, small.train)
    assert not np.array_equal(draw(y, leak_group, 40, 50, 8).test, small.test)
    with pytest.raises(Impossible, match="N = 40 needs 20 training images of class 0, and 0 remain"):
        draw(y, np.zeros(200, int), 40, 50, 0)
    with pytest.raises(Impossible, match="300 test images need 150 of class 0, and there are 100"):
        draw(y, leak_group, 40, 300, 0)


def test_images_held_back_share_no_leak_group_with_the_sample_and_are_balanced():
    y, leak_group = np.arange(60) % 2, np.arange(60) // 3
    sample = Sample(np.arange(0, 15), np.arange(16, 24))
    held = held_back(y, leak_group, sample, 20, 0)
    assert len(held) == 20
    assert np.bincount(y[held]).tolist() == [10, 10]
    assert not set(leak_group[held]) & set(leak_group[np.r_[sample.train, sample.test]])
    assert len(held_back(y[:24], leak_group[:24], sample, 20, 0)) == 0


def test_the_spread_over_seeds_is_that_of_converged_networks():
    fixed = {"dataset": "a", "model": "m", "n_train": 40, "n_test": 10, "channels": 1, "size": 8, "classes": 2}
    losses = [(0, 1.0, 1.0), (1, 3.0, 1.0), (2, 50.0, 0.0)]
    rows = [fixed | {"seed": seed, "test_loss": loss, "converged": done} for seed, loss, done in losses]
    rows.append(fixed | {"n_train": 80, "seed": 0, "test_loss": 1.0, "converged": 1.0})
    table = cell_table(rows)
    assert table["test_loss_sd"].tolist()[:3] == pytest.approx([np.sqrt(2)] * 3)
    assert np.isnan(table["test_loss_sd"].iloc[3])


def test_leak_groups_join_through_copies_and_quotas_differ_by_one():
    assert leak_groups(["p", "q", None, None], ["a", "b", "b", "c"]).tolist() == [0, 1, 1, 2]
    assert leak_groups(["p", np.nan, np.nan, "p"], ["a", "b", "c", "d"]).tolist() == [
        0,
        1,
        2,
        0,
    ]  # as a table gives them
    assert leak_groups(["p", "q", "q", None], ["a", "a", "b", "b"]).tolist() == [0, 0, 0, 0]
    assert quotas(10, 3) == [4, 3, 3]


def test_the_task_is_the_two_largest_classes_or_what_is_named():
    counts = {"a": 5, "b": 9, "c": 7}
    assert task_classes(Dataset("x"), ["a", "b", "c"], counts) == ["b", "c"]
    assert task_classes(Dataset("x", classes=("*",)), ["a", "b", "c"], counts) == ["a", "b", "c"]
    assert task_classes(Dataset("x", classes=("c", "a")), ["a", "b", "c"], counts) == ["c", "a"]
    with pytest.raises(DatapropsError, match="no images of class 'd': classes are a, b, c"):
        task_classes(Dataset("x", classes=("a", "d")), ["a", "b", "c"], counts)


def test_a_grid_file_lists_datasets_with_their_options(tmp_path):
    (tmp_path / "scans").mkdir()
    file = tmp_path / "grid.toml"
    file.write_text(
        'models = ["resnet18"]\nsizes = [50]\n[[dataset]]\nsource = "scans"\ndomain = "medical"\nclasses = ["a", "b"]\n'
        '[[dataset]]\nsource = "digits:"\n'
    )
    datasets, options = load_grid(file)
    assert datasets[0] == Dataset(str(tmp_path / "scans"), domain="medical", classes=("a", "b"))
    assert datasets[1].source == "digits:"
    assert options == {"models": ("resnet18",), "sizes": (50,)}
    for text, message in (
        ("[[dataset]]\nsize = 3", "grid.toml, dataset 1: unknown option 'size'"),
        ('[[dataset]]\nsource = "x"\n[[dataset]]\nname = "y"', "grid.toml, dataset 2: source must be the location"),
        ('[[dataset]]\nsource = "x"\ntest = "many"', "dataset 1: test must be a whole number, got 'many'"),
        ('[[dataset]]\nsource = "x"\ndomain = "medcal"', "dataset 1: domain must be medical, natural or unknown"),
        ("x = 1", "grid.toml: unknown option 'x'"),
        ('epochs = "many"', "grid.toml: epochs must be a whole number"),
        ("[", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(DatapropsError, match=message):
            load_grid(file)


def test_options_are_words_of_a_command_line_or_plain_values_and_overrule_the_grid_file(tmp_path):
    words = {
        "sources": ["natural=digits:", "scans/a,b"],
        "models": "resnet18,vgg13",
        "sizes": "40:80:20",
        "seeds": "0,1",
    }
    words |= {
        "classes": "3,8",
        "channels": "1",
        "preset": "quick",
        "lr": 0.01,
        "store": str(tmp_path),
        "domain": "medical",
    }
    plain = words | {
        "models": ["resnet18", "vgg13"],
        "sizes": [40, 60, 80],
        "seeds": [0, 1],
        "classes": ["3", "8"],
        "channels": 1,
    }
    made = experiment_from(words)
    assert made == experiment_from(json.loads(json.dumps(plain)))
    assert [(d.source, d.domain, d.classes, d.channels) for d in made.datasets] == [
        ("digits:", "natural", ("3", "8"), 1),
        ("scans/a,b", "medical", ("3", "8"), 1),
    ]
    assert (made.name, made.settings.sizes, made.seeds) == ("quick", (40, 60, 80), (0, 1))
    assert made.settings.lr == {"resnet18": 0.01, "vgg13": 0.01}
    assert made.settings.epochs == PRESETS["quick"].epochs
    (tmp_path / "grid.toml").write_text(
        'epochs = 3\nname = "filed"\nmodels = ["resnet34"]\n[[dataset]]\nsource = "digits:"'
    )
    made = experiment_from({"grid": str(tmp_path / "grid.toml"), "epochs": 5, "models": None})
    assert (made.settings.epochs, made.name, made.models, made.preset) == (5, "filed", ("resnet34",), "paper")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modles": "vgg13"}, "unknown option 'modles': did you mean models?"),
        ({"sizes": [40, "x"]}, "sizes must be"),
        ({"sizes": []}, "sizes must be"),
        ({"sizes": 0}, "sizes must be"),
        ({"seeds": [0.5]}, "seeds must be"),
        ({"seeds": "1,b"}, "seeds must be comma-separated whole numbers, got '1,b'"),
        ({"models": [18]}, "models must be"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"preset": "fast"}, "preset must be paper or quick, got 'fast'"),
        ({"sources": "digits:", "epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(options, message):
    with pytest.raises(DatapropsError) as error:
        experiment_from(options)
    assert message in str(error.value)


def test_every_option_of_the_command_is_an_option_of_the_flow_and_every_field_of_a_dataset_one_of_the_grid_file():
    from dataclasses import fields

    from flows.commands.experiment import command

    of_the_run = {"inline", "cluster", "workers", "as_json", "quiet"}
    assert {parameter.name for parameter in command.params} - of_the_run == OPTIONS.keys()
    assert {field.name for field in fields(Dataset)} == OF_A_SET.keys()


def test_vggs_are_trained_longer_by_the_quick_preset_unless_epochs_are_asked_for(tmp_path):
    def epochs(**options) -> dict[str, int]:
        made = experiment_from(
            {"sources": ["digits:"], "models": ["resnet18", "vgg13"], "store": str(tmp_path), **options}
        )
        return {c.model: recipe_of(made, c, 1, 2, "cpu").epochs for c in plan_cells(made)}

    assert epochs(preset="quick") == {"resnet18": 12, "vgg13": 20}
    assert epochs(preset="quick", epochs=3) == {"resnet18": 3, "vgg13": 3}
    assert epochs(preset="paper") == {"resnet18": 100, "vgg13": 100}


def test_the_paper_preset_is_the_papers_setting():
    from dataprops.experiment.models import MODELS

    paper = PRESETS["paper"]
    assert (paper.size, paper.scale, paper.epochs, paper.test, paper.weight_decay) == (
        224,
        "per-image-max",
        100,
        750,
        1e-4,
    )
    assert paper.sizes == parse_sizes("500:1750:250") == (500, 750, 1000, 1250, 1500, 1750)
    ours = {"cnn4", "mlp"}
    assert {name: (row.batch, row.lr) for name, row in MODELS.items() if name not in ours} == {
        "resnet18": (40, 1e-3),
        "resnet34": (25, 1e-3),
        "resnet50": (12, 1e-3),
        "vgg13": (6, 1e-4),
        "vgg16": (6, 1e-4),
        "vgg19": (6, 1e-4),
    }
    cells = plan_cells(Experiment((Dataset("digits:"),)))
    assert len(cells) == 12
    assert cells[0].n_train == 1750


@pytest.mark.parametrize(
    ("text", "words"), [("1:1000000000000:1", "at most 1000"), (f"1:{10**40}:1", "FIRST:LAST:STEP"), ("1:9:0", "FIRST")]
)
def test_ranges_of_sizes_without_end_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_sizes(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/no/such/place"], "/no/such/place does not exist"),
        (["digits:", "--models", "resnet19"], "unknown model 'resnet19'"),
        (["digits:", "--sizes", "few"], "sizes must be FIRST:LAST:STEP"),
        (["digits:", "--models", "vgg13", "--size", "16"], "vgg13 needs images of at least 32 pixels"),
        (
            ["digits:", "--classes", "1,eleven", "--preset", "quick", "--models", "resnet18"],
            "no images of class 'eleven'",
        ),
        ([], "sources must be at least one, or --grid FILE"),
    ],
)
def test_wrong_usage_stops_before_any_work(arguments, message, tmp_path):
    assert_refused(["experiment", *arguments, "--inline", "--workers", "1"], message, tmp_path)


@pytest.mark.parametrize(("width", "last"), [(40, "test_loss"), (80, "penalty_2"), (200, "seconds")])
def test_the_table_of_cells_shows_whole_numbers_at_every_width(width, last):
    from rich.console import Console

    from flows.commands.experiment import COLUMNS as SHOWN
    from flows.commands.experiment import _table

    names = {"dataset": "brain_tumor_mri4_128", "model": "resnet18", "n_train": 270}
    cells = pd.DataFrame([dict.fromkeys(SHOWN, 0.0012345) | names])
    out = io.StringIO()
    Console(file=out, width=width).print(_table(cells, width, 0))
    heads, row = out.getvalue().splitlines()[1:3]
    assert heads.split()[-1] == last and "0.001234" in row and "…" not in out.getvalue()
