"""Random symmetries: exact where they claim to be."""

from collections import Counter

import numpy as np
import pytest
import scipy.stats
import torch
from torch.nn import functional

from lensbench.config import Recipe
from lensbench.training.augment import (
    augment,
    draw_affine,
    draw_elements,
    move_by_index,
    move_group_by_group,
    sampling_grid,
)
from lensbench.training.views import D4, FLIPS


def recipe(**changes) -> Recipe:
    settings = {"name": "t", "epochs": 1, "batch_size": 2, "learning_rate": 1e-3}
    return Recipe(**(settings | {"symmetry": "none"} | changes))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def numpy_group(image: np.ndarray) -> dict[bytes, str]:
    """Return the eight symmetries of a square image by their bytes."""
    turned = {f"{90 * k} degrees": np.rot90(image, k) for k in range(4)}
    flipped = {f"{name}, flipped": np.fliplr(one) for name, one in turned.items()}
    return {one.tobytes(): name for name, one in (turned | flipped).items()}


def test_no_augmentation_changes_nothing():
    images = torch.rand(4, 1, 9, 9)
    assert augment(images, recipe(), generator()) is images


@pytest.mark.parametrize(("symmetry", "n_elements"), [("flips", 4), ("d4", 8)])
def test_exact_symmetries_reach_every_element_equally_often(symmetry, n_elements):
    """Pixels are moved and nothing else: each result is, to the bit, an element of the group."""
    image = torch.arange(25.0).reshape(1, 1, 5, 5) / 7
    out = augment(image.repeat(4000, 1, 1, 1), recipe(symmetry=symmetry), generator())
    group = numpy_group(image[0, 0].numpy())
    counts = Counter(group[one.tobytes()] for one in out[:, 0].numpy())
    assert len(counts) == n_elements
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.01


@pytest.mark.parametrize(
    ("elements", "shape"), [(tuple(D4), (7, 7)), (tuple(D4), (8, 8)), (FLIPS, (5, 8))]
)
def test_a_gpu_moves_pixels_as_a_cpu_does(elements, shape):
    images = torch.rand(40, 2, *shape)
    drawn = torch.tensor(elements)[torch.randint(len(elements), (40,), generator=generator())]
    at_once, by_group = (move(images, drawn) for move in (move_by_index, move_group_by_group))
    assert torch.equal(at_once, by_group)


@pytest.mark.parametrize("symmetry", ["none", "d4"])
def test_the_images_that_are_given_stay_as_they_are(symmetry):
    images = torch.rand(8, 1, 9, 9)
    before = images.clone()
    out = augment(images, recipe(symmetry=symmetry, rotation_degrees=90), generator())
    assert not torch.equal(out, before)
    assert torch.equal(images, before)


def test_all_channels_of_an_image_are_moved_together_and_each_image_by_itself():
    images = torch.rand(1, 1, 9, 9).repeat(64, 3, 1, 1)
    out = augment(images, recipe(symmetry="d4", rotation_degrees=10), generator())
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])
    assert len(torch.unique(out[:, 0].flatten(1), dim=0)) == 64


def test_oblong_images_are_flipped_and_not_turned():
    image = torch.rand(1, 1, 4, 6)
    out = augment(image.repeat(400, 1, 1, 1), recipe(symmetry="d4"), generator())
    group = numpy_group(image[0, 0].numpy())
    counts = Counter(group[one.tobytes()] for one in out[:, 0].numpy() if one.shape == (4, 6))
    assert counts.keys() == {
        "0 degrees",
        "180 degrees",
        "0 degrees, flipped",
        "180 degrees, flipped",
    }
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.01


def test_affine_at_rest_is_the_identity():
    matrices = draw_affine(5, recipe(), generator())
    torch.testing.assert_close(matrices, torch.eye(2, 3).expand(5, 2, 3), rtol=0, atol=0)


