"""Which test images tell most: hard ones, and those on which models are sure and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensbench.outcome import Predictions

N_SHOWN = 12
"""Images in a gallery, at most."""


@dataclass(frozen=True)
class Opinion:
    """What one model says of an image: a class, and the probability it gives to it."""

    model: str
    called: str
    probability: float
    is_right: bool


@dataclass(frozen=True)
class Example:
    """A test image with the opinion of every model, and the one that made it an example."""

    id: str
    label: str
    opinions: tuple[Opinion, ...]
    why: str

    @property
    def n_right(self) -> int:
        """How many models call it by its class."""
        return sum(one.is_right for one in self.opinions)

    @property
    def votes(self) -> tuple[tuple[str, int, float], ...]:
        """The classes it was called: each with the number of models, and their mean probability."""
        called = dict.fromkeys(one.called for one in self.opinions)
        counted = []
        for name in called:
            sure = [one.probability for one in self.opinions if one.called == name]
            counted.append((name, len(sure), float(np.mean(sure))))
        return tuple(sorted(counted, key=lambda vote: -vote[1]))


@dataclass(frozen=True)
class Gallery:
    """Some test images, the most telling first.

    Attributes:
        title: What they have in common.
        caption: How they were chosen, and from how many.
        examples: At most `N_SHOWN`.
    """

    title: str
    caption: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class _Jury:
    """M models and what they say of N images.

    Attributes:
        names: Of the models.
        test: The predictions of the first one, for ids, labels and class names.
        probabilities: (M, N, K) float64.
        is_wrong: (M, N) whether the call is not the label.
    """

    names: tuple[str, ...]
    test: Predictions
    probabilities: NDArray[np.float64]
    is_wrong: NDArray[np.bool_]

    def example(self, row: int, why: str) -> Example:
        classes, scores = self.test.classes, self.probabilities[:, row]
        return Example(
            id=str(self.test.ids[row]),
            label=classes[self.test.labels[row]],
            opinions=tuple(
                Opinion(name, classes[mine.argmax()], float(mine.max()), is_right=not bool(wrong))
                for name, mine, wrong in zip(self.names, scores, self.is_wrong[:, row], strict=True)
            ),
            why=why,
        )


def galleries(models: Sequence[tuple[str, Predictions]]) -> tuple[Gallery, ...]:
    """Choose the hardest images, those that all models get wrong, and the most confident errors.

    Args:
        models: Names and test predictions, all of the same images in the same order.

    Returns:
        None of them empty; the second one only where there are several models.
    """
    if not models:
        return ()
    names, predictions = zip(*models, strict=True)
    jury = _Jury(
        names=names,
        test=predictions[0],
        probabilities=np.stack([one.probabilities for one in predictions]),
        is_wrong=np.stack([one.logits.argmax(axis=1) != one.labels for one in predictions]),
    )
    chosen = [_hardest(jury), _wrong_by_all(jury), _boldest(jury)]
    return tuple(gallery for gallery in chosen if gallery.examples)


def _hardest(jury: _Jury) -> Gallery:
    n, mean = len(jury.test.ids), "mean " if len(jury.names) > 1 else ""
    of_label = jury.probabilities[:, np.arange(n), jury.test.labels].mean(axis=0)
    rows = np.argsort(of_label, kind="stable")[:N_SHOWN]
    give = "the models give" if mean else "the model gives"
    return Gallery(
        "The hardest images",
        f"Of {n:,} test images, those to whose true class {give} the lowest {mean}probability.",
        tuple(jury.example(i, f"its {mean}probability is {of_label[i]:.3f}") for i in rows),
    )


def _wrong_by_all(jury: _Jury) -> Gallery:
    others = np.arange(len(jury.test.classes)) != jury.test.labels[:, None]
    agreed = np.where(others, jury.probabilities.mean(axis=0), 0).max(axis=1)
    missed = np.flatnonzero(jury.is_wrong.all(axis=0))
    rows = missed[np.argsort(-agreed[missed], kind="stable")][:N_SHOWN]
    return Gallery(
        "Wrong by every model",
        f"None of the {len(jury.names)} models finds the class of {len(missed):,} of "
        f"{len(jury.test.ids):,} test images. Shown are those on whose wrong class they agree "
        "most, by its mean probability; an image with a wrong label would be among them.",
        tuple(jury.example(i, f"a wrong class has {agreed[i]:.3f}") for i in rows)
        if len(jury.names) > 1
        else (),
    )


def _boldest(jury: _Jury) -> Gallery:
    sure = np.where(jury.is_wrong, jury.probabilities.max(axis=2), 0)
    rows = np.argsort(-sure.max(axis=0), kind="stable")[:N_SHOWN]
    return Gallery(
        "The most confident errors",
        "The wrong calls with the highest probabilities, one for each image.",
        tuple(
            jury.example(i, f"{jury.names[sure[:, i].argmax()]} is {sure[:, i].max():.2%} sure")
            for i in rows
            if sure[:, i].any()
        ),
    )
