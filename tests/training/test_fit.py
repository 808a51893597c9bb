"""Fitting: what repeats, what is kept, what is predicted."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from tqdm.auto import tqdm

from lensbench.config import MachineSpec
from lensbench.errors import ConfigError, TrainingError
from lensbench.evaluation.auc import one_vs_rest
from lensbench.training import module, progress
from lensbench.training.fit import predict
from lensbench.training.module import Training

from .tiny import CPU, network, nothing_global_changed, recipe, run


def test_each_step_draws_anew_and_a_second_fit_draws_the_same(pack, tmp_path, monkeypatch):
    drawn: list[list[tuple[float, float]]] = []

    def watched(images, recipe, generator):
        # What augmentation draws, and what dropout will.
        drawn[-1].append((float(torch.rand((), generator=generator)), float(torch.rand(()))))
        return images

    monkeypatch.setattr(module, "augment", watched)
    for name in ("one", "other"):
        drawn.append([])
        run(pack, tmp_path / name, recipe(), network())
    one, other = drawn
    assert one == other
    assert len(set(one)) == len(one) == 15


def test_the_same_seed_gives_the_same_weights(pack, tmp_path):
    one, other = network(), network()
    for i, classifier in enumerate((one, other)):
        run(pack, tmp_path / str(i), recipe(), classifier)
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_fit_learns_and_its_history_says_so(pack, tmp_path):
    plan = recipe(epochs=24, learning_rate=0.005, symmetry="none", rotation_degrees=0)
    fitted = run(pack, tmp_path, plan, network())
    epochs = fitted.history.epochs
    assert len(epochs) == 24
    assert epochs[-1].train_loss < 0.3 * epochs[0].train_loss
    assert epochs[-1].validation_auc > 0.95
    assert fitted.timing.fit_seconds > 0
    assert fitted.hardware.accelerator == "cpu"


def test_the_history_of_the_last_epoch_is_that_of_the_weights(pack, tmp_path):
    """Loss and AUC come from all predictions at once, so they can be computed again from them."""
    classifier, plan, rows = network(), recipe(batch_size=7), np.arange(40, 60)
    last = run(pack, tmp_path, plan, classifier).history.epochs[-1]
    (logits,) = predict(classifier, pack, rows, plan, CPU)
    labels = torch.from_numpy(pack.labels[rows])
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), labels)
    assert last.validation_loss == pytest.approx(float(loss), rel=1e-5)
    scores = torch.from_numpy(logits).softmax(dim=1).numpy()
    auc = one_vs_rest(pack.labels[rows], scores).macro
    assert last.validation_auc == pytest.approx(auc, abs=1e-12)


def test_the_best_epoch_is_kept_if_the_recipe_says_so(pack, tmp_path, monkeypatch):
    """The validation AUC is made to peak in the second of four epochs."""
    aucs = iter([0.6, 0.9, 0.7, 0.8])

    class Fake:
        def __init__(self, labels, scores):
            self.macro = next(aucs)

    plan = recipe(epochs=4, schedule="constant", keep="best")
    second = network()
    run(pack, tmp_path / "two", recipe(epochs=2, schedule="constant"), second)
    monkeypatch.setattr(module, "one_vs_rest", Fake)
    classifier = network()
    fitted = run(pack, tmp_path / "four", plan, classifier)
    assert fitted.history.kept_epoch == 2
    assert fitted.history.kept.validation_auc == 0.9
    rows = np.arange(60)
    np.testing.assert_array_equal(
        predict(classifier, pack, rows, plan, CPU), predict(second, pack, rows, plan, CPU)
    )


def test_the_plateau_schedule_follows_the_validation_auc(pack, tmp_path, monkeypatch):
    aucs = iter([0.9, 0.8, 0.8, 0.8, 0.8, 0.8])

    class Fake:
        def __init__(self, labels, scores):
            self.macro = next(aucs)

    monkeypatch.setattr(module, "one_vs_rest", Fake)
    plan = recipe(epochs=6, schedule="plateau", plateau_factor=0.2, plateau_patience=1)
    rates = [epoch.learning_rate for epoch in run(pack, tmp_path, plan, network()).history.epochs]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.002, 0.002, 0.0004])


def test_the_history_has_the_rate_of_the_last_step_of_an_epoch(pack, tmp_path):
    """Not that of the next one, which the schedule is at by the time of the validation."""
    plan = recipe(schedule="cosine", warm_up=0)
    rates = [epoch.learning_rate for epoch in run(pack, tmp_path, plan, network()).history.epochs]
    steps = np.array([4, 9, 14])
    np.testing.assert_allclose(rates, 0.01 * 0.5 * (1 + np.cos(np.pi * steps / 15)))


def test_predictions_do_not_depend_on_the_batch_size(pack, tmp_path):
    classifier, rows = network(), np.array([5, 1, 59, 30, 2])
    small = predict(classifier, pack, rows, recipe(batch_size=2), CPU)
    large = predict(classifier, pack, rows, recipe(batch_size=64), CPU)
    assert small.shape == (1, 5, 3)
    assert small.dtype == np.float64
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_a_missing_accelerator_is_an_error(pack, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="gpu"):
        run(pack, tmp_path, recipe(), network(), MachineSpec(accelerator="gpu"))


@pytest.mark.parametrize("is_disabled", [False, True])
def test_a_log_has_a_line_for_each_epoch(pack, tmp_path, monkeypatch, capsys, is_disabled):
    """Also where the environment disables bars (TQDM_DISABLE), which then count nothing."""

    class Bar(tqdm):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, disable=is_disabled, **named)

    monkeypatch.setattr(progress, "tqdm", Bar)
    run(pack, tmp_path, recipe(), network())
    shown = capsys.readouterr().err
    lines = re.findall(r"tiny, epoch (\d)/3: loss [^\r\n]*, ([\d:]+) left", shown)
    assert [epoch for epoch, _ in lines] == ["1", "2", "3"]
    assert lines[-1][1] == "00:00"


def test_random_numbers_and_threads_are_left_alone(pack, tmp_path):
    """So that a later fit that asks for no number of threads has torch's own."""
    classifier, machine = network(), CPU.model_copy(update={"threads": 1})
    with nothing_global_changed():
        assert run(pack, tmp_path, recipe(), classifier, machine).hardware.threads == 1
    seen = []
    classifier[0].register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    with nothing_global_changed():
        predict(classifier, pack, np.arange(60), recipe(), machine)
    assert set(seen) == {1}