def test_images_that_are_not_moved_keep_their_values_to_the_bit():
    """At the angle 0, and where the share of images that are moved leaves one out."""
    images = torch.rand(2000, 1, 7, 7)
    at_rest = recipe(rotation_degrees=1e-60)
    assert torch.equal(augment(images, at_rest, generator()), images)
    out = augment(images, recipe(rotation_degrees=180, affine_share=0.3), generator())
    moved = (out != images).flatten(1).any(dim=1)
    assert scipy.stats.binomtest(int(moved.sum()), 2000, 0.3).pvalue > 0.01
    matrices = draw_affine(2000, recipe(rotation_degrees=180, affine_share=0.3), generator())
    assert torch.equal(moved, (matrices != torch.eye(2, 3)).flatten(1).any(dim=1))


def test_turned_images_and_exact_ones_are_mixed():
    """What is not interpolated still sees all of the group."""
    image = torch.arange(25.0).reshape(1, 1, 5, 5) / 7
    plan = recipe(symmetry="d4", rotation_degrees=180, affine_share=0.5)
    out = augment(image.repeat(4000, 1, 1, 1), plan, generator())
    group = numpy_group(image[0, 0].numpy())
    counts = Counter(group.get(one.tobytes()) for one in out[:, 0].numpy())
    interpolated = counts.pop(None)
    assert scipy.stats.binomtest(interpolated, 4000, 0.5).pvalue > 0.01
    assert len(counts) == 8
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.01


def test_angles_shifts_and_scales_span_what_the_recipe_says():
    plan = recipe(rotation_degrees=15, shift=0.05, scale=0.1)
    matrices = draw_affine(5000, plan, generator())
    scale = 1 / matrices[:, :, :2].det().sqrt()
    angle = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg()
    for values, limit in ((scale - 1, 0.1), (angle, 15), (matrices[:, 0, 2], 0.1)):
        assert values.abs().max() <= limit * 1.0001
        assert values.max() > 0.99 * limit
        assert values.min() < -0.99 * limit
        assert abs(values.mean()) < 0.03 * limit


def test_a_shift_moves_a_point_by_its_share_of_the_side():
    """By up to 2.1 of 21 pixels: the mass of the image stays, its centre moves."""
    images = torch.zeros(200, 1, 21, 21)
    images[:, :, 10, 10] = 1
    out = augment(images, recipe(shift=0.1), generator())
    torch.testing.assert_close(out.sum((1, 2, 3)), torch.ones(200), rtol=0, atol=1e-4)
    columns = (out.sum((1, 2)) * torch.arange(21.0)).sum(1) - 10
    rows = (out.sum((1, 3)) * torch.arange(21.0)).sum(1) - 10
    for moved in (columns, rows):
        assert 1.9 < moved.abs().max() <= 2.1001


