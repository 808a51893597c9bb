"""What the data cost: auditing, packing and opening them, feeding them to a model, and memory.

Usage: python benchmarks/data.py [--n-images 37500] [--n-fed 30000] [--folder DIR] [--out FILE]

Simulates images of the format and size of Common Test I (population common-test-1; 37,500 take 7 GB
and some ten minutes) in a temporary folder, or in one that is kept, and measures each thing against
a named baseline in the same run. Trains on a GPU, in bf16, if there is one.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, Dataset

import lensbench
from lensbench.config import DataSpec, ModelSpec
from lensbench.data.audit import find
from lensbench.data.batches import DeviceImages, Feeder
from lensbench.data.catalogue import read_catalogue
from lensbench.data.copies import group_copies
from lensbench.data.pack import Pack, open_or_build_pack, open_pack, packs_folder
from lensbench.data.sources.open import open_source
from lensbench.data.survey import survey
from lensbench.data.writer import PackWriter
from lensbench.recipes import QUICK
from lensbench.runs.environment import describe_environment
from lensbench.training.augment import augment
from lensbench.zoo.build import build


@dataclass(frozen=True)
class Line:
    """One measurement, beside what it is measured against."""

    what: str
    value: str
    baseline: str
    ratio: str


def main(
    n_images: int = 37_500,
    n_fed: int = 30_000,
    folder: Path | None = None,
    out: Path | None = None,
    batch_size: int = 64,
    seconds: float = 15.0,
    parts: Annotated[str, tyro.conf.arg(metavar="audit,feed,wait,memory")] = (
        "audit,feed,wait,memory"
    ),
) -> None:
    """Measure, print a table and write it.

    Args:
        n_images: Files to audit and pack.
        n_fed: Images to feed and to train on.
        folder: Where the files are written and kept; a temporary folder if not given.
        out: Markdown file for the table.
        batch_size: Images per batch.
        seconds: How long each way of feeding is measured.
        parts: What to measure.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = lensbench.simulate(
            place / f"images-{n_images}", n_train=n_images * 4 // 15, n_val=n_images // 15
        )
        spec = DataSpec(path=data, cache=place / "cache")
        lines: list[Line] = []
        if "audit" in parts:
            lines += audit_and_pack(spec)
        pack = open_or_build_pack(spec)
        rows = np.random.default_rng(0).permutation(len(pack.stored))[:n_fed]
        if "feed" in parts:
            lines += feed(pack, data, rows, batch_size, seconds, device)
        if "wait" in parts:
            lines += wait(pack, rows, batch_size, seconds, device)
        if "memory" in parts:
            lines += memory(spec, n_fed)
    report(lines, device, out)


def audit_and_pack(spec: DataSpec) -> list[Line]:
    """Time the audit against reading the same files once, from the disk and from memory."""
    paths = sorted(spec.path.rglob("*.npy"))
    lines = []
    for state, prepare in (("disk", forget), ("memory", read_all)):
        prepare(paths)
        plain = timed(lambda: read_all(paths))
        prepare(paths)
        arrays = timed(lambda: [np.load(path).sum() for path in paths])
        prepare(paths)
        with tempfile.TemporaryDirectory(dir=packs_folder(spec)) as folder:
            clock = time.perf_counter()
            source = open_source(spec.path)
            catalogue = read_catalogue(source)
            writer = PackWriter(Path(folder), len(catalogue))
            facts = survey(catalogue, source, writer.write)
            surveyed = time.perf_counter() - clock
            copies = group_copies(facts, writer.read)
            searched = time.perf_counter() - clock - surveyed
            find(catalogue, facts, copies, spec.value_range)
            writer.close()
            audited = time.perf_counter() - clock
        lines += [
            Line(
                f"audit of {len(paths):,} files, from {state}",
                f"{audited:.1f} s, of it {searched:.1f} s to find near duplicates by their "
                "signatures and compare them",
                f"reading their bytes: {plain:.1f} s",
                f"{audited / plain:.2f}; {(audited - searched) / plain:.2f} without",
            ),
            Line(
                "",
                "",
                f"np.load, and touching each value: {arrays:.1f} s",
                f"{audited / arrays:.2f}",
            ),
        ]
    packed = timed(lambda: open_or_build_pack(spec))
    pack = open_or_build_pack(spec)
    files = sum(path.stat().st_size for path in paths)
    opened = statistics.median(timed(lambda: open_pack(pack.folder)) for _ in range(20))
    checked = statistics.median(timed(lambda: open_or_build_pack(spec)) for _ in range(5))
    return [
        *lines,
        Line(
            "audit and pack",
            f"{packed:.1f} s",
            f"the audit alone: {audited:.1f} s",
            f"{packed / audited:.2f}",
        ),
        Line(
            f"size of the pack ({pack.stored.dtype})",
            f"{pack.stored.nbytes / 1e9:.2f} GB",
            f"the files: {files / 1e9:.2f} GB",
            f"{pack.stored.nbytes / files:.2f}",
        ),
        Line(
            "opening the pack",
            f"{1e3 * opened:.1f} ms",
            f"with a look at every file for changes: {1e3 * checked:.0f} ms",
            f"{opened / checked:.3f}",
        ),
    ]