def test_training_that_diverges_is_stopped_and_said(pack, tmp_path):
    pack.stored[3] = 1e38
    with pytest.raises(TrainingError, match=r"diverged in epoch 1.*lower learning rate"):
        run(pack, tmp_path, recipe(learning_rate=1e6), network())


@pytest.mark.parametrize(("n_moves", "stride"), [(64, 1), (2, 2)])
def test_averaged_weights_follow_their_closed_form(pack, tmp_path, monkeypatch, n_moves, stride):
    """The mean that is kept is the one of the weights after each `stride` steps, in float64."""
    monkeypatch.setattr(module, "_N_MOVES", n_moves)
    plan = recipe(average=1 / 3, schedule="cosine")  # of 15 steps: five
    after: list[dict[str, torch.Tensor]] = []
    follow = Training.follow

    def watched(self, step):
        assert step == len(after) + 1
        state = self.classifier.state_dict()
        after.append({name: value.double().clone() for name, value in state.items()})
        follow(self, step)

    monkeypatch.setattr(Training, "follow", watched)
    classifier = network()
    run(pack, tmp_path, plan, classifier)
    assert len(after) == 15
    mean, *later = after[stride - 1 :: stride]
    for n, weights in enumerate(later, start=2):
        decay = min((1 - 1 / 5) ** stride, 1 - n ** (-2 / 3))
        mean = {name: decay * mean[name] + (1 - decay) * weights[name] for name in mean}
    for name, value in classifier.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), mean[name], rtol=0, atol=1e-6)
    assert not torch.allclose(classifier[0].weight.double(), after[-1]["0.weight"], atol=1e-4)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_averaged_weights_are_those_that_are_validated(pack, tmp_path, keep):
    plan = recipe(average=1 / 3, keep=keep)
    classifier, rows = network(), np.arange(40, 60)
    history = run(pack, tmp_path, plan, classifier).history
    (logits,) = predict(classifier, pack, rows, plan, CPU)
    labels = torch.from_numpy(pack.labels[rows])
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), labels)
    assert history.kept.validation_loss == pytest.approx(float(loss), rel=1e-5)


def test_smoothed_labels_are_those_of_the_formula(pack, tmp_path, monkeypatch):
    """One step without drawing, against the cross-entropy with the smoothed target."""
    monkeypatch.setattr(module, "augment", lambda images, *_: images)
    training = Training(network().eval(), recipe(label_smoothing=0.3), 1, 0)
    training.trainer = type("Trainer", (), {"current_epoch": 0})()
    images = torch.from_numpy(pack.stored[:6])
    labels = torch.from_numpy(pack.labels[:6])
    loss = training.training_step((images, labels), 0)
    target = torch.full((6, 3), 0.1)
    target[torch.arange(6), labels] = 0.8
    logits = training.classifier(images)
    torch.testing.assert_close(loss, -(target * logits.log_softmax(1)).sum(1).mean())


