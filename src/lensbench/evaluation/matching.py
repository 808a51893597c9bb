"""Whether predictions are of the same examples, so that they may stand side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lensbench.errors import ComparisonError
from lensbench.outcome import Predictions


def difference(one: Predictions, other: Predictions, images: str = "test images") -> str | None:
    """Say in what two predictions, each in order of its ids, are not of the same examples.

    Args:
        one: The one.
        other: The other.
        images: What the examples are called.

    Returns:
        A clause, or None if classes, ids and labels are the same.
    """
    if one.classes != other.classes:
        return f"their classes are {one.classes} and {other.classes}"
    if not np.array_equal(one.ids, other.ids):
        n_common = len(np.intersect1d(one.ids, other.ids))
        return f"only {n_common} of {len(one.ids)} and {len(other.ids)} {images} are the same"
    n_differ = int((one.labels != other.labels).sum())
    return f"{n_differ} {images} have different labels" if n_differ else None


def in_one_order(predictions: Mapping[str, Predictions], images: str) -> dict[str, Predictions]:
    """Return predictions of several models with their examples and classes in one order.

    Args:
        predictions: By the name of the model.
        images: What the examples are called.

    Returns:
        The same in order of ids, and of the classes of the first.

    Raises:
        ComparisonError: They are of other examples, labels or classes than the first; names both.
    """
    ordered: dict[str, Predictions] = {}
    for name, mine in predictions.items():
        ordered[name] = mine.in_order_of_ids()
        first = next(iter(ordered))
        if set(mine.classes) == set(ordered[first].classes):
            ordered[name] = ordered[name].in_order_of_classes(ordered[first].classes)
        found = difference(ordered[first], ordered[name], images)
        if found:
            raise ComparisonError(f"{first} and {name} cannot be taken together: {found}")
    return ordered
