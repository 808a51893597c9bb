"""How reliable a run's probabilities are, as predicted and after temperature scaling."""

from __future__ import annotations

from lensbench.errors import RecordError
from lensbench.evaluation.calibration import (
    Reliability,
    fit_temperature,
    reliability,
    with_temperature,
)
from lensbench.outcome import Predictions


def calibrated(
    validation: Predictions | None, test: Predictions, level: float
) -> tuple[dict[str, Reliability], str]:
    """Return the reliability on the test images, before and after scaling on the validation ones.

    Args:
        validation: What the temperature is fitted to, if it is kept.
        test: Of the same classifier.
        level: Of the intervals.

    Returns:
        The diagrams by what was done to the probabilities, as predicted first; and why the second
        is lacking, empty if it is not.

    Raises:
        RecordError: There is no test image.
    """
    diagrams = {"as predicted": reliability(test, level)}
    if validation is None:
        return diagrams, "no temperature scaling: no validation predictions are kept"
    try:
        temperature = fit_temperature(validation)
    except RecordError as error:
        return diagrams, f"no temperature scaling: {error}"
    scaled = reliability(with_temperature(test, temperature), level)
    return diagrams | {f"at temperature {temperature:.3f}": scaled}, ""
