"""Which way is chosen, with speeds that are made up; that real ones are measured."""

import json

import pytest
import torch
from torch import nn

from lensbench.config import MachineSpec, Recipe
from lensbench.errors import ConfigError
from lensbench.recipes import CONTRACT
from lensbench.training import execution
from lensbench.training.execution import (
    Execution,
    Work,
    choose_execution,
    keep_execution,
    resumed_execution,
)

AUTO = MachineSpec(accelerator="cpu")
FIRST = Execution(memory_format="channels-last")
"""What other ways are measured against."""
PLAIN = Execution()


def recipe(**changes) -> Recipe:
    settings = {"name": "t", "epochs": 1, "batch_size": 4, "learning_rate": 0.01}
    return Recipe(**(settings | changes))


def work(plan: Recipe | None = None, n_images: int = 10_000) -> Work:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 3))
    return Work(network, plan or recipe(), (1, 12, 12), 3, n_images)


@pytest.fixture(autouse=True)
def a_cpu_with_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.fixture
def speeds(monkeypatch):
    """Seconds an image of each way, and a list of what was asked for."""
    known = {FIRST: 1.0}
    asked: list[Execution] = []
    forgotten: list[Execution] = []

    class Stopwatch:
        def __init__(self, *_):
            pass

        def seconds_per_image(self, way, *, enough_below=0, give_up_above=float("inf")):
            asked.append(way)
            seconds = known.get(way, 2.0)
            return seconds.pop(0) if isinstance(seconds, list) else seconds

        def forget(self, way):
            forgotten.append(way)

        def compiling_pays(self, way, n_images):
            raise AssertionError("a CPU compiles nothing by itself")

    monkeypatch.setattr(execution, "Stopwatch", Stopwatch)
    known["asked"], known["forgotten"] = asked, forgotten
    return known


@pytest.mark.parametrize(
    ("faster", "seconds", "chosen"),
    [
        ({"memory_format": "channels-last"}, None, FIRST),
        ({"memory_format": "contiguous"}, 0.8, None),
        ({"memory_format": "contiguous"}, 0.95, FIRST),  # within the noise
        ({"precision": "bf16-mixed"}, 0.5, None),
        ({"precision": "bf16-mixed", "memory_format": "channels-last"}, 0.5, None),
    ],
)
def test_the_fastest_way_is_chosen(speeds, faster, seconds, chosen):
    way = Execution(**faster)
    if seconds is not None:
        speeds[way] = seconds
    assert choose_execution(work(), AUTO) == (chosen or way)


def test_of_two_faster_ways_the_fastest_is_chosen(speeds):
    speeds[PLAIN] = 0.5
    speeds[Execution(precision="bf16-mixed", memory_format="channels-last")] = 0.48
    fastest = Execution(precision="bf16-mixed")
    speeds[fastest] = 0.3
    assert choose_execution(work(), AUTO) == fastest
    # What has lost holds no memory while the next one is measured.
    assert len(speeds["forgotten"]) == 3
    assert fastest not in speeds["forgotten"]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [([0.5, 0.5, 0.95], FIRST), ([0.95], FIRST), ([0.8, 0.5, 0.89], PLAIN)],
)
def test_what_is_not_faster_each_time_is_not_chosen(speeds, seconds, chosen):
    """What else a machine does makes a slow way look fast now and then."""
    speeds[PLAIN] = [*seconds]
    machine = MachineSpec(accelerator="cpu", precision="32-true")
    assert choose_execution(work(), machine) == chosen
    assert speeds["asked"] == [FIRST, *[FIRST, PLAIN] * len(seconds)]


def test_mps_takes_the_usual_order_in_memory():
    plan = recipe(mixed_precision=False)
    assert execution.allowed_ways(plan, MachineSpec(), torch.device("mps")) == [PLAIN]


def test_a_recipe_may_forbid_another_precision(speeds):
    """As the published protocol does."""
    speeds[Execution(precision="bf16-mixed")] = 0.1
    assert not CONTRACT.mixed_precision
    assert choose_execution(work(recipe(mixed_precision=False)), AUTO) == FIRST
    assert all(way.precision == "32-true" for way in speeds["asked"])


