"""What an interrupted fit goes on from, and how it is interrupted."""

import errno
import os
import re
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch

from lensbench.training import checkpoints, module, steps
from lensbench.training.checkpoints import WholeCheckpoints
from lensbench.training.execution import Execution, keep_execution
from lensbench.training.fit import predict
from lensbench.training.module import Training
from lensbench.training.steps import open_fabric

from .tiny import CPU, network, recipe, run


@pytest.fixture
def checkpoints_after_each_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_EPOCHS", 0)


@pytest.mark.usefixtures("checkpoints_after_each_epoch")
@pytest.mark.parametrize("schedule", ["one-cycle", "plateau", "cosine"])
@pytest.mark.parametrize("stop_after", [1, 2])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_resumed_fit_ends_as_if_it_had_never_stopped(
    pack, tmp_path, monkeypatch, schedule, stop_after, keep
):
    """From the epoch that it was in, even if its folder was moved meanwhile."""
    plan = recipe(
        schedule=schedule,
        plateau_patience=0,
        keep=keep,
        average=0.3 if schedule == "cosine" else 0,
        warm_up=0.2 if schedule == "cosine" else 0,
    )
    whole = network()
    expected = run(pack, tmp_path / "whole", plan, whole)

    step = Training.training_step

    def interrupted_step(self, batch, index):
        if self.current_epoch == stop_after and index == 2:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        run(pack, tmp_path / "halves", plan, network())
    seen: list[int] = []

    def watched_step(self, batch, index):
        seen.append(self.current_epoch)
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", watched_step)
    (tmp_path / "halves").rename(tmp_path / "moved")
    resumed = network()
    history = run(pack, tmp_path / "moved", plan, resumed).history

    assert seen[0] == stop_after
    assert history == expected.history
    rows = np.arange(60)
    np.testing.assert_array_equal(
        predict(resumed, pack, rows, plan, CPU), predict(whole, pack, rows, plan, CPU)
    )


@pytest.mark.parametrize(
    ("keep", "stalled", "n_written"), [("last", False, 1), ("last", True, 1), ("best", False, 3)]
)
def test_short_epochs_are_not_all_worth_a_checkpoint(
    pack, tmp_path, monkeypatch, keep, stalled, n_written
):
    """The last one is, and all are where the weights of the best one are kept."""
    written = []
    save = lightning.Trainer.save_checkpoint

    def watched(self, file, *rest):
        written.append(self.current_epoch)
        save(self, file, *rest)

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", watched)
    if stalled:
        values = iter([0.6, 0.5])
        monkeypatch.setattr(module, "one_vs_rest", lambda *_: SimpleNamespace(macro=next(values)))
    run(pack, tmp_path, recipe(keep=keep, patience=1 if stalled else "none"), network())
    assert len(written) == n_written
    assert written[-1] == (1 if stalled else 2)
    assert (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize(("epoch", "stop_at"), [(0, 1), (0, 4), (1, 3), (2, 2)])
def test_a_long_epoch_is_resumed_in_its_middle(
    pack, tmp_path, monkeypatch, schedule, epoch, stop_at
):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    plan = recipe(schedule=schedule, plateau_patience=0, average=0.3 if schedule == "cosine" else 0)
    whole = network()
    expected = run(pack, tmp_path / "whole", plan, whole)
    assert len(pack.stored[:40]) // plan.batch_size == 5

    step = Training.training_step
    seen: list[tuple[int, int]] = []

    def interrupted_step(self, batch, index):
        if (self.current_epoch, index) == (epoch, stop_at):
            raise KeyboardInterrupt
        return step(self, batch, index)

    def watched_step(self, batch, index):
        seen.append((self.current_epoch, index))
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        run(pack, tmp_path / "halves", plan, network())
    monkeypatch.setattr(Training, "training_step", watched_step)
    resumed = network()
    history = run(pack, tmp_path / "halves", plan, resumed).history

    assert seen == [(e, i) for e in range(3) for i in range(5)][5 * epoch + stop_at :]
    assert history == expected.history
    rows = np.arange(60)
    np.testing.assert_array_equal(
        predict(resumed, pack, rows, plan, CPU), predict(whole, pack, rows, plan, CPU)
    )


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_fit_that_stopped_while_validating_validates_that_epoch(
    pack, tmp_path, monkeypatch, epoch, keep
):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    plan = recipe(schedule="plateau", plateau_patience=0, keep=keep)
    whole = network()
    expected = run(pack, tmp_path / "whole", plan, whole)
    validate = Training.validation_step

    def interrupted(self, batch, index):
        if self.current_epoch == epoch:
            raise KeyboardInterrupt
        return validate(self, batch, index)

    monkeypatch.setattr(Training, "validation_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(pack, tmp_path / "halves", plan, network())
    monkeypatch.setattr(Training, "validation_step", validate)
    resumed = network()
    assert run(pack, tmp_path / "halves", plan, resumed).history == expected.history
    rows = np.arange(60)
    np.testing.assert_array_equal(
        predict(resumed, pack, rows, plan, CPU), predict(whole, pack, rows, plan, CPU)
    )


def test_a_checkpoint_replaces_the_one_before_once_it_is_whole(pack, tmp_path, monkeypatch):
    """Beside it: elsewhere may be another file system, from which moving is copying."""
    whole = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, whole)
    written = []

    def cut(checkpoint, path):
        Path(path).write_bytes(b"half")
        written.append(Path(path))
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(OSError, match="no space left"):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, whole)
    assert torch.load(whole, weights_only=True) == {"epoch": 1}
    assert written[0].parent == tmp_path
    with pytest.raises(OSError, match="no space left"):
        run(pack, tmp_path / "fit", recipe(), network())  # the trainer writes so, too
    assert written[-1].parent == tmp_path / "fit"


