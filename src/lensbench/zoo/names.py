"""Names of classifiers: what a user types becomes one `library/model`.

Nothing is imported here before a name outside the contract's table is looked up, so the table
costs nothing to read.
"""

from __future__ import annotations

import difflib
import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lensbench.errors import ModelError

LIBRARIES = ("torchvision", "timm", "transformers", "lensbench")
"""Where classifiers come from."""


@dataclass(frozen=True)
class ModelName:
    """The full name of a classifier; `str()` gives `library/name`.

    Attributes:
        library: One of `LIBRARIES`.
        name: The library's own name of the model.
    """

    library: str
    name: str

    def __str__(self) -> str:
        return f"{self.library}/{self.name}"


class ContractModel(NamedTuple):
    """One row of the contract's table.

    Attributes:
        desc: The name in files and tables, the contract's `--model_desc`.
        identifier: The contract's bare name of the model.
        batch_size: Images per training step, where the contract's usual number does not hold.
    """

    desc: str
    identifier: str
    batch_size: int | None = None

    @property
    def model(self) -> ModelName:
        """The full name that the identifier stands for."""
        if "/" in self.identifier:
            return ModelName("transformers", self.identifier)
        library = "torchvision" if self.identifier.startswith("resnet") else "timm"
        return ModelName(library, self.identifier)


CONTRACT_MODELS = (
    ContractModel("ResNet18", "resnet18"),
    ContractModel("ResNet34", "resnet34"),
    ContractModel("ResNet50", "resnet50"),
    ContractModel("ResNet101", "resnet101", 32),
    ContractModel("ResNet152", "resnet152", 32),
    ContractModel("EfficientNet-B0", "efficientnet_b0"),
    ContractModel("EfficientNet-B1", "efficientnet_b1"),
    ContractModel("EfficientNet-B2", "efficientnet_b2"),
    ContractModel("EfficientNet-B3", "efficientnet_b3"),
    ContractModel("EfficientNet-B4", "efficientnet_b4", 32),
    ContractModel("EfficientNet-B5", "efficientnet_b5", 32),
    ContractModel("MobileNetV3-Small", "mobilenetv3_small_100", 128),
    ContractModel("MobileNetV3-Large", "mobilenetv3_large_100", 128),
    # No batch sizes are published below this line: ours are 32 where a network is as large as
    # those that were trained with 32.
    ContractModel("ConvNeXtV2-Atto-1k", "facebook/convnextv2-atto-1k-224"),
    ContractModel("ConvNeXtV2-Femto-1k", "facebook/convnextv2-femto-1k-224"),
    ContractModel("ConvNeXtV2-Pico-1k", "facebook/convnextv2-pico-1k-224"),
    ContractModel("ConvNeXtV2-Nano-1k", "facebook/convnextv2-nano-1k-224"),
    ContractModel("ConvNeXtV2-Tiny-1k", "facebook/convnextv2-tiny-1k-224", 32),
    ContractModel("ConvNeXtV2-Nano-22k", "facebook/convnextv2-nano-22k-224"),
    ContractModel("ConvNeXtV2-Tiny-22k", "facebook/convnextv2-tiny-22k-224", 32),
    ContractModel("ViT-Tiny-P16", "vit_tiny_patch16_224"),
    ContractModel("ViT-Small-P16", "vit_small_patch16_224"),
    ContractModel("ViT-Base-P16", "vit_base_patch16_224", 32),
)
"""The 23 models of the contract, in the order of its document."""

CONVNEXTV2_NAMES = tuple(
    f"facebook/convnextv2-{size}-{data}"
    for data, sizes in {
        "1k-224": ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"),
        "22k-224": ("nano", "tiny", "base", "large"),
        "22k-384": ("nano", "tiny", "base", "large", "huge"),
        "22k-512": ("huge",),
    }.items()
    for size in sizes
)
"""The transformers classifiers whose configurations are known here, without a network."""

OWN_NAMES = ("d4_resnet", "c8_resnet", "d4_densenet", "c8_densenet")
"""Our own classifiers: quarter turns and flips (D4) leave their logits alone, or quarter turns, and
turns by 45 degrees nearly (C8)."""