def test_the_same_generator_gives_the_same_images():
    images = torch.rand(8, 1, 9, 9)
    plan = recipe(symmetry="d4", rotation_degrees=90, scale=0.1)
    one, other = (augment(images, plan, generator()) for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_turn_is_a_turn_in_an_oblong_frame_too():
    """A horizontal line of pixels lies at the angle that was drawn, not at a sheared one."""
    plan = recipe(rotation_degrees=30)
    images = torch.zeros(20, 1, 41, 81)
    images[:, :, 20, 25:56] = 1
    angles = torch.atan2(*draw_affine(20, plan, generator())[:, :, 0].flip(1).unbind(1)).rad2deg()
    rows, columns = torch.arange(41.0)[:, None] - 20, torch.arange(81.0) - 40
    for image, angle in zip(augment(images, plan, generator())[:, 0], angles, strict=True):
        slope = (image * rows * columns).sum() / (image * columns**2).sum()
        assert torch.atan(slope).rad2deg().abs() == pytest.approx(abs(float(angle)), abs=1.0)


AFFINE = {"rotation_degrees": 40, "shift": 0.3, "scale": 0.3}


@pytest.mark.parametrize(("height", "width"), [(150, 150), (12, 15), (7, 1)])
def test_the_sampling_grid_is_that_of_torch(height, width):
    """Whose coordinates are those of a square frame, so the ratio of the sides comes in here."""
    matrices = draw_affine(16, recipe(**AFFINE), generator()).double()
    sides = torch.tensor([[1, height / width, 1], [width / height, 1, 1]]).double()
    wanted = functional.affine_grid(matrices * sides, [16, 3, height, width], align_corners=False)
    grid = sampling_grid(matrices, (height, width), torch.device("cpu"))
    torch.testing.assert_close(grid, wanted, rtol=0, atol=1e-14)
    in_float32 = sampling_grid(matrices.float(), (height, width), torch.device("cpu"))
    torch.testing.assert_close(in_float32.double(), wanted, rtol=0, atol=1e-6)


def test_images_on_zero_are_filled_with_zeros_as_ever():
    """To the bit: taking the sky off and adding it again changes nothing else."""
    images = torch.rand(16, 3, 12, 15, generator=generator())
    images[:, 1, 0, 0] = 0
    grid = sampling_grid(
        draw_affine(16, recipe(**AFFINE), generator()), (12, 15), torch.device("cpu")
    )
    wanted = functional.grid_sample(images, grid, mode="bilinear", align_corners=False)
    assert torch.equal(augment(images, recipe(**AFFINE), generator()), wanted)


@pytest.mark.parametrize(
    ("symmetry", "shape"), [("d4", (15, 15)), ("d4", (12, 15)), ("none", (9, 9))]
)
def test_an_image_is_flipped_and_turned_before_it_is_interpolated(symmetry, shape):
    images = torch.rand(64, 2, *shape, generator=generator())
    plan = recipe(symmetry=symmetry, **AFFINE, affine_share=0.8)
    draws = generator()
    elements = draw_elements(images.shape, plan, draws)
    matrices = draw_affine(len(images), plan, draws)
    out = augment(images, plan, generator())
    for image, element, matrix, found in zip(images, elements, matrices, out, strict=True):
        flipped = image.flip(-1) if element >= 4 else image
        exact = np.rot90(flipped.numpy(), int(element) % 4, axes=(1, 2)).copy()
        grid = sampling_grid(matrix[None], shape, torch.device("cpu"))
        sky = exact.min()
        wanted = functional.grid_sample(torch.tensor(exact - sky)[None], grid, align_corners=False)
        torch.testing.assert_close(found, wanted[0] + sky, rtol=0, atol=1e-5)


def test_a_fit_in_bfloat16_sees_the_images_that_one_in_float32_sees():
    """Autocast would round coordinates, and so move pixels."""
    images = torch.rand(8, 1, 30, 30, generator=generator())
    plan = recipe(symmetry="d4", **AFFINE)
    wanted = augment(images, plan, generator())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(images, plan, generator()), wanted)


@pytest.mark.parametrize("sky", [-3.0, 0.25, 100.0])
def test_what_lies_outside_the_frame_is_the_sky_of_each_image(sky):
    """No image gets a value that it does not have, which rescaling would make its extreme."""
    images = torch.rand(16, 3, 12, 12, generator=generator()) + torch.arange(16.0).view(-1, 1, 1, 1)
    images[:, 1, 3, 4] -= 1
    out = augment(images + sky, recipe(**AFFINE), generator())
    lowest, highest = (images + sky).flatten(1).aminmax(dim=1)
    torch.testing.assert_close(out.flatten(1).amin(1), lowest)
    assert (out.flatten(1).amax(1) <= highest + 1e-4).all()
    on_zero = augment(images - images.amin((1, 2, 3), keepdim=True), recipe(**AFFINE), generator())
    torch.testing.assert_close(out, on_zero + lowest.view(-1, 1, 1, 1), rtol=1e-6, atol=1e-4)
