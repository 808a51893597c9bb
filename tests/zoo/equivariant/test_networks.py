"""Whole networks: what they must not see, what they must learn, what they cost."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lensbench.errors import ModelError, WeightsError
from lensbench.zoo.build import load_classifier
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.count import count_multiply_adds
from lensbench.zoo.equivariant.networks import NETWORKS, EquivariantNet, as_plain, is_plain
from lensbench.zoo.names import OWN_NAMES
from lensbench.zoo.weights import save_weights

from .moves import exact_elements, move_image, spots

Make = Callable[..., Classifier]
Images = Callable[..., Tensor]

# Thousands of parameters for three classes and one channel, and billions of multiply-adds of one
# image of 150 pixels: to be changed with the networks.
SIZES = {
    "d4_resnet": (366, 0.755),
    "c8_resnet": (133, 0.992),
    "d4_densenet": (113, 0.643),
    "c8_densenet": (118, 0.905),
}


ONE_OF_EACH = [
    pytest.param(name, marks=[] if name in ("d4_resnet", "c8_densenet") else pytest.mark.slow)
    for name in OWN_NAMES
]


def trained(network: nn.Module, side: int = 32, n_steps: int = 4) -> nn.Module:
    """Take some steps, so that nothing in the network is as it was drawn."""
    draw = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step in range(n_steps):
        images = spots(6, side=side, seed=step) + 0.1 * torch.rand(6, 1, 1, 1, generator=draw)
        loss = nn.functional.cross_entropy(network(images), torch.arange(6) % 3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.fixture
def network() -> Callable[[str], EquivariantNet]:
    def draw(name: str) -> EquivariantNet:
        torch.manual_seed(0)
        return NETWORKS[name](3, 1)

    return draw


def test_nobody_is_missing_from_the_names() -> None:
    assert tuple(NETWORKS) == OWN_NAMES == tuple(SIZES)


@pytest.mark.parametrize("name", OWN_NAMES)
@pytest.mark.parametrize("side", [64, 37, 16, pytest.param(150, marks=pytest.mark.slow)])
def test_logits_are_invariant(
    network: Callable[[str], EquivariantNet], name: str, side: int
) -> None:
    net = trained(network(name))
    images = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(5))
    images[1] = 5 * images[1] ** 4
    with torch.no_grad():
        logits = net(images)
        assert (logits[0] - logits[1]).abs().max() > 1e-2  # they do depend on the image
        for u in exact_elements(net.group):
            torch.testing.assert_close(
                net(move_image(images, net.group, u)), logits, rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize("name", ["d4_resnet", "c8_densenet"])
def test_gradients_are_those_of_the_turned_image(
    network: Callable[[str], EquivariantNet], name: str
) -> None:
    net = network(name)
    images = torch.rand(4, 1, 20, 20, generator=torch.Generator().manual_seed(5))
    gradients = []
    for batch in (images, move_image(images, net.group, net.group.n_turns // 4)):
        twin = copy.deepcopy(net).double()  # in training, batch normalisation amplifies rounding
        nn.functional.cross_entropy(twin(batch.double()), torch.arange(4) % 3).backward()
        gradients.append([p.grad for p in twin.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_c8_hardly_sees_a_turn_by_45_degrees(network: Callable[[str], EquivariantNet]) -> None:
    """The change of the logits, in units of what differs from image to image.

    Measured: 0.04 and 0.02 for C8 (up to 0.15 and 0.06 with two other seeds), 0.2 and 0.3 for D4,
    1.0 or more for a ResNet18.
    """

    def change(net: nn.Module) -> float:
        for part in net.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.momentum = None  # statistics of all that it sees
        with torch.no_grad():
            net(spots(6, 37, seed=50))
            net.eval()
            logits = net(spots(6))
            turned = net(spots(6, 45))
        scale = (logits - logits.mean(0)).square().mean().sqrt()
        return float((turned - logits).square().mean().sqrt() / scale)

    for name in ("c8_resnet", "c8_densenet"):
        assert change(network(name)) < 0.12
    plain = torchvision.models.resnet18(num_classes=3)
    plain.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    assert change(plain) > 0.6


@pytest.mark.parametrize("name", OWN_NAMES)
def test_a_plain_copy_gives_the_same_logits(
    network: Callable[[str], EquivariantNet], name: str
) -> None:
    net = trained(network(name))
    before = copy.deepcopy(net.state_dict())
    plain = as_plain(net)
    ours = {type(part) for part in net.modules()} - {type(part) for part in plain.modules()}
    assert {kind.__name__ for kind in ours} == {"LiftingConv", "GroupConv", "FieldNorm"}
    assert is_plain(plain)
    assert not is_plain(net)
    images = torch.rand(3, 1, 45, 45, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(plain(images), net(images), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_graph_of_a_plain_copy_expands_no_filter(
    network: Callable[[str], EquivariantNet], name: str
) -> None:
    net = as_plain(trained(network(name)))
    images = torch.rand(3, 1, 32, 32)
    program = torch.export.export(net, (images,))
    operations = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert operations <= {
        *("aten.conv2d.default", "aten.batch_norm.default", "aten.relu.default"),
        *("aten.avg_pool2d.default", "aten.add.Tensor", "aten.cat.default"),
        *("aten.unflatten.int", "aten.mean.dim", "aten.linear.default"),
    }
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), net(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_sizes_are_as_stated(make: Make, name: str) -> None:
    classifier = make(f"lensbench/{name}")
    thousands, billions = SIZES[name]
    assert classifier.n_parameters / 1e3 == pytest.approx(thousands, rel=0.01)
    assert count_multiply_adds(classifier) / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_inference_costs_what_plain_convolutions_cost(make: Make, name: str) -> None:
    """The closed form of each ordinary convolution, k^2 C_in C_out H W, and of the last layer."""
    classifier = make(name, image_shape=(1, 32, 32))
    total = 0

    def add(layer: nn.Module, _: object, result: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        total += weight.numel() * (result[0, 0].numel() if result.ndim == 4 else 1)

    plain = as_plain(classifier)
    for layer in plain.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        plain(torch.zeros(1, 1, 32, 32))
    assert counter.get_total_flops() // 2 == total == count_multiply_adds(classifier)
    assert not is_plain(classifier)


@pytest.mark.parametrize("name", OWN_NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_a_classifier_of_the_zoo(
    make: Make, images: Images, name: str, channels: int
) -> None:
    classifier = make(name, channels=channels, image_shape=(1, 16, 21)).eval()
    assert classifier.name == f"lensbench/{name}"
    assert classifier(torch.rand(2, 1, 16, 21)).shape == (2, 3)
    again = make(name, channels=channels, image_shape=(1, 16, 21)).eval()
    other = make(name, channels=channels, image_shape=(1, 16, 21), seed=1).eval()
    batch = torch.rand(2, 1, 16, 21)
    assert torch.equal(classifier(batch), again(batch))
    assert not torch.equal(classifier(batch), other(batch))


def test_what_it_cannot_do_is_said(make: Make) -> None:
    with pytest.raises(ModelError, match="16 pixels or more along each side"):
        make("d4_resnet", image_shape=(1, 15, 40))
    with pytest.raises(WeightsError, match=r"no pretrained weights for it[\s\S]*--no-pretrained"):
        make("c8_densenet", pretrained=True)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_weights_go_to_a_file_and_back(make: Make, tmp_path: Path, name: str) -> None:
    classifier = make(name, image_shape=(1, 32, 32))
    trained(classifier)
    path = tmp_path / "own.safetensors"
    save_weights(classifier, path)
    images = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        wanted = classifier(images)
        assert torch.equal(load_classifier(path).eval()(images), wanted)
        started = make(name, image_shape=(1, 32, 32), weights=path, seed=1).eval()
        assert torch.equal(started(images), wanted)
    other = make(name, image_shape=(1, 32, 32), weights=path, classes=("a", "b"))
    assert other.network.head.linear.weight.shape[0] == 2


@pytest.mark.parametrize("name", ["d4_resnet", "c8_densenet"])
def test_it_learns_a_tiny_set(network: Callable[[str], EquivariantNet], name: str) -> None:
    """One, two or three spots, anywhere."""
    draw = torch.Generator().manual_seed(2)
    images, labels = torch.zeros(24, 1, 24, 24), torch.arange(24) % 3
    for image, label in zip(images, labels, strict=True):
        for row, column in itertools.islice(
            torch.randint(3, 21, (3, 2), generator=draw).tolist(), int(label) + 1
        ):
            image[0, row - 1 : row + 2, column - 1 : column + 2] += 1
    net = network(name)
    optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3)
    losses = []
    for _ in range(32):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.05