_CONTRACT = {row.identifier: row.model for row in CONTRACT_MODELS}


def resolve(identifier: str) -> ModelName:
    """Find the one classifier that a name means.

    `library/model` is taken by its word; a bare name is looked up in the contract's table, then
    among the known transformers models and our own, then in torchvision and timm.

    >>> str(resolve("resnet18"))
    'torchvision/resnet18'
    >>> str(resolve("transformers/facebook/convnextv2-atto-1k-224"))
    'transformers/facebook/convnextv2-atto-1k-224'

    Raises:
        ModelError: No such classifier, with near misses, or more than one library has it.
    """
    if identifier in _CONTRACT:
        return _CONTRACT[identifier]
    if identifier in CONVNEXTV2_NAMES:
        return ModelName("transformers", identifier)
    if identifier in OWN_NAMES:
        return ModelName("lensbench", identifier)
    library, _, name = identifier.partition("/")
    if library in LIBRARIES:
        found = [library] if _has(library, name) else []
    else:
        name = identifier
        found = [library for library in ("torchvision", "timm") if _has(library, name)]
    if len(found) == 1:
        return ModelName(found[0], name)
    if found:
        choices = " or ".join(f"{library}/{name}" for library in found)
        raise ModelError(f"{identifier!r} is in more than one library: say {choices}")
    raise ModelError(_unknown(identifier, name))


def list_models(pattern: str | None = None) -> list[str]:
    """List the full names of the classifiers that can be built.

    Of transformers only those are listed whose configurations are known here; any other
    image classifier of its hub is reached as `transformers/owner/name`, one in a local folder
    as `transformers/FOLDER`. The names of the contract (`ViT-Tiny-P16`) are found as well.

    Args:
        pattern: Shell-style wildcards, or a part of the name; None lists everything.

    Returns:
        Full names, library by library in the order of `LIBRARIES`.
    """
    names = [f"{library}/{name}" for library in LIBRARIES for name in _names(library)]
    if pattern is None:
        return names
    if not any(wildcard in pattern for wildcard in "*?["):
        pattern = f"*{pattern}*"
    lowered = pattern.lower()
    described = {str(row.model): row.desc for row in CONTRACT_MODELS}
    return [
        name
        for name in names
        if any(
            fnmatch.fnmatchcase(known.lower(), lowered)
            for known in (name, name.partition("/")[2], described.get(name, ""))
        )
    ]


def _names(library: str) -> list[str]:
    if library == "torchvision":
        import torchvision.models

        return list(torchvision.models.list_models(module=torchvision.models))
    if library == "timm":
        import timm

        return list(timm.list_models())
    return list(CONVNEXTV2_NAMES if library == "transformers" else OWN_NAMES)


def _has(library: str, name: str) -> bool:
    if ModelName(library, name) in _CONTRACT.values():
        return True
    if library == "transformers":
        # Only the hub knows what else it has; a slip in a name that we know is caught here.
        misspelt = name.startswith("facebook/convnextv2") and name not in CONVNEXTV2_NAMES
        return ("/" in name or Path(name).is_dir()) and not misspelt
    if library == "timm" and "." in name:
        import timm

        return name in timm.list_models(pretrained=True)
    return name in _names(library)


def _unknown(identifier: str, name: str) -> str:
    """Say that there is no such model, and what was probably meant."""
    wanted = name.lower()
    full: dict[str, list[str]] = {}
    for known in list_models():
        full.setdefault(known.partition("/")[2].lower(), []).append(known)
    for row in CONTRACT_MODELS:
        full[row.identifier] = [row.identifier]
        full.setdefault(row.desc.lower(), [row.identifier])
    close = difflib.get_close_matches(wanted, full, n=3, cutoff=0.7)
    suggestions = list(dict.fromkeys(model for match in close for model in full[match]))
    message = f"there is no classifier {identifier!r}; `lensbench models` lists what there is"
    if suggestions:
        return f"{message}; did you mean {', '.join(suggestions)}?"
    if "/" in identifier and identifier.partition("/")[0] not in LIBRARIES:
        return f"{message}; a model of the transformers hub is called transformers/{identifier}"
    return message
