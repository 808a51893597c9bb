"""How fast training is: our loop against the bare step, and against other ways of training.

Usage: python benchmarks/training.py [--parts efficiency,others,ways,memory] [--models ResNet18 ...]
                                     [--seconds 60] [--n-rounds 3] [--out FILE]

- `efficiency`: training images per second of our loop (batches from the pack, augmentation, steps,
  averaged weights, losses, progress bar) over the bare step of the same model on one batch that is
  on the device, in the same precision and order in memory. Each is busy for about a second in turn,
  so that what else the machine does falls on both. On a CPU a second line has the same over the
  steps (forward and backward pass, loss, optimiser) within the loop, which are timed where they
  are, so that noise falls out. What a fit takes besides its loop and its validation (its start, a
  checkpoint, the weights of the best epoch) is said in seconds.
- `others`: our whole `fit` against three loops on the same files: the contract's way (a file at a
  time through PIL, 8 bits, 224 px, three channels, a DataLoader), a plain Lightning loop with a
  DataLoader, and timm's loader and steps put together as its training script does (the script is
  no part of its package); each in a process of its own. Same model, batch, precision and, but for
  the contract's way, order in memory: nothing in the contract changes the usual one.
- `ways`: precisions that the device has, orders in memory and, if asked for, torch.compile: steps
  of training in turn, of 16 images at most on a CPU, and no whole fits.
- `memory`: bare steps on a CPU whose freed memory is kept for the next one, as in our fits, over
  the same with the C library as it is.

Our fits average weights, which the recipe leaves out, for all that a recipe can ask for; they move
as often as in 50 epochs of 30,000 images.

What else a machine does makes a loop slower, never faster, so the tables have the ratio of the
fastest rounds, and beside it the median and the range of the ratios within a round, which tell how
noisy the machine was. In `others` the start of every loop counts, and the checkpoint at the end of
ours: there, measurements of a few seconds say little. Runs on a GPU if there is one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar
from unittest import mock

import lightning
import numpy as np
import timm.data
import timm.optim
import timm.utils
import torch
import tyro
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import lensbench
from lensbench.config import DataSpec, MachineSpec, ModelSpec, Recipe
from lensbench.data.pack import Pack, open_or_build_pack
from lensbench.freed_memory import freed_memory_kept
from lensbench.outcome import Timing
from lensbench.recipes import CONTRACT, LENSBENCH
from lensbench.runs.environment import describe_environment
from lensbench.training.execution import (
    Execution,
    Stopwatch,
    Work,
    allowed_ways,
    choose_execution,
)
from lensbench.training.fit import fit
from lensbench.training.memory import PeakMemory
from lensbench.training.module import Training
from lensbench.training.steps import left_alone
from lensbench.whole_file import write_whole
from lensbench.zoo.build import build
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.names import resolve

T = TypeVar("T")

CLASSES = ("no", "sphere", "vort")
SHAPE = (1, 150, 150)
SEED = 0
N_VALIDATION = 32
N_TRAINED = 50 * 30_000
"""Images in the steps of a whole fit, to which the pace of averaged weights belongs."""
N_TURNS = 6
"""Fewest turns of the loop and the bare step; the first one does not count."""


@dataclass(frozen=True)
class Line:
    """One measurement beside its baseline: images per second, and their ratio in each round."""

    what: str
    ours: list[float]
    baseline: list[float]

    @property
    def ratios(self) -> list[float]:
        """Ours over the baseline, round by round."""
        return [ours / base for ours, base in zip(self.ours, self.baseline, strict=True)]

    def __str__(self) -> str:
        ratios = self.ratios
        ours, baseline = max(self.ours), max(self.baseline)
        return (
            f"| {self.what} | {ours:.4g} | {baseline:.4g} | {ours / baseline:.3f} | "
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
        )


@dataclass(frozen=True)
class Setting:
    """What all ways of training have in common."""

    model: str
    """Its full name."""
    recipe: Recipe
    files: Path
    data: DataSpec
    n_images: int
    device: torch.device
    execution: Execution
    folder: Path

    @property
    def pack(self) -> Pack:
        """All images, opened once in each process."""
        return _pack(self.data)

    @property
    def rows(self) -> np.ndarray:
        """The images to train on."""
        return np.arange(self.n_images)

    def lasting(self, seconds: float, rate: float, *, at_least: int) -> Setting:
        """Return the same with the batches that some seconds take at a rate in images per second.

        Args:
            seconds: About how long they take.
            rate: Images per second.
            at_least: Batches, however long they take.
        """
        size = self.recipe.batch_size
        n_images = size * max(min(int(seconds * rate), self.n_images) // size, at_least)
        # What averaged weights reach back: a tenth of a whole fit, in units of this short one, and
        # so more than a recipe could ask for.
        average = 0.1 * N_TRAINED / n_images
        recipe = self.recipe.model_copy(update={"average": average})
        return replace(self, n_images=n_images, recipe=recipe)

    def classifier(self, recipe: Recipe | None = None) -> nn.Module:
        """Return the classifier, with random weights, laid out in memory as all others."""
        spec = ModelSpec(identifier=self.model, pretrained=False)
        made = build(spec, recipe or self.recipe, CLASSES, self.pack.image_shape, SEED)
        self.execution.arrange(made)
        return made

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the precision of all ways."""
        if self.execution.precision == "32-true":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


