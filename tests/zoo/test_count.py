"""Counts against closed forms and published figures."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.backends import mha
from torch.nn import functional

from lensbench.zoo.classifier import Classifier, Symmetry
from lensbench.zoo.count import cost_of, count_multiply_adds
from lensbench.zoo.names import CONTRACT_MODELS, ModelName
from lensbench.zoo.preprocess import Preprocess, View

IMAGENET = tuple(map(str, range(1000)))

# Billions of multiply-adds of one image at 224 pixels with three channels, for 1,000 classes.
PUBLISHED = {
    # The documentation of torchvision's weights.
    "torchvision/resnet18": 1.81,
    "torchvision/resnet50": 4.09,
    "torchvision/vit_b_16": 17.56,
    "torchvision/swin_t": 4.49,
    "timm/efficientnet_b0": 0.39,  # Tan and Le (2019)
    "timm/mobilenetv3_small_100": 0.056,  # Howard et al. (2019)
    "timm/mobilenetv3_large_100": 0.219,
    "timm/vit_tiny_patch16_224": 1.26,  # the results of timm and DeiT
    "timm/vit_small_patch16_224": 4.6,
    "transformers/facebook/convnextv2-atto-1k-224": 0.55,  # Woo et al. (2023)
    "transformers/facebook/convnextv2-tiny-1k-224": 4.47,
}


class _Attention(nn.Module):
    """One head on the rows of an image as tokens."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = images[:, :1]
        return functional.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0, :2, 0]


class _MultiheadAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, num_heads=2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = images[:, 0]
        return self.attention(tokens, tokens, tokens, need_weights=False)[0][:, :2, 0]


def _wrapped(network: nn.Module, image_shape: tuple[int, int, int]) -> Classifier:
    view = View(None, 1 if image_shape[0] == 1 else 3, "none", "none", "none")
    preprocess = Preprocess(image_shape, view, image_shape[1:])
    symmetry = Symmetry(knows_d4=False, test_time_augmentation="none")
    name = ModelName("timm", "made_up")
    return Classifier(name, ("a", "b"), preprocess, network, symmetry, "none")


def _flat(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.ReLU(), nn.Flatten())


@pytest.mark.parametrize(
    ("network", "image_shape", "closed_form"),
    [
        # k^2 C_in products for each of C_out x H_out x W_out values; groups share the C_in.
        (_flat(nn.Conv2d(3, 5, 3, padding=1)), (3, 12, 10), 9 * 3 * 5 * 12 * 10),
        (_flat(nn.Conv2d(3, 6, 5, stride=2, padding=2, groups=3)), (3, 12, 10), 25 * 6 * 6 * 5),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 7)), (1, 8, 6), 48 * 7),
        # Keys with queries, and weights with values: T x T x D each.
        (nn.Sequential(nn.Conv2d(1, 1, 1), _Attention()), (1, 9, 4), 9 * 4 + 2 * 9 * 9 * 4),
        # With three projections before and one behind.
        (_MultiheadAttention(4), (1, 9, 4), 4 * 9 * 4 * 4 + 2 * 9 * 9 * 4),
    ],
)
def test_one_layer_has_its_closed_form(
    network: nn.Module, image_shape: tuple[int, int, int], closed_form: int
) -> None:
    assert count_multiply_adds(_wrapped(network, image_shape)) == closed_form


@pytest.mark.parametrize(
    "identifier",
    [
        pytest.param(name, marks=[] if value < 0.5 else pytest.mark.slow)
        for name, value in PUBLISHED.items()
    ],
)
def test_whole_networks_have_their_published_number(
    make: Callable[..., Classifier], identifier: str
) -> None:
    classifier = make(identifier, classes=IMAGENET, image_size=224, channels=3)
    assert count_multiply_adds(classifier) / 1e9 == pytest.approx(PUBLISHED[identifier], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("identifier", [row.identifier for row in CONTRACT_MODELS])
def test_every_model_of_the_contract_is_counted(
    make: Callable[..., Classifier], identifier: str
) -> None:
    cost = cost_of(make(identifier, image_size=224, channels=3))
    assert 5e7 < cost.multiply_adds < 2e10
    assert cost.image_size == (224, 224)


def test_the_cost_is_that_of_what_the_network_sees(make: Callable[..., Classifier]) -> None:
    small = make("mobilenetv3_small_100", image_shape=(1, 64, 40))
    large = make("mobilenetv3_small_100", image_shape=(1, 64, 40), image_size=96, channels=3)
    assert (cost_of(small).image_size, cost_of(small).channels) == ((64, 40), 1)
    assert (cost_of(large).image_size, cost_of(large).channels) == ((96, 96), 3)
    assert cost_of(small).model == "timm/mobilenetv3_small_100"
    assert cost_of(small).n_parameters == small.n_parameters


def test_four_times_the_pixels_cost_four_times_as_much(make: Callable[..., Classifier]) -> None:
    small, large = (make("resnet18", image_size=side) for side in (64, 128))
    head = 512 * 3
    assert count_multiply_adds(large) - head == 4 * (count_multiply_adds(small) - head)


def test_counting_leaves_everything_as_it_was(make: Callable[..., Classifier]) -> None:
    classifier = make("mobilenetv3_small_100", image_shape=(1, 32, 32))
    part = next(iter(classifier.network.children())).eval()  # somebody may have frozen a part
    frozen = next(part.parameters())
    frozen.requires_grad_(False)
    state = copy.deepcopy(classifier.state_dict())
    drawn = torch.get_rng_state()
    count_multiply_adds(classifier)
    assert classifier.training
    assert not part.training
    assert torch.equal(torch.get_rng_state(), drawn)
    assert mha.get_fastpath_enabled()
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, state[name])
    for parameter in classifier.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad == (parameter is not frozen)


class _Distilled(nn.Module):
    """Hands a weight to one of its modules, as transformers do with their tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 64))
        self.head = nn.Linear(64, 3)
        self.inner = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.flatten(1) + self.inner(self.token))


def test_a_weight_that_enters_a_module_can_be_counted() -> None:
    assert count_multiply_adds(_wrapped(_Distilled(), (1, 8, 8))) == 64 * 3


def test_a_network_that_fails_is_given_back_too(make: Callable[..., Classifier]) -> None:
    classifier = _wrapped(nn.Linear(7, 2), (1, 8, 8))
    with pytest.raises(RuntimeError, match="shapes"):
        count_multiply_adds(classifier)
    assert classifier.training
    assert mha.get_fastpath_enabled()