def test_a_damaged_checkpoint_is_set_aside(pack, tmp_path, capsys):
    (tmp_path / "last.ckpt").write_bytes(b"half a checkp")
    fitted = run(pack, tmp_path, recipe(), network())
    assert len(fitted.history.epochs) == 3
    assert "cannot be used" in capsys.readouterr().err
    assert (tmp_path / "last.damaged").exists()


def test_a_checkpoint_that_cannot_be_read_now_is_no_damaged_one(pack, tmp_path, monkeypatch):
    """A network file system may answer so for a while."""
    run(pack, tmp_path, recipe(), network())
    before = (tmp_path / "last.ckpt").read_bytes()

    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(OSError, match="Input/output"):
        run(pack, tmp_path, recipe(), network())
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_a_checkpoint_of_an_earlier_version_is_set_aside(pack, tmp_path, capsys):
    run(pack, tmp_path, recipe(), network())
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del checkpoint["lensbench"]["machines"]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    assert len(run(pack, tmp_path, recipe(), network()).history.epochs) == 3
    assert "cannot be used" in capsys.readouterr().err
    assert (tmp_path / "last.damaged").exists()


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b""), Path.unlink])
def test_a_fit_whose_best_weights_are_lost_starts_anew(pack, tmp_path, monkeypatch, capsys, spoil):
    """Rather than at its end, and each time that it is tried again, in an error."""
    plan = recipe(keep="best")
    step = Training.training_step

    def interrupted_step(self, batch, index):
        if self.current_epoch == 2:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Training, "training_step", interrupted_step)
        with pytest.raises(KeyboardInterrupt):
            run(pack, tmp_path, plan, network())
    for path in tmp_path.glob("best-*.safetensors"):
        spoil(path)
    assert len(run(pack, tmp_path, plan, network()).history.epochs) == 3
    assert re.search(
        r"last.ckpt cannot be used \(the weights in best-.* cannot be read",
        capsys.readouterr().err,
    )


def test_the_best_epoch_is_that_of_the_history_even_if_a_later_one_was_lost(
    pack, tmp_path, monkeypatch
):
    """The third epoch is the best, is lost before its checkpoint, and comes again as another."""
    aucs = iter([0.6, 0.8, 0.9, 0.7])
    monkeypatch.setattr(module, "one_vs_rest", lambda *_: SimpleNamespace(macro=next(aucs)))
    plan = recipe(schedule="constant", keep="best")
    second = network()
    with monkeypatch.context() as undisturbed:
        undisturbed.setattr(module, "one_vs_rest", lambda *_: SimpleNamespace(macro=0.5))
        run(pack, tmp_path / "two", plan.model_copy(update={"epochs": 2, "keep": "last"}), second)
    save = checkpoints.LastStep.on_train_epoch_end

    def lost(self, trainer, training):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt
        save(self, trainer, training)

    with monkeypatch.context() as killed:
        killed.setattr(checkpoints.LastStep, "on_train_epoch_end", lost)
        with pytest.raises(KeyboardInterrupt):
            run(pack, tmp_path / "fit", plan, network())
    classifier = network()
    fitted = run(pack, tmp_path / "fit", plan, classifier)
    assert fitted.history.kept_epoch == 2
    rows = np.arange(60)
    np.testing.assert_array_equal(
        predict(classifier, pack, rows, plan, CPU), predict(second, pack, rows, plan, CPU)
    )


