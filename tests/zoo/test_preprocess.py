from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lensbench.errors import ModelError
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.preprocess import Preprocess, View

Images = Callable[..., Tensor]
Make = Callable[..., Classifier]


def prepare(
    images: Tensor,
    *,
    accepts: tuple[int, int] | None = None,
    pads: bool = False,
    image_size: int | None = None,
    channels: Any = 1,
    stretch: Any = "none",
    normalise: Any = "none",
) -> Tensor:
    shape = (images.shape[1], images.shape[2], images.shape[3])
    view = View(image_size, channels, stretch, normalise)
    preprocess = Preprocess(shape, view, accepts or view.size(shape), pads=pads)
    prepared: Tensor = preprocess(images)
    return prepared


@pytest.mark.parametrize("channels", [1, 3])
def test_with_nothing_to_do_the_network_sees_the_very_values(
    make: Make, images: Images, channels: int
) -> None:
    classifier = make("resnet18", channels=channels, image_shape=(channels, 150, 150)).eval()
    seen: list[Tensor] = []
    classifier.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    batch = images(channels=channels) * 2 - 0.5
    classifier(batch)
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], batch)


def test_sqrt_takes_negative_values_for_zero() -> None:
    batch = torch.tensor([[[[0.25, -0.1], [1.0, 0.0]]]])
    assert torch.equal(prepare(batch, stretch="sqrt"), torch.tensor([[[[0.5, 0.0], [1.0, 0.0]]]]))


def test_resizing_is_bilinear_and_antialiased(images: Images) -> None:
    batch = images()
    wanted = functional.interpolate(batch, (64, 64), mode="bilinear", antialias=True)
    assert torch.equal(prepare(batch, image_size=64), wanted)
    flat = torch.full((1, 1, 150, 150), 0.7)
    assert torch.allclose(prepare(flat, image_size=224), torch.full((1, 1, 224, 224), 0.7))


def test_one_channel_is_repeated_and_three_are_averaged(images: Images) -> None:
    grey, colour = images(side=20), images(channels=3, side=20)
    assert torch.equal(prepare(grey, channels=3), grey.repeat(1, 3, 1, 1))
    assert torch.equal(prepare(colour, channels=1), colour.mean(1, keepdim=True))


def test_imagenet_normalisation(images: Images) -> None:
    batch = images(channels=3, side=20)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    wanted = (batch - mean) / deviation
    assert torch.equal(prepare(batch, channels=3, normalise="imagenet"), wanted)
    grey = images(side=20)
    assert torch.allclose(prepare(grey, normalise="imagenet"), (grey - 0.449) / 0.226)


@pytest.mark.parametrize("normalise", ["none", "imagenet"])
def test_a_frame_is_sky_around_the_untouched_image(images: Images, normalise: str) -> None:
    batch = images()
    framed = prepare(batch, accepts=(160, 165), pads=True, normalise=normalise)
    assert framed.shape == (2, 1, 160, 165)
    assert torch.equal(framed[:, :, 5:155, 7:157], prepare(batch, normalise=normalise))
    sky = prepare(torch.zeros(1, 1, 1, 1), normalise=normalise)
    assert (framed[:, :, :5] == sky).all()
    assert (framed[..., 157:] == sky).all()


def test_an_integer_or_half_batch_becomes_float32(images: Images) -> None:
    assert prepare(images(side=20).half()).dtype == torch.float32


def test_other_shapes_are_refused(make: Make, images: Images) -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 150, 150\), not \(1, 64, 64\)"):
        make("mobilenetv3_small_100")(images(side=64))
    with pytest.raises(ModelError, match="5 channels"):
        make("mobilenetv3_small_100", image_shape=(5, 150, 150))
