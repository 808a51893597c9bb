"""Rates and decays of single weights, against closed forms."""

import itertools
import math

import pytest
import timm
import torch
from torch import nn
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

from lensbench.config import Recipe
from lensbench.errors import ConfigError
from lensbench.training.module import Training
from lensbench.training.schedule import cosine, optimizer_for


def recipe(**changes) -> Recipe:
    settings = {"name": "t", "epochs": 1, "batch_size": 2, "learning_rate": 0.1}
    return Recipe(**(settings | changes))


def groups_of(network: nn.Module, plan: Recipe) -> dict[str, dict]:
    """Return the optimiser's settings of each weight by its name."""
    optimizer = optimizer_for(network, plan, fused=False)
    names = {id(weight): name for name, weight in network.named_parameters()}
    of = {
        names[id(weight)]: {"lr": group["lr"], "weight_decay": group["weight_decay"]}
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    n_weights = sum(len(group["params"]) for group in optimizer.param_groups)
    assert n_weights == len(of) == len(names)  # each weight once
    return of


def test_cosine_rises_evenly_and_falls_as_half_a_cosine():
    n, n_rising = 400, 40
    factors = [cosine(step, n, 0.1) for step in range(n)]
    for step in range(n_rising):
        assert factors[step] == pytest.approx((step + 1) / n_rising)
    for step in range(n_rising, n):
        angle = math.pi * (step - n_rising) / (n - n_rising)
        assert factors[step] == pytest.approx((1 + math.cos(angle)) / 2)
    assert max(factors) == 1
    assert 0 < factors[-1] < 1e-4
    assert cosine(n, n, 0.1) == pytest.approx(0, abs=1e-15)


def test_without_warm_up_it_is_torchs_cosine():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        assert cosine(step, 50, 0) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(("n_steps", "warm_up"), [(1, 0), (1, 0.5), (2, 0.9), (3, 0.99)])
def test_the_shortest_fits_have_a_rate(n_steps, warm_up):
    for step in range(n_steps):
        assert 0 < cosine(step, n_steps, warm_up) <= 1


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "plateau", "constant"])
@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_the_first_step_of_the_shortest_fits_moves_weights(schedule, n_steps):
    network = nn.Linear(4, 3)
    training = Training(network, recipe(schedule=schedule), n_steps, seed=0)
    made = training.configure_optimizers()
    optimizer = made["optimizer"] if isinstance(made, dict) else made
    assert optimizer.param_groups[0]["lr"] > 0.01 * recipe().learning_rate


def test_all_weights_decay_unless_the_recipe_says_otherwise():
    of = groups_of(timm.create_model("test_resnet"), recipe(weight_decay=0.3))
    assert {(group["lr"], group["weight_decay"]) for group in of.values()} == {(0.1, 0.3)}


def test_biases_and_normalisation_are_exempt_from_decay():
    network = timm.create_model("test_resnet")
    of = groups_of(network, recipe(weight_decay=0.3, decayed="matrices"))
    for name, module in network.named_modules():
        for part, _ in module.named_parameters(recurse=False):
            decays = isinstance(module, nn.Conv2d | nn.Linear) and part == "weight"
            assert of[f"{name}.{part}"]["weight_decay"] == (0.3 if decays else 0)


def test_scales_of_any_shape_and_what_a_network_exempts_do_not_decay():
    settings = ConvNextV2Config(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_labels=3)
    convnext = ConvNextV2ForImageClassification(settings)
    of = groups_of(convnext, recipe(weight_decay=0.3, decayed="matrices"))
    scales = [name for name in of if "grn" in name]
    assert scales
    assert all(of[name]["weight_decay"] == 0 for name in scales)  # of shape (1, 1, 1, C)
    vit = timm.create_model("test_vit")
    of = groups_of(vit, recipe(weight_decay=0.3, decayed="matrices"))
    assert vit.no_weight_decay() >= {"pos_embed", "cls_token"}
    assert of["pos_embed"]["weight_decay"] == of["cls_token"]["weight_decay"] == 0
    assert of["blocks.0.mlp.fc1.weight"]["weight_decay"] == 0.3


def test_rates_fall_from_layer_to_layer():
    of = groups_of(timm.create_model("test_vit"), recipe(layer_decay=0.5))
    n_blocks = len({name.split(".")[1] for name in of if name.startswith("blocks.")})
    assert of["head.weight"]["lr"] == pytest.approx(0.1)
    rates = [of[f"blocks.{i}.attn.qkv.weight"]["lr"] for i in range(n_blocks)]
    for earlier, later in itertools.pairwise(rates):
        assert earlier == pytest.approx(later / 2)
    assert rates[-1] == pytest.approx(0.05)
    assert of["patch_embed.proj.weight"]["lr"] == pytest.approx(rates[0] / 2)


def test_layers_are_asked_of_networks_that_know_them():
    with pytest.raises(ConfigError, match="layer_decay is for networks of timm"):
        optimizer_for(nn.Linear(2, 2), recipe(layer_decay=0.5), fused=False)


@pytest.mark.parametrize(("batch_size", "factor"), [(64, 1), (256, 2), (16, 0.5)])
def test_the_rate_goes_with_the_root_of_the_batch_size(batch_size, factor):
    plan = recipe(batch_size=batch_size, reference_batch_size=64)
    assert plan.step_learning_rate == pytest.approx(0.1 * factor)
    (group,) = optimizer_for(nn.Linear(2, 2), plan, fused=False).param_groups
    assert group["lr"] == pytest.approx(0.1 * factor)
    assert recipe(batch_size=batch_size).step_learning_rate == 0.1
