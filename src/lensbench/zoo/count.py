"""What a classifier costs whatever it runs on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lensbench.cost import Cost
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.equivariant.networks import as_plain, is_plain


def cost_of(classifier: Classifier) -> Cost:
    """Count parameters and multiply-adds; see `count_multiply_adds`."""
    height, width = classifier.preprocess.accepts
    return Cost(
        model=classifier.name,
        image_size=(height, width),
        channels=classifier.preprocess.view.channels,
        n_parameters=classifier.n_parameters,
        multiply_adds=count_multiply_adds(classifier),
    )


def count_multiply_adds(classifier: Classifier) -> int:
    """Count the multiplications, each with its addition, that one image needs up to the logits.

    Convolutions, linear layers and both products of attention are counted, by
    `torch.utils.flop_counter`, which calls each pair two operations. Not counted is what goes
    element by element: biases, normalisation, activations, the softmax of attention, pooling and
    the resizing before the network, together a few per cent of the arithmetic (though more of the
    time). This is the number that papers call FLOPs or MACs.

    Filters that follow from fewer numbers are written out before, because no image needs that.

    The classifier is left as it is; no random number is drawn.
    """
    if not is_plain(classifier):
        classifier = as_plain(classifier)
    device = next(classifier.parameters()).device
    image = torch.zeros(1, *classifier.preprocess.image_shape, device=device)
    modes = {module: module.training for module in classifier.modules()}
    trained = [weight for weight in classifier.parameters() if weight.requires_grad]
    classifier.eval()
    # The counter hooks the gradients of what enters a module, and a weight that does has none here.
    classifier.requires_grad_(False)
    try:
        with torch.no_grad(), _no_fused_attention(), FlopCounterMode(display=False) as counter:
            classifier(image)
    finally:
        for weight in trained:
            weight.requires_grad_()
        for module, mode in modes.items():
            module.training = mode
    n_operations: int = counter.get_total_flops()
    return n_operations // 2


@contextlib.contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Make attention of plain products: of fused kernels, the counter knows some and not others."""
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fast)