@functools.cache
def _pack(data: DataSpec) -> Pack:
    return open_or_build_pack(data)


def main(
    parts: str = "efficiency,others,ways,memory",
    models: tuple[str, ...] = ("ResNet18", "MobileNetV3-Small"),
    seconds: float = 60,
    n_images: int = 6000,
    batch_size: int = 32,
    image_size: int | Literal["native"] = "native",
    n_rounds: int = 3,
    compiled: bool = False,
    threads: int | None = None,
    out: Path | None = None,
) -> None:
    """Measure, print the tables and write them.

    Args:
        parts: What to measure.
        models: Names, as `lensbench run` takes them; `all` for the 23 of the contract.
        seconds: For which the bare step is busy in each measurement, all its rounds together in
            `efficiency`.
        n_images: At most in each measurement; on a GPU take 30,000.
        batch_size: Images per step.
        image_size: Side in pixels to which all but the contract's way resize the images.
        n_rounds: How often each is measured, but in `efficiency`.
        compiled: Whether `ways` measures torch.compile too; on a CPU that takes minutes.
        threads: CPU threads.
        out: Markdown file for the tables.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = LENSBENCH.model_copy(
        update={
            "batch_size": batch_size,
            "reference_batch_size": batch_size,
            "image_size": image_size,
            "epochs": 1,
        }
    )
    everything = tuple(row.identifier for row in lensbench.CONTRACT_MODELS)
    names = [_full_name(name) for name in (everything if models == ("all",) else models)]
    table = _Table(out)
    table.add(_heading(device, seconds, n_images, recipe), "")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = lensbench.simulate(
            folder / "images", n_train=-(-n_images // 3) + N_VALIDATION, n_val=1, processes=1
        )
        data = DataSpec(path=files, cache=folder / "cache")
        if any(part in parts for part in ("efficiency", "others", "memory")):
            table.add(*_head("measured", "ours", "baseline"))
            for name in names:
                setting = Setting(
                    name, recipe, files, data, n_images, device, _execution(name, recipe), folder
                )
                for line in _lines(setting, parts, seconds, n_rounds):
                    table.add(str(line))
            table.add("")
    if "ways" in parts:
        table.add(*_head("way", "this way", "32-true, contiguous"))
        for name in names:
            for line in ways(name, recipe, device, n_rounds, compiled):
                table.add(str(line))


class _Table:
    """Lines that are printed, and written to a file, as soon as they are known."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self._lines: list[str] = []

    def add(self, *lines: str) -> None:
        print(*lines, sep="\n", flush=True)
        self._lines += lines
        if self._out is not None:
            write_whole(self._out, "\n".join(self._lines) + "\n")


def _full_name(name: str) -> str:
    rows = {row.desc: row.identifier for row in lensbench.CONTRACT_MODELS}
    return str(resolve(rows.get(name, name)))


def _heading(device: torch.device, seconds: float, n_images: int, recipe: Recipe) -> str:
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    machine = describe_environment(device.type, gpu, "", torch.get_num_threads()).machine
    resized = "" if recipe.image_size == "native" else f", resized to {recipe.image_size},"
    return (
        f"{machine.removesuffix(', ')}; torch {torch.__version__}. Images of 150 px{resized} in "
        f"batches of {recipe.batch_size}, in each measurement as many as the bare step takes in "
        f"about {seconds:g} s, at most {n_images:,}. Images per second are those of the fastest "
        "round, then their ratio; the last column is the median of the ratios within a round, with "
        "their range."
    )


def _head(*columns: str) -> list[str]:
    columns = (*columns, "ratio", "within a round")
    return [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]


