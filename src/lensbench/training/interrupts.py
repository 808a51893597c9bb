"""Ctrl-C and SIGTERM, which Lightning hears late, or takes for the end of the whole process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import lightning


class StopRequest(lightning.Callback):
    """The wish that a fit ends where it can go on from; who repeats it interrupts at once."""

    def __init__(self) -> None:
        """Begin without a wish."""
        self.made = False

    def on_train_start(self, *_: lightning.Trainer | lightning.LightningModule) -> None:
        """Take both signals over; Lightning would let SIGTERM end a validation, and lose it."""
        _hand_signals_to(self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            signal.default_int_handler(number, frame)
        self.made = True


@contextlib.contextmanager
def keyboard_interrupts(trainer: lightning.Trainer) -> Iterator[None]:
    """Let both signals arrive as KeyboardInterrupt while a trainer works."""
    before = _hand_signals_to(signal.default_int_handler)
    try:
        yield
    except SystemExit as error:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hand_signals_to(
    handler: Callable[[int, FrameType | None], object],
) -> dict[signal.Signals, Any]:
    """Set a handler, and return those before it.

    Only the main thread can have one. A signal that is ignored, as Ctrl-C is in jobs that a shell
    runs in the background, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGINT, signal.SIGTERM)
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}
