from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.visualization
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from lensbench.errors import ModelError
from lensbench.zoo.build import load_classifier
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.preprocess import Preprocess, View, rescale, stretch
from lensbench.zoo.weights import save_weights

Images = Callable[..., Tensor]
Make = Callable[..., Classifier]


def prepare(
    images: Tensor,
    *,
    accepts: tuple[int, int] | None = None,
    pads: bool = False,
    image_size: int | None = None,
    channels: Any = 1,
    per_image: Any = "none",
    stretch: Any = "none",
    normalise: Any = "none",
) -> Tensor:
    shape = (images.shape[1], images.shape[2], images.shape[3])
    view = View(image_size, channels, per_image, stretch, normalise)
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


ASTROPY = {
    "sqrt": astropy.visualization.SqrtStretch(),
    "asinh": astropy.visualization.AsinhStretch(a=0.1),
    "log": astropy.visualization.LogStretch(a=1000),
}

every_stretch = pytest.mark.parametrize("name", ASTROPY)


@every_stretch
def test_stretches_are_those_of_astropy(name: Any) -> None:
    """In float64; values so near to zero are exact there, too, by the slope of the curve."""
    values = torch.cat([torch.logspace(-6, 2, 200), torch.linspace(0, 2, 201)])
    wanted = ASTROPY[name](values.double().numpy(), clip=False)
    found = prepare(values[None, None, None], stretch=name)[0, 0, 0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=5e-7)


@pytest.mark.parametrize(
    ("name", "slope"), [("asinh", 10 / np.arcsinh(10)), ("log", 1000 / np.log(1001))]
)
def test_stretches_keep_their_precision_near_zero(name: Any, slope: float) -> None:
    values = torch.logspace(-30, -9, 100)
    np.testing.assert_allclose(stretch(values, name), slope * values.double(), rtol=1e-6)


@every_stretch
def test_stretches_leave_black_and_white_where_they_are(name: Any) -> None:
    black, white = stretch(torch.tensor([0.0, 1.0]), name)
    assert black == 0
    assert white == pytest.approx(1, rel=2e-7)


def test_asinh_is_odd_and_the_others_take_negative_values_for_zero() -> None:
    values = torch.logspace(-6, 4, 50)
    torch.testing.assert_close(stretch(-values, "asinh"), -stretch(values, "asinh"))
    for name in ("sqrt", "log"):
        assert torch.equal(prepare(-values[None, None, None], stretch=name).flatten(), 0 * values)


def test_min_max_takes_the_extremes_of_all_channels(images: Images) -> None:
    batch = images(n=3, channels=3, side=20) * torch.tensor([1, 0.5, 0.2])[:, None, None] - 0.1
    batch = batch * torch.tensor([1, 1e-30, 1e30])[:, None, None, None]
    found = prepare(batch, channels=3, per_image="min-max").double().numpy()
    for image, one in zip(batch.double().numpy(), found, strict=True):
        assert (one.min(), one.max()) == (0, 1)
        np.testing.assert_allclose(one, (image - image.min()) / np.ptp(image), atol=1e-6)


@pytest.mark.parametrize("scale", [3e-38, 1e-25, 1.0, 1e25])
@pytest.mark.parametrize("offset", [-1e3, 0.0, 10.0])
def test_standardise_takes_mean_and_deviation_of_all_channels(
    images: Images, scale: float, offset: float
) -> None:
    batch = (images(n=2, channels=3, side=20) + offset) * scale
    found = prepare(batch, channels=3, per_image="standardise").double().numpy()
    for image, one in zip(batch.double().numpy(), found, strict=True):
        np.testing.assert_allclose(one, (image - image.mean()) / image.std(), atol=1e-5)


@pytest.mark.parametrize("per_image", ["min-max", "standardise"])
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_constant_image_becomes_zeros(per_image: Any, value: float) -> None:
    batch = torch.full((1, 3, 7, 11), value)
    assert torch.equal(rescale(batch, per_image), torch.zeros_like(batch))


def test_images_are_rescaled_before_they_are_stretched_and_framed(images: Images) -> None:
    batch = images(side=30) * 5 + 2
    settings: dict[str, Any] = {"accepts": (32, 32), "pads": True}
    found = prepare(batch, per_image="min-max", stretch="asinh", **settings)
    wanted = prepare(rescale(batch, "min-max"), stretch="asinh", **settings)
    assert torch.equal(found, wanted)
    assert found.max() == pytest.approx(1)
    assert (found[:, :, 0] == 0).all()


@pytest.mark.parametrize("name", ["sqrt", "log"])
def test_standardised_images_have_no_use_for_curves_of_positive_values(
    make: Make, name: str
) -> None:
    with pytest.raises(ValidationError, match=f"{name} makes zero .* choose the stretch asinh"):
        make("resnet18", per_image="standardise", stretch=name)


def test_weights_carry_what_is_done_to_the_images(
    make: Make, images: Images, tmp_path: Path
) -> None:
    trained = make("resnet10t", image_shape=(1, 64, 64), per_image="standardise", stretch="asinh")
    save_weights(trained, tmp_path / "weights.safetensors")
    loaded = load_classifier(tmp_path / "weights.safetensors")
    assert loaded.preprocess.view == trained.preprocess.view
    batch = images(side=64)
    assert torch.equal(loaded.eval()(batch), trained.eval()(batch))


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.uint8])
def test_a_batch_of_another_type_becomes_float32(images: Images, dtype: torch.dtype) -> None:
    assert prepare(images(side=20).to(dtype)).dtype == torch.float32


def test_other_shapes_are_refused(make: Make, images: Images) -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 150, 150\), not \(1, 64, 64\)"):
        make("mobilenetv3_small_100")(images(side=64))
    with pytest.raises(ModelError, match="5 channels"):
        make("mobilenetv3_small_100", image_shape=(5, 150, 150))
