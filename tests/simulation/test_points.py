"""The fast sum over point masses against the slow one."""

import numpy as np
import pytest
import torch

from lensbench.simulation.points import deflection_on_grid

CORE = 1e-7


def brute_force(squared_radii, at_x, at_y, x, y):
    dx = x[None, :] - at_x[:, None, None]
    dy = y[:, None] - at_y[:, None, None]
    factor = squared_radii[:, None, None] / (dx**2 + dy**2 + CORE**2)
    return (dx * factor).sum(0), (dy * factor).sum(0)


def deflection(squared_radii, at_x, at_y, x, y):
    one = [torch.from_numpy(np.atleast_2d(values)) for values in (squared_radii, at_x, at_y)]
    result = deflection_on_grid(*one, torch.from_numpy(x), torch.from_numpy(y), CORE)
    return [axis.numpy() for axis in result]


def axis(n: int, step: float) -> np.ndarray:
    return (np.arange(n) - (n - 1) / 2) * step


@pytest.mark.parametrize(("columns", "rows"), [(332, 332), (166, 70), (21, 300), (5, 3), (40, 1)])
@pytest.mark.parametrize("step", [0.025, 0.2])
def test_the_sum_is_that_over_all_pairs(columns, rows, step):
    rng = np.random.default_rng(columns)
    x, y = axis(columns, step), -axis(rows, step)
    width = columns * step  # some masses lie outside the grid
    masses = rng.uniform(0, 0.02, 40), *rng.uniform(-0.6 * width, 0.6 * width, (2, 40))
    for ours, theirs in zip(deflection(*masses, x, y), brute_force(*masses, x, y), strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-9, atol=1e-8)


def test_every_field_has_its_own_masses():
    rng = np.random.default_rng(3)
    x, y = axis(60, 0.1), -axis(60, 0.1)
    masses = rng.uniform(0, 0.02, (3, 9)), *rng.normal(0, 1, (2, 3, 9))
    together = deflection(*masses, x, y)
    for field in range(3):
        alone = brute_force(*(values[field] for values in masses), x, y)
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[field], theirs, rtol=1e-9, atol=1e-8)


def test_a_mass_of_zero_does_nothing_wherever_it_is():
    x, y = axis(50, 0.1), -axis(50, 0.1)
    masses = np.array([0.01, 0.0]), np.array([0.3, x[20]]), np.array([-0.4, y[20]])
    one = [values[:1] for values in masses]
    for ours, theirs in zip(deflection(*masses, x, y), brute_force(*one, x, y), strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-9, atol=1e-8)


def test_a_mass_on_a_ray_or_in_the_middle_of_a_tile_leaves_all_finite():
    x, y = axis(51, 0.1), -axis(51, 0.1)
    for at in (x[25], x[3], (x[3] + x[4]) / 2):
        masses = np.array([0.01]), np.array([at]), np.array([-at])
        # A ray this near is deflected into one direction or another by rounding alone.
        away = np.hypot(x[None, :] - at, y[:, None] + at) > 1e-9
        for ours, theirs in zip(deflection(*masses, x, y), brute_force(*masses, x, y), strict=True):
            assert np.abs(ours).max() <= 0.01 / (2 * CORE)
            np.testing.assert_allclose(ours[0][away], theirs[away], rtol=1e-9, atol=1e-8)


def test_far_masses_are_a_point_at_their_centre_to_first_order():
    x, y = axis(30, 0.1), -axis(30, 0.1)
    far = np.full(25, 0.01), 100 + axis(25, 0.01), np.full(25, 50.0)
    one = np.array([0.25]), np.array([100.0]), np.array([50.0])
    for ours, theirs in zip(deflection(*far, x, y), deflection(*one, x, y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
