import numpy as np
import pytest

from lensbench.outcome import Predictions
from lensbench.reporting.calibrated import calibrated

from .page_runs import CLASSES, correlated


def test_only_what_follows_the_temperature_is_scaled():
    validation, test = correlated(300, 2.0, 1, part="validation"), correlated(300, 2.0, 1)
    diagrams, lacking = calibrated(validation, test, 0.9)
    before, after = diagrams
    temperature = float(after.removeprefix("at temperature "))
    assert (before, lacking) == ("as predicted", "")
    for name, scale in ((before, 1), (after, temperature)):
        odds = np.exp(test.logits / scale)
        confidence = (odds.max(axis=1) / odds.sum(axis=1)).mean()
        bins = diagrams[name].bins
        mean = np.average([b.confidence for b in bins], weights=[b.accuracy.n for b in bins])
        assert mean == pytest.approx(confidence, abs=1e-3)
        assert {one.accuracy.level for one in bins} == {0.9}


@pytest.mark.parametrize("kept", [False, True])
def test_without_a_temperature_it_says_why(kept):
    test = correlated(30, 2.0, 1)
    perfect = Predictions(test.ids, test.labels, 9.0 * np.eye(3)[test.labels], CLASSES)
    diagrams, lacking = calibrated(perfect if kept else None, test, 0.9)
    assert list(diagrams) == ["as predicted"]
    why = "validation examples are called right" if kept else "no validation predictions"
    assert lacking.startswith("no temperature scaling: ")
    assert why in lacking