def _execution(model: str, recipe: Recipe) -> Execution:
    """Return what a long fit would be computed with here."""
    classifier = build(ModelSpec(identifier=model, pretrained=False), recipe, CLASSES, SHAPE, SEED)
    work = Work(classifier, recipe, SHAPE, len(CLASSES), n_images=10**9)
    return choose_execution(work, MachineSpec(compile="no"))


def _lines(setting: Setting, parts: str, seconds: float, n_rounds: int) -> Iterator[Line]:
    step = bare_step(setting)
    _rate(setting, itertools.repeat(step, 1))
    rate = _rate(setting, itertools.repeat(step, 2))
    if "efficiency" in parts:
        yield from efficiency(setting.lasting(seconds, rate, at_least=N_TURNS), step, rate)
    if "others" in parts:
        yield from others(setting.lasting(seconds, rate, at_least=2), n_rounds)
    if "memory" in parts and setting.device.type == "cpu":
        yield memory(setting.lasting(seconds, rate, at_least=3), n_rounds)


def efficiency(setting: Setting, step: Callable[[], int], rate: float) -> Iterator[Line]:
    """Measure our loop and a bare step in turn, for a second each or a sixth of the images.

    Args:
        setting: What is trained.
        step: The bare one.
        rate: About how many images per second it takes.
    """
    size = setting.recipe.batch_size
    n_steps = max(1, min(int(rate / size), setting.n_images // size // N_TURNS))
    n_images = n_steps * size
    rates: dict[str, list[float]] = {"loop": [], "bare": [], "within": []}
    n_done, start = 0, time.perf_counter()
    count = Training.on_train_batch_end

    def then_bare_steps(training: Training, *arguments: object) -> None:
        nonlocal n_done, start
        count(training, *arguments)
        n_done += 1
        if n_done % n_steps == 0:
            _wait_for(setting.device)
            rates["loop"].append(n_images / (time.perf_counter() - start))
            rates["within"].append(n_images / within.seconds)
            rates["bare"].append(_rate(setting, itertools.repeat(step, n_steps)))
            within.seconds = 0.0
            start = time.perf_counter()

    with (
        mock.patch.object(Training, "on_train_batch_end", then_bare_steps),
        steps_timed() as within,
    ):
        seconds, timing = timed_fit(setting)
    rates = {name: values[1:] for name, values in rates.items()}  # the first has the start
    what = f"{setting.model} ({setting.execution}), loop over the"
    besides = seconds - timing.fit_seconds
    yield Line(f"{what} bare step; {besides:.1f} s besides", rates["loop"], rates["bare"])
    if setting.device.type == "cpu":
        yield Line(f"{what} steps within", rates["loop"], rates["within"])


@dataclass
class Tally:
    """Adds up the seconds in some functions."""

    seconds: float = 0.0

    def around(self, function: Callable[..., T]) -> Callable[..., T]:
        """Return a function that counts."""

        @functools.wraps(function)
        def counted(*arguments: object, **named: object) -> T:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - start

        return counted


@contextlib.contextmanager
def steps_timed() -> Iterator[Tally]:
    """Count the seconds of what a bare step does too, wherever it is done."""
    tally = Tally()
    adamw = torch.optim.AdamW.step

    def without_closure(
        optimizer: torch.optim.AdamW, closure: Callable[[], float] | None = None
    ) -> float | None:
        loss = closure() if closure is not None else None
        tally.around(adamw)(optimizer)
        return loss

    with (
        mock.patch.object(Classifier, "forward", tally.around(Classifier.forward)),
        mock.patch.object(torch.Tensor, "backward", tally.around(torch.Tensor.backward)),
        mock.patch.object(
            nn.functional, "cross_entropy", tally.around(nn.functional.cross_entropy)
        ),
        mock.patch.object(
            torch.optim.AdamW, "zero_grad", tally.around(torch.optim.AdamW.zero_grad)
        ),
        mock.patch.object(torch.optim.AdamW, "step", without_closure),
    ):
        yield tally


def others(setting: Setting, n_rounds: int) -> Iterator[Line]:
    """Measure whole fits and the other ways of training."""
    ours, *ways = in_turn(setting, n_rounds, our_way, contract_way, lightning_way, timm_way)
    names = ("the contract's way", "Lightning and a DataLoader", "timm's loader and steps")
    for name, rates in zip(names, ways, strict=True):
        yield Line(f"{setting.model} ({setting.execution}), fit against {name}", ours, rates)


def memory(setting: Setting, n_rounds: int) -> Line:
    """Measure bare steps that find the memory of the last one, and steps that do not."""
    kept, given_back = in_turn(setting, n_rounds, steps_with_memory_kept, plain_steps)
    peaks = [max(peak for _, peak in found) / 1e9 for found in (kept, given_back)]
    return Line(
        f"{setting.model} ({setting.execution}), steps with freed memory kept over given back; at "
        f"most {peaks[0]:.2f} GB over {peaks[1]:.2f}",
        [rate for rate, _ in kept],
        [rate for rate, _ in given_back],
    )


def in_turn(setting: Setting, n_rounds: int, *ways: Callable[[Setting], T]) -> list[list[T]]:
    """Return what each way has found in each round.

    Each has a process of its own, since memory that one has used makes it faster for the next.
    """
    results: list[list[T]] = [[] for _ in ways]
    for _, (way, found) in itertools.product(range(n_rounds), zip(ways, results, strict=True)):
        context = multiprocessing.get_context("spawn")
        threads = torch.get_num_threads()
        with ProcessPoolExecutor(1, context, _settle_in, (threads, setting.device)) as process:
            found.append(process.submit(way, setting).result())
    return results


def _settle_in(threads: int, device: torch.device) -> None:
    """Make a new process like one that a user has started, whose device is awake."""
    torch.set_num_threads(threads)
    torch.zeros(1, device=device)
    multiprocessing.set_start_method("fork", force=True)  # of loaders; by default that of its own


def our_way(setting: Setting) -> float:
    """Return images per second of our whole fit, less its validation."""
    seconds, timing = timed_fit(setting)
    training = setting.n_images / timing.n_train_images_per_second
    return setting.n_images / (seconds - (timing.fit_seconds - training))


def steps_with_memory_kept(setting: Setting) -> tuple[float, int]:
    """Return the same as `plain_steps`, after each of which the process keeps the memory."""
    with freed_memory_kept():
        return plain_steps(setting)


def plain_steps(setting: Setting) -> tuple[float, int]:
    """Return images per second of bare steps, and the most bytes that they took."""
    peak = PeakMemory(nn.Identity(), setting.device)
    step = bare_step(setting)
    _rate(setting, itertools.repeat(step, 3))  # in which the heap grows
    n_steps = setting.n_images // setting.recipe.batch_size
    return _rate(setting, itertools.repeat(step, n_steps)), peak.bytes() or 0


def timed_fit(setting: Setting) -> tuple[float, Timing]:
    """Train with our `fit`; return the seconds that it took, and what it says itself."""
    machine = MachineSpec(
        precision=setting.execution.precision,
        memory_format=setting.execution.memory_format,
        compile="no",
    )
    pack, classifier = setting.pack, setting.classifier()
    with tempfile.TemporaryDirectory(dir=setting.folder) as work:
        start = time.perf_counter()
        fitted = fit(
            classifier,
            pack,
            setting.rows,
            setting.n_images + np.arange(N_VALIDATION),
            setting.recipe,
            machine=machine,
            seed=SEED,
            folder=Path(work),
            cache=setting.folder / "execution.json",
            label=setting.model,
        )
        seconds = time.perf_counter() - start
    assert fitted.timing is not None
    return seconds, fitted.timing


def bare_step(setting: Setting) -> Callable[[], int]:
    """Return forward and backward pass and optimiser on one batch; it tells its images."""
    plan = setting.recipe
    classifier = setting.classifier().to(setting.device).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3, fused=True)
    images = torch.rand(plan.batch_size, *setting.pack.image_shape, device=setting.device)
    labels = torch.zeros(plan.batch_size, dtype=torch.int64, device=setting.device)

    def step() -> int:
        with setting.autocast():
            loss = nn.functional.cross_entropy(classifier(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(images)

    return step


class Files(Dataset[tuple[torch.Tensor, int]]):
    """A file at a time, as notebooks read them."""

    def __init__(self, setting: Setting, transform: Callable[[np.ndarray], torch.Tensor]) -> None:
        """List the files, sorted."""
        self.files = sorted((setting.files / "train").rglob("*.npy"))[: setting.n_images]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        file = self.files[index]
        return self.transform(np.load(file)), CLASSES.index(file.parent.name)


def _loader(setting: Setting, transform: Callable[[np.ndarray], torch.Tensor]) -> DataLoader:
    return DataLoader(
        Files(setting, transform),
        batch_size=setting.recipe.batch_size,
        shuffle=True,
        num_workers=min(os.cpu_count() or 1, 8),
        pin_memory=setting.device.type == "cuda",
    )


def contract_way(setting: Setting) -> float:
    """Return images per second of a file at a time, PIL, 224 px and three channels."""
    pictures = transforms.Compose(
        [
            lambda array: Image.fromarray((array[0] * 255).astype(np.uint8)).convert("RGB"),
            transforms.Resize((224, 224)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomAffine(15, translate=(0.05, 0.05), scale=(0.95, 1.05)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    # The network alone: resizing and normalising are the loader's, and nobody changes the order.
    network = setting.classifier(CONTRACT).network.to(memory_format=torch.contiguous_format)
    return _loop(setting, network, _loader(setting, pictures))


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).float()


def lightning_way(setting: Setting) -> float:
    """Return images per second of a plain Lightning loop with a DataLoader."""

    class Plain(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = setting.classifier()

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.classifier(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    module, loader = Plain(), _loader(setting, _tensor)
    start = time.perf_counter()
    trainer = lightning.Trainer(
        accelerator="gpu" if setting.device.type == "cuda" else "cpu",
        devices=1,
        max_epochs=1,
        precision=setting.execution.precision,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, loader)
    _wait_for(setting.device)
    return setting.n_images / (time.perf_counter() - start)


def timm_way(setting: Setting) -> float:
    """Return images per second of timm's loader, optimiser and averaging."""
    pictures = setting.folder / f"{setting.n_images} pictures"
    if not pictures.exists():
        for file in Files(setting, _tensor).files:
            target = pictures / file.parent.name / f"{file.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((np.load(file)[0] * 255).astype(np.uint8)).save(target)
    dataset = timm.data.create_dataset("", root=str(pictures), input_img_mode="L")
    loader = timm.data.create_loader(
        dataset,
        input_size=SHAPE,
        batch_size=setting.recipe.batch_size,
        is_training=True,
        hflip=0.5,
        vflip=0.5,
        scale=(1, 1),
        ratio=(1, 1),
        color_jitter=None,
        mean=(0.0,),
        std=(1.0,),
        num_workers=min(os.cpu_count() or 1, 8),
        use_prefetcher=setting.device.type == "cuda",
        device=setting.device,
    )
    classifier = setting.classifier().to(setting.device)
    optimizer = timm.optim.create_optimizer_v2(classifier, "adamw", lr=1e-3, weight_decay=0.05)
    averaged = timm.utils.ModelEmaV3(classifier, decay=0.999, use_warmup=True)
    return _loop(setting, classifier, loader, optimizer, averaged)


def _loop(
    setting: Setting,
    classifier: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer | None = None,
    averaged: timm.utils.ModelEmaV3 | None = None,
) -> float:
    """Return images per second of the usual loop over a loader; its start counts, as in ours."""
    classifier.to(setting.device).train()
    optimizer = optimizer or torch.optim.AdamW(classifier.parameters(), lr=1e-3)

    def steps() -> Iterator[Callable[[], int]]:
        for number, batch in enumerate(loader, start=1):

            def step(batch: list[torch.Tensor] = batch, number: int = number) -> int:
                images, labels = (part.to(setting.device, non_blocking=True) for part in batch)
                with setting.autocast():
                    loss = nn.functional.cross_entropy(classifier(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if averaged is not None:
                    averaged.update(classifier, number)
                return len(images)

            yield step

    return _rate(setting, steps())


def _rate(setting: Setting, steps: Iterator[Callable[[], int]]) -> float:
    """Return images per second of steps that tell how many images they take."""
    start = time.perf_counter()
    n_images = sum(step() for step in steps)
    _wait_for(setting.device)
    return n_images / (time.perf_counter() - start)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ways(
    model: str, recipe: Recipe, device: torch.device, n_rounds: int, compiled: bool
) -> Iterator[Line]:
    """Measure all ways of computing the same step in turn, as the choice before a fit does."""
    classifier = build(ModelSpec(identifier=model, pretrained=False), recipe, CLASSES, SHAPE, SEED)
    work = Work(classifier, recipe, SHAPE, len(CLASSES), n_images=10**9)
    stopwatch = Stopwatch(work, MachineSpec(), device, print)
    usual = Execution()
    others = [way for way in allowed_ways(recipe, MachineSpec(), device) if way != usual]
    if compiled:
        others += [way.model_copy(update={"compiled": True}) for way in (usual, *others)]
    rates: dict[Execution, list[float]] = {way: [] for way in (usual, *others)}
    with left_alone(MachineSpec()):
        for _, way in itertools.product(range(n_rounds), rates):
            rates[way].append(1 / stopwatch.seconds_per_image(way))
    for way in others:
        yield Line(f"{model}, {way}", rates[way], rates[usual])


if __name__ == "__main__":
    tyro.cli(main)
