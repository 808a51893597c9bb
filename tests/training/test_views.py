"""The eight views of an image, and when they are refused."""

import numpy as np
import pytest
import torch

from lensbench.config import Recipe
from lensbench.recipes import CONTRACT, LENSBENCH, QUICK
from lensbench.training.views import d4_views, refusal, views
from lensbench.zoo.classifier import Symmetry


def recipe(**changes) -> Recipe:
    settings = {"name": "t", "epochs": 1, "batch_size": 2, "learning_rate": 0.1}
    return Recipe(**(settings | {"test_time_augmentation": "d4"} | changes))


def test_views_are_the_eight_symmetries_of_numpy():
    images = torch.rand(3, 2, 5, 5)
    made = {view.numpy().tobytes() for view in d4_views(images)}
    wanted = {
        np.ascontiguousarray(np.rot90(one, turns, (-2, -1))).tobytes()
        for one in (images.numpy(), images.numpy()[..., ::-1])
        for turns in range(4)
    }
    assert made == wanted
    assert len(made) == 8
    assert torch.equal(d4_views(images)[0], images)


def test_views_are_a_group():
    """Each view of each view is a view, each of them once: closed, with inverses."""
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    names = {view.numpy().tobytes(): k for k, view in enumerate(d4_views(image))}
    table = np.array(
        [
            [names[v.contiguous().numpy().tobytes()] for v in d4_views(one)]
            for one in d4_views(image)
        ]
    )
    for line in (*table, *table.T):
        assert sorted(line) == list(range(8))
    assert list(table[0]) == list(table[:, 0]) == list(range(8))
    a, b, c = np.indices((8, 8, 8))
    assert (table[table[a, b], c] == table[a, table[b, c]]).all()


def test_the_image_alone_is_one_view():
    images = torch.rand(2, 1, 6, 6)
    (only,) = views(images, Symmetry.of(recipe(test_time_augmentation="none")))
    assert only is images


@pytest.mark.parametrize(
    ("plan", "shape", "reason"),
    [
        (recipe(symmetry="d4"), (1, 8, 8), None),
        (recipe(symmetry="flips", rotation_degrees=180), (1, 8, 8), None),
        (LENSBENCH, (1, 150, 150), None),
        (recipe(symmetry="flips"), (1, 8, 8), "not trained on flips and quarter turns"),
        (recipe(symmetry="none", rotation_degrees=180), (1, 8, 8), "not trained on flips"),
        (recipe(symmetry="d4"), (1, 8, 9), "8 x 9 pixels cannot be turned"),
    ],
)
def test_views_are_refused_where_they_would_harm(plan, shape, reason):
    symmetry = Symmetry.of(plan)
    told = refusal(symmetry, shape)
    assert told is None if reason is None else reason in told
    assert len(views(torch.rand(2, *shape), symmetry)) == (8 if reason is None else 1)


def test_nothing_is_refused_that_was_not_wanted():
    assert refusal(Symmetry.of(CONTRACT), (1, 150, 150)) is None
    assert refusal(Symmetry.of(QUICK), (1, 150, 151)) is None
