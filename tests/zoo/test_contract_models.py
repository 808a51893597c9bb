from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from lensbench.zoo.classifier import Classifier
from lensbench.zoo.names import CONTRACT_MODELS


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "side"), [(1, 150), (3, 224)])
@pytest.mark.parametrize("identifier", [row.identifier for row in CONTRACT_MODELS])
def test_every_model_of_the_contract_classifies(
    make: Callable[..., Classifier],
    images: Callable[..., Tensor],
    identifier: str,
    channels: int,
    side: int,
) -> None:
    classifier = make(identifier, image_size=side, channels=channels, normalise="imagenet").eval()
    logits = classifier(images())
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()
    assert classifier.preprocess.resized == (side, side)
