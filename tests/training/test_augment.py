"""Random symmetries: exact where they claim to be."""

import numpy as np
import pytest
import torch

from lensbench.config import Recipe
from lensbench.training.augment import augment, draw_affine


def recipe(**changes) -> Recipe:
    settings = {"name": "t", "epochs": 1, "batch_size": 2, "learning_rate": 1e-3}
    return Recipe(**(settings | {"symmetry": "none"} | changes))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def numpy_group(image: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(image, k) for k in range(4)]
    return turned + [np.fliplr(one) for one in turned]


def test_no_augmentation_changes_nothing():
    images = torch.rand(4, 1, 9, 9)
    assert augment(images, recipe(), generator()) is images


@pytest.mark.parametrize(("symmetry", "n_elements"), [("flips", 4), ("d4", 8)])
def test_exact_symmetries_reach_every_element_equally_often(symmetry, n_elements):
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    out = augment(image.repeat(4000, 1, 1, 1), recipe(symmetry=symmetry), generator())
    elements, counts = np.unique(out.squeeze(1).numpy(), axis=0, return_counts=True)
    group = {one.tobytes() for one in numpy_group(image[0, 0].numpy())}
    assert {np.ascontiguousarray(one).tobytes() for one in elements} <= {
        np.ascontiguousarray(np.frombuffer(one, np.float32)).tobytes() for one in group
    }
    assert len(elements) == n_elements
    np.testing.assert_allclose(counts / 4000, 1 / n_elements, atol=0.03)


def test_oblong_images_are_flipped_and_not_turned():
    images = torch.rand(50, 1, 4, 6)
    assert augment(images, recipe(symmetry="d4"), generator()).shape == images.shape


def test_affine_at_rest_is_the_identity():
    matrices = draw_affine(5, recipe(), generator())
    torch.testing.assert_close(matrices, torch.eye(2, 3).expand(5, 2, 3), rtol=0, atol=0)


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
    """Shifts of exactly one pixel of twenty: the mass of the image stays, its centre moves."""
    images = torch.zeros(200, 1, 21, 21)
    images[:, :, 10, 10] = 1
    out = augment(images, recipe(shift=0.1), generator())
    torch.testing.assert_close(out.sum((1, 2, 3)), torch.ones(200), rtol=0, atol=1e-4)
    columns = (out.sum((1, 2)) * torch.arange(21.0)).sum(1) - 10
    assert 1.9 < columns.abs().max() <= 2.1001


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
