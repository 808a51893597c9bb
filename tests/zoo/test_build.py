from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from lensbench.errors import ModelError
from lensbench.zoo.adapter import Candidate
from lensbench.zoo.classifier import Classifier

Images = Callable[..., Tensor]
Make = Callable[..., Classifier]

SMALL = ("resnet18", "mobilenetv3_small_100", "facebook/convnextv2-atto-1k-224", "timm/test_vit")
"""One quick model of each library, and a transformer."""


@pytest.mark.parametrize("identifier", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_returns_a_logit_per_class(
    make: Make, images: Images, identifier: str, channels: int
) -> None:
    classifier = make(identifier, channels=channels)
    assert classifier.training
    assert classifier.classes == ("no", "sphere", "vort")
    assert classifier.weights_used == "none (random, seed 0)"
    assert classifier.n_parameters == sum(p.numel() for p in classifier.parameters())
    logits = classifier.eval()(images())
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize("identifier", SMALL)
def test_the_seed_alone_makes_the_weights(make: Make, identifier: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make(identifier, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = make(identifier, seed=1).state_dict(), make(identifier, seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_torchvision_draws_the_stem_of_one_channel_as_that_of_three(make: Make) -> None:
    colour = make("resnet18", channels=3).network.conv1.weight
    grey = make("resnet18", channels=1).network.conv1.weight
    assert torch.equal(grey, colour.sum(1, keepdim=True))


def test_a_copy_is_independent_and_equal(make: Make, images: Images) -> None:
    for identifier in SMALL:
        classifier = make(identifier).eval()
        twin = copy.deepcopy(classifier)
        assert torch.equal(twin(images()), classifier(images()))
        assert twin.notes == classifier.notes


def test_the_state_holds_the_network_only(make: Make) -> None:
    classifier = make("mobilenetv3_small_100", normalise="imagenet")
    assert {name.partition(".")[0] for name in classifier.state_dict()} == {"network"}


@pytest.mark.parametrize(
    ("identifier", "side", "accepts", "note"),
    [
        ("mobilenetv3_small_100", 150, (150, 150), None),
        ("vit_tiny_patch16_224", 224, (224, 224), None),
        ("vit_tiny_patch16_224", 160, (160, 160), None),
        ("vit_tiny_patch16_224", 150, (160, 160), "black frame makes 160 x 160"),
        ("timm/levit_128s", 150, (224, 224), "resized to 224 x 224 pixels, not 150 x 150"),
        ("torchvision/inception_v3", 64, (299, 299), "resized to 299 x 299 pixels, not 64 x 64"),
    ],
)
def test_a_size_that_does_not_fit_is_noted(
    make: Make, images: Images, identifier: str, side: int, accepts: tuple[int, int], note: str
) -> None:
    classifier = make(identifier, image_size=side).eval()
    assert classifier.preprocess.accepts == accepts
    assert [note in text for text in classifier.notes] == ([] if note is None else [True])
    assert classifier(images(1)).shape == (1, 3)


def test_images_need_not_be_square(make: Make) -> None:
    for identifier in ("mobilenetv3_small_100", "timm/test_vit"):
        classifier = make(identifier, image_shape=(1, 100, 150)).eval()
        assert classifier(torch.rand(2, 1, 100, 150)).shape == (2, 3)


def test_auxiliary_heads_are_left_out(make: Make, images: Images) -> None:
    logits = make("torchvision/googlenet")(images())
    assert logits.shape == (2, 3)


def test_what_cannot_be_built_says_why(make: Make) -> None:
    with pytest.raises(ModelError, match="two classes"):
        make("resnet18", classes=("only",))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Flatten(), r"returns \(1, 22500\) as logits"),
        (nn.Conv2d(1, 1, 200), "Kernel size can't be greater"),
        (None, "no classifier"),
    ],
)
def test_a_network_that_cannot_classify_says_why(
    make: Make, monkeypatch: pytest.MonkeyPatch, network: nn.Module | None, reason: str
) -> None:
    def candidates(*_: object) -> Iterator[Candidate]:
        if network is not None:
            yield Candidate(network, frozenset(), (150, 150))

    monkeypatch.setattr("lensbench.zoo.from_timm.candidates", candidates)
    with pytest.raises(ModelError, match=rf"timm/resnet26 cannot .* 1 x 150 x 150: .*{reason}"):
        make("timm/resnet26")


@pytest.mark.slow
@pytest.mark.parametrize(
    "identifier",
    [
        "resnet18",
        "efficientnet_b0",
        "mobilenetv3_small_100",
        "facebook/convnextv2-atto-1k-224",
        "vit_tiny_patch16_224",
    ],
)
def test_each_family_learns(make: Make, images: Images, identifier: str) -> None:
    classifier = make(identifier, image_size=96, classes=("no", "sphere"))
    batch, labels = images(8), torch.arange(8) % 2
    batch[labels == 1, :, :75] = 0
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(classifier(batch), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = dict(classifier.named_parameters())
    assert all(p.grad is not None for p in after.values())
    assert all(not torch.equal(before[name], after[name]) for name in before)