def test_a_fit_that_goes_on_elsewhere_has_the_time_of_no_machine(pack, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as first:
        first.setattr(steps, "cpu_name", lambda: "slow")
        first.setattr(Training, "on_validation_start", interrupted)
        first.setattr(checkpoints, "SECONDS_BETWEEN_CHECKPOINTS", 0)
        with pytest.raises(KeyboardInterrupt):
            run(pack, tmp_path, recipe(), network())
    monkeypatch.setattr(steps, "cpu_name", lambda: "fast")
    fitted = run(pack, tmp_path, recipe(), network())
    assert fitted.timing is None
    (note,) = fitted.notes
    assert re.search(r"from slow, \d+ threads? to fast, \d+ threads?, whose", note)


def test_a_finished_fit_that_is_opened_elsewhere_keeps_its_time(pack, tmp_path, monkeypatch):
    """Its process may have been killed in the test pass."""
    with monkeypatch.context() as first:
        first.setattr(steps, "cpu_name", lambda: "slow")
        trained = run(pack, tmp_path, recipe(), network())
    opened = run(pack, tmp_path, recipe(), network())
    assert opened.timing == trained.timing
    assert opened.notes == ()


def test_how_a_fit_failed_before_its_first_checkpoint_binds_no_other(pack, tmp_path):
    keep_execution(Execution(precision="bf16-mixed", compiled=True), tmp_path)
    assert run(pack, tmp_path, recipe(), network()).execution == Execution()


def test_a_checkpoint_holds_each_weight_once(pack):
    training = Training(network(), recipe(), 1, 0)
    assert {name.partition(".")[0] for name in training.state_dict()} == {"classifier"}


ASKED = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def hears_ctrl_c():
    """Also where the tests are a background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def signals_at(monkeypatch, epoch: int, step: int, *numbers: int) -> list[tuple[int, int]]:
    """Let signals come in a step of training; return which steps are made, in a list that grows."""
    seen: list[tuple[int, int]] = []
    training_step = Training.training_step

    def watched(self, batch, index):
        seen.append((self.current_epoch, index))
        if seen[-1] == (epoch, step):
            for number in numbers:
                signal.raise_signal(number)
        return training_step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", watched)
    return seen


@ASKED
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (1, 3), (1, 4), (2, 4)])
def test_who_stops_a_fit_loses_no_step(pack, tmp_path, monkeypatch, number, keep, epoch, step):
    """Not even in the last step of an epoch, which ends with its validation first."""
    plan, rows = recipe(keep=keep), np.arange(60)
    whole = network()
    expected = run(pack, tmp_path / "whole", plan, whole)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        before = signals_at(patch, epoch, step, number)
        with pytest.raises(KeyboardInterrupt):
            run(pack, tmp_path / "halves", plan, network())
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers

    after = signals_at(monkeypatch, -1, -1)
    resumed = network()
    history = run(pack, tmp_path / "halves", plan, resumed).history
    assert before + after == [(e, i) for e in range(3) for i in range(5)]
    assert before[-1] == (epoch, step)
    assert history == expected.history
    np.testing.assert_array_equal(
        predict(resumed, pack, rows, plan, CPU), predict(whole, pack, rows, plan, CPU)
    )


@ASKED
def test_who_insists_stops_a_fit_at_once(pack, tmp_path, monkeypatch, number):
    signals_at(monkeypatch, 1, 3, number, number)
    with pytest.raises(KeyboardInterrupt):
        run(pack, tmp_path, recipe(), network())
    assert not (tmp_path / "last.ckpt").exists()


def test_a_signal_that_is_ignored_stays_ignored(pack, tmp_path, monkeypatch):
    """As Ctrl-C is in jobs that a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen = signals_at(monkeypatch, 1, 3, signal.SIGINT)
    run(pack, tmp_path, recipe(), network())
    assert len(seen) == 15
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_fit_in_another_thread_leaves_signals_alone(pack, tmp_path):
    """A thread cannot have any, and must not need them."""
    fits = []
    thread = threading.Thread(target=lambda: fits.append(run(pack, tmp_path, recipe(), network())))
    thread.start()
    thread.join()
    assert len(fits) == 1


@ASKED
def test_prediction_is_stopped_at_once(pack, monkeypatch, number):
    predicted = []
    predict_step = Training.predict_step

    def watched(self, batch, index):
        predicted.append(index)
        if index == 1:
            signal.raise_signal(number)
        return predict_step(self, batch, index)

    monkeypatch.setattr(Training, "predict_step", watched)
    with pytest.raises(KeyboardInterrupt):
        predict(network(), pack, np.arange(60), recipe(), CPU)
    assert predicted == [0, 1]


def test_the_variables_of_a_cluster_change_nothing(pack, tmp_path, monkeypatch):
    """A job of several tasks is no fit on several devices, and nothing is queued again."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    expected = run(pack, tmp_path / "alone", recipe(), network()).history
    for name, value in {"NTASKS": "4", "JOB_NAME": "train", "JOB_ID": "1", "PROCID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert run(pack, tmp_path / "task", recipe(), network()).history == expected
    assert open_fabric(CPU, "32-true").world_size == 1