def feed(
    pack: Pack, data: Path, rows: np.ndarray, batch_size: int, seconds: float, device: torch.device
) -> list[Line]:
    """Count images per second into batches on the training device, each way in its own turn."""
    paths = [data / member for member in np.array(pack.catalogue.members)[rows]]
    labels = pack.labels[rows]
    ways: dict[str, Callable[[], Iterator[torch.Tensor]]] = {}
    for resident in (False, True) if device.type == "cuda" else (False,):
        images = DeviceImages(pack, device, resident=resident)
        kind = "from the device" if resident else "from the pack"
        ways[f"lensbench, {kind}"] = lambda images=images: (
            batch for batch, _ in Feeder(images, rows, batch_size, shuffle_seed=0)
        )
    loaders = {
        "DataLoader, 2 workers, .npy files": NpyFiles(paths, labels),
        "the contract's way: a file at a time through PIL to 224 px": PilFiles(paths, labels),
    }
    for name, files in loaders.items():
        n_workers = 2 if "workers" in name else 0
        ways[name] = lambda files=files, n_workers=n_workers: (
            batch.to(device)
            for batch, _ in DataLoader(
                files,
                batch_size,
                shuffle=True,
                num_workers=n_workers,
                pin_memory=device.type == "cuda",
            )
        )
    ways["limit: plain copy of the same float32 bytes in memory"] = lambda: copies(
        pack, batch_size, device
    )
    rates = {name: rate(way, seconds, device) for name, way in ways.items()}
    ours = rates[next(iter(ways))]
    return [
        Line(name, f"{per_second:,.0f} images/s", next(iter(ways)), f"{per_second / ours:.3f}")
        for name, per_second in rates.items()
    ]


class NpyFiles(Dataset[tuple[torch.Tensor, int]]):
    """What a careful notebook does."""

    def __init__(self, paths: list[Path], labels: np.ndarray) -> None:
        self.paths, self.labels = paths, labels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(np.load(self.paths[i]).astype(np.float32)), int(self.labels[i])


class PilFiles(NpyFiles):
    """What the contract's notebook does: eight bits, three channels, 224 pixels."""

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray((np.load(self.paths[i])[0] * 255).astype(np.uint8))
        picture = picture.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        return pixels, int(self.labels[i])


