"""A network together with all that happens to an image before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from lensbench.config import Recipe, Views
from lensbench.zoo.names import ModelName
from lensbench.zoo.preprocess import Preprocess


@dataclass(frozen=True)
class Symmetry:
    """What turned images are to a classifier: the part of a recipe that tells how to look at them.

    Attributes are those of `Recipe` with the same names.
    """

    knows_d4: bool
    test_time_augmentation: Views

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Take what a recipe says about it."""
        return cls(recipe.knows_d4, recipe.test_time_augmentation)


class Classifier(nn.Module):
    """Images as on disk in, logits out; its weights need no other settings to stand alone.

    Args:
        name: The full name of the model.
        classes: The K class names, in the order of the logits.
        preprocess: From (B, C, H, W) as on disk to what the network sees.
        network: To (B, K) logits.
        symmetry: What turned images are to it.
        weights_used: Where the initial weights came from.
        notes: What a record should say about how the model was fitted to the images.

    Attributes:
        name: As given.
        classes: As given.
        symmetry: As given.
        weights_used: As given.
        notes: As given.
    """

    def __init__(
        self,
        name: ModelName,
        classes: tuple[str, ...],
        preprocess: Preprocess,
        network: nn.Module,
        symmetry: Symmetry,
        weights_used: str,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.name = str(name)
        self.classes = classes
        self.preprocess = preprocess
        self.network = network
        self.symmetry = symmetry
        self.weights_used = weights_used
        self.notes = notes

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def forward(self, images: Tensor) -> Tensor:
        """Classify a batch.

        Args:
            images: (B, C, H, W) float32, as on disk.

        Returns:
            (B, K) logits; float32 unless under autocast.

        Raises:
            ValueError: Images of another shape than this classifier was built for.
        """
        logits: Tensor = self.network(self.preprocess(images))
        return logits
