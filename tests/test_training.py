"""Training: it learns, the seed decides, a killed run goes on to the same weights, and damage is survived."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dataprops.experiment import training
from dataprops.experiment.training import Diverged, Recipe, batches, evaluate, fit, isolated_torch_state
from tests import tiny_nets

RECIPE = Recipe("tests.tiny_nets:Mlp", 1, 2, 6, lr=1e-2, batch=16, epochs=6, seed=3)


def stripes(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright upper or lower half."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    pixels = rng.integers(0, 120, (n, 1, 6, 6))
    for i in range(n):
        pixels[i, 0, 3 * y[i] : 3 * y[i] + 3] += 60
    return torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(y)


def equal(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_it_learns():
    fitted = fit(RECIPE, *stripes(200))
    assert fitted.losses[-1] < 0.5 * fitted.losses[0]
    loss, accuracy = evaluate(fitted.net, *stripes(100, seed=1))
    assert loss < 0.3
    assert accuracy > 0.9


def test_the_seed_decides_the_weights_and_the_process_generator_is_left_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = fit(RECIPE, *stripes(60))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    second = fit(RECIPE, *stripes(60))
    other = fit(replace(RECIPE, seed=4), *stripes(60))
    assert first.losses == second.losses
    assert equal(first.net, second.net)
    assert not equal(first.net, other.net)


def killed(file: Path, data: tuple) -> Path:
    """Train, and be killed after two epochs; the checkpoint is left."""

    def kill(epochs: int, loss: float) -> None:
        if epochs == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(RECIPE, *data, checkpoint=file, every=0, on_epoch=kill)
    return file


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path):
    data = stripes(60)
    whole = fit(RECIPE, *data)

    file = killed(tmp_path / "run.pt", data)
    trained: list[int] = []
    resumed = fit(RECIPE, *data, checkpoint=file, every=1e9, on_epoch=lambda epochs, loss: trained.append(epochs))
    assert trained[0] == 3  # two epochs were not computed again
    assert resumed.losses == whole.losses
    assert equal(resumed.net, whole.net)


def test_mixed_precision_learns_in_float16_keeps_its_scale_and_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    """The code of a GPU, on a CPU: autocast, scaled loss, a step that overflows left out, the scale in the checkpoint."""
    monkeypatch.setitem(training.MIXED, "cpu", torch.float16)
    computed: set[torch.dtype] = set()

    class Watched(tiny_nets.Mlp):
        def forward(self, x):
            logits = super().forward(x)
            computed.add(logits.dtype)
            return logits

    monkeypatch.setattr(tiny_nets, "Mlp", Watched)
    scales: list[float] = []
    started = torch.amp.GradScaler.__init__

    def high(self, *args, **options):  # the first steps overflow: float16 ends at 65504
        started(self, *args, init_scale=2.0**24, **options)

    monkeypatch.setattr(torch.amp.GradScaler, "__init__", high)
    updated = torch.amp.GradScaler.update
    monkeypatch.setattr(
        torch.amp.GradScaler, "update", lambda self: (updated(self), scales.append(self.get_scale()))[0]
    )
    data = stripes(200)
    whole = fit(RECIPE, *data)
    assert computed == {torch.float16}
    assert {value.dtype for value in whole.net.state_dict().values()} == {torch.float32, torch.int64}
    assert 1 < scales[-1] < 2.0**24
    assert whole.losses[-1] < 0.5 * whole.losses[0]
    assert evaluate(whole.net, *stripes(100, seed=1))[1] > 0.9
    assert computed == {torch.float16, torch.float32}  # evaluation

    file = killed(tmp_path / "run.pt", data)
    assert torch.load(file, weights_only=True)["scaler"]["scale"] == scales[-1]
    del scales[:]
    resumed = fit(RECIPE, *data, checkpoint=file)
    assert max(scales) < 2.0**24
    assert resumed.losses == whole.losses
    assert equal(resumed.net, whole.net)


def test_switches_of_the_process_are_put_back():
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.get_num_threads())
    with pytest.raises(ValueError, match="out"), isolated_torch_state(1):
        assert (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32) == (True, False, False)
        raise ValueError("out")
    assert before == (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.get_num_threads())


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_checkpoint_that_cannot_be_used_is_left_out(tmp_path, damage, caplog):
    file = tmp_path / "run.pt"
    fit(replace(RECIPE, seed=9), *stripes(60), checkpoint=file, every=0)  # of another recipe
    if damage is not None:
        file.write_bytes(damage)
    fitted = fit(RECIPE, *stripes(60), checkpoint=file)
    assert "training restarts" in caplog.text
    assert equal(fitted.net, fit(RECIPE, *stripes(60)).net)


def test_a_checkpoint_runs_no_code(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    file = tmp_path / "run.pt"
    file.write_bytes(pickle.dumps(Trap(), protocol=2))
    fit(replace(RECIPE, epochs=1), *stripes(20), checkpoint=file)
    assert not (tmp_path / "ran").exists()


def test_early_stop_and_divergence():
    flat = torch.zeros(20, 1, 6, 6, dtype=torch.uint8)
    stopped = fit(replace(RECIPE, lr=0.0, epochs=50, patience=2, model="tests.tiny_nets:Mlp"), flat, stripes(20)[1])
    assert len(stopped.losses) < 50
    with pytest.raises(Diverged, match="epoch"):
        fit(replace(RECIPE, lr=1e30, epochs=5), *stripes(40))


def test_batches_hold_each_image_once_and_never_one_alone():
    parts = batches(41, 20, 0, 0)
    assert sorted(np.concatenate(parts)) == list(range(41))
    assert [len(part) for part in parts] == [14, 14, 13]
    assert not np.array_equal(np.concatenate(parts), np.concatenate(batches(41, 20, 0, 1)))


def test_batch_norm_statistics_become_those_of_the_final_weights():
    """Of one batch: exactly its mean and variance; dropout and the momentum are left as they were."""
    from dataprops.experiment.after import fit_temperature, mean_loss, reestimate_batch_norm

    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5))
    net[1].running_mean.fill_(7.0)
    images = torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8)
    assert reestimate_batch_norm(net, images)
    out = net[0](images.float() / 255)
    torch.testing.assert_close(net[1].running_mean, out.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net[1].running_var, out.var((0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert net[1].momentum == 0.1
    assert not net.training
    assert not reestimate_batch_norm(torch.nn.Linear(2, 2), images)

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    y = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).cumsum(1).__gt__(rng.random((4000, 1))).argmax(1)
    assert fit_temperature(5 * logits, y) == pytest.approx(5, rel=0.1)
    assert mean_loss(logits, y) < mean_loss(5 * logits, y)