def test_what_a_cpu_would_emulate_is_not_measured(speeds, monkeypatch):
    """A ResNet18 at 64 px had 2.6 images a second on two such cores, and 60 in float32."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    speeds[Execution(precision="bf16-mixed")] = 0.1
    assert choose_execution(work(), AUTO) == FIRST
    assert all(way.precision == "32-true" for way in speeds["asked"])
    said = MachineSpec(accelerator="cpu", precision="bf16-mixed")
    assert choose_execution(work(), said).precision == "bf16-mixed"


def test_what_a_user_says_is_not_measured(speeds):
    said = MachineSpec(
        accelerator="cpu", precision="bf16-mixed", memory_format="channels-last", compile="yes"
    )
    found = choose_execution(work(recipe(mixed_precision=False)), said)
    assert found == Execution(precision="bf16-mixed", memory_format="channels-last", compiled=True)
    assert speeds["asked"] == []


def test_what_a_cpu_cannot_do_is_refused():
    """Lightning would take bfloat16 for it, and the record would not say so."""
    said = MachineSpec(accelerator="cpu", precision="16-mixed")
    with pytest.raises(ConfigError, match="take bf16-mixed or 32-true"):
        choose_execution(work(), said)


def test_what_a_gpu_began_a_cpu_may_not_go_on_with(tmp_path):
    keep_execution(Execution(precision="16-mixed"), tmp_path)
    with pytest.raises(ConfigError, match="take bf16-mixed or 32-true"):
        resumed_execution(tmp_path, MachineSpec(), torch.device("cpu"))


def test_the_kernel_that_does_a_whole_step_is_for_gradients_that_are_not_scaled():
    assert Execution(precision="bf16-mixed").fused
    assert not Execution(precision="16-mixed").fused


def test_what_a_user_says_in_part_is_kept(speeds):
    speeds[PLAIN] = 0.1
    said = MachineSpec(accelerator="cpu", precision="bf16-mixed")
    assert choose_execution(work(), said).precision == "bf16-mixed"
    said = MachineSpec(accelerator="cpu", memory_format="channels-last", compile="yes")
    found = choose_execution(work(), said)
    assert (found.memory_format, found.compiled) == ("channels-last", True)


def test_for_short_fits_nothing_else_is_measured(speeds):
    speeds[PLAIN] = 0.1
    assert choose_execution(work(n_images=29), AUTO) == FIRST
    assert speeds["asked"] == [FIRST]
    assert choose_execution(work(n_images=31), AUTO) == PLAIN


@pytest.mark.parametrize(
    ("compiled", "n_images", "pays"),
    [
        (0.5, 410, True),  # 205 s won, 200 s spent
        (0.5, 390, False),
        (0.89, 2000, True),
        (0.91, 10**9, False),  # within the noise
    ],
)
def test_compiling_has_to_win_back_what_it_takes(monkeypatch, compiled, n_images, pays):
    """It takes 100 s, and a fit does it for both sizes of its batches."""
    now = [0.0]

    class Known(execution.Stopwatch):
        def seconds_per_image(self, way, *, enough_below=0, give_up_above=float("inf")):
            now[0] += 100 if way.compiled else 0
            return compiled if way.compiled else 1.0

    monkeypatch.setattr(execution.time, "perf_counter", lambda: now[0])
    stopwatch = Known(work(), AUTO, torch.device("cpu"), print)
    assert stopwatch.compiling_pays(FIRST, n_images) is pays


@pytest.mark.parametrize(
    ("kind", "n_images", "pays", "chosen"),
    [
        ("cuda", 601, True, True),
        ("cuda", 599, True, False),  # too short to try
        ("cuda", 601, False, False),
        ("cpu", 601, True, False),
    ],
)
def test_long_fits_on_a_gpu_are_compiled_if_that_pays(kind, n_images, pays, chosen):
    class Known:
        def seconds_per_image(self, way, *, enough_below=0, give_up_above=float("inf")):
            return 1.0

        def compiling_pays(self, way, n_images):
            return pays

    plan = work(n_images=n_images)
    found = execution._found([FIRST], plan, MachineSpec(), Known(), torch.device(kind))
    assert found.compiled is chosen


def test_a_choice_is_made_once_for_a_model_on_a_machine(speeds, tmp_path):
    cache = tmp_path / "cache" / "execution.json"
    speeds[PLAIN] = 0.5
    assert choose_execution(work(), AUTO, cache) == PLAIN
    speeds[PLAIN] = 3.0  # another day, another noise
    assert choose_execution(work(), AUTO, cache) == PLAIN
    # Another batch size, other images, another recipe's precision: chosen anew.
    assert choose_execution(work(recipe(batch_size=8)), AUTO, cache) == FIRST
    assert choose_execution(work(recipe(mixed_precision=False)), AUTO, cache) == FIRST
    assert len(json.loads(cache.read_bytes())) == 3
    cache.write_text("{")
    assert choose_execution(work(), AUTO, cache) == FIRST


def test_a_choice_for_a_short_fit_is_kept_too(speeds, tmp_path):
    """A fit at the limit would otherwise be measured on one day and not on another."""
    cache = tmp_path / "execution.json"
    speeds[PLAIN] = 0.1
    assert choose_execution(work(n_images=29), AUTO, cache) == FIRST
    speeds[FIRST] = 2.0
    assert choose_execution(work(n_images=29), AUTO, cache) == FIRST
    assert choose_execution(work(n_images=30), AUTO, cache) == PLAIN


def test_a_cache_that_cannot_be_written_stops_nothing(speeds, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert choose_execution(work(), AUTO, tmp_path / "file" / "execution.json") == FIRST


def test_a_way_that_fails_is_not_taken_and_it_is_said(monkeypatch):
    monkeypatch.setattr(execution, "SHORT_SECONDS", 0.0)
    monkeypatch.setattr(execution, "_MEASURED_SECONDS", 0.01)
    step = execution.Stopwatch._step

    def failing(self, way):
        if way != FIRST:
            raise RuntimeError("no kernel for this")
        return step(self, way)

    monkeypatch.setattr(execution.Stopwatch, "_step", failing)
    said = []
    assert choose_execution(work(), AUTO, say=said.append) == FIRST
    assert len(said) == 3
    assert said[0] == "32-true, contiguous does not work here (RuntimeError): not taken"


def test_a_network_that_cannot_be_trained_at_all_is_an_error():
    broken = work()
    broken.classifier[3] = nn.Linear(7, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        choose_execution(broken, AUTO)


def test_an_interrupted_fit_goes_on_in_the_same_way(tmp_path):
    folder, gpu = tmp_path / "unfinished", torch.device("cuda")
    assert resumed_execution(folder, MachineSpec(), gpu) is None
    way = Execution(precision="bf16-mixed", memory_format="channels-last", compiled=True)
    keep_execution(way, folder)
    assert resumed_execution(folder, MachineSpec(), gpu) == way
    assert [file.name for file in folder.iterdir()] == ["execution.json"]


@pytest.mark.parametrize(
    ("device", "machine", "changes"),
    [
        ("cuda", {"compile": "no"}, {"compiled": False}),
        ("cuda", {"memory_format": "contiguous"}, {"memory_format": "contiguous"}),
        ("cpu", {}, {"compiled": False}),
        ("cpu", {"compile": "yes"}, {}),
        ("mps", {}, {"compiled": False, "memory_format": "contiguous"}),
    ],
)
def test_an_interrupted_fit_goes_on_as_settings_and_device_have_it(
    tmp_path, device, machine, changes
):
    """Its precision is kept: another one would be another run."""
    begun = Execution(precision="bf16-mixed", memory_format="channels-last", compiled=True)
    keep_execution(begun, tmp_path)
    wanted = begun.model_copy(update=changes)
    assert resumed_execution(tmp_path, MachineSpec(**machine), torch.device(device)) == wanted


@pytest.mark.parametrize(("n_images", "several"), [(299, False), (301, True)])
def test_one_step_tells_that_a_fit_is_short(monkeypatch, n_images, several):
    """A step takes 0.1 s an image; further ones could only make the fit shorter still."""
    counts = []

    def seconds(step, n_steps, device):
        counts.append(n_steps)
        return 0.1 * 4 * n_steps

    monkeypatch.setattr(execution, "seconds", seconds)
    monkeypatch.setattr(execution, "_MEASURED_SECONDS", 1.0)
    choose_execution(work(n_images=n_images), AUTO)
    assert counts[0] == 1
    assert (len(counts) > 1) == several


def test_real_ways_are_measured_and_nothing_is_left_changed(monkeypatch):
    """With a fit that counts as long, and a clock of its own: each way takes its steps."""
    monkeypatch.setattr(execution, "SHORT_SECONDS", 0.0)
    monkeypatch.setattr(execution, "_MEASURED_SECONDS", 0.01)
    task = work(recipe(average=0.9, gradient_clip=1.0, schedule="cosine"))
    before = {name: t.clone() for name, t in task.classifier.state_dict().items()}
    with torch.random.fork_rng([]):
        torch.manual_seed(54321)
        state = torch.get_rng_state()
        found = choose_execution(task, AUTO)
        assert torch.equal(torch.get_rng_state(), state)
    assert found in execution.allowed_ways(task.recipe, AUTO, torch.device("cpu"))
    for name, tensor in task.classifier.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_order_in_memory_changes_no_result_but_by_rounding():
    network = work().classifier
    images = torch.rand(4, 1, 12, 12)
    plain = network(images)
    Execution(memory_format="channels-last").arrange(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(images), plain)
    PLAIN.arrange(network)
    assert network[0].weight.is_contiguous()


def test_a_missing_accelerator_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="gpu"):
        choose_execution(work(), MachineSpec(accelerator="gpu"))