def copies(pack: Pack, batch_size: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Copy one batch again and again."""
    n_rows = min(len(pack.stored), 16 * batch_size)
    block = torch.from_numpy(pack.read(np.arange(n_rows)))
    if device.type == "cuda":
        block = block.pin_memory()
    batch = torch.empty((batch_size, *pack.image_shape), device=device)
    for k in range(10**6):
        first = k * batch_size % (n_rows - batch_size + 1)
        yield batch.copy_(block[first : first + batch_size], non_blocking=True)


def rate(way: Callable[[], Iterator[torch.Tensor]], seconds: float, device: torch.device) -> float:
    """Return images per second, after a first batch that is not counted."""
    batches = way()
    next(batches)
    n_images, clock = 0, time.perf_counter()
    while time.perf_counter() - clock < seconds:
        batch = next(batches, None)
        if batch is None:
            batches = way()
            continue
        n_images += len(batch)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return n_images / (time.perf_counter() - clock)


def wait(
    pack: Pack, rows: np.ndarray, batch_size: int, seconds: float, device: torch.device
) -> list[Line]:
    """Measure which share of the training steps of ResNet18 is spent until a batch is there."""
    recipe = QUICK.model_copy(update={"batch_size": batch_size})
    model = ModelSpec(identifier="torchvision/resnet18", pretrained=False)
    classifier = build(model, recipe, pack.classes, pack.image_shape, seed=0).to(device).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    draws = torch.Generator()
    lines = []
    for resident in (False, True) if device.type == "cuda" else (False,):
        feeder = Feeder(
            DeviceImages(pack, device, resident=resident), rows, batch_size, shuffle_seed=0
        )
        waited = spent = 0.0
        n_steps = 0
        batches = iter(feeder)
        while spent < 4 * seconds:
            clock = time.perf_counter()
            batch = next(batches, None)
            synchronize(device)
            got = time.perf_counter()
            if batch is None:
                feeder.set_epoch(feeder.state_dict()["epoch"] + 1)
                batches = iter(feeder)
                continue
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = classifier(augment(batch[0], recipe, draws))
                loss = nn.functional.cross_entropy(logits, batch[1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            synchronize(device)
            n_steps += 1
            if n_steps > 2:  # the first steps also choose algorithms and allocate
                waited += got - clock
                spent += time.perf_counter() - clock
        place = "from the device" if resident else "from the pack"
        precision = "bf16" if device.type == "cuda" else "float32"
        lines.append(
            Line(
                f"waiting for data, ResNet18, {pack.image_shape[-1]} px, batch {batch_size}, "
                f"{precision}, {place}",
                f"{1e3 * waited / (n_steps - 2):.1f} ms a step",
                f"the whole step: {1e3 * spent / (n_steps - 2):.0f} ms, "
                f"{(n_steps - 2) * batch_size / spent:,.0f} images/s",
                f"{waited / spent:.2%}",
            )
        )
    return lines


TRAINING = """
import sys, numpy as np, resource, tempfile
from pathlib import Path
from lensbench.config import DataSpec, MachineSpec, ModelSpec
from lensbench.data.pack import open_or_build_pack
from lensbench.recipes import QUICK
from lensbench.training.fit import fit
from lensbench.zoo.build import build

def memory():
    lines = dict(line.split(":") for line in open("/proc/self/status") if "kB" in line)
    return {key: int(lines[key].split()[0]) / 1e6 for key in ("VmHWM", "RssAnon", "RssFile")}

n_images = int(sys.argv[3])
pack = open_or_build_pack(DataSpec(path=Path(sys.argv[1]), cache=Path(sys.argv[2])))
model = ModelSpec(identifier="timm/test_resnet", pretrained=False)
recipe = QUICK.model_copy(update={"epochs": 1, "batch_size": 64})
classifier = build(model, recipe, pack.classes, pack.image_shape, seed=0)
rows = np.random.default_rng(0).permutation(len(pack.stored))
with tempfile.TemporaryDirectory() as folder:
    fit(classifier, pack, rows[:n_images], rows[n_images:][:300] if len(rows) > n_images else
        rows[:300], recipe, machine=MachineSpec(), seed=0, folder=Path(folder), label="memory")
after = memory()
print(after["VmHWM"], after["RssAnon"], after["RssFile"])
"""


def memory(spec: DataSpec, n_images: int) -> list[Line]:
    """Train one epoch in a process of its own and read what it held; Linux only."""
    peaks = {}
    for n in (256, n_images):
        arguments = [sys.executable, "-c", TRAINING, str(spec.path), str(spec.cache), str(n)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)  # noqa: S603
        peaks[n] = [float(value) for value in done.stdout.split()[-3:]]
    pack = open_or_build_pack(spec)
    stored = pack.stored[0].nbytes * n_images / 1e9
    few, many = peaks[256], peaks[n_images]
    return [
        Line(
            f"peak resident memory, an epoch of {n_images:,} images",
            f"{many[0]:.2f} GB",
            f"of 256 images: {few[0]:.2f} GB; the difference is {many[0] - few[0]:.2f} GB, "
            f"the images themselves as stored are {stored:.2f} GB",
            f"{(many[0] - few[0]) / stored:.2f}",
        ),
        Line(
            "of it, at the end, the process's own (not pages of files)",
            f"{many[1]:.2f} GB",
            f"of 256 images: {few[1]:.2f} GB",
            f"{many[1] / few[1]:.2f}",
        ),
    ]


def forget(paths: list[Path]) -> None:
    """Ask the system to drop the files from its memory."""
    os.sync()
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_all(paths: list[Path]) -> None:
    """Read every file."""
    for path in paths:
        path.read_bytes()


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds something takes."""
    clock = time.perf_counter()
    work()
    return time.perf_counter() - clock


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def report(lines: list[Line], device: torch.device, out: Path | None) -> None:
    """Print the table, and write it as Markdown."""
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else None
    environment = describe_environment(device.type, gpu, "32-true", torch.get_num_threads())
    where = f"{environment.machine}; torch {environment.libraries['torch']}"
    table = Table("what", "measured", "beside", "ratio", title=where)
    for line in lines:
        table.add_row(line.what, line.value, line.baseline, line.ratio)
    Console(width=140).print(table)
    if out is not None:
        rows = [
            f"| {line.what} | {line.value} | {line.baseline} | {line.ratio} |" for line in lines
        ]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(
            "\n".join(
                [f"{where}.", "", "| what | measured | beside | ratio |", "|" + " --- |" * 4, *rows]
            )
            + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    tyro.cli(main)
