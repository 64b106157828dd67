"""Networks: the names, shapes and counts of torchvision's weights, channels and classes, networks of the user's own."""

from __future__ import annotations

import pytest
import torch

from dataprops.errors import DatapropsError
from dataprops.experiment.models import MODELS, find_model

# of torchvision's networks with 1000 classes and 3 channels
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
}
# some of torchvision's state-dict entries, with their shapes
ENTRIES = {
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_var": (64,),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.num_batches_tracked": (),
        "layer4.1.bn2.bias": (512,),
        "fc.weight": (1000, 512),
    },
    "resnet34": {"layer3.5.conv2.weight": (256, 256, 3, 3)},
    "resnet50": {
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "fc.weight": (1000, 2048),
    },
    "vgg13": {"features.0.weight": (64, 3, 3, 3), "features.22.bias": (512,), "classifier.6.bias": (1000,)},
    "vgg16": {"features.28.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)},
    "vgg19": {"features.34.weight": (512, 512, 3, 3), "classifier.3.weight": (4096, 4096)},
}
ENTRY_COUNT = {"resnet18": 122, "resnet34": 218, "resnet50": 320, "vgg13": 26, "vgg16": 32, "vgg19": 38}


@pytest.mark.parametrize("name", ENTRY_COUNT)
def test_names_shapes_and_counts_are_torchvisions(name):
    with torch.device("meta"):
        net = MODELS[name].build()
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]
    state = net.state_dict()
    assert len(state) == ENTRY_COUNT[name]
    for entry, shape in ENTRIES[name].items():
        assert tuple(state[entry].shape) == shape


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", ENTRY_COUNT)
def test_outputs_are_torchvisions(name, channels):
    """With copied weights, where torchvision imports; with running means that are not those of the start, and with dropout too."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import: {error}")
    torch.manual_seed(0)
    theirs = getattr(models, name)(num_classes=5)
    if channels == 1:  # as the paper changes it
        if name.startswith("resnet"):
            theirs.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        else:
            theirs.features[0] = torch.nn.Conv2d(1, 64, 3, padding=1)
    x = torch.rand(3, channels, 96, 96)
    with torch.no_grad():
        theirs.train()(x)  # moves the running means of batch norms
    ours = MODELS[name].build(channels=channels, classes=5)
    with torch.no_grad():
        assert not torch.equal(ours.eval()(x), theirs.eval()(x))  # the weights decide
        ours.load_state_dict(theirs.state_dict())
        assert torch.equal(ours(x), theirs(x))
        outputs = []
        for net in (ours.train(), theirs.train()):
            torch.manual_seed(1)
            outputs.append(net(x))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg13"])
def test_a_seed_gives_the_weights_that_it_gives_torchvision(name):
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not import: {error}")
    states = []
    for build in (lambda: getattr(models, name)(num_classes=2), lambda: MODELS[name].build(classes=2)):
        torch.manual_seed(4)
        states.append(build().state_dict())
    for entry, values in states[0].items():
        assert torch.equal(values, states[1][entry]), entry


@pytest.mark.parametrize("name", MODELS)
def test_layers_exist_and_channels_and_classes_are_free(name):
    row = MODELS[name]
    with torch.device("meta"):
        net = row.build(channels=1, classes=5, size=32)
        assert net(torch.empty(2, 1, 32, 32)).shape == (2, 5)
    modules = dict(net.named_modules())
    assert set(row.layers) <= set(modules)
    assert row.last == row.layers[-1]
    if name.startswith("vgg"):
        assert all(isinstance(modules[layer], torch.nn.MaxPool2d) for layer in row.layers[:5])


def test_a_small_vgg_computes_what_torchvisions_form_computes():
    """One position repeated 49 times before a linear layer is that position before the sum of the 49 weights."""
    from dataprops.experiment.models.vgg import VGG

    torch.manual_seed(0)
    counts = (1, 1, 1, 1, 1)
    small, large = VGG(counts, 1, 2, 32).eval(), VGG(counts, 1, 2, 64).eval()
    assert large.avgpool.output_size == 7
    weights = large.state_dict()
    first = weights["classifier.0.weight"]
    weights["classifier.0.weight"] = first.view(4096, 512, 49).sum(2)
    small.load_state_dict(weights)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(small(x), large(x), atol=1e-5)
        fresh = VGG(counts, 1, 2, 32).classifier[0].weight
    assert float(fresh.detach().std()) == pytest.approx(0.07, rel=0.01)


class Tiny(torch.nn.Module):
    """A network of a user."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.layer = torch.nn.Linear(channels, classes)


def test_a_network_by_import_path():
    assert find_model("tests.test_models:Tiny").build(channels=3, classes=7, size=9).layer.weight.shape == (7, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "unknown model 'resnet19': models are resnet18"),
        ("no.such.module:Net", "cannot be imported"),
        ("tests.test_models:Missing", "cannot be imported"),
        ("tests.test_models:PARAMETERS", "is not a class or function"),
    ],
)
def test_what_is_no_network_is_refused(name, message):
    with pytest.raises(DatapropsError, match=message):
        find_model(name)
