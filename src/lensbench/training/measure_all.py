"""Many models measured one after another, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from lensbench.config import MachineSpec
from lensbench.cost import MeasuredCost
from lensbench.errors import LensbenchError
from lensbench.training.execution import Execution
from lensbench.training.measure import Subject, fastest_execution, measure
from lensbench.training.steps import find_hardware

_Found = TypeVar("_Found")


def measure_all(
    subjects: Mapping[str, Subject],
    machine: MachineSpec,
    *,
    n_repeats: int,
    n_rounds: int,
) -> Iterator[tuple[str, MeasuredCost | str]]:
    """Measure all models, round after round, so that a machine's slow hours meet all of them.

    How each model is computed is chosen once, before. A model has a fresh process for that and in
    each round: its peak memory is its own, and one that runs out of memory does not stop the
    others. A script that calls this needs the guard `if __name__ == "__main__":`, as always where
    processes are spawned.

    Args:
        subjects: By the name of the run.
        machine: On what, and how.
        n_repeats: How often each speed is measured in each round.
        n_rounds: How often each model has its turn.

    Yields:
        The name of a run and what is known of it so far, after each of its turns: what comes
        later holds the repeats of earlier rounds too and takes their place. Or, once, the reason
        why it cannot be measured.

    Raises:
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    # A fresh process has torch's own number of threads, not that of this one.
    machine = machine.model_copy(update={"threads": find_hardware(machine).threads})
    ways: dict[str, Execution] = {}
    for name, subject in subjects.items():
        way = _in_fresh_process(_or_reason, fastest_execution, subject, machine)
        if isinstance(way, str):
            yield name, way
        else:
            ways[name] = way
    known: dict[str, MeasuredCost] = {}
    for _ in range(n_rounds):
        for name in list(ways):
            found = _in_fresh_process(
                _or_reason, measure, subjects[name], machine, ways[name], n_repeats
            )
            if isinstance(found, str):
                del ways[name]
                yield name, found
                continue
            known[name] = known[name].joined(found) if name in known else found
            yield name, known[name]


def _in_fresh_process(work: Callable[..., _Found], *arguments: object) -> _Found | str:
    # Not forked: CUDA cannot be used in a fork, and memory would not start from nothing.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as executor:
        try:
            return executor.submit(work, *arguments).result()
        except BrokenProcessPool:
            return (
                "its process ended before it was measured: most likely the memory ran out, or "
                'the script that started it lacks the line if __name__ == "__main__":'
            )


def _or_reason(work: Callable[..., _Found], *arguments: object) -> _Found | str:
    """Return errors as text: not every library's can be sent to another process."""
    try:
        return work(*arguments)
    except LensbenchError as error:
        return str(error)
    except Exception as error:  # whatever stops one model must not stop the next
        return f"{type(error).__name__}: {error}"
