"""Weights from files: the library's own result is the oracle wherever it has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

from lensbench.errors import ModelError, WeightsError
from lensbench.zoo.build import load_classifier
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.weights import load_weights, save_weights

Images = Callable[..., Tensor]
Make = Callable[..., Classifier]

ATTO = "facebook/convnextv2-atto-1k-224"
PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: torchvision.models.resnet18(),
    "mobilenetv3_small_100": lambda: timm.create_model("mobilenetv3_small_100"),
    "timm/test_vit": lambda: timm.create_model("test_vit"),
    ATTO: lambda: ConvNextV2ForImageClassification(
        ConvNextV2Config(depths=[2, 2, 6, 2], hidden_sizes=[40, 80, 160, 320], num_labels=1000)
    ),
    "torchvision/vit_b_32": lambda: torchvision.models.vit_b_32(),
}
HEADS = {
    "resnet18": "fc",
    "mobilenetv3_small_100": "classifier",
    "timm/test_vit": "head",
    ATTO: "classifier",
    "torchvision/vit_b_32": "heads.head",
}
SMALL = ("resnet18", "mobilenetv3_small_100", "timm/test_vit", ATTO)


@pytest.fixture
def published(tmp_path: Path) -> Callable[[str], tuple[nn.Module, Path]]:
    """A network as its library publishes it, 1000 classes and 3 channels, and a file of it."""

    def draw(identifier: str) -> tuple[nn.Module, Path]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            network = PUBLISHED[identifier]().eval()
        path = tmp_path / "published.safetensors"
        save_file(network.state_dict(), path)
        return network, path

    return draw


def body(network: nn.Module, head: str) -> dict[str, Tensor]:
    return {k: t for k, t in network.state_dict().items() if not k.startswith(head + ".")}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("identifier", SMALL)
def test_all_but_the_head_is_taken_from_a_file_of_1000_classes(
    make: Make, published: Any, identifier: str
) -> None:
    network, path = published(identifier)
    classifier = make(identifier, weights=path, channels=3, image_size=160)
    head = HEADS[identifier]
    assert same(body(classifier.network, head), body(network, head))
    assert classifier.weights_used.startswith("file: published.safetensors sha256:")
    fresh = make(identifier, channels=3, image_size=160).network.get_submodule(head)
    assert same(fresh.state_dict(), classifier.network.get_submodule(head).state_dict())


@pytest.mark.parametrize("identifier", SMALL)
def test_one_channel_gives_what_three_equal_ones_give(
    make: Make, published: Any, images: Images, identifier: str
) -> None:
    _, path = published(identifier)
    grey = make(identifier, weights=path, channels=1, image_size=160).eval()
    colour = make(identifier, weights=path, channels=3, image_size=160).eval()
    head = HEADS[identifier]
    colour.network.get_submodule(head).load_state_dict(
        grey.network.get_submodule(head).state_dict()
    )
    with torch.no_grad():
        one, three = grey(images()), colour(images())
    assert one.std() > 1e-6
    torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "test_vit", "test_efficientnet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_timm_gives_the_same_stem(make: Make, tmp_path: Path, name: str, channels: int) -> None:
    path = tmp_path / "published.safetensors"
    save_file(timm.create_model(name).state_dict(), path)
    theirs = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": load_file(path)},
        num_classes=3,
        in_chans=channels,
    )
    head = timm.get_pretrained_cfg(name).classifier
    ours = make(f"timm/{name}", weights=path, channels=channels, image_size=160)
    assert same(body(ours.network, head), body(theirs, head))


@pytest.mark.slow
def test_torchvision_interpolates_positions(make: Make, images: Images, published: Any) -> None:
    network, path = published("torchvision/vit_b_32")
    classifier = make("torchvision/vit_b_32", weights=path, channels=1, image_size=150)
    assert classifier.notes == (
        "a black frame makes 160 x 160 pixels of 150 x 150, for whole patches",
    )
    assert classifier.eval()(images(1)).shape == (1, 3)
    own = classifier.network.state_dict()
    assert own["encoder.pos_embedding"].shape == (1, 26, 768)
    assert torch.equal(own["class_token"], network.state_dict()["class_token"])
    positions = network.state_dict()["encoder.pos_embedding"]
    assert torch.equal(own["encoder.pos_embedding"][:, 0], positions[:, 0])


def test_a_head_of_the_same_classes_is_taken_too(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_weights(make("resnet18", seed=1), path)
    again = make("resnet18", seed=2, weights=path)
    assert same(again.state_dict(), make("resnet18", seed=1).state_dict())
    assert again.notes == ("the last layer is that of the weight file",)
    turned = make("resnet18", seed=2, weights=path, classes=("vort", "sphere", "no"))
    drawn = make("resnet18", seed=2).network.fc.weight
    raw = tmp_path / "raw.safetensors"
    save_file(make("resnet18", seed=1).network.state_dict(), raw)
    assert same(make("resnet18", weights=raw).state_dict(), again.state_dict())
    assert torch.equal(turned.network.fc.weight, drawn)
    assert turned.notes == ()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("bn1.weight"), "bn1.weight is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is unknown"),
        (
            lambda s: s.update({"layer1.0.conv1.weight": torch.zeros(64, 32, 3, 3)}),
            r"layer1.0.conv1.weight is \(64, 32, 3, 3\), not \(64, 64, 3, 3\)",
        ),
        (lambda s: s.update({"conv1.weight": torch.zeros(64, 4, 7, 7)}), "conv1.weight is"),
        (lambda s: [s.pop(k) for k in list(s) if "layer4" in k], r"layer4.*and \d+ more"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    make: Make, tmp_path: Path, spoil: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = torchvision.models.resnet18().state_dict()
    spoil(state)
    path = tmp_path / "spoilt.safetensors"
    save_file(state, path)
    with pytest.raises(WeightsError, match=message) as caught:
        make("resnet18", weights=path)
    assert "torchvision/resnet18: file: spoilt.safetensors" in str(caught.value)


@pytest.mark.parametrize("identifier", ["mobilenetv3_small_100", ATTO])
def test_a_file_of_another_network_is_refused(make: Make, published: Any, identifier: str) -> None:
    _, path = published("resnet18")
    with pytest.raises(WeightsError, match="does not fit the model"):
        make(identifier, weights=path)


def test_a_network_that_knows_versions_of_its_state(make: Make, tmp_path: Path) -> None:
    network = torchvision.models.mnasnet0_5()
    path = tmp_path / "versioned.safetensors"
    save_file(network.state_dict(), path)
    classifier = make("torchvision/mnasnet0_5", weights=path, channels=3)
    assert same(body(classifier.network, "classifier.1"), body(network, "classifier.1"))


def test_old_files_without_counters_are_fine(make: Make, tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    path = tmp_path / "old.safetensors"
    save_file({k: t for k, t in state.items() if "num_batches" not in k}, path)
    assert torch.equal(make("resnet18", weights=path).network.bn1.weight, state["bn1.weight"])


def test_only_safetensors_are_opened(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    with pytest.raises(WeightsError, match=r"python -c .*save_file.*weights\.safetensors"):
        make("resnet18", weights=path)
    with pytest.raises(WeightsError, match=r"\.safetensors files only"):
        save_weights(make("resnet18"), path)
    disguised = path.rename(tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        make("resnet18", weights=disguised)
    with pytest.raises(WeightsError, match="does not exist"):
        make("resnet18", weights=tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("identifier", [*SMALL, "torchvision/mnasnet0_5"])
def test_saved_weights_give_identical_logits(
    make: Make, images: Images, tmp_path: Path, identifier: str
) -> None:
    settings = {"stretch": "sqrt", "normalise": "imagenet", "image_size": 160, "channels": 3}
    classifier = make(identifier, seed=1, **settings)
    with torch.no_grad():
        classifier(images())  # moves running means, where there are some
    path = tmp_path / "folder" / "best.safetensors"
    save_weights(classifier, path)
    assert [file.name for file in path.parent.iterdir()] == ["best.safetensors"]
    other = make(identifier, seed=2, **settings)
    load_weights(other, path)
    alone = load_classifier(path)
    assert alone.weights_used.startswith("file: best.safetensors sha256:")
    assert (alone.name, alone.classes) == (classifier.name, classifier.classes)
    with torch.no_grad():
        wanted = classifier.eval()(images())
        assert torch.equal(other.eval()(images()), wanted)
        assert torch.equal(alone.eval()(images()), wanted)


def test_weights_of_another_classifier_are_refused(
    make: Make, published: Any, tmp_path: Path
) -> None:
    path = tmp_path / "own.safetensors"
    save_weights(make("resnet18"), path)
    for other, message in (
        (make("mobilenetv3_small_100"), "its model is torchvision/resnet18"),
        (make("resnet18", classes=("a", "b", "c")), "its classes is"),
        (make("resnet18", stretch="sqrt"), "its view is"),
    ):
        before = {k: t.clone() for k, t in other.state_dict().items()}
        with pytest.raises(WeightsError, match=message):
            load_weights(other, path)
        assert same(before, dict(other.state_dict()))
    _, foreign = published("resnet18")
    with pytest.raises(WeightsError, match=r"conv1\.weight is"):
        load_weights(make("resnet18"), foreign)
    with pytest.raises(WeightsError, match="which classifier"):
        load_classifier(foreign)


def test_a_failed_write_leaves_the_old_file(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(make("mobilenetv3_small_100"), path)
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("lensbench.zoo.weights.save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(make("mobilenetv3_small_100", seed=3), path)
    assert path.read_bytes() == before


def test_a_model_that_is_gone_is_named(make: Make, tmp_path: Path) -> None:
    classifier = make("mobilenetv3_small_100")
    classifier.name = "timm/mobilenetv3_small_1000000"
    save_weights(classifier, tmp_path / "own.safetensors")
    with pytest.raises(ModelError, match="mobilenetv3_small_1000000"):
        load_classifier(tmp_path / "own.safetensors")