def test_the_views_of_a_prediction_are_those_of_the_image(pack):
    """Against eight calls of the classifier; nothing is averaged here."""
    classifier, rows = network().eval(), np.arange(7)
    plan = recipe(test_time_augmentation="d4", batch_size=3)
    logits = predict(classifier, pack, rows, plan, CPU)
    images = torch.from_numpy(pack.stored[rows])
    wanted = [
        classifier(torch.rot90(one, turns, (2, 3)))
        for one in (images, images.flip(3))
        for turns in range(4)
    ]
    np.testing.assert_allclose(logits, torch.stack(wanted).detach().numpy(), atol=1e-6)
    refused = plan.model_copy(update={"symmetry": "none"})
    np.testing.assert_array_equal(predict(classifier, pack, rows, refused, CPU), logits[:1])


def test_a_fit_that_no_longer_improves_is_stopped_and_says_so(pack, tmp_path, monkeypatch):
    """Even if it is interrupted between its last epoch and its record."""
    values = [0.6, 0.9, 0.7, 0.9, 0.5, 0.5]
    aucs = iter(values)

    class Fake:
        def __init__(self, labels, scores):
            self.macro = next(aucs)

    monkeypatch.setattr(module, "one_vs_rest", Fake)
    plan = recipe(epochs=6, patience=2, keep="best")
    fitted = run(pack, tmp_path, plan, network())
    assert [epoch.validation_auc for epoch in fitted.history.epochs] == values[:4]
    assert fitted.history.kept_epoch == 2
    assert "stopped after 4 of 6 epochs" in " ".join(fitted.notes)
    again = run(pack, tmp_path, plan, network())
    assert again.history == fitted.history
    aucs = iter(values)
    assert run(pack, tmp_path / "all", recipe(epochs=6), network()).notes == ()


@pytest.mark.parametrize("clip", ["none", 1.0])
def test_predictions_are_made_in_float32(pack, tmp_path, monkeypatch, clip):
    """Whatever training is computed in: in bfloat16 many logits would be equal. So is validation,
    which chooses."""
    validated = []
    validate = Training.validation_step

    def watched(self, batch, index):
        validate(self, batch, index)
        assert torch.is_autocast_enabled("cpu")  # around it, but not in it
        validated.append(self._validated[-1][0])

    monkeypatch.setattr(Training, "validation_step", watched)
    plan = recipe(epochs=1, gradient_clip=clip)
    classifier = network()
    machine = MachineSpec(accelerator="cpu", precision="bf16-mixed", memory_format="contiguous")
    rows = np.arange(60)
    fitted = run(pack, tmp_path / "fit", plan, classifier, machine)
    assert fitted.execution.precision == "bf16-mixed"
    (logits,) = predict(classifier, pack, rows, plan, machine)
    wanted = classifier.eval()(torch.from_numpy(pack.stored)).detach().numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-6)
    np.testing.assert_allclose(torch.cat(validated).numpy(), wanted[40:], atol=1e-6)


def test_no_prediction_is_rounded_to_tf32(pack, tmp_path, monkeypatch):
    """On a GPU; nor is validation. Training may be, as is cuDNN's default."""
    seen = set()

    def look(module, _):
        products = torch.get_float32_matmul_precision()
        seen.add((module.training, torch.backends.cudnn.allow_tf32, products))

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.set_float32_matmul_precision("high")
    try:
        classifier = network()
        classifier[0].register_forward_pre_hook(look)
        run(pack, tmp_path, recipe(epochs=1), classifier)
        predict(classifier, pack, np.arange(60), recipe(), CPU)
        assert seen == {(True, True, "high"), (False, False, "highest")}
        assert torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


NEWER = """
from torch import backends
from lensbench.training.float32 import exact_float32
def seen():
    return [one.fp32_precision for one in (backends.cudnn.conv, backends.cuda.matmul)]
{}.fp32_precision = {!r}
before = seen()
with exact_float32():
    assert seen() == ["ieee", "ieee"]
# What was left open is exact now, in the older setting's words the default.
assert seen() == [one.replace("none", "ieee") for one in before]
"""


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9")
@pytest.mark.parametrize("precision", ["tf32", "ieee"])
@pytest.mark.parametrize(
    "setting", ["backends", "backends.cudnn", "backends.cudnn.conv", "backends.cuda.matmul"]
)
def test_the_newer_settings_of_precision_serve_as_well(setting, precision):
    """In a process of its own, since torch allows no mixture."""
    subprocess.run([sys.executable, "-c", NEWER.format(setting, precision)], check=True)


def test_clipped_gradients_have_the_norm_that_the_recipe_allows():
    training = Training(network(), recipe(gradient_clip=0.5), 2, 0)
    for weight in training.classifier.parameters():
        weight.grad = torch.rand_like(weight)
    before = [weight.grad.clone() for weight in training.classifier.parameters()]
    norm = torch.cat([grad.flatten() for grad in before]).norm()
    training.configure_gradient_clipping(training.configure_optimizers()["optimizer"], 0.5, None)
    for weight, grad in zip(training.classifier.parameters(), before, strict=True):
        torch.testing.assert_close(weight.grad, grad * 0.5 / norm)
